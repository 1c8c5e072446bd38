"""Peaks of a profile by scale space, with a confidence that is a probability.

Belongs here: the compiled path from a profile to its peaks, and the public function. Does not belong here: its parts
(``scale_space``, ``peak_significance``), the fitted numbers (``peak_calibration``), the plain methods (``wave_peaks``).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from signal_assets.compiled import compiled
from signal_assets.levels.peak_calibration import (
    CENTRE,
    CONFIDENCE_INTERCEPT,
    CONFIDENCE_SLOPE,
    NOISE_INTERCEPT,
    NOISE_SLOPE,
    SCALE,
    WEIGHTS,
)
from signal_assets.levels.peak_significance import LEAST_SCORE, REACH, choose, discovery_limit, scores
from signal_assets.levels.scale_space import WIDTHS, candidates, mean_between, running_sum, spread_out
from signal_assets.levels.wave_peaks import MERGE_TOLERANCE, WavePeak, checked_profile, moments

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]

METHOD: Final = "scale_space"
FALSE_DISCOVERY_RATE: Final = 0.05
MIN_PEAK_CONFIDENCE: Final = 0.7


@compiled(takes="integers, reals, integer, integer", returns="integer")
def fullest_entry(place: Integers, volume: Reals, middle: int, reach: int) -> int:
    """The entry of most volume within ``reach`` of a place (of equals the lower); else the nearest (compiled)."""
    first = np.searchsorted(place, middle - reach)
    last = np.searchsorted(place, middle + reach, side="right")
    if last > first:
        return int(first + np.argmax(volume[first:last]))
    if first == 0:
        return 0
    if first == place.size or middle - place[first - 1] <= place[first] - middle:
        return int(first - 1)
    return int(first)


@compiled(takes="reals, integer, integer", returns="real")
def height_above_sides(total: Reals, place: int, width: int) -> float:
    """Mean volume of a peak's buckets above that of the fuller of its two sides, at least 0 (compiled)."""
    count = total.size - 1
    half, gap, side = width // 2, max(1, width // 4), max(8, width // 2)
    left, right = max(0, place - half - gap), min(count, place + half + 1 + gap)
    beside = max(mean_between(total, max(0, left - side), left), mean_between(total, right, min(count, right + side)))
    return float(max(mean_between(total, place - half, place + half + 1) - beside, 0.0))


CURVES: Final = np.array([CONFIDENCE_INTERCEPT, CONFIDENCE_SLOPE, NOISE_INTERCEPT, NOISE_SLOPE])


def detect_in_scale_space(
    bucket: Integers, volume: Reals, false_discovery_rate: float, min_peak_confidence: float
) -> tuple[Integers, Reals]:
    """Peaks of one profile, ascending by price.

    Parameters
    ----------
    bucket, volume : ndarray
        Buckets ascending and unique, volumes finite and not negative.

    Returns
    -------
    entry : ndarray of int64
        Index into ``bucket``.
    measures : ndarray of float64, shape (6, n)
        z-score, confidence, distance in σ, prominence, width, p-value.
    """
    # Arguments, not globals: a compiled function would keep the numbers it was first compiled with.
    found: tuple[Integers, Reals] = detect(
        bucket, volume, false_discovery_rate, min_peak_confidence, CENTRE, SCALE, WEIGHTS, CURVES
    )
    return found


