import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_assets.event_time import DAY, MINUTE
from signal_assets.fixed_point import SCALE
from signal_assets.fold import group_by_time
from signal_assets.machine import decode_state, encode_state
from signal_assets.market.tables import FEATURES
from signal_assets.strategies.bars import TIMEFRAMES
from signal_assets.strategies.evaluation import evaluate
from signal_assets.strategies.moving_averages import moving_averages
from signal_assets.strategies.strategy_machine import StrategyMachine
from signal_assets.strategies.trend_following.moving_average_crossover import (
    MovingAverageCrossover,
    MovingAverageCrossoverParameters,
)
from tests.strategies.market import BTC, TRIANGLE, features_row, random_market

MIDNIGHT = 20_000 * DAY
SMALL = MovingAverageCrossoverParameters("sma", fast_bars=1, slow_bars=2, timeframes=("1m",), atr_bars=2)


def average_of(kind, closes, length):
    """By pandas, by numpy for weights; NaN where the window is not full."""
    series = pd.Series(closes, dtype=float)
    if kind == "sma":
        return series.rolling(length).mean().to_numpy()
    if kind == "ema":
        return series.ewm(span=length, adjust=False).mean().to_numpy()
    weights = np.arange(1, length + 1)
    return np.array(
        [
            np.average(closes[i + 1 - length : i + 1], weights=weights) if i + 1 >= length else np.nan
            for i in range(len(closes))
        ]
    )


@given(
    changes=st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=80),
    kind=st.sampled_from(["sma", "ema", "wma"]),
    lengths=st.sampled_from([(1, 2), (3, 5), (9, 21)]),
)
def test_averages_are_those_of_pandas_and_numpy(changes, kind, lengths):
    closes = (60_000 * SCALE + np.cumsum(changes)).tolist()
    averages = moving_averages(kind, *lengths)
    made = []
    for close in closes:
        averages.add(close)
        made.append((averages.fast, averages.slow))
    expected = np.column_stack([average_of(kind, closes, length) for length in lengths])
    full = slice(lengths[1] - 1, None)  # a pair is there once the slow one is
    np.testing.assert_allclose(np.array(made)[full], expected[full], rtol=1e-9)


