import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from signal_assets.event_time import MINUTE
from signal_assets.fixed_point import SCALE
from signal_assets.levels import Clusters, Profile, cluster_peaks
from signal_assets.levels.price_zones import RESISTANCE, SUPPORT, Touches, count_entries, zone_sides, zone_volumes
from signal_assets.levels.profile import RollingTradeProfile


def integers(*values):
    return np.array(values, dtype=np.int64)


def zones_of(*ranges):
    low, high = np.array(ranges, dtype=np.int64).reshape(-1, 2).T
    return Clusters(low, high, np.ones(len(low)))


def trades_of(rows, look_back):
    minute, bucket = np.array(sorted(rows), dtype=np.int64).reshape(-1, 2).T
    return RollingTradeProfile(minute * MINUTE, bucket * SCALE, np.ones_like(minute), SCALE, look_back * MINUTE)


def test_a_distance_of_exactly_the_tolerance_joins_and_one_more_parts():
    zones = cluster_peaks(integers(100, 105, 111, 112), np.array([0.2, 0.1, 0.3, 0.4]), 5)
    assert (zones.low.tolist(), zones.high.tolist(), zones.confidence.tolist()) == ([100, 111], [105, 112], [0.2, 0.4])
    alone = cluster_peaks(integers(100, 101), np.array([0.2, 0.1]), 0)
    assert (alone.low.tolist(), alone.high.tolist()) == ([100, 101], [100, 101])
    assert len(cluster_peaks(integers(), np.empty(0), 5)) == 0


def test_the_volume_of_a_zone_is_that_of_all_its_buckets():
    profile = Profile(integers(99, 100, 103, 105, 106), integers(1, 2, 4, 8, 16))
    assert zone_volumes(profile, zones_of((100, 105), (106, 106), (101, 102))).tolist() == [14, 16, 0]


def test_sides_compare_twice_the_middle_with_bid_plus_ask():
    # Middles 101, 101.5 and 102 against a mid price of 101.5, in whole numbers throughout.
    sides = zone_sides(integers(100, 101, 101), integers(102, 102, 103), 101 + 102)
    assert sides.tolist() == [SUPPORT, RESISTANCE, RESISTANCE]


def test_touches_by_hand():
    # Zone 100…101. Minutes 1 and 2 inside (one touch), 3 only outside, 4 inside (two), 5 without trades,
    # 6 inside at both buckets – no traded minute lay between 4 and 6, so still two –, 7 outside, 8 inside (three).
    rows = [(1, 100), (2, 101), (2, 200), (3, 200), (4, 100), (6, 100), (6, 101), (7, 99), (8, 100)]
    touches = Touches(trades_of(rows, look_back=60))
    zone = zones_of((100, 101))
    assert touches.count(zone, 8 * MINUTE).tolist() == [3]
    assert touches.count(zone, 7 * MINUTE).tolist() == [2]
    # Minutes 2…6 only: the run 2 has lost its beginning and still counts once.
    assert Touches(trades_of(rows, look_back=5)).count(zone, 6 * MINUTE).tolist() == [2]
    assert touches.count(zones_of((150, 160), (200, 200)), 8 * MINUTE).tolist() == [0, 1]


@given(
    st.sets(st.tuples(st.integers(0, 20), st.integers(0, 12)), min_size=1, max_size=80),
    st.integers(1, 25),
    st.lists(st.integers(0, 25), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=1, max_size=4),
)
def test_touches_are_runs_of_traded_minutes_inside(rows, look_back, times, ranges):
    trades = trades_of(rows, look_back)
    touches = Touches(trades)
    zones = zones_of(*((low, low + width) for low, width in ranges))
    for time in times:
        expected = []
        for low, width in ranges:
            minutes = sorted({m for m, _ in rows if time - look_back < m <= time})
            inside = [any((m, b) in rows for b in range(low, low + width + 1)) for m in minutes]
            expected.append(sum(now and not before for before, now in zip([False, *inside], inside, strict=False)))
        assert touches.count(zones, time * MINUTE).tolist() == expected


def test_interpreted_and_compiled_counts_agree():
    # Two buckets: minutes 0, 1, 3 and 3, 5.
    arguments = (integers(0, 3, 5), integers(0, 1, 3, 3, 5), integers(0, 0), integers(2, 1), 0, 5)
    counted = count_entries(*arguments, np.zeros(6, np.int64), 1)
    np.testing.assert_array_equal(counted, count_entries.py_func(*arguments, np.zeros(6, np.int64), 1))
    assert counted.tolist() == [3, 2]
