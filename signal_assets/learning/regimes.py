"""What kind of day it was: quiet, volatile, trending, or both.

Belongs here: the measures of a day and their labels. Does not belong here: strategies that trade on regimes.

The mid price of a minute is (best bid + best ask) / 2 of the last features row in ``(m - 60 s, m]``; a minute without
one has none. **Volatility** is the sample standard deviation (ddof 1) of the log returns between mids that lie exactly
one minute apart, x √1440. **Trend** is Kaufman's efficiency ratio, |Σ r| / Σ |r| over the log returns between
successive mids, gaps included, so that it stays within 0…1; 0 where nothing moved. **Day return** is the log return
from the day's first mid to its last.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import pandas as pd

from signal_assets.event_time import DAY, MINUTE
from signal_assets.instrument import Instrument
from signal_assets.learning.parameters import LearningParameters
from signal_assets.learning.tables import REGIMES
from signal_assets.levels.window_kernels import living_minutes
from signal_assets.window import Window

MINUTES_PER_DAY: Final = DAY // MINUTE


def measures(minutes: Sequence[int], prices: Sequence[int]) -> tuple[float, float, float] | None:
    """Volatility per day, trend and day return; None without two returns over exactly one minute.

    Sums are exact (``math.fsum``), so that order changes no bit.

    Parameters
    ----------
    minutes : sequence of int
        Points of the minute grid, µs, ascending.
    prices : sequence of int
        The price at each; its scale does not matter.

    Examples
    --------
    >>> measures([MINUTE, 2 * MINUTE, 3 * MINUTE], [100, 110, 100])[1:]  # there and back
    (0.0, 0.0)
    """
    logs = [math.log(price) for price in prices]
    returns = [after - before for before, after in pairwise(logs)]
    adjacent = [
        value for value, (before, after) in zip(returns, pairwise(minutes), strict=True) if after - before == MINUTE
    ]
    if len(adjacent) < 2:
        return None
    mean = math.fsum(adjacent) / len(adjacent)
    variance = math.fsum((value - mean) ** 2 for value in adjacent) / (len(adjacent) - 1)
    way = math.fsum(abs(value) for value in returns)
    day_return = logs[-1] - logs[0]
    trend = min(abs(day_return) / way, 1.0) if way > 0 else 0.0
    return math.sqrt(variance * MINUTES_PER_DAY), trend, day_return


def label_of(volatility: float, trend: float, parameters: LearningParameters) -> str:
    """What such a day is called.

    Examples
    --------
    >>> label_of(0.04, 0.02, LearningParameters()), label_of(0.01, 0.2, LearningParameters())
    ('volatile', 'trending')
    """
    volatile, trending = volatility > parameters.volatile_above, trend > parameters.trending_above
    if volatile:
        return "trending_volatile" if trending else "volatile"
    return "trending" if trending else "quiet"


def regime_rows(
    window: Window, instruments: Sequence[Instrument], features: pd.DataFrame, parameters: LearningParameters
) -> pd.DataFrame:
    """Rows of ``learning.regimes`` at the day's end, if the window holds it: one per instrument that can be measured.

    Parameters
    ----------
    features : DataFrame
        ``market.features`` over at least the day that ends with the window: instrument, time, best_bid, best_ask.
    """
    if not window.holds(DAY):
        return REGIMES.empty()
    day = Window(window.end - DAY, window.end)
    rows = []
    for instrument in sorted(instruments, key=lambda instrument: instrument.key):
        minutes, bid_plus_ask = living_minutes(day, features, instrument.key)
        found = measures(minutes.tolist(), bid_plus_ask.tolist())
        if found is not None:
            rows.append((instrument.key, window.end, *found, label_of(*found[:2], parameters)))
    return REGIMES.conform(pd.DataFrame(rows, columns=list(REGIMES.value_columns))) if rows else REGIMES.empty()
