"""The open and recorded gaps of one instrument's feeds, as rows of ``market.feed_gaps``.

Belongs here: where a gap begins and ends. Does not belong here: what makes one (``instrument_ingest``).
"""

from collections.abc import Sequence

from signal_assets.event_time import ceil_to, floor_to
from signal_assets.market.ingest_protocol import Row


class FeedGaps:
    """A depth gap is open until a features row from behind its start closes; holes in the trades have both ends.

    A grid point is captured before it closes, so a new gap may open before the row that ends the one before is written.
    Gaps with no row between them come out as one. Rows come out with the grid point they end at, so ends never go back.

    Parameters
    ----------
    open_since : int or None
        After a restart: the last grid point of the earlier process.
    """

    __slots__ = ("_depth", "_grid", "_instrument", "_trades")

    def __init__(self, instrument: str, grid: int, open_since: int | None) -> None:
        self._instrument = instrument
        self._grid = grid
        self._depth: list[tuple[int, str]] = [] if open_since is None else [(open_since, "restart")]
        self._trades: list[Row] = []

    @property
    def depth_reason(self) -> str:
        """Why the depth feed is incomplete; "" while it is complete."""
        return self._depth[0][1] if self._depth else ""

    @property
    def depth_start(self) -> int | None:
        """Where the oldest open gap of the depth feed begins."""
        return self._depth[0][0] if self._depth else None

    def open_depth(self, last_good: int, reason: str) -> None:
        """The depth feed was complete up to ``last_good`` for the last time."""
        self._depth.append((floor_to(last_good, self._grid), reason))

    def add_unfilled_trades(self, last_time: int | None, next_time: int, closed: int | None) -> None:
        """Trades are missing between two; the gap ends no earlier than the next grid point to be closed."""
        grid = self._grid
        end = ceil_to(next_time, grid)
        if closed is not None:
            end = max(end, closed + grid)
        if not self._trades or self._trades[-1][3] < end:
            start = floor_to(next_time if last_time is None else last_time, grid)
            self._trades.append((self._instrument, "trades", min(start, end - grid), end, "unfilled"))

    def close(self, target: int, features: Sequence[Row]) -> list[Row]:
        """Rows of the gaps over by ``target``, given the features rows written with it."""
        if not self._trades and not (self._depth and features):
            return []
        ended = [gap for gap in self._trades if gap[3] <= target]
        self._trades = [gap for gap in self._trades if gap[3] > target]
        for row in features if self._depth else ():
            ended += self.end_depth(row[1])
        return sorted(ended, key=lambda gap: (gap[3], gap[1]))

    def end_depth(self, end: int) -> list[Row]:
        """Row of the depth gap that a features row at ``end`` closes, if there is one."""
        over = [gap for gap in self._depth if gap[0] < end]
        if not over:
            return []
        self._depth = [gap for gap in self._depth if gap[0] >= end]
        return [(self._instrument, "depth", over[0][0], end, over[0][1])]
