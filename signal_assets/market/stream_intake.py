"""From Redis streams to raw tables: every entry once, with its offset in the same transaction.

Belongs here: taking micro-batches into a raw table. Does not belong here: their encoding (``stream_codec``), who wrote
them (the live lane) or Dagster (``assets.py``).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import pandas as pd
import structlog

from resources.lake import Lake, LakeError, LakeTransaction, Offset, Progress
from resources.redis_streams import StreamEntry
from signal_assets.derivation import WorkDone, asset_name
from signal_assets.event_time import day_start, iso
from signal_assets.market.stream_codec import decode
from signal_assets.table import Table

ENTRIES_AT_ONCE: Final = 500

log = structlog.get_logger(__name__)


class MarketStreams(Protocol):
    """What is read of Redis; :class:`resources.redis_streams.StreamReader` is the real one."""

    def tail(self, key: str) -> int | None:
        """Highest id ever added."""

    def read_after(self, key: str, last_id: int | None, count: int) -> list[StreamEntry]:
        """Entries behind ``last_id``, in order."""

    def generation(self) -> str | None:
        """Id of this Redis' life."""

    def trim_below(self, key: str, sequence: int) -> int:
        """Remove entries below ``sequence``."""


@dataclass(frozen=True, slots=True)
class RawTable:
    """One raw table: where its entries come from, per instrument."""

    table: Table
    stream_keys: Mapping[str, str]
    entries_per_transaction: int = 500

    @property
    def asset(self) -> str:
        """Name of the asset that writes the table."""
        return asset_name(self.table)


def take_in(lake: Lake, streams: MarketStreams, raw: RawTable, group: str, *, end: int, run_id: str) -> WorkDone:
    """Append everything the streams hold and move the table's progress to ``end``.

    Rows of all instruments, their offsets and the progress are one transaction as long as they fit into one batch. An
    offset is compared inside the transaction, under the lock, so two runs cannot take the same entry twice; rows are
    anti-joined on their key besides, so a repeated entry changes nothing. Streams are trimmed below the committed
    offset. Entries without a payload (older versions wrote such into ``system:metrics``) are passed over, counted in
    ``details``.

    Raises
    ------
    LakeError
        If Redis has no generation id: no live lane ever wrote to it.
    StaleExpectationError
        If another run took entries of the same streams meanwhile.
    """
    began = time.perf_counter()
    done = WorkDone()
    generation = streams.generation()
    if generation is None:
        raise LakeError(f"{raw.asset}: no live lane has written to this Redis yet")
    committed = lake.offsets(list(raw.stream_keys.values()))
    cursors = [
        cursor
        for key in raw.stream_keys.values()
        if (cursor := _Cursor.at(streams, key, committed.get(key), generation, done)) is not None
    ]
    before = lake.progress(raw.asset, group)
    origin = before.origin if before is not None else day_start(end)
    done.start = before.progress if before is not None else origin
    done.end = max(end, done.start)
    while True:
        batches = [(cursor, cursor.read(streams, raw.entries_per_transaction)) for cursor in cursors]
        batches = [(cursor, entries) for cursor, entries in batches if entries]
        last = all(cursor.exhausted for cursor in cursors)
        moves = last and (before is None or before.progress < end)
        if batches or moves:
            with lake.transaction(asset=raw.asset, run_id=run_id) as unit:
                _write(unit, raw, batches, generation, done)
                if moves:
                    unit.advance(raw.asset, group, before, Progress(origin, end))
            done.snapshot_id = unit.snapshot_id
            for cursor, entries in batches:
                streams.trim_below(cursor.key, entries[-1].id)
        if last:
            break
    done.seconds = time.perf_counter() - began
    return done


@dataclass
class _Cursor:
    """How far one stream has been read in this run, and how far it is to be read: the tail it had at the start."""

    key: str
    tail: int
    committed: Offset | None
    position: int | None
    exhausted: bool = False

    @classmethod
    def at(
        cls, streams: MarketStreams, key: str, committed: Offset | None, generation: str, done: WorkDone
    ) -> "_Cursor | None":
        tail = streams.tail(key)
        if tail is None:
            return None
        return cls(key, tail, committed, _position(committed, generation, tail, key, done))

    def read(self, streams: MarketStreams, count: int) -> list[StreamEntry]:
        entries: list[StreamEntry] = []
        if not self.exhausted and (self.position is None or self.position < self.tail):
            entries = streams.read_after(self.key, self.position, count)
        if entries:
            self.position = entries[-1].id
        self.exhausted = not entries or entries[-1].id >= self.tail
        return entries


def _write(
    unit: LakeTransaction,
    raw: RawTable,
    batches: Sequence[tuple[_Cursor, Sequence[StreamEntry]]],
    generation: str,
    done: WorkDone,
) -> None:
    payloads = [payload_of(entry) for _, entries in batches for entry in entries]
    if without := payloads.count(None):
        log.warning("entries_without_payload", asset=raw.asset, entries=without)
        done.details["entries_without_payload"] = int(done.details.get("entries_without_payload", 0)) + without
    frames = [decode(raw.table, payload) for payload in payloads if payload is not None]
    frames = [frame for frame in frames if len(frame)]
    if frames:
        rows = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
        added = unit.append(raw.table, rows)
        done.add(raw.table, rows, added)
        done.details["repeated_rows"] = int(done.details.get("repeated_rows", 0)) + len(rows) - added
    for cursor, entries in batches:
        moved = Offset(generation, entries[-1].id)
        unit.move_offset(cursor.key, cursor.committed, moved)
        cursor.committed = moved
    done.windows += 1


def _position(committed: Offset | None, generation: str, tail: int, key: str, done: WorkDone) -> int | None:
    """Where to read on; from the beginning when Redis was lost or has gone back behind what we committed."""
    if committed is None:
        return None
    if committed.generation == generation and committed.last_id <= tail:
        return committed.last_id
    happened = "rolled_back" if committed.generation == generation else "lost"
    log.warning(f"redis_{happened}", stream=key, committed=committed.last_id, tail=tail)
    done.details["streams_read_from_the_beginning"] = int(done.details.get("streams_read_from_the_beginning", 0)) + 1
    return None


def payload_of(entry: StreamEntry) -> bytes | None:
    """The rows of an entry, encoded; None: it is none of ours, or of an older version's."""
    return entry.fields.get("data")


def stream_watermark(streams: MarketStreams, feature_keys: Sequence[str]) -> int | None:
    """Newest grid point that every instrument with a stream has closed; None while there is no stream at all."""
    tails = [tail for key in feature_keys if (tail := streams.tail(key)) is not None]
    return min(tails) if tails else None


def first_closed(streams: MarketStreams, feature_keys: Sequence[str]) -> int | None:
    """Oldest grid point still in the streams: where a new lake's history begins."""
    first = [found for key in feature_keys if (found := _first_with_rows(streams, key)) is not None]
    return min(first) if first else None


def _first_with_rows(streams: MarketStreams, key: str) -> int | None:
    """Nearly always the very first; the ids of others may be no event times."""
    position, count = None, 1
    while entries := streams.read_after(key, position, count):
        if found := [entry.id for entry in entries if payload_of(entry) is not None]:
            return found[0]
        position, count = entries[-1].id, ENTRIES_AT_ONCE
    return None


def describe_watermark(watermark: int | None) -> str:
    """The watermark for people."""
    return "no data yet" if watermark is None else iso(watermark)
