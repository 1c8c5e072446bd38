"""What every picture is drawn on: size, title, legend, time axis, the file's bytes.

Belongs here: what pictures of all stages share. Does not belong here: any picture (``<stage>/*_plot``).
"""

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from signal_assets.event_time import DAY, MINUTE, date_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEGEND_KEY_INCHES: Final = 0.55
LEGEND_LETTER_INCHES: Final = 0.062
"""Width of an entry's key and of a letter of its text, as wide as letters of 8 points come."""


class Canvas:
    """A figure with axes below each other; needs no display and leaves no global state behind.

    Parameters
    ----------
    title : str
        Stands above; the legend goes below everything, so that it never hides what is drawn.
    size : tuple of float
        Width and height in inches.
    ratios : sequence of float
        One per axes: its share of the height.
    """

    def __init__(self, title: str, size: tuple[float, float] = (11.0, 5.0), ratios: Sequence[float] = (1.0,)) -> None:
        # Imported here: a run that draws nothing need not pay for it. No pyplot, so no global state and no display.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._figure = Figure(figsize=size, dpi=110, layout="constrained")
        FigureCanvasAgg(self._figure)
        drawn: Any = self._figure.subplots(len(ratios), 1, sharex=True, height_ratios=list(ratios), squeeze=False)
        self.axes: list[Axes] = list(drawn[:, 0])
        self.axes[0].set_title(title, loc="left", fontsize=11, pad=10)
        for axes in self.axes:
            axes.spines[["top", "right"]].set_visible(False)

    def say(self, text: str) -> None:
        """Words in place of what there is not."""
        axes = self.axes[0]
        axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)

    def show_time(self, times: NDArray[np.int64]) -> None:
        """Label the horizontal axis, which is in :func:`day_number`, with times and say of which days (UTC).

        Parameters
        ----------
        times : int64 array
            Of all that is drawn, µs UTC; the axis goes from the least to the greatest.
        """
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        first, last = int(times.min()), int(times.max())
        axes = self.axes[-1]
        room = 0.01 * max(last - first, MINUTE)
        axes.set_xlim((first - room) / DAY, (last + room) / DAY)
        locator = AutoDateLocator()  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))  # type: ignore[no-untyped-call]
        days = dict.fromkeys((date_of(first), date_of(last)))
        axes.set_xlabel(f"{' to '.join(map(str, days))}, UTC", loc="right")

    def png(self) -> bytes:
        """The picture as a PNG file."""
        handles = [handle for axes in self.axes for handle in axes.get_legend_handles_labels()[0]]
        if handles:
            longest = max(len(str(handle.get_label())) for handle in handles)
            columns = int(self._figure.get_figwidth() / (LEGEND_KEY_INCHES + LEGEND_LETTER_INCHES * longest))
            self._figure.legend(
                handles=handles, loc="outside lower left", ncols=max(1, columns), fontsize=8, frameon=False
            )
        file = BytesIO()
        self._figure.savefig(file, format="png", metadata={"Software": None})
        return file.getvalue()


def day_number(times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Days since 1970-01-01 UTC, which is how matplotlib counts dates."""
    return np.asarray(times, dtype=np.int64) / DAY
