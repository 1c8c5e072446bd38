"""One group's folds, stepped through the features grid as it closes: what batch does, row for row.

Belongs here: when a grid time is complete, what each fold is handed, which fold has dropped out. Does not belong here:
where rows come from (``venue_lane``, ``engine_start``), what becomes of signals (``signal_emitter``), any machine.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import nan
from operator import itemgetter
from typing import Any, Final

import numpy as np

from signal_assets.derivation import Input
from signal_assets.event_time import day_start
from signal_assets.fold import Fold, Stepper
from signal_assets.instrument import Instrument
from signal_assets.machine import Events, Machine, record_class
from signal_assets.market.tables import FEATURES
from signal_assets.table import Column, ColumnType, Table

Row = tuple[Any, ...]
Versions = Mapping[str, Sequence[Any]]

_INSTRUMENT: Final = FEATURES.value_columns.index("instrument")
_TIME: Final = FEATURES.value_columns.index(str(FEATURES.time))
_PLUG_INS: Final = {"anomalies": "detector", "strategies": "strategy"}
"""What a fold's machine keeps from failing the others, by stage."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the folds made at one grid time: by table name, tuples in the order of ``Table.value_columns``."""

    time: int
    rows: Mapping[str, Sequence[Row]]


class GroupEngine:
    """Steps a group's folds at every grid time that all of its instruments have closed.

    At such a time every fold, in order, is handed the features rows of that time and what earlier folds have made of
    it – the records that batch reads from the lake – and is stepped if there are any. A fold that raises is out of step
    with the lake from then on and is not stepped any more; the others go on.

    Parameters
    ----------
    instruments : sequence of Instrument
        The group.
    folds : sequence of Fold
        Each may read ``market.features`` and tables of the folds before it.
    in_force : callable
        Versions in force on the day that begins at the given time, by table name, of all tables that folds name. What
        it raises is raised by :meth:`step` before anything has been stepped.
    begin : int, optional
        Everything up to this time has been stepped already (by whoever wrote the states that machines are restored
        from); None: nothing is known.

    Attributes
    ----------
    failed : dict of str to str
        Folds that have dropped out, and why.

    Raises
    ------
    ValueError
        If a fold reads a table that nobody makes here.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        folds: Sequence[Fold],
        in_force: Callable[[int], Versions],
        begin: int | None = None,
    ) -> None:
        self.watermarks: dict[str, int | None] = {instrument.key: begin for instrument in instruments}
        self.time = begin
        self.failed: dict[str, str] = {}
        self._in_force = in_force
        self._least = begin
        self._rows: dict[int, list[Row]] = {}
        self._times: list[int] = []
        self._day: int | None = None
        self._versions: Versions = {}
        known: dict[str, _Shelf] = {FEATURES.name: _Shelf(FEATURES)}
        self._stages: list[_Stage] = []
        for fold in folds:
            sources = []
            for item in fold.inputs:
                if item.table.name not in known:
                    raise ValueError(f"{fold.name}: the live lane has no rows of {item.table.name}")
                sources.append(known[item.table.name].source(item))
            stepper = Stepper(fold.machine(instruments), self._in_force_for(fold))
            self._stages.append(_Stage(fold, stepper, sources))
            known |= {table.name: _Shelf(table) for table in fold.tables}
        self._shelves = {name: shelf for name, shelf in known.items() if shelf.wanted}

    def _in_force_for(self, fold: Fold) -> Callable[[int], Versions]:
        return lambda start: {table.name: self._versions[table.name] for table in fold.in_force}

    @property
    def machines(self) -> dict[str, Machine]:
        """Machine of every fold, by the fold's name."""
        return {stage.fold.name: stage.stepper.machine for stage in self._stages}

    @property
    def pending(self) -> int:
        """Features rows whose grid time is not complete."""
        return sum(map(len, self._rows.values()))

    @property
    def coming(self) -> int | None:
        """The next grid time if it is complete."""
        if self._times and self._least is not None and self._times[0] <= self._least:
            return self._times[0]
        return None

    def plug_in_failures(self) -> Iterator[tuple[str, str, int, str]]:
        """What machines kept from failing the others: kind, name, how often, what it said last."""
        for stage in self._stages:
            kind = _PLUG_INS.get(stage.fold.tables[0].stage, stage.fold.tables[0].stage)
            machine: Any = stage.stepper.machine
            for name, count in getattr(machine, "failures", {}).items():
                yield kind, name, count, machine.last_failure.get(name, "")

    def take(self, instrument: str, rows: Sequence[Row], watermark: int) -> None:
        """Take an instrument's rows, in the order of FEATURES' columns, up to its new watermark; drop repeats."""
        before = self.watermarks[instrument]
        if before is not None and watermark <= before:
            return
        for row in rows:
            time = row[_TIME]
            if before is None or time > before:
                if time not in self._rows:
                    self._rows[time] = []
                    heappush(self._times, time)
                self._rows[time].append(row)
        self.watermarks[instrument] = watermark
        if before == self._least:
            known = [mark for mark in self.watermarks.values() if mark is not None]
            self._least = min(known) if len(known) == len(self.watermarks) else None

    def step(self) -> Step | None:
        """Step all folds at the next complete grid time; None if there is none."""
        time = self.coming
        if time is None:
            return None
        today = day_start(time)
        if today != self._day:
            self._versions, self._day = self._in_force(today), today
        heappop(self._times)
        features = sorted(self._rows.pop(time), key=itemgetter(_INSTRUMENT))
        found = {FEATURES.name: self._shelves[FEATURES.name].fill(features)} if FEATURES.name in self._shelves else {}
        made: dict[str, Sequence[Row]] = {}
        for stage in self._stages:
            events = stage.events(found)
            if not events or stage.fold.name in self.failed:
                continue
            try:
                rows = stage.stepper.step(time, events)
                found |= {name: self._shelves[name].fill(rows[name]) for name in rows if name in self._shelves}
            except Exception as error:  # a fault of ours in one machine: the others go on
                self.failed[stage.fold.name] = " ".join(f"{type(error).__name__}: {error}".split())
                continue
            made |= rows
        self.time = time
        return Step(time, made)


