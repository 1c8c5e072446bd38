"""Wave peaks: the prices at which a profile's volume stands out.

Belongs here: statistical, volume and combined detection on one profile. Does not belong here: building profiles, zones.

A profile is the whole range of buckets from its first to its last; buckets left out hold nothing and are accounted for
without being written out. Next to both ends lies nothing too, so an end bucket can be a peak.

**Confidence** is what peaks are filtered and ranked by; how probable it is that one is real says
:attr:`WavePeak.probability`, fitted to planted peaks. Confidence is

* statistical: z / (1 + z) x prominence / volume – out of the whole profile and out of its surroundings;
* volume: (1 - neighbours' mean / volume) x volume / (volume + min_absolute_volume);
* combined: found by both, 1/2 + 1/2 x (1 - (1 - a)(1 - b)); found by one alone, 1/2 x its own. So whatever both
  found ranks above whatever only one found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from signal_assets.compiled import compiled
from signal_assets.levels.peak_probability import probability_of

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]

METHODS: Final = ("combined", "statistical", "volume")
COMBINED, STATISTICAL, VOLUME = range(3)

MERGE_TOLERANCE: Final = 2
"""Combined peaks not further apart than this many buckets are one, at the place of the larger volume."""


@dataclass(frozen=True, slots=True)
class WavePeak:
    """One peak of a profile.

    Parameters
    ----------
    price : int
        The bucket, in bucket units (the middle one of a plateau, the lower of two).
    volume : float
        Volume in that bucket, base units.
    z_score : float
        (volume - mean) / population standard deviation over all buckets from the first to the last.
    confidence : float
        0…1, what ``min_peak_confidence`` is held against. An order, see the module's docstring; of scale_space a
        probability.
    distance_sigma : float
        (price - volume-weighted mean price) / volume-weighted standard deviation of price.
    prominence : float
        Height above the higher of the two surrounding valleys, base units (as ``scipy.signal.peak_prominences``).
    width : float
        Width at half the prominence, in buckets (as ``scipy.signal.peak_widths``).
    method : str
        statistical, volume, combined or scale_space. What the numbers of the last mean says
        :func:`signal_assets.levels.detect_scale_space_peaks`.
    """

    price: int
    volume: float
    z_score: float
    confidence: float
    distance_sigma: float
    prominence: float
    width: float
    method: str

    @property
    def probability(self) -> float:
        """How probable it is that the peak is real, from 0 to 1: of peaks at c, about c are, on planted data.

        An accumulation over several buckets counts as real, a single huge order does not. Fitted at the default
        parameters and without a history.
        """
        return probability_of(self.method, self.confidence, self.z_score, self.width)


@compiled(takes="integers, reals", returns="own integers, own integers, own reals")
def local_maxima(bucket: Integers, volume: Reals) -> tuple[Integers, Integers, Reals]:
    """First and last entry of every plateau above both its neighbours, and the neighbours' mean (compiled)."""
    count = bucket.size
    first = np.empty(count, np.int64)
    last = np.empty(count, np.int64)
    neighbours = np.empty(count, np.float64)
    found = 0
    i = 0
    while i < count:
        j = i
        while j + 1 < count and bucket[j + 1] == bucket[j] + 1 and volume[j + 1] == volume[i]:
            j += 1
        left = volume[i - 1] if i > 0 and bucket[i - 1] == bucket[i] - 1 else 0.0
        right = volume[j + 1] if j + 1 < count and bucket[j + 1] == bucket[j] + 1 else 0.0
        if volume[i] > left and volume[i] > right:
            first[found] = i
            last[found] = j
            neighbours[found] = (left + right) / 2
            found += 1
        i = j + 1
    return first[:found].copy(), last[:found].copy(), neighbours[:found].copy()


@compiled(takes="integers, reals, integers, integers", returns="own reals")
def lowest_between(bucket: Integers, volume: Reals, first: Integers, last: Integers) -> Reals:
    """Lowest volume before the first maximum, between each two, after the last; ∞ where nothing lies (compiled).

    An empty bucket on the way makes it zero.
    """
    count = first.size
    lowest = np.full(count + 1, np.inf)
    for k in range(count + 1):
        start = last[k - 1] if k > 0 else 0
        end = first[k] if k < count else bucket.size - 1
        if bucket[end] - bucket[start] != end - start:
            lowest[k] = 0.0
            continue
        low = np.inf
        for i in range(start + (k > 0), end + (k == count)):
            low = min(low, volume[i])
        lowest[k] = low
    return lowest


