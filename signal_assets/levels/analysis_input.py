"""What the market analysis takes: a book and trades by minute and bucket, as arrays.

Belongs here: the two and what is refused of them. Does not belong here: the analysis (``market_analysis``).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from signal_assets.aggregates.dollar_depth import integer_array

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class BookSnapshot:
    """A book, int64 in units of 1e-8; levels in any order. Without coverage it is known from end to end and no further.

    Parameters
    ----------
    bid_price, bid_quantity, ask_price, ask_quantity : ndarray of int64
        One entry per level.
    coverage_low, coverage_high : int or None
        Lowest and highest price at which the book is known.
    """

    bid_price: Integers
    bid_quantity: Integers
    ask_price: Integers
    ask_quantity: Integers
    coverage_low: int | None = None
    coverage_high: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MinuteTrades:
    """Trades by minute and price bucket, as ``aggregates.dollar_trades`` holds them; rows in any order.

    Parameters
    ----------
    minute : ndarray of int64
        Close of the minute, µs UTC.
    price_bucket : ndarray of int64
        Lower edge of the bucket, units of 1e-8.
    buy_quantity, sell_quantity : ndarray of int64
        Bought and sold by takers, units of 1e-8.
    """

    minute: Integers
    price_bucket: Integers
    buy_quantity: Integers
    sell_quantity: Integers


def bid_plus_ask_of(book: BookSnapshot) -> int:
    """Best bid + best ask; twice the best of the one side there is."""
    bests = [int(book.bid_price.max())] if len(book.bid_price) else []
    bests += [int(book.ask_price.min())] if len(book.ask_price) else []
    return bests[0] + bests[-1]


def coverage_of(book: BookSnapshot) -> tuple[int, int]:
    """Lowest and highest price at which the book is known: as it says, else its outermost levels."""
    low, high = book.coverage_low, book.coverage_high
    sides = [prices for prices in (book.bid_price, book.ask_price) if len(prices)]
    return (
        int(min(prices.min() for prices in sides)) if low is None else int(low),
        int(max(prices.max() for prices in sides)) if high is None else int(high),
    )


def checked_book(snapshot: object) -> BookSnapshot:
    """The snapshot as a book, if it can be one."""
    columns = {
        name: integer_array(_named(snapshot, name, "snapshot"), f"snapshot.{name}")
        for name in ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
    }
    for side in ("bid", "ask"):
        price, quantity = columns[f"{side}_price"], columns[f"{side}_quantity"]
        if len(price) != len(quantity):
            raise ValueError(f"snapshot: {len(price)} {side} prices and {len(quantity)} {side} quantities")
        _refuse_below(price, 1, f"snapshot.{side}_price")
        _refuse_below(quantity, 0, f"snapshot.{side}_quantity")
    bids, asks = columns["bid_price"], columns["ask_price"]
    if not len(bids) and not len(asks):
        raise ValueError("snapshot: no level on either side")
    if len(bids) and len(asks) and bids.max() >= asks.min():
        raise ValueError(f"snapshot: crossed, best bid {bids.max()} is not below best ask {asks.min()}")
    low, high = (_named(snapshot, f"coverage_{end}", "snapshot", None) for end in ("low", "high"))
    if low is not None and high is not None and low > high:
        raise ValueError(f"snapshot: coverage_low {low} lies above coverage_high {high}")
    return BookSnapshot(**columns, coverage_low=low, coverage_high=high)


def checked_trades(trades: object) -> MinuteTrades:
    """The trades as rows ordered by minute and bucket."""
    if trades is None:
        nothing = np.empty(0, np.int64)
        return MinuteTrades(nothing, nothing, nothing, nothing)
    names = ("minute", "price_bucket", "buy_quantity", "sell_quantity")
    columns = [integer_array(_named(trades, name, "trades"), f"trades.{name}") for name in names]
    lengths = {name: len(column) for name, column in zip(names, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"trades: columns of different lengths {lengths}")
    minute, bucket, bought, sold = columns
    _refuse_below(bucket, 0, "trades.price_bucket")
    _refuse_below(bought, 0, "trades.buy_quantity")
    _refuse_below(sold, 0, "trades.sell_quantity")
    later = minute[1:] > minute[:-1]
    if not bool((later | ((minute[1:] == minute[:-1]) & (bucket[1:] >= bucket[:-1]))).all()):
        order = np.lexsort((bucket, minute))
        minute, bucket, bought, sold = (column[order] for column in columns)
    return MinuteTrades(minute, bucket, bought, sold)


_REQUIRED: Final = object()


def _named(source: object, name: str, what: str, default: object = _REQUIRED) -> Any:
    """An attribute or an entry of that name."""
    try:
        return getattr(source, name) if hasattr(source, name) else source[name]  # type: ignore[index]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        if default is not _REQUIRED:
            return default
        raise ValueError(f"{what}: {type(source).__name__} has no {name}") from error


def _refuse_below(values: Integers, least: int, name: str) -> None:
    if len(values) and int(values.min()) < least:
        where = int(np.flatnonzero(values < least)[0])
        raise ValueError(f"{name}[{where}] is {values[where]}, less than {least}")
