"""How a window table follows from its inputs, and the two ways in which its rows come about.

Belongs here: forward work and day runs over any lake – the same few lines for every window table, so that a cut can
never matter to one and not to another. Does not belong here: the kernels (each stage), Dagster (``assets.py``).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import pandas as pd

from resources.lake import Lake, LakeError, LakeTransaction, Progress, State
from signal_assets.event_time import DAY, MINUTE, iso
from signal_assets.instrument import Instrument, whole_group
from signal_assets.market.tables import TABLES as RAW_TABLES
from signal_assets.removed_rows import kept_since, require_kept
from signal_assets.table import Table
from signal_assets.window import Window, forward_windows

Inputs = Mapping[str, pd.DataFrame]
"""Rows of each input, by table name, ordered by instrument, time and key."""


COMPUTED: Final = "computed"
"""Kept in the place of a state for days that were computed out of order: a window table has no memory to keep."""


class NotCompleteError(LakeError):
    """What a window is made from is not complete up to its end."""


@dataclass(frozen=True, slots=True)
class Input:
    """A table a kernel reads: its rows in ``(start - look_back, end]``, look-back in µs; columns None means all."""

    table: Table
    look_back: int = 0
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Derivation:
    """One window table: ``rows = kernel(window, instruments, inputs)``.

    Parameters
    ----------
    table : Table
        What is written.
    inputs : tuple of Input
        What is read, each with its finite look-back.
    kernel : callable
        Pure; returns rows of ``table`` whose time lies in the window.
    grid : int
        Rows exist only at multiples of this many microseconds of event time.
    verify : callable, optional
        Raises if rows must never be published, given window, inputs and rows; called before the commit.
    """

    table: Table
    inputs: tuple[Input, ...]
    kernel: Callable[[Window, Sequence[Instrument], Inputs], pd.DataFrame]
    grid: int
    verify: Callable[[Window, Inputs, pd.DataFrame], None] | None = None

    @property
    def asset(self) -> str:
        """Name of the asset that writes the table, ``stage/table``."""
        return asset_name(self.table)

    @property
    def needs(self) -> list[tuple[Table, int]]:
        """What is read, and how far back; a minute is the bar that ends in the window, not another day."""
        return [(item.table, item.look_back if item.look_back > MINUTE else 0) for item in self.inputs]


@dataclass
class WorkDone:
    """What a run did for one table; becomes the materialization's metadata."""

    rows: int = 0
    windows: int = 0
    start: int | None = None
    end: int | None = None
    first_event: int | None = None
    last_event: int | None = None
    snapshot_id: int | None = None
    seconds: float = 0.0
    details: dict[str, int | float | str] = field(default_factory=dict)

    def add(self, table: Table, frame: pd.DataFrame, written: int) -> None:
        """Count rows of ``frame`` that were written."""
        self.rows += written
        if len(frame) and table.time is not None:
            first, last = int(frame[table.time].min()), int(frame[table.time].max())
            self.first_event = first if self.first_event is None else min(first, self.first_event)
            self.last_event = last if self.last_event is None else max(last, self.last_event)


def compute(
    lake: Lake, derivation: Derivation, window: Window, instruments: Sequence[Instrument], *, late: bool
) -> pd.DataFrame:
    """Rows of one window, from what the lake holds now; ``late`` says whether late raw rows take part."""
    if not window.holds(derivation.grid):
        return derivation.table.empty()
    keys = scope_of(instruments)
    inputs = {
        item.table.name: lake.read(
            item.table,
            start=window.start - item.look_back,
            end=window.end,
            instruments=keys,
            late=late,
            columns=item.columns,
        )
        for item in derivation.inputs
    }
    rows = derivation.kernel(window, instruments, inputs)
    if derivation.verify is not None:
        derivation.verify(window, inputs, rows)
    return rows


def forward(
    lake: Lake, derivation: Derivation, group: str, instruments: Sequence[Instrument], *, end: int, run_id: str
) -> WorkDone:
    """Compute from the table's own progress to ``end``, window by window; late rows are left out.

    Raises
    ------
    NotCompleteError
        If an input is not computed up to ``end``.
    RemovedRowsError
        If retention has removed what it would look back at.
    StaleExpectationError
        If another run moved the same progress meanwhile.
    """
    began = time.perf_counter()
    done = WorkDone()
    progresses = lake.progresses(group)
    first = _require_inputs(derivation, group, end, progresses)
    before = progresses.get(derivation.asset)
    if before is None:
        first = kept_since(lake, derivation.needs, first)
    elif any(item.look_back > MINUTE for item in derivation.inputs):  # retention never reaches what lies ahead
        require_kept(lake, derivation.asset, derivation.needs, before.progress)
    origin = before.origin if before is not None else first
    position = before.progress if before is not None else first
    keys = scope_of(instruments)
    done.start, done.end = position, max(position, end)
    while position < end:
        window = forward_windows(position, end)[0]
        if window.start % DAY == 0 and _is_computed(lake, derivation.asset, group, window.start + DAY):
            after = Progress(origin, window.start + DAY)  # a back-fill was here before us: its rows stand
            with lake.transaction(asset=derivation.asset, run_id=run_id) as unit:
                unit.advance(derivation.asset, group, before, after)
        else:
            rows = compute(lake, derivation, window, instruments, late=False)
            after = Progress(origin, window.end)
            with lake.transaction(asset=derivation.asset, run_id=run_id) as unit:
                written = unit.extend(derivation.table, rows, window, keys) if window.holds(derivation.grid) else 0
                unit.advance(derivation.asset, group, before, after)
            done.add(derivation.table, rows, written)
        before, position = after, after.progress
        done.windows += 1
        done.snapshot_id = unit.snapshot_id
    done.seconds = time.perf_counter() - began
    return done


