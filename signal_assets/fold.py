"""How a fold's tables follow from its inputs: stepping a machine through event time, keeping its state.

Belongs here: forward work and day runs of folds over any lake, and the events they are handed. Does not belong here:
machines (the stages), window tables (``derivation``), Dagster (``materialization``).

Forward work keeps its state at every :data:`CHECKPOINT`. A run begins at the newest one, steps through what lies
between it and the table's progress without writing, and goes on from there: so states are few, what is kept depends on
event time alone, and the live lane resumes in the very same way. Each day's end is kept besides: the next day's day run
begins there.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import pandas as pd
import structlog

from resources.lake import Lake, LakeError, Progress, State
from signal_assets.derivation import Input, NotCompleteError, WorkDone, asset_name, scope_of
from signal_assets.event_time import DAY, MINUTE, date_of, day_end, day_start, floor_to, iso
from signal_assets.instrument import Instrument
from signal_assets.machine import Events, Machine, decode_state, encode_state, record_class
from signal_assets.removed_rows import kept_since, require_kept
from signal_assets.table import Table
from signal_assets.window import Window, forward_windows

CHECKPOINT: Final = 10 * MINUTE
"""A state is kept at multiples of this; a midnight is one."""

log = structlog.get_logger(__name__)


class StateError(LakeError):
    """What a fold remembered was kept by a version whose machines remembered other things."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Tables written together by one machine per group.

    Parameters
    ----------
    name : str
        Under which its states are kept, and the name of its operation in Dagster, ``stage_name``.
    tables : tuple of Table
        What is written; all of them move together.
    inputs : tuple of Input
        What is stepped through; look-back is not used, a machine remembers. At equal times a machine is handed the rows
        of all inputs at once.
    machine : callable
        A new machine of a group, cold.
    in_force : tuple of Table
        As-of tables whose versions the machine is told at the beginning of each day.
    version : str
        What tells machines of other parameters apart.
    """

    name: str
    tables: tuple[Table, ...]
    inputs: tuple[Input, ...]
    machine: Callable[[Sequence[Instrument]], Machine]
    in_force: tuple[Table, ...] = ()
    version: str = ""

    @property
    def needs(self) -> list[tuple[Table, int]]:
        """What is read; nothing before the window, a machine remembers."""
        return [(item.table, 0) for item in self.inputs]


class Stepper:
    """One machine on its way: tells it of each new day, keeps nothing else.

    Parameters
    ----------
    in_force : callable
        Versions in force on the day that begins at the given time, by table name.
    """

    def __init__(
        self, machine: Machine, in_force: Callable[[int], Mapping[str, Sequence[Any]]] = lambda start: {}
    ) -> None:
        self.machine = machine
        self._in_force = in_force
        self._day: int | None = None

    def step(self, time: int, events: Events) -> Mapping[str, Sequence[tuple[Any, ...]]]:
        """Step the machine, telling it first of a new day."""
        today = day_start(time)
        if today != self._day:
            self.machine.begin_day(today, self._in_force(today))
            self._day = today
        return self.machine.step(time, events)


class WarmMachines:
    """Machines that this process has brought to a fold's progress: the next run need not restore and step again.

    A machine is a function of the events up to its time, whoever stepped it; so one whose time is the progress found in
    the lake is as good as one restored from there.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[tuple[int, str, Sequence[Instrument]], Stepper]] = {}

    def take(self, fold: Fold, group: str, instruments: Sequence[Instrument], position: int) -> Stepper | None:
        """The machine that stands at ``position``, given away; None if there is none."""
        kept = self._kept.pop((fold.name, group), None)
        return kept[1] if kept is not None and kept[0] == (position, fold.version, tuple(instruments)) else None

    def keep(self, fold: Fold, group: str, instruments: Sequence[Instrument], position: int, stepper: Stepper) -> None:
        """Keep a machine whose rows up to ``position`` are committed."""
        self._kept[fold.name, group] = ((position, fold.version, tuple(instruments)), stepper)


