from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_assets.aggregates.aggregation_quality import (
    AggregationQuality,
    aggregation_quality,
    depth_quality,
    exact_sums,
    limb_sums,
)
from signal_assets.aggregates.dollar_depth import aggregate_depth, dollar_depth_rows
from signal_assets.event_time import MINUTE
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from signal_assets.window import Window

BTC = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", SCALE // 100, 1000)


@given(st.lists(st.tuples(st.integers(0, 10**13), st.integers(1, 10**17)), min_size=1, max_size=30))
def test_price_accuracy_loss_is_the_weighted_mean_distance_from_the_floor(levels):
    price, quantity = np.array(levels, dtype=np.int64).T
    quality = aggregation_quality(price, quantity, SCALE, aggregate_depth(price, quantity, SCALE)[1])
    distance = sum(Fraction(q) * Fraction(p % SCALE, SCALE) for p, q in levels) / sum(q for _, q in levels)
    assert quality.price_accuracy_loss == pytest.approx(float(distance), rel=1e-15)
    assert quality.volume_is_preserved
    assert quality.compression_ratio == len(levels) / len({p // SCALE for p, _ in levels})


@given(
    st.lists(st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1)), max_size=30),
    st.one_of(st.integers(1, 2**62), st.sampled_from([SCALE, 10**10])),
)
def test_sums_beyond_int64_are_those_of_python_integers(levels, bucket_size):
    price, quantity = np.array(levels, dtype=np.int64).reshape(-1, 2).T
    expected = (sum(q for _, q in levels), sum(q * (p % bucket_size) for p, q in levels))
    assert exact_sums(price, quantity, bucket_size) == expected
    interpreted = limb_sums.py_func(price, quantity, bucket_size)
    np.testing.assert_array_equal(limb_sums(price, quantity, bucket_size), interpreted)


def test_a_loss_of_one_unit_in_ten_billion_coins_is_seen():
    quality = AggregationQuality(1, 1, 10**18, 10**18 - 1, 0)
    assert not quality.volume_is_preserved
    assert 0.999 < quality.volume_preservation < 1.0
    assert AggregationQuality(1, 1, 10**18, 10**18 + 1, 0).volume_preservation > 1.0
    assert AggregationQuality(0, 1, 0, 5, 0).volume_preservation == float("inf")
    assert AggregationQuality(1, 1, 10, 5, 0).volume_preservation == 0.5


def test_nothing_in_gives_neutral_figures():
    nothing = AggregationQuality(0, 0, 0, 0, 0)
    assert (nothing.compression_ratio, nothing.volume_preservation, nothing.price_accuracy_loss) == (0.0, 1.0, 0.0)
    assert nothing.coverage == 0.0


def test_quality_of_a_window_by_hand():
    frame = pd.DataFrame(
        {
            "instrument": [BTC.key, BTC.key],
            "event_time": [MINUTE, 2 * MINUTE],
            "coverage_low": [98 * SCALE, 97 * SCALE],
            "coverage_high": [105 * SCALE, 103 * SCALE],
        }
    )
    for side, price, quantity in (("bid", [99 * SCALE + SCALE // 2, 99 * SCALE], [3, 1]), ("ask", [101 * SCALE], [4])):
        frame[f"{side}_price"] = pd.Series([np.array(price)] * 2, dtype=object)
        frame[f"{side}_quantity"] = pd.Series([np.array(quantity)] * 2, dtype=object)
    rows = dollar_depth_rows(Window(0, 2 * MINUTE), [BTC], frame)
    quality = depth_quality([BTC, Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", 1, 1)], frame, rows)
    # Two snapshots of three levels in two buckets; 8 units each; 3 of 8 units lie 0.5 above their floor.
    assert quality == {
        BTC.key: AggregationQuality(
            6, 4, 16, 16, 2 * 3 * SCALE // 2, coverage_low=97 * SCALE, coverage_high=105 * SCALE
        )
    }
    assert quality[BTC.key].price_accuracy_loss == 0.5 * 3 / 8
    assert quality[BTC.key].coverage == 8.0
    assert not depth_quality([BTC], frame, rows.iloc[1:])[BTC.key].volume_is_preserved
