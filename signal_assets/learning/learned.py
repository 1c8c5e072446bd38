"""What is learned from a closed day: versions that are added once and are in force two days on.

Belongs here: reading a day, adding its versions. Does not belong here: the rules (``thresholds``,
``recent_performance``), or who reads the versions (``signal_assets/fold.versions_in_force``).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import pandas as pd

from resources.lake import Lake, Progress
from signal_assets.derivation import Input, Inputs, NotCompleteError, WorkDone, asset_name, scope_of
from signal_assets.event_time import DAY, iso
from signal_assets.instrument import Instrument
from signal_assets.removed_rows import require_kept
from signal_assets.table import Table
from signal_assets.window import Window


@dataclass(frozen=True, slots=True)
class Lesson:
    """One as-of table: ``new versions = rule(day's end, group, inputs, versions so far)``.

    Parameters
    ----------
    table : Table
        What is added to; its rows become valid a day after the end of the day they are learned from.
    inputs : tuple of Input
        What is read of the day; look-back in µs before its start.
    rule : callable
        Pure; gets all versions that are in force up to when the new ones begin, oldest first.
    """

    table: Table
    inputs: tuple[Input, ...]
    rule: Callable[[int, str, Inputs, pd.DataFrame], pd.DataFrame]


def learn_day(
    lake: Lake, lesson: Lesson, group: str, instruments: Sequence[Instrument], *, day: date, run_id: str
) -> WorkDone:
    """Add the versions learned from ``day``; what was learned from it before stays as it is.

    Raises
    ------
    NotCompleteError
        If the day is not complete, or the day before has not been learned from.
    RemovedRowsError
        If retention has removed rows that it would learn from.
    """
    began = time.perf_counter()
    window = Window.of_day(day)
    asset = asset_name(lesson.table)
    keys = scope_of(instruments)
    require_kept(lake, asset, ((item.table, item.look_back) for item in lesson.inputs), window.start)
    origin = min(_complete(lake, asset, item.table, group, window.end) for item in lesson.inputs)
    before = lake.progress(asset, group)
    reached = before.progress if before is not None else origin
    if reached < window.start and origin < window.start:
        raise NotCompleteError(f"{asset}: {day} comes after {iso(reached)}, up to which was learned: days in order")
    inputs = {
        item.table.name: lake.read(
            item.table, start=window.start - item.look_back, end=window.end, instruments=keys, columns=item.columns
        )
        for item in lesson.inputs
    }
    versions = lake.read(lesson.table, end=window.end + DAY, instruments=keys)
    rows = lesson.rule(window.end, group, inputs, versions.sort_values(str(lesson.table.time), kind="stable"))
    done = WorkDone(windows=1, start=window.start, end=window.end)
    with lake.transaction(asset=asset, run_id=run_id) as unit:
        added = unit.append(lesson.table, rows)
        if before is None or before.progress < window.end:
            unit.advance(asset, group, before, Progress(min(origin, window.start), window.end))
    done.add(lesson.table, rows, added)
    done.details["valid_from"] = iso(window.end + DAY)
    done.snapshot_id = unit.snapshot_id
    done.seconds = time.perf_counter() - began
    return done


def _complete(lake: Lake, asset: str, table: Table, group: str, end: int) -> int:
    """Check that an input is complete up to ``end``; returns where its history begins."""
    progress = lake.progress(asset_name(table), group)
    if progress is None or progress.progress < end:
        known = "nothing yet" if progress is None else iso(progress.progress)
        raise NotCompleteError(f"{asset}: {table.name} of {group} is complete up to {known}, not to {iso(end)}")
    return progress.origin
