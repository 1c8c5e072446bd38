"""The lake in DuckLake: DuckDB as engine, Parquet as store, PostgreSQL as catalog.

Belongs here: the write lock, making tables, reading. Does not belong here: what an older version's table lacks
(``duck_lake_columns``), how one connects (``duck_lake_connection``), what a transaction writes
(``duck_lake_transaction``), maintenance (``lake_maintenance``).
"""

import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from typing import Any

import duckdb
import pandas as pd
import structlog

from resources.addresses import Addresses
from resources.arrow_rows import decode_rows
from resources.duck_lake_columns import Stored, added_columns, column_definition, what_to_do_with_rows
from resources.duck_lake_connection import connect
from resources.duck_lake_lock import WriteLock
from resources.duck_lake_sql import (
    CATALOG,
    PARQUET,
    conditions_of,
    declared_columns,
    first_line,
    literal,
    row_order,
    selected,
    short_type,
)
from resources.duck_lake_transaction import DuckLakeTransaction
from resources.lake import Lake, LakeError, Offset, Progress, State
from resources.parquet_sync import sync_lake
from resources.platform_tables import OFFSETS, PROGRESS, RAW_STAGE, REMOVALS, STATES
from resources.platform_tables import TABLES as PLATFORM_TABLES
from signal_assets.event_time import start_of_date
from signal_assets.table import DAY_COLUMN, Column, Table