def forward_fold(
    lake: Lake,
    fold: Fold,
    group: str,
    instruments: Sequence[Instrument],
    *,
    end: int,
    run_id: str,
    warm: WarmMachines | None = None,
) -> dict[Table, WorkDone]:
    """Step from the fold's own progress to ``end``, window by window; late rows are left out.

    Raises
    ------
    NotCompleteError
        If an input is not computed up to ``end``, or what should be in force has not been learned.
    StateError
        If the state was kept by another version, and so was that of the day's beginning.
    StaleExpectationError
        If another run moved the same progress meanwhile.
    """
    began = time.perf_counter()
    progresses = lake.progresses(group)
    first = require_inputs(fold, group, end, progresses)
    before = progresses.get(asset_name(fold.tables[0]))
    if before is None:
        first = kept_since(lake, fold.needs, first)
    origin = before.origin if before is not None else first
    position = before.progress if before is not None else first
    done = {table: WorkDone(start=position, end=max(position, end)) for table in fold.tables}
    stepper, begin = warm.take(fold, group, instruments, position) if warm is not None else None, position
    if stepper is None:
        stepper, begin = _resume(lake, fold, instruments, position, origin)
    for window in forward_windows(position, end):
        snapshot = lake.snapshot()
        made = _window_rows(lake, fold, instruments, window, stepper, begin, late=False)
        begin = window.end
        after = Progress(origin, window.end)
        with lake.transaction(asset=asset_name(fold.tables[0]), run_id=run_id) as unit:
            _write(unit.extend, fold, instruments, window, made, {"run_id": run_id, "snapshot_id": snapshot}, done)
            if window.end % DAY == 0:
                unit.keep_state(State(fold.name, group, "day_end", window.end, encode_state(stepper.machine.state())))
            if made.checkpoint is not None:
                unit.keep_state(State(fold.name, group, "rolling", *made.checkpoint))
            for table in fold.tables:
                unit.advance(asset_name(table), group, before, after)
        before = after
        for work in done.values():
            work.windows += 1
            work.snapshot_id = unit.snapshot_id
    if warm is not None:
        warm.keep(fold, group, instruments, max(position, end), stepper)
    for work in done.values():
        work.seconds = time.perf_counter() - began
    return done


def recompute_day_fold(
    lake: Lake, fold: Fold, group: str, instruments: Sequence[Instrument], *, day: date, run_id: str
) -> dict[Table, WorkDone]:
    """Replace a whole day that lies fully behind the watermark, beginning with the state of the day before's end.

    Progress that is still inside or before the day moves to the day's end; progress behind it stays.

    Raises
    ------
    NotCompleteError
        If an input is not computed up to the day's end, or the day before has not been computed yet.
    RemovedRowsError
        If retention has removed rows that the day follows from.
    StateError
        If the state of the day before's end was kept by another version.
    """
    began = time.perf_counter()
    window = Window.of_day(day)
    require_kept(lake, fold.name, fold.needs, window.start)
    progresses = lake.progresses(group)
    first = min(require_inputs(fold, group, window.end, progresses), window.end - 1)
    known = progresses.get(asset_name(fold.tables[0]))
    origin = known.origin if known is not None else first
    state = lake.state(fold.name, group, window.start)
    if origin < window.start and state is None:
        raise NotCompleteError(
            f"{fold.name}: {day} follows from the end of the day before, which has not been computed: compute the days "
            f"from {iso(origin)} on in order (`signals backfill` does)"
        )
    snapshot = lake.snapshot()
    stepper, begin = _begin(lake, fold, instruments, state, max(origin, window.start))
    made = _window_rows(lake, fold, instruments, window, stepper, begin, late=True)
    day_end = encode_state(stepper.machine.state())
    done = {table: WorkDone(windows=1, start=window.start, end=window.end) for table in fold.tables}
    with lake.transaction(asset=asset_name(fold.tables[0]), run_id=run_id) as unit:
        _write(unit.replace, fold, instruments, window, made, {"run_id": run_id, "snapshot_id": snapshot}, done)
        for table in fold.tables:
            before = unit.progress(asset_name(table), group)
            if before is None or before.progress < window.end:
                unit.advance(asset_name(table), group, before, Progress(origin, window.end))
                unit.keep_state(State(fold.name, group, "rolling", window.end, day_end))
        unit.keep_state(State(fold.name, group, "day_end", window.end, day_end))
    for work in done.values():
        work.snapshot_id = unit.snapshot_id
        work.seconds = time.perf_counter() - began
    return done


