import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_assets.levels.profile import Profile
from signal_assets.levels.volume_nodes import find_volume_nodes


def profile_of(volumes, first=100):
    rows = [(first + i, volume) for i, volume in enumerate(volumes) if volume]
    return Profile(*np.array(rows, dtype=np.int64).reshape(-1, 2).T)


def ranges(nodes):
    return [(node.low, node.high, node.volume) for node in nodes]


@pytest.mark.parametrize(
    ("volumes", "high", "low"),
    [
        # Ten rows in order 1 2 3 4 5 6 7 8 9 10: the 8th is 8, the 2nd is 2. The ends 100 and 109 are not low.
        ([1, 9, 10, 3, 2, 4, 5, 8, 7, 6], [(101, 102, 19), (107, 107, 8)], [(104, 104, 2)]),
        # Five rows 0 0 1 7 9: the 4th is 7, the 1st is 0. The two empty rows are one node.
        ([7, 0, 0, 9, 1], [(100, 100, 7), (103, 103, 9)], [(101, 102, 0)]),
        # One row: the 80th and the 20th percentile are the same, so nothing is low.
        ([5], [(100, 100, 5)], []),
        # All equal: all high, none low.
        ([4, 4, 4], [(100, 102, 12)], []),
        ([], [], []),
    ],
)
def test_golden_cases_computed_by_hand(volumes, high, low):
    found = find_volume_nodes(profile_of(volumes))
    assert tuple(map(ranges, found)) == (high, low)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30).filter(any))
def test_nodes_are_what_the_definition_says_row_by_row(volumes):
    while not volumes[0]:
        volumes = volumes[1:]
    while not volumes[-1]:
        volumes = volumes[:-1]
    ordered = sorted(volumes)
    high_limit, low_limit = (ordered[math.ceil(percent * len(volumes) / 100) - 1] for percent in (80, 20))
    high, low = find_volume_nodes(profile_of(volumes))
    in_high = {row for node in high for row in range(node.low, node.high + 1)}
    assert in_high == {100 + i for i, volume in enumerate(volumes) if volume >= high_limit and volume}
    in_low = {row for node in low for row in range(node.low, node.high + 1)}
    everywhere = {100 + i for i, volume in enumerate(volumes) if volume <= low_limit and volume < high_limit}
    # Runs that reach an end are left out whole.
    for end, step in ((100, 1), (99 + len(volumes), -1)):
        while end in everywhere:
            everywhere.discard(end)
            end += step
    assert in_low == everywhere
    assert all(node.volume == sum(volumes[node.low - 100 : node.high - 99]) for node in (*high, *low))


def test_an_absurdly_wide_profile_takes_no_memory():
    high, low = find_volume_nodes(Profile(np.array([0, 1, 10**15]), np.array([60, 50, 40])))
    # Nearly all rows are empty, so both percentiles are 0: every row with volume is high, and none is low.
    assert ranges(high) == [(0, 1, 110), (10**15, 10**15, 40)]
    assert low == ()
