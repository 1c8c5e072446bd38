"""Rows that wait for the next flush, per instrument, and the batch they become.

Belongs here: the order and the ids of stream entries. Does not belong here: when to flush (``outbox``), the payload's
format (``signal_assets/market/stream_codec``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from resources.redis_keys import DEPTH, FEATURES, GAPS, TRADES, market_stream
from resources.redis_streams import entry_id
from services.live_lane.batch import Addition, Batch
from signal_assets.market import tables
from signal_assets.market.ingest import Output
from signal_assets.market.stream_codec import encode
from signal_assets.table import Table

Row = tuple[Any, ...]

WEIGHT_AT_ONCE: Final = 4_000
"""A batch takes whole instruments until it weighs so much: it is written in milliseconds, signals get in between."""
DEPTH_WEIGHT: Final = 500
"""Of a stored book, where any other row weighs 1: it has thousands of levels."""

_TRADE_ID = [column.name for column in tables.TRADES.columns].index("trade_id")
_DEPTH_TIME = [column.name for column in tables.DEPTH_SNAPSHOTS.columns].index("event_time")
_GAP_FEED = [column.name for column in tables.FEED_GAPS.columns].index("feed")
_GAP_END = [column.name for column in tables.FEED_GAPS.columns].index("gap_end")


@dataclass(slots=True)
class _Closing:
    """Features rows up to a watermark that was reached for one reason."""

    reason: str
    watermark: int
    rows: list[Row]


@dataclass(slots=True)
class _Rows:
    trades: list[Row] = field(default_factory=list)
    depth: list[Row] = field(default_factory=list)
    gaps: list[Row] = field(default_factory=list)
    closings: list[_Closing] = field(default_factory=list)
    records: int = 0


class Pending:
    """Collects outputs until :meth:`compose`.

    Parameters
    ----------
    gap_ids : mapping of str to int
        Highest id in the gaps stream of each instrument, so that a gap that ended before another one is not refused.
    """

    def __init__(self, gap_ids: Mapping[str, int] | None = None) -> None:
        self._rows: dict[str, _Rows] = {}
        self._others: list[Addition] = []
        self._gap_ids = dict(gap_ids or {})
        self.records = 0
        self.closed_since: float | None = None
        """When the message that closed the oldest waiting grid point came (``time.perf_counter``)."""

    def know_gap_id(self, instrument: str, sequence: int) -> None:
        """Take the tail of an instrument's gaps stream."""
        self._gap_ids[instrument] = max(sequence, self._gap_ids.get(instrument, 0))

    def add(self, instrument: str, output: Output, since: float) -> None:
        """Take what ingest produced."""
        rows = self._rows.setdefault(instrument, _Rows())
        rows.trades += output.trades
        rows.depth += output.depth_snapshots
        rows.gaps += output.feed_gaps
        count = len(output.trades) + len(output.depth_snapshots) + len(output.feed_gaps)
        if output.watermark is not None:
            reason = output.reason or ""
            count += len(output.features) or 1
            if rows.closings and rows.closings[-1].reason == reason:
                rows.closings[-1].rows += output.features
                rows.closings[-1].watermark = output.watermark
            else:
                rows.closings.append(_Closing(reason, output.watermark, list(output.features)))
            if self.closed_since is None:
                self.closed_since = since
        rows.records += count
        self.records += count

    def add_other(self, addition: Addition) -> None:
        """Take a dead letter or a quality event."""
        self._others.append(addition)
        self.records += 1

    def compose(self) -> Batch:
        """What waits, as one batch: trades, depth, gaps, features, then the rest; removes it from here.

        Many books at once are divided: as many instruments as the weight allows, each with all that it has.
        """
        taken = self._taken()
        additions: list[Addition] = []
        for instrument, rows in taken.items():
            if rows.trades:
                sequence = max(row[_TRADE_ID] for row in rows.trades)
                additions.append(_addition(instrument, TRADES, tables.TRADES, sequence, rows.trades))
        for instrument, rows in taken.items():
            if rows.depth:
                sequence = max(row[_DEPTH_TIME] for row in rows.depth)
                additions.append(_addition(instrument, DEPTH, tables.DEPTH_SNAPSHOTS, sequence, rows.depth))
        for instrument, rows in taken.items():
            if rows.gaps:
                sequence = self._next_gap_id(instrument, rows.gaps)
                additions.append(_addition(instrument, GAPS, tables.FEED_GAPS, sequence, rows.gaps))
        for instrument, rows in taken.items():
            additions += (_features(instrument, closing) for closing in rows.closings)
        if self._rows:
            records = sum(rows.records for rows in taken.values())
            self.records -= records
            return Batch(tuple(additions), records)
        batch = Batch((*additions, *self._others), self.records)
        self._others, self.records, self.closed_since = [], 0, None
        return batch

    def _taken(self) -> dict[str, _Rows]:
        """Takes the instruments of the next batch out of those that wait."""
        weight, taken = 0, {}
        while self._rows and weight < WEIGHT_AT_ONCE:
            instrument = next(iter(self._rows))
            rows = taken[instrument] = self._rows.pop(instrument)
            weight += rows.records + DEPTH_WEIGHT * len(rows.depth)
        return taken

    def _next_gap_id(self, instrument: str, gaps: Sequence[Row]) -> int:
        # Gaps of the two feeds may end at one moment, or be known in another order than they ended.
        wanted = max(row[_GAP_END] + (row[_GAP_FEED] == "trades") for row in gaps)
        self._gap_ids[instrument] = max(wanted, self._gap_ids.get(instrument, 0) + 1)
        return self._gap_ids[instrument]


def _addition(instrument: str, stream: str, table: Table, sequence: int, rows: Sequence[Row]) -> Addition:
    fields = (("n", str(len(rows)).encode()), ("data", encode(table, rows)))
    return Addition(market_stream(instrument, stream), entry_id(sequence), fields)


def _features(instrument: str, closing: _Closing) -> Addition:
    addition = _addition(instrument, FEATURES, tables.FEATURES, closing.watermark, closing.rows)
    more = (("watermark", str(closing.watermark).encode()), ("reason", closing.reason.encode()))
    return Addition(addition.key, addition.id, addition.fields + more)
