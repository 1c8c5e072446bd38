"""Market series that miss nothing between two points: what happened within an interval of features rows.

Belongs here: sliding sums and extremes over rows. Does not belong here: what is known of single rows and of whole
intervals (``series``), whether a number is off (the detectors).

| series | value | unit |
| --- | --- | --- |
| mean_spread | Σ (best ask - best bid) / Σ mid over the rows · 10,000 | basis points |
| wick | greatest wick of the windows of 60 s, over the last mid there · 10,000 | basis points |
| trade_burst | n / (m + 5): most trades of the windows of 40 s, against the usual m | – |
| one_sided | greatest pressure of the windows of 50 s | 0…3 |

The windows are those that end within the interval, so each looks at one window per row. The wick of a window is how
far its mid went beyond both its first and its last value, up or down: a price that goes to another level has none, one
that comes back has. m is an exponentially weighted mean of the intervals before, half of it from the last ten minutes,
in trades per 40 s; it is known after ten minutes. Pressure is abs(Σ ln(bid / ask quantity at the touch)) / (count + 5)
over the window's newly quoted rows, each logarithm within ±3.

A row is **newly quoted** when the heavier side of its touch shows a price other than the row before, or more quantity,
and this price with this quantity did not stand there in any of the 50 s before. A large order that rests says so once,
however often the price comes back to it; orders that follow the price say so again and again.

Gaps: windows reach over no missing row. A value is known when every window that ends in its interval is whole;
mean_spread needs the interval alone.
"""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.event_time import MINUTE, SECOND

INTERVAL_FEATURES: Final = ("mean_spread", "wick", "trade_burst", "one_sided")
WICK: Final = 60 * SECOND
BURST: Final = 40 * SECOND
QUOTES: Final = 50 * SECOND
USUAL_HALF_LIFE: Final = 10 * MINUTE
FEW_TRADES: Final = 5.0
FEW_QUOTES: Final = 5.0
MOST_PRESSURE: Final = 3.0
PARTS: Final = 1_000_000
"""Pressures are summed in millionths, so that sums are exact."""
BASIS_POINTS: Final = 10_000

Quote = tuple[bool, int, int]
"""Whether the bid is the heavier side, its price, its quantity."""


