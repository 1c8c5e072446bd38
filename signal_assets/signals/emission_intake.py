"""From the Redis stream `signals` to `signals.emitted`: what really left the system, once.

Belongs here: taking the stream in for one group. Does not belong here: the record's fields (``signal_record``), who
sent them (the live lane).
"""

import time
from collections.abc import Sequence

import pandas as pd

from resources.lake import Lake, Offset, Progress
from resources.redis_keys import SIGNALS as SIGNALS_STREAM
from resources.redis_streams import StreamEntry
from signal_assets.derivation import WorkDone, asset_name
from signal_assets.event_time import day_start
from signal_assets.market.stream_intake import MarketStreams
from signal_assets.signals.signal_record import emitted_row
from signal_assets.signals.tables import EMITTED

ENTRIES_PER_TRANSACTION = 5_000


def take_in_emitted(
    lake: Lake, streams: MarketStreams, group: str, instruments: Sequence[str], *, end: int, run_id: str
) -> WorkDone:
    """Append what the stream holds of the group's instruments and move progress to ``end``.

    The stream's ids are milliseconds of its own and several entries may share one, so the last millisecond is read
    again; rows are anti-joined on the signal's id. The stream is never trimmed here: others read it too.
    """
    began = time.perf_counter()
    done = WorkDone()
    asset = asset_name(EMITTED)
    scope = f"{SIGNALS_STREAM}:{group}"
    generation = streams.generation() or ""
    before = lake.progress(asset, group)
    origin = before.origin if before is not None else day_start(end)
    done.start = before.progress if before is not None else origin
    done.end = max(end, done.start)
    while True:
        offset = lake.offset(scope)
        known = offset is not None and offset.generation == generation
        position = offset.last_id - 1 if known and offset is not None else None
        entries = streams.read_after(SIGNALS_STREAM, position, ENTRIES_PER_TRANSACTION)
        rows = _rows(entries, instruments)
        news = bool(entries) and not (known and offset is not None and entries[-1].id == offset.last_id)
        moves = before is None or before.progress < end
        if not news and not moves:
            break
        with lake.transaction(asset=asset, run_id=run_id) as unit:
            done.add(EMITTED, rows, unit.append(EMITTED, rows))
            if news:
                unit.move_offset(scope, offset, Offset(generation, entries[-1].id))
            if moves:
                unit.advance(asset, group, before, after := Progress(origin, end))
                before = after
        done.windows += 1
        done.snapshot_id = unit.snapshot_id
        if len(entries) < ENTRIES_PER_TRANSACTION:
            break
    done.seconds = time.perf_counter() - began
    return done


def _rows(entries: Sequence[StreamEntry], instruments: Sequence[str]) -> pd.DataFrame:
    rows = [emitted_row(entry.fields) for entry in entries]
    columns = [column.name for column in EMITTED.columns]
    chosen = [row for row in rows if row[columns.index("instrument")] in instruments]
    return EMITTED.conform(pd.DataFrame(chosen, columns=columns)) if chosen else EMITTED.empty()
