"""Liquidity vacuum: stretches of the book that hold next to nothing.

Belongs here: finding them in one book, inside its coverage. Does not belong here: the book, the profile.

Outside coverage the book is unknown, not empty, so a bucket counts only where the whole of it is covered. What lies
between the best bid's and the best ask's bucket is the spread, not a vacuum.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

VACUUM_FRACTION: Final = 10
"""A vacuum holds less than one part in so many of the median depth."""


@dataclass(frozen=True, slots=True)
class VacuumZone:
    """One run of nearly empty buckets: edges (the upper one outside) and quantity in units of 1e-8."""

    low: int
    high: int
    quantity: int
    side: str


def find_vacuums(
    bids: tuple[Integers, Integers], asks: tuple[Integers, Integers], bucket_size: int, coverage: tuple[int, int]
) -> tuple[VacuumZone, ...]:
    """Runs of buckets inside coverage that hold less than a tenth of the median bucket, ascending.

    The median is taken over all covered buckets of both sides, empty ones included: in a book so thin that half of its
    buckets are empty, emptiness is nothing special and there is no vacuum.

    Parameters
    ----------
    bids, asks : pair of ndarray of int64
        Lower edges ascending, and quantities, as ``aggregate_depth`` gives them.
    bucket_size : int
        Width of a bucket, units of 1e-8.
    coverage : pair of int
        Lowest and highest price known, both inside, units of 1e-8.

    Examples
    --------
    >>> bids = np.arange(90, 100), np.array([50, 50, 4, 0, 50, 50, 50, 50, 50, 50])
    >>> asks = np.arange(100, 110), np.full(10, 50)
    >>> find_vacuums(bids, asks, 1, (90, 109))
    (VacuumZone(low=92, high=94, quantity=4, side='support'),)
    """
    first, end = -(-coverage[0] // bucket_size), (coverage[1] + 1) // bucket_size
    sides = [side for side in (bids, asks) if len(side[0])]
    used = sum(len(side[0]) for side in sides)
    if end - first <= 0 or end - first > 2 * used + 1:
        return ()  # with more empty buckets than others the median is zero; and the array would be huge
    depth = np.zeros(end - first, np.int64)
    for edge, quantity in sides:
        place = edge // bucket_size - first
        inside = (place >= 0) & (place < len(depth))
        np.add.at(depth, place[inside], quantity[inside])
    counted = np.ones(len(depth), bool)
    middle = len(depth)
    if len(sides) == 2:
        best_bid, best_ask = (int(edge // bucket_size) - first for edge in (bids[0][-1], asks[0][0]))
        counted[max(best_bid + 1, 0) : max(best_ask, 0)] = False
        middle = best_ask
    elif len(asks[0]):
        middle = 0
    of_median = np.sort(depth[counted])
    if not len(of_median):
        return ()
    both_middles = int(of_median[(len(of_median) - 1) // 2]) + int(of_median[len(of_median) // 2])
    # depth < median / 10, with the median half of the sum of the two middle ones: integers only.
    if both_middles == 0:
        return ()
    empty = counted & (depth <= (both_middles - 1) // (2 * VACUUM_FRACTION))
    middle = min(max(middle, 0), len(depth))
    return (
        *_runs(empty[:middle], depth[:middle], first, bucket_size, "support"),
        *_runs(empty[middle:], depth[middle:], first + middle, bucket_size, "resistance"),
    )


def _runs(empty: NDArray[np.bool_], depth: Integers, first: int, bucket_size: int, side: str) -> tuple[VacuumZone, ...]:
    padded = np.concatenate(([False], empty, [False]))
    start, stop = np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2).T
    running = np.concatenate(([0], np.cumsum(depth)))
    columns = (first + start) * bucket_size, (first + stop) * bucket_size, running[stop] - running[start]
    return tuple(
        VacuumZone(low, high, held, side)
        for low, high, held in zip(*(column.tolist() for column in columns), strict=True)
    )
