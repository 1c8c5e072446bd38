"""Medians of a row, of all its values and of those around each place, in compiled passes without needless branches.

Belongs here: ranks and medians. Does not belong here: what they are used for (``scale_space``).

Running medians are read from a histogram of 512 cells that moves along (Huang, Yang, Tang 1979, "A fast two-dimensional
median filtering algorithm"), so the work is linear in the values, however long the window.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]

CELLS: Final = 512


@compiled(takes="own reals, integer", returns="real")
def ranked(values: Reals, rank: int) -> float:
    """The value that ``rank`` others precede in order of size (compiled).

    Quickselect (Hoare 1961, "Algorithm 65: Find") whose partition writes every value to both sides and counts it on
    one: no branch to guess wrongly, so three times as fast as ``np.median`` on volumes in no order.
    """
    size = values.size
    work, low, high = values.copy(), np.empty(size), np.empty(size)
    while True:
        one, two, three = work[0], work[size // 2], work[size - 1]
        pivot = max(min(one, two), min(max(one, two), three))
        lower = higher = 0
        for i in range(size):
            value = work[i]
            low[lower] = value
            high[higher] = value
            lower += value < pivot
            higher += value > pivot
        if rank < lower:
            work, low = low, work
            size = lower
        elif rank >= size - higher:
            rank -= size - higher
            work, high = high, work
            size = higher
        else:
            return float(pivot)


@compiled(takes="own reals", returns="real")
def median_of(values: Reals) -> float:
    """The middle value, or the mean of the two middle ones, as ``np.median`` (compiled)."""
    half = values.size // 2
    upper = ranked(values, half)
    if values.size % 2:
        return upper
    lower = -np.inf
    preceding = 0
    for value in values:
        preceding += value < upper
        lower = max(lower, value if value < upper else -np.inf)
    return float(((lower if preceding == half else upper) + upper) / 2)


@compiled(takes="reals", returns="own integers, real, real")
def cells_of(values: Reals) -> tuple[Integers, float, float]:
    """The cell of each value when their range is cut into CELLS, its lower end and the width of a cell (compiled)."""
    lowest = values.min()
    step = (values.max() - lowest) / CELLS
    cell = np.zeros(values.size, np.int64)
    if step > 0:
        for i in range(values.size):
            cell[i] = min(int((values[i] - lowest) / step), CELLS - 1)
    return cell, lowest, step


@compiled(takes="reals, integer", returns="own reals")
def running_median(values: Reals, reach: int) -> Reals:
    """Median of the values not further than ``reach`` away, to a 512th of their range (compiled)."""
    count = values.size
    cell, lowest, step = cells_of(values)
    median = np.full(count, lowest)
    if step <= 0:
        return median
    inside = np.zeros(CELLS, np.int64)
    first = last = middle = below = 0
    for i in range(count):
        while last < min(count, i + reach + 1):
            inside[cell[last]] += 1
            below += cell[last] < middle
            last += 1
        while first < i - reach:
            inside[cell[first]] -= 1
            below -= cell[first] < middle
            first += 1
        half = (last - first) * 0.5
        while below > half:
            middle -= 1
            below -= inside[middle]
        while below + inside[middle] < half:
            below += inside[middle]
            middle += 1
        median[i] = lowest + step * (middle + (half - below) / max(inside[middle], 1))
    return median


@compiled(takes="own integers", returns="own integers")
def middle_of_nine(value: Integers) -> Integers:
    """The fifth of each nine adjacent values by size, without a branch, so that it vectorizes (compiled).

    The median of nine is that of the largest of the lowest, the median of the middle and the smallest of the highest
    of three threes, and adjacent nines share their threes.
    """
    threes = value.size - 2
    low, middle, high = np.empty(threes, np.int64), np.empty(threes, np.int64), np.empty(threes, np.int64)
    second, third = value[1:], value[2:]
    for k in range(threes):
        small, large = min(value[k], second[k]), max(value[k], second[k])
        low[k] = min(small, third[k])
        middle[k] = max(small, min(large, third[k]))
        high[k] = max(large, third[k])
    fifth = np.empty(threes - 6, np.int64)
    low_two, middle_two, high_two = low[3:], middle[3:], high[3:]
    low_three, middle_three, high_three = low[6:], middle[6:], high[6:]
    for k in range(fifth.size):
        lowest = max(low[k], max(low_two[k], low_three[k]))
        highest = min(high[k], min(high_two[k], high_three[k]))
        small, large = min(middle[k], middle_two[k]), max(middle[k], middle_two[k])
        between = max(small, min(large, middle_three[k]))
        small, large = min(lowest, between), max(lowest, between)
        fifth[k] = max(small, min(large, highest))
    return fifth


@compiled(takes="reals", returns="own reals")
def median_of_nine(values: Reals) -> Reals:
    """What ``running_median`` gives for a reach of four, in half the time (compiled).

    So short a window moves by many cells at each place, which a histogram follows slowly.
    """
    if values.size < 9:
        return running_median(values, 4)
    cell, lowest, step = cells_of(values)
    median = np.full(values.size, lowest)
    if step <= 0:
        return median
    inner = median[4:]
    middle = middle_of_nine(cell)
    below, inside = np.zeros(middle.size, np.int64), np.zeros(middle.size, np.int64)
    for shift in range(9):
        other = cell[shift:]
        for k in range(middle.size):
            below[k] += other[k] < middle[k]
            inside[k] += other[k] == middle[k]
    for k in range(middle.size):
        inner[k] = lowest + step * (middle[k] + (4.5 - below[k]) / inside[k])
    at_the_ends = 0
    for i in range(8):
        at = i if i < 4 else values.size - 8 + i
        if i == 4:
            at_the_ends = middle[-1]
        near = np.sort(cell[max(0, at - 4) : at + 5])
        half = near.size * 0.5
        # Between the two middle ones of an even number any cell is a median: the one before stays if it is one.
        if np.searchsorted(near, at_the_ends) > half:
            at_the_ends = near[near.size // 2]
        elif np.searchsorted(near, at_the_ends, side="right") < half:
            at_the_ends = near[(near.size - 1) // 2]
        less = np.searchsorted(near, at_the_ends)
        equal = int(np.searchsorted(near, at_the_ends, side="right") - less)
        median[at] = lowest + step * (at_the_ends + (half - less) / max(equal, 1))
    return median