@compiled(takes="reals, reals, integer", returns="own reals")
def valleys(height: Reals, between: Reals, step: int) -> Reals:
    """Lowest volume between each maximum and the next higher one, or the end, seen against ``step`` (compiled).

    One pass with a stack of maxima that descend in height; ``between`` as :func:`lowest_between` gives it.
    """
    count = height.size
    lowest = np.empty(count, np.float64)
    stack = np.empty(count, np.int64)
    depth = 0
    for turn in range(count):
        k = turn if step > 0 else count - 1 - turn
        valley = between[k if step > 0 else k + 1]
        while depth > 0 and height[stack[depth - 1]] <= height[k]:
            valley = min(valley, lowest[stack[depth - 1]])
            depth -= 1
        lowest[k] = valley
        stack[depth] = k
        depth += 1
    return lowest


@compiled(takes="integers, reals, integer, real, integer", returns="real")
def half_width(bucket: Integers, volume: Reals, peak: int, height: float, step: int) -> float:
    """Distance in buckets from the peak to where the profile falls to ``height`` in direction ``step`` (compiled)."""
    i = peak
    while True:
        following = i + step
        outside = following < 0 or following >= bucket.size
        empty = outside or bucket[following] != bucket[i] + step
        below = 0.0 if empty else volume[following]
        if below <= height:
            distance = abs(bucket[i] - bucket[peak]) + 1.0
            return float(distance - (height - below) / (volume[i] - below))
        i = following


@compiled(takes="integers, reals", returns="real, real, real, real")
def moments(bucket: Integers, volume: Reals) -> tuple[float, float, float, float]:
    """Mean and deviation of volume over all buckets; volume-weighted mean offset and deviation of price (compiled)."""
    buckets = bucket[-1] - bucket[0] + 1.0
    total = 0.0
    weighted = 0.0
    for i in range(bucket.size):
        total += volume[i]
        weighted += volume[i] * (bucket[i] - bucket[0])
    mean = total / buckets
    centre = weighted / total
    squares = (buckets - bucket.size) * mean * mean
    spread = 0.0
    for i in range(bucket.size):
        squares += (volume[i] - mean) * (volume[i] - mean)
        offset = bucket[i] - bucket[0] - centre
        spread += volume[i] * offset * offset
    deviation = np.sqrt(squares / buckets)
    if deviation <= 1e-12 * mean:
        # A constant profile: what is left is rounding, and must not look like a standard deviation.
        deviation = 0.0
    return mean, deviation, centre, np.sqrt(spread / total)


@compiled(takes="integers, reals, reals, reals, integer", returns="own integers, own reals")
def merge(
    bucket: Integers, volume: Reals, statistical: Reals, by_volume: Reals, tolerance: int
) -> tuple[Integers, Reals]:
    """Candidates that stay after merging, ascending, and their combined confidence; -1 marks "not found" (compiled).

    The largest volume first (of equals the lower price) takes in all peaks within the tolerance.
    """
    count = bucket.size
    taken = (statistical < 0) & (by_volume < 0)
    confidence = np.full(count, -1.0)
    found = np.flatnonzero(~taken)
    for i in found[np.argsort(-volume[found], kind="mergesort")]:
        if taken[i]:
            continue
        best_statistical = -1.0
        best_volume = -1.0
        low = i
        while low > 0 and bucket[i] - bucket[low - 1] <= tolerance:
            low -= 1
        j = low
        while j < count and bucket[j] - bucket[i] <= tolerance:
            if j == i or not taken[j]:
                best_statistical = max(best_statistical, statistical[j])
                best_volume = max(best_volume, by_volume[j])
                taken[j] = True
            j += 1
        if best_statistical >= 0 and best_volume >= 0:
            confidence[i] = 0.5 + 0.5 * (1 - (1 - best_statistical) * (1 - best_volume))
        else:
            confidence[i] = 0.5 * max(best_statistical, best_volume)
    kept = np.flatnonzero(confidence >= 0)
    return kept, confidence[kept]


