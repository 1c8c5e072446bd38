"""A fast and a slow moving average of closing prices.

Belongs here: simple, linearly weighted and exponential averages. Does not belong here: what their crossing means.
"""

from math import isnan
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled
from signal_assets.strategies.bars import NewestValues

Integers = NDArray[np.int64]

Average = Literal["sma", "ema", "wma"]
AVERAGES: Final[tuple[Average, ...]] = ("sma", "ema", "wma")


@compiled(takes="integers, integer, flag", returns="real")
def window_average(close: Integers, length: int, weighted: bool) -> float:
    """Average of the last ``length`` values, oldest first in one pass; weights 1…length if ``weighted`` (compiled)."""
    total = 0.0
    first = close.size - length
    for i in range(length):
        total += close[first + i] * (i + 1.0 if weighted else 1.0)
    return total / (length * (length + 1) / 2 if weighted else length)


class MovingAverages(Protocol):
    """Fast and slow average, one closing price after the other; units as those of the prices."""

    fast: float
    slow: float

    def add(self, close: int) -> None:
        """Take in the close of one more bar."""

    def state(self) -> Any:
        """What they remember."""

    def restore(self, state: Any) -> None:
        """Go on from what :meth:`state` gave."""


class WindowAverages:
    """Simple or linearly weighted averages over exactly the last bars; NaN before there are enough.

    Examples
    --------
    >>> averages = WindowAverages(2, 3, weighted=True)
    >>> for close in (10, 20, 40):
    ...     averages.add(close)
    >>> averages.fast == (20 + 2 * 40) / 3, averages.slow == (10 + 2 * 20 + 3 * 40) / 6
    (True, True)
    """

    def __init__(self, fast: int, slow: int, *, weighted: bool) -> None:
        self._lengths = fast, slow
        self._weighted = weighted
        self._closes = NewestValues(slow)
        self.fast = self.slow = float("nan")

    def add(self, close: int) -> None:
        """Take in the close of one more bar."""
        self._closes.add(close)
        if self._closes.full:
            values = self._closes.values
            self.fast, self.slow = (window_average(values, length, self._weighted) for length in self._lengths)

    def state(self) -> Integers:
        """The closes of the window."""
        return self._closes.state()

    def restore(self, state: Integers) -> None:
        """Go on from what :meth:`state` gave; the averages are there again with the next close."""
        self._closes.restore(state)


class ExponentialAverages:
    """Exponential averages, endless filters that begin with the first close.

    Then ``average = previous + 2 / (length + 1) x (close - previous)``.

    Examples
    --------
    >>> averages = ExponentialAverages(3, 7)
    >>> for close in (10, 20):
    ...     averages.add(close)
    >>> averages.fast, averages.slow
    (15.0, 12.5)
    """

    def __init__(self, fast: int, slow: int) -> None:
        self._fast_weight, self._slow_weight = 2 / (fast + 1), 2 / (slow + 1)
        self.fast = self.slow = float("nan")

    def add(self, close: int) -> None:
        """Take in the close of one more bar."""
        if isnan(self.fast):
            self.fast = self.slow = float(close)
        self.fast += self._fast_weight * (close - self.fast)
        self.slow += self._slow_weight * (close - self.slow)

    def state(self) -> list[float]:
        """Both averages."""
        return [self.fast, self.slow]

    def restore(self, state: list[float]) -> None:
        """Go on from what :meth:`state` gave."""
        self.fast, self.slow = state


def moving_averages(average: Average, fast: int, slow: int) -> MovingAverages:
    """Averages of that kind over ``fast`` and ``slow`` bars."""
    if average == "ema":
        return ExponentialAverages(fast, slow)
    return WindowAverages(fast, slow, weighted=average == "wma")