def _resume(
    lake: Lake, fold: Fold, instruments: Sequence[Instrument], position: int, origin: int
) -> tuple[Stepper, int]:
    """The machine of the newest checkpoint; of the day's beginning, if another version kept that.

    So after an upgrade a day that is under way is stepped through once more without writing. More than that is a
    back-fill's work, day by day, not one run's.
    """
    group = instruments[0].group
    try:
        return _begin(lake, fold, instruments, lake.state(fold.name, group), origin)
    except StateError as error:
        start = floor_to(position, DAY)
        beginning = lake.state(fold.name, group, start) if origin < start else None
        if origin < start and beginning is None:
            raise
        require_kept(lake, fold.name, fold.needs, max(origin, start))
        resumed = _begin(lake, fold, instruments, beginning, origin)
        log.warning(
            "the day is stepped through anew", fold=fold.name, group=group, since=iso(resumed[1]), error=str(error)
        )
        return resumed


def _begin(
    lake: Lake, fold: Fold, instruments: Sequence[Instrument], state: State | None, origin: int
) -> tuple[Stepper, int]:
    """A machine restored from the state (none: cold, at the origin), and the time it stands at."""
    group = instruments[0].group
    machine = fold.machine(instruments)
    if state is not None:
        try:
            machine.restore(decode_state(state.state))
        except Exception as error:  # whatever a machine makes of what it did not write
            why = " ".join(f"{type(error).__name__}: {error}".split())
            known = lake.progress(asset_name(fold.tables[0]), group)
            first = date_of((known.origin if known is not None else origin) + 1)
            raise StateError(
                f"{fold.name}: what {group} remembered at {iso(state.time)} cannot be read, another version kept it "
                f"({why}): compute all whole days again (`signals backfill --from {first} --to …`)"
            ) from error
    stepper = Stepper(machine, lambda start: versions_in_force(lake, fold.in_force, group, instruments, start, origin))
    return stepper, state.time if state is not None else origin


@dataclass(frozen=True)
class _Made:
    """Rows of a window, and time and state of the newest checkpoint in it."""

    rows: dict[str, pd.DataFrame]
    checkpoint: tuple[int, str] | None


def _window_rows(
    lake: Lake,
    fold: Fold,
    instruments: Sequence[Instrument],
    window: Window,
    stepper: Stepper,
    begin: int,
    *,
    late: bool,
) -> _Made:
    """Step from ``begin``, which is not after the window's start, to its end; only the window's rows are kept."""
    due = floor_to(window.end, CHECKPOINT)
    checkpoint: tuple[int, str] | None = None
    collected: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for moment, events in events_between(lake, fold, instruments, begin, window.end, late=late):
        if checkpoint is None and moment > due > window.start:
            checkpoint = (due, encode_state(stepper.machine.state()))
        rows = stepper.step(moment, events)
        if moment > window.start:
            for name, made in rows.items():
                collected[name].extend(made)
    if checkpoint is None and due > window.start:
        checkpoint = (due, encode_state(stepper.machine.state()))
    return _Made({table.name: frame_of(table, collected[table.name]) for table in fold.tables}, checkpoint)


def _write(
    put: Callable[[Table, pd.DataFrame, Window, Sequence[str]], int],
    fold: Fold,
    instruments: Sequence[Instrument],
    window: Window,
    made: _Made,
    operational: Mapping[str, int | str],
    done: Mapping[Table, WorkDone],
) -> None:
    keys = scope_of(instruments)
    for table in fold.tables:
        rows = made.rows[table.name]
        if rows.empty:
            rows = table.empty()
        for column in table.columns if len(rows) else ():
            if column.operational:
                rows[column.name] = operational[column.name]
        done[table].add(table, rows, put(table, rows, window, keys))


def require_inputs(fold: Fold, group: str, end: int, progresses: Mapping[str, Progress]) -> int:
    """Check that every input is complete up to ``end``; returns where the group's history begins."""
    origins = []
    for item in fold.inputs:
        progress = progresses.get(asset_name(item.table))
        if progress is None or progress.progress < end:
            known = "nothing yet" if progress is None else iso(progress.progress)
            raise NotCompleteError(
                f"{fold.name}: {item.table.name} of {group} is complete up to {known}, not to {iso(end)}"
            )
        origins.append(progress.origin)
    return min(origins)


