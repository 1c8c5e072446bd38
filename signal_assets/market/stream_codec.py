"""Micro-batches of raw rows as bytes: what the live lane writes to Redis and the raw assets read.

Belongs here: the payload, both ways. Does not belong here: Redis, keys, ids.

A payload is JSON, column by column: ``{"n": rows, "columns": {"trade_id": [...], ...}}``. Money and times are integers,
so nothing passes through a float that is not one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from signal_assets.table import Column, SchemaError, Table


class PayloadError(ValueError):
    """A payload is not what :func:`encode` writes for that table."""


def encode(table: Table, rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Pack rows, given in the table's column order.

    Examples
    --------
    >>> from signal_assets.market.tables import FEED_GAPS
    >>> encode(FEED_GAPS, [("A.B", "depth", 1, 2, "sequence")])[:38]
    b'{"n":1,"columns":{"instrument":["A.B"]'
    """
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(table.columns)
    if len(columns) != len(table.columns):
        raise PayloadError(f"{table.name}: rows have {len(columns)} values, the table has {len(table.columns)} columns")
    content = {column.name: values for column, values in zip(table.columns, columns, strict=True)}
    try:
        return orjson.dumps({"n": len(rows), "columns": content}, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        raise PayloadError(f"{table.name}: a value that cannot be written: {error}") from None


def decode(table: Table, payload: bytes) -> pd.DataFrame:
    """Unpack rows into a frame that fits the table.

    Columns that an older version did not write yet are filled as the lake's are: with the declared default, nullable
    ones with null.

    Raises
    ------
    PayloadError
        If the payload is not JSON, has other columns or lengths, or values that do not fit the table.
    """
    try:
        content = orjson.loads(payload)
        count, columns = int(content["n"]), dict(content["columns"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise PayloadError(f"{table.name}: not a payload of rows: {error}") from None
    names = {column.name for column in table.columns}
    added = [column for column in table.columns if column.name not in columns and column.may_be_absent]
    given = all(isinstance(values, list) and len(values) == count for values in columns.values())
    if not given or not columns or set(columns) | {column.name for column in added} != names:
        raise PayloadError(f"{table.name}: columns or their lengths are not those of the table")
    columns |= {column.name: [column.default] * count for column in added}
    if not count:
        return table.empty()
    try:
        frame = {column.name: _values(column, columns[column.name]) for column in table.columns}
        return table.conform(pd.DataFrame(frame))
    except (SchemaError, TypeError, ValueError, OverflowError) as error:
        raise PayloadError(f"{table.name}: values do not fit the table: {error}") from None


def _values(column: Column, values: list[Any]) -> Any:
    """One column; a value of another kind is an error, never converted."""
    if column.type.is_list:
        holder = np.empty(len(values), dtype=object)
        for index, item in enumerate(values):
            holder[index] = _integers(column.name, item)
        return holder
    if column.type.dtype == "int64":
        if column.nullable:
            known = _integers(column.name, [0 if value is None else value for value in values])
            return pd.arrays.IntegerArray(known, np.array([value is None for value in values]))
        return _integers(column.name, values)
    kinds = {"str": "U", "bool": "b", "float64": "fi"}[column.type.dtype]
    array = np.array([np.nan if value is None else value for value in values] if "f" in kinds else values)
    if array.ndim != 1 or array.dtype.kind not in kinds:
        raise ValueError(f"{column.name}: {array.dtype} where {column.type.dtype} belongs")
    return pd.array(values, dtype="str") if kinds == "U" else array.astype(column.type.dtype)


def _integers(name: str, values: Any) -> NDArray[np.int64]:
    array = np.array(values)
    if array.ndim != 1 or (array.size and array.dtype.kind != "i"):
        raise ValueError(f"{name}: {array.dtype} where a list of int64 belongs")
    return array.astype(np.int64)
