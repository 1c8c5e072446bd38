import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_assets.levels.scale_space import (
    LONGEST_GAP,
    MEASURES,
    WIDTHS,
    candidates,
    compactness,
    falls_towards_the_ends,
    form,
    is_local_maximum,
    mean_between,
    measure_cut,
    measure_kept,
    noise_of_means,
    residuals,
    running_sum,
    sides_of,
    signed_root,
    spread_out,
)

ROWS = st.lists(st.floats(0, 1e6), min_size=1, max_size=80).map(np.array)
HELD = ROWS.filter(lambda row: row.max() > 0)


def test_gaps_are_written_out_and_long_ones_cut():
    row, place = spread_out(np.array([10, 12, 10**15]), np.array([1.0, 2.0, 3.0]))
    assert place.tolist() == [0, 2, 2 + LONGEST_GAP + 1]
    assert row.sum() == 6
    assert row[place].tolist() == [1, 2, 3]


def test_residuals_are_distances_in_the_noises_own_unit():
    # A level of 100 with Gaussian log noise of 0.5: residuals have deviation one, whatever the level and the noise.
    noise = np.random.default_rng(0).normal(0, 0.5, 4_000)
    cut, kept = residuals(100 * np.exp(noise))
    assert np.std(cut) == pytest.approx(1, abs=0.06)
    assert np.median(cut) == pytest.approx(0, abs=0.05)
    # Neither is cut off more than rarely, so they mostly agree.
    assert np.mean(cut == kept) > 0.98


def test_a_huge_order_weighs_five_and_a_strong_peak_keeps_its_form():
    row = np.exp(np.random.default_rng(1).normal(0, 0.3, 600))
    row[100] = 1e9
    row[300:320] *= 1e4
    cut, kept = residuals(row)
    assert cut.max() == 5
    assert kept[100] <= 5 + 1
    assert kept[304:316].min() > 20


@pytest.mark.parametrize("row", [[1.0, 1e-308, 1e-308], [5e-324, 5e-324], [1e308, 1.0, 1.0], [1e308, 1e308]])
def test_volumes_beyond_all_reason_give_finite_residuals(row):
    assert np.isfinite(residuals(np.array(row))).all()


def test_the_noise_of_means_is_one_for_white_noise_and_grows_with_autocorrelation():
    white = np.random.default_rng(2).normal(0, 1, 30_000)
    assert noise_of_means(running_sum(white)) == pytest.approx(1, abs=0.06)
    # Long means of a moving mean of three scatter √3 times as much as of white noise, means of nine a little less.
    moving = white[:-2] + white[1:-1] + white[2:]
    moving /= moving.std()
    assert 1.3 < noise_of_means(running_sum(moving)) < np.sqrt(3) + 0.05
    assert noise_of_means(np.zeros(40)) == 1


def test_compactness_by_hand():
    # Five buckets of 3 in the middle of 41 zeros. Width 5: core 3, sides (one bucket of gap, eight buckets) 0.
    row = np.zeros(41)
    row[18:23] = 3
    height = np.empty(41)
    places = compactness(running_sum(row), 5, 1.0, height)
    assert height[20] == 3
    assert height[0] == -9
    assert places == int((height > -9).sum()) > 0
    assert is_local_maximum(height, 20, 2)
    assert not is_local_maximum(height, 19, 2)


def test_sides_by_hand():
    # Core 20 ± 2, gap 1, sides of eight: left 9…16, right 24…31; further away 1…8 and 32…39.
    row = np.zeros(41)
    row[9:17], row[24:32], row[1:9], row[32:40] = 1, 2, 3, 4
    assert sides_of(running_sum(row), 20, 5) == (2, 4, 2)
    # Near the left end (core 0…4) there is no left side: the right one (6…13) stands for both.
    row[:] = 0
    row[6:14] = 5
    assert sides_of(running_sum(row), 2, 5) == (5, 0, 0)


def test_a_rise_that_ends_with_the_profile_is_no_candidate():
    rising = running_sum(np.arange(41.0))
    assert not falls_towards_the_ends(rising, 38, 5)
    assert falls_towards_the_ends(rising, 20, 5)
    assert not falls_towards_the_ends(running_sum(np.arange(41.0)[::-1]), 2, 5)


def test_form_by_hand():
    # Nine buckets 0 0 0 6 6 6 0 0 0: the middle third 6 above the outer ones, noise √(1/3 + 1/6) = √(1/2).
    row = np.array([0, 0, 0, 6, 6, 6, 0, 0, 0.0])
    measured = np.empty(2)
    assert form(running_sum(row), 4, 9, 1.0, -3.0, measured) == 2
    assert measured[0] == pytest.approx(np.sqrt(6 / np.sqrt(0.5)))
    # Lowest third 0, sides -3: 3 x √3 standard deviations.
    assert measured[1] == pytest.approx(np.sqrt(3 * np.sqrt(3)))


def test_signed_roots():
    assert [signed_root(value) for value in (9.0, 0.0, -4.0)] == [3, 0, -2]


@given(HELD)
def test_interpreted_and_compiled_steps_agree(row):
    one, other = residuals(row), residuals.py_func(row)
    # The two take log1p from different libraries, which differ in the last bit.
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)
    total = running_sum(one[0])
    np.testing.assert_array_equal(total, running_sum.py_func(one[0]))
    assert noise_of_means(total) == noise_of_means.py_func(total)
    assert mean_between(total, 0, len(row)) == mean_between.py_func(total, 0, len(row))
    assert mean_between(total, 1, 1) == mean_between.py_func(total, 1, 1) == 0
    for width in (3, 9):
        first, second = np.empty(len(row)), np.empty(len(row))
        assert compactness(total, width, 1.0, first) == compactness.py_func(total, width, 1.0, second)
        np.testing.assert_array_equal(first, second)
        for place in range(width // 2, len(row) - width // 2):
            assert is_local_maximum(first, place, 2) == is_local_maximum.py_func(first, place, 2)
            assert falls_towards_the_ends(total, place, width) == falls_towards_the_ends.py_func(total, place, width)
            assert sides_of(total, place, width) == sides_of.py_func(total, place, width)
            for step, size in ((measure_cut, 10), (measure_kept, 4)):
                ours, theirs = np.empty(size), np.empty(size)
                assert step(total, place, width, 1.0, ours) == step.py_func(total, place, width, 1.0, theirs) == size
                np.testing.assert_array_equal(ours, theirs)
    bucket = np.arange(len(row)) * 3
    for one, other in zip(spread_out(bucket, row), spread_out.py_func(bucket, row), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(candidates(row, WIDTHS), candidates.py_func(row, WIDTHS), strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_candidate_has_every_measure():
    row = np.exp(np.random.default_rng(3).normal(0, 1, 500))
    place, width, measured = candidates(row, WIDTHS)
    assert len(place) > 0
    assert set(width) <= set(WIDTHS.tolist())
    assert measured.shape == (len(place), len(MEASURES))
    assert np.isfinite(measured).all()
