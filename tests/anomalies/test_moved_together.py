import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from signal_assets.anomalies.moved_together import NewestPoints, rank_correlation
from signal_assets.anomalies.parameters import AnomalyParameters


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=40))
def test_the_correlation_is_scipys(pairs):
    first, second = np.array(pairs, dtype=np.float64).T
    found = rank_correlation(first, second, 3)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-12)


def test_only_the_newest_points_that_both_have_count():
    points = NewestPoints(4, window=10, minimum=5, least=0.6)
    random = np.random.default_rng(1)
    values = random.standard_normal((40, 4))
    values[:, 1] = np.exp(values[:, 0])  # the same order
    values[:30, 2] = values[:30, 0]  # together, but not lately
    values[30:, 3] = np.where(np.arange(10) < 6, np.nan, -values[30:, 0])  # four points are too few
    for row in values:
        points.push(row)
    expected = stats.spearmanr(values[-10:, 0], values[-10:, 2]).statistic
    assert abs(expected) < 0.6
    assert points.correlated(0, [1, 2, 3]) == {1: 1.0}


def test_the_strongest_comes_first():
    points = NewestPoints(4, window=6, minimum=3, least=0.1)
    for row in ([1, 1, -1, 2], [2, 2, -2, 1], [3, 4, -3, 4], [4, 3, -4, 3], [5, 5, -5, 6], [6, 6, -6, 5]):
        points.push(np.array(row, dtype=np.float64))
    # Σd² is 2 and 6 of 6 values: 1 - 6 Σd² / 210.
    assert points.correlated(0, [1, 2, 3]) == {2: -1.0, 1: round(1 - 12 / 210, 4), 3: round(1 - 36 / 210, 4)}


@given(length=st.integers(0, 25), cut=st.integers(0, 25))
def test_points_survive(length, cut):
    values = np.random.default_rng(length).standard_normal((length, 2))
    whole, points = NewestPoints(2, window=7, minimum=3, least=0.0), NewestPoints(2, window=7, minimum=3, least=0.0)
    for number, row in enumerate(values):
        if number == cut:
            again = NewestPoints(2, window=7, minimum=3, least=0.0)
            for series in (0, 1):
                again.restore(series, points.state(series))
            points = again
        whole.push(row)
        points.push(row)
    assert points.correlated(0, [1]) == whole.correlated(0, [1])
    np.testing.assert_array_equal(points.state(1), whole.state(1))


@pytest.mark.parametrize("wrong", [{"correlation_window": 3}, {"correlation_least": 1.1}, {"correlation_least": -0.1}])
def test_parameters_are_checked(wrong):
    with pytest.raises(ValueError, match="correlation_window"):
        AnomalyParameters(**wrong)