log = structlog.get_logger(__name__)


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
        self._lock = WriteLock(addresses, lock_timeout, self.close)
        self._guard = threading.RLock()
        self._connection: duckdb.DuckDBPyConnection | None = None
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
            self._lock.close()
            connection, self._connection = self._connection, None
            if connection is not None:
                _end_transaction(connection)
                try:
                    connection.close()
                except duckdb.Error as error:
                    log.info("lake_close", error=first_line(error))

    @contextmanager
    def write_lock(self) -> Iterator[None]:
        """Hold the catalog's advisory lock; it falls with the connection, so a killed holder leaves nothing behind.

        Raises
        ------
        LakeBusyError
            If it does not come free within the time-out.
        """
        with self._lock.hold():
            yield

    # -- schema --------------------------------------------------------------------------------------------------

    def ensure(self, tables: Iterable[Table]) -> None:
        """Create missing tables, partitioned by day, and add columns that an older version did not have.

        Raises
        ------
        LakeError
            If a table is there with columns that are not declared, are declared with another type, or cannot be added.
        """
        wanted = [table for table in (*PLATFORM_TABLES, *tables) if table.name not in self._ensured]
        if not wanted:
            return
        with self._guard:
            if _not_as_declared(wanted, self._columns()):
                with self.write_lock():  # processes that start together: one does it, the others find it done
                    found = self._columns()
                    self._create([table for table in wanted if table.name not in found])
                    self._add(
                        {table: added for table in wanted if (added := added_columns(table, found.get(table.name)))}
                    )
            self._ensured.update(table.name for table in wanted)

    def _columns(self) -> dict[str, Stored]:
        """Name and type of every table's columns."""
        found: dict[str, dict[str, str]] = {}
        for table, name, kind in self.execute(
            "SELECT schema_name || '.' || table_name, column_name, data_type FROM duckdb_columns() "
            "WHERE database_name = ? ORDER BY schema_name, table_name, column_index",
            [CATALOG],
        ).fetchall():
            found.setdefault(table, {})[name] = short_type(kind)
        return dict(found)

    def _create(self, tables: Sequence[Table]) -> None:
        if not tables:
            return
        with self._together():
            self._declare(tables)
        for option, value in PARQUET.items():
            self.execute(f"CALL {CATALOG}.set_option('{option}', '{value}')")
        for table in tables:  # an option cannot be set on a table its own transaction makes
            if table.has_lists:
                self.execute(
                    f"CALL {CATALOG}.set_option('data_inlining_row_limit', 0, "
                    f"schema => '{table.stage}', table_name => '{table.short_name}')"
                )

    def _declare(self, tables: Sequence[Table]) -> None:
        for table in tables:
            self.execute(f"CREATE SCHEMA IF NOT EXISTS {CATALOG}.{table.stage}")
            columns = ", ".join(f"{name} {kind}" for name, kind in declared_columns(table))
            self.execute(f"CREATE TABLE IF NOT EXISTS {CATALOG}.{table.name} ({columns})")
            self.execute(f"COMMENT ON TABLE {CATALOG}.{table.name} IS {literal(table.description)}")
            self._describe(table, table.columns)
            if table.time is not None:
                self.execute(f"ALTER TABLE {CATALOG}.{table.name} SET PARTITIONED BY ({DAY_COLUMN})")

    def _describe(self, table: Table, columns: Iterable[Column]) -> None:
        for column in columns:
            text = f"{column.description} [{column.unit}]" if column.unit else column.description
            self.execute(f"COMMENT ON COLUMN {CATALOG}.{table.name}.{column.name} IS {literal(text)}")

    def _add(self, added: Mapping[Table, Sequence[Column]]) -> None:
        """Add columns to tables of an older version, all or none, and say so."""
        if not added:
            return
        with self._together():
            for table, columns in added.items():
                for column in columns:
                    self.execute(f"ALTER TABLE {CATALOG}.{table.name} ADD COLUMN {column_definition(column)}")
                self._describe(table, columns)
            self._lock.check()  # a holder that was stopped meanwhile may have lost it
        for table, columns in added.items():
            first, last, complete = None, None, None
            if table.time is not None:
                [(first, last)] = self.query(f"SELECT min({DAY_COLUMN}), max({DAY_COLUMN}) FROM {CATALOG}.{table.name}")  # noqa: S608
                complete = self._complete(last) if last is not None else None
            log.warning(
                "columns added to a table of an older version",
                table=table.name,
                columns=", ".join(column_definition(column) for column in columns),
                rows_before=what_to_do_with_rows(table, first, last, complete),
            )

    def _complete(self, day: date) -> int | None:
        """Event time up to which raw data is complete in all groups that have come to ``day``.

        A group that ended before it may be none of the configuration any more, and would hold the others' days back.
        One that lags is left out too: a back-fill then says which, and waits for it.
        """
        [(complete,)] = self.query(
            f"SELECT min(epoch_us(progress)) FROM {CATALOG}.{PROGRESS.name} "  # noqa: S608
            "WHERE starts_with(asset, ?) AND progress > make_timestamptz(?)",
            [f"{RAW_STAGE}/", start_of_date(day)],
        )
        return None if complete is None else int(complete)

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Statements that become visible together, or not at all."""
        self.execute("BEGIN")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            self._abandon()
            raise

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
        conditions, parameters = conditions_of(table, start, end, instruments, late)
        at = f" AT (VERSION => {int(snapshot)})" if snapshot is not None else ""
        sql = (
            f"SELECT {', '.join(selected(column) for column in wanted)} FROM {CATALOG}.{table.name}{at} "  # noqa: S608
            f"{conditions} ORDER BY {', '.join(row_order(table))}"
        )
        with self._guard:
            arrow = self.execute(sql, parameters).to_arrow_table()
        return decode_rows(arrow, wanted, table.name)

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Rows of a reading statement of our own, as Python values (tests, checks and reports)."""
        with self._guard:
            return self.execute(sql, list(parameters)).fetchall()

    def execute(self, sql: str, parameters: Sequence[object] | None = None) -> duckdb.DuckDBPyConnection:
        """Run a statement of our own.

        Raises
        ------
        LakeError
            With the first line of what DuckDB said.
        """
        try:
            return self.connection().execute(sql, parameters)
        except duckdb.Error as error:
            in_transaction = isinstance(error, duckdb.TransactionException)
            if in_transaction or "connection" in str(error).lower():
                self.close()
            raise LakeError(f"the lake refused a statement: {first_line(error)}") from error

    # -- writing -------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, *, asset: str, run_id: str) -> Iterator[DuckLakeTransaction]:
        """One transaction under the write lock; the commit message is the run's id."""
        with self._guard, self.write_lock():
            self.execute("BEGIN")
            unit = DuckLakeTransaction(self, run_id)
            try:
                yield unit
                unit.settle()
                sync_lake(self._addresses.lake_path, unit.began, unit.written)
                self.execute(
                    f"CALL {CATALOG}.set_commit_message(?, ?, extra_info => ?)",
                    [asset, run_id, json.dumps({"asset": asset, "run_id": run_id} | unit.moved)],
                )
                self._lock.check()  # a holder that was stopped meanwhile may have lost it
                self.execute("COMMIT")
            except BaseException:
                self._abandon()
                raise
            row = self.execute(f"FROM {CATALOG}.last_committed_snapshot()").fetchone()
            unit.snapshot_id = int(row[0]) if row and row[0] is not None else None

    def rewrite(self, statement: str) -> int:
        """Run a statement of DuckLake's that writes files of its own – flush, merge, rewrite; returns its rows' number.

        What it replaces is gone with its commit, so the new files are on the disk before that.
        """
        began = time.time_ns()
        with self._guard, self.write_lock():
            self.execute("BEGIN")
            try:
                rows = self.execute(statement).fetchall()
                sync_lake(self._addresses.lake_path, began)
                self._lock.check()  # as above; this may have taken long
                self.execute("COMMIT")
            except BaseException:
                self._abandon()
                raise
        return len(rows)

    def _abandon(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.execute("ROLLBACK")
        except duckdb.Error as error:
            log.info("lake_rollback", error=first_line(error))
            self.close()  # the connection to PostgreSQL inside is a broken one

    def snapshot(self) -> int:
        """Id of the newest snapshot: what a read that begins now sees."""
        with self._guard:
            row = self.execute(f"FROM {CATALOG}.current_snapshot()").fetchone()
        return int(row[0]) if row else 0

    def progresses(self, scope: str) -> dict[str, Progress]:
        """How far each asset that has written for ``scope`` has come, in one read."""
        with self._guard:
            self.ensure(())
            rows = self.execute(
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
            row = self.execute(
                f"SELECT kind, epoch_us(time), state FROM {CATALOG}.{STATES.name} "  # noqa: S608
                f"WHERE fold = ? AND scope = ? AND {at}",
                [fold, scope, *([] if day_end is None else [day_end])],
            ).fetchone()
        return State(fold, scope, row[0], int(row[1]), str(row[2])) if row else None

    def removed(self) -> dict[str, int]:
        """Event time up to which retention has removed rows, by name of the table."""
        with self._guard:
            self.ensure(())
            rows = self.execute(f"SELECT removed, epoch_us(up_to) FROM {CATALOG}.{REMOVALS.name}").fetchall()  # noqa: S608
        return {str(table): int(up_to) for table, up_to in rows}

    def offsets(self, streams: Sequence[str]) -> dict[str, Offset]:
        """How far each of these streams has been taken in, in one read; without those that have not."""
        if not streams:
            return {}
        with self._guard:
            self.ensure(())
            rows = self.execute(
                f"SELECT stream, generation, last_id FROM {CATALOG}.{OFFSETS.name} "  # noqa: S608
                f"WHERE stream IN ({', '.join('?' for _ in streams)})",
                list(streams),
            ).fetchall()
        return {str(stream): Offset(str(generation), int(last_id)) for stream, generation, last_id in rows}


def _not_as_declared(tables: Sequence[Table], found: Mapping[str, Stored]) -> bool:
    """Whether a table is missing or lacks columns; one that differs in another way is refused before any lock."""
    return any([table.name not in found or bool(added_columns(table, found[table.name])) for table in tables])


def _end_transaction(connection: duckdb.DuckDBPyConnection) -> None:
    """End a transaction that may be open, also one whose PostgreSQL is gone.

    DuckDB 1.5.5 ends the whole process when a connection is closed inside such a transaction: it is rolled back in a
    destructor, and what that throws nobody can catch. Rolled back by a statement it is an error like any other.
    """
    with suppress(duckdb.Error):
        connection.execute("ROLLBACK")


_process_lakes: dict[tuple[int, str, str], DuckLake] = {}


def process_lake(addresses: Addresses) -> DuckLake:
    """The lake of this process: one connection, opened lazily, never shared across a fork."""
    key = (os.getpid(), addresses.postgres_url, addresses.lake_path)
    if key not in _process_lakes:
        _process_lakes[key] = DuckLake(addresses)
    return _process_lakes[key]
