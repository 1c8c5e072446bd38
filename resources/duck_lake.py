"""The lake in DuckLake: DuckDB as engine, Parquet as store, PostgreSQL as catalog.

Belongs here: connections, transactions, the write lock and the one place where SQL meets our arrays. Does not belong
here: what the tables mean, or maintenance (``lake_maintenance``).
"""

import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import duckdb
import pandas as pd
import psycopg2
import structlog

from resources.arrow_rows import decode_rows, encode_rows
from resources.lake import Lake, LakeBusyError, LakeError, Offset, Progress, StaleExpectationError, State
from resources.platform_tables import OFFSETS, PROGRESS, STATES
from resources.platform_tables import TABLES as PLATFORM_TABLES
from resources.settings import Addresses
from signal_assets.event_time import date_of
from signal_assets.table import DAY_COLUMN, Column, ColumnType, Table
from signal_assets.window import Window

log = structlog.get_logger(__name__)

T = TypeVar("T")

CATALOG: Final = "lake"
WRITE_LOCK: Final = 0x51674C61  # any constant will do; one lock per catalog database
FIRST_ATTACH_LOCK: Final = 0x51674C62
"""Two processes that attach an empty catalog at the same moment would both create its tables, and one would fail."""

INLINED_ROWS: Final = 2_000
"""Rows up to which a write stays in the catalog until maintenance flushes it to Parquet."""


def extension_path(name: str) -> Path:
    """Where the wheel ``duckdb-extension-<name>`` keeps its binary for this DuckDB.

    Raises
    ------
    LakeError
        If the wheel has none for this DuckDB version.
    """
    module = import_module(f"duckdb_extension_{name}")
    path = Path(str(module.__file__)).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not path.exists():
        raise LakeError(f"the wheel of DuckDB extension {name} has no binary for DuckDB {duckdb.__version__}")
    return path


def catalog_dsn(addresses: Addresses) -> str:
    """PostgreSQL's address in the keyword form that libpq and DuckDB both read."""
    plain = addresses.postgres_url.replace("postgresql+psycopg2://", "postgresql://", 1)
    return str(psycopg2.extensions.make_dsn(**psycopg2.extensions.parse_dsn(plain)))


