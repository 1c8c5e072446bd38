"""How our tables are said in DuckDB's SQL.

Belongs here: columns, order and conditions of statements. Does not belong here: running them (``duck_lake``).
"""

from collections.abc import Sequence
from typing import Final

from signal_assets.event_time import date_of
from signal_assets.table import DAY_COLUMN, Column, ColumnType, Table

CATALOG: Final = "lake"
"""Name under which the DuckLake is attached."""

PARQUET: Final = {"parquet_compression": "zstd", "parquet_version": "2"}
"""Less than half the bytes of DuckDB's defaults for books and features, read as fast: sorted integers, mostly."""


def declared_columns(table: Table) -> list[tuple[str, str]]:
    """Name and DuckDB type of every column, the day that partitions the table last."""
    columns = [(column.name, column.type.duckdb) for column in table.columns]
    return [*columns, (DAY_COLUMN, "DATE")] if table.time is not None else columns


def short_type(kind: str) -> str:
    """DuckDB's name of a type as we declare it."""
    return kind.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")


def selected(column: Column) -> str:
    """A column of SELECT, in a form that becomes our array."""
    if column.type is ColumnType.PRICE:
        return f"CAST({column.name} AS DECIMAL(38,8)) AS {column.name}"
    if column.type is ColumnType.PRICES:
        return f"CAST({column.name} AS DECIMAL(38,8)[]) AS {column.name}"
    if column.type is ColumnType.TIME:
        return f"epoch_us({column.name}) AS {column.name}"
    return column.name


def row_order(table: Table) -> list[str]:
    """Columns by which rows are ordered: instrument, time, key."""
    names = [column.name for column in table.columns if column.name == "instrument"]
    names += [table.time] if table.time else []
    return [*names, *(name for name in table.key if name not in names)]


def conditions_of(
    table: Table, start: int | None, end: int | None, instruments: Sequence[str] | None, late: bool
) -> tuple[str, list[object]]:
    """WHERE clause and its parameters: rows of these instruments with time in ``(start, end]``."""
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


def literal(text: str) -> str:
    """A text inside a statement that takes no parameters."""
    return "'" + text.replace("'", "''") + "'"


def first_line(error: BaseException) -> str:
    """What an error says, without its explanation."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
