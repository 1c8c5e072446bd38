"""The compiled steps of the statistical detectors and of their ensemble.

Belongs here: everything numba compiles for them, in one file, as its cache does not notice a change of a function that
stands in another; and the layout of what they remember. Does not belong here: what they are, and why
(``statistical_detectors``, ``statistical_ensemble``).

Every array is of float64. A **rolling window** is one array: how many values it holds, the place of the oldest, values
in order of arrival, values ascending. An **average** is one: how many values were seen, their EMA, the EMA of the
squared residuals. A **judgement** is four numbers: the fields of ``Detection``.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled, move_within

Reals = NDArray[np.float64]
Judgement = tuple[float, float, float, int]

NORMAL_QUARTILE: Final = 0.6744897501960817
"""Third quartile of the normal distribution, so also its median absolute deviation."""
SIGMA_LIMIT: Final = 100.0
COLLAPSED: Final = 1e-3
"""A robust scale below this part of the window's range has collapsed."""
MEAN, QUARTILES, MEDIAN = range(3)
"""What a window detector judges by."""
AVERAGE: Final = 3
"""Length of an average."""


@compiled(takes="own reals", returns="own reals")
def held(window: Reals) -> Reals:
    """The values in a rolling window, ascending (compiled)."""
    ordered = 2 + (window.size - 2) // 2
    return window[ordered : ordered + int(window[0])]


@compiled(takes="own reals, real", returns="integer")
def enter(window: Reals, value: float) -> int:
    """Put a value in the place of the oldest, or beside the others while there is room; returns how many (compiled).

    How many are less is counted over all of them: without a branch, that is quicker than looking for the place.
    """
    size = (window.size - 2) // 2
    count = int(window[0])
    oldest = 2 + int(window[1])
    ordered = window[2 + size :]
    gone, leaves = window[oldest], count == size
    first = place = 0
    for i in range(count):
        first += int(ordered[i] < gone)
        place += int(ordered[i] < value)
    if not leaves:
        first = count
        window[0] = count + 1
    if place > first:
        place -= 1
        move_within(ordered, first, first + 1, place - first)
    else:
        move_within(ordered, place + 1, place, first - place)
    ordered[place] = value
    window[oldest] = value
    window[1] = (window[1] + 1) % size
    return int(window[0])


def empty_window(size: int) -> Reals:
    """A rolling window of ``size`` values."""
    return np.zeros(2 + 2 * size)


def window_values(window: Reals) -> Reals:
    """The values in a rolling window, oldest first."""
    size, count, oldest = (len(window) - 2) // 2, int(window[0]), int(window[1])
    arrived = window[2 : 2 + size]
    return np.roll(arrived, -oldest) if count == size else arrived[:count].copy()


def refill(window: Reals, values: Reals) -> None:
    """Let a rolling window hold ``values``, oldest first; of more than it can hold the newest."""
    window[:] = 0
    for value in values.tolist():
        enter(window, value)


@compiled(takes="own reals", returns="real, real")
def mean_and_deviation(ordered: Reals) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of ascending values (compiled).

    One pass around the median, which is never further from the mean than a standard deviation: no digits are lost, and
    equal values give a deviation of exactly zero. Both halves are summed side by side.
    """
    count = ordered.size
    pivot = ordered[count // 2]
    lower = upper = lower_squares = upper_squares = 0.0
    for i in range(count // 2):
        below = ordered[i] - pivot
        above = ordered[count - 1 - i] - pivot
        lower += below
        upper += above
        lower_squares += below * below
        upper_squares += above * above
    shift = lower + upper
    squares = lower_squares + upper_squares - shift * shift / count
    return pivot + shift / count, math.sqrt(squares / (count - 1))


@compiled(takes="own reals, real", returns="real")
def quantile(ordered: Reals, share: float) -> float:
    """Quantile of ascending values by linear interpolation, Hyndman and Fan's type 7 (compiled)."""
    position = share * (ordered.size - 1)
    i = int(position)
    if i + 1 == ordered.size:
        return float(ordered[i])
    return float(ordered[i] + (position - i) * (ordered[i + 1] - ordered[i]))


