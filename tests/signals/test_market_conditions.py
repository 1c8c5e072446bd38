import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from signal_assets.event_time import DAY, MINUTE, SECOND
from signal_assets.machine import decode_state, encode_state
from signal_assets.signals.market_conditions import (
    average_range_ratio,
    efficiency_ratio,
    market_conditions,
    volatility_rank,
)
from signal_assets.signals.minute_closes import MinuteCloses
from signal_assets.signals.parameters import SignalParameters
from tests.signals.material import BTC, ETH, features

NAN = math.nan
START = 20_000 * DAY


def reals(*values):
    return np.array(values, dtype=np.float64)


def closes_of(prices, size=12, seconds=(60,)):
    """BTC's mid prices, one per minute, at these seconds of it; None: no row."""
    closes = MinuteCloses((BTC.key, ETH.key), size)
    for minute, price in enumerate(prices):
        for second in seconds:
            if price is not None:
                time = START + minute * MINUTE + second * SECOND
                closes.take(time, features(time, BTCFDUSD=price))
    return closes


def test_a_minutes_close_is_its_last_price_and_counts_once_it_is_over():
    closes = MinuteCloses((BTC.key,), 12)
    for second, price in ((60, 100.0), (61, 7.0), (119, 110.0), (120, 121.0), (150, 5.0)):
        closes.take(START + second * SECOND, features(START + second * SECOND, BTCFDUSD=price))
        if second == 119:
            # The second minute is not over: there is no return yet.
            assert np.isnan(closes.returns(START + 119 * SECOND, BTC.key, 2)).all()
    # At 120 s the row on the full minute is the close: ln 121/100. What came at 150 s belongs to the next minute.
    for second in (120, 150, 179):
        returns = closes.returns(START + second * SECOND, BTC.key, 2)
        np.testing.assert_allclose(returns, [NAN, np.log(1.21)], rtol=1e-12)


def test_minutes_without_rows_leave_returns_unknown():
    closes = closes_of([100.0, 101.0, None, 103.0, 104.0])
    known = closes.returns(START + 5 * MINUTE, BTC.key, 5)
    np.testing.assert_allclose(known, [NAN, np.log(101 / 100), NAN, NAN, np.log(104 / 103)], rtol=1e-12)
    # Two minutes later, still without rows, the same returns lie two minutes further back.
    np.testing.assert_array_equal(closes.returns(START + 7 * MINUTE, BTC.key, 3), [known[4], NAN, NAN])
    # A gap longer than the ring leaves nothing, whatever stood in it.
    late = START + 40 * MINUTE
    closes.take(late, features(late, BTCFDUSD=50.0))
    assert np.isnan(closes.returns(late, BTC.key, 10)).all()
    assert np.isnan(closes.returns(late, ETH.key, 10)).all()


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(50, 200)), min_size=1, max_size=60), st.integers(0, 59))
def test_returns_are_those_of_the_last_minutes_and_survive_a_restore(prices, cut):
    closes = closes_of(prices[:cut])
    restored = MinuteCloses((ETH.key, BTC.key), 12)
    restored.restore(decode_state(encode_state(closes.state())))
    for minute, price in list(enumerate(prices))[cut:]:
        if price is not None:
            time = START + (minute + 1) * MINUTE
            restored.take(time, features(time, BTCFDUSD=price))
    end = START + len(prices) * MINUTE
    padded = [None] * 11 + prices
    expected = [
        NAN if before is None or after is None else np.log(after / before)
        for before, after in zip(padded[-11:-1], padded[-10:], strict=True)
    ]
    returns = closes_of(prices).returns(end, BTC.key, 10)
    # numpy's vectorized logarithm may differ in the last bit from the compiled one; the restored ring may not.
    np.testing.assert_allclose(returns, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(restored.returns(end, BTC.key, 10), returns)


def test_a_state_of_a_longer_or_shorter_ring_is_taken_over_as_far_as_it_reaches():
    prices = [100.0 + minute**2 for minute in range(30)]
    state = closes_of(prices, size=12).state()
    for size, known in ((8, 6), (12, 10), (20, 11)):
        other = MinuteCloses((BTC.key,), size)
        other.restore(state)
        returns = other.returns(START + 30 * MINUTE, BTC.key, size - 2)
        expected = np.diff(np.log(prices))[-known:]
        np.testing.assert_allclose(returns[-known:], expected, rtol=1e-12)
        assert np.isnan(returns[:-known]).all()


def test_volatility_rank_by_hand():
    # Windows of 2 over r = 1, 1, 3, 1, 2 (mean squares 1, 5, 5, 2.5): the newest, 2.5, has one of three below it.
    assert volatility_rank(reals(1, 1, 3, 1, 2), 2, 5) == pytest.approx(1 / 3)
    # r = 1, -1, 1, 1: all windows equal: one half.
    assert volatility_rank(reals(1, -1, 1, 1), 2, 4) == 0.5
    # The signs of returns do not matter, nor does a drift: it is not a standard deviation.
    assert volatility_rank(reals(0, 1, 2, 2), 2, 4) == 1.0
    # Fewer known returns than asked for, or the newest window unknown: nothing is said.
    assert math.isnan(volatility_rank(reals(NAN, 1, 2, 2), 2, 4))
    assert math.isnan(volatility_rank(reals(1, 1, 2, NAN), 2, 3))
    # No earlier window to compare with.
    assert math.isnan(volatility_rank(reals(1, 2), 2, 2))


def test_efficiency_ratio_by_hand():
    # Last four of five: 1 + 2 - 1 + 1 = 3 over 5.
    assert efficiency_ratio(reals(9, 1, 2, -1, 1), 4) == pytest.approx(0.6)
    assert efficiency_ratio(reals(-1, -2, -3, -1), 4) == -1.0
    assert efficiency_ratio(reals(0, 0, 0, 0), 4) == 0.0
    # Three of four known are enough, two are not.
    assert efficiency_ratio(reals(NAN, 1, 2, 1), 4) == 1.0
    assert math.isnan(efficiency_ratio(reals(NAN, NAN, 2, 1), 4))


def test_average_range_ratio_by_hand():
    # Last two: (3 + 1) / 2 = 2; all: (1 + 1 + 3 + 1) / 4 = 1.5.
    assert average_range_ratio(reals(1, -1, 3, -1), 2, 4) == pytest.approx(4 / 3)
    assert math.isnan(average_range_ratio(reals(1, -1, 3, -1), 2, 5))
    assert math.isnan(average_range_ratio(reals(0, 0, 0, 0), 2, 4))


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(60, 240))
def test_measures_agree_with_numpy_and_scipy(seed, known):
    random = np.random.default_rng(seed)
    returns = random.standard_t(3, 240) * 1e-4
    returns[: 240 - known] = NAN
    windows = np.lib.stride_tricks.sliding_window_view(returns[240 - known :], 20)
    volatilities = np.sqrt((windows**2).mean(axis=1))
    expected = stats.percentileofscore(volatilities[:-1], volatilities[-1], kind="mean") / 100
    if known - 20 > 0:
        # Windows that are three quarters known take part as well: left out of the comparison by asking for all.
        full = returns[240 - known :]
        assert volatility_rank(full, 20, 60) == pytest.approx(expected)
    assert efficiency_ratio(returns, 30) == pytest.approx(returns[-30:].sum() / np.abs(returns[-30:]).sum())
    ratio = np.abs(returns[-14:]).mean() / np.nanmean(np.abs(returns))
    assert average_range_ratio(returns, 14, 60) == pytest.approx(ratio)
    for measure in (volatility_rank(returns, 20, 60), abs(efficiency_ratio(returns, 30))):
        assert 0 <= measure <= 1


