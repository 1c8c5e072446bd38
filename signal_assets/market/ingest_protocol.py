"""What goes into ingest and what comes out of it: settings, REST requests, rows.

Belongs here: plain values only. Does not belong here: any decision (``instrument_ingest``, ``ingest``).
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from signal_assets.event_time import MILLISECOND, MINUTE, SECOND

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """Times of the closing rule and of the grids, in µs; limits in levels and trades.

    Parameters
    ----------
    grid : int
        Width of the features grid.
    lateness : int
        A grid point closes when the instrument's exchange clock has passed it by this much.
    quiet_after : int
        How much further the venue's clock must be to close the grid of an instrument that is silent.
    snapshot_interval, reconcile_interval : int
        Grid of the stored books, and how often the book is compared with a fresh snapshot.
    """

    grid: int = SECOND
    lateness: int = 500 * MILLISECOND
    quiet_after: int = 2 * SECOND
    snapshot_interval: int = MINUTE
    reconcile_interval: int = 5 * MINUTE
    maximum_snapshot_levels: int = 5_000
    depth_limit: int = 5_000
    trades_page: int = 1_000


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """A book is needed by REST, if the venue can as of update id ``position``."""

    instrument: str
    position: int
    purpose: Literal["sync", "reconcile"]


@dataclass(frozen=True, slots=True)
class TradesRequest:
    """Trades are needed by REST, ascending from ``from_id``."""

    instrument: str
    from_id: int
    limit: int


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where an earlier process stopped, per instrument.

    Parameters
    ----------
    closed : int or None
        Last watermark announced.
    last_trade_id : int or None
        Last trade handed on.
    last_row : int or None
        Time of the last features row, if known: the depth gap begins there rather than at ``closed``.
    """

    closed: int | None
    last_trade_id: int | None
    last_row: int | None = None


@dataclass(frozen=True, slots=True)
class QualityEvent:
    """Something about the data that somebody should know; the data itself is kept."""

    instrument: str
    time: int
    kind: str
    detail: str


@dataclass(slots=True)
class Output:
    """Rows of one instrument in the column order of their tables, since the last drain.

    ``watermark`` is the new last closed grid point, ``reason`` why points were closed without rows: "" (no particular
    one), "restart", "dead_feed", "market_closed" or "end_of_recording"; both are None if nothing was closed.
    """

    trades: list[Row] = field(default_factory=list)
    features: list[Row] = field(default_factory=list)
    depth_snapshots: list[Row] = field(default_factory=list)
    feed_gaps: list[Row] = field(default_factory=list)
    watermark: int | None = None
    reason: str | None = None
    quality: list[QualityEvent] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The stream begins anew; ``clock`` is the exchange time of its first message."""

    clock: int


@dataclass(frozen=True, slots=True)
class DeadFeed:
    """No message came for long; ``time`` is our own clock."""

    time: int


@dataclass(frozen=True, slots=True)
class EndOfRecording:
    """Nothing will come any more; ``clock`` is the venue's newest exchange time."""

    clock: int
