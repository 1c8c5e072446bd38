"""Trades summed, exactly, into minutes and price buckets.

Belongs here: the rows of ``aggregates.dollar_trades``. Does not belong here: profiles over many minutes (levels).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from signal_assets.aggregates.instrument_rows import instrument_rows, integers, text
from signal_assets.aggregates.tables import DOLLAR_TRADES
from signal_assets.compiled import compiled
from signal_assets.event_time import MINUTE
from signal_assets.fixed_point import FixedPointError
from signal_assets.instrument import Instrument
from signal_assets.window import Window

Integers = NDArray[np.int64]


@compiled(
    takes="integers, integers, integers, flags, integers",
    returns="own integers, own integers, own integers, own integers, own integers, integer",
)
def minute_bucket_sums(
    minute: Integers, bucket: Integers, quantity: Integers, taker_sold: NDArray[np.bool_], order: Integers
) -> tuple[Integers, Integers, Integers, Integers, Integers, int]:
    """Minute, bucket number, bought, sold and count per run of equal (minute, bucket) along ``order`` (compiled)."""
    count = order.size
    sums = np.zeros((5, count), np.int64)
    last = -1
    status = 0
    for i in order:
        if last < 0 or sums[0, last] != minute[i] or sums[1, last] != bucket[i]:
            last += 1
            sums[0, last] = minute[i]
            sums[1, last] = bucket[i]
        row = 3 if taker_sold[i] else 2
        if quantity[i] < 0:
            status = 1
        sums[row, last] += quantity[i]
        sums[4, last] += 1
        if sums[row, last] < 0 and status == 0:
            status = 2
    end = last + 1
    return (
        sums[0, :end].copy(),
        sums[1, :end].copy(),
        sums[2, :end].copy(),
        sums[3, :end].copy(),
        sums[4, :end].copy(),
        status,
    )


def dollar_trades_rows(window: Window, instruments: Sequence[Instrument], trades: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``aggregates.dollar_trades`` for the minutes whose close lies in ``(window.start, window.end]``.

    A trade of time T belongs to the minute that closes at the first full minute at or after T: intervals are
    ``(close - 60 s, close]``. A minute that has not closed by the window's end belongs to a later window.

    Parameters
    ----------
    trades : DataFrame
        Rows of ``market.trades`` in any order, at least those of ``(window.start - 1 min, window.end]``.

    Raises
    ------
    FixedPointError
        If a quantity is negative or a sum leaves int64.
    """
    ordered = sorted(instruments, key=lambda instrument: instrument.key)
    pieces: list[tuple[Integers, ...]] = []
    lengths: list[int] = []
    for instrument in ordered:
        rows = instrument_rows(trades, instrument.key)
        time = integers(trades, "event_time", rows)
        minute = -(-time // MINUTE) * MINUTE
        inside = np.flatnonzero((minute > window.start) & (minute <= window.end))
        minute = minute[inside]
        bucket = integers(trades, "price", rows)[inside] // instrument.bucket_size
        order = np.lexsort((bucket, minute))
        *sums, status = minute_bucket_sums(
            minute,
            bucket,
            integers(trades, "quantity", rows)[inside],
            trades["is_buyer_maker"].to_numpy(dtype=bool)[rows][inside],
            order,
        )
        if status:
            reason = "a trade's quantity is negative" if status == 1 else "a bucket's sum is beyond int64 units of 1e-8"
            raise FixedPointError(f"{instrument.key}, {window}: {reason}")
        sums[1] = sums[1] * instrument.bucket_size
        pieces.append(tuple(sums))
        lengths.append(len(sums[0]))
    if not any(lengths):
        return DOLLAR_TRADES.empty()
    minute, bucket, bought, sold, count = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return pd.DataFrame(
        {
            "instrument": text([i.key for i in ordered], np.repeat(np.arange(len(ordered)), lengths)),
            "minute": minute,
            "price_bucket": bucket,
            "buy_quantity": bought,
            "sell_quantity": sold,
            "trade_count": count,
        }
    )
