from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.anomalies.detector import UNKNOWN, Detection
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.statistical_detectors import (
    EmaResidual,
    InterQuartileRange,
    MedianAbsoluteDeviation,
    ZScore,
)
from signal_assets.anomalies.statistical_ensemble import StatisticalEnsemble
from signal_assets.anomalies.statistical_steps import median_distance
from signal_assets.machine import decode_state, encode_state

WINDOW, MINIMUM = 100, 30
NORMAL_QUARTILE = 0.674489750196  # published tables of the normal distribution


NAMES = ("z_score", "iqr", "mad", "ema", "ensemble")


def made(name, window=WINDOW, minimum=MINIMUM):
    """The detector of that name, cold."""
    if name == "ensemble":
        return StatisticalEnsemble(AnomalyParameters(window=window, minimum_points=minimum))
    if name == "ema":
        return EmaResidual(minimum_points=minimum)
    kind = {"z_score": ZScore, "iqr": InterQuartileRange, "mad": MedianAbsoluteDeviation}[name]
    return kind(window=window, minimum_points=minimum)


def four(window=WINDOW, minimum=MINIMUM):
    return [made(name, window, minimum) for name in NAMES[:4]]


def five(window=WINDOW, minimum=MINIMUM):
    return [made(name, window, minimum) for name in NAMES]


def heavy_tailed(count, seed=7):
    random = np.random.default_rng(seed)
    return np.where(random.random(count) < 0.5, random.standard_t(2, count), random.lognormal(0, 1, count))


def said(scores):
    """The bits of all fields; NaN equals NaN."""
    return [np.asarray(field).tobytes() for field in scores]


def stepped(detector, values):
    return [detector.update(i, value) for i, value in enumerate(values)]


def same(online, batch):
    return said(np.array([[float(x) for x in row] for row in online]).reshape(-1, 4).T) == said(
        np.array([np.asarray(field, float) for field in batch])
    )


def past(values):
    """What pandas calls the rolling window, without the value itself."""
    return pd.Series(values).shift(1).rolling(WINDOW, min_periods=MINIMUM)


def by_pandas(name, values):
    """Centre, scale and limit in σ after the textbook formulas, by pandas."""
    series = pd.Series(values)
    if name == "z_score":
        return past(values).mean(), past(values).std(), 3.0
    if name == "iqr":
        first, third = past(values).quantile(0.25), past(values).quantile(0.75)
        return (first + third) / 2, (third - first) / (2 * NORMAL_QUARTILE), 2.6979590007845  # 4 x 0.6744897501961
    if name == "mad":
        mad = past(values).apply(lambda window: np.nanmedian(np.abs(window - np.nanmedian(window))), raw=True)
        return past(values).median(), mad / NORMAL_QUARTILE, 3.0
    average = series.ewm(alpha=0.1, adjust=False).mean().shift(1)
    residual = series - average
    variance = (residual**2).iloc[1:].ewm(alpha=0.1, adjust=False).mean().shift(1).reindex(series.index)
    centre = average.where(series.index >= MINIMUM)
    return centre, np.sqrt(variance).where(series.index >= MINIMUM), 3.0


