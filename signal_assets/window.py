"""What a run covers: a half-open stretch ``(start, end]`` of event time that never crosses a midnight.

Belongs here: windows and the grid points inside them. Does not belong here: where progress is kept (the lake).
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from signal_assets.event_time import DAY, ceil_to, date_of, day_end, floor_to, iso, start_of_date


class WindowError(ValueError):
    """A window is empty, backwards or crosses a midnight."""


@dataclass(frozen=True, slots=True)
class Window:
    """Stretch ``(start, end]`` of event time, in microseconds UTC, inside one day.

    Raises
    ------
    WindowError
        If ``end`` is not after ``start``, or a midnight lies strictly inside.

    Examples
    --------
    >>> Window(0, 60_000_000).grid(20_000_000).tolist()
    [20000000, 40000000, 60000000]
    """

    start: int
    end: int

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise WindowError(f"a window must end after its start: ({iso(self.start)}, {iso(self.end)}]")
        if self.end > day_end(self.start + 1):
            raise WindowError(f"a window must not cross midnight: ({iso(self.start)}, {iso(self.end)}]")

    @classmethod
    def of_day(cls, day: date) -> "Window":
        """The whole of one day."""
        start = start_of_date(day)
        return cls(start, start + DAY)

    @property
    def day(self) -> date:
        """The calendar day the window lies in."""
        return date_of(self.end)

    def grid(self, step: int) -> NDArray[np.int64]:
        """Grid points of ``step`` microseconds inside ``(start, end]``, ascending int64."""
        first = floor_to(self.start, step) + step
        return np.arange(first, floor_to(self.end, step) + 1, step, dtype=np.int64)

    def holds(self, step: int) -> bool:
        """Whether a grid point of ``step`` microseconds lies inside."""
        return floor_to(self.end, step) > self.start

    def __str__(self) -> str:
        return f"({iso(self.start)}, {iso(self.end)}]"


def forward_windows(start: int, end: int) -> list[Window]:
    """Cut ``(start, end]`` at the midnights inside it.

    Examples
    --------
    >>> from signal_assets.event_time import DAY
    >>> [window.end // DAY for window in forward_windows(1, 2 * DAY + 1)]
    [1, 2, 2]
    """
    windows = []
    while start < end:
        stop = min(end, ceil_to(start + 1, DAY))
        windows.append(Window(start, stop))
        start = stop
    return windows
