"""The compiled steps of the excess detector.

Belongs here: all that numba compiles for it, in one file, as its cache does not notice a change of a function that
stands in another; and the layout of what it remembers. Does not belong here: what it is (``excess_detector``).

What is remembered of a series is one array of float64: how many values, the place of the oldest, how many are negative,
the values in order of arrival, their magnitudes ascending.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled, move_within

Reals = NDArray[np.float64]

AT_LIMIT: Final = 2.0
"""σ of a value at its limit."""
VALUES_AT: Final = 3


def empty_memory(window: int) -> Reals:
    """What is remembered of no values, with room for ``window``."""
    return np.zeros(VALUES_AT + 2 * window)


def newest_values(memory: Reals) -> Reals:
    """The values, oldest first."""
    window, count, oldest = (len(memory) - VALUES_AT) // 2, int(memory[0]), int(memory[1])
    arrived = memory[VALUES_AT : VALUES_AT + window]
    return np.roll(arrived, -oldest) if count == window else arrived[:count].copy()


@compiled(takes="own reals, integer, real", returns="integer")
def place_among(ordered: Reals, count: int, value: float) -> int:
    """How many of the first ``count`` ascending numbers are less (compiled)."""
    first, last = 0, count
    while first < last:
        middle = (first + last) // 2
        if ordered[middle] < value:
            first = middle + 1
        else:
            last = middle
    return first


@compiled(takes="own reals, real", returns="integer")
def remember(memory: Reals, value: float) -> int:
    """Put a value in the place of the oldest, or beside the others while there is room; returns how many (compiled)."""
    window = (memory.size - VALUES_AT) // 2
    count, oldest = int(memory[0]), int(memory[1])
    arrived, ordered = memory[VALUES_AT : VALUES_AT + window], memory[VALUES_AT + window :]
    if count == window:
        gone = arrived[oldest]
        memory[2] -= int(gone < 0)
        count -= 1
        place = place_among(ordered, window, abs(gone))
        move_within(ordered, place, place + 1, count - place)
    place = place_among(ordered, count, abs(value))
    move_within(ordered, place + 1, place, count - place)
    ordered[place] = abs(value)
    arrived[oldest] = value
    memory[0], memory[1], memory[2] = count + 1, (oldest + 1) % window, memory[2] + int(value < 0)
    return count + 1


@compiled(takes="own reals, own reals, real", returns="real, real, real, integer")
def excess_step(memory: Reals, parameters: Reals, value: float) -> tuple[float, float, float, int]:
    """Judge a value, then remember it; the fields of ``Detection`` (compiled).

    Parameters
    ----------
    parameters
        The quantile that is the usual high, how many times as much votes, minimum points.
    """
    sigma = low = high = math.nan
    vote = 0
    if not math.isfinite(value):
        return sigma, low, high, vote
    count, window = int(memory[0]), (memory.size - VALUES_AT) // 2
    if count >= parameters[2]:
        usual = memory[VALUES_AT + window + int(parameters[0] * (count - 1))]
        if usual > 0:
            high = parameters[1] * usual
            low = -high if memory[2] > 0 else 0.0
            sigma = AT_LIMIT * value / high
            vote = int(value > high) - int(value < -high)
    remember(memory, value)
    return sigma, low, high, vote


@compiled(takes="own reals, own reals, reals", returns="own real rows")
def excess_steps(memory: Reals, parameters: Reals, values: Reals) -> Reals:
    """:func:`excess_step` for one value of a series after the other, a row of four numbers each (compiled)."""
    rows = np.empty((values.size, 4), np.float64)
    for i in range(values.size):
        rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3] = excess_step(memory, parameters, values[i])
    return rows


@compiled(takes="own real rows, own real rows, reals", returns="own real rows")
def excess_steps_across(memories: Reals, parameters: Reals, values: Reals) -> Reals:
    """:func:`excess_step` for one value of each series, a memory and settings each (compiled)."""
    rows = np.empty((values.size, 4), np.float64)
    for i in range(values.size):
        rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3] = excess_step(memories[i], parameters[i], values[i])
    return rows
