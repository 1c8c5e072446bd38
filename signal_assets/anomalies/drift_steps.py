"""The compiled steps of the drift detector.

Belongs here: everything numba compiles for it, in one file, as its cache does not notice a change of a function that
stands in another; and the layout of what it remembers. Does not belong here: what it is, and why (``drift``).

The **memory** of a series is an array of float64: how many values were seen since its reference began, how many the
reference is worth, the reference in order of arrival and, once it is complete, ascending; the recent values, of which
the oldest has the place of the next one.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled

Reals = NDArray[np.float64]

SEEN: Final = 0
WORTH: Final = 1
REFERENCE_AT: Final = 2
LEAST_INDEPENDENT: Final = 1e-3
"""Least share of values that count as independent of the one before."""


@compiled(takes="own reals, own reals", returns="real")
def largest_gap(first: Reals, second: Reals) -> float:
    """Kolmogorov's and Smirnov's D of two samples, each ascending (compiled).

    The greatest distance of their empirical distributions, counted in integers.
    """
    i = j = gap = 0
    while i < first.size and j < second.size:
        value = min(first[i], second[j])
        while i < first.size and first[i] <= value:
            i += 1
        while j < second.size and second[j] <= value:
            j += 1
        gap = max(gap, abs(i * second.size - j * first.size))
    return gap / (first.size * second.size)


@compiled(takes="real", returns="real")
def kolmogorov_tail(distance: float) -> float:
    """Probability that Kolmogorov's limit distribution lies beyond (compiled): 2 Σ (-1)^(k-1) exp(-2 k² d²)."""
    if distance < 0.2:
        return 1.0  # but for less than 1e-12
    total, sign = 0.0, 1.0
    for k in range(1, 101):
        term = math.exp(-2.0 * k * k * distance * distance)
        total += sign * term
        if term < 1e-18 * total:
            break
        sign = -sign
    return min(max(2.0 * total, 0.0), 1.0)


@compiled(takes="own reals, own reals", returns="real")
def independent_values(arrived: Reals, ordered: Reals) -> float:
    """How many independent values a sample is worth (compiled): n (1 - ρ) / (1 + ρ).

    ρ is the correlation of the ranks with those of the next values, not below zero; that of an autoregressive process
    of order one. Equal values share their mean rank. Doubled ranks are integers, with mean n + 1.

    Parameters
    ----------
    arrived, ordered
        The sample in order of arrival, and ascending.
    """
    count = arrived.size
    before = following = squares = 0
    for i in range(count):
        low = np.searchsorted(ordered, arrived[i], side="left")
        high = np.searchsorted(ordered, arrived[i], side="right")
        deviation = low + high - count
        squares += deviation * deviation
        if i > 0:
            following += before * deviation
        before = deviation
    if squares == 0:
        return float(count)
    correlation = max(following / squares, 0.0)
    return count * max((1 - correlation) / (1 + correlation), LEAST_INDEPENDENT)


@compiled(takes="own reals, integer", returns="own reals")
def recent_values(memory: Reals, size: int) -> Reals:
    """The recent values in order of arrival (compiled); ``size`` is that of the reference."""
    begin = REFERENCE_AT + 2 * size
    room = memory.size - begin
    count = int(memory[SEEN]) - size
    kept = max(min(count, room), 0)
    values = np.empty(kept, np.float64)
    for i in range(kept):
        values[i] = memory[begin + (count - kept + i) % room]
    return values


@compiled(takes="own reals, integer", returns="real")
def complete_reference(memory: Reals, size: int) -> float:
    """Once the reference is there: order it, and see what it is worth (compiled)."""
    reference = memory[REFERENCE_AT : REFERENCE_AT + size]
    ordered = np.sort(reference)
    memory[REFERENCE_AT + size : REFERENCE_AT + 2 * size] = ordered
    memory[WORTH] = independent_values(reference, ordered)
    return float(memory[WORTH])


@compiled(takes="own reals, integer", returns="real, real")
def compare(memory: Reals, size: int) -> tuple[float, float]:
    """D of reference and recent values, and its probability if nothing had changed (compiled)."""
    recent = recent_values(memory, size)
    ordered = np.sort(recent)
    gap = largest_gap(memory[REFERENCE_AT + size : REFERENCE_AT + 2 * size], ordered)
    one, two = memory[WORTH], independent_values(recent, ordered)
    return gap, kolmogorov_tail(math.sqrt(one * two / (one + two)) * gap)


@compiled(takes="own reals, integer, integer, integer, real", returns="real, real")
def drift_step(memory: Reals, size: int, every: int, phase: int, value: float) -> tuple[float, float]:
    """Take in a value; D and its probability where samples are compared, else NaN (compiled).

    Parameters
    ----------
    size
        Of the reference.
    every, phase
        Compared is at every so many values, from the ``phase``-th on.
    """
    if not math.isfinite(value):
        return math.nan, math.nan
    begin = REFERENCE_AT + 2 * size
    room = memory.size - begin
    seen = int(memory[SEEN])
    memory[SEEN] = seen + 1
    place = REFERENCE_AT + seen if seen < size else begin + (seen - size) % room
    memory[place] = value + 0.0  # -0.0 becomes 0.0
    if seen + 1 == size:
        complete_reference(memory, size)
    beyond = seen + 1 - size - room
    if beyond < 0 or beyond % every != phase:
        return math.nan, math.nan
    return compare(memory, size)


@compiled(takes="own real rows, integer, integer, own integers, reals", returns="own real rows")
def drift_steps_across(memories: Reals, size: int, every: int, phases: NDArray[np.int64], values: Reals) -> Reals:
    """:func:`drift_step` for one value of each series, a row of two numbers each (compiled)."""
    rows = np.empty((values.size, 2), np.float64)
    for i in range(values.size):
        rows[i, 0], rows[i, 1] = drift_step(memories[i], size, every, phases[i], values[i])
    return rows