def test_partly_known_windows_take_part_from_three_quarters_on():
    # Windows of 4: with one unknown return a window of three known ones counts: mean squares over what is known.
    # r = NaN 2 2 2 | 1 1 1 1: windows 4 (of 3), (4+4+4+1)/4, (4+4+1+1)/4, (4+1+1+1)/4 and the newest 1: lowest of all.
    assert volatility_rank(reals(NAN, 2, 2, 2, 1, 1, 1, 1), 4, 7) == 0.0
    assert volatility_rank(reals(NAN, NAN, 1, 1, 1, 1, 3), 4, 5) == 1.0
    # With two unknown the first window does not count: two earlier ones are left, (3 known) and the full one.
    assert volatility_rank(reals(NAN, NAN, 5, 5, 1, 1, 2), 4, 5) == 0.0


def test_compiled_and_interpreted_measures_agree():
    returns = np.random.default_rng(5).normal(size=80)
    returns[[3, 50, 79]] = NAN
    for measure, arguments in (
        (volatility_rank, (returns, 20, 60)),
        (efficiency_ratio, (returns, 30)),
        (average_range_ratio, (returns, 14, 60)),
    ):
        assert measure(*arguments) == measure.py_func(*arguments)


def test_conditions_of_a_market_that_only_rises_and_of_one_that_is_new():
    parameters = SignalParameters()
    prices = [100.0 * 1.001**minute for minute in range(63)]
    closes = closes_of(prices, size=parameters.minutes_kept)
    # 60 returns are known after 61 closes: volatility and range are known from then on, the trend after 24 closes.
    rising = market_conditions(closes, START + 63 * MINUTE, BTC.key, parameters)
    assert rising.trend == 1.0
    assert rising.range_ratio == pytest.approx(1.0)
    assert 0 <= rising.volatility <= 1
    new = closes_of(prices[:60], size=parameters.minutes_kept)
    assert np.isnan(market_conditions(new, START + 60 * MINUTE, BTC.key, parameters)).tolist() == [True, False, True]
    newer = closes_of(prices[:23], size=parameters.minutes_kept)
    assert np.isnan(market_conditions(newer, START + 23 * MINUTE, BTC.key, parameters)).all()


def test_the_running_minute_disturbs_nothing():
    parameters = SignalParameters()
    prices = 100.0 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 1e-3, 300)))
    closes = closes_of(prices.tolist(), size=parameters.minutes_kept)
    over = START + 300 * MINUTE
    before = closes.returns(over, BTC.key, parameters.volatility_history)
    conditions = market_conditions(closes, over, BTC.key, parameters)
    np.testing.assert_allclose(before, np.diff(np.log(prices))[-240:], rtol=1e-9)
    closes.take(over + SECOND, features(over + SECOND, BTCFDUSD=1.0))
    np.testing.assert_array_equal(closes.returns(over + SECOND, BTC.key, parameters.volatility_history), before)
    assert market_conditions(closes, over + SECOND, BTC.key, parameters) == conditions
