"""Liquidity vacuum: stretches of the book that hold next to nothing.

Belongs here: finding them in one book, inside its coverage. Does not belong here: the book, the profile.

Outside coverage the book is unknown, not empty, so a bucket counts only where the whole of it is covered. What lies
between the best bid's and the best ask's bucket is the spread, not a vacuum.
"""

from itertools import repeat
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from signal_assets.levels.runs import runs_of

Integers = NDArray[np.int64]

VACUUM_FRACTION: Final = 10
"""A vacuum holds less than one part in so many of the median depth."""


class VacuumZone(NamedTuple):
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
    first = -(-coverage[0] // bucket_size)
    end = max((coverage[1] + 1) // bucket_size, first)
    # Up to the best bid's bucket and from the best ask's on; where a side is empty the other one has all that is known.
    below, above = (end, end) if len(bids[0]) else (first, first)
    if len(bids[0]) and len(asks[0]):
        below, above = int(bids[0][-1]) // bucket_size + 1, int(asks[0][0]) // bucket_size
        if above < below:
            # Both best prices in one bucket: it holds what both sides have there.
            bids = (bids[0], np.concatenate((bids[1][:-1], bids[1][-1:] + asks[1][:1])))
            above = below
    ranges = [
        ("support", bids, first, min(max(below, first), end)),
        ("resistance", asks, min(max(above, first), end), end),
    ]
    buckets = sum(stop - start for _, _, start, stop in ranges)
    if buckets == 0 or buckets > 2 * (len(bids[0]) + len(asks[0])):
        return ()  # with more empty buckets than others the median is zero; and the arrays would be huge
    depths = [_depth(levels, start, stop, bucket_size) for _, levels, start, stop in ranges]
    middles = [(buckets - 1) // 2, buckets // 2]
    ordered = np.partition(np.concatenate(depths), middles)
    # depth < median / 10, with the median half of the sum of the two middle ones: integers only.
    both_middles = sum(ordered[middles].tolist())
    limit = (both_middles - 1) // (2 * VACUUM_FRACTION)
    return tuple(
        zone
        for (side, _, start, _), depth in zip(ranges, depths, strict=True)
        for zone in _runs(depth <= limit, depth, start, bucket_size, side)
    )


def _depth(levels: tuple[Integers, Integers], start: int, stop: int, bucket_size: int) -> Integers:
    """Quantity of every bucket from number ``start`` to ``stop``."""
    depth = np.zeros(stop - start, np.int64)
    place = levels[0] // bucket_size - start
    inside = (place >= 0) & (place < len(depth))
    depth[place[inside]] = levels[1][inside]
    return depth


def _runs(empty: NDArray[np.bool_], depth: Integers, first: int, bucket_size: int, side: str) -> tuple[VacuumZone, ...]:
    start, stop, held = runs_of(empty, depth)
    columns = (first + start) * bucket_size, (first + stop) * bucket_size, held
    return tuple(map(VacuumZone, *(column.tolist() for column in columns), repeat(side)))