class _Shelf:
    """Rows of one table at one time, as they would come back from the lake; a None stands behind each row's values."""

    def __init__(self, table: Table) -> None:
        self.wanted: set[str] = set()
        self._table = table
        self._columns = [table.column(name) for name in table.value_columns]
        order = dict.fromkeys(("instrument", *(name for name in table.key if name != table.time)))
        self._order = itemgetter(*(table.value_columns.index(name) for name in order))
        self._casts: list[tuple[int, Callable[[Any], Any]]] = []

    def source(self, item: Input) -> "_Source":
        """Records with the columns of an input; what it does not ask for is None, as in batch."""
        names = self._table.value_columns
        columns = names if item.columns is None else item.columns
        self.wanted.update(columns)
        # A features row holds plain numbers already; only its lists are not what the lake gives.
        self._casts = [
            (index, _cast(column))
            for index, column in enumerate(self._columns)
            if column.name in self.wanted and (column.type.is_list or self._table is not FEATURES)
        ]
        nothing = len(names)
        pick = itemgetter(*(index if name in columns else nothing for index, name in enumerate(names)))
        make: Callable[[Row], Any] = record_class(self._table)._make
        return _Source(self._table.name, pick, make)

    def fill(self, rows: Sequence[Row]) -> list[Row]:
        """The rows with the types they have in the lake, ordered by instrument and key."""
        filled: list[Row] = []
        for row in rows:
            values = [*row, None]
            for index, cast in self._casts:
                values[index] = cast(values[index])
            filled.append(tuple(values))
        if self._table is not FEATURES:
            filled.sort(key=self._order)
        return filled


@dataclass(frozen=True, slots=True)
class _Source:
    table: str
    pick: Callable[[Row], Row]
    make: Callable[[Row], Any]


@dataclass(frozen=True, slots=True)
class _Stage:
    fold: Fold
    stepper: Stepper
    sources: Sequence[_Source]

    def events(self, found: Mapping[str, Sequence[Row]]) -> Events:
        """Records of every input that has rows."""
        return {
            source.table: [source.make(source.pick(row)) for row in rows]
            for source in self.sources
            if (rows := found.get(source.table))
        }


def stored(table: Table) -> Callable[[Row], Any]:
    """What turns a machine's row into the record that storing it and reading it back would give.

    Examples
    --------
    >>> from signal_assets.market.tables import FEED_GAPS
    >>> stored(FEED_GAPS)(("A.B", "depth", np.int64(1), np.int64(2), "sequence")).gap_end
    2
    """
    casts = [_cast(table.column(name)) for name in table.value_columns]
    make: Callable[[Any], Any] = record_class(table)._make
    return lambda row: make(cast(value) for cast, value in zip(casts, row, strict=True))


def _cast(column: Column) -> Callable[[Any], Any]:
    """What storing and reading back makes of a value."""
    kind = column.type
    if kind.is_list:
        return lambda value: np.asarray(value, dtype=np.int64)
    if kind is ColumnType.REAL and not column.nullable:
        return lambda value: nan if value is None else float(value)
    plain: Callable[[Any], Any] = {"str": str, "bool": bool, "int64": int, "float64": float}[kind.dtype]
    # What is no number is nothing where nothing may be.
    return (lambda value: None if value is None or value != value else plain(value)) if column.nullable else plain
