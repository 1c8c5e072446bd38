"""Order-book depth summed, exactly, into price buckets.

Belongs here: sums of levels per bucket and the rows of ``aggregates.dollar_depth``. Does not belong here: the book.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from signal_assets.aggregates.instrument_rows import instrument_rows, integers, text
from signal_assets.aggregates.tables import DOLLAR_DEPTH
from signal_assets.compiled import compiled
from signal_assets.fixed_point import MAXIMUM, FixedPointError
from signal_assets.instrument import Instrument
from signal_assets.window import Window

Integers = NDArray[np.int64]

SUMMED: Final = 0
NEGATIVE_QUANTITY: Final = 1
BEYOND_INT64: Final = 2

SIDES: Final = ("ask", "bid")


@compiled(takes="integers, integers, integer", returns="own integers, own integers, own integers, integer")
def bucket_sums(price: Integers, quantity: Integers, bucket_size: int) -> tuple[Integers, Integers, Integers, int]:
    """Bucket numbers floor(price / bucket size) ascending, sum and count of each, and a status (compiled).

    Integers, so the sums do not depend on the order of the levels. A range of buckets not much wider than there are
    levels is summed in a dense array, a wider one (an absurd price) after sorting; both give the same.
    """
    count = price.size
    number = np.empty(count, np.int64)
    none = np.empty(0, np.int64)
    if count == 0:
        return none, none, none, 0
    current = price[0] // bucket_size
    edge = current * bucket_size
    lowest = highest = current
    for i in range(count):
        if quantity[i] < 0:
            return none, none, none, 1
        # Levels come best first, so the next one mostly lies in the same bucket: compare before dividing.
        if price[i] < edge or price[i] - edge >= bucket_size:
            current = price[i] // bucket_size
            edge = current * bucket_size
            lowest = min(lowest, current)
            highest = max(highest, current)
        number[i] = current
    span = highest - lowest + 1
    if 0 < span <= 8 * count + 4096:
        total = np.zeros(span, np.int64)
        levels = np.zeros(span, np.int64)
        for i in range(count):
            place = number[i] - lowest
            total[place] += quantity[i]
            levels[place] += 1
            if total[place] < 0:
                return none, none, none, 2
        used = np.flatnonzero(levels)
        return used + lowest, total[used], levels[used], 0
    order = np.argsort(number)
    total = np.zeros(count, np.int64)
    levels = np.zeros(count, np.int64)
    bucket = np.empty(count, np.int64)
    last = -1
    for i in order:
        if last < 0 or bucket[last] != number[i]:
            last += 1
            bucket[last] = number[i]
        total[last] += quantity[i]
        levels[last] += 1
        if total[last] < 0:
            return none, none, none, 2
    return bucket[: last + 1].copy(), total[: last + 1].copy(), levels[: last + 1].copy(), 0


def sum_by_bucket(price: Integers, quantity: Integers, bucket_size: int) -> tuple[Integers, Integers, Integers]:
    """Bucket numbers floor(price / bucket size), ascending, with the sum and the count of each.

    Raises
    ------
    FixedPointError
        If a quantity is negative or a sum leaves int64.
    """
    number, total, levels, status = bucket_sums(price, quantity, bucket_size)
    if status == NEGATIVE_QUANTITY:
        where = int(np.flatnonzero(quantity < 0)[0])
        raise FixedPointError(f"a level's quantity is negative: quantity[{where}] is {quantity[where]}")
    if status == BEYOND_INT64:
        raise FixedPointError("the quantity of a bucket is beyond int64 units of 1e-8")
    return number, total, levels


def aggregate_depth(price: ArrayLike, quantity: ArrayLike, bucket_size: int) -> tuple[Integers, Integers, Integers]:
    """Sum price levels into buckets of ``bucket_size``, exactly.

    Parameters
    ----------
    price, quantity : array_like of int64, shape (n,)
        Levels in any order, in units of 1e-8; a price may come more than once.
    bucket_size : int
        Width of a bucket in units of 1e-8.

    Returns
    -------
    bucket, quantity, level_count : ndarray of int64
        Lower edge floor(price / bucket_size) x bucket_size of every bucket with a level, ascending; the sum of its
        quantities; how many levels it holds. The quantities add up to the input's to the last unit.

    Raises
    ------
    ValueError
        If the arrays are not integer or not of one length, the bucket size is not positive, or (as
        :class:`FixedPointError`) a quantity is negative or a sum leaves int64.

    Examples
    --------
    >>> one = 100_000_000
    >>> bucket, quantity, levels = aggregate_depth([100 * one + 5, 101 * one, 100 * one], [1, 2, 3], one)
    >>> (bucket // one).tolist(), quantity.tolist(), levels.tolist()
    ([100, 101], [4, 2], [2, 1])
    """
    size = checked_bucket_size(bucket_size)
    prices, quantities = integer_array(price, "price"), integer_array(quantity, "quantity")
    if prices.shape != quantities.shape:
        raise ValueError(f"{prices.size} prices and {quantities.size} quantities")
    number, total, levels = sum_by_bucket(prices, quantities, size)
    return number * size, total, levels


def checked_bucket_size(bucket_size: object) -> int:
    """The width of a bucket in units of 1e-8, if it can be one.

    Raises
    ------
    ValueError
        If it is no positive integer.
    """
    if isinstance(bucket_size, bool) or not isinstance(bucket_size, int | np.integer) or bucket_size <= 0:
        raise ValueError(f"bucket_size must be a positive integer in units of 1e-8, not {bucket_size!r}")
    return int(bucket_size)


def integer_array(values: ArrayLike, name: str) -> Integers:
    """Values as a one-dimensional int64 array.

    Raises
    ------
    ValueError
        If they are something else, named by ``name``.
    """
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        found = f"{array.dtype} of shape {array.shape}"
        raise ValueError(f"{name} must be a one-dimensional array of integers in units of 1e-8, not {found}")
    if array.size and array.dtype.kind == "u" and int(array.max()) > MAXIMUM:
        raise FixedPointError(f"{name} is beyond int64 units of 1e-8")
    return array.astype(np.int64, copy=False)


def dollar_depth_rows(window: Window, instruments: Sequence[Instrument], depth_snapshots: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``aggregates.dollar_depth`` for the snapshots in ``(window.start, window.end]``.

    Parameters
    ----------
    depth_snapshots : DataFrame
        Rows of ``market.depth_snapshots``; those outside the window or of other instruments are left out.
    """
    ordered = sorted(instruments, key=lambda instrument: instrument.key)
    pieces: list[tuple[Integers, Integers, Integers]] = []
    heads: list[tuple[int, int, int, int]] = []
    for code, instrument in enumerate(ordered):
        rows = instrument_rows(depth_snapshots, instrument.key, "event_time")
        times = integers(depth_snapshots, "event_time", rows)
        first, last = np.searchsorted(times, (window.start, window.end), side="right")
        books = [
            (depth_snapshots[f"{side}_price"].to_numpy()[rows], depth_snapshots[f"{side}_quantity"].to_numpy()[rows])
            for side in SIDES
        ]
        for position in range(int(first), int(last)):
            for side, (price, quantity) in enumerate(books):
                piece = aggregate_depth(price[position], quantity[position], instrument.bucket_size)
                pieces.append(piece)
                heads.append((code, int(times[position]), side, len(piece[0])))
    if not any(head[3] for head in heads):
        return DOLLAR_DEPTH.empty()
    codes, times, sides, lengths = np.array(heads, dtype=np.int64).T
    bucket, quantity, levels = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return pd.DataFrame(
        {
            "instrument": text([instrument.key for instrument in ordered], np.repeat(codes, lengths)),
            "event_time": np.repeat(times, lengths),
            "side": text(SIDES, np.repeat(sides, lengths)),
            "price_bucket": bucket,
            "quantity": quantity,
            "level_count": levels,
        }
    )
