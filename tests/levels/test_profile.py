import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_assets.event_time import MINUTE
from signal_assets.fixed_point import SCALE, FixedPointError
from signal_assets.levels import depth_profile, trade_profile
from signal_assets.levels.profile import RollingTradeProfile, add_rows

ROWS = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from([0, 1, 2, 5, 9, 10**9]), st.integers(0, 5), st.integers(0, 5)),
    max_size=60,
    unique_by=lambda row: row[:2],
).map(sorted)


def frame_of(rows):
    minute, bucket, bought, sold = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return pd.DataFrame(
        {
            "minute": minute * MINUTE,
            "price_bucket": bucket * SCALE,
            "buy_quantity": bought,
            "sell_quantity": sold,
        }
    )


@given(ROWS, st.integers(1, 12), st.lists(st.integers(0, 50), min_size=1, max_size=8).map(sorted))
def test_the_rolling_profile_is_the_one_summed_afresh_at_any_times(rows, look_back, times):
    frame = frame_of(rows)
    rolling = RollingTradeProfile(
        frame["minute"].to_numpy(),
        frame["price_bucket"].to_numpy(),
        (frame["buy_quantity"] + frame["sell_quantity"]).to_numpy(),
        SCALE,
        look_back * MINUTE,
    )
    for time in times:
        expected = {}
        for minute, bucket, bought, sold in rows:
            if time - look_back < minute <= time and bought + sold:
                expected[bucket] = expected.get(bucket, 0) + bought + sold
        for profile in (rolling.at(time * MINUTE), trade_profile(frame, SCALE, time * MINUTE, look_back * MINUTE)):
            assert profile.bucket.tolist() == sorted(expected)
            assert profile.volume.tolist() == [expected[bucket] for bucket in sorted(expected)]


def test_a_depth_profile_adds_both_sides_and_leaves_empty_buckets_out():
    edges = np.array([101, 102, 100, 101, 105]) * SCALE
    profile = depth_profile(edges, np.array([1, 2, 3, 4, 0]), SCALE)
    assert profile.bucket.tolist() == [100, 101, 102]
    assert profile.volume.tolist() == [3, 5, 2]
    assert profile.total == 10
    assert len(profile) == 3
    assert profile.base_volume.tolist() == [3e-8, 5e-8, 2e-8]


def test_a_volume_beyond_int64_is_refused():
    half = np.array([2**62, 2**62])
    rolling = RollingTradeProfile(np.array([MINUTE, MINUTE]), np.array([0, 0]), half, SCALE, MINUTE)
    with pytest.raises(FixedPointError, match="beyond int64"):
        rolling.at(MINUTE)


def test_interpreted_and_compiled_additions_agree():
    one, other = np.array([5, 0]), np.array([5, 0])
    arguments = np.array([0, 1, 0]), np.array([2, 3, 4])
    assert add_rows(one, *arguments, -1) is False
    assert add_rows.py_func(other, *arguments, -1) is False
    np.testing.assert_array_equal(one, other)
    assert one.tolist() == [-1, -3]
