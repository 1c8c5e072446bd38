"""What an older version's table lacks: columns that were declared since, and how they are added.

Belongs here: the comparison of a table as it is declared with what the lake holds, and the words for it. Does not
belong here: running it (``duck_lake``), what a column is (``signal_assets/table``).

A table may grow: columns that are declared and not stored are added behind the others, with their declared default.
Nothing else is taken over. A column that is gone or renamed would drop what was measured, one of another type would
change it; the older version still reads both.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from resources.duck_lake_sql import declared_columns, literal
from resources.lake import LakeError
from signal_assets.event_time import date_of
from signal_assets.table import Column, ColumnType, Table

Stored = Mapping[str, str]
"""DuckDB type of every column of a table in the lake, by name."""

RECOMPUTED: Final = ("window", "fold", "resolved")
"""Kinds of tables whose rows ``signals backfill`` replaces; the others are insert-only."""

_MICROSECOND: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WAY_OUT: Final = (
    "; only added columns are taken over: go on with the version that made this home, or begin a new one (--home)"
)


def added_columns(table: Table, stored: Stored | None) -> list[Column]:
    """Columns that are declared and not stored; none of a table that is not there.

    Raises
    ------
    LakeError
        If a stored column is not declared or has another type, or a missing one has no value for the rows there are.
    """
    if stored is None:
        return []
    declared = dict(declared_columns(table))
    for name, kind in stored.items():
        if name not in declared:
            raise LakeError(f"{table.name} has a column {name} ({kind}) in the lake that is not declared{_WAY_OUT}")
        if kind != declared[name]:
            raise LakeError(f"{table.name}.{name} is {kind} in the lake, declared is {declared[name]}{_WAY_OUT}")
    added = [column for column in table.columns if column.name not in stored]
    for column in added:
        if not column.may_be_absent:
            raise LakeError(
                f"{table.name}.{column.name} is missing in the lake, declared is {column.type.duckdb}, never null, "
                "without a default for older rows: declare Column(default=…), or go on with the version that made it"
            )
    if len(stored) + len(added) < len(declared):
        raise LakeError(f"{table.name} is in the lake without the days it is declared to be partitioned by{_WAY_OUT}")
    return added


def column_definition(column: Column) -> str:
    """The column as ``ADD COLUMN`` takes it. DuckLake takes texts for a default, and nothing that is computed.

    Examples
    --------
    >>> column_definition(Column("fee", ColumnType.PRICE, "", default=12_500_000))
    "fee DECIMAL(18,8) DEFAULT '0.12500000'"
    >>> column_definition(Column("note", ColumnType.TEXT, "", nullable=True))
    'note VARCHAR DEFAULT NULL'
    """
    value = column.default
    if value is None:
        return f"{column.name} {column.type.duckdb} DEFAULT NULL"
    if column.type.is_money:
        text = f"{Decimal(value).scaleb(-8):.8f}"
    elif column.type is ColumnType.TIME:
        text = (_EPOCH + int(value) * _MICROSECOND).isoformat(" ")
    else:
        text = str(value)
    return f"{column.name} {column.type.duckdb} DEFAULT {literal(text)}"


def what_to_do_with_rows(table: Table, first: date | None, last: date | None, complete: int | None) -> str:
    """What holds of rows from before the columns were added, and the command that computes them again.

    Parameters
    ----------
    first, last : date or None
        Days of which the table has rows; None if it has none, or no days.
    complete : int or None
        Event time up to which raw data is complete, µs UTC; None if nothing is. A back-fill takes days over by then.
    """
    if first is None or last is None:
        return "whatever rows there are hold the default"
    if table.kind not in RECOMPUTED:
        return f"days {first} to {last} hold the default for good: this table's rows are never replaced"
    if complete is None or (over := min(last, date_of(complete + 1) - _DAY)) < first:
        return f"days {first} to {last} hold the default; none is over yet, and their day runs compute them again"
    return (
        f"days {first} to {last} hold the default until they are computed again: "
        f"signals backfill --from {first} --to {over} --assets {table.stage}/{table.short_name}"
        + ("; what is behind it is not over yet, and its day run computes it again" if over < last else "")
    )
