from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.aggregates.dollar_depth import dollar_depth_rows
from signal_assets.aggregates.dollar_trades import dollar_trades_rows
from signal_assets.event_time import DAY, MINUTE, SECOND
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from signal_assets.levels import (
    LevelParameters,
    detect_combined_peaks,
    detect_scale_space_peaks,
    find_value_area,
    trade_profile,
)
from signal_assets.levels.tables import PRICE_ZONES, VALUE_AREA, WAVE_PEAKS
from signal_assets.levels.window_kernels import living_minutes, price_zone_rows, value_area_rows, wave_peak_rows
from signal_assets.window import Window

DAY_START = 20_000 * DAY
LIVE_FROM = DAY_START + DAY - 40 * MINUTE
DAY_END = DAY_START + DAY
BTC = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", SCALE // 100, 1000)
ETH = Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", SCALE // 100, 1000, bucket_size=20_000_000)
SOL = Instrument("SOLFDUSD", "BINANCE", "SOL/FDUSD", SCALE // 100, 1000, bucket_size=5_000_000)
INSTRUMENTS = [SOL, BTC, ETH]
PARAMETERS = {
    # A look-back shorter than the stretch, so that minutes leave it; one per instrument, so that they are told apart.
    BTC.key: LevelParameters(look_back=15 * MINUTE, z_score_threshold=1.0, min_absolute_volume=6.0),
    ETH.key: LevelParameters(look_back=7 * MINUTE, min_peak_volume=1.0, zone_tolerance_buckets=2),
    SOL.key: LevelParameters(look_back=25 * MINUTE, min_relative_volume=1.5),
}


def made_market(seed):
    """Trades, depth snapshots and features of three instruments over the last forty minutes of a day."""
    random = np.random.default_rng(seed)
    trades, snapshots, features = [], [], []
    for instrument, price in ((BTC, 60_000), (ETH, 2_600), (SOL, 150)):
        count, size = 1_500, instrument.bucket_size
        middle = price * SCALE + np.cumsum(random.integers(-size // 4, size // 4 + 1, count))
        time = np.sort(LIVE_FROM - 5 * MINUTE + 1 + random.integers(0, 45 * MINUTE, count))
        # Some trades on the full minute itself, where the interval's closed end counts.
        time[::50] = time[::50] // MINUTE * MINUTE + MINUTE
        trades.append(
            pd.DataFrame(
                {
                    "instrument": instrument.key,
                    "event_time": time,
                    "price": middle + random.integers(-3 * size, 3 * size, count),
                    "quantity": (random.pareto(1.2, count) * 0.5 * SCALE).astype(np.int64) + 1,
                    "is_buyer_maker": random.random(count) < 0.5,
                }
            )
        )
        grid = np.arange(LIVE_FROM + SECOND, DAY_END + 1, SECOND)
        alive = random.random(len(grid)) < 0.9
        # Three minutes of a dead feed; one of them with a single second of life.
        dead = (grid > LIVE_FROM + 12 * MINUTE) & (grid <= LIVE_FROM + 15 * MINUTE)
        alive &= ~dead
        alive |= grid == LIVE_FROM + 13 * MINUTE + SECOND
        best_bid = np.interp(grid, time, middle).astype(np.int64)
        features.append(
            pd.DataFrame(
                {"instrument": instrument.key, "time": grid, "best_bid": best_bid, "best_ask": best_bid + 10_000}
            )[alive]
        )
        for minute in np.arange(LIVE_FROM + MINUTE, DAY_END + 1, MINUTE)[random.random(40) < 0.9]:
            here = int(np.interp(minute, time, middle))
            depth = {"instrument": instrument.key, "event_time": int(minute)}
            for side, sign in (("bid", -1), ("ask", 1)):
                depth[f"{side}_price"] = here + sign * np.cumsum(random.integers(1, size // 2, 120))
                depth[f"{side}_quantity"] = (random.pareto(1.2, 120) * SCALE).astype(np.int64) + 1
            snapshots.append(depth)
    return (
        pd.concat(trades, ignore_index=True),
        pd.DataFrame(snapshots),
        pd.concat(features, ignore_index=True),
    )


MARKET = made_market(seed=11)
# The look-back comes from windows of its own; that their cut does not matter is shown where they are tested.
DOLLAR_TRADES = dollar_trades_rows(Window(DAY_START, DAY_END), INSTRUMENTS, MARKET[0])


def between(frame, column, start, end):
    return frame[(frame[column] > start) & (frame[column] <= end)].reset_index(drop=True)


def computed(window, instruments=INSTRUMENTS):
    """The chain of one window, each step given exactly what its contract names."""
    _, snapshots, features = MARKET
    dollar_depth = dollar_depth_rows(window, instruments, between(snapshots, "event_time", window.start, window.end))
    longest = max(parameters.look_back for parameters in PARAMETERS.values())
    dollar_trades = between(DOLLAR_TRADES, "minute", window.start - longest, window.end)
    features = between(features, "time", window.start - MINUTE, window.end)
    peaks = wave_peak_rows(window, instruments, dollar_trades, dollar_depth, features, PARAMETERS)
    zones = price_zone_rows(window, instruments, peaks, dollar_trades, dollar_depth, features, PARAMETERS)
    areas = value_area_rows(window, instruments, dollar_trades, features, PARAMETERS)
    return peaks, zones, areas


TABLES = (WAVE_PEAKS, PRICE_ZONES, VALUE_AREA)
WHOLE_DAY = computed(Window(DAY_START, DAY_END))


def test_the_day_has_rows_of_every_kind_in_the_tables_schema_and_order():
    for table, rows in zip(TABLES, WHOLE_DAY, strict=True):
        pd.testing.assert_frame_equal(table.conform(rows), rows)
        pd.testing.assert_frame_equal(rows.sort_values(list(table.key), ignore_index=True), rows)
        assert set(rows["instrument"]) == {BTC.key, ETH.key, SOL.key}
    peaks, zones, areas = WHOLE_DAY
    plain = peaks[peaks["method"] != "scale_space"]
    assert len(plain.groupby(["instrument", "profile", "method"])) == 3 * 2 * 3
    assert set(zones["side"]) == {"support", "resistance"}
    assert len(peaks) > 1_000
    assert len(zones) > 400
    assert len(areas) > 200
    assert zones["touches"].max() > 1


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 40 * 60 - 1), max_size=12, unique=True).map(sorted))
def test_forward_windows_of_any_cut_are_the_day_run(cuts):
    bounds = [LIVE_FROM, *(LIVE_FROM + cut * SECOND for cut in cuts), DAY_END]
    pieces = [computed(Window(start, end)) for start, end in pairwise(bounds)]
    assert_same_as_the_day(pieces)


@pytest.mark.slow
@pytest.mark.parametrize("step", [10 * SECOND, MINUTE, 7 * MINUTE])
def test_forward_windows_of_one_length_are_the_day_run(step):
    bounds = [*range(LIVE_FROM, DAY_END, step), DAY_END]
    assert_same_as_the_day([computed(Window(a, b)) for a, b in pairwise(bounds)])


def assert_same_as_the_day(pieces):
    for table, day, parts in zip(TABLES, WHOLE_DAY, zip(*pieces, strict=True), strict=True):
        forward = pd.concat(parts, ignore_index=True).sort_values(list(table.key), ignore_index=True)
        pd.testing.assert_frame_equal(forward, day, check_exact=True)


def test_instruments_one_by_one_are_the_group():
    pieces = [computed(Window(DAY_START, DAY_END), [instrument]) for instrument in INSTRUMENTS]
    assert_same_as_the_day(pieces)


def test_what_lies_outside_the_window_and_its_look_back_changes_nothing():
    window = Window(LIVE_FROM + 20 * MINUTE, LIVE_FROM + 22 * MINUTE)
    _, snapshots, features = MARKET
    dollar_depth = dollar_depth_rows(Window(DAY_START, DAY_END), INSTRUMENTS, snapshots)
    everything = (DOLLAR_TRADES, dollar_depth, features, PARAMETERS)
    peaks = wave_peak_rows(window, INSTRUMENTS, *everything)
    expected = computed(window)
    pd.testing.assert_frame_equal(peaks, expected[0])
    pd.testing.assert_frame_equal(price_zone_rows(window, INSTRUMENTS, WHOLE_DAY[0], *everything), expected[1])
    pd.testing.assert_frame_equal(
        value_area_rows(window, INSTRUMENTS, DOLLAR_TRADES, features, PARAMETERS), expected[2]
    )


def test_rows_are_what_the_public_functions_say_of_the_same_profile():
    peaks, zones, areas = WHOLE_DAY
    time = LIVE_FROM + 30 * MINUTE
    parameters = PARAMETERS[BTC.key]
    own = DOLLAR_TRADES[DOLLAR_TRADES["instrument"] == BTC.key]
    profile = trade_profile(own, BTC.bucket_size, time, parameters.look_back)
    found = detect_combined_peaks(
        profile.bucket,
        profile.base_volume,
        statistical_params={"z_score_threshold": 1.0},
        volume_params={"min_absolute_volume": 6.0},
    )
    rows = peaks[(peaks["instrument"] == BTC.key) & (peaks["time"] == time) & (peaks["profile"] == "trades")]
    rows = rows[rows["method"] == "combined"]
    assert len(rows) > 1
    expected = sorted((peak.price * SCALE, round(peak.volume * SCALE), peak.z_score, peak.confidence) for peak in found)
    assert list(rows[["price", "volume", "z_score", "confidence"]].itertuples(index=False, name=None)) == expected

    for row in areas[(areas["instrument"] == BTC.key) & (areas["time"] == time)].itertuples():
        area = find_value_area(profile, row.expansion)
        assert (row.point_of_control, row.value_area_low, row.value_area_high, row.volume, row.total_volume) == (
            area.point_of_control * SCALE,
            area.low * SCALE,
            area.high * SCALE,
            area.volume,
            profile.total,
        )

    zone = zones[(zones["instrument"] == BTC.key) & (zones["time"] == time) & (zones["profile"] == "trades")]
    for row in zone.itertuples():
        inside = (profile.bucket * SCALE >= row.low) & (profile.bucket * SCALE < row.high)
        assert row.volume == int(profile.volume[inside].sum())
        assert row.strength == row.volume / profile.total
        its_peaks = rows[(rows["price"] >= row.low) & (rows["price"] < row.high)]
        assert row.confidence == its_peaks["confidence"].max()
    assert len(zone) > 0


def test_accumulations_are_found_among_the_other_methods_rows():
    random = np.random.default_rng(3)
    bucket = np.arange(59_600, 60_400)
    minutes = LIVE_FROM + np.array([1, 2]) * MINUTE
    features = pd.DataFrame(
        {"instrument": BTC.key, "time": minutes, "best_bid": 60_000 * SCALE, "best_ask": 60_001 * SCALE}
    )
    depth, profiles = [], {}
    for minute, centre in zip(minutes.tolist(), (59_800, 60_250), strict=True):
        volume = random.lognormal(0, 0.5, len(bucket)) + 8 * np.exp(-(((bucket - centre) / 6) ** 2))
        profiles[minute] = (volume * SCALE).astype(np.int64)
        depth.append(
            pd.DataFrame(
                {
                    "instrument": BTC.key,
                    "event_time": minute,
                    "side": np.where(bucket < 60_000, "bid", "ask"),
                    "price_bucket": bucket * SCALE,
                    "quantity": profiles[minute],
                }
            )
        )
    window = Window(LIVE_FROM, LIVE_FROM + 2 * MINUTE)
    given = window, [BTC], DOLLAR_TRADES.iloc[:0], pd.concat(depth, ignore_index=True), features
    peaks = wave_peak_rows(*given, PARAMETERS)
    pd.testing.assert_frame_equal(peaks.sort_values(list(WAVE_PEAKS.key), ignore_index=True), peaks)
    rows = peaks[peaks["method"] == "scale_space"]
    assert rows["time"].tolist() == minutes.tolist()
    assert (np.abs(rows["price"].to_numpy() // SCALE - [59_800, 60_250]) <= 6).all()
    for row in rows.itertuples():
        (found,) = detect_scale_space_peaks(bucket, profiles[row.time] / SCALE)
        assert (row.price, row.volume) == (found.price * SCALE, round(found.volume * SCALE))
        assert (row.z_score, row.confidence, row.distance_sigma, row.prominence, row.width) == (
            *(found.z_score, found.confidence, found.distance_sigma),
            *(found.prominence, found.width),
        )
    plain = peaks[peaks["method"] != "scale_space"].reset_index(drop=True)
    nobody = {BTC.key: replace(PARAMETERS[BTC.key], min_scale_space_confidence=1.0, false_discovery_rate=0.0)}
    pd.testing.assert_frame_equal(wave_peak_rows(*given, nobody), plain)


def test_a_minute_lives_when_a_features_row_lies_in_it():
    time = DAY_START + np.array([0, 60, 61, 180]) * SECOND
    bid = np.array([10, 20, 30, 40])
    features = pd.DataFrame({"instrument": BTC.key, "time": time, "best_bid": bid, "best_ask": bid + 1})
    # Minute 1 has the row of 60 s, minute 2 that of 61 s, minute 3 that of 180 s; minute 4 has none, 0 is not inside.
    minutes, bid_plus_ask = living_minutes(Window(DAY_START, DAY_START + 5 * MINUTE), features, BTC.key)
    assert ((minutes - DAY_START) // MINUTE).tolist() == [1, 2, 3]
    assert bid_plus_ask.tolist() == [41, 61, 81]
    assert living_minutes(Window(DAY_START, DAY_START + MINUTE), features, ETH.key)[0].tolist() == []


def test_without_a_living_feed_there_are_no_rows():
    features = MARKET[2]
    window = Window(LIVE_FROM + 13 * MINUTE + 2 * SECOND, LIVE_FROM + 15 * MINUTE - SECOND)
    for table, rows in zip(TABLES, computed(window, [BTC]), strict=True):
        alive = between(features, "time", LIVE_FROM + 13 * MINUTE, LIVE_FROM + 14 * MINUTE)
        assert len(alive[alive["instrument"] == BTC.key]) == 1
        # 23:34 had its one second; from then on nothing.
        assert set(rows["time"]) <= {LIVE_FROM + 14 * MINUTE}
        empty = computed(Window(LIVE_FROM + 14 * MINUTE, LIVE_FROM + 15 * MINUTE), [BTC])[TABLES.index(table)]
        pd.testing.assert_frame_equal(empty, table.empty())


def test_a_living_feed_without_trades_has_depth_peaks_only():
    window = Window(LIVE_FROM, LIVE_FROM + 10 * MINUTE)
    _, snapshots, features = MARKET
    depth = dollar_depth_rows(window, INSTRUMENTS, snapshots)
    nothing = DOLLAR_TRADES.iloc[:0]
    peaks = wave_peak_rows(window, INSTRUMENTS, nothing, depth, features, PARAMETERS)
    assert set(peaks["profile"]) == {"depth"}
    zones = price_zone_rows(window, INSTRUMENTS, peaks, nothing, depth, features, PARAMETERS)
    assert set(zones["profile"]) == {"depth"}
    assert set(zones["touches"]) == {0}
    areas = value_area_rows(window, INSTRUMENTS, nothing, features, PARAMETERS)
    pd.testing.assert_frame_equal(areas, VALUE_AREA.empty())


def test_parameters_refuse_what_makes_no_sense():
    for wrong in (
        {"look_back": 0},
        {"min_peak_volume": -1.0},
        {"zone_tolerance_buckets": -1},
        {"min_relative_volume": float("nan")},
        {"min_peak_confidence": 1.5},
        {"false_discovery_rate": -0.1},
        {"min_scale_space_confidence": 2.0},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            replace(LevelParameters(), **wrong)
