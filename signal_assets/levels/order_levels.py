"""Support and resistance as single prices: the large orders of a book, as older systems report them.

Belongs here: picking levels of one side by size. Does not belong here: zones (``price_zones``), peaks.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from signal_assets.fixed_point import SCALE

Integers = NDArray[np.int64]


class PriceLevel(NamedTuple):
    """A price with what rests or traded there, units of 1e-8, and its share of the largest of its kind."""

    price: int
    quantity: int
    strength: float


def find_order_levels(
    price: Integers,
    quantity: Integers,
    min_order_volume_threshold: float = 0.01,
    support_resistance_threshold: float = 0.1,
) -> tuple[PriceLevel, ...]:
    """Levels of one side that are large enough; the largest first, of equals the lower price.

    Parameters
    ----------
    price, quantity : ndarray of int64
        Levels in any order, units of 1e-8.
    min_order_volume_threshold : float
        Least quantity of a level, base units.
    support_resistance_threshold : float
        Least quantity of a level as a share of its side's largest.

    Examples
    --------
    >>> price = np.array([100, 101, 102, 103])
    >>> [level.price for level in find_order_levels(price, np.array([5, 100, 9, 10]) * 10**6)]
    [101, 103]
    """
    if not len(price):
        return ()
    largest = int(quantity.max())
    strength = quantity / max(largest, 1)
    chosen = (quantity >= max(round(min_order_volume_threshold * SCALE), 1)) & (
        strength >= support_resistance_threshold
    )
    kept = np.flatnonzero(chosen)
    kept = kept[np.lexsort((price[kept], -quantity[kept]))]
    return tuple(map(PriceLevel, price[kept].tolist(), quantity[kept].tolist(), strength[kept].tolist()))


def find_control_levels(price: Integers, volume: Integers, control: int) -> tuple[PriceLevel, ...]:
    """Prices with the most volume: ``control`` first, then those that hold exactly as much, ascending."""
    most = np.flatnonzero(volume == volume.max())
    prices = [control, *(value for value in price[most].tolist() if value != control)]
    return tuple(PriceLevel(value, int(volume[most[0]]), 1.0) for value in prices)
