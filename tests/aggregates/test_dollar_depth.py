import csv
import gzip
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_assets.aggregates.dollar_depth import aggregate_depth, bucket_sums, dollar_depth_rows
from signal_assets.aggregates.tables import DOLLAR_DEPTH
from signal_assets.event_time import DAY, MINUTE
from signal_assets.fixed_point import SCALE, FixedPointError, parse_fixed
from signal_assets.instrument import Instrument
from signal_assets.window import Window

LEVELS = st.lists(
    st.tuples(
        st.one_of(
            st.integers(0, 10**12),
            st.integers(60_000 * SCALE, 60_010 * SCALE),
            st.sampled_from([0, 10**17, 9 * 10**18]),
        ),
        st.integers(0, 10**15),
    ),
    max_size=60,
)
BTC = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", SCALE // 100, 1000)
ETH = Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", SCALE // 100, 1000, bucket_size=2_000_000)


def summed_by_python(levels, bucket_size):
    sums, counts = defaultdict(int), defaultdict(int)
    for price, quantity in levels:
        bucket = price // bucket_size * bucket_size
        sums[bucket] += quantity
        counts[bucket] += 1
    ordered = sorted(sums)
    return ordered, [sums[b] for b in ordered], [counts[b] for b in ordered]


@given(LEVELS, st.sampled_from([1, 7, 1000, SCALE, 5 * SCALE]), st.randoms(use_true_random=False))
def test_sums_are_those_of_python_integers_in_any_order(levels, bucket_size, random):
    expected = summed_by_python(levels, bucket_size)
    random.shuffle(levels)
    price, quantity = np.array(levels, dtype=np.int64).reshape(-1, 2).T
    bucket, total, count = aggregate_depth(price, quantity, bucket_size)
    assert (bucket.tolist(), total.tolist(), count.tolist()) == expected
    assert sum(total.tolist()) == sum(quantity.tolist())
    interpreted = bucket_sums.py_func(price, quantity, bucket_size)
    for compiled_array, interpreted_array in zip((bucket // bucket_size, total, count), interpreted, strict=False):
        np.testing.assert_array_equal(compiled_array, interpreted_array)


def test_read_only_and_strided_arrays_are_taken():
    levels = np.array([[100, 1], [101, 2]], dtype=np.int64)
    levels.setflags(write=False)
    assert aggregate_depth(levels[:, 0], levels[:, 1], 10)[1].tolist() == [3]


@pytest.mark.parametrize(
    ("price", "quantity", "bucket_size", "message"),
    [
        ([1], [-1], 1, "negative"),
        ([1, 1], [2**62, 2**62], 1, "beyond int64"),
        ([1, 1, 10**15, 10**15], [1, 1, 2**62, 2**62], 1, "beyond int64"),
        ([1.5], [1], 1, "integers"),
        ([1, 2], [1], 1, "2 prices and 1 quantities"),
        ([1], [1], 0, "bucket_size must be a positive integer in units of 1e-8, not 0"),
        ([1], [1], 1.5, "bucket_size must be a positive integer in units of 1e-8, not 1.5"),
        ([1, 2, 3], [1, 2, -3], 1, r"negative: quantity\[2\] is -3"),
        (np.array([2**63], np.uint64), [1], 1, "price is beyond int64"),
        ([[1]], [[1]], 1, "one-dimensional"),
    ],
)
def test_bad_levels_are_refused_with_one_clear_line(price, quantity, bucket_size, message):
    with pytest.raises(ValueError, match=message):
        aggregate_depth(price, quantity, bucket_size)


def test_the_status_of_bad_levels_is_the_same_interpreted():
    none = np.array([1, 1], dtype=np.int64)
    assert bucket_sums.py_func(none, np.array([-1, 0]), 1)[3] == 1
    assert bucket_sums(none, np.array([-1, 0]), 1)[3] == 1
    with np.errstate(over="ignore"):
        assert bucket_sums.py_func(none, np.array([2**62, 2**62]), 1)[3] == 2
        assert bucket_sums.py_func(np.array([1, 1, 10**15]), np.array([2**62, 2**62, 1]), 1)[3] == 2


def test_a_real_book_of_five_thousand_levels_a_side(shared_data: Path):
    sides = {"0": ([], []), "1": ([], [])}
    with gzip.open(
        shared_data / "depth5000_btcusdt" / "btcusdt_depth_5000_20250414T000000Z.csv.gz", "rt", encoding="ascii"
    ) as lines:
        for row in csv.DictReader(lines):
            sides[row["IsAsk"]][0].append(parse_fixed(row["Price"]))
            sides[row["IsAsk"]][1].append(parse_fixed(row["Quantity"]))
    sizes = {}
    for side, (price, quantity) in sides.items():
        assert len(price) == 5_000
        bucket, total, count = aggregate_depth(price, quantity, SCALE)
        assert sum(total.tolist()) == sum(quantity)
        assert int(count.sum()) == 5_000
        assert (bucket.tolist(), total.tolist(), count.tolist()) == summed_by_python(
            zip(price, quantity, strict=True), SCALE
        )
        sizes[side] = len(bucket)
    # The figures that issue 5 names: 1,050 and 974 dollar levels.
    assert sorted(sizes.values()) == [974, 1050]


def snapshots(*rows):
    columns = ["instrument", "event_time", "bid_price", "bid_quantity", "ask_price", "ask_quantity"]
    frame = pd.DataFrame(rows, columns=columns)
    for column in columns[2:]:
        frame[column] = pd.Series([np.array(values, dtype=np.int64) for values in frame[column]], dtype=object)
    return frame


def test_rows_of_a_window_by_hand():
    start = 20_000 * DAY
    frame = snapshots(
        (BTC.key, start, [SCALE], [1], [2 * SCALE], [1]),  # at the window's start: belongs to the window before
        (
            BTC.key,
            start + MINUTE,
            [100 * SCALE + 50, 100 * SCALE, 99 * SCALE],
            [5, 6, 7],
            [100 * SCALE + 60, 101 * SCALE + 1],
            [8, 9],
        ),
        (BTC.key, start + 2 * MINUTE, [1], [1], [2], [1]),  # after the window's end
        (ETH.key, start + MINUTE, [3_999_999], [4], [], []),  # one-sided; buckets of 0.02
        ("OTHER.BINANCE", start + MINUTE, [1], [1], [2], [1]),
    )
    rows = dollar_depth_rows(Window(start, start + MINUTE), [ETH, BTC], frame)
    t = start + MINUTE
    expected = pd.DataFrame(
        [
            (BTC.key, t, "ask", 100 * SCALE, 8, 1),
            (BTC.key, t, "ask", 101 * SCALE, 9, 1),
            (BTC.key, t, "bid", 99 * SCALE, 7, 1),
            (BTC.key, t, "bid", 100 * SCALE, 11, 2),
            (ETH.key, t, "bid", 2_000_000, 4, 1),
        ],
        columns=[column.name for column in DOLLAR_DEPTH.columns],
    )
    pd.testing.assert_frame_equal(rows, DOLLAR_DEPTH.conform(expected))


def test_no_snapshot_gives_an_empty_frame_of_the_right_dtypes():
    rows = dollar_depth_rows(Window(0, MINUTE), [BTC], snapshots())
    pd.testing.assert_frame_equal(rows, DOLLAR_DEPTH.empty())


def test_a_negative_quantity_stops_the_window():
    with pytest.raises(FixedPointError, match="negative"):
        dollar_depth_rows(Window(0, MINUTE), [BTC], snapshots((BTC.key, MINUTE, [1], [-1], [], [])))
