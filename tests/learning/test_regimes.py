import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.event_time import DAY, MINUTE, SECOND
from signal_assets.instrument import Instrument
from signal_assets.learning.derivations import regimes
from signal_assets.learning.parameters import LearningParameters
from signal_assets.learning.regimes import regime_rows
from signal_assets.learning.tables import REGIMES
from signal_assets.market.tables import FEATURES
from signal_assets.window import Window

BTC = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", 1, 1)
ETH = Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", 1, 1)
PARAMETERS = LearningParameters()
START = 20_000 * DAY
DAY_WINDOW = Window(START, START + DAY)


def features(prices, instrument=BTC.key, spread=0):
    """Best prices by offset (µs) into the day."""
    time = START + np.array(list(prices), dtype=np.int64)
    bid = np.array(list(prices.values()), dtype=np.int64)
    return pd.DataFrame({"instrument": instrument, "time": time, "best_bid": bid, "best_ask": bid + spread})


def regime(frame, window=DAY_WINDOW, instruments=(BTC,)):
    rows = regime_rows(window, instruments, frame, PARAMETERS)
    assert REGIMES.conform(rows).equals(rows)
    return rows


def test_by_hand():
    # Mids 100, 200, 100, 200 at minutes 1…4: log returns ln 2, -ln 2, ln 2, mean ln 2 / 3. Deviations 2/3, -4/3, 2/3:
    # variance (4 + 16 + 4)/9 · ln² 2 / 2 = 4/3 · ln² 2. Net ln 2 over a way of 3 ln 2: one third.
    (row,) = regime(features({1 * MINUTE: 100, 2 * MINUTE: 200, 3 * MINUTE: 100, 4 * MINUTE: 200})).itertuples()
    assert (row.instrument, row.time) == (BTC.key, START + DAY)
    assert row.volatility == pytest.approx(math.log(2) * math.sqrt(4 / 3) * math.sqrt(1440), rel=1e-12)
    assert row.trend == pytest.approx(1 / 3, rel=1e-12)
    assert row.day_return == pytest.approx(math.log(2), rel=1e-12)
    assert row.label == "trending_volatile"


def test_the_last_row_of_a_minute_counts_and_the_midnight_belongs_to_the_old_day():
    rows = {
        -SECOND: 999,  # yesterday
        0: 999,  # midnight: still yesterday's
        59 * SECOND: 999,
        MINUTE: 100,
        MINUTE + SECOND: 999,
        2 * MINUTE - SECOND: 110,
        3 * MINUTE: 121,
        DAY + SECOND: 999,  # tomorrow
    }
    (row,) = regime(features(rows)).itertuples()
    assert row.day_return == pytest.approx(2 * math.log(1.1))
    assert row.volatility == pytest.approx(0, abs=1e-12)
    assert (row.trend, row.label) == (pytest.approx(1.0), "trending")


def test_a_gap_counts_for_the_way_but_is_no_minute():
    # Minutes 1, 2, 3 at 100, 101, 100 and, after an hour without data, 80: volatility from the first two returns alone.
    (row,) = regime(features({MINUTE: 100, 2 * MINUTE: 101, 3 * MINUTE: 100, 63 * MINUTE: 80})).itertuples()
    step, jump = math.log(1.01), math.log(100 / 80)
    assert row.volatility == pytest.approx(step * math.sqrt(2) * math.sqrt(1440), rel=1e-9)
    assert row.trend == pytest.approx(jump / (2 * step + jump), rel=1e-9)


def test_the_mid_price_is_what_counts():
    narrow = features({MINUTE: 100, 2 * MINUTE: 104, 3 * MINUTE: 100})
    wide = features({MINUTE: 90, 2 * MINUTE: 94, 3 * MINUTE: 90}, spread=20)
    pd.testing.assert_frame_equal(regime(narrow), regime(wide))


def test_a_day_on_which_nothing_moves_is_quiet():
    (row,) = regime(features({n * MINUTE: 100 for n in range(1, 6)})).itertuples()
    assert (row.volatility, row.trend, row.day_return, row.label) == (0.0, 0.0, 0.0, "quiet")


def test_less_than_two_returns_say_nothing():
    assert regime(features({MINUTE: 100, 2 * MINUTE: 101})).empty
    assert regime(features({MINUTE: 100, 3 * MINUTE: 101, 5 * MINUTE: 100})).empty
    assert regime(features({})).empty


def test_one_row_per_instrument_at_the_days_end_only():
    both = pd.concat([features({n * MINUTE: 100 + n for n in range(1, 5)}, key) for key in (ETH.key, BTC.key)])
    assert regime(both, instruments=(ETH, BTC))["instrument"].tolist() == [BTC.key, ETH.key]
    assert regime(both, Window(START, START + DAY - 1)).empty


def test_a_window_of_the_last_second_gives_the_row_of_the_day_run():
    frame = features({n * MINUTE: 100 + n % 7 for n in range(1, 1441)})
    derivation = regimes(PARAMETERS)
    inputs = {FEATURES.name: frame}
    last = derivation.kernel(Window(START + DAY - SECOND, START + DAY), [BTC], inputs)
    pd.testing.assert_frame_equal(last, derivation.kernel(DAY_WINDOW, [BTC], inputs))
    assert len(last) == 1
    assert derivation.inputs[0].look_back >= DAY


def test_a_random_walk_trends_on_one_day_out_of_twenty():
    # What the default threshold promises: 2,000 days of 1,440 normal steps; 5 % ± 3 standard errors of 0.5 %.
    steps = np.random.default_rng(7).normal(size=(2_000, 1_440))
    trend = np.abs(steps.sum(axis=1)) / np.abs(steps).sum(axis=1)
    assert np.mean(trend > PARAMETERS.trending_above) == pytest.approx(0.05, abs=0.015)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.integers(1, 30), st.integers(1, 10**6), min_size=3), st.integers(2, 1_000))
def test_scale_does_not_matter_and_trend_is_a_share(prices, scale):
    rows = regime(features({minute * MINUTE: price for minute, price in prices.items()}))
    scaled = regime(features({minute * MINUTE: price * scale for minute, price in prices.items()}))
    assert len(rows) == len(scaled)
    for before, after in zip(rows.itertuples(), scaled.itertuples(), strict=True):
        assert 0 <= before.trend <= 1
        for name in ("volatility", "trend", "day_return"):
            assert getattr(after, name) == pytest.approx(getattr(before, name), rel=1e-9, abs=1e-9)
