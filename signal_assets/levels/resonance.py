"""Resonance: where resting orders and trading peak at the same price.

Belongs here: pairing peaks of two profiles. Does not belong here: finding them (``wave_peaks``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from signal_assets.levels.wave_peaks import WavePeak


@dataclass(frozen=True, slots=True)
class ResonanceZone:
    """A depth peak and a trade peak within one tolerance.

    Parameters
    ----------
    low, high : int
        Bucket numbers of the two peaks, the lower one first.
    depth_volume, trade_volume : float
        Volume of each peak, base units.
    confidence : float
        The lesser of the two: both must be real.
    """

    low: int
    high: int
    depth_volume: float
    trade_volume: float
    confidence: float


def find_resonances(
    depth_peaks: Sequence[WavePeak], trade_peaks: Sequence[WavePeak], tolerance: int
) -> tuple[ResonanceZone, ...]:
    """Pairs of peaks at most ``tolerance`` buckets apart, ascending; each peak in one pair at most, the nearest first.

    Of equally near pairs the more confident one is taken, then the lower.

    Examples
    --------
    >>> depth = [WavePeak(100, 9.0, 2.0, 0.8, 0.0, 5.0, 1.0, "combined")]
    >>> trades = [WavePeak(price, 4.0, 2.0, 0.6, 0.0, 3.0, 1.0, "combined") for price in (98, 101, 110)]
    >>> find_resonances(depth, trades, 2)
    (ResonanceZone(low=100, high=101, depth_volume=9.0, trade_volume=4.0, confidence=0.6),)
    """
    trades = sorted(trade_peaks, key=lambda peak: peak.price)
    candidates: list[tuple[int, float, int, int, WavePeak, WavePeak]] = []
    first = 0
    for depth in sorted(depth_peaks, key=lambda peak: peak.price):
        while first < len(trades) and trades[first].price < depth.price - tolerance:
            first += 1
        place = first
        while place < len(trades) and trades[place].price <= depth.price + tolerance:
            trade = trades[place]
            shared = -min(depth.confidence, trade.confidence)
            candidates.append((abs(depth.price - trade.price), shared, depth.price, trade.price, depth, trade))
            place += 1
    candidates.sort(key=lambda pair: pair[:4])
    taken_depth, taken_trade, zones = set[int](), set[int](), list[ResonanceZone]()
    for _, shared, depth_price, trade_price, depth, trade in candidates:
        if depth_price in taken_depth or trade_price in taken_trade:
            continue
        taken_depth.add(depth_price)
        taken_trade.add(trade_price)
        low, high = min(depth_price, trade_price), max(depth_price, trade_price)
        zones.append(ResonanceZone(low, high, depth.volume, trade.volume, -shared))
    return tuple(sorted(zones, key=lambda zone: (zone.low, zone.high)))
