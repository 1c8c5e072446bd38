from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.event_time import DAY, MINUTE, SECOND
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from signal_assets.levels.level_outcomes import OUTCOMES, OutcomeParameters, average_ranges, judge
from signal_assets.levels.outcome_rows import level_outcome_rows
from signal_assets.levels.outcome_score import score_levels
from signal_assets.levels.tables import LEVEL_OUTCOMES
from signal_assets.window import Window

BTC = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", SCALE // 100, 1000)
ETH = Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", SCALE // 100, 1000, bucket_size=50_000_000)
HORIZON = 10 * MINUTE


def judged(prices, *, low, high, support, reach, step=10 * SECOND, horizon=HORIZON, known_until=None):
    """Outcome, touch and settlement (seconds after the moment) of one level on prices every ``step`` from there on."""
    time = np.arange(len(prices), dtype=np.int64) * step
    until = int(time[-1]) if known_until is None else known_until
    arrays = (np.array([value], np.int64) for value in (0, low, high))
    outcome, touched, settled = judge(
        time, np.array(prices, np.int64), *arrays, np.array([support]), np.array([reach]), horizon, until
    )
    name = "open" if outcome[0] < 0 else OUTCOMES[outcome[0]]
    return name, int(touched[0]) // SECOND, int(settled[0]) // SECOND


def padded(*prices, count=61):
    return [*prices, *[prices[-1]] * (count - len(prices))]


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        # Support 90…95, reach 10: touched at 95 or below, bounced at 105, broke at 80.
        (padded(100, 96, 96), ("untouched", -1, 600)),
        (padded(100, 95, 104, 105), ("bounced", 10, 30)),
        (padded(100, 95, 81, 80), ("broke", 10, 30)),
        (padded(100, 79), ("broke", 10, 10)),  # through the level between two grid points
        (padded(100, 95, 96), ("undecided", 10, 600)),
        (padded(100, 110, 95, 104), ("undecided", 20, 600)),  # 110 was before the touch
        (padded(100, 95, 81, 104, 81, 105), ("bounced", 10, 50)),
        ([*padded(100, 95, 104, count=60), 105], ("bounced", 10, 600)),  # at the horizon itself
        ([*padded(100, 95, 104, count=61), 105], ("undecided", 10, 600)),  # after it
    ],
)
def test_a_support_by_hand(prices, expected):
    assert judged(prices, low=90, high=95, support=True, reach=10) == expected
    # A resistance is the same upside down.
    mirrored = [200 - price for price in prices]
    assert judged(mirrored, low=105, high=110, support=False, reach=10) == expected


def test_what_is_not_settled_yet_is_open():
    assert judged([100, 95, 96], low=90, high=95, support=True, reach=10)[0] == "open"
    # With the horizon passed and no price since, nobody saw what happened.
    assert judged([100, 95, 96], low=90, high=95, support=True, reach=10, known_until=HORIZON) == ("unseen", 10, 600)