def recompute_day(
    lake: Lake, derivation: Derivation, group: str, instruments: Sequence[Instrument], *, day: date, run_id: str
) -> WorkDone:
    """Replace a whole day that lies fully behind the watermark, late rows taken in.

    Progress that is inside the day moves to the day's end; progress behind it stays. Progress that is before the day
    stays too, since what lies between has not been computed: the day is noted, and progress passes it when it gets
    there. So days may be computed in any order, and never seem to be there when they are not.

    Raises
    ------
    NotCompleteError
        If an input is not computed up to the day's end.
    RemovedRowsError
        If retention has removed rows that the day follows from.
    """
    began = time.perf_counter()
    window = Window.of_day(day)
    require_kept(lake, derivation.asset, derivation.needs, window.start)
    first = _require_inputs(derivation, group, window.end, _with_noted_days(lake, derivation, group, window))
    rows = compute(lake, derivation, window, instruments, late=True)
    done = WorkDone(windows=1, start=window.start, end=window.end)
    with lake.transaction(asset=derivation.asset, run_id=run_id) as unit:
        written = unit.replace(derivation.table, rows, window, scope_of(instruments))
        _reach(lake, unit, derivation, group, first, window)
    done.add(derivation.table, rows, written)
    done.snapshot_id = unit.snapshot_id
    done.seconds = time.perf_counter() - began
    return done


def _reach(lake: Lake, unit: LakeTransaction, derivation: Derivation, group: str, first: int, window: Window) -> None:
    """Move progress over the day just written and over those after it that are noted, or note it."""
    before = unit.progress(derivation.asset, group)
    position = before.progress if before is not None else kept_since(lake, derivation.needs, first)
    if position >= window.end:
        return
    if position < window.start:
        unit.keep_state(State(derivation.asset, group, "day_end", window.end, COMPUTED))
        return
    end = window.end
    while _is_computed(lake, derivation.asset, group, end + DAY):
        end += DAY
    origin = before.origin if before is not None else min(position, window.start)
    unit.advance(derivation.asset, group, before, Progress(origin, end))


def _is_computed(lake: Lake, asset: str, group: str, day_end: int) -> bool:
    """Whether the day that ends there was computed while progress had not come to it."""
    return lake.state(asset, group, day_end) is not None


def _with_noted_days(lake: Lake, derivation: Derivation, group: str, window: Window) -> dict[str, Progress]:
    """Progress of the inputs as a day run sees it: beyond days that are missing, if it reads none of them.

    A day and what is made of it are often one run, while the days before are still another worker's.
    """
    progresses = dict(lake.progresses(group))
    begin = min((progress.origin for progress in progresses.values()), default=window.start)
    for item in derivation.inputs:
        name = asset_name(item.table)
        known = progresses.get(name, Progress(begin, begin))
        back = item.look_back if item.look_back > MINUTE else 0
        start = max(known.progress, window.start - back)
        days = range(start - start % DAY + DAY, window.end + 1, DAY)
        if days and all(_is_computed(lake, name, group, day_end) for day_end in days):
            progresses[name] = Progress(known.origin, window.end)
    return progresses


def _require_inputs(derivation: Derivation, group: str, end: int, progresses: Mapping[str, Progress]) -> int:
    """Check that every input is complete up to ``end``; returns where the group's history begins."""
    origins = []
    for item in derivation.inputs:
        progress = progresses.get(asset_name(item.table))
        if progress is None or progress.progress < end:
            known = "nothing yet" if progress is None else iso(progress.progress)
            raise NotCompleteError(
                f"{derivation.asset}: {item.table.name} of {group} is complete up to {known}, not to {iso(end)}"
            )
        origins.append(progress.origin)
    return min(origins)


def scope_of(instruments: Sequence[Instrument]) -> list[str]:
    """What stands in the column ``instrument`` of a group's rows: its instruments, and the group as a whole."""
    return [*(instrument.key for instrument in instruments), whole_group(instruments[0].group)]


def asset_name(table: Table) -> str:
    """Name of the asset that writes ``table``, ``stage/table``."""
    return f"{table.stage}/{table.short_name}"


def watermark_of(lake: Lake, group: str) -> int | None:
    """Event time up to which all raw data of the group is in the lake; None before there is any."""
    progresses = lake.progresses(group)
    known = [progresses.get(asset_name(table)) for table in RAW_TABLES]
    if any(progress is None for progress in known):
        return None
    return min(progress.progress for progress in known if progress is not None)
