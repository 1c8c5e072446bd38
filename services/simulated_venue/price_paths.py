"""How simulated prices move: around planned nodes, together, held by walls; and a third leg that follows from two.

Belongs here: the mid prices of all instruments, one diff interval at a time. Does not belong here: books and trades.
"""

import math
from collections.abc import Mapping
from typing import Final

from services.simulated_venue.market_plan import REGIMES, Anomaly, MarketPlan, Wall
from services.simulated_venue.random_values import normals, seeded
from signal_assets.event_time import DAY, MILLISECOND

REVERSION_SECONDS: Final = 120.0
SETTLING_SECONDS: Final = 45.0
COMMON_SHOCK: Final = 0.75
"""Correlation of every instrument's shock with the market's, so 0.56 among each other."""
SPIKE_WIDTHS: Final = 12.0
DERIVED_NOISE_TICKS: Final = 0.15
DISLOCATION: Final = 0.01
"""How far, as a share of its price, a spike takes a third leg away from what its two others say."""


class PricePaths:
    """Mid prices in ticks; :meth:`step` moves all of them by one interval.

    An Ornstein-Uhlenbeck process around the present node, with correlated shocks, scaled by the regime; a planned wall
    pulls the price most of the way to itself and is never passed.
    """

    def __init__(self, plan: MarketPlan) -> None:
        self._plan = plan
        self.mids = {symbol: item.start_price for symbol, item in plan.instruments.items()}
        self._centres = dict(self.mids)
        self._deviations = dict.fromkeys(self.mids, 0.0)
        self._shock = normals(seeded(plan.seed, "market shocks"))
        self._own = {symbol: normals(seeded(plan.seed, symbol, "shocks")) for symbol in self.mids}
        seconds = plan.settings.diff_interval / 1000
        self._keep = math.exp(-seconds / REVERSION_SECONDS)
        self._spread_out = math.sqrt(1 - self._keep**2)
        self._approach = 1 - math.exp(-seconds / SETTLING_SECONDS)

    def step(
        self,
        time: int,
        walls: Mapping[str, Wall | None],
        anomalies: Mapping[str, Anomaly | None],
        spreads: Mapping[str, int],
    ) -> float:
        """Move to ``time`` (µs); returns the regime's factor on activity."""
        regime = self._plan.regimes.at(time)
        volatility, activity = REGIMES[regime.name if regime is not None else "normal"]
        market = self._shock()
        own_weight = math.sqrt(1 - COMMON_SHOCK**2)
        for symbol, item in self._plan.instruments.items():
            if item.derived:
                continue
            shock = COMMON_SHOCK * market + own_weight * self._own[symbol]()
            wall, anomaly = walls[symbol], anomalies[symbol]
            node = item.nodes.at(time)
            target = node.price if node is not None else self._centres[symbol]
            if wall is not None:
                target += 0.75 * (wall.price - target)
            centre = self._centres[symbol] + (target - self._centres[symbol]) * self._approach
            deviation = self._deviations[symbol] * self._keep + item.width * volatility * self._spread_out * shock
            spike = _spike(anomaly, time) * SPIKE_WIDTHS * item.width if anomaly is not None else 0.0
            mid = centre + deviation + spike
            if wall is not None:
                held = _held(mid, wall, spreads[symbol])
                deviation += held - mid
                mid = held
            self._centres[symbol], self._deviations[symbol], self.mids[symbol] = centre, deviation, mid
        for symbol, (numerator, denominator) in self._plan.legs.items():
            ticks = {leg: self._plan.instruments[leg].instrument.tick_size for leg in (numerator, denominator)}
            ratio = self.mids[numerator] * ticks[numerator] / (self.mids[denominator] * ticks[denominator])
            ratio_ticks = ratio * 1e8 / self._plan.instruments[symbol].instrument.tick_size
            anomaly = anomalies[symbol]
            dislocation = _spike(anomaly, time) * DISLOCATION if anomaly is not None else 0.0
            self.mids[symbol] = ratio_ticks * (1 + dislocation) + DERIVED_NOISE_TICKS * self._own[symbol]()
        return activity


def _held(mid: float, wall: Wall, spread: int) -> float:
    """The mid price nearest to ``mid`` at which the wall is at best the best price of its side."""
    half = spread / 2
    if wall.side == "bid":
        return max(mid, wall.price + half)
    return min(mid, wall.price - half)


def _spike(anomaly: Anomaly, time: int) -> float:
    """Share of a price spike that is there at ``time``: up within a fifth of its life, then down in a straight line."""
    if anomaly.kind != "price_spike":
        return 0.0
    share = (time - anomaly.start) / max(anomaly.end - anomaly.start, MILLISECOND)
    height = share / 0.2 if share < 0.2 else (1 - share) / 0.8
    return anomaly.direction * max(0.0, height)


def weekend(time: int) -> bool:
    """True on Saturdays and Sundays, UTC; 1970-01-01 was a Thursday."""
    return (time // DAY + 3) % 7 >= 5