def versions_in_force(
    lake: Lake, tables: Sequence[Table], group: str, instruments: Sequence[Instrument], start: int, origin: int
) -> dict[str, Sequence[Any]]:
    """Versions in force on the day that begins at ``start``, by table name, oldest first.

    Raises
    ------
    NotCompleteError
        If a day from which they should have been learned has not been: versions of day D are due on D+2. What people
        give is not learned, and not waited for.
    """
    due = start - DAY
    keys = scope_of(instruments)
    found: dict[str, Sequence[Any]] = {}
    for table in tables:
        if due > origin and table.kind != "given":
            progress = lake.progress(asset_name(table), group)
            if progress is None or progress.progress < due:
                raise NotCompleteError(
                    f"{table.name} of {group} has not been learned up to {iso(due)}, so nothing is in force on the day "
                    f"that begins at {iso(start)}: the learning job does that"
                )
        rows = lake.read(table, end=start, instruments=keys)
        ordered = rows.sort_values([str(table.time), *table.key], kind="stable") if len(rows) else rows
        found[table.name] = records_of(table, ordered)
    return found


def events_between(
    lake: Lake, fold: Fold, instruments: Sequence[Instrument], start: int, end: int, *, late: bool
) -> Iterator[tuple[int, Events]]:
    """Events of ``(start, end]`` in ascending time; read day by day, so that memory stays bounded."""
    keys = scope_of(instruments)
    while start < end:
        stop = min(end, day_end(start + 1))
        frames = {
            item.table: lake.read(item.table, start=start, end=stop, instruments=keys, late=late, columns=item.columns)
            for item in fold.inputs
        }
        yield from group_by_time(frames)
        start = stop


def group_by_time(frames: Mapping[Table, pd.DataFrame]) -> Iterator[tuple[int, Events]]:
    """Merge rows of several tables by their time; within a time and table ordered by instrument and key."""
    sources: list[tuple[str, list[Any], list[int]]] = []
    for table, frame in frames.items():
        if len(frame):
            order = [str(table.time), "instrument", *(name for name in table.key if name in frame.columns)]
            ordered = frame.sort_values(list(dict.fromkeys(order)), kind="stable")
            sources.append((table.name, records_of(table, ordered), ordered[str(table.time)].tolist()))
    if not sources:
        return
    moments = sorted(set().union(*(times for _, _, times in sources)))
    positions = [0] * len(sources)
    for moment in moments:
        events: dict[str, Sequence[Any]] = {}
        for i, (name, records, at) in enumerate(sources):
            first = last = positions[i]
            while last < len(at) and at[last] == moment:
                last += 1
            if last > first:
                events[name] = records[first:last]
                positions[i] = last
        yield moment, events


def records_of(table: Table, frame: pd.DataFrame) -> list[Any]:
    """Rows as records of the table's value columns (absent ones None), with plain Python numbers."""
    columns: list[Any] = []
    for name in table.value_columns:
        if name not in frame.columns:
            columns.append([None] * len(frame))
        elif table.column(name).nullable:
            columns.append([None if pd.isna(value) else value for value in frame[name].tolist()])
        else:
            columns.append(frame[name].tolist())
    make = record_class(table)._make
    return [make(values) for values in zip(*columns, strict=True)]


def frame_of(table: Table, rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """Rows in the order of the value columns as a frame of the table's dtypes, operational columns left out."""
    if not rows:
        return table.empty()[list(table.value_columns)]
    columns = dict(zip(table.value_columns, zip(*rows, strict=True), strict=True))
    made: dict[str, Any] = {}
    for name, values in columns.items():
        column = table.column(name)
        if column.type.is_list:
            held = np.empty(len(values), dtype=object)
            held[:] = [np.asarray(value, dtype=np.int64) for value in values]
            made[name] = held
        elif column.nullable and column.type.dtype == "int64":
            made[name] = pd.array(values, dtype="Int64")
        else:
            made[name] = (
                pd.array(values, dtype="str")
                if column.type.dtype == "str"
                else np.array(values, dtype=column.type.dtype)
            )
    return pd.DataFrame(made)
