"""The lake in memory: the same promises as DuckLake, kept in sorted arrays of one process.

Belongs here: what research and tests run whole histories through in seconds – back-tests, equality of every cut. Does
not belong here: persistence or snapshots of the past.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from resources.lake import Lake, LakeError, Offset, Progress, StaleExpectationError, State, check_inside
from signal_assets.table import Table
from signal_assets.window import Window

_INITIAL_ROWS: Final = 256


class _Shelf:
    """Rows of one table and instrument, ascending in time and key, in arrays that grow by doubling."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._size = 0
        self._arrays: dict[str, Any] = {}
        self._order: list[str] = [
            str(table.time),
            *(name for name in table.key if name not in ("instrument", table.time)),
        ]
        self._keys: set[tuple[object, ...]] = set()

    @property
    def keys(self) -> set[tuple[object, ...]]:
        return self._keys

    def copy(self) -> "_Shelf":
        made = _Shelf(self._table)
        made._size = self._size
        made._arrays = {name: values.copy() for name, values in self._arrays.items()}
        made._keys = set(self._keys)
        return made

    @property
    def times(self) -> NDArray[np.int64]:
        times: NDArray[np.int64] = self._arrays[str(self._table.time)][: self._size]
        return times

    def columns(self, start: int | None, end: int | None) -> dict[str, Any]:
        low, high = self._range(start, end)
        return {name: values[low:high] for name, values in self._arrays.items()}

    def count(self, start: int, end: int) -> int:
        low, high = self._range(start, end)
        return high - low

    def append_new(self, rows: pd.DataFrame) -> int:
        names = [name for name in self._table.key if name != "instrument"]
        keys = list(zip(*(rows[name] for name in names), strict=True))
        fresh = np.fromiter((key not in self._keys for key in keys), dtype=bool, count=len(keys))
        self._keys.update(keys)
        self._insert(rows[fresh])
        return int(fresh.sum())

    def replace(self, rows: pd.DataFrame, start: int | None, end: int) -> None:
        if self._size:
            low, high = self._range(start, end)
            if low < high:
                for name, values in self._arrays.items():
                    values[low : self._size - (high - low)] = values[high : self._size].copy()
                    self._arrays[name] = values
                self._size -= high - low
        self._insert(rows)

    def _range(self, start: int | None, end: int | None) -> tuple[int, int]:
        if not self._size:
            return 0, 0
        low = 0 if start is None else int(np.searchsorted(self.times, start, side="right"))
        high = self._size if end is None else int(np.searchsorted(self.times, end, side="right"))
        return low, high

    def _insert(self, rows: pd.DataFrame) -> None:
        if rows.empty:
            return
        rows = rows.sort_values(self._order, kind="stable")
        at_end = not self._size or int(rows[self._table.time].iloc[0]) > int(self.times[-1])
        count = len(rows)
        for column in self._table.columns:
            if column.name == "instrument":
                continue
            values = rows[column.name].to_numpy(
                dtype=object if column.type.is_list or column.nullable else _plain(column.type.dtype)
            )
            held = self._arrays.get(column.name)
            if held is None:
                held = np.empty(max(_INITIAL_ROWS, count), dtype=values.dtype)
            if self._size + count > len(held):
                grown = np.empty(2 * (self._size + count), dtype=held.dtype)
                grown[: self._size] = held[: self._size]
                held = grown
            held[self._size : self._size + count] = values
            self._arrays[column.name] = held
        self._size += count
        if not at_end:
            order = np.lexsort([self._sort_key(name) for name in reversed(self._order)])
            for name, values in self._arrays.items():
                values[: self._size] = values[: self._size][order]
                self._arrays[name] = values

    def _sort_key(self, name: str) -> NDArray[Any]:
        values: NDArray[Any] = self._arrays[name][: self._size]
        return values if values.dtype != object else np.unique(values.astype(str), return_inverse=True)[1]


def _plain(dtype: str) -> str:
    return "object" if dtype == "str" else dtype


@dataclass
class _Written:
    table: Table
    frame: pd.DataFrame
    window: Window | None
    instruments: tuple[str, ...]


