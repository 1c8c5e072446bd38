"""The lake as the rest of the project sees it: one read function, one kind of transaction.

Belongs here: the protocol, its value types, its errors and what every implementation checks. Does not belong here: an
implementation – ``duck_lake`` keeps the tables in DuckLake, ``memory_lake`` in arrays, and both pass the same tests.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

import pandas as pd

from signal_assets.table import Table
from signal_assets.window import Window


class LakeError(RuntimeError):
    """The lake refused or could not finish what was asked; the message says what and where."""


class LakeBusyError(LakeError):
    """The write lock did not come free within its time-out."""


class StaleExpectationError(LakeError):
    """Progress or an offset was not where the writer believed it to be: another run moved it. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an asset has come for one scope; both in microseconds UTC."""

    origin: int
    progress: int


@dataclass(frozen=True, slots=True, order=True)
class Offset:
    """How far a stream has been read: the Redis data set it belongs to and the sequence of the last entry taken in."""

    generation: str
    last_id: int


@dataclass(frozen=True, slots=True)
class State:
    """What a fold remembered at a time: rolling (forward work goes on from it) or a day's end (the next day run does).

    The two are kept apart: a day run that takes late rows in changes its day's end, and that reaches the next day by
    the next day's run, not by forward work that is under way.
    """

    fold: str
    scope: str
    kind: Literal["rolling", "day_end"]
    time: int
    state: str


class LakeTransaction(Protocol):
    """Writes that become visible together, or not at all."""

    snapshot_id: int | None

    def append(self, table: Table, frame: pd.DataFrame) -> int:
        """Add the rows whose key is not there yet (first wins); returns how many were new."""

    def replace(self, table: Table, frame: pd.DataFrame, window: Window, instruments: Sequence[str]) -> int:
        """Put ``frame`` in the place of these instruments' rows of the window; returns the rows written.

        Raises
        ------
        LakeError
            If a row of ``frame`` lies outside the window or the instruments.
        """

    def extend(self, table: Table, frame: pd.DataFrame, window: Window, instruments: Sequence[str]) -> int:
        """Add these instruments' rows of a window behind the table's progress, where none can be; returns how many.

        Moving the progress in the same transaction is what makes it true, whoever else writes.

        Raises
        ------
        LakeError
            If a row of ``frame`` lies outside the window or the instruments.
        """

    def progress(self, asset: str, scope: str) -> Progress | None:
        """How far ``asset`` has come, read inside the transaction."""

    def advance(self, asset: str, scope: str, expected: Progress | None, new: Progress) -> None:
        """Move progress by compare-and-set, at the latest when the transaction ends.

        Raises
        ------
        StaleExpectationError
            If it is not at ``expected``.
        """

    def keep_state(self, state: State) -> None:
        """Keep a fold's state: in the place of the one rolling state, or of that of the same day's end."""

    def remove(self, table: Table, up_to: int) -> None:
        """Remove every row whose time is not after ``up_to``, and remember that they are gone; for retention alone."""

    def remove_day_ends(self, before: int) -> None:
        """Remove the folds' states of day ends before that time."""

    def move_offset(self, stream: str, expected: Offset | None, new: Offset) -> None:
        """Move an offset by compare-and-set, at the latest when the transaction ends.

        Raises
        ------
        StaleExpectationError
            If it is not at ``expected``.
        """


class Lake(Protocol):
    """Tables with history. Times are microseconds UTC, windows ``(start, end]``, money int64 units of 1e-8."""

    def ensure(self, tables: Iterable[Table]) -> None:
        """Create the tables that are missing.

        Raises
        ------
        LakeError
            If a table is there with other columns.
        """

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
        """Rows with time in ``(start, end]``, ordered by instrument, time and key, in the table's in-memory dtypes.

        Parameters
        ----------
        late : bool
            False leaves out rows flagged late (tables without that flag are not affected).
        columns : sequence of str, optional
            Only these columns.
        snapshot : int, optional
            As the table stood at that lake snapshot.
        """

    def transaction(self, *, asset: str, run_id: str) -> AbstractContextManager[LakeTransaction]:
        """One transaction under the write lock, with ``run_id`` as its commit message."""

    def snapshot(self) -> int:
        """Id of the newest snapshot: what a read that begins now sees."""

    def progress(self, asset: str, scope: str) -> Progress | None:
        """How far ``asset`` has come for ``scope``; None before its first write."""
        return self.progresses(scope).get(asset)

    def progresses(self, scope: str) -> Mapping[str, Progress]:
        """How far each asset that has written for ``scope`` has come, in one read: they may be many."""

    def state(self, fold: str, scope: str, day_end: int | None = None) -> State | None:
        """The rolling state of a fold, or that of a day's end; None if there is none."""

    def removed(self) -> Mapping[str, int]:
        """Event time up to which retention has removed rows, by name of the table; without tables that are whole."""

    def offset(self, stream: str) -> Offset | None:
        """How far ``stream`` has been taken in; None before the first entry."""
        return self.offsets([stream]).get(stream)

    def offsets(self, streams: Sequence[str]) -> Mapping[str, Offset]:
        """How far each of these streams has been taken in, in one read; without those that have not."""


class LakeSource(Protocol):
    """What Dagster hands to an asset: opens the process-wide lake lazily."""

    def open(self) -> Lake:
        """The lake of this process."""


def check_inside(table: Table, rows: pd.DataFrame, window: Window, instruments: Sequence[str]) -> None:
    """Refuse rows outside the window or the instruments they are said to replace.

    Raises
    ------
    LakeError
        Naming the table and the first offending row.
    """
    if table.time is None:
        raise LakeError(f"{table.name} has no market time; it cannot be replaced by window")
    if rows.empty:
        return
    times = rows[table.time]
    outside = (times <= window.start) | (times > window.end) | ~rows["instrument"].isin(list(instruments))
    if bool(outside.any()):
        row = rows[outside].iloc[0]
        raise LakeError(f"{table.name}: a row of {row['instrument']} at {row[table.time]} lies outside {window}")
