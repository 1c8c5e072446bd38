import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_assets.fixed_point import FixedPointError
from signal_assets.levels import Profile, ValueArea, find_value_area
from signal_assets.levels.value_area import expand, point_of_control

PROFILES = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 12)), min_size=1, max_size=25)


def profile_of(volumes, first=100):
    rows = [(first + i, volume) for i, volume in enumerate(volumes) if volume]
    return Profile(*np.array(rows, dtype=np.int64).T)


@pytest.mark.parametrize(
    ("volumes", "expansion", "expected"),
    [
        # Total 100, target 70. Control 102 (40). Above 25 > below 20: 65. Above 5 < below 20: 85.
        ([10, 20, 40, 25, 5], "one_row", ValueArea(102, 101, 103, 85, 100)),
        # Pairs: above 25 + 5 = 30, below 20 + 10 = 30: a tie, the upper pair: 70 is reached.
        ([10, 20, 40, 25, 5], "two_row", ValueArea(102, 102, 104, 70, 100)),
        # Two rows of 30: 102 is the middle of the range. Total 80, target 56.
        # Above 10 > below 5: 40. 5 = 5, upper: 45. Nothing above: 5 below: 50. 30 below: 80.
        ([30, 5, 30, 10, 5], "one_row", ValueArea(102, 100, 104, 80, 80)),
        # Pairs: above 10 + 5 = 15, below 5 + 30 = 35: 65.
        ([30, 5, 30, 10, 5], "two_row", ValueArea(102, 100, 102, 65, 80)),
        # Two rows of 20, both one from the middle: the lower one, 101. Total 61, target 42.7, so 43.
        # Below 10 > above 1: 30. Nothing below: 1: 31. 20: 51.
        ([10, 20, 1, 20, 10], "one_row", ValueArea(101, 100, 103, 51, 61)),
        # Above 1 + 20 = 21, below the single 10: 41. Above the single 10, below 10: a tie, upper: 51.
        ([10, 20, 1, 20, 10], "two_row", ValueArea(101, 101, 104, 51, 61)),
        # Empty rows on both sides: ties go up, row by row, until 105 (30): 70 of 100. 105 is the single row left of
        # the third pair (101, 102), (103, 104), (105).
        ([30, 0, 0, 0, 0, 40, 0, 0, 0, 0, 30], "one_row", ValueArea(105, 105, 110, 70, 100)),
        ([30, 0, 0, 0, 0, 40, 0, 0, 0, 0, 30], "two_row", ValueArea(105, 105, 110, 70, 100)),
        # A pair is added whole, with its empty row: 40, above 0 + 5 < below 0 + 30: low is 100.
        ([30, 0, 40, 0, 5, 25], "two_row", ValueArea(102, 100, 102, 70, 100)),
        ([7], "one_row", ValueArea(100, 100, 100, 7, 7)),
        ([7], "two_row", ValueArea(100, 100, 100, 7, 7)),
    ],
)
def test_golden_cases_computed_by_hand(volumes, expansion, expected):
    assert find_value_area(profile_of(volumes), expansion) == expected


def row_by_row(dense, rows, percent):
    """The rules of the module, on the written-out rows."""
    middle = (len(dense) - 1) / 2
    start = min(range(len(dense)), key=lambda i: (-dense[i], abs(i - middle), i))
    low = high = start
    inside = dense[start]
    while inside * 100 < sum(dense) * percent:
        above, below = dense[high + 1 : high + 1 + rows], dense[max(low - rows, 0) : low]
        if above and (not below or sum(above) >= sum(below)):
            high += len(above)
            inside += sum(above)
        else:
            low -= len(below)
            inside += sum(below)
    return start, low, high, inside


@given(PROFILES, st.sampled_from(["one_row", "two_row"]), st.integers(1, 100))
def test_passing_empty_rows_at_once_is_the_row_by_row_expansion(steps, expansion, percent):
    buckets = np.cumsum([step for step, _ in steps]).astype(np.int64)
    volumes = np.array([volume for _, volume in steps], dtype=np.int64)
    dense = [0] * int(buckets[-1] - buckets[0] + 1)
    for bucket, volume in zip(buckets, volumes, strict=True):
        dense[bucket - buckets[0]] = int(volume)
    rows = 1 if expansion == "one_row" else 2
    expected = row_by_row(dense, rows, percent)
    area = find_value_area(Profile(buckets, volumes), expansion, percent)
    first = int(buckets[0])
    assert (area.point_of_control - first, area.low - first, area.high - first, area.volume) == expected
    start = point_of_control.py_func(buckets, volumes)
    target = -(-sum(dense) * percent // 100)
    assert start == point_of_control(buckets, volumes)
    assert expand.py_func(buckets, volumes, start, rows, target) == expand(buckets, volumes, start, rows, target)


def test_an_absurdly_wide_profile_takes_no_time_and_no_memory():
    profile = Profile(np.array([0, 10**15]), np.array([60, 40]))
    assert find_value_area(profile, "one_row") == ValueArea(0, 0, 10**15, 100, 100)
    assert find_value_area(profile, "two_row") == ValueArea(0, 0, 10**15, 100, 100)


def test_what_has_no_value_area():
    nothing = np.empty(0, np.int64)
    with pytest.raises(ValueError, match="empty profile"):
        find_value_area(Profile(nothing, nothing), "one_row")
    with pytest.raises(FixedPointError, match="beyond int64"):
        find_value_area(profile_of([2**62, 2**62]), "one_row")
