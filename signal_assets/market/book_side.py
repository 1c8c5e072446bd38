"""The levels of a book as sorted arrays, and the compiled steps that change them.

Belongs here: finding, putting in and taking out levels. Does not belong here: ids and their continuity, coverage
(``order_book``).

A book is one array of four rows of the same length, one behind the other: keys and quantities of the bids, keys and
quantities of the asks. The key of a bid is
its price, that of an ask its negative price: so the best level of either side is the last one, and what changes there,
which is most of it, moves few others.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled, move_within
from signal_assets.market.messages import PriceLevels

BID, ASK = 0, 2
"""First row of a side: keys, and behind them quantities."""
SIGN: Final = {BID: 1, ASK: -1}
SMALLEST_CAPACITY: Final = 256

Numbers = NDArray[np.int64]


@compiled("own integers, own integers, integer, integer, integer", "integer")
def _change_side(levels: Numbers, rows: Numbers, first: int, sign: int, count: int) -> int:
    """Put in, change and take out levels of one side in the order given; the new number of levels.

    The side's keys begin at ``first``, its quantities one row behind.
    """
    capacity = len(rows) // 4
    for index in range(0, len(levels), 2):
        key, quantity = levels[index] * sign, levels[index + 1]
        at, remaining = first, count
        while remaining > 0:
            half = remaining >> 1
            if rows[at + half] < key:
                at += half + 1
                remaining -= half + 1
            else:
                remaining = half
        behind = first + count - at
        if behind > 0 and rows[at] == key:
            if quantity > 0:
                rows[at + capacity] = quantity
            else:
                move_within(rows, at, at + 1, behind - 1)
                move_within(rows, at + capacity, at + capacity + 1, behind - 1)
                count -= 1
        elif quantity > 0:
            move_within(rows, at + 1, at, behind)
            move_within(rows, at + capacity + 1, at + capacity, behind)
            rows[at], rows[at + capacity] = key, quantity
            count += 1
    return count


@compiled(
    "own integers, own integers, own integers, integer, integer",
    "integer, integer, integer, integer, integer, integer",
)
def change_levels(
    bids: Numbers, asks: Numbers, rows: Numbers, bid_count: int, ask_count: int
) -> tuple[int, int, int, int, int, int]:
    """Apply absolute quantities to both sides; 0 (or less) takes a level out.

    Parameters
    ----------
    bids, asks : ndarray of int64
        Packed as in :class:`signal_assets.market.messages.PriceLevels`.
    rows : ndarray of int64, shape (4 x capacity,)
        The book; its capacity is enough for all old and all given levels of a side.
    bid_count, ask_count : int
        Levels in use.

    Returns
    -------
    tuple of int
        The new counts, best bid and its quantity, best ask and its quantity (0 on an empty side).
    """
    capacity = len(rows) // 4
    bid_count = _change_side(bids, rows, 0, 1, bid_count)
    ask_count = _change_side(asks, rows, 2 * capacity, -1, ask_count)
    bid = bid_quantity = ask = ask_quantity = 0
    if bid_count > 0:
        last = bid_count - 1
        bid, bid_quantity = rows[last], rows[capacity + last]
    if ask_count > 0:
        last = 2 * capacity + ask_count - 1
        ask, ask_quantity = -rows[last], rows[capacity + last]
    return bid_count, ask_count, bid, bid_quantity, ask, ask_quantity


def empty_rows(capacity: int = SMALLEST_CAPACITY) -> Numbers:
    """A book without levels and with room for ``capacity`` a side."""
    return np.zeros(4 * max(capacity, SMALLEST_CAPACITY), dtype=np.int64)


def sorted_side(levels: PriceLevels, side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys, ascending and unique, and quantities of the levels that have one; of a price given twice the last counts.

    Examples
    --------
    >>> sorted_side(PriceLevels.of([(101, 4), (103, 1), (102, 0), (101, 2)]), ASK)
    (array([-103, -101]), array([1, 2]))
    """
    held = levels.quantities > 0
    keys, quantities = levels.prices[held] * SIGN[side], levels.quantities[held]
    order = np.argsort(keys, kind="stable")
    keys, quantities = keys[order], quantities[order]
    last = np.append(keys[1:] != keys[:-1], True)[: len(keys)]
    return keys[last], quantities[last]


def count_differences(
    keys: NDArray[np.int64],
    quantities: NDArray[np.int64],
    other_keys: NDArray[np.int64],
    other_quantities: NDArray[np.int64],
    ignored_keys: NDArray[np.int64],
) -> int:
    """Levels of two sorted sides that are in one only or have other quantities, but for the keys to be ignored."""
    every = np.union1d(keys, other_keys)
    held, other_held = np.zeros(len(every), np.int64), np.zeros(len(every), np.int64)
    held[np.searchsorted(every, keys)] = quantities
    other_held[np.searchsorted(every, other_keys)] = other_quantities
    different = every[held != other_held]
    return int(len(different) - np.isin(different, ignored_keys).sum())