@compiled(
    takes="integers, reals, real, real, real, real, real, integer", returns="own integers, own integers, own real rows"
)
def detect(
    bucket: Integers,
    volume: Reals,
    min_peak_volume: float,
    z_score_threshold: float,
    min_peak_confidence: float,
    min_relative_volume: float,
    min_absolute_volume: float,
    tolerance: int,
) -> tuple[Integers, Integers, Reals]:
    """All peaks of one profile by the three methods, in the order of METHODS and then of price (compiled).

    Returns
    -------
    method, entry : ndarray of int64
        Index into METHODS, and into ``bucket``.
    measures : ndarray of float64, shape (5, n)
        z-score, confidence, distance in σ, prominence, width.
    """
    nothing = np.empty(0, np.int64)
    if bucket.size == 0 or volume.max() <= 0:
        return nothing, nothing, np.empty((5, 0), np.float64)
    mean, deviation, centre, price_deviation = moments(bucket, volume)
    first, last, neighbours = local_maxima(bucket, volume)
    tops, between = volume[first], lowest_between(bucket, volume, first, last)
    left, right = valleys(tops, between, 1), valleys(tops, between, -1)
    count = first.size
    entry = np.empty(count, np.int64)
    z_score = np.zeros(count)
    prominence = np.zeros(count)
    statistical = np.full(count, -1.0)
    by_volume = np.full(count, -1.0)
    for k in range(count):
        i = first[k] + (last[k] - first[k]) // 2
        entry[k] = i
        left_valley = left[k] if first[k] > 0 else 0.0
        right_valley = right[k] if last[k] < bucket.size - 1 else 0.0
        prominence[k] = volume[i] - max(left_valley, right_valley)
        if deviation > 0:
            z_score[k] = (volume[i] - mean) / deviation
        positive = max(z_score[k], 0.0)
        confidence = positive / (1 + positive) * (prominence[k] / volume[i])
        if (
            volume[i] >= min_peak_volume
            and z_score[k] >= z_score_threshold
            and confidence >= min_peak_confidence
            and deviation > 0
        ):
            statistical[k] = confidence
        if volume[i] >= min_relative_volume * neighbours[k] and volume[i] >= min_absolute_volume:
            by_volume[k] = (1 - neighbours[k] / volume[i]) * (volume[i] / (volume[i] + min_absolute_volume))
    combined, confidence_of_combined = merge(bucket[entry], volume[entry], statistical, by_volume, tolerance)
    by_statistics, by_neighbours = np.flatnonzero(statistical >= 0), np.flatnonzero(by_volume >= 0)
    chosen = np.concatenate((combined, by_statistics, by_neighbours))
    method = np.empty(chosen.size, np.int64)
    measures = np.empty((5, chosen.size), np.float64)
    for n in range(chosen.size):
        k = chosen[n]
        i = entry[k]
        if n < combined.size:
            method[n] = 0
            measures[1, n] = confidence_of_combined[n]
        elif n < combined.size + by_statistics.size:
            method[n] = 1
            measures[1, n] = statistical[k]
        else:
            method[n] = 2
            measures[1, n] = by_volume[k]
        height = volume[i] - prominence[k] * 0.5
        measures[0, n] = z_score[k]
        measures[2, n] = (bucket[i] - bucket[0] - centre) / price_deviation if price_deviation > 0 else 0.0
        measures[3, n] = prominence[k]
        measures[4, n] = half_width(bucket, volume, i, height, -1) + half_width(bucket, volume, i, height, 1)
    return method, entry[chosen], measures


def _statistical(
    min_peak_volume: float = 5.0, z_score_threshold: float = 1.5, min_peak_confidence: float = 0.3
) -> tuple[float, float, float]:
    return float(min_peak_volume), float(z_score_threshold), float(min_peak_confidence)


def _volume(min_relative_volume: float = 2.0, min_absolute_volume: float = 10.0) -> tuple[float, float]:
    return float(min_relative_volume), float(min_absolute_volume)


def checked_profile(price_bucket: ArrayLike, volume: ArrayLike) -> tuple[Integers, Reals]:
    """The profile as arrays, or ValueError saying what is wrong with it."""
    bucket, volumes = np.asarray(price_bucket), np.asarray(volume, dtype=np.float64)
    if bucket.ndim != 1 or bucket.shape != volumes.shape:
        raise ValueError(f"price_bucket {bucket.shape} and volume {volumes.shape} must be of one length")
    if bucket.size and bucket.dtype.kind not in "iu":
        raise ValueError(f"price_bucket must be integers in bucket units, not {bucket.dtype}")
    bucket = bucket.astype(np.int64, copy=False)
    if bool((bucket[1:] <= bucket[:-1]).any()):
        raise ValueError("price_bucket must ascend and be unique")
    if not bool((np.isfinite(volumes) & (volumes >= 0)).all()):
        raise ValueError("volume must be finite and not negative")
    return bucket, volumes


def peaks_of(
    bucket: Integers,
    volumes: Reals,
    wanted: int,
    statistical: tuple[float, float, float],
    by_volume: tuple[float, float],
) -> list[WavePeak]:
    """Peaks of a profile known to be one, by one method; the parameters in the order of the public functions."""
    method, entry, measures = detect(bucket, volumes, *statistical, *by_volume, MERGE_TOLERANCE)
    chosen = np.flatnonzero(method == wanted)
    peaks = []
    for i, (z_score, confidence, distance, prominence, width) in zip(
        entry[chosen].tolist(), measures[:, chosen].T.tolist(), strict=True
    ):
        price, height = int(bucket[i]), float(volumes[i])
        peaks.append(WavePeak(price, height, z_score, confidence, distance, prominence, width, METHODS[wanted]))
    return _ranked(peaks)


