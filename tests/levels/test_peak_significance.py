from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from signal_assets.levels.peak_significance import FARTHEST, choose, discovery_limit, scores

CANDIDATES = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from([3, 5, 9]), st.floats(-6, 8)), min_size=1, max_size=9
).map(
    lambda rows: (
        np.array([row[0] for row in rows]),
        np.array([row[1] for row in rows]),
        np.array([row[2] for row in rows]),
    )
)


@given(CANDIDATES)
def test_the_chosen_set_is_the_best_of_all_sets_without_overlaps(rows):
    place, width, score = rows
    able = [i for i in range(len(place)) if score[i] >= -4]

    def apart(one, other):
        return abs(place[one] - place[other]) >= 0.6 * (width[one] + width[other]) - 1e-9

    best = 0.0
    for size in range(1, len(able) + 1):
        for subset in combinations(able, size):
            if all(apart(one, other) for one, other in combinations(subset, 2)):
                best = max(best, float(np.logaddexp(0, score[list(subset)]).sum()))
    kept = choose(place, width, score, 0.6, -4.0)
    assert float(np.logaddexp(0, score[kept]).sum()) == pytest.approx(best, abs=1e-9)
    assert all(apart(one, other) for one, other in combinations(kept.tolist(), 2))
    np.testing.assert_array_equal(kept, choose.py_func(place, width, score, 0.6, -4.0))


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=20).map(np.array), st.floats(0.01, 1))
def test_discoveries_are_scipys(p_value, rate):
    adjusted = stats.false_discovery_control(p_value)
    if (np.abs(adjusted - rate) < 1e-9).any():
        return
    limit = discovery_limit(p_value, len(p_value), rate)
    np.testing.assert_array_equal(p_value <= limit, adjusted <= rate)
    assert limit == discovery_limit.py_func(p_value, len(p_value), rate)


def test_tests_that_were_not_small_count_too():
    # Of 100 tests the two smallest p-values: 0.0009 ≤ 0.05 x 2 / 100, 0.0011 is not.
    assert discovery_limit(np.array([0.0009, 0.0004]), 100, 0.05) == 0.0009
    assert discovery_limit(np.array([0.0011, 0.0004]), 100, 0.05) == 0.0004
    assert discovery_limit(np.array([0.0011, 0.0006]), 100, 0.05) == -1
    assert discovery_limit(np.empty(0), 100, 0.05) == -1


def test_scores_by_hand():
    # Standardized (2, -1); 1 + 2·2 + 3·(-1) + 4·4 + 5·(-2) + 6·1 = 14.
    weights = np.array([1.0, 2, 3, 4, 5, 6])
    measured = np.array([[5.0, 1.0], [1e9, 1.0]])
    centre, scale = np.array([1.0, 2.0]), np.array([2.0, 1.0])
    found = scores(measured, centre, scale, weights)
    far = FARTHEST
    assert found.tolist() == [14, 1 + 2 * far - 3 + 4 * far * far - 5 * far + 6]
    np.testing.assert_array_equal(found, scores.py_func(measured, centre, scale, weights))