class IntervalMeasures:
    """Windows over the rows of one instrument; their sums are integers.

    Parameters
    ----------
    parameters : AnomalyParameters
        For the interval and the features grid.
    """

    __slots__ = (
        "_burst",
        "_come",
        "_end",
        "_fade",
        "_fresh",
        "_grid",
        "_intervals",
        "_known_after",
        "_mids",
        "_most",
        "_per_burst",
        "_pressure",
        "_quotes",
        "_seen",
        "_sums",
        "_time",
        "_touch",
        "_trades",
        "_unbroken",
        "_usual",
        "_whole",
    )

    def __init__(self, parameters: AnomalyParameters) -> None:
        grid, interval = parameters.features_grid, parameters.metrics_interval
        self._grid = grid
        self._whole = interval // grid
        self._mids: deque[int] = deque(maxlen=max(WICK // grid, 2) + 1)
        self._trades: deque[int] = deque(maxlen=max(BURST // grid, 1))
        self._quotes: deque[Quote] = deque(maxlen=max(QUOTES // grid, 1))
        self._fresh: deque[int] = deque(maxlen=self._quotes.maxlen)
        self._seen: dict[Quote, int] = {}
        self._touch = (0, 0, 0, 0)
        self._burst = self._pressure = self._come = self._unbroken = 0
        self._time = self._end = -1
        self._sums = [0, 0, 0, 0]
        self._most = [0.0, 0, 0.0]
        self._usual, self._intervals = 0.0, 0
        self._fade: float = 0.5 ** (interval / USUAL_HALF_LIFE)
        self._known_after = -(-USUAL_HALF_LIFE // interval)
        self._per_burst: float = max(BURST // grid, 1) / self._whole

    def add(self, end: int, record: Any) -> None:
        """Take in a features row of the interval that ends at ``end``; rows come in order of time."""
        if record.time != self._time + self._grid:
            self._forget()
        self._time = record.time
        self._unbroken += 1
        if end != self._end:
            self._end, self._sums, self._most = end, [0, 0, 0, 0], [0.0, 0, 0.0]
        bid, ask, trades = record.best_bid, record.best_ask, record.trade_count
        sums, most = self._sums, self._most
        sums[0] += 1
        sums[1] += ask - bid
        sums[2] += bid + ask
        sums[3] += trades
        if len(self._trades) == self._trades.maxlen:
            self._burst -= self._trades[0]
        self._trades.append(trades)
        self._burst += trades
        self._mids.append(bid + ask)
        self._quote((bid, ask, record.bid_quantity, record.ask_quantity))
        most[0] = max(most[0], self._wick())
        most[1] = max(most[1], self._burst)
        most[2] = max(most[2], abs(self._pressure) / PARTS / (self._come + FEW_QUOTES))

    def _wick(self) -> float:
        mids = self._mids
        first, last = mids[0], mids[-1]
        beyond = max(max(mids) - max(first, last), min(first, last) - min(mids))
        return BASIS_POINTS * beyond / last

    def _quote(self, touch: tuple[int, int, int, int]) -> None:
        bid, ask, bid_quantity, ask_quantity = touch
        old_bid, old_ask, old_bid_quantity, old_ask_quantity = self._touch
        self._touch = touch
        if bid_quantity > ask_quantity:
            quote, come = (True, bid, bid_quantity), bid != old_bid or bid_quantity > old_bid_quantity
        else:
            quote, come = (False, ask, ask_quantity), ask != old_ask or ask_quantity > old_ask_quantity
        fresh = 0  # newly quoted at equal quantities, it would add nothing
        if come and quote not in self._seen and bid_quantity > 0 and ask_quantity > 0:
            pressure = math.log(bid_quantity / ask_quantity)
            fresh = round(PARTS * max(-MOST_PRESSURE, min(pressure, MOST_PRESSURE)))
        if len(self._quotes) == self._quotes.maxlen:
            self._leave(self._quotes[0], self._fresh[0])
        self._quotes.append(quote)
        self._fresh.append(fresh)
        self._seen[quote] = self._seen.get(quote, 0) + 1
        self._pressure += fresh
        self._come += fresh != 0

    def _leave(self, quote: Quote, fresh: int) -> None:
        self._seen[quote] -= 1
        if not self._seen[quote]:
            del self._seen[quote]
        self._pressure -= fresh
        self._come -= fresh != 0

    def _forget(self) -> None:
        self._mids.clear()
        self._trades.clear()
        self._quotes.clear()
        self._fresh.clear()
        self._seen.clear()
        self._touch = (0, 0, 0, 0)
        self._burst = self._pressure = self._come = self._unbroken = 0

    def values(self) -> tuple[float, ...]:
        """Values of INTERVAL_FEATURES at the end of the interval, asked once; NaN where there is none."""
        rows, spreads, mids, trades = self._sums
        if rows != self._whole:
            return math.nan, math.nan, math.nan, math.nan
        wick, most, one_sided = self._most
        before = self._unbroken - self._whole + 1  # rows without a gap up to the first of the interval
        known = self._intervals >= self._known_after
        burst = most / (self._usual + FEW_TRADES)
        self._intervals += 1
        weight = max(1 - self._fade, 1 / self._intervals)
        self._usual += weight * (trades * self._per_burst - self._usual)
        return (
            2 * BASIS_POINTS * spreads / mids,
            wick if before >= _length(self._mids) else math.nan,
            burst if known and before >= _length(self._trades) else math.nan,
            one_sided if before >= _length(self._quotes) else math.nan,
        )

    def state(self) -> dict[str, Any]:
        """The windows, the sums of the interval, and how many trades are usual."""
        return {
            "times": [self._time, self._end, self._unbroken],
            "mids": list(self._mids),
            "trades": list(self._trades),
            "quotes": [list(quote) for quote in self._quotes],
            "fresh": list(self._fresh),
            "touch": list(self._touch),
            "sums": list(self._sums),
            "most": list(self._most),
            "usual": [self._usual, self._intervals],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._forget()
        self._time, self._end, self._unbroken = state["times"]
        self._mids.extend(state["mids"])
        self._trades.extend(state["trades"])
        self._quotes.extend((bool(is_bid), price, quantity) for is_bid, price, quantity in state["quotes"])
        self._fresh.extend(state["fresh"])
        self._touch = tuple(state["touch"])
        self._sums, self._most = list(state["sums"]), list(state["most"])
        self._usual, self._intervals = state["usual"]
        for quote in self._quotes:
            self._seen[quote] = self._seen.get(quote, 0) + 1
        self._burst, self._pressure = sum(self._trades), sum(self._fresh)
        self._come = sum(fresh != 0 for fresh in self._fresh)


def _length(window: deque[Any]) -> int:
    return window.maxlen or 0