def _ranked(peaks: list[WavePeak]) -> list[WavePeak]:
    return sorted(peaks, key=lambda peak: (-peak.confidence, peak.price))


def detect_normal_distribution_peaks(
    price_bucket: ArrayLike,
    volume: ArrayLike,
    *,
    min_peak_volume: float = 5.0,
    z_score_threshold: float = 1.5,
    min_peak_confidence: float = 0.3,
) -> list[WavePeak]:
    """Local maxima whose volume stands out of the whole profile; most confident first.

    Parameters
    ----------
    price_bucket : array_like of int, shape (n,)
        Ascending unique bucket numbers; gaps mean zero volume.
    volume : array_like of float64, shape (n,)
        Volume of each bucket in base units.
    min_peak_volume, z_score_threshold, min_peak_confidence : float
        A peak has at least this volume, this z = (v - mean) / std over all buckets, this confidence.

    Raises
    ------
    ValueError
        If buckets do not ascend, a volume is negative or not finite, or the lengths differ.

    Examples
    --------
    >>> peaks = detect_normal_distribution_peaks(range(100, 109), [1, 1, 1, 2, 40, 2, 1, 1, 1])
    >>> [(peak.price, round(peak.z_score, 2), round(peak.prominence)) for peak in peaks]
    [(104, 2.83, 39)]
    """
    parameters = _statistical(min_peak_volume, z_score_threshold, min_peak_confidence)
    return peaks_of(*checked_profile(price_bucket, volume), STATISTICAL, parameters, _volume())


def detect_volume_peaks(
    price_bucket: ArrayLike,
    volume: ArrayLike,
    *,
    min_relative_volume: float = 2.0,
    min_absolute_volume: float = 10.0,
) -> list[WavePeak]:
    """Local maxima of at least ``min_relative_volume`` x the mean of the two neighbours; most confident first.

    The neighbours are the buckets beside the peak (beside the plateau, if it is one); an empty one counts as zero.

    Parameters
    ----------
    price_bucket, volume
        As in :func:`detect_normal_distribution_peaks`.
    min_relative_volume, min_absolute_volume : float
        A peak has at least this multiple of its neighbours' mean, and at least this volume.

    Examples
    --------
    >>> [peak.price for peak in detect_volume_peaks([100, 101, 102, 200], [4.0, 12.0, 8.0, 10.0])]
    [200, 101]
    """
    parameters = _volume(min_relative_volume, min_absolute_volume)
    return peaks_of(*checked_profile(price_bucket, volume), VOLUME, _statistical(), parameters)


def detect_combined_peaks(
    price_bucket: ArrayLike,
    volume: ArrayLike,
    *,
    statistical_params: Mapping[str, float] | None = None,
    volume_params: Mapping[str, float] | None = None,
    history: Sequence[Sequence[WavePeak]] | None = None,
) -> list[WavePeak]:
    """Union of statistical and volume peaks, merged within two buckets; what both found ranks first.

    Parameters
    ----------
    price_bucket, volume
        As in :func:`detect_normal_distribution_peaks`.
    statistical_params, volume_params : mapping or None
        Keyword arguments of the two detectors.
    history : sequence of peak lists, or None
        Peaks of earlier profiles. With m of n having a peak within two buckets, the confidence is multiplied by
        (1 + m) / (1 + n), so what comes and goes ranks lower.

    Examples
    --------
    >>> peaks = detect_combined_peaks(range(100, 109), [1, 1, 1, 2, 40, 2, 1, 12, 1])
    >>> [(peak.price, peak.confidence > 0.5) for peak in peaks]
    [(104, True), (107, False)]
    """
    parameters = _statistical(**(statistical_params or {})), _volume(**(volume_params or {}))
    return weighted_by_history(peaks_of(*checked_profile(price_bucket, volume), COMBINED, *parameters), history)


def weighted_by_history(peaks: list[WavePeak], history: Sequence[Sequence[WavePeak]] | None) -> list[WavePeak]:
    """Combined peaks with the confidence that earlier profiles leave them, most confident first."""
    if not history:
        return peaks
    return _ranked([_weighted_by_persistence(peak, history) for peak in peaks])


def _weighted_by_persistence(peak: WavePeak, history: Sequence[Sequence[WavePeak]]) -> WavePeak:
    seen = sum(any(abs(old.price - peak.price) <= MERGE_TOLERANCE for old in peaks) for peaks in history)
    confidence = peak.confidence * (1 + seen) / (1 + len(history))
    return WavePeak(
        peak.price,
        peak.volume,
        peak.z_score,
        confidence,
        peak.distance_sigma,
        peak.prominence,
        peak.width,
        peak.method,
    )