@compiled(takes="own reals, real", returns="real")
def median_distance(ordered: Reals, centre: float) -> float:
    """Median of the distances of ascending values from their median (compiled).

    The k nearest values stand side by side; where they begin is found by bisection.
    """
    count = ordered.size
    nearest = (count + 1) // 2
    first, last = 0, count - nearest
    while first < last:
        middle = (first + last) // 2
        if centre - ordered[middle] > ordered[middle + nearest] - centre:
            first = middle + 1
        else:
            last = middle
    distance = max(centre - ordered[first], ordered[first + nearest - 1] - centre)
    if count % 2:
        return float(distance)
    following = math.inf
    if first > 0:
        following = centre - ordered[first - 1]
    if first + nearest < count:
        following = min(following, ordered[first + nearest] - centre)
    return float((distance + following) / 2)


@compiled(takes="own reals, real", returns="real, real")
def centre_and_scale(ordered: Reals, method: float) -> tuple[float, float]:
    """Centre and scale of ascending values by mean, quartiles or median (compiled)."""
    if method == MEAN:
        return mean_and_deviation(ordered)
    if method == QUARTILES:
        first, third = quantile(ordered, 0.25), quantile(ordered, 0.75)
        centre = (first + third) / 2
        scale = (third - first) / (2 * NORMAL_QUARTILE)
    else:
        centre = quantile(ordered, 0.5)
        scale = median_distance(ordered, centre) / NORMAL_QUARTILE
    if scale <= COLLAPSED * (ordered[-1] - ordered[0]):
        scale = mean_and_deviation(ordered)[1]
    return centre, scale


@compiled(takes="real, real, real, real", returns="real, real, real, integer")
def judge(value: float, centre: float, scale: float, limit: float) -> Judgement:
    """Distance, expected band and vote (compiled)."""
    low, high = centre - limit * scale, centre + limit * scale
    if scale > 0:
        sigma = min(max((value - centre) / scale, -SIGMA_LIMIT), SIGMA_LIMIT)
    elif value == centre:
        sigma = 0.0
    else:
        sigma = math.copysign(SIGMA_LIMIT, value - centre)
    return sigma, low, high, int(value > high) - int(value < low)


@compiled(takes="own reals, real, real, real, real", returns="real, real, real, integer")
def window_step(window: Reals, value: float, limit: float, minimum: float, method: float) -> Judgement:
    """Judge a value by the window's mean, quartiles or median, then let it enter (compiled)."""
    judgement = (math.nan, math.nan, math.nan, 0)
    if not math.isfinite(value):
        return judgement
    value += 0.0  # -0.0 becomes 0.0: equal values must not differ in a bit
    if window[0] >= minimum:
        centre, scale = centre_and_scale(held(window), method)
        judgement = judge(value, centre, scale, limit)
    enter(window, value)
    return judgement


@compiled(takes="own reals, real, real, real, real", returns="real, real, real, integer")
def average_step(average: Reals, value: float, limit: float, minimum: float, alpha: float) -> Judgement:
    """Judge a value by its distance from the EMA, then move that (compiled)."""
    judgement = (math.nan, math.nan, math.nan, 0)
    if not math.isfinite(value):
        return judgement
    seen, residual = average[0], value - average[1]
    if seen >= minimum:
        judgement = judge(value, average[1], math.sqrt(average[2]), limit)
    average[0] += 1
    if seen == 0:
        average[1] = value
    else:
        average[1] += alpha * residual
        average[2] = residual * residual if seen == 1 else (1 - alpha) * average[2] + alpha * residual * residual
    return judgement


@compiled(takes="own reals, reals, real, real, real", returns="own real rows")
def window_steps(window: Reals, values: Reals, limit: float, minimum: float, method: float) -> Reals:
    """:func:`window_step` for one value after the other, a judgement each (compiled)."""
    rows = np.empty((values.size, 4), np.float64)
    for i in range(values.size):
        rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3] = window_step(window, values[i], limit, minimum, method)
    return rows


@compiled(takes="own reals, reals, real, real, real", returns="own real rows")
def average_steps(average: Reals, values: Reals, limit: float, minimum: float, alpha: float) -> Reals:
    """:func:`average_step` for one value after the other, a judgement each (compiled)."""
    rows = np.empty((values.size, 4), np.float64)
    for i in range(values.size):
        rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3] = average_step(average, values[i], limit, minimum, alpha)
    return rows


