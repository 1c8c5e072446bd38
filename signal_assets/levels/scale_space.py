"""Scale space of a profile: how its volume stands out over every place and several widths.

Belongs here: the stabilized profile, its noise, candidates and what is measured of each. Does not belong here: how far
to believe in one (``peak_significance``), the public function (``scale_space_peaks``).

1. Volume is heavy-tailed (a real book's buckets differ by a factor of a thousand), so it is looked at in logarithms:
   y = log(1 + v / c), c a fiftieth of the median of what is held.
2. The background is the running median of y, the noise σ the running median of its steps |y[i+1] - y[i]| over what it
   is for a Gaussian (0.954 σ): a slope, a step, a peak hardly moves either. Residuals r = (y - background) / σ are cut
   off, so that a single huge order weighs as much as a large one: once absolutely (-3 and 5), once relative to what is
   usual among the nearest nine buckets, which leaves a strong peak its form.
3. For each of WIDTHS the mean of r over so many buckets is compared with what lies beside it; local maxima of the
   difference are the candidates. The standard deviation of such a mean is noise / √width, where ``noise`` (1 for white
   noise) is read from second differences of means of nine, so autocorrelation counts.
4. Of each candidate the MEASURES are kept: how far it stands above the background and above either side, near and far,
   whether its middle is higher than its edges, whether all of its thirds and most of its buckets are raised, what is
   left without its largest bucket. A peak has them all; a huge order, a step, a plateau fail one or the other.

Everything is a compiled pass in a fixed order over one profile: the same profile gives the same bits. The work is
linear in the buckets. Scale space: Witkin 1983, "Scale-space filtering"; Lindeberg 1998, "Feature detection with
automatic scale selection".
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled
from signal_assets.levels.medians import median_of, median_of_nine, running_median

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]

WIDTHS: Final = np.array([3, 5, 7, 9, 13, 19, 27, 39, 55], np.int64)
"""Widths looked at, in buckets. In logarithms a peak is wider than at half its height, so they reach beyond 40."""

MEASURES: Final = (
    "above the background",
    "above the higher side, near",
    "above the higher side, at its lowest",
    "above the higher side, further away",
    "logarithm of the width",
    "share of buckets raised",
    "without the largest bucket",
    "middle third above the outer ones",
    "lowest third above the higher side",
    "logarithm of the noise of means",
    "above the higher side, near, form kept",
    "above the higher side, further away, form kept",
    "middle third above the outer ones, form kept",
    "lowest third above the higher side, form kept",
)
"""What is kept of each candidate; distances in standard deviations, as signed roots."""

BACKGROUND_REACH: Final = 100
NOISE_REACH: Final = 400
LONGEST_GAP: Final = 100
"""Longer runs of empty buckets are looked at as if they were this long: nothing beyond is local."""

LEAST_VOLUME: Final = 0.02
LEAST_NOISE: Final = 0.1
"""Differences of ten per cent are nothing, however regular the profile."""

LOW: Final = 3.0
HIGH: Final = 5.0
LEAST_DISTANCE: Final = 2.5
GAUSSIAN_STEP: Final = 0.9538725524
"""Median of |X - Y| for two independent standard normal variables: √2 x 0.6744897502."""


@compiled(takes="integers, reals", returns="own reals, own integers")
def spread_out(bucket: Integers, volume: Reals) -> tuple[Reals, Integers]:
    """Volume of every bucket from first to last, long gaps cut, and where each entry lies in it (compiled)."""
    place = np.empty(bucket.size, np.int64)
    last = 0
    for i in range(bucket.size):
        if i > 0:
            last += min(bucket[i] - bucket[i - 1], LONGEST_GAP + 1)
        place[i] = last
    row = np.zeros(last + 1)
    for i in range(bucket.size):
        row[place[i]] = volume[i]
    return row, place


@compiled(takes="reals", returns="own real rows")
def residuals(row: Reals) -> Reals:
    """Distance of each bucket's logarithm from the background in units of the noise, cut off in two ways (compiled).

    First row: at -3 and 5, absolutely. Second row: that far below and above what is usual among the nearest nine
    buckets, where those lie beyond the background; so a strong peak keeps its form, and a level that the background
    does not follow keeps its place.
    """
    count = row.size
    # The two floors only keep the quotient finite when volumes differ, or are small, beyond all reason.
    least = max(LEAST_VOLUME * median_of(row[row > 0]), 1e-12 * float(row.max()), 1e-300)
    stabilized = np.log1p(row / least)
    steps = np.zeros(count)
    for i in range(count - 1):
        steps[i] = abs(stabilized[i + 1] - stabilized[i])
    if count > 1:
        steps[count - 1] = steps[count - 2]
    noise = running_median(steps, NOISE_REACH)
    background = running_median(stabilized, BACKGROUND_REACH)
    around = median_of_nine(stabilized)
    residual = np.empty((2, count))
    for i in range(count):
        deviation = max(noise[i] / GAUSSIAN_STEP, LEAST_NOISE)
        distance = (stabilized[i] - background[i]) / deviation
        usual = (around[i] - background[i]) / deviation
        residual[0, i] = min(max(distance, -LOW), HIGH)
        residual[1, i] = min(max(distance, min(usual, 0.0) - LOW), max(usual, 0.0) + HIGH)
    return residual


@compiled(takes="reals", returns="own reals")
def running_sum(values: Reals) -> Reals:
    """Sums of the first 0, 1 … n values (compiled)."""
    total = np.zeros(values.size + 1)
    for i in range(values.size):
        total[i + 1] = total[i] + values[i]
    return total


@compiled(takes="reals", returns="real")
def noise_of_means(total: Reals) -> float:
    """Standard deviation of means of residuals over what it is for white noise of deviation one (compiled).

    From second differences of means of nine: b - (a + c) / 2 has variance 1.5 / 9; through their median absolute
    deviation, so that peaks do not count. At least 0.8.
    """
    span = 9
    places = (total.size - 1 - 3 * span) // 3
    if places < 20:
        return 1.0
    bend = np.empty(places)
    for k in range(places):
        i = 3 * k
        sides = total[i + span] - total[i] + total[i + 3 * span] - total[i + 2 * span]
        bend[k] = (total[i + 2 * span] - total[i + span] - sides / 2) / span
    deviation = 1.4826 * median_of(np.abs(bend - median_of(bend)))
    return float(max(deviation / math.sqrt(1.5 / span), 0.8))


@compiled(takes="reals, integer, integer", returns="real")
def mean_between(total: Reals, start: int, end: int) -> float:
    """Mean of the values ``start`` to ``end`` - 1 (compiled)."""
    return float((total[end] - total[start]) / (end - start)) if end > start else 0.0


@compiled(takes="own reals, integer, integer, integer, integer", returns="real")
def height_at(total: Reals, place: int, half: int, gap: int, side: int) -> float:
    """Mean over 2 ``half`` + 1 buckets above that of both sides, as far as these lie within the profile (compiled)."""
    count = total.size - 1
    left, right = max(0, place - half - gap), min(count, place + half + 1 + gap)
    sides = mean_between(total, max(0, left - side), left) + mean_between(total, right, min(count, right + side))
    return float(mean_between(total, place - half, place + half + 1) - 0.5 * sides)


@compiled(takes="own reals, integer, real, own reals", returns="integer")
def compactness(total: Reals, width: int, noise: float, height: Reals) -> int:
    """Mean over ``width`` buckets above that of both sides, written to ``height`` for each place (compiled).

    -9 where it is not LEAST_DISTANCE standard deviations. Returns the number of places where it is.
    """
    count = total.size - 1
    half, gap, side = width // 2, max(1, width // 4), max(8, width // 2)
    least = LEAST_DISTANCE * noise * math.sqrt(1.0 / width + 0.5 / side)
    found = 0
    height[:] = -9.0
    # Where both sides lie wholly within the profile nothing is to be decided: views and one loop, which vectorizes.
    reach = half + gap + side
    inner = height[reach:]
    left_end, core_start, core_end = total[side:], total[side + gap :], total[side + gap + width :]
    right_start, right_end = total[reach + half + 1 + gap :], total[reach + half + 1 + gap + side :]
    for k in range(count - 2 * reach):
        sides = (left_end[k] - total[k]) / side + (right_end[k] - right_start[k]) / side
        above = (core_end[k] - core_start[k]) / width - 0.5 * sides
        high = above >= least
        inner[k] = above if high else -9.0
        found += high
    for begin, end in ((half, min(reach, count - half)), (max(reach, count - reach), count - half)):
        for i in range(begin, end):
            above = height_at(total, i, half, gap, side)
            if above >= least:
                height[i] = above
                found += 1
    return found


@compiled(takes="reals, integer, integer", returns="flag")
def is_local_maximum(height: Reals, place: int, reach: int) -> bool:
    """Whether no place within ``reach`` is higher; of equal ones the first (compiled)."""
    for distance in range(1, reach + 1):
        if place >= distance and height[place - distance] >= height[place]:
            return False
        if place + distance < height.size and height[place + distance] > height[place]:
            return False
    return True


@compiled(takes="reals, integer, integer", returns="real, real, real")
def sides_of(total: Reals, place: int, width: int) -> tuple[float, float, float]:
    """The higher side: near, further away, and with either side taken where it is lowest (compiled).

    A side that lies beyond the profile's end is taken to be as the other one.
    """
    count = total.size - 1
    half, gap, side = width // 2, max(1, width // 4), max(8, width // 2)
    left, right = place - half - gap, place + half + 1 + gap
    has_left, has_right = left >= side // 2, right + side // 2 <= count
    near_left = mean_between(total, max(0, left - side), left) if has_left else 0.0
    near_right = mean_between(total, right, min(count, right + side)) if has_right else 0.0
    far_left, far_right = near_left, near_right
    if left - side - side // 2 >= 0:
        far_left = mean_between(total, max(0, left - 2 * side), left - side)
    if right + side + side // 2 <= count:
        far_right = mean_between(total, right + side, min(count, right + 2 * side))
    if not has_left:
        near_left, far_left = near_right, far_right
    if not has_right:
        near_right, far_right = near_left, far_left
    lowest = max(min(near_left, far_left), min(near_right, far_right))
    return max(near_left, near_right), max(far_left, far_right), lowest


@compiled(takes="reals, integer, integer", returns="flag")
def falls_towards_the_ends(total: Reals, place: int, width: int) -> bool:
    """Whether, where a side is missing, the outer third is lower than the middle one (compiled).

    Without it a slope that ends with the profile would look like a peak: nothing is known of what lies beyond.
    """
    count = total.size - 1
    half, gap, side = width // 2, max(1, width // 4), max(8, width // 2)
    third = max(1, width // 3)
    start, end = place - half, place + half + 1
    middle = mean_between(total, start + third, end - third)
    if start - gap < side // 2 and mean_between(total, start, start + third) >= middle:
        return False
    return not (end + gap + side // 2 > count and mean_between(total, end - third, end) >= middle)


@compiled(takes="real", returns="real")
def signed_root(value: float) -> float:
    """Square root that keeps the sign: tames large distances (compiled)."""
    return math.sqrt(value) if value >= 0 else -math.sqrt(-value)


@compiled(takes="reals, integer, integer, real, real, own reals", returns="integer")
def form(total: Reals, place: int, width: int, noise: float, near: float, measured: Reals) -> int:
    """Write how far the middle third lies above the outer ones, and the lowest third above ``near`` (compiled)."""
    half = width // 2
    start, end = place - half, place + half + 1
    third = max(1, width // 3)
    one = mean_between(total, start, start + third)
    two = mean_between(total, start + third, end - third)
    three = mean_between(total, end - third, end)
    bulge = two - 0.5 * (one + three)
    measured[0] = signed_root(bulge / (noise * math.sqrt(1.0 / (width - 2 * third) + 0.5 / third)))
    measured[1] = signed_root((min(one, min(two, three)) - near) * math.sqrt(third) / noise)
    return 2


@compiled(takes="reals, integer, integer, real, own reals", returns="integer")
def measure_cut(total: Reals, place: int, width: int, noise: float, measured: Reals) -> int:
    """Write the first nine MEASURES of one candidate; distances as signed roots (compiled)."""
    half = width // 2
    start, end = place - half, place + half + 1
    deviation = noise / math.sqrt(width)
    core = mean_between(total, start, end)
    near, far, lowest = sides_of(total, place, width)
    largest = -9.0
    raised = 0
    for i in range(start, end):
        value = total[i + 1] - total[i]
        largest = max(largest, value)
        raised += value > 1.0
    measured[0] = signed_root(core / deviation)
    measured[1] = signed_root((core - near) / deviation)
    measured[2] = signed_root((core - lowest) / deviation)
    measured[3] = signed_root((core - far) / deviation)
    measured[4] = math.log(width)
    measured[5] = raised / width
    measured[6] = signed_root((core * width - largest) / math.sqrt(width - 1.0) / noise)
    form(total, place, width, noise, near, measured[7:9])
    measured[9] = math.log(noise)
    return 10


@compiled(takes="reals, integer, integer, real, own reals", returns="integer")
def measure_kept(total: Reals, place: int, width: int, noise: float, measured: Reals) -> int:
    """Write the last four MEASURES of one candidate, from the second row of residuals (compiled)."""
    half = width // 2
    deviation = noise / math.sqrt(width)
    core = mean_between(total, place - half, place + half + 1)
    near, far, _ = sides_of(total, place, width)
    measured[0] = signed_root((core - near) / deviation)
    measured[1] = signed_root((core - far) / deviation)
    form(total, place, width, noise, near, measured[2:4])
    return 4


@compiled(takes="reals, integers", returns="own integers, own integers, own real rows")
def candidates(row: Reals, widths: Integers) -> tuple[Integers, Integers, Reals]:
    """Place, width and measures of every local maximum, width by width and place by place (compiled).

    Parameters
    ----------
    row : ndarray of float64
        Volume of every bucket, at least one of them positive.
    widths : ndarray of int64
        Odd, at least three.

    Returns
    -------
    place, width : ndarray of int64
    measured : ndarray of float64, shape (n, 14)
        In the order of MEASURES.
    """
    residual = residuals(row)
    cut, kept = running_sum(residual[0]), running_sum(residual[1])
    noise_cut, noise_kept = noise_of_means(cut), noise_of_means(kept)
    height = np.empty(row.size)
    room = 4 * row.size + 16
    place = np.empty(room, np.int64)
    width = np.empty(room, np.int64)
    found = 0
    for each in widths:
        half = each // 2
        if compactness(kept, each, noise_kept, height) == 0:
            continue
        for i in range(half, row.size - half):
            if height[i] <= 0 or found == room or not is_local_maximum(height, i, half):
                continue
            if falls_towards_the_ends(kept, i, each):
                place[found], width[found] = i, each
                found += 1
    measured = np.empty((found, 14))
    for k in range(found):
        measure_cut(cut, place[k], width[k], noise_cut, measured[k, :10])
        measure_kept(kept, place[k], width[k], noise_kept, measured[k, 10:])
    return place[:found].copy(), width[:found].copy(), measured
