"""Between int64 units of 1e-8 and Arrow's DECIMAL, without a float in between.

Belongs here: the two directions of that conversion, by buffer. DuckDB's own ``.df()`` and ``.fetchnumpy()`` would turn
DECIMAL into floats, and ``DECIMAL(18,8) * 100000000`` overflows inside SQL.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class MoneyRangeError(OverflowError):
    """A decimal of the lake does not fit into int64 units of 1e-8."""


def encode_money(values: NDArray[np.int64], precision: int) -> pa.Array:
    """Arrow ``decimal128(precision, 8)`` of int64 units of 1e-8.

    Examples
    --------
    >>> encode_money(np.array([-150_000_000]), 18).to_pylist()
    [Decimal('-1.50000000')]
    """
    words = np.empty((len(values), 2), dtype=np.int64)
    words[:, 0] = values
    words[:, 1] = values >> 63
    return pa.Array.from_buffers(pa.decimal128(precision, 8), len(values), [None, pa.py_buffer(words)])


def encode_money_lists(lists: list[NDArray[np.int64]], precision: int) -> pa.Array:
    """Arrow list array of ``decimal128(precision, 8)``, one list per row."""
    offsets = np.zeros(len(lists) + 1, dtype=np.int32)
    np.cumsum([len(item) for item in lists], out=offsets[1:])
    flat = np.concatenate(lists) if lists else np.empty(0, dtype=np.int64)
    return pa.ListArray.from_arrays(pa.array(offsets), encode_money(flat.astype(np.int64, copy=False), precision))


def decode_money(array: pa.Array, where: str) -> NDArray[np.int64]:
    """Units of 1e-8 of an Arrow decimal array with scale 8 and no nulls.

    Raises
    ------
    MoneyRangeError
        If a value leaves int64; ``where`` names the column in the message.
    """
    if array.type.bit_width != 128:
        array = array.cast(pa.decimal128(38, 8))
    words = np.frombuffer(array.buffers()[1], dtype=np.int64, count=2 * (array.offset + len(array)))
    words = words.reshape(-1, 2)[array.offset :]
    low = words[:, 0].copy()
    if not bool(np.array_equal(words[:, 1], low >> 63)):
        raise MoneyRangeError(f"{where}: a value leaves the range of int64 units of 1e-8")
    return low


def decode_money_lists(array: pa.ListArray, where: str) -> list[NDArray[np.int64]]:
    """One int64 array per row of an Arrow list array of decimals with scale 8.

    Raises
    ------
    MoneyRangeError
        If a value leaves int64.
    """
    offsets = np.asarray(array.offsets)
    flat = decode_money(array.values, where)
    return [flat[offsets[row] : offsets[row + 1]] for row in range(len(array))]
