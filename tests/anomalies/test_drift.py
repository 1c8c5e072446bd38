from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from signal_assets.anomalies.drift import DriftPanel
from signal_assets.anomalies.drift_steps import (
    compare,
    complete_reference,
    independent_values,
    kolmogorov_tail,
    largest_gap,
)
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.machine import decode_state, encode_state

PARAMETERS = AnomalyParameters()
SMALL = replace(PARAMETERS, drift_reference=12, drift_recent=8, drift_every=3, drift_probability=0.02)
NUMBERS = st.lists(st.integers(-4, 4).map(float), min_size=2, max_size=40).map(np.array)


@given(first=NUMBERS, second=NUMBERS)
def test_the_gap_is_scipys(first, second):
    expected = stats.ks_2samp(first, second, method="asymp").statistic
    assert largest_gap(np.sort(first), np.sort(second)) == pytest.approx(expected, abs=1e-15)


@given(distance=st.floats(0, 6))
def test_the_tail_is_scipys(distance):
    assert kolmogorov_tail(distance) == pytest.approx(special.kolmogorov(distance), rel=1e-12, abs=1e-12)


@given(sample=NUMBERS)
def test_the_worth_of_a_sample_is_that_of_its_ranks(sample):
    ranks = stats.rankdata(sample) - (len(sample) + 1) / 2
    squares = float((ranks * ranks).sum())
    correlation = max(float((ranks[1:] * ranks[:-1]).sum()) / squares, 0.0) if squares else 0.0
    expected = len(sample) * max((1 - correlation) / (1 + correlation), 1e-3)
    assert independent_values(sample, np.sort(sample)) == pytest.approx(expected, rel=1e-12)


def test_independent_samples_have_scipys_probability():
    # Alternating values are worth all of them (ρ < 0), so nothing is taken off.
    reference = np.array([0.0, 9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0] * 3)
    recent = np.array([6.0, 15.0, 7.0, 14.0, 8.0, 13.0, 9.0, 12.0, 10.0, 11.0])
    memory = np.concatenate(([40.0, 0.0], reference, np.zeros(30), recent))
    assert complete_reference(memory, 30) == 30
    gap, probability = compare(memory, 30)
    assert gap == pytest.approx(0.6)  # below 6 lie 18 of 30, and none of the recent ones
    assert probability == pytest.approx(special.kolmogorov(0.6 * np.sqrt(30 * 10 / 40)), rel=1e-12)


def found_in(values, parameters=PARAMETERS, names=None):
    """Places at which each series drifts; ``values`` are (times, series)."""
    panel = DriftPanel(names or [f"s{i}" for i in range(values.shape[1])], parameters)
    found = [[] for _ in range(values.shape[1])]
    for at, row in enumerate(values):
        for drift in panel.update(row):
            found[drift.number].append((at, drift))
    return found


def test_what_stays_as_it_is_does_not_drift_even_if_it_wanders():
    random = np.random.default_rng(1)
    noise = random.standard_normal((4_000, 20))
    wandering = noise.copy()
    for at in range(1, len(noise)):
        wandering[at] += 0.9 * wandering[at - 1]
    constant = np.full((4_000, 1), 5.0)
    coarse = np.round(noise[:, :5])
    assert sum(map(len, found_in(np.hstack([noise, wandering, constant, coarse])))) == 0


def test_shifts_and_widths_are_found_once_as_rivers_detectors_find_them():
    river_drift = pytest.importorskip("river.drift")
    random = np.random.default_rng(2)
    values = random.standard_normal((4_000, 20))
    values[2_000:, :10] += 1.5
    values[2_000:, 10:] *= 4
    for number, found in enumerate(found_in(values)):
        (at, drift), *more = found
        assert more == []
        assert 2_000 <= at < 2_000 + PARAMETERS.drift_recent + PARAMETERS.drift_every
        assert drift.median_before == pytest.approx(0, abs=0.2)
        if number < 10:
            assert drift.median_after > 0.5  # found while some of the recent values are old ones
            # ADWIN cuts such a shift too, and nothing before it.
            adwin, cuts = river_drift.ADWIN(delta=1e-6), []
            for place, value in enumerate(values[: at + 1, number].tolist()):
                adwin.update(value)
                if adwin.drift_detected:
                    cuts.append(place)
            assert cuts
            assert all(cut >= 2_000 for cut in cuts)
        else:
            assert drift.width_after > 2 * drift.width_before


def test_a_slow_drift_is_found_although_every_value_is_near_the_last():
    # Two standard deviations in 1,000 values: no detector that looks at the last hundred finds a value off.
    random = np.random.default_rng(3)
    values = random.standard_normal((4_000, 10)) + np.clip((np.arange(4_000)[:, None] - 1_500) / 500, 0, 2)
    for found in found_in(values):
        assert 1_500 <= found[0][0] < 2_500


def test_a_lasting_change_begins_a_reference():
    random = np.random.default_rng(4)
    values = random.standard_normal((6_000, 1))
    values[2_000:4_000] += 2.0
    (found,) = found_in(values)
    assert len(found) == 2
    assert found[0][1].median_before == pytest.approx(0, abs=0.2)
    assert found[1][1].median_before == pytest.approx(2, abs=0.2)
    assert found[1][1].median_after == pytest.approx(0, abs=0.6)


def test_what_is_no_number_is_passed_over():
    random = np.random.default_rng(5)
    values = random.standard_normal(3_000)
    values[1_500:] += 2.0
    with_gaps = np.insert(values, np.arange(0, 3_000, 7), np.nan)
    with_gaps[50:50] = np.inf
    plain, gappy = (found_in(one[:, None], names=["s"])[0] for one in (values, with_gaps))
    assert [drift for _, drift in plain] == [drift for _, drift in gappy]
    assert len(plain) == 1


VALUES = st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.5, 3.0, 9.0, float("nan")]), max_size=90)


@settings(deadline=None)
@given(values=VALUES, cuts=st.sets(st.integers(0, 90), max_size=5), later=st.integers(0, 90))
def test_any_restart_any_prefix_and_any_company_give_the_same(values, cuts, later):
    alone = DriftPanel(["a"], SMALL)
    expected = [alone.update(np.array([value])) for value in values]
    panel = DriftPanel(["x", "a"], SMALL)
    found = []
    for number, value in enumerate(values):
        if number in cuts:
            text = encode_state({"a": panel.state(1)})
            panel = DriftPanel(["x", "a"], SMALL)
            panel.restore(1, decode_state(text)["a"])
        found.append([drift._replace(number=0) for drift in panel.update(np.array([np.nan, value]))])
    assert repr(found) == repr(expected)
    assert encode_state(panel.state(1)) == encode_state(alone.state(0))
    prefix = DriftPanel(["a"], SMALL)
    assert repr([prefix.update(np.array([value])) for value in values[:later]]) == repr(expected[:later])


def test_samples_of_other_sizes_begin_anew():
    panel = DriftPanel(["a"], SMALL)
    for value in range(30):
        panel.update(np.array([float(value % 5)]))
    other = DriftPanel(["a"], replace(SMALL, drift_recent=6))
    other.restore(0, panel.state(0))
    assert other.state(0)["seen"] == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"drift_recent": 721}, "drift_recent must lie in 2…drift_reference"),
        ({"drift_recent": 1}, "drift_recent"),
        ({"drift_every": 0}, "drift_every must be positive"),
        ({"drift_probability": 0}, "drift_probability"),
        ({"drift_probability": 1}, "drift_probability"),
    ],
)
def test_parameters_are_checked(wrong, message):
    with pytest.raises(ValueError, match=message):
        AnomalyParameters(**wrong)
