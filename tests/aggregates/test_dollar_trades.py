from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_assets.aggregates.dollar_trades import dollar_trades_rows, minute_bucket_sums
from signal_assets.aggregates.tables import DOLLAR_TRADES
from signal_assets.event_time import DAY, MINUTE, SECOND
from signal_assets.fixed_point import SCALE, FixedPointError
from signal_assets.instrument import Instrument
from signal_assets.window import Window

START = 20_000 * DAY
BTC = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", SCALE // 100, 1000)
ETH = Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", SCALE // 100, 1000, bucket_size=2_000_000)
COLUMNS = ["instrument", "event_time", "price", "quantity", "is_buyer_maker"]

TRADE = st.tuples(
    st.sampled_from([BTC.key, ETH.key, "OTHER.BINANCE"]),
    st.one_of(
        st.integers(START - MINUTE, START + 6 * MINUTE),
        st.integers(-1, 6).map(lambda n: START + n * MINUTE),
        st.integers(-1, 6).map(lambda n: START + n * MINUTE + 1),
    ),
    st.integers(1, 5 * SCALE),
    st.integers(1, 10**12),
    st.booleans(),
)


def frame_of(trades):
    return pd.DataFrame(
        {
            name: pd.Series([trade[i] for trade in trades], dtype=dtype)
            for i, (name, dtype) in enumerate(zip(COLUMNS, ["str", "int64", "int64", "int64", "bool"], strict=True))
        }
    )


def rows_by_python(trades, first, last):
    sums = defaultdict(lambda: [0, 0, 0])
    sizes = {BTC.key: BTC.bucket_size, ETH.key: ETH.bucket_size}
    for instrument, time, price, quantity, taker_sold in trades:
        close = (time + MINUTE - 1) // MINUTE * MINUTE
        if instrument in sizes and first < close <= last:
            cell = sums[instrument, close, price // sizes[instrument] * sizes[instrument]]
            cell[taker_sold] += quantity
            cell[2] += 1
    return [(*key, *sums[key]) for key in sorted(sums)]


@given(st.lists(TRADE, max_size=40), st.randoms(use_true_random=False), st.integers(0, 5 * MINUTE - 1))
def test_rows_are_exact_in_any_order_and_any_cut(trades, random, offset):
    end = START + 5 * MINUTE
    expected = rows_by_python(trades, START, end)
    random.shuffle(trades)
    day = dollar_trades_rows(Window(START, end), [ETH, BTC], frame_of(trades))
    assert [tuple(row) for row in day.itertuples(index=False)] == expected
    if offset:
        pieces = []
        for window in (Window(START, START + offset), Window(START + offset, end)):
            given_trades = [trade for trade in trades if window.start - MINUTE < trade[1] <= window.end]
            pieces.append(dollar_trades_rows(window, [BTC, ETH], frame_of(given_trades)))
        forward = pd.concat(pieces, ignore_index=True).sort_values(list(DOLLAR_TRADES.key), ignore_index=True)
        pd.testing.assert_frame_equal(forward, day)


def test_every_trade_of_whole_minutes_is_kept_to_the_last_unit():
    random = np.random.default_rng(3)
    count = 5_000
    frame = pd.DataFrame(
        {
            "instrument": BTC.key,
            "event_time": START + 1 + random.integers(0, 60 * MINUTE, count),
            "price": 60_000 * SCALE + random.integers(0, 30 * SCALE, count),
            "quantity": random.integers(1, 10**9, count),
            "is_buyer_maker": random.random(count) < 0.5,
        }
    )
    rows = dollar_trades_rows(Window(START, START + 60 * MINUTE), [BTC], frame)
    pd.testing.assert_frame_equal(rows, DOLLAR_TRADES.conform(rows))
    bought = frame.loc[~frame["is_buyer_maker"], "quantity"]
    sold = frame.loc[frame["is_buyer_maker"], "quantity"]
    assert sum(rows["buy_quantity"].tolist()) == sum(bought.tolist())
    assert sum(rows["sell_quantity"].tolist()) == sum(sold.tolist())
    assert int(rows["trade_count"].sum()) == count


def test_no_closed_minute_gives_no_row():
    frame = frame_of([(BTC.key, START + 5 * SECOND, SCALE, 1, False)])
    rows = dollar_trades_rows(Window(START, START + 10 * SECOND), [BTC], frame)
    pd.testing.assert_frame_equal(rows, DOLLAR_TRADES.empty())


@pytest.mark.parametrize(("quantities", "message"), [([-1], "negative"), ([2**62, 2**62], "beyond int64")])
def test_sums_that_cannot_be_right_are_refused(quantities, message):
    frame = frame_of([(BTC.key, START + 1, SCALE, quantity, True) for quantity in quantities])
    with pytest.raises(FixedPointError, match=message):
        dollar_trades_rows(Window(START, START + MINUTE), [BTC], frame)


def test_interpreted_and_compiled_sums_agree():
    random = np.random.default_rng(4)
    minute, bucket = random.integers(0, 4, 50), random.integers(0, 4, 50)
    arguments = (minute, bucket, random.integers(1, 99, 50), random.random(50) < 0.5, np.lexsort((bucket, minute)))
    for one, other in zip(minute_bucket_sums(*arguments), minute_bucket_sums.py_func(*arguments), strict=True):
        np.testing.assert_array_equal(one, other)
    with np.errstate(over="ignore"):
        one = np.zeros(2, np.int64)
        status = minute_bucket_sums.py_func(one, one, np.array([2**62, 2**62]), one.astype(bool), np.arange(2))[5]
    assert status == 2
    assert minute_bucket_sums.py_func(one, one, np.array([-1, 0]), one.astype(bool), np.arange(2))[5] == 1