class MemoryLake(Lake):
    """Tables of one process; a transaction is applied whole when it ends well, and leaves no trace when it does not."""

    def __init__(self) -> None:
        self._shelves: dict[tuple[str, str], _Shelf] = {}
        self._borrowed: set[tuple[str, str]] = set()
        self._progress: dict[tuple[str, str], Progress] = {}
        self._offsets: dict[str, Offset] = {}
        self._states: dict[tuple[str, str, int | None], State] = {}
        self._removed: dict[str, int] = {}
        self._snapshot = 0

    def ensure(self, tables: Iterable[Table]) -> None:
        """Nothing to do: a table appears when it is first written."""

    def read(
        self,
        table: Table,
        *,
        start: int | None = None,
        end: int | None = None,
        instruments: Sequence[str] | None = None,
        late: bool = True,
        columns: Sequence[str] | None = None,
        snapshot: int | None = None,
    ) -> pd.DataFrame:
        """Read rows of ``(start, end]`` into arrays; see :class:`resources.lake.Lake`.

        Raises
        ------
        LakeError
            If a past snapshot is asked for: memory has no past.
        """
        if snapshot is not None:
            raise LakeError("a lake in memory keeps no past snapshots")
        wanted = (
            [table.column(name).name for name in columns] if columns is not None else [c.name for c in table.columns]
        )
        names = sorted(name for stored, name in self._shelves if stored == table.name)
        parts = []
        for name in names:
            if instruments is not None and name not in instruments:
                continue
            held = self._shelves[table.name, name].columns(start, end)
            count = len(next(iter(held.values()))) if held else 0
            if not count:
                continue
            if not late and "late" in held:
                kept = ~held["late"].astype(bool)
                held = {key: values[kept] for key, values in held.items()}
                count = int(kept.sum())
            parts.append(
                pd.DataFrame(
                    {
                        key: pd.array(pa.repeat(name, count), dtype="str") if key == "instrument" else held[key].copy()
                        for key in wanted
                    }
                )
            )
        if not parts:
            return table.empty()[wanted]
        frame = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
        for key in wanted:
            column = table.column(key)
            if column.nullable and column.type.dtype == "int64":
                frame[key] = frame[key].astype("Int64")
            elif column.type.dtype == "str":
                frame[key] = frame[key].astype("str")
        return frame

    @contextmanager
    def transaction(self, *, asset: str, run_id: str) -> Iterator["MemoryLakeTransaction"]:
        """One transaction; nothing shows before it ends."""
        unit = MemoryLakeTransaction(self)
        yield unit
        unit.apply()
        self._snapshot += 1
        unit.snapshot_id = self._snapshot

    def snapshot(self) -> int:
        """Id of the newest snapshot: transactions so far."""
        return self._snapshot

    def progresses(self, scope: str) -> dict[str, Progress]:
        """How far each asset that has written for ``scope`` has come."""
        return {asset: progress for (asset, known), progress in self._progress.items() if known == scope}

    def state(self, fold: str, scope: str, day_end: int | None = None) -> State | None:
        """The rolling state of a fold, or that of a day's end; None if there is none."""
        return self._states.get((fold, scope, day_end))

    def removed(self) -> dict[str, int]:
        """Event time up to which retention has removed rows, by name of the table."""
        return dict(self._removed)

    def offsets(self, streams: Sequence[str]) -> dict[str, Offset]:
        """How far each of these streams has been taken in; without those that have not."""
        return {stream: self._offsets[stream] for stream in streams if stream in self._offsets}

    def branch(self) -> "MemoryLake":
        """A lake of its own that begins with these rows; they are copied only where it writes."""
        made = MemoryLake()
        made._shelves = dict(self._shelves)
        made._borrowed = set(self._shelves)
        self._borrowed |= set(self._shelves)
        made._progress, made._offsets = dict(self._progress), dict(self._offsets)
        made._states, made._removed = dict(self._states), dict(self._removed)
        return made

    def keys(self, table: Table, instrument: str) -> set[tuple[object, ...]]:
        """Natural keys (without the instrument) that are there already."""
        shelf = self._shelves.get((table.name, instrument))
        return shelf.keys if shelf is not None else set()

    def instruments(self, table: Table) -> list[str]:
        """Instruments that have rows in the table."""
        return sorted(name for stored, name in self._shelves if stored == table.name)

    def holds(self, table: Table, instrument: str) -> bool:
        """Whether there may be rows of that table and instrument."""
        return (table.name, instrument) in self._shelves

    def count(self, table: Table, instrument: str, window: Window) -> int:
        """Rows of one table and instrument in the window."""
        shelf = self._shelves.get((table.name, instrument))
        return shelf.count(window.start, window.end) if shelf is not None else 0

    def shelf(self, table: Table, instrument: str) -> _Shelf:
        """Where the rows of one table and instrument stand, to be written to."""
        place = (table.name, instrument)
        if place in self._borrowed:
            self._shelves[place] = self._shelves[place].copy()
            self._borrowed.discard(place)
        return self._shelves.setdefault(place, _Shelf(table))


