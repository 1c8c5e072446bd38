"""Micro-batches of raw rows as bytes: what the live lane writes to Redis and the raw assets read.

Belongs here: the payload, both ways. Does not belong here: Redis, keys, ids.

A payload is JSON, column by column: ``{"n": rows, "columns": {"trade_id": [...], ...}}``. Money and times are integers, so
nothing passes through a float that is not one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pandas as pd

from signal_assets.table import Table


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
    return orjson.dumps({"n": len(rows), "columns": content}, option=orjson.OPT_SERIALIZE_NUMPY)


def decode(table: Table, payload: bytes) -> pd.DataFrame:
    """Unpack rows into a frame that fits the table.

    Raises
    ------
    PayloadError
        If the payload is not JSON or has other columns or lengths.
    """
    try:
        content = orjson.loads(payload)
        count, columns = int(content["n"]), dict(content["columns"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise PayloadError(f"{table.name}: not a payload of rows: {error}") from None
    if set(columns) != {column.name for column in table.columns} or any(len(v) != count for v in columns.values()):
        raise PayloadError(f"{table.name}: columns or their lengths are not those of the table")
    if not count:
        return table.empty()
    frame: dict[str, Any] = {}
    for column in table.columns:
        values = columns[column.name]
        if column.type.is_list:
            holder = np.empty(count, dtype=object)
            holder[:] = [np.array(item, dtype=np.int64) for item in values]
            frame[column.name] = holder
        elif column.nullable and column.type.dtype == "int64":
            frame[column.name] = pd.array(values, dtype="Int64")
        elif column.type.dtype == "str":
            frame[column.name] = pd.array(values, dtype="str")
        else:
            frame[column.name] = np.array(values, dtype=column.type.dtype)
    return table.conform(pd.DataFrame(frame))
