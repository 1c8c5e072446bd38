"""The schema of a lake table: the one source of its DDL, its Dagster column schema and its checks.

Belongs here: what a column or a table *is*. Does not belong here: how it is stored (``resources/lake``) or which tables
there are (each stage's ``tables.py``).

In memory a table is a ``pandas.DataFrame`` whose columns have the dtypes of :class:`ColumnType`: money as int64 units
of 1e-8, times as int64 microseconds UTC, lists as object columns of int64 arrays. In the lake they are DECIMAL and
TIMESTAMPTZ.
"""

from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import pandas as pd


class ColumnType(Enum):
    """Kind of a column: (DuckDB type, in-memory dtype, list?)."""

    TEXT = ("VARCHAR", "str", False)
    TIME = ("TIMESTAMPTZ", "int64", False)
    PRICE = ("DECIMAL(18,8)", "int64", False)
    QUANTITY = ("DECIMAL(38,8)", "int64", False)
    COUNT = ("BIGINT", "int64", False)
    REAL = ("DOUBLE", "float64", False)
    FLAG = ("BOOLEAN", "bool", False)
    PRICES = ("DECIMAL(18,8)[]", "object", True)
    QUANTITIES = ("DECIMAL(38,8)[]", "object", True)

    def __init__(self, duckdb: str, dtype: str, is_list: bool) -> None:
        self.duckdb = duckdb
        self.dtype = dtype
        self.is_list = is_list

    @property
    def is_money(self) -> bool:
        """Whether values are int64 units of 1e-8 in memory and DECIMAL in the lake."""
        return self in (ColumnType.PRICE, ColumnType.QUANTITY, ColumnType.PRICES, ColumnType.QUANTITIES)


TableKind = Literal["raw", "window", "fold", "resolved", "as-of", "given", "emitted", "platform"]

DAY_COLUMN: Final = "day"
"""Name of the DATE column that every market-time table is partitioned by; derived from the table's time column."""


class SchemaError(ValueError):
    """A frame does not have the columns, dtypes or keys that its table asks for."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: name, kind, what it means and in which unit; ``operational`` ones stand outside every equality.

    Parameters
    ----------
    default : int, float, str or bool, optional
        What rows hold that were written before the column was declared, in the unit it has in memory. A column that is
        added to a table that homes have already needs one, unless it is nullable: null then. Lists cannot have one. New
        rows are not filled from it.
    """

    name: str
    type: ColumnType
    description: str
    unit: str = ""
    nullable: bool = False
    operational: bool = False
    default: int | float | str | bool | None = None

    def __post_init__(self) -> None:
        if self.default is not None and type(self.default).__name__ != self.type.dtype.removesuffix("64"):
            raise SchemaError(f"column {self.name}: default {self.default!r} is no {self.type.dtype}")

    @property
    def may_be_absent(self) -> bool:
        """Whether rows from before the column was declared can be given a value of it."""
        return self.nullable or self.default is not None


@dataclass(frozen=True, slots=True)
class Table:
    """Schema of one lake table.

    Parameters
    ----------
    name : str
        ``stage.table``, e.g. ``market.trades``.
    columns : tuple of Column
        In storage order, without the derived ``day`` column.
    key : tuple of str
        The natural key; a function of event time (and instrument) alone.
    kind : TableKind
        How runs may write it; see docs/architecture.md.
    time : str or None
        The TIME column that places a row in a window; None for platform tables without market time.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    kind: TableKind
    time: str | None = None
    _by_name: dict[str, Column] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._by_name.update({column.name: column for column in self.columns})
        missing = [name for name in (*self.key, *([self.time] if self.time else [])) if name not in self._by_name]
        if missing or len(self._by_name) != len(self.columns):
            raise SchemaError(f"{self.name}: key or time column {missing} not declared, or a column declared twice")

    @property
    def stage(self) -> str:
        """First part of the name: the folder that writes the table."""
        return self.name.partition(".")[0]

    @property
    def short_name(self) -> str:
        """Second part of the name."""
        return self.name.partition(".")[2]

    @property
    def has_lists(self) -> bool:
        """Whether any column is a list (those tables are never inlined into the catalog)."""
        return any(column.type.is_list for column in self.columns)

    @property
    def value_columns(self) -> tuple[str, ...]:
        """Names of the columns that take part in equalities."""
        return tuple(column.name for column in self.columns if not column.operational)

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises
        ------
        SchemaError
            If there is none.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise SchemaError(f"{self.name} has no column {name!r}; it has {', '.join(self._by_name)}") from None

    def empty(self) -> pd.DataFrame:
        """A frame with the right columns and dtypes and no row."""
        return _empty(self).copy()

    def conform(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with exactly this table's columns in order and in the table's dtypes.

        Raises
        ------
        SchemaError
            If a column is missing or unknown, a value is null where none may be, money or time is not integer, or two
            rows share the key.
        """
        unknown = [str(name) for name in frame.columns if name not in self._by_name]
        absent = [column.name for column in self.columns if column.name not in frame.columns]
        if unknown or absent:
            raise SchemaError(f"{self.name}: unknown columns {unknown}, missing columns {absent}")
        out: dict[str, object] = {}
        for column in self.columns:
            series = frame[column.name]
            if not column.nullable and column.type is not ColumnType.REAL and bool(series.isna().any()):
                raise SchemaError(f"{self.name}.{column.name}: null in a column that has none")
            if column.type.dtype == "int64" and not column.nullable:
                if len(series) and series.dtype.kind not in "iu":
                    raise SchemaError(f"{self.name}.{column.name}: {series.dtype} where integers belong")
                out[column.name] = series.to_numpy(dtype=np.int64)
            elif column.type.dtype == "int64":
                out[column.name] = series.astype("Int64").array
            elif column.type is ColumnType.TEXT:
                out[column.name] = series.astype("str").array
            else:
                out[column.name] = series.to_numpy(dtype=column.type.dtype)
        conformed = pd.DataFrame(out)
        if len(conformed) > 1 and bool(conformed.duplicated(subset=list(self.key)).any()):
            twice = conformed[conformed.duplicated(subset=list(self.key))].iloc[0]
            raise SchemaError(f"{self.name}: two rows for { ({name: twice[name] for name in self.key}) }")
        return conformed


@lru_cache(maxsize=64)
def _empty(table: Table) -> pd.DataFrame:
    nullable = {column.name for column in table.columns if column.nullable and column.type.dtype == "int64"}
    return table.conform(
        pd.DataFrame(
            {
                column.name: pd.Series(dtype="Int64" if column.name in nullable else column.type.dtype)
                for column in table.columns
            }
        )
    )