class MemoryLakeTransaction:
    """Writes of one transaction; made by :meth:`MemoryLake.transaction`."""

    def __init__(self, lake: MemoryLake) -> None:
        self._lake = lake
        self._written: list[_Written] = []
        self._progress: dict[tuple[str, str], Progress] = {}
        self._offsets: dict[str, Offset] = {}
        self._states: list[State] = []
        self._removals: dict[Table, int] = {}
        self._day_ends_before: int | None = None
        self.snapshot_id: int | None = None

    def append(self, table: Table, frame: pd.DataFrame) -> int:
        """Add rows whose natural key is new; the first one wins."""
        if frame.empty:
            return 0
        rows = table.conform(frame.drop_duplicates(subset=list(table.key), keep="first"))
        known = 0
        for name, part in rows.groupby("instrument"):
            held = self._lake.keys(table, str(name))
            keys = zip(*(part[key] for key in table.key if key != "instrument"), strict=True)
            known += sum(key in held for key in keys)
        self._written.append(_Written(table, rows, None, ()))
        return len(rows) - known

    def replace(self, table: Table, frame: pd.DataFrame, window: Window, instruments: Sequence[str]) -> int:
        """Replace these instruments' rows of the window."""
        rows = table.conform(frame)
        check_inside(table, rows, window, instruments)
        self._written.append(_Written(table, rows, window, tuple(instruments)))
        return len(rows)

    def extend(self, table: Table, frame: pd.DataFrame, window: Window, instruments: Sequence[str]) -> int:
        """Add these instruments' rows of a window behind the table's progress."""
        if held := sum(self._lake.count(table, name, window) for name in instruments):
            raise LakeError(f"{table.name} has {held} rows in {window} already, behind its progress")
        return self.replace(table, frame, window, instruments)

    def progress(self, asset: str, scope: str) -> Progress | None:
        """How far ``asset`` has come, inside this transaction."""
        return self._progress.get((asset, scope), self._lake.progress(asset, scope))

    def advance(self, asset: str, scope: str, expected: Progress | None, new: Progress) -> None:
        """Move progress by compare-and-set."""
        found = self.progress(asset, scope)
        if found != expected:
            raise StaleExpectationError(f"progress of {asset} for {scope} is {found}, this run expected {expected}")
        self._progress[asset, scope] = new

    def keep_state(self, state: State) -> None:
        """Keep a fold's state: in the place of the one rolling state, or of that of the same day's end."""
        self._states.append(state)

    def remove(self, table: Table, up_to: int) -> None:
        """Remove every row up to that time, and remember that they are gone."""
        self._removals[table] = up_to

    def remove_day_ends(self, before: int) -> None:
        """Remove states of day ends before that time."""
        self._day_ends_before = before

    def move_offset(self, stream: str, expected: Offset | None, new: Offset) -> None:
        """Move an offset by compare-and-set."""
        found = self._offsets.get(stream, self._lake.offset(stream))
        if found != expected:
            raise StaleExpectationError(f"offset of {stream} is {found}, this run expected {expected}")
        self._offsets[stream] = new

    def apply(self) -> None:
        """Make everything visible."""
        for written in self._written:
            if written.window is None:
                for name, part in written.frame.groupby("instrument"):
                    self._lake.shelf(written.table, str(name)).append_new(part)
                continue
            for name in written.instruments:
                part = written.frame[written.frame["instrument"] == name] if len(written.frame) else written.frame
                if len(part) or self._lake.holds(written.table, name):
                    self._lake.shelf(written.table, name).replace(part, written.window.start, written.window.end)
        for state in self._states:
            day_end = state.time if state.kind == "day_end" else None
            self._lake._states[state.fold, state.scope, day_end] = state
        if (before := self._day_ends_before) is not None:
            gone = [place for place in self._lake._states if place[2] is not None and place[2] < before]
            for place in gone:
                del self._lake._states[place]
        for table, up_to in self._removals.items():
            for name in self._lake.instruments(table):
                self._lake.shelf(table, name).replace(table.empty(), None, up_to)
            self._lake._removed[table.name] = up_to
        self._lake._progress.update(self._progress)
        self._lake._offsets.update(self._offsets)