@pytest.mark.parametrize(
    ("seconds", "prices", "expected"),
    [
        ([0, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600], [100] * 11, ("untouched", 600)),
        # 61 s without a price: what came later does not count.
        ([0, 61, 120], [100, 95, 105], ("unseen", 600)),
        ([0, 30, 91], [100, 95, 105], ("unseen", 600)),
        # Settled before the gap.
        ([0, 30, 60, 200], [100, 95, 105, 80], ("bounced", 60)),
    ],
)
def test_a_minute_without_a_price_ends_the_watch(seconds, prices, expected):
    time, price = np.array(seconds) * SECOND, np.array(prices)
    level = (np.array([value]) for value in (0, 90, 95))
    args = (time, price, *level, np.array([True]), np.array([10]), HORIZON, HORIZON)
    outcome, _, settled = judge(*args)
    assert (OUTCOMES[outcome[0]], settled[0] // SECOND) == expected
    for compiled, interpreted in zip(judge(*args), judge.py_func(*args), strict=True):
        np.testing.assert_array_equal(compiled, interpreted)


def test_the_average_range_by_hand():
    # Minutes (0, 60], (60, 120], (180, 240]: ranges 4; greatest of 3, 14 - 8, 14 - 11; 25 - 14 with the last close 14.
    seconds, prices = [10, 60, 61, 120, 200, 240], [12, 8, 11, 14, 20, 25]
    time, price = np.array(seconds) * SECOND, np.array(prices)
    moments = np.array([60, 120, 180, 240]) * SECOND
    assert average_ranges(time, price, moments, 30, 1).tolist() == [4, (4 + 6) // 2, 5, (4 + 6 + 11) // 3]
    assert average_ranges(time, price, moments, 30, 2).tolist() == [0, 5, 5, 7]
    # Two minutes back from 240 s: 120 s itself lies outside, so only the last minute counts, with nothing before it.
    assert average_ranges(time, price, moments, 2, 1).tolist() == [4, 5, 3, 5]
    np.testing.assert_array_equal(
        average_ranges(time, price, moments, 30, 2), average_ranges.py_func(time, price, moments, 30, 2)
    )


MIDNIGHT = 20_000 * DAY
PARAMETERS = OutcomeParameters(interval=2 * MINUTE, horizon=8 * MINUTE, average_minutes=6, minimum_minutes=3)


def made_market(seed, minutes=60):
    """Features a second with a gap, and zones of both profiles a minute, of two instruments."""
    random = np.random.default_rng(seed)
    features, zones = [], []
    for instrument, price in ((BTC, 60_000), (ETH, 2_500)):
        size = instrument.bucket_size
        time = MIDNIGHT + np.arange(1, minutes * 60 + 1) * SECOND
        bid = price * SCALE + np.cumsum(random.integers(-size // 3, size // 3 + 1, len(time)))
        kept = random.random(len(time)) < 0.95
        kept &= (time <= MIDNIGHT + 20 * MINUTE) | (time > MIDNIGHT + 22 * MINUTE)
        features.append(
            pd.DataFrame({"instrument": instrument.key, "time": time, "best_bid": bid, "best_ask": bid + size})[kept]
        )
        for minute in range(1, minutes + 1):
            at = int(bid[minute * 60 - 1]) // size
            for profile in ("depth", "trades"):
                numbers = np.unique(at + random.integers(-15, 16, 4) * 2)
                for number in numbers.tolist():
                    low, high = number * size, (number + int(random.integers(1, 3))) * size
                    side = "support" if low + high < 2 * int(bid[minute * 60 - 1]) + size else "resistance"
                    row = (instrument.key, MIDNIGHT + minute * MINUTE, profile, low, high, side, float(random.random()))
                    zones.append(row)
    columns = ["instrument", "time", "profile", "low", "high", "side", "confidence"]
    return pd.DataFrame(zones, columns=columns), pd.concat(features, ignore_index=True)


ZONES, FEATURES = made_market(5)


def between(frame, start, end):
    return frame[(frame["time"] > start) & (frame["time"] <= end)].reset_index(drop=True)


def computed(start, end, instruments=(BTC, ETH), parameters=PARAMETERS):
    """Rows of one window, given exactly what its contract names."""
    zones = between(ZONES, start - parameters.horizon, end)
    features = between(FEATURES, start - parameters.look_back, end)
    return level_outcome_rows(Window(start, end), instruments, zones, features, parameters)


WHOLE = computed(MIDNIGHT, MIDNIGHT + DAY)


def test_the_day_has_rows_of_every_kind_in_the_tables_schema_and_order():
    pd.testing.assert_frame_equal(LEVEL_OUTCOMES.conform(WHOLE), WHOLE)
    pd.testing.assert_frame_equal(WHOLE.sort_values(list(LEVEL_OUTCOMES.key), ignore_index=True), WHOLE)
    assert set(WHOLE["outcome"]) == set(OUTCOMES)
    assert set(WHOLE["profile"]) == {"depth", "trades"}
    assert set(WHOLE["side"]) == {"support", "resistance"}
    assert set(WHOLE["draw"]) == {0, 1, 2, 3}
    assert len(WHOLE) > 500


def test_a_row_bears_the_minute_in_which_it_was_settled():
    settled = WHOLE["level_time"] + (WHOLE["seconds_to_outcome"] * SECOND).round().astype(np.int64)
    assert (WHOLE["time"] == -(-settled // MINUTE) * MINUTE).all()
    assert (WHOLE["time"] <= WHOLE["level_time"] + PARAMETERS.horizon).all()
    touched = WHOLE["seconds_to_touch"].notna()
    assert (touched | ~WHOLE["outcome"].isin(["bounced", "broke", "undecided"])).all()
    assert (WHOLE["seconds_to_touch"][touched] <= WHOLE["seconds_to_outcome"][touched]).all()


def test_every_zone_that_can_be_judged_has_its_rows_once():
    zones = WHOLE[WHOLE["draw"] == 0]
    assert not zones.duplicated(["instrument", "level_time", "profile", "zone_low"]).any()
    assert (zones["low"] == zones["zone_low"]).all()
    for row in zones.sample(50, random_state=1).itertuples():
        (zone,) = ZONES[
            (ZONES["instrument"] == row.instrument)
            & (ZONES["time"] == row.level_time)
            & (ZONES["profile"] == row.profile)
            & (ZONES["low"] == row.zone_low)
        ].itertuples()
        assert (zone.high, zone.side, zone.confidence) == (row.high, row.side, row.confidence)
        own = FEATURES[(FEATURES["instrument"] == row.instrument) & (FEATURES["time"] <= row.level_time)].iloc[-1]
        mid = (own["best_bid"] + own["best_ask"]) / 2
        away = mid - row.high if row.side == "support" else row.low - mid
        assert away > 0
        assert row.distance == pytest.approx(away / row.average_range, rel=1e-6)
        assert row.distance < 8


def test_partners_have_side_and_width_of_their_zone_its_stratum_and_no_zone_in_them():
    edges = np.array([0, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8])
    of_zone = ["instrument", "level_time", "profile", "zone_low"]
    pairs = WHOLE[WHOLE["draw"] > 0].merge(WHOLE[WHOLE["draw"] == 0], on=of_zone, suffixes=("", "_of_zone"))
    assert len(pairs) > 300
    assert (pairs["side"] == pairs["side_of_zone"]).all()
    assert ((pairs["high"] - pairs["low"]) == (pairs["high_of_zone"] - pairs["low_of_zone"])).all()
    strata = [np.searchsorted(edges, pairs[name] + 1e-9, side="right") for name in ("distance", "distance_of_zone")]
    assert (strata[0] == strata[1]).all()
    size = pairs["instrument"].map({BTC.key: BTC.bucket_size, ETH.key: ETH.bucket_size})
    assert (pairs["low"] % size == 0).all()
    assert pairs.groupby(of_zone)["low"].nunique().max() > 1
    for row in pairs.itertuples():
        same = (ZONES["instrument"] == row.instrument) & (ZONES["time"] == row.level_time)
        others = ZONES[same & (ZONES["profile"] == row.profile)]
        assert not ((row.low < others["high"]) & (others["low"] < row.high)).any()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 70 * 60 - 1), max_size=10, unique=True).map(sorted))
def test_forward_windows_of_any_cut_are_the_day_run(cuts):
    bounds = [MIDNIGHT, *(MIDNIGHT + cut * SECOND for cut in cuts), MIDNIGHT + DAY]
    pieces = [computed(start, end) for start, end in pairwise(bounds)]
    forward = pd.concat(pieces, ignore_index=True).sort_values(list(LEVEL_OUTCOMES.key), ignore_index=True)
    pd.testing.assert_frame_equal(forward, WHOLE, check_exact=True)


def test_instruments_one_by_one_are_the_group():
    alone = [computed(MIDNIGHT, MIDNIGHT + DAY, [instrument]) for instrument in (BTC, ETH)]
    pd.testing.assert_frame_equal(pd.concat(alone, ignore_index=True), WHOLE, check_exact=True)


def test_what_lies_after_the_window_changes_nothing():
    end = MIDNIGHT + 30 * MINUTE
    zones, features = ZONES[ZONES["time"] <= end], FEATURES[FEATURES["time"] <= end]
    cut = level_outcome_rows(Window(MIDNIGHT, end), [BTC, ETH], zones, features, PARAMETERS)
    pd.testing.assert_frame_equal(
        cut, WHOLE[WHOLE["time"] <= end].sort_values(list(LEVEL_OUTCOMES.key), ignore_index=True)
    )
    assert len(cut) > 100


def test_without_zones_or_prices_there_are_no_rows():
    window = Window(MIDNIGHT, MIDNIGHT + DAY)
    for zones, features in ((ZONES.iloc[:0], FEATURES), (ZONES, FEATURES.iloc[:0])):
        rows = level_outcome_rows(window, [BTC, ETH], zones, features, PARAMETERS)
        pd.testing.assert_frame_equal(rows, LEVEL_OUTCOMES.empty())


def test_zones_of_another_grid_have_partners_only_where_this_one_has_a_place():
    coarser = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", SCALE // 100, 1000, bucket_size=1_000 * SCALE)
    rows = computed(MIDNIGHT, MIDNIGHT + DAY, [coarser])
    partners = rows[rows["draw"] > 0]
    near = np.where(partners["side"] == "support", partners["high"], partners["low"])
    assert set(near % (1_000 * SCALE)) <= {0}
    assert len(partners) < len(rows) / 4


def test_random_zones_on_a_random_walk_are_no_better_than_chance():
    random = np.random.default_rng(3)
    time = MIDNIGHT + np.arange(1, 2 * 17_280 + 1) * 5 * SECOND
    bid = 60_000 * SCALE + np.cumsum(random.integers(-4, 5, len(time))) * SCALE
    features = pd.DataFrame({"instrument": BTC.key, "time": time, "best_bid": bid, "best_ask": bid + SCALE // 100})
    zones = []
    for place in range(59, len(time), 60):
        for number in np.unique(bid[place] // SCALE + random.integers(-60, 61, 6)).tolist():
            side = "support" if number * SCALE < bid[place] else "resistance"
            zones.append((BTC.key, time[place], "depth", number * SCALE, (number + 1) * SCALE, side, 0.5))
    frame = pd.DataFrame(zones, columns=ZONES.columns)
    days = (Window(start, start + DAY) for start in (MIDNIGHT, MIDNIGHT + DAY))
    rows = pd.concat([level_outcome_rows(day, [BTC], frame, features, OutcomeParameters()) for day in days])
    (score,) = score_levels(rows, OutcomeParameters().horizon)
    assert score.decided > 500
    assert score.verdict == "no difference seen"
    # Matching by distance: both kinds are reached equally often. From the near edge, one bucket wide and k ranges in
    # each direction, a walk turns in about half of the cases (gambler's ruin).
    assert score.touched == pytest.approx(score.random_touched, abs=0.05)
    assert score.random_bounced == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    "wrong", [{"interval": 90 * SECOND}, {"horizon": 0}, {"ranges": 0.0}, {"minimum_minutes": 31}, {"draws": -1}]
)
def test_parameters_refuse_what_makes_no_sense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OutcomeParameters(**wrong)
