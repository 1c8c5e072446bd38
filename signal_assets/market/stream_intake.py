"""From Redis streams to raw tables: every entry once, with its offset in the same transaction.

Belongs here: taking micro-batches into a raw table. Does not belong here: their encoding (``stream_codec``), who wrote
them (the live lane) or Dagster (``assets.py``).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pandas as pd
import structlog

from resources.lake import Lake, LakeError, Offset, Progress
from resources.redis_streams import StreamEntry
from signal_assets.derivation import WorkDone, asset_name
from signal_assets.event_time import day_start, iso
from signal_assets.market.stream_codec import decode
from signal_assets.table import Table

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
    """Append everything the streams hold, then move the table's progress to ``end``.

    The offset is read inside the transaction, under the lock, so two runs cannot take the same entry twice; rows are
    anti-joined on their key besides, so a repeated entry changes nothing. Streams are trimmed below the committed
    offset.

    Raises
    ------
    LakeError
        If Redis has no generation id: no live lane ever wrote to it.
    """
    began = time.perf_counter()
    done = WorkDone()
    generation = streams.generation()
    if generation is None:
        raise LakeError(f"{raw.asset}: no live lane has written to this Redis yet")
    for key in raw.stream_keys.values():
        _drain(lake, streams, raw, key, generation, run_id, done)
    _advance(lake, streams, raw, group, end, run_id, done)
    done.seconds = time.perf_counter() - began
    return done


def _drain(
    lake: Lake, streams: MarketStreams, raw: RawTable, key: str, generation: str, run_id: str, done: WorkDone
) -> None:
    """Take in one stream up to the tail it has now, in bounded batches."""
    tail = streams.tail(key)
    if tail is None:
        return
    committed = lake.offset(key)
    position = _position(committed, generation, tail, key, done)
    while position is None or position < tail:
        entries = streams.read_after(key, position, raw.entries_per_transaction)
        if not entries:
            return
        frames = [decode(raw.table, entry.fields["data"]) for entry in entries]
        rows = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
        position = entries[-1].id
        moved = Offset(generation, position)
        with lake.transaction(asset=raw.asset, run_id=run_id) as unit:
            added = unit.append(raw.table, rows)
            unit.move_offset(key, committed, moved)
        committed = moved
        done.add(raw.table, rows, added)
        done.details["repeated_rows"] = int(done.details.get("repeated_rows", 0)) + len(rows) - added
        done.windows += 1
        done.snapshot_id = unit.snapshot_id
        streams.trim_below(key, position)


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


def _advance(
    lake: Lake, streams: MarketStreams, raw: RawTable, group: str, end: int, run_id: str, done: WorkDone
) -> None:
    before = lake.progress(raw.asset, group)
    origin = before.origin if before is not None else day_start(end)
    done.start = before.progress if before is not None else origin
    done.end = max(end, done.start)
    if before is None or before.progress < end:
        with lake.transaction(asset=raw.asset, run_id=run_id) as unit:
            unit.advance(raw.asset, group, before, Progress(origin, end))
        done.snapshot_id = unit.snapshot_id


def stream_watermark(streams: MarketStreams, feature_keys: Sequence[str]) -> int | None:
    """Newest grid point that every instrument with a stream has closed; None while there is no stream at all."""
    tails = [tail for key in feature_keys if (tail := streams.tail(key)) is not None]
    return min(tails) if tails else None


def first_closed(streams: MarketStreams, feature_keys: Sequence[str]) -> int | None:
    """Oldest grid point still in the streams: where a new lake's history begins."""
    first = [entries[0].id for key in feature_keys if (entries := streams.read_after(key, None, 1))]
    return min(first) if first else None


def describe_watermark(watermark: int | None) -> str:
    """The watermark for people."""
    return "no data yet" if watermark is None else iso(watermark)
