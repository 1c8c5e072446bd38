import math

import numpy as np
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
from signal_assets.anomalies.statistical_ensemble import StatisticalEnsemble, StatisticalPanel
from signal_assets.anomalies.statistical_steps import combine
from signal_assets.machine import decode_state, encode_state

NAN = math.nan
SMALL = AnomalyParameters(
    window=8,
    minimum_points=3,
    z_score_threshold=2.0,
    iqr_threshold=1.0,
    mad_threshold=2.5,
    ema_threshold=1.5,
    ema_alpha=0.3,
)


def combined(detections, votes=2):
    """Of up to four; the others are silent."""
    four = [*detections, *[UNKNOWN] * (4 - len(detections))]
    return Detection(*combine(np.array(four, dtype=np.float64).ravel(), votes))


def members(parameters):
    window, minimum = parameters.window, parameters.minimum_points
    return [
        ZScore(parameters.z_score_threshold, window, minimum),
        InterQuartileRange(parameters.iqr_threshold, window, minimum),
        MedianAbsoluteDeviation(parameters.mad_threshold, window, minimum),
        EmaResidual(parameters.ema_threshold, parameters.ema_alpha, minimum),
    ]


def judgements(value):
    """What some detectors with made-up bands say of ``value``, some of them silent."""
    band = st.tuples(st.integers(-9, 9), st.integers(0, 9), st.integers(-40, 40))
    made = band.map(lambda b: Detection(b[2] / 10, b[0], b[0] + b[1], (value > b[0] + b[1]) - (value < b[0])))
    return st.lists(st.one_of(made, st.just(UNKNOWN)), min_size=1, max_size=4)


@given(st.integers(-12, 12).flatmap(lambda value: st.tuples(st.just(value), judgements(value))), st.integers(1, 4))
def test_the_distance_is_numpys_median_and_the_value_leaves_the_band_where_enough_vote(case, votes):
    value, said = case
    decided = combined(said, votes)
    saying = [detection for detection in said if not math.isnan(detection.sigma)]
    if not saying:
        assert repr(decided) == repr(UNKNOWN)
        return
    assert decided.sigma == np.median([detection.sigma for detection in saying])
    above = sum(detection.vote > 0 for detection in saying)
    below = sum(detection.vote < 0 for detection in saying)
    if len(saying) < votes:
        assert decided.vote == 0
        assert math.isnan(decided.expected_low)
        return
    assert (value > decided.expected_high) == (above >= votes)
    assert (value < decided.expected_low) == (below >= votes)
    assert decided.vote == (above >= votes and above > below) - (below >= votes and below > above)


def test_two_of_four_by_hand():
    # Distances 0.5, 2, 4, 5: median 3. Upper ends 9, 8, 3, 4: at 7 the last two vote; second lowest 4, second highest
    # lower end of -1, -3, -2, 0 is -1.
    said = [Detection(0.5, -1, 9, 0), Detection(2, -3, 8, 0), Detection(5, -2, 3, 1), Detection(4, 0, 4, 1)]
    assert combined(said) == Detection(3.0, -1.0, 4.0, 1)
    assert combined(said, votes=3) == Detection(3.0, -2.0, 8.0, 0)


def test_contradicting_votes_are_none():
    up, down = Detection(4.0, 0, 1, 1), Detection(-4.0, 3, 4, -1)
    assert combined([up, up, down, down]).vote == 0
    assert combined([up, up, down]).vote == 1
    assert combined([up, down, down], votes=1).vote == -1


def test_silent_members_are_left_out():
    loud = Detection(4.0, 0, 1, 1)
    assert combined([UNKNOWN, loud, UNKNOWN, loud]) == Detection(4.0, 0.0, 1.0, 1)
    alone = combined([UNKNOWN, loud, UNKNOWN, UNKNOWN])
    assert repr(alone) == repr(Detection(4.0, NAN, NAN, 0))


VALUES = st.lists(
    st.one_of(st.sampled_from([0.0, -0.0, 1.0, 1.0, 2.0, NAN, math.inf]), st.floats(-1e6, 1e6)), max_size=50
)


@settings(max_examples=60, deadline=None)
@given(values=VALUES, votes=st.integers(1, 4))
def test_its_members_say_what_they_say_alone(values, votes):
    parameters = AnomalyParameters(**{name: getattr(SMALL, name) for name in SMALL.__slots__} | {"votes": votes})
    panel, alone, ensemble = StatisticalPanel(1, parameters), members(parameters), StatisticalEnsemble(parameters)
    assert ensemble.threshold == votes
    for time, value in enumerate(values):
        said = [member.update(time, value) for member in alone]
        expected = [*said, combined(said, votes)]
        found = panel.update(np.array([value]))[0]
        assert repr([Detection(*row[:3], int(row[3])) for row in found.tolist()]) == repr(expected)
        assert repr(ensemble.update(time, value)) == repr(expected[-1])


@settings(max_examples=40, deadline=None)
@given(st.lists(VALUES, min_size=3, max_size=3), st.integers(0, 50))
def test_series_of_a_panel_know_nothing_of_each_other(series, cut):
    length = max(map(len, series))
    panel, alone = StatisticalPanel(3, SMALL), [StatisticalPanel(1, SMALL) for _ in series]
    for time in range(length):
        if time == cut:
            states = [decode_state(encode_state(panel.state(i))) for i in range(3)]
            panel = StatisticalPanel(3, SMALL)
            for i in (2, 0, 1):
                panel.restore(i, states[i])
        # A series that has ended has no value any more.
        values = np.array([one[time] if time < len(one) else NAN for one in series])
        found = panel.update(values)
        for i in range(3):
            np.testing.assert_array_equal(found[i], alone[i].score(0, values[i : i + 1])[0])
    assert [encode_state(panel.state(i)) for i in range(3)] == [encode_state(one.state(0)) for one in alone]


def test_a_spike_in_noise_is_seen():
    values = np.random.default_rng(5).normal(size=500)
    ensemble = StatisticalEnsemble(AnomalyParameters())
    ensemble.score(range(500), values)
    decided = ensemble.update(500, 8.0)
    assert decided.vote == 1
    # Of the true deviation 1 it is 8; a hundred values know that deviation to about a tenth.
    assert decided.sigma == pytest.approx(8, rel=0.2)
    assert -4 < decided.expected_low < -2 < 2 < decided.expected_high < 4
