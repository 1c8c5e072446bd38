"""Point of control and value area of a profile, in integers.

Belongs here: the one-row and the two-row CBOT expansion. Does not belong here: building profiles.

Rules, where the CBOT handbook leaves room:

* point of control: the bucket with the most volume; of equals the one nearest to the middle of the range, of two
  equally near the lower one;
* the area grows from it until it holds at least 70 % of all volume. *One-row* compares the next row above with the next
  below, *two-row* the sums of the next two; the larger is added whole; equal sums add the upper one;
* where fewer rows are left on a side, those that are left stand for the pair; where none is left, the other side grows;
* rows without volume count as rows.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled
from signal_assets.fixed_point import FixedPointError
from signal_assets.levels.profile import Profile

Integers = NDArray[np.int64]
Expansion = Literal["one_row", "two_row"]

EXPANSIONS: Final[tuple[Expansion, ...]] = ("one_row", "two_row")
VALUE_AREA_PERCENT: Final = 70


@dataclass(frozen=True, slots=True)
class ValueArea:
    """Bucket numbers of the point of control and of the area's lowest and highest row; volumes in units of 1e-8."""

    point_of_control: int
    low: int
    high: int
    volume: int
    total_volume: int


@compiled(takes="integers, integers", returns="integer")
def point_of_control(bucket: Integers, volume: Integers) -> int:
    """Entry with the most volume; of equals the nearest to the middle of the range, then the lower (compiled)."""
    best = 0
    for i in range(1, bucket.size):
        if volume[i] < volume[best]:
            continue
        ends = bucket[0] + bucket[-1]
        if volume[i] > volume[best] or abs(2 * bucket[i] - ends) < abs(2 * bucket[best] - ends):
            best = i
    return best


@compiled(takes="integers, integers, integer, integer, integer", returns="integer, integer, integer")
def expand(bucket: Integers, volume: Integers, start: int, rows: int, target: int) -> tuple[int, int, int]:
    """Lowest row, highest row and volume of the area grown from entry ``start`` to ``target`` (compiled).

    Every entry has volume. Stretches of empty rows are passed at once, in strides of ``rows`` as single steps would.
    """
    low = high = bucket[start]
    inside = volume[start]
    below, above = start - 1, start + 1
    while inside < target:
        up, next_above = 0, above
        while next_above < bucket.size and bucket[next_above] <= high + rows:
            up += volume[next_above]
            next_above += 1
        down, next_below = 0, below
        while next_below >= 0 and bucket[next_below] >= low - rows:
            down += volume[next_below]
            next_below -= 1
        if above < bucket.size and (below < 0 or up >= down):
            if up == 0:
                high += (bucket[above] - high - 1) // rows * rows
                continue
            high = min(high + rows, bucket[-1])
            inside += up
            above = next_above
        else:
            if down == 0:
                low -= (low - bucket[below] - 1) // rows * rows
                continue
            low = max(low - rows, bucket[0])
            inside += down
            below = next_below
    return low, high, inside


def find_value_area(profile: Profile, expansion: Expansion, percent: int = VALUE_AREA_PERCENT) -> ValueArea:
    """Point of control and value area of a profile.

    Parameters
    ----------
    profile : Profile
        At least one bucket; volumes are positive.
    expansion : "one_row" or "two_row"
        How the area grows; see the module's docstring.
    percent : int
        Share of the volume it must hold, 1…100.

    Raises
    ------
    ValueError
        If the profile is empty, or (as :class:`FixedPointError`) its volume leaves int64.

    References
    ----------
    Chicago Board of Trade, *CBOT Market Profile* handbook (1991), value area calculation.

    Examples
    --------
    >>> profile = Profile(np.arange(100, 105), np.array([10, 20, 40, 25, 5]))
    >>> find_value_area(profile, "one_row")
    ValueArea(point_of_control=102, low=101, high=103, volume=85, total_volume=100)
    """
    if not len(profile):
        raise ValueError("an empty profile has no value area")
    total = profile.total
    if total >= 2**63:
        raise FixedPointError("the volume of a profile is beyond int64 units of 1e-8")
    start = point_of_control(profile.bucket, profile.volume)
    target = -(-total * percent // 100)
    rows = EXPANSIONS.index(expansion) + 1
    low, high, inside = expand(profile.bucket, profile.volume, start, rows, target)
    return ValueArea(int(profile.bucket[start]), int(low), int(high), int(inside), total)