@compiled(takes="own reals, integer, integer", returns="real")
def nth_smallest(measures: Reals, field: int, rank: int) -> float:
    """The ``rank``-th smallest (from 0) of one field over the members that say something (compiled).

    Four values are put in order by five comparisons, the silent ones last.
    """
    first = measures[field] if math.isfinite(measures[0]) else math.inf
    second = measures[4 + field] if math.isfinite(measures[4]) else math.inf
    third = measures[8 + field] if math.isfinite(measures[8]) else math.inf
    fourth = measures[12 + field] if math.isfinite(measures[12]) else math.inf
    low, high = (first, second) if first < second else (second, first)
    lower, higher = (third, fourth) if third < fourth else (fourth, third)
    least, middle = (low, lower) if low < lower else (lower, low)
    other, most = (high, higher) if high < higher else (higher, high)
    if rank == 0:
        return float(least)
    if rank == 3:
        return float(most)
    if (rank == 1) == (middle < other):
        return float(middle)
    return float(other)


@compiled(takes="own reals, integer", returns="real, real, real, integer")
def combine(measures: Reals, votes: int) -> Judgement:
    """One judgement out of four, which stand one after the other in ``measures`` (compiled)."""
    saying = above = below = 0
    for i in range(0, 16, 4):
        if math.isfinite(measures[i]):
            saying += 1
            above += int(measures[i + 3] > 0)
            below += int(measures[i + 3] < 0)
    if saying == 0:
        return math.nan, math.nan, math.nan, 0
    sigma = (nth_smallest(measures, 0, (saying - 1) // 2) + nth_smallest(measures, 0, saying // 2)) / 2
    if saying < votes:
        return sigma, math.nan, math.nan, 0
    low, high = nth_smallest(measures, 1, saying - votes), nth_smallest(measures, 2, votes - 1)
    vote = int(above >= votes and above > below) - int(below >= votes and below > above)
    return sigma, low, high, vote


@compiled(takes="own reals, own reals, real, own reals", returns="integer")
def ensemble_step(memory: Reals, parameters: Reals, value: float, measures: Reals) -> int:
    """Judge a value by mean, quartiles, median, EMA and all of them together; returns the vote (compiled).

    Parameters
    ----------
    memory
        An average and a rolling window, which the first three share.
    parameters
        Votes, minimum points, alpha, limits of mean, quartiles, median and EMA in σ.
    measures
        Takes the five judgements, one after the other.
    """
    votes, minimum, alpha = int(parameters[0]), parameters[1], parameters[2]
    average, window = memory[:AVERAGE], memory[AVERAGE:]
    known = math.isfinite(value)
    value += 0.0
    judged = known and window[0] >= minimum
    ordered = held(window)
    for method in range(3):
        i = 4 * method
        measures[i], measures[i + 1], measures[i + 2], measures[i + 3] = math.nan, math.nan, math.nan, 0.0
        if judged:
            centre, scale = centre_and_scale(ordered, method)
            sigma, low, high, vote = judge(value, centre, scale, parameters[3 + method])
            measures[i], measures[i + 1], measures[i + 2], measures[i + 3] = sigma, low, high, vote
    if known:
        enter(window, value)
    sigma, low, high, vote = average_step(average, value, parameters[6], minimum, alpha)
    measures[12], measures[13], measures[14], measures[15] = sigma, low, high, vote
    sigma, low, high, vote = combine(measures[:16], votes)
    measures[16], measures[17], measures[18], measures[19] = sigma, low, high, vote
    return vote


@compiled(takes="own reals, own reals, reals", returns="own real rows")
def ensemble_steps(memory: Reals, parameters: Reals, values: Reals) -> Reals:
    """:func:`ensemble_step` for one value of a series after the other, a row of five judgements each (compiled)."""
    rows = np.empty((values.size, 20), np.float64)
    for i in range(values.size):
        ensemble_step(memory, parameters, values[i], rows[i])
    return rows


@compiled(takes="own real rows, own reals, reals", returns="own real rows")
def ensemble_steps_across(memories: Reals, parameters: Reals, values: Reals) -> Reals:
    """:func:`ensemble_step` for one value of each series, a memory and a row of five judgements each (compiled)."""
    rows = np.empty((values.size, 20), np.float64)
    for i in range(values.size):
        ensemble_step(memories[i], parameters, values[i], rows[i])
    return rows
