"""The state of a market in three numbers: how volatile, how directed, how wide its moves are.

Belongs here: the three measures, each computed anew over exactly its window. Does not belong here: what they are worth
to a signal (``validation``, ``confidence``, ``thresholds``).

All are made from log returns r of whole minutes. A stretch says something when at least three quarters of its returns
are known (:data:`LEAST_KNOWN`), so a short gap in the feed does not silence it; what is not known is NaN.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled
from signal_assets.signals.minute_closes import MinuteCloses
from signal_assets.signals.parameters import SignalParameters

Reals = NDArray[np.float64]

LEAST_KNOWN: Final = 0.75
"""Share of a window's returns that must be known."""


class Conditions(NamedTuple):
    """What an instrument's market is like; NaN: not known yet.

    Parameters
    ----------
    volatility : float
        0…1: rank of the current volatility among those of the last hours.
    trend : float
        -1…1: net move over the sum of all moves; its absolute value is the trend's strength.
    range_ratio : float
        Average range of the last minutes over that of the last hours, 1 being usual.
    """

    volatility: float
    trend: float
    range_ratio: float


@compiled(takes="reals, integer, integer", returns="real")
def volatility_rank(returns: Reals, window: int, least_history: int) -> float:
    """Percent rank of the newest window's volatility among all earlier windows of that length (compiled).

    The volatility of a window is the root of the mean of r² over its known returns (no mean is taken off: over minutes
    it is noise). Rank = (earlier windows below + half of those equal) / earlier windows, so a constant market has 0.5.
    NaN with fewer than ``least_history`` known returns, or when the newest window is not known.
    """
    known = 0
    for k in range(returns.size):
        known += not np.isnan(returns[k])
    below = 0
    equal = 0
    earlier = 0
    current = np.nan
    for last in range(returns.size - 1, window - 2, -1):
        squares = 0.0
        count = 0
        for k in range(last - window + 1, last + 1):
            if not np.isnan(returns[k]):
                squares += returns[k] * returns[k]
                count += 1
        if last == returns.size - 1:
            if known < least_history or count < LEAST_KNOWN * window:
                return np.nan
            current = squares / count
        elif count >= LEAST_KNOWN * window:
            earlier += 1
            below += squares / count < current
            equal += squares / count == current
    return (below + 0.5 * equal) / earlier if earlier else np.nan


@compiled(takes="reals, integer", returns="real")
def efficiency_ratio(returns: Reals, window: int) -> float:
    """Sum of the last ``window`` returns over the sum of their absolute values, with its sign (compiled).

    Kaufman's efficiency ratio: 1 for a market that only rises, 0 for one that ends where it began or did not move.
    """
    net = 0.0
    gross = 0.0
    count = 0
    for k in range(returns.size - window, returns.size):
        if not np.isnan(returns[k]):
            net += returns[k]
            gross += abs(returns[k])
            count += 1
    if count < LEAST_KNOWN * window:
        return np.nan
    return net / gross if gross > 0 else 0.0


@compiled(takes="reals, integer, integer", returns="real")
def average_range_ratio(returns: Reals, window: int, least_history: int) -> float:
    """Mean absolute return of the last ``window`` minutes over that of all (compiled).

    Stands in for the average true range, which needs bars: of minute closes the range is the absolute return.
    """
    short = 0.0
    long = 0.0
    short_count = 0
    long_count = 0
    for k in range(returns.size):
        if not np.isnan(returns[k]):
            long += abs(returns[k])
            long_count += 1
            if k >= returns.size - window:
                short += abs(returns[k])
                short_count += 1
    if long_count < least_history or short_count < LEAST_KNOWN * window or long == 0:
        return np.nan
    return (short / short_count) / (long / long_count)


def market_conditions(closes: MinuteCloses, time: int, key: str, parameters: SignalParameters) -> Conditions:
    """Conditions of one instrument from the minutes that are over at ``time``."""
    returns = closes.returns(time, key, parameters.volatility_history)
    return Conditions(
        volatility_rank(returns, parameters.volatility_window, parameters.least_history),
        efficiency_ratio(returns, parameters.trend_window),
        average_range_ratio(returns, parameters.range_window, parameters.least_history),
    )
