"""Price zones: adjacent peaks clustered to support and resistance.

Belongs here: clustering and measuring zones of one profile. Does not belong here: finding the peaks.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled
from signal_assets.levels.profile import Profile, RollingTradeProfile

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]

SUPPORT, RESISTANCE = range(2)
SIDES: Final = ("support", "resistance")


@dataclass(frozen=True, slots=True)
class Clusters:
    """Zones as bucket numbers, ascending: lowest and highest bucket (both inside) and the best peak's confidence."""

    low: Integers
    high: Integers
    confidence: Reals

    def __len__(self) -> int:
        return len(self.low)


def cluster_peaks(bucket: Integers, confidence: Reals, tolerance: int) -> Clusters:
    """Peaks whose distance to the next one is at most ``tolerance`` buckets form one zone.

    Parameters
    ----------
    bucket : ndarray of int64, shape (n,)
        Bucket numbers of the peaks, ascending.
    confidence : ndarray of float64, shape (n,)
        Confidence of each; a zone has that of its best.

    Examples
    --------
    >>> zones = cluster_peaks(np.array([100, 104, 110]), np.array([0.4, 0.9, 0.5]), 5)
    >>> zones.low.tolist(), zones.high.tolist(), zones.confidence.tolist()
    ([100, 110], [104, 110], [0.9, 0.5])
    """
    if len(bucket) == 0:
        return Clusters(bucket, bucket, confidence)
    begins = np.ones(len(bucket), bool)
    np.greater(bucket[1:] - bucket[:-1], tolerance, out=begins[1:])
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], len(bucket)) - 1
    return Clusters(bucket[starts], bucket[ends], np.maximum.reduceat(confidence, starts))


def zone_volumes(profile: Profile, zones: Clusters) -> Integers:
    """Volume of all buckets of each zone, units of 1e-8."""
    running = np.zeros(len(profile) + 1, np.int64)
    np.cumsum(profile.volume, out=running[1:])
    first = np.searchsorted(profile.bucket, zones.low, side="left")
    last = np.searchsorted(profile.bucket, zones.high, side="right")
    return np.asarray(running[last] - running[first], dtype=np.int64)


def zone_sides(low_edge: Integers, high_edge: Integers, bid_plus_ask: int) -> Integers:
    """SUPPORT where the zone's middle lies below the mid price, RESISTANCE where it lies on it or above.

    Integers only: (low + high) / 2 < (bid + ask) / 2 is low + high < bid + ask.
    """
    return np.where(low_edge + high_edge < bid_plus_ask, SUPPORT, RESISTANCE).astype(np.int64)


@compiled(
    takes="integers, integers, integers, integers, integer, integer, own integers, integer", returns="own integers"
)
def count_entries(
    start: Integers,
    ordinal: Integers,
    first: Integers,
    last: Integers,
    oldest: int,
    newest: int,
    stamp: Integers,
    tag: int,
) -> Integers:
    """Runs of traded minutes inside each zone, of those numbered ``oldest…newest`` (compiled).

    Parameters
    ----------
    start, ordinal
        For every place of a bucket, ``ordinal[start[place]:start[place + 1]]`` are its minutes, ascending.
    first, last
        Half-open range of places of each zone.
    stamp, tag
        Scratch, one number per minute, all below ``tag``; the tags from there up to two per zone are used up.
    """
    entries = np.zeros(first.size, np.int64)
    for zone in range(first.size):
        marked, counted = tag + 2 * zone, tag + 2 * zone + 1
        for counting in range(2):
            for place in range(first[zone], last[zone]):
                begin, end = start[place], start[place + 1]
                row = begin + np.searchsorted(ordinal[begin:end], oldest)
                while row < end and ordinal[row] <= newest:
                    minute = ordinal[row]
                    if counting == 0:
                        stamp[minute] = marked
                    elif stamp[minute] == marked:
                        stamp[minute] = counted
                        if minute == oldest or stamp[minute - 1] < marked:
                            entries[zone] += 1
                    row += 1
    return entries


@compiled(takes="integers, integers, integers, integers", returns="own integers")
def count_touches(minute: Integers, price: Integers, low: Integers, high: Integers) -> Integers:
    """Touches of each zone by all rows at once, as :class:`Touches` counts them over a look-back (compiled).

    Parameters
    ----------
    minute, price
        Rows in the order of minute and price.
    low, high
        Edges of the zones, ascending and apart from each other; the upper one outside.
    """
    entries = np.zeros(low.size, np.int64)
    newest = np.full(low.size, -2, np.int64)
    ordinal = -1
    zone = 0
    for row in range(minute.size):
        if row == 0 or minute[row] != minute[row - 1]:
            ordinal += 1
            zone = np.searchsorted(high, price[row], side="right")
        while zone < low.size and high[zone] <= price[row]:
            zone += 1
        if zone < low.size and low[zone] <= price[row] and newest[zone] != ordinal:
            if newest[zone] != ordinal - 1 or ordinal == 0:
                entries[zone] += 1
            newest[zone] = ordinal
    return entries


class Touches:
    """Counts how often trading entered a price range, from minute buckets.

    A touch is a run of successive minutes with trades in which some trade fell into the range: it begins with the first
    such minute of the look-back or one whose predecessor had trades only elsewhere. Minutes without any trade neither
    begin nor end a touch.

    Parameters
    ----------
    trades : RollingTradeProfile
        The instrument's rows.
    """

    def __init__(self, trades: RollingTradeProfile) -> None:
        self._bucket = trades.bucket
        self._look_back = trades.look_back
        self._minutes, ordinal = np.unique(trades.minute, return_inverse=True)
        order = np.argsort(trades.place, kind="stable")
        self._ordinal: Integers = ordinal.astype(np.int64)[order]
        counts = np.bincount(trades.place, minlength=len(self._bucket))
        self._start = np.r_[0, np.cumsum(counts)].astype(np.int64)
        self._stamp = np.zeros(len(self._minutes), np.int64)
        self._tag = 1

    def count(self, zones: Clusters, time: int) -> Integers:
        """Touches of each zone by the minutes in ``(time - look_back, time]``."""
        oldest, after = np.searchsorted(self._minutes, (time - self._look_back, time), side="right")
        first = np.searchsorted(self._bucket, zones.low, side="left")
        last = np.searchsorted(self._bucket, zones.high, side="right")
        entries = count_entries(self._start, self._ordinal, first, last, oldest, after - 1, self._stamp, self._tag)
        self._tag += 2 * len(zones)
        return entries
