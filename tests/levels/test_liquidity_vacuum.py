from collections import Counter
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_assets.levels.liquidity_vacuum import find_vacuums


def side(first, quantities):
    rows = quantities.items() if isinstance(quantities, dict) else enumerate(quantities, first)
    held = [(bucket, quantity) for bucket, quantity in rows if quantity]
    return tuple(np.array(held, dtype=np.int64).reshape(-1, 2).T)


def found(bids, asks, coverage, size=1):
    return [(zone.low, zone.high, zone.quantity, zone.side) for zone in find_vacuums(bids, asks, size, coverage)]


@pytest.mark.parametrize(
    ("bids", "asks", "coverage", "expected"),
    [
        # Median of 90…94 and 100…104 is 20, a tenth is 2: 1 < 2 is one, 2 is not less. 95…99 is the spread.
        ([20, 1, 20, 20, 2], [20, 20, 1, 0, 20], (90, 104), [(91, 92, 1, "support"), (102, 104, 1, "resistance")]),
        # Median of ten values 10 and 11 in the middle: 10.5; a tenth is 1.05: 1 is less.
        ([10, 10, 10, 10, 1], [11, 11, 11, 11, 11], (90, 104), [(94, 95, 1, "support")]),
        # Coverage ends at 92 and 102: 90 and 104 may hold anything. What is known: 20 20 2 | 20 20 1.
        ([1, 1, 20, 20, 2], [20, 20, 1, 0, 20], (92, 102), [(102, 103, 1, "resistance")]),
        # Coverage wider than the levels: the buckets 88 and 89 are known to be empty.
        ([20, 20, 20, 20, 20], [20, 20, 20, 20, 20], (88, 104), [(88, 90, 0, "support")]),
        # Half of the buckets are empty: the median is 0 and nothing is less than a tenth of it.
        ([20, 0, 0, 0, 20], [20, 0, 0, 0, 20], (90, 104), []),
        ([20, 20, 20], [], (90, 92), []),
        # The bucket 94 holds 1 of the bids and 19 of the asks: 20.
        ([20, 20, 20, 20, 1], {94: 19, 95: 20, 96: 1, 97: 20}, (90, 97), [(96, 97, 1, "resistance")]),
        ([], [20, 0, 20], (100, 102), [(101, 102, 0, "resistance")]),
    ],
)
def test_golden_cases_computed_by_hand(bids, asks, coverage, expected):
    assert found(side(90, bids), side(100, asks), coverage) == expected


def test_a_bucket_counts_only_where_the_whole_of_it_is_covered():
    bids, asks = side(0, []), (np.array([100, 110, 130]), np.array([50, 50, 50]))
    # Buckets of 10. Coverage up to 129: 120…129 is whole and empty. Up to 128 the last unit of it is unknown.
    assert found(bids, asks, (100, 129), 10) == [(120, 130, 0, "resistance")]
    assert found(bids, asks, (100, 128), 10) == []
    # From 91 on the bucket 90 is not whole; from 90 on it is, and empty.
    assert (90, 100, 0, "resistance") in found(bids, asks, (90, 129), 10)
    assert found(bids, asks, (91, 129), 10) == [(120, 130, 0, "resistance")]


QUANTITIES = st.lists(st.sampled_from([0, 1, 2, 5, 10, 30, 50, 100]), min_size=1, max_size=12)


@given(QUANTITIES, QUANTITIES, st.integers(-3, 14), st.integers(-3, 14), st.integers(49, 52))
def test_vacuums_are_what_the_definition_says_bucket_by_bucket(bids, asks, below, above, first_ask):
    low, high = 50 - below, 50 + above
    bid, ask = side(50 - len(bids), bids), side(first_ask, asks)
    held = Counter(dict(zip(*(column.tolist() for column in bid), strict=True)))
    held.update(dict(zip(*(column.tolist() for column in ask), strict=True)))
    spread = range(bid[0].max() + 1, ask[0].min()) if len(bid[0]) and len(ask[0]) else range(0)
    covered = [bucket for bucket in range(low, high + 1) if bucket not in spread]
    expected = set()
    if covered:
        middle = median(held.get(bucket, 0) for bucket in covered)
        expected = {bucket for bucket in covered if 10 * held.get(bucket, 0) < middle}
    zones = find_vacuums(bid, ask, 1, (low, high))
    assert {bucket for zone in zones for bucket in range(zone.low, zone.high)} == expected
    for zone in zones:
        assert low <= zone.low < zone.high <= high + 1
        assert zone.quantity == sum(held.get(bucket, 0) for bucket in range(zone.low, zone.high))


def test_an_absurdly_distant_order_takes_no_memory():
    asks = np.array([100, 101, 10**15]), np.array([5, 5, 5])
    assert find_vacuums(side(0, []), asks, 1, (100, 10**15)) == ()
