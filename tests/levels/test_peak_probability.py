import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_assets.levels import (
    WavePeak,
    detect_combined_peaks,
    detect_normal_distribution_peaks,
    detect_scale_space_peaks,
    detect_volume_peaks,
)
from signal_assets.levels.peak_probability import FARTHEST, evidence, probability_of
from signal_assets.levels.plain_peak_calibration import CALIBRATION

BUCKET = np.arange(60_000, 60_400)


def profile(width):
    """Noise of log-deviation 0.3 and one Gaussian peak of 30 times its level."""
    volume = np.random.default_rng(7).lognormal(0, 0.3, len(BUCKET))
    return volume + 30 * np.exp(-4 * math.log(2) * ((BUCKET - 60_200) / width) ** 2)


@pytest.mark.parametrize("detect", [detect_normal_distribution_peaks, detect_combined_peaks, detect_volume_peaks])
def test_a_clear_spike_is_found_with_confidence_and_is_no_probable_accumulation(detect):
    (peak,) = detect(range(100, 109), [1, 1, 1, 2, 40, 2, 1, 1, 1])
    assert peak.confidence > 0.6
    assert peak.probability < 0.1


def test_what_is_broad_is_more_probable_than_what_is_narrow():
    narrow, broad = (
        max(detect_normal_distribution_peaks(BUCKET, profile(width)), key=lambda peak: peak.confidence)
        for width in (0.5, 10)
    )
    assert abs(broad.price - 60_200) <= 5
    assert narrow.probability < 0.1 < 0.7 < broad.probability


def test_of_scale_space_the_confidence_is_the_probability():
    (peak,) = detect_scale_space_peaks(BUCKET, profile(10))
    assert peak.probability == peak.confidence > 0.9


def test_evidence_by_hand():
    # Odds of 3 to 1; log(1 + 1) and its mirror image; a width of e.
    assert evidence(0.75, 1.0, math.e) == pytest.approx((math.log(3), math.log(2), 1))
    assert evidence(0.25, -1.0, 1 / math.e) == pytest.approx((-math.log(3), -math.log(2), -1))
    assert evidence(1.0, 0.0, 0.0) == pytest.approx((6, 0, math.log(0.1)))
    assert evidence(0.0, 0.0, 1.0)[0] == -6


@given(st.sampled_from(sorted(CALIBRATION)), st.floats(0, 1), st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_it_is_the_logistic_of_the_polynomial_in_numpy(method, confidence, z_score, width):
    centre, scale, weights = map(np.array, CALIBRATION[method])
    value = np.clip((np.array(evidence(confidence, z_score, width)) - centre) / scale, -FARTHEST, FARTHEST)
    products = np.outer(value, value)[np.triu_indices(3)]
    odds = np.clip(weights @ np.concatenate(([1.0], value, products)), -6, 6)
    found = probability_of(method, confidence, z_score, width)
    assert 0 < found < 1
    assert found == pytest.approx(1 / (1 + np.exp(-odds)), rel=1e-9)
    assert WavePeak(1, 1.0, z_score, confidence, 0.0, 1.0, width, method).probability == found
