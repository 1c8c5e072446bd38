import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.event_time import DAY, MINUTE, SECOND
from signal_assets.fixed_point import MAXIMUM
from signal_assets.strategies.average_true_range import AverageTrueRange
from signal_assets.strategies.bars import TIMEFRAMES, Bar, Bars, NewestValues
from signal_assets.strategies.bracket import bracket

MIDNIGHT = 20_000 * DAY


def at(minute, second=0):
    return MIDNIGHT + minute * MINUTE + second * SECOND


def test_bars_by_hand_with_rows_missing_at_an_end_and_a_gap():
    bars = Bars(MINUTE)
    steps = [
        # Midnight sharp ends the bar of the old day's last minute: opened and closed by one row.
        (at(0), 100, 7, [Bar(at(0), 100, 100, 100, 100, 7)]),
        (at(0, 1), None, 0, []),  # no trade seen: no price, no bar
        (at(0, 2), 103, 1, []),
        (at(0, 30), 99, 2, []),
        (at(1), 101, 4, [Bar(at(1), 103, 103, 99, 101, 7)]),  # the row at the end is in, and closes it
        (at(1, 1), 105, 5, []),
        (at(1, 59), 104, 6, []),
        # No row at the end of the second minute: the next one closes it and is in the third.
        (at(2, 1), 90, 8, [Bar(at(2), 105, 105, 104, 104, 11)]),
        (at(2, 2), 110, 9, []),
        # Gap: nothing for three minutes. The first row after it closes the third minute and, being itself the end of
        # the sixth, that as well; the fourth and fifth do not exist.
        (at(6), 95, 3, [Bar(at(3), 90, 110, 90, 110, 17), Bar(at(6), 95, 95, 95, 95, 3)]),
        (at(6, 1), 96, 1, []),
        (at(6, 2), None, 0, []),
        # A row without a price closes nothing, even behind the end.
        (at(7, 1), None, 0, []),
        (at(7, 2), 97, 1, [Bar(at(7), 96, 96, 96, 96, 1)]),
    ]
    for time, price, volume, expected in steps:
        assert list(bars.add(time, price, volume)) == expected, time


@given(
    seconds=st.lists(st.integers(1, 3_000), min_size=1, max_size=60, unique=True).map(sorted),
    seed=st.integers(0, 1_000),
    timeframe=st.sampled_from(["1m", "5m", "15m"]),
)
@settings(max_examples=40, deadline=None)
def test_bars_are_those_of_pandas(seconds, seed, timeframe):
    random = np.random.default_rng(seed)
    length = TIMEFRAMES[timeframe]
    times = MIDNIGHT + np.array(seconds) * SECOND
    prices, volumes = random.integers(1, 50, len(times)), random.integers(0, 9, len(times))
    bars = Bars(length)
    made = [
        (time, bar)
        for time, price, volume in zip(times.tolist(), prices.tolist(), volumes.tolist(), strict=True)
        for bar in bars.add(time, price, volume)
    ]
    frame = pd.DataFrame({"price": prices, "volume": volumes}, index=pd.to_datetime(times, unit="us"))
    resampled = frame.resample(pd.Timedelta(length, "us"), label="right", closed="right", origin="epoch")
    table = resampled["price"].ohlc().assign(volume=resampled["volume"].sum()).dropna()
    ends = table.index.astype("datetime64[us]").astype("int64").to_numpy()
    expected = []
    for end, row in zip(ends, table.itertuples(index=False), strict=True):
        closing = times[times >= end]
        if len(closing):
            expected.append((closing[0], (end, *row)))
    assert made == expected


def test_a_volume_beyond_int64_saturates():
    bars = Bars(MINUTE)
    bars.add(at(0, 1), 1, MAXIMUM)
    (bar,) = bars.add(at(1), 1, MAXIMUM)
    volumes = NewestValues(1)
    volumes.add(bar.volume)
    assert volumes.values.tolist() == [MAXIMUM]


@given(values=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=12), length=st.integers(1, 6))
def test_the_newest_values_are_those_of_a_list(values, length):
    newest = NewestValues(length)
    for value in values:
        newest.add(value)
    assert newest.values.tolist() == values[-length:]
    assert newest.full is (len(values) >= length)
    assert newest.values.dtype == np.int64
    for other in range(1, 8):
        # Windows of other parameters take what they can use.
        restored = NewestValues(other)
        restored.restore(newest.state())
        assert restored.values.tolist() == values[-length:][-other:]


def test_the_average_true_range_by_hand():
    average = AverageTrueRange(3)
    bars = [
        Bar(1, 10, 12, 9, 11, 0),  # the first: 12 - 9 = 3, mean 3
        Bar(2, 15, 16, 14, 14, 0),  # up from 11: 16 - 11 = 5, mean 4
        Bar(3, 13, 14, 12, 12, 0),  # inside: 14 - 12 = 2, mean 10/3
        Bar(4, 6, 7, 5, 5, 0),  # down from 12: 12 - 5 = 7, (10/3 x 2 + 7) / 3 = 41/9
        Bar(5, 5, 5, 5, 5, 0),  # nothing: 41/9 x 2/3 = 82/27
    ]
    values = []
    for bar in bars:
        average.add(bar)
        values.append(average.value)
    assert values == pytest.approx([3, 4, 10 / 3, 41 / 9, 82 / 27], rel=1e-12)


@given(
    changes=st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 20), st.integers(0, 20)), min_size=20, max_size=60),
    length=st.integers(1, 16),
)
@settings(max_examples=40, deadline=None)
def test_the_average_true_range_is_that_of_pandas(changes, length):
    close = 10_000 + np.cumsum([change for change, _, _ in changes])
    high = close + [up for _, up, _ in changes]
    low = close - [down for _, _, down in changes]
    average = AverageTrueRange(length)
    values = []
    for end, (top, bottom, last) in enumerate(zip(high.tolist(), low.tolist(), close.tolist(), strict=True)):
        average.add(Bar(end, last, top, bottom, last, 0))
        values.append(average.value)
    before = pd.Series(close).shift(1)
    spans = pd.concat([pd.Series(high - low), (high - before).abs(), (low - before).abs()], axis=1).max(axis=1)
    # The mean of the first ones, then pandas' exponential average with Wilder's weight that begins with that mean.
    seeded = pd.concat([pd.Series([spans[:length].mean()]), spans[length:]])
    expected = seeded.ewm(alpha=1 / length, adjust=False).mean().to_numpy()
    assert values[length - 1 :] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("action", "stop_distance", "target_distance", "expected"),
    [
        # On ticks of 5 around 100: what falls between is rounded down for a buy, up for a sell.
        ("buy", 20, 30, (80, 130)),
        ("buy", 21, 34, (75, 130)),
        ("buy", 1, 5, (95, 105)),
        ("buy", 1, 4, None),  # no target left beyond the entry
        ("buy", 100, 30, None),  # nor a stop above zero
        ("sell", 20, 30, (120, 70)),
        ("sell", 21, 34, (125, 70)),
        ("sell", 1, 5, (105, 95)),
        ("sell", 1, 4, None),
        ("sell", 20, 100, None),
    ],
)
def test_stop_and_target_lie_on_ticks_towards_the_loss(action, stop_distance, target_distance, expected):
    assert bracket(action, 100, stop_distance, target_distance, 5) == expected
