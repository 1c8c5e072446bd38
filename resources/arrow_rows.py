"""Between frames in a table's in-memory dtypes and Arrow tables in the lake's types.

Belongs here: one conversion each way, column by column. Does not belong here: SQL, or money itself (``arrow_money``).
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from resources.arrow_money import decode_money, decode_money_lists, encode_money, encode_money_lists
from signal_assets.event_time import DAY
from signal_assets.table import DAY_COLUMN, Column, ColumnType, Table

_PRECISION: Final = {
    ColumnType.PRICE: 18,
    ColumnType.PRICES: 18,
    ColumnType.QUANTITY: 38,
    ColumnType.QUANTITIES: 38,
}


def encode_rows(table: Table, rows: pd.DataFrame) -> pa.Table:
    """Rows in the table's in-memory dtypes as Arrow: DECIMAL, TIMESTAMPTZ and the day they are partitioned by."""
    arrays: dict[str, pa.Array] = {}
    for column in table.columns:
        series = rows[column.name]
        precision = _PRECISION.get(column.type, 0)
        if column.type.is_list:
            arrays[column.name] = encode_money_lists([np.asarray(item, dtype=np.int64) for item in series], precision)
        elif column.type.is_money and not column.nullable:
            arrays[column.name] = encode_money(series.to_numpy(dtype=np.int64), precision)
        elif column.type.is_money:
            present = pa.array(series.notna().to_numpy())
            values = encode_money(series.fillna(0).to_numpy(dtype=np.int64), precision)
            arrays[column.name] = pc.if_else(present, values, pa.scalar(None, values.type))
        elif column.type is ColumnType.TIME:
            arrays[column.name] = pa.array(series.to_numpy(dtype=np.int64)).cast(pa.timestamp("us", tz="UTC"))
        else:
            arrays[column.name] = pa.array(series, from_pandas=column.nullable)
    if table.time is not None:
        days = (rows[table.time].to_numpy(dtype=np.int64) - 1) // DAY
        arrays[DAY_COLUMN] = pa.array(days.astype(np.int32), type=pa.int32()).cast(pa.date32())
    return pa.table(arrays)


def decode_rows(arrow: pa.Table, columns: Sequence[Column], table: str) -> pd.DataFrame:
    """Arrow as DuckDB gives it, in the in-memory dtypes of ``columns``; times come as integers.

    Raises
    ------
    MoneyRangeError
        If a decimal leaves int64 units of 1e-8.
    """
    out: dict[str, Any] = {}
    for column in columns:
        chunked = arrow.column(column.name)
        array = chunked.combine_chunks() if chunked.num_chunks != 1 else chunked.chunk(0)
        where = f"{table}.{column.name}"
        if column.type.is_list:
            lists = decode_money_lists(array, where)
            holder = np.empty(len(lists), dtype=object)
            holder[:] = lists
            out[column.name] = holder
        elif column.type.is_money and column.nullable:
            mask = np.asarray(array.is_null())
            filled = array.fill_null(0)
            out[column.name] = pd.arrays.IntegerArray(decode_money(filled, where), mask)
        elif column.type.is_money:
            out[column.name] = decode_money(array, where)
        elif column.type is ColumnType.TEXT:
            out[column.name] = array.to_pandas().astype("str").array
        elif column.type.dtype == "int64" and column.nullable:
            out[column.name] = array.to_pandas().astype("Int64").array
        else:
            out[column.name] = np.asarray(array.to_numpy(zero_copy_only=False), dtype=column.type.dtype)
    return pd.DataFrame(out)
