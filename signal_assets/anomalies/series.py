"""The market series of one instrument: from features rows to one number per series and point of the metrics grid.

Belongs here: what the series are. Does not belong here: whether a number is off (the detectors).

A point exists at every multiple of the metrics interval at which the instrument has a features row; *row* is that row,
*rows* are those of the interval ``(point - interval, point]`` that it ends.

| series | value | unit |
| --- | --- | --- |
| return | ln(mid of the row / mid one interval earlier) | – |
| volume | Σ (bought + sold) over the rows | base currency |
| spread | (best ask - best bid) / mid of the row · 10,000 | basis points |
| imbalance | (bid - ask) / (bid + ask) quantity of the row's five best levels | -1…1 |
| trade_rate | Σ trades over the rows / interval | 1/s |
| order_flow_imbalance | Σ order-flow imbalance over the rows | base currency |
| vpin | Σ abs(bought - sold) / Σ (bought + sold) over the last 50 whole intervals | 0…1 |
| mean_spread, wick, trade_burst, one_sided | what happened between the points: ``interval_measures`` | |

Gaps: a features row is missing where the feed was. An interval that misses a row is not whole: sums over it are not
known, so volume, trade_rate, order_flow_imbalance and vpin have no value at its end, and VPIN leaves it out (its 50
intervals then reach further back). A return needs the row one interval earlier and no more. VPIN has no value either
before 50 whole intervals were seen, or when nothing was traded in them. A series without a value has no row.

VPIN here is taken over bars of **time**. Its authors take bars of equal volume and classify trades in bulk; we know the
side of every trade, and bars of time keep all series on one grid, but ours reacts more slowly in busy times.
Source: Easley, López de Prado, O'Hara (2012), "Flow Toxicity and Liquidity in a High-Frequency World", Review of
Financial Studies 25(5).
"""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from signal_assets.anomalies.interval_measures import INTERVAL_FEATURES, IntervalMeasures
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.event_time import SECOND
from signal_assets.fixed_point import SCALE

BASIS_POINTS: Final = 10_000

POINT_FEATURES: Final = (
    "return",
    "volume",
    "spread",
    "imbalance",
    "trade_rate",
    "order_flow_imbalance",
    "vpin",
)
MARKET_FEATURES: Final = (*POINT_FEATURES, *INTERVAL_FEATURES)

FEATURES_COLUMNS: Final = (
    "instrument",
    "time",
    "best_bid",
    "best_ask",
    "bid_quantity",
    "ask_quantity",
    "imbalance_5",
    "order_flow_imbalance",
    "trade_count",
    "buy_quantity",
    "sell_quantity",
)
"""Columns of ``market.features`` that the series are made from."""


def series_name(instrument: str, feature: str) -> str:
    """Name of a market series.

    Examples
    --------
    >>> series_name("BTCFDUSD.BINANCE", "vpin")
    'market.BTCFDUSD.BINANCE.vpin'
    """
    return f"market.{instrument}.{feature}"


class MarketSeries:
    """Sums of one instrument between points; all of them integers.

    Parameters
    ----------
    parameters : AnomalyParameters
        For the interval, the features grid and VPIN's length.
    """

    __slots__ = (
        "_bars",
        "_bought",
        "_end",
        "_flow",
        "_interval",
        "_measures",
        "_mid",
        "_mid_time",
        "_one_sided",
        "_rows",
        "_sold",
        "_traded",
        "_trades",
        "_vpin_intervals",
        "_whole",
    )

    def __init__(self, parameters: AnomalyParameters) -> None:
        self._interval = parameters.metrics_interval
        self._whole = parameters.metrics_interval // parameters.features_grid
        self._vpin_intervals = parameters.vpin_intervals
        self._end = self._rows = self._trades = self._bought = self._sold = self._flow = 0
        self._mid_time, self._mid = -1, 0
        self._bars: deque[tuple[int, int]] = deque()
        self._one_sided = self._traded = 0
        self._measures = IntervalMeasures(parameters)

    def add(self, end: int, record: Any) -> None:
        """Count a features row of the interval that ends at ``end``; rows come in order of time."""
        if end != self._end:
            self._end = end
            self._rows = self._trades = self._bought = self._sold = self._flow = 0
        self._rows += 1
        self._trades += record.trade_count
        self._bought += record.buy_quantity
        self._sold += record.sell_quantity
        self._flow += record.order_flow_imbalance
        self._measures.add(end, record)

    def values(self, record: Any) -> tuple[float, ...]:
        """Values of MARKET_FEATURES at the point of ``record``, the row added last; NaN where there is none."""
        return *self._point_values(record), *self._measures.values()

    def _point_values(self, record: Any) -> tuple[float, ...]:
        time, mid = self._end, record.best_bid + record.best_ask  # twice the mid, but exact
        change = math.nan
        if self._mid_time == time - self._interval:
            change = math.log1p((mid - self._mid) / self._mid)
        self._mid_time, self._mid = time, mid
        spread = 2 * BASIS_POINTS * (record.best_ask - record.best_bid) / mid
        if self._rows != self._whole:
            return change, math.nan, spread, record.imbalance_5, math.nan, math.nan, math.nan
        volume = self._bought + self._sold
        rate = self._trades * SECOND / self._interval
        flow = self._flow / SCALE
        return change, volume / SCALE, spread, record.imbalance_5, rate, flow, self._vpin(volume)

    def _vpin(self, volume: int) -> float:
        one_sided = abs(self._bought - self._sold)
        self._bars.append((one_sided, volume))
        self._one_sided += one_sided
        self._traded += volume
        if len(self._bars) > self._vpin_intervals:
            one_sided, volume = self._bars.popleft()
            self._one_sided -= one_sided
            self._traded -= volume
        if len(self._bars) < self._vpin_intervals or self._traded == 0:
            return math.nan
        return self._one_sided / self._traded

    def state(self) -> dict[str, Any]:
        """The sums, the last mid and VPIN's bars."""
        return {
            "sums": [self._end, self._rows, self._trades, self._bought, self._sold, self._flow],
            "mid": [self._mid_time, self._mid],
            "bars": [list(bar) for bar in self._bars],
            "measures": self._measures.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._end, self._rows, self._trades, self._bought, self._sold, self._flow = state["sums"]
        self._mid_time, self._mid = state["mid"]
        self._bars = deque((one_sided, volume) for one_sided, volume in state["bars"])
        self._one_sided = sum(one_sided for one_sided, _ in self._bars)
        self._traded = sum(volume for _, volume in self._bars)
        if "measures" in state:  # a state of before they were measured has none: they begin cold
            self._measures.restore(state["measures"])
