"""Writes to the DuckLake that become visible together, or not at all.

Belongs here: what happens between BEGIN and COMMIT. Does not belong here: the lock around it, reading (``duck_lake``).
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import duckdb
import pandas as pd

from resources.arrow_rows import encode_rows
from resources.duck_lake_sql import CATALOG, conditions_of
from resources.lake import Offset, Progress, StaleExpectationError, State, check_inside
from resources.platform_tables import OFFSETS, PROGRESS, REMOVALS, STATES
from signal_assets.table import Table
from signal_assets.window import Window

if TYPE_CHECKING:
    from resources.duck_lake import DuckLake

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Move(Generic[T]):
    """A value that is to be ``expected`` when it becomes ``new``."""

    what: str
    expected: T | None
    new: T

    def check(self, found: T | None) -> None:
        if found != self.expected:
            raise StaleExpectationError(f"{self.what} is {found}, this run expected {self.expected}")


def _moved(earlier: _Move[T] | None, expected: T | None, new: T, what: str) -> _Move[T]:
    """A move, or the one that takes it further within the same transaction."""
    if earlier is None:
        return _Move(what, expected, new)
    if earlier.new != expected:
        raise StaleExpectationError(f"{what} is {earlier.new}, this run expected {expected}")
    return _Move(what, earlier.expected, new)


class DuckLakeTransaction:
    """Writes of one transaction; made by :meth:`DuckLake.transaction`.

    Progress, offsets and states are moved when it ends, each kind in two statements: in DuckLake a statement costs ten
    milliseconds however little it does.
    """

    def __init__(self, lake: "DuckLake", run_id: str) -> None:
        self._lake = lake
        self._run_id = run_id
        self._progress: dict[tuple[str, str], _Move[Progress]] = {}
        self._offsets: dict[str, _Move[Offset]] = {}
        self._states: dict[tuple[str, str, str, int | None], State] = {}
        self.began = time.time_ns()
        self.written: set[str] = set()
        """Tables that were written, `stage/table`: where files of this transaction may lie."""
        self.snapshot_id: int | None = None
        self.moved: dict[str, int | str] = {}
        """Where progress was moved to; kept with the commit, so that latency can be read off the lake's own history."""

    def append(self, table: Table, frame: pd.DataFrame) -> int:
        """Add rows whose natural key is new; the first one wins, here and in the lake."""
        if frame.empty:
            return 0
        rows = table.conform(frame.drop_duplicates(subset=list(table.key), keep="first"))
        keys = ", ".join(table.key)
        inside, parameters = "", list[object]()
        if table.time is not None:
            # A row's time follows from its key, so a repeat can only stand where the new rows stand.
            first, last = int(rows[table.time].min()), int(rows[table.time].max())
            inside, parameters = conditions_of(table, first - 1, last, None, late=True)
        with self._staged(table, rows) as staged:
            count = self._lake.execute(
                f"INSERT INTO {CATALOG}.{table.name} BY NAME SELECT {staged}.* FROM {staged} "  # noqa: S608
                f"ANTI JOIN (SELECT {keys} FROM {CATALOG}.{table.name} {inside}) known USING ({keys})",
                parameters,
            ).fetchone()
        return int(count[0]) if count else 0

    def replace(self, table: Table, frame: pd.DataFrame, window: Window, instruments: Sequence[str]) -> int:
        """Replace these instruments' rows of the window."""
        rows = table.conform(frame)
        check_inside(table, rows, window, instruments)
        conditions, parameters = conditions_of(table, window.start, window.end, instruments, late=True)
        self.written.add(f"{table.stage}/{table.short_name}")
        self._lake.execute(f"DELETE FROM {CATALOG}.{table.name} {conditions}", parameters)  # noqa: S608
        return self._insert(table, rows)

    def extend(self, table: Table, frame: pd.DataFrame, window: Window, instruments: Sequence[str]) -> int:
        """Add these instruments' rows of a window behind the table's progress, where none can be."""
        rows = table.conform(frame)
        check_inside(table, rows, window, instruments)
        return self._insert(table, rows)

    def _insert(self, table: Table, rows: pd.DataFrame) -> int:
        if rows.empty:
            return 0
        with self._staged(table, rows) as staged:
            self._lake.execute(f"INSERT INTO {CATALOG}.{table.name} BY NAME SELECT * FROM {staged}")  # noqa: S608
        return len(rows)

    @contextmanager
    def _staged(self, table: Table, rows: pd.DataFrame) -> Iterator[str]:
        self.written.add(f"{table.stage}/{table.short_name}")
        connection = self._lake.connection()
        connection.register("staged_rows", encode_rows(table, rows))
        try:
            yield "staged_rows"
        finally:
            with suppress(duckdb.Error):  # closed by now, if PostgreSQL was lost on the way
                connection.unregister("staged_rows")

    def progress(self, asset: str, scope: str) -> Progress | None:
        """How far ``asset`` has come, inside this transaction."""
        move = self._progress.get((asset, scope))
        return move.new if move is not None else self._lake.progress(asset, scope)

    def advance(self, asset: str, scope: str, expected: Progress | None, new: Progress) -> None:
        """Move progress by compare-and-set."""
        self._progress[asset, scope] = _moved(
            self._progress.get((asset, scope)), expected, new, f"progress of {asset} for {scope}"
        )
        self.moved = {"scope": scope, "progress": new.progress}

    def move_offset(self, stream: str, expected: Offset | None, new: Offset) -> None:
        """Move an offset by compare-and-set."""
        self._offsets[stream] = _moved(self._offsets.get(stream), expected, new, f"offset of {stream}")

    def keep_state(self, state: State) -> None:
        """Keep a fold's state: in the place of the one rolling state, or of that of the same day's end."""
        day_end = state.time if state.kind == "day_end" else None
        self._states[state.fold, state.scope, state.kind, day_end] = state

    def remove(self, table: Table, up_to: int) -> None:
        """Remove every row up to that time, and remember that they are gone."""
        conditions, parameters = conditions_of(table, None, up_to, None, late=True)
        self.written.add(f"{table.stage}/{table.short_name}")
        self._lake.execute(f"DELETE FROM {CATALOG}.{table.name} {conditions}", parameters)  # noqa: S608
        self._lake.execute(f"DELETE FROM {CATALOG}.{REMOVALS.name} WHERE removed = ?", [table.name])  # noqa: S608
        self._lake.execute(
            f"{_insert_into(REMOVALS)} VALUES (?, make_timestamptz(?), ?)",
            [table.name, up_to, self._run_id],
        )

    def remove_day_ends(self, before: int) -> None:
        """Remove states of day ends before that time."""
        self._lake.execute(
            f"DELETE FROM {CATALOG}.{STATES.name} WHERE kind = 'day_end' AND time < make_timestamptz(?)",  # noqa: S608
            [before],
        )

    def settle(self) -> None:
        """Write what was moved and kept.

        Raises
        ------
        StaleExpectationError
            If something is not where it was expected.
        """
        self._settle_progress()
        self._settle_offsets()
        self._settle_states()

    def _settle_progress(self) -> None:
        if not self._progress:
            return
        for scope in dict.fromkeys(scope for _, scope in self._progress):
            found = self._lake.progresses(scope)
            for (asset, of), move in self._progress.items():
                if of == scope:
                    move.check(found.get(asset))
        known = [place for place, move in self._progress.items() if move.expected is not None]
        if known:
            self._lake.execute(
                f"DELETE FROM {CATALOG}.{PROGRESS.name} WHERE (asset, scope) IN ({_places(len(known), '(?, ?)')})",  # noqa: S608
                [part for place in known for part in place],
            )
        one = "(?, ?, make_timestamptz(?), make_timestamptz(?), ?)"
        self._lake.execute(
            f"{_insert_into(PROGRESS)} VALUES {_places(len(self._progress), one)}",
            [
                part
                for (asset, scope), move in self._progress.items()
                for part in (asset, scope, move.new.origin, move.new.progress, self._run_id)
            ],
        )

    def _settle_offsets(self) -> None:
        if not self._offsets:
            return
        found = self._lake.offsets(list(self._offsets))
        for stream, move in self._offsets.items():
            move.check(found.get(stream))
        if found:
            self._lake.execute(
                f"DELETE FROM {CATALOG}.{OFFSETS.name} WHERE stream IN ({_places(len(found), '?')})",  # noqa: S608
                list(found),
            )
        self._lake.execute(
            f"{_insert_into(OFFSETS)} VALUES {_places(len(self._offsets), '(?, ?, ?, ?)')}",
            [
                part
                for stream, move in self._offsets.items()
                for part in (stream, move.new.generation, move.new.last_id, self._run_id)
            ],
        )

    def _settle_states(self) -> None:
        if not self._states:
            return
        one = "(fold = ? AND scope = ? AND kind = ? AND (kind = 'rolling' OR time = make_timestamptz(?)))"
        states = list(self._states.values())
        self._lake.execute(
            f"DELETE FROM {CATALOG}.{STATES.name} WHERE {' OR '.join(one for _ in states)}",  # noqa: S608
            [part for state in states for part in (state.fold, state.scope, state.kind, state.time)],
        )
        self._lake.execute(
            f"{_insert_into(STATES)} VALUES {_places(len(states), '(?, ?, ?, make_timestamptz(?), ?, ?)')}",
            [
                part
                for state in states
                for part in (state.fold, state.scope, state.kind, state.time, state.state, self._run_id)
            ],
        )


def _places(count: int, one: str) -> str:
    return ", ".join([one] * count)


def _insert_into(table: Table) -> str:
    """The columns by name: those that an upgrade added stand last in the lake, wherever they are declared."""
    return f"INSERT INTO {CATALOG}.{table.name} ({', '.join(column.name for column in table.columns)})"