@pytest.mark.parametrize("name", NAMES[:4])
@pytest.mark.parametrize("scale", [1.0, 1e-5, 3e7])
def test_distance_band_and_vote_are_those_of_pandas(name, scale):
    values = scale * (5 + heavy_tailed(1_000))
    scores = made(name).score(np.arange(len(values)), values)
    centre, deviation, limit = by_pandas(name, values)
    sigma = ((values - centre) / deviation).to_numpy()
    assert np.isnan(scores.sigma[:MINIMUM]).all()
    assert np.isfinite(scores.sigma[MINIMUM:]).all()
    np.testing.assert_allclose(scores.sigma, sigma, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(scores.expected_low, centre - limit * deviation, rtol=1e-9, atol=1e-9 * scale)
    np.testing.assert_allclose(scores.expected_high, centre + limit * deviation, rtol=1e-9, atol=1e-9 * scale)
    votes = np.where(sigma > limit, 1, np.where(sigma < -limit, -1, 0))
    assert scores.vote.tolist() == votes.tolist()
    assert 0 < np.abs(votes).sum() < 400


def test_tukeys_fences_are_the_band_of_the_quartiles():
    values = heavy_tailed(300)
    scores = InterQuartileRange().score(np.arange(300), values)
    first, third = past(values).quantile(0.25), past(values).quantile(0.75)
    np.testing.assert_allclose(scores.expected_low, first - 1.5 * (third - first), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(scores.expected_high, third + 1.5 * (third - first), rtol=1e-9, atol=1e-9)


def test_thresholds_are_native_and_beyond_them_is_a_vote():
    # Of 1…5: mean 3, deviation √2.5; quartiles 2 and 4; median 3, MAD 1.
    for detector, edge in [
        (ZScore(2.0, 5, 5), 3 + 2.0 * 2.5**0.5),
        (InterQuartileRange(0.5, 5, 5), 4 + 0.5 * 2),
        (MedianAbsoluteDeviation(2.0, 5, 5), 3 + 2.0 * 1 / NORMAL_QUARTILE),
    ]:
        detector.score(range(5), [1, 2, 3, 4, 5])
        state = detector.state()
        votes = []
        for value in (edge - 1e-6, edge + 1e-6, 6 - edge + 1e-6, 6 - edge - 1e-6):
            detector.restore(state)
            votes.append(detector.update(5, value).vote)
        assert votes == [0, 1, 0, -1], detector.name


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=15))
def test_the_median_distance_is_numpys_to_the_bit(numbers):
    ordered = np.sort(np.array(numbers, dtype=np.float64)) / 7
    centre = float(np.median(ordered))
    assert median_distance(ordered, centre) == np.median(np.abs(ordered - centre))


def test_a_value_does_not_look_at_itself():
    quiet = heavy_tailed(150)
    for value in (0.0, 1e6):
        for detector in four():
            detector.score(np.arange(150), quiet)
            band = detector.update(150, value)[1:3]
            other = type(detector)()
            other.score(np.arange(150), quiet)
            assert other.update(150, 3.0)[1:3] == band, detector.name