def expected_signals(features, instrument, timeframe, kind):
    """Event time, action, fast, slow and average true range of every crossing of 9 and 21 bars, by pandas."""
    rows = features[(features["instrument"] == instrument.key) & features["last_price"].notna()].sort_values("time")
    length = TIMEFRAMES[timeframe]
    end = -(-rows["time"] // length) * length
    bars = rows["last_price"].astype("int64").groupby(end).agg(["max", "min", "last"])
    times = rows["time"].to_numpy()
    closed_at = [next(iter(times[times >= moment]), None) for moment in bars.index]
    closes = bars["last"].to_list()
    fast, slow = average_of(kind, closes, 9), average_of(kind, closes, 21)
    before = bars["last"].shift(1)
    spans = np.fmax(bars["max"], before) - np.fmin(bars["min"], before)
    ranges = pd.concat([pd.Series([spans.iloc[:14].mean()]), spans.iloc[14:]]).ewm(alpha=1 / 14, adjust=False).mean()
    found = []
    for i in range(21, len(closes)):
        if (fast[i] - slow[i]) * (fast[i - 1] - slow[i - 1]) < 0 and closed_at[i] is not None:
            found.append((closed_at[i], "buy" if fast[i] > slow[i] else "sell", fast[i], slow[i], ranges.iloc[i - 13]))
    return found


@pytest.mark.parametrize("kind", ["sma", "ema", "wma"])
def test_crossings_in_a_random_market_are_those_of_pandas(kind):
    features = random_market(3)
    rows = evaluate(MovingAverageCrossover(TRIANGLE, MovingAverageCrossoverParameters(kind)), features)
    quotes = features.set_index(["instrument", "time"])
    compared = 0
    for instrument in TRIANGLE:
        for timeframe in TIMEFRAMES:
            made = rows[(rows["instrument"] == instrument.key) & (rows["timeframe"] == timeframe)]
            expected = expected_signals(features, instrument, timeframe, kind)
            assert list(zip(made["event_time"], made["action"], strict=True)) == [row[:2] for row in expected]
            for row, (time, action, fast, slow, reach) in zip(made.itertuples(), expected, strict=True):
                metadata = json.loads(row.metadata)
                assert metadata["fast"] == pytest.approx(fast / SCALE, rel=1e-9)
                assert metadata["slow"] == pytest.approx(slow / SCALE, rel=1e-9)
                assert metadata["average_true_range"] == pytest.approx(reach / SCALE, rel=1e-9)
                assert row.raw_confidence == pytest.approx(min(0.9, 0.5 + abs(fast - slow) / reach), rel=1e-6)
                sign = 1 if action == "buy" else -1
                assert row.entry_price == quotes.loc[(instrument.key, time), "best_ask" if sign > 0 else "best_bid"]
                risk, reward = sign * (row.entry_price - row.stop_loss), sign * (row.take_profit - row.entry_price)
                assert 1.5 * reach <= risk * (1 + 1e-9)
                assert risk < 1.5 * reach + instrument.tick_size + 1
                assert reward <= 3 * reach * (1 + 1e-9)
                assert reward > 3 * reach - instrument.tick_size - 1
                assert row.stop_loss % instrument.tick_size == row.take_profit % instrument.tick_size == 0
                compared += 1
    assert compared == len(rows) >= 30
    assert {"1m", "5m"} <= set(rows["timeframe"])


def proposals(closes, parameters=SMALL):
    """Candidates of one row per minute, at its end; the quote stands one unit around the price."""
    strategy = MovingAverageCrossover([BTC], parameters)
    made = []
    for minute, close in enumerate(closes, 1):
        price = close * SCALE
        row = features_row(
            BTC, MIDNIGHT + minute * MINUTE, last_price=price, best_bid=price - SCALE, best_ask=price + SCALE
        )
        made.append(strategy.step(row.time, {BTC.key: row}))
    return made


def test_a_crossing_by_hand():
    # Fast = close, slow = mean of two closes, so fast - slow is half of the last change:
    # closes 100, 98 (-1), 97 (-0.5), 101 (+2): crosses upwards with the fourth.
    # True ranges 0, 2, 1, 4; average of two: 0, 1, then (1 + 1) / 2 = 1, (1 + 4) / 2 = 2.5.
    # Entry at the ask 102; stop 102 - 1.5 x 2.5 = 98.25; target 102 + 3 x 2.5 = 109.5.
    # Separation 101 - 99 = 2 of 2.5: 0.8, so the confidence is capped at 0.9.
    *quiet, (candidate,) = proposals([100, 98, 97, 101])
    assert quiet == [[], [], []]
    assert (candidate.action, candidate.entry_price) == ("buy", 102 * SCALE)
    assert (candidate.stop_loss, candidate.take_profit) == (98_25000000, 109_50000000)
    assert candidate.raw_confidence == 0.9
    assert candidate.quantity == 0
    assert candidate.metadata == {
        "average": "sma",
        "fast": 101.0,
        "slow": 99.0,
        "average_true_range": 2.5,
        "separation": 0.8,
        "bars": 4,
        "warming": True,
        "bar_end": MIDNIGHT + 4 * MINUTE,
    }


@pytest.mark.parametrize(
    ("closes", "actions"),
    [
        ([100, 98, 98, 97], []),  # down, equal, down: zero is passed over
        ([100, 98, 98, 99], ["buy"]),  # down, equal, up: crossed, with the bar that shows it
        ([100, 100, 100, 101], []),  # nothing is known before the first sign
        ([100, 101, 100, 101], ["sell", "buy"]),
    ],
)
def test_zero_has_no_sign(closes, actions):
    assert [candidate.action for made in proposals(closes) for candidate in made] == actions


def test_nothing_is_proposed_before_the_range_has_its_length():
    assert [len(made) for made in proposals([100, 98, 99, 98, 99], replace(SMALL, atr_bars=4))] == [0, 0, 0, 1, 1]


def test_rows_say_when_their_filters_have_settled():
    made = [candidate for step in proposals([100, 99] * 8) for candidate in step]
    # Five times the longer of two bars: the tenth bar is the first settled one.
    assert [(candidate.metadata["bars"], candidate.metadata["warming"]) for candidate in made] == [
        (bars, bars < 10) for bars in range(3, 17)
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"average": "ema"},
        {"slow_bars": 34},
        {"fast_bars": 2, "slow_bars": 5},
        {"timeframes": ("5m", "1h")},
        {"atr_bars": 3},
    ],
)
def test_a_state_of_other_parameters_is_taken_as_far_as_it_goes(changed):
    steps = list(group_by_time({FEATURES: random_market(1)}))
    before = MovingAverageCrossover(TRIANGLE[:2], MovingAverageCrossoverParameters(timeframes=("1m", "5m")))
    machine = StrategyMachine(before)
    for time, events in steps[:1_000]:
        machine.step(time, events)
    after = StrategyMachine(MovingAverageCrossover(TRIANGLE, replace(before.parameters, **changed)))
    after.restore(decode_state(encode_state(machine.state())))
    made = [row for time, events in steps[1_000:] for rows in after.step(time, events).values() for row in rows]
    assert not after.failures
    assert made


@pytest.mark.parametrize(
    "wrong",
    [
        {"average": "hull"},
        {"fast_bars": 0},
        {"fast_bars": 21},
        {"timeframes": ()},
        {"timeframes": ("1m", "1m")},
        {"timeframes": ("2m",)},
        {"atr_bars": 0},
        {"stop_ranges": 0.0},
        {"target_ranges": float("nan")},
    ],
)
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)).partition("_")[0].rstrip("s")):
        MovingAverageCrossoverParameters(**wrong)
