"""Random levels to hold real ones against: same side, same width, same distance, but nothing there.

Belongs here: drawing them. Does not belong here: judging levels (``level_outcomes``).

For each real level its partners are drawn from the places on the bucket grid whose distance from the price lies in the
same stratum – 0…⅛, ⅛…¼, ¼…½, ½…1, 1…2, 2…4 or 4…8 average ranges – each place as likely as the other. A place that
overlaps a real zone of the same profile is drawn again, at most :data:`TRIES` times; after that this partner is left
out. Levels farther away than the last stratum are not judged: price seldom gets there within the horizon.

The draws follow from content alone – instrument, moment, profile, level, number of the draw – by the mixing function of
SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014), so every lane and every
cut draws the same.
"""

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled

Integers = NDArray[np.int64]

STRATA: Final = 7
"""Of distance; their upper ends are ⅛, ¼, ½, 1, 2, 4 and 8 average ranges."""
TRIES: Final = 16


@compiled(takes="integer, integer", returns="integer")
def mix(state: int, value: int) -> int:
    """Mix a number into a state (compiled).

    Examples
    --------
    >>> hex(mix(0, 0) % 2**64)  # the first output of SplitMix64 with the seed 0
    '0xe220a8397b1dcdaf'
    """
    bits = (np.uint64(state) ^ np.uint64(value)) + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64(bits ^ (bits >> np.uint64(31)))  # type: ignore[return-value]


def seed_of(instrument: str, profile: str) -> int:
    """Where the draws of one instrument and profile begin: 63 bits of SHA-256."""
    return int.from_bytes(hashlib.sha256(f"{instrument}\x1f{profile}".encode()).digest()[:8], "big") >> 1


@compiled(takes="integer, integer", returns="integer")
def stratum(distance: int, average_range: int) -> int:
    """Number of the stratum of a distance; STRATA where it is too far (compiled).

    Examples
    --------
    >>> [int(stratum(distance, 100)) for distance in (12, 13, 49, 50, 100, 399, 400, 799, 800)]
    [0, 1, 2, 3, 4, 5, 6, 6, 7]
    """
    number = 0
    while number < STRATA and 8 * distance >= average_range << number:
        number += 1
    return number


@compiled(
    takes="integer, integer, integer, integer, integers, integers, flags, integer, integer, integer",
    returns="own integers, own integers, own integers",
)
def draw_levels(
    seed: int,
    moment: int,
    price: int,
    average_range: int,
    low: Integers,
    high: Integers,
    is_support: NDArray[np.bool_],
    bucket: int,
    draws: int,
    tries: int,
) -> tuple[Integers, Integers, Integers]:
    """Partners of the zones of one profile and moment (compiled).

    Parameters
    ----------
    price : int
        bid + ask at the moment: everything here is in halves of 1e-8.
    average_range, bucket : int
        Average range and width of a bucket, likewise doubled.
    low, high, is_support
        All zones of the profile; all of them are kept free, but those that are too far or in which the price stands get
        no partner.

    Returns
    -------
    zone, number, low : ndarray of int64
        Of each partner: which zone's it is, its number from 1 on, its lower edge. Its width is that zone's.
    """
    room = low.size * draws
    zone = np.empty(room, np.int64)
    number = np.empty(room, np.int64)
    drawn = np.empty(room, np.int64)
    found = 0
    for i in range(low.size):
        distance = price - high[i] if is_support[i] else low[i] - price
        if distance <= 0:
            continue
        which = stratum(distance, average_range)
        if which >= STRATA:
            continue
        nearest = 1 if which == 0 else -(-(average_range << (which - 1)) // 8)
        beyond = -(-(average_range << which) // 8)
        # Near edges on the grid with nearest <= distance < beyond: multiples of a bucket from first on.
        if is_support[i]:
            first = -(-(price - beyond + 1) // bucket)
            places = (price - nearest) // bucket - first + 1
        else:
            first = -(-(price + nearest) // bucket)
            places = (price + beyond - 1) // bucket - first + 1
        if places < 1:
            continue  # the zone does not lie on this grid: the size of a bucket was another one then
        width = high[i] - low[i]
        state = mix(mix(seed, moment), low[i])
        for draw in range(1, draws + 1):
            for turn in range(tries):
                bits = mix(mix(state, draw), turn) & 0x7FFFFFFFFFFFFFFF
                near = (first + bits % places) * bucket
                lower = near - width if is_support[i] else near
                free = lower > 0
                for other in range(low.size):
                    if lower < high[other] and low[other] < lower + width:
                        free = False
                        break
                if free:
                    zone[found] = i
                    number[found] = draw
                    drawn[found] = lower
                    found += 1
                    break
    return zone[:found].copy(), number[:found].copy(), drawn[:found].copy()