def connect(addresses: Addresses, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB connection with the lake attached as ``lake`` and the session in UTC.

    Raises
    ------
    LakeError
        If PostgreSQL or the lake cannot be reached.
    """
    connection = duckdb.connect(":memory:", config={"threads": 2, "autoinstall_known_extensions": "false"})
    mode = ", READ_ONLY" if read_only else ""
    try:
        for name in ("postgres_scanner", "ducklake"):
            connection.execute(f"LOAD '{extension_path(name)}'")
        connection.execute("SET TimeZone='UTC'")
        connection.execute("SET ducklake_max_retry_count=100")
        with _alone_at_the_catalog(addresses):
            connection.execute(
                f"ATTACH {_literal('ducklake:postgres:' + catalog_dsn(addresses))} AS {CATALOG} "
                f"(DATA_PATH {_literal(addresses.lake_path)}, METADATA_SCHEMA '{CATALOG}', "
                f"DATA_INLINING_ROW_LIMIT {INLINED_ROWS}{mode})"
            )
        connection.execute(f"USE {CATALOG}")
    except (duckdb.Error, psycopg2.Error) as error:
        connection.close()
        raise LakeError(f"cannot open the lake at {addresses.lake_path}: {_first_line(error)}") from error
    return connection


@contextmanager
def _alone_at_the_catalog(addresses: Addresses) -> Iterator[None]:
    """Attach one process after the other; the lock falls with its connection."""
    lock = psycopg2.connect(catalog_dsn(addresses))
    try:
        lock.autocommit = True
        lock.cursor().execute("SELECT pg_advisory_lock(%s)", (FIRST_ATTACH_LOCK,))
        yield
    finally:
        lock.close()


class DuckLake(Lake):
    """One process-wide connection to the lake; safe to use from several threads, one after the other.

    Parameters
    ----------
    addresses : Addresses
        Where PostgreSQL and the lake's files are.
    lock_timeout : float
        Seconds to wait for the write lock.
    """

    def __init__(self, addresses: Addresses, lock_timeout: float = 60.0) -> None:
        self._addresses = addresses
        self._lock_timeout = lock_timeout
        self._guard = threading.RLock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._lock_connection: Any = None
        self._ensured: set[str] = set()

    # -- connections ---------------------------------------------------------------------------------------------

    def connection(self) -> duckdb.DuckDBPyConnection:
        """The DuckDB connection, opened at first use (it would not survive a fork)."""
        with self._guard:
            if self._connection is None:
                self._connection = connect(self._addresses)
            return self._connection

    def close(self) -> None:
        """Drop the connections; the next use opens new ones."""
        with self._guard:
            for attribute in ("_connection", "_lock_connection"):
                connection = getattr(self, attribute)
                setattr(self, attribute, None)
                if connection is not None:
                    try:
                        connection.close()
                    except (duckdb.Error, psycopg2.Error) as error:
                        log.info("lake_close", error=_first_line(error))

    @contextmanager
    def write_lock(self) -> Iterator[None]:
        """Hold the catalog's advisory lock; it falls with the connection, so a killed holder leaves nothing behind.

        Raises
        ------
        LakeBusyError
            If it does not come free within the time-out.
        """
        cursor = self._lock_cursor()
        try:
            cursor.execute("SELECT pg_advisory_lock(%s)", (WRITE_LOCK,))
        except psycopg2.errors.LockNotAvailable as error:
            raise LakeBusyError(
                f"another process has held the lake's write lock for {self._lock_timeout:g} s"
            ) from error
        except psycopg2.Error as error:
            self.close()
            raise LakeError(f"cannot lock the lake: {_first_line(error)}") from error
        try:
            yield
        finally:
            try:
                cursor.execute("SELECT pg_advisory_unlock(%s)", (WRITE_LOCK,))
            except psycopg2.Error as error:
                log.warning("lake_unlock", error=_first_line(error))
                self.close()

    def _lock_cursor(self) -> Any:
        for attempt in (1, 2):
            try:
                if self._lock_connection is None or self._lock_connection.closed:
                    self._lock_connection = psycopg2.connect(catalog_dsn(self._addresses))
                    self._lock_connection.autocommit = True
                cursor = self._lock_connection.cursor()
                cursor.execute("SELECT set_config('lock_timeout', %s, false)", (f"{self._lock_timeout * 1000:.0f}ms",))
            except psycopg2.Error as error:
                # A restarted PostgreSQL leaves a dead connection behind; one fresh attempt tells whether it is back.
                self.close()
                if attempt == 2:
                    raise LakeError(f"cannot reach the lake's catalog: {_first_line(error)}") from error
            else:
                return cursor
        raise AssertionError("unreachable")

    # -- schema --------------------------------------------------------------------------------------------------

    def ensure(self, tables: Iterable[Table]) -> None:
        """Create missing tables, partitioned by day; refuse ones that are there with other columns."""
        wanted = [table for table in (*PLATFORM_TABLES, *tables) if table.name not in self._ensured]
        if not wanted:
            return
        with self._guard:
            found = self._columns()
            if any(table.name not in found for table in wanted):
                with self.write_lock():
                    found = self._columns()
                    self._create([table for table in wanted if table.name not in found])
                found = self._columns()
            for table in wanted:
                if found[table.name] != (declared := _declared(table)):
                    raise LakeError(
                        f"{table.name} is in the lake with columns {found[table.name]}, declared are {declared}"
                    )
            self._ensured.update(table.name for table in wanted)

    def _columns(self) -> dict[str, list[tuple[str, str]]]:
        """Name and type of every table's columns."""
        found: dict[str, list[tuple[str, str]]] = {}
        for table, name, kind in self._execute(
            "SELECT schema_name || '.' || table_name, column_name, data_type FROM duckdb_columns() "
            "WHERE database_name = ? ORDER BY schema_name, table_name, column_index",
            [CATALOG],
        ).fetchall():
            found.setdefault(table, []).append((name, _short_type(kind)))
        return found

    def _create(self, tables: Sequence[Table]) -> None:
        self._execute("BEGIN")
        try:
            self._declare(tables)
            self._execute("COMMIT")
        except BaseException:
            self._abandon()
            raise
        for table in tables:  # an option cannot be set on a table its own transaction makes
            if table.has_lists:
                self._execute(
                    f"CALL {CATALOG}.set_option('data_inlining_row_limit', 0, "
                    f"schema => '{table.stage}', table_name => '{table.short_name}')"
                )

    def _declare(self, tables: Sequence[Table]) -> None:
        for table in tables:
            self._execute(f"CREATE SCHEMA IF NOT EXISTS {CATALOG}.{table.stage}")
            columns = ", ".join(f"{name} {kind}" for name, kind in _declared(table))
            self._execute(f"CREATE TABLE IF NOT EXISTS {CATALOG}.{table.name} ({columns})")
            self._execute(f"COMMENT ON TABLE {CATALOG}.{table.name} IS {_literal(table.description)}")
            for column in table.columns:
                text = f"{column.description} [{column.unit}]" if column.unit else column.description
                self._execute(f"COMMENT ON COLUMN {CATALOG}.{table.name}.{column.name} IS {_literal(text)}")
            if table.time is not None:
                self._execute(f"ALTER TABLE {CATALOG}.{table.name} SET PARTITIONED BY ({DAY_COLUMN})")

    # -- reading -------------------------------------------------------------------------------------------------

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
        """Read rows of ``(start, end]`` into arrays; see :class:`resources.lake.Lake`."""
        wanted = [table.column(name) for name in columns] if columns is not None else list(table.columns)
        conditions, parameters = _conditions(table, start, end, instruments, late)
        at = f" AT (VERSION => {int(snapshot)})" if snapshot is not None else ""
        sql = (
            f"SELECT {', '.join(_select(column) for column in wanted)} FROM {CATALOG}.{table.name}{at} "  # noqa: S608
            f"{conditions} ORDER BY {', '.join(_order(table))}"
        )
        with self._guard:
            arrow = self._execute(sql, parameters).to_arrow_table()
        return decode_rows(arrow, wanted, table.name)

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Rows of a reading statement of our own, as Python values (tests, checks and reports)."""
        with self._guard:
            return self._execute(sql, list(parameters)).fetchall()

    def _execute(self, sql: str, parameters: Sequence[object] | None = None) -> duckdb.DuckDBPyConnection:
        try:
            return self.connection().execute(sql, parameters)
        except duckdb.Error as error:
            in_transaction = isinstance(error, duckdb.TransactionException)
            if in_transaction or "connection" in str(error).lower():
                self.close()
            raise LakeError(f"the lake refused a statement: {_first_line(error)}") from error

    # -- writing -------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, *, asset: str, run_id: str) -> Iterator["DuckLakeTransaction"]:
        """One transaction under the write lock; the commit message is the run's id."""
        with self._guard, self.write_lock():
            self._execute("BEGIN")
            unit = DuckLakeTransaction(self, run_id)
            try:
                yield unit
                unit.settle()
                self._execute(
                    f"CALL {CATALOG}.set_commit_message(?, ?, extra_info => ?)",
                    [asset, run_id, json.dumps({"asset": asset, "run_id": run_id} | unit.moved)],
                )
                self._execute("COMMIT")
            except BaseException:
                self._abandon()
                raise
            row = self._execute(f"FROM {CATALOG}.last_committed_snapshot()").fetchone()
            unit.snapshot_id = int(row[0]) if row and row[0] is not None else None

    def _abandon(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.execute("ROLLBACK")
        except duckdb.Error as error:
            log.info("lake_rollback", error=_first_line(error))
            self.close()

    def snapshot(self) -> int:
        """Id of the newest snapshot: what a read that begins now sees."""
        with self._guard:
            row = self._execute(f"FROM {CATALOG}.current_snapshot()").fetchone()
        return int(row[0]) if row else 0

    def progresses(self, scope: str) -> dict[str, Progress]:
        """How far each asset that has written for ``scope`` has come, in one read."""
        with self._guard:
            self.ensure(())
            rows = self._execute(
                f"SELECT asset, epoch_us(origin), epoch_us(progress) FROM {CATALOG}.{PROGRESS.name} "  # noqa: S608
                "WHERE scope = ?",
                [scope],
            ).fetchall()
        return {str(asset): Progress(int(origin), int(progress)) for asset, origin, progress in rows}

    def state(self, fold: str, scope: str, day_end: int | None = None) -> State | None:
        """The rolling state of a fold, or that of a day's end; None if there is none."""
        at = "kind = 'rolling'" if day_end is None else "kind = 'day_end' AND time = make_timestamptz(?)"
        with self._guard:
            self.ensure(())
            row = self._execute(
                f"SELECT kind, epoch_us(time), state FROM {CATALOG}.{STATES.name} "  # noqa: S608
                f"WHERE fold = ? AND scope = ? AND {at}",
                [fold, scope, *([] if day_end is None else [day_end])],
            ).fetchone()
        return State(fold, scope, row[0], int(row[1]), str(row[2])) if row else None

    def offsets(self, streams: Sequence[str]) -> dict[str, Offset]:
        """How far each of these streams has been taken in, in one read; without those that have not."""
        if not streams:
            return {}
        with self._guard:
            self.ensure(())
            rows = self._execute(
                f"SELECT stream, generation, last_id FROM {CATALOG}.{OFFSETS.name} "  # noqa: S608
                f"WHERE stream IN ({', '.join('?' for _ in streams)})",
                list(streams),
            ).fetchall()
        return {str(stream): Offset(str(generation), int(last_id)) for stream, generation, last_id in rows}


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

    def __init__(self, lake: DuckLake, run_id: str) -> None:
        self._lake = lake
        self._run_id = run_id
        self._progress: dict[tuple[str, str], _Move[Progress]] = {}
        self._offsets: dict[str, _Move[Offset]] = {}
        self._states: dict[tuple[str, str, str, int | None], State] = {}
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
            inside, parameters = _conditions(table, first - 1, last, None, late=True)
        with self._staged(table, rows) as staged:
            count = self._lake._execute(
                f"INSERT INTO {CATALOG}.{table.name} BY NAME SELECT {staged}.* FROM {staged} "  # noqa: S608
                f"ANTI JOIN (SELECT {keys} FROM {CATALOG}.{table.name} {inside}) known USING ({keys})",
                parameters,
            ).fetchone()
        return int(count[0]) if count else 0

    def replace(self, table: Table, frame: pd.DataFrame, window: Window, instruments: Sequence[str]) -> int:
        """Replace these instruments' rows of the window."""
        rows = table.conform(frame)
        check_inside(table, rows, window, instruments)
        conditions, parameters = _conditions(table, window.start, window.end, instruments, late=True)
        self._lake._execute(f"DELETE FROM {CATALOG}.{table.name} {conditions}", parameters)  # noqa: S608
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
            self._lake._execute(f"INSERT INTO {CATALOG}.{table.name} BY NAME SELECT * FROM {staged}")  # noqa: S608
        return len(rows)

    @contextmanager
    def _staged(self, table: Table, rows: pd.DataFrame) -> Iterator[str]:
        connection = self._lake.connection()
        connection.register("staged_rows", encode_rows(table, rows))
        try:
            yield "staged_rows"
        finally:
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
            self._lake._execute(
                f"DELETE FROM {CATALOG}.{PROGRESS.name} WHERE (asset, scope) IN ({_places(len(known), '(?, ?)')})",  # noqa: S608
                [part for place in known for part in place],
            )
        one = "(?, ?, make_timestamptz(?), make_timestamptz(?), ?)"
        self._lake._execute(
            f"INSERT INTO {CATALOG}.{PROGRESS.name} VALUES {_places(len(self._progress), one)}",  # noqa: S608
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
            self._lake._execute(
                f"DELETE FROM {CATALOG}.{OFFSETS.name} WHERE stream IN ({_places(len(found), '?')})",  # noqa: S608
                list(found),
            )
        self._lake._execute(
            f"INSERT INTO {CATALOG}.{OFFSETS.name} VALUES {_places(len(self._offsets), '(?, ?, ?, ?)')}",  # noqa: S608
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
        self._lake._execute(
            f"DELETE FROM {CATALOG}.{STATES.name} WHERE {' OR '.join(one for _ in states)}",  # noqa: S608
            [part for state in states for part in (state.fold, state.scope, state.kind, state.time)],
        )
        self._lake._execute(
            f"INSERT INTO {CATALOG}.{STATES.name} "  # noqa: S608
            f"VALUES {_places(len(states), '(?, ?, ?, make_timestamptz(?), ?, ?)')}",
            [
                part
                for state in states
                for part in (state.fold, state.scope, state.kind, state.time, state.state, self._run_id)
            ],
        )


def _places(count: int, one: str) -> str:
    return ", ".join([one] * count)


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


_process_lakes: dict[tuple[int, str, str], DuckLake] = {}


def process_lake(addresses: Addresses) -> DuckLake:
    """The lake of this process: one connection, opened lazily, never shared across a fork."""
    key = (os.getpid(), addresses.postgres_url, addresses.lake_path)
    if key not in _process_lakes:
        _process_lakes[key] = DuckLake(addresses)
    return _process_lakes[key]


def _declared(table: Table) -> list[tuple[str, str]]:
    columns = [(column.name, column.type.duckdb) for column in table.columns]
    return [*columns, (DAY_COLUMN, "DATE")] if table.time is not None else columns


def _short_type(kind: str) -> str:
    return kind.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")


def _select(column: Column) -> str:
    if column.type is ColumnType.PRICE:
        return f"CAST({column.name} AS DECIMAL(38,8)) AS {column.name}"
    if column.type is ColumnType.PRICES:
        return f"CAST({column.name} AS DECIMAL(38,8)[]) AS {column.name}"
    if column.type is ColumnType.TIME:
        return f"epoch_us({column.name}) AS {column.name}"
    return column.name


def _order(table: Table) -> list[str]:
    names = [column.name for column in table.columns if column.name == "instrument"]
    names += [table.time] if table.time else []
    return [*names, *(name for name in table.key if name not in names)]


def _conditions(
    table: Table, start: int | None, end: int | None, instruments: Sequence[str] | None, late: bool
) -> tuple[str, list[object]]:
    conditions: list[str] = []
    parameters: list[object] = []
    if table.time is not None and start is not None:
        conditions += [f"{DAY_COLUMN} >= ?", f"{table.time} > make_timestamptz(?)"]
        parameters += [date_of(start + 1), start]
    if table.time is not None and end is not None:
        conditions += [f"{DAY_COLUMN} <= ?", f"{table.time} <= make_timestamptz(?)"]
        parameters += [date_of(end), end]
    if instruments is not None:
        conditions.append(f"instrument IN ({', '.join('?' for _ in instruments)})")
        parameters += list(instruments)
    if not late and any(column.name == "late" for column in table.columns):
        conditions.append("NOT late")
    return (f"WHERE {' AND '.join(conditions)}" if conditions else ""), parameters


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