@compiled(takes="integers, reals, real, real, reals, reals, reals, reals", returns="own integers, own real rows")
def detect(
    bucket: Integers,
    volume: Reals,
    false_discovery_rate: float,
    min_peak_confidence: float,
    centre_of_measures: Reals,
    scale_of_measures: Reals,
    weights: Reals,
    curves: Reals,
) -> tuple[Integers, Reals]:
    """The compiled part of :func:`detect_in_scale_space`; ``curves`` as CURVES."""
    if bucket.size == 0 or volume.max() <= 0:
        return np.empty(0, np.int64), np.empty((6, 0), np.float64)
    row, place_of_entry = spread_out(bucket, volume)
    place, width, measured = candidates(row, WIDTHS)
    score = scores(measured, centre_of_measures, scale_of_measures, weights)
    chosen = choose(place, width, score, REACH, LEAST_SCORE)
    p_value = np.minimum(np.exp(curves[2] + curves[3] * score[chosen]), 1.0)
    confidence = 1 / (1 + np.exp(-(curves[0] + curves[1] * score[chosen])))
    limit = discovery_limit(p_value, row.size, false_discovery_rate)
    kept = np.flatnonzero((confidence >= min_peak_confidence) & (p_value <= limit))
    _, _, centre, price_deviation = moments(bucket, volume)
    total = running_sum(row)
    entry = np.empty(kept.size, np.int64)
    measures = np.zeros((6, kept.size))
    for n in range(kept.size):
        k = chosen[kept[n]]
        entry[n] = fullest_entry(place_of_entry, volume, place[k], max(1, width[k] // 6))
        above = measured[k, 1]
        measures[0, n] = above * abs(above)
        measures[1, n] = confidence[kept[n]]
        if price_deviation > 0:
            measures[2, n] = (bucket[entry[n]] - bucket[0] - centre) / price_deviation
        measures[3, n] = height_above_sides(total, place[k], width[k])
        measures[4, n] = width[k]
        measures[5, n] = p_value[kept[n]]
    return entry, measures


def detect_scale_space_peaks(
    price_bucket: ArrayLike,
    volume: ArrayLike,
    *,
    false_discovery_rate: float = FALSE_DISCOVERY_RATE,
    min_peak_confidence: float = MIN_PEAK_CONFIDENCE,
    history: Sequence[Sequence[WavePeak]] | None = None,
) -> list[WavePeak]:
    """Accumulations of volume over several buckets, most confident first; a single huge order is none.

    The confidence is calibrated: of planted peaks' finds at confidence c, about c are real (``docs/wave-peaks.md``).
    There is no least volume: what counts is how far a peak stands out of its own surroundings.

    Parameters
    ----------
    price_bucket : array_like of int, shape (n,)
        Ascending unique bucket numbers; gaps mean zero volume.
    volume : array_like of float64, shape (n,)
        Volume of each bucket, in any unit.
    false_discovery_rate : float
        In pure noise, the share of profiles with any find is at most about this; 1 leaves the test out.
    min_peak_confidence : float
        A peak has at least this probability of being real.
    history : sequence of peak lists, or None
        Peaks of earlier profiles. With m of n having a peak within half the width (at least two buckets), the
        confidence is multiplied by (1 + m) / (1 + n): what comes and goes is withdrawn. With a history the confidence
        is a rank, no longer a probability.

    Returns
    -------
    list of WavePeak
        ``price`` is the fullest bucket near the middle; ``z_score`` how far the peak's mean stands above the higher of
        its two sides, in standard deviations of the local noise of log volume; ``prominence`` that height in mean
        volume per bucket; ``width`` the width that fits best, in buckets.

    Raises
    ------
    ValueError
        If buckets do not ascend, a volume is negative or not finite, the lengths differ, or a rate lies outside 0…1.

    Examples
    --------
    >>> import numpy as np
    >>> bucket = np.arange(60_000, 60_600)
    >>> volume = np.random.default_rng(1).lognormal(0, 0.5, 600) + 6 * np.exp(-(((bucket - 60_250) / 6) ** 2))
    >>> volume[450] = 500  # one order, however large, is no accumulation
    >>> [(abs(peak.price - 60_250) < 6, peak.confidence > 0.9) for peak in detect_scale_space_peaks(bucket, volume)]
    [(True, True)]
    """
    for name, value in (("false_discovery_rate", false_discovery_rate), ("min_peak_confidence", min_peak_confidence)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in 0…1, not {value}")
    rates = float(false_discovery_rate), float(min_peak_confidence)
    return scale_space_peaks_of(*checked_profile(price_bucket, volume), *rates, history)


def scale_space_peaks_of(
    bucket: Integers,
    volumes: Reals,
    false_discovery_rate: float,
    min_peak_confidence: float,
    history: Sequence[Sequence[WavePeak]] | None,
) -> list[WavePeak]:
    """:func:`detect_scale_space_peaks` of a profile known to be one."""
    entry, measures = detect_in_scale_space(bucket, volumes, false_discovery_rate, min_peak_confidence)
    peaks = []
    for i, (z_score, confidence, distance, prominence, width, _) in zip(
        entry.tolist(), measures.T.tolist(), strict=True
    ):
        weighted = confidence * _persistence(int(bucket[i]), width, history or ())
        if weighted >= min_peak_confidence:
            price, height = int(bucket[i]), float(volumes[i])
            peaks.append(WavePeak(price, height, z_score, weighted, distance, prominence, width, METHOD))
    return sorted(peaks, key=lambda peak: (-peak.confidence, peak.price))


def _persistence(price: int, width: float, history: Sequence[Sequence[WavePeak]]) -> float:
    reach = max(MERGE_TOLERANCE, width / 2)
    seen = sum(any(abs(old.price - price) <= reach for old in peaks) for peaks in history)
    return (1 + seen) / (1 + len(history))