# Few distinct values make ties and collapsed scales; NaN and ∞ are no numbers; -0.0 equals 0.0.
VALUES = st.lists(
    st.one_of(
        st.sampled_from([0.0, -0.0, 1.0, 1.0, 1.5, float("nan"), float("inf"), float("-inf")]),
        st.floats(-1e9, 1e9, allow_subnormal=False),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(values=VALUES, cuts=st.lists(st.integers(0, 60), max_size=6), batches=st.integers(0, 63))
def test_any_cut_any_batch_any_restart_says_the_same_to_the_bit(values, cuts, batches):
    stops = sorted({min(cut, len(values)) for cut in cuts} | {0, len(values)})
    for whole in five(8, 3):
        cut = made(whole.name, 8, 3)
        expected = whole.score(np.arange(len(values)), values)
        online = []
        for number, (start, stop) in enumerate(pairwise(stops)):
            piece = values[start:stop]
            if batches >> number & 1:
                online += zip(*cut.score(range(start, stop), piece), strict=True)
            else:
                online += stepped(cut, piece)
            state = decode_state(encode_state(cut.state()))
            cut = made(whole.name, 8, 3)
            cut.restore(state)
        assert same(online, expected), whole.name
        assert encode_state(cut.state()) == encode_state(whole.state())


@settings(max_examples=40, deadline=None)
@given(values=VALUES, seen=st.integers(0, 60))
def test_what_comes_later_changes_nothing(values, seen):
    for prefix, whole in zip(five(8, 3), five(8, 3), strict=True):
        early = prefix.score(range(len(values[:seen])), values[:seen])
        late = whole.score(range(len(values)), values)
        assert said(early) == said([field[:seen] for field in late]), whole.name


@pytest.mark.parametrize("name", NAMES)
def test_online_is_batch_over_a_long_series(name):
    values = heavy_tailed(3_000)
    assert same(stepped(made(name), values.tolist()), made(name).score(np.arange(3_000), values))


def test_only_the_window_counts_whatever_came_before_it():
    values = heavy_tailed(400)
    for long, short in zip(four()[:3], four()[:3], strict=True):
        long.score(np.arange(400), values)
        short.score(np.arange(WINDOW), values[-WINDOW:])
        assert long.update(400, 2.5) == short.update(400, 2.5), long.name


@pytest.mark.parametrize("nothing", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_neither_judged_nor_remembered(nothing):
    values = heavy_tailed(120).tolist()
    for plain, disturbed in zip(five(), five(), strict=True):
        expected = stepped(plain, values)
        answers = stepped(disturbed, [x for value in values for x in (nothing, value)])
        assert repr(answers[1::2]) == repr(expected), plain.name
        assert {repr(answer) for answer in answers[::2]} == {repr(UNKNOWN)}


def test_a_restored_smaller_window_keeps_the_newest():
    values = heavy_tailed(250)
    large, small = ZScore(), ZScore(window=50)
    large.score(np.arange(250), values)
    small.restore(large.state())
    # The newest fifty: their mean and sample deviation.
    sigma = (9 - values[-50:].mean()) / values[-50:].std(ddof=1)
    assert small.update(250, 9.0).sigma == pytest.approx(sigma, rel=1e-12)


@pytest.mark.parametrize("constant", [0.1, -7.3, 0.0, 1e12])
def test_a_constant_series_is_as_expected_and_a_departure_is_as_far_off_as_can_be(constant):
    for detector in five():
        scores = detector.score(np.arange(200), np.full(200, constant))
        assert np.isnan(scores.sigma[:MINIMUM]).all()
        assert (scores.sigma[MINIMUM:] == 0).all(), detector.name
        assert not scores.vote.any()
        state = detector.state()
        assert detector.update(200, constant + 0.5) == Detection(100.0, constant, constant, 1), detector.name
        detector.restore(state)
        assert detector.update(200, constant - 0.5) == Detection(-100.0, constant, constant, -1), detector.name


def test_a_quantized_series_is_measured_by_its_standard_deviation():
    # Ninety ones and ten twos in a window of a hundred: quartiles and median 1, IQR and MAD 0.
    # Mean 1.1, squares 90 x 0.01 + 10 x 0.81 = 9, so the sample deviation is √(9 / 99).
    values = ([1.0] * 9 + [2.0]) * 10
    deviation = (9 / 99) ** 0.5
    z_score, quartiles, median, _ = four()
    for detector, centre in ((z_score, 1.1), (quartiles, 1.0), (median, 1.0)):
        detector.score(range(100), values)
        assert detector.update(100, 2.0).sigma == pytest.approx((2 - centre) / deviation, rel=1e-12), detector.name


def test_a_nearly_collapsed_scale_has_collapsed_too():
    # As the relative spread of one tick with a mid that moves a little, and some spreads of two ticks.
    wobble = np.tile([0.0, 1e-5, 2e-5, 3e-5], 25)
    values = 1 + wobble
    values[::10] = 2.0
    deviation = values.std(ddof=1)
    for detector in (InterQuartileRange(), MedianAbsoluteDeviation()):
        detector.score(range(100), values)
        assert detector.update(100, 2.0).sigma == pytest.approx(1 / deviation, rel=1e-3), detector.name
    # Without the twos the wobble is all there is, and is measured.
    detector = MedianAbsoluteDeviation()
    detector.score(range(100), 1 + wobble)
    # Median 1.5e-5, distances 1.5e-5 and 0.5e-5 half each: MAD 1e-5.
    assert detector.update(100, 1 + 6.5e-5).sigma == pytest.approx(5 * NORMAL_QUARTILE, rel=1e-6)


def test_distances_end_at_a_hundred():
    for detector in four():
        detector.score(np.arange(200), heavy_tailed(200))
        state = detector.state()
        assert detector.update(200, 1e9).sigma == 100.0
        detector.restore(state)
        assert detector.update(200, -1e9).sigma == -100.0


def test_lengths_must_agree():
    with pytest.raises(ValueError, match=r"times \(3,\) and values \(2,\)"):
        ZScore().score([1, 2, 3], [1.0, 2.0])
    with pytest.raises(ValueError, match="of one length"):
        EmaResidual().score([[1.0]], [[1.0]])


def test_nothing_is_said_of_nothing():
    for detector in five():
        assert [len(field) for field in detector.score([], [])] == [0, 0, 0, 0]
