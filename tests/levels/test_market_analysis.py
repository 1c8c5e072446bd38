import csv
import gzip
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_assets.event_time import MINUTE
from signal_assets.fixed_point import SCALE, parse_fixed
from signal_assets.levels import (
    BookSnapshot,
    LevelParameters,
    MinuteTrades,
    WavePeak,
    analyze_market,
    detect_combined_peaks,
    detect_scale_space_peaks,
    find_value_area,
)
from signal_assets.levels.market_analysis import EnhancedAnalysis, LegacyAnalysis
from signal_assets.levels.price_zones import Touches, cluster_peaks, count_touches
from signal_assets.levels.profile import RollingTradeProfile, trade_profile
from signal_assets.levels.resonance import find_resonances


def units(*values):
    return np.array([round(value * SCALE) for value in values], dtype=np.int64)


BIDS = units(99.5, 99.2, 98.1, 97.4, 96.0, 95.3, 94.9, 93.0), units(1, 2, 1, 40, 1, 0.005, 1, 1)
ASKS = units(100.5, 101.0, 102.7, 103.1, 104.9, 105.0), units(1, 1, 30, 1, 1, 1)
BOOK = BookSnapshot(*BIDS, *ASKS)
TRADES = MinuteTrades(
    np.array([1, 1, 1, 2, 2, 2, 3, 3]) * MINUTE,
    units(97, 98, 99, 97, 99, 100, 97, 98),
    units(10, 1, 1, 10, 0, 1, 5, 0),
    units(5, 0, 1, 0, 1, 1, 5, 1),
)
ANALYSIS = analyze_market(BOOK, TRADES, "BTCUSDT")


def test_the_sides_are_summed_into_dollars():
    bids, asks = ANALYSIS.aggregated_bids, ANALYSIS.aggregated_asks
    assert (bids.price // SCALE).tolist() == [93, 94, 95, 96, 97, 98, 99]
    assert bids.quantity.tolist() == units(1, 1, 0.005, 1, 40, 1, 3).tolist()
    assert bids.level_count.tolist() == [1, 1, 1, 1, 1, 1, 2]
    assert (asks.price // SCALE).tolist() == [100, 101, 102, 103, 104, 105]
    quality = ANALYSIS.quality
    assert (quality.levels_in, quality.buckets_out, quality.volume_is_preserved) == (14, 13, True)
    assert quality.volume_in == sum(BIDS[1].tolist()) + sum(ASKS[1].tolist())
    # Σ quantity x distance over Σ quantity, by hand, bids then asks.
    distance = 0.5 + 0.4 + 0.1 + 16.0 + 0.0 + 0.0015 + 0.9 + 0.0 + 0.5 + 0.0 + 21.0 + 0.1 + 0.9 + 0.0
    assert quality.price_accuracy_loss == pytest.approx(distance / (47.005 + 35), rel=1e-12)
    assert quality.coverage == 105.0 - 93.0


def test_peaks_and_zones_by_hand():
    # Walls of 40 at 97 and of 30 at 102; the trades peak at 97 with 35 of 42.
    assert sorted(peak.price for peak in ANALYSIS.depth_peaks) == [97, 102]
    assert [peak.price for peak in ANALYSIS.trade_peaks] == [97]
    assert [peak.confidence for peak in ANALYSIS.wave_peaks] == sorted(
        (peak.confidence for peak in (*ANALYSIS.depth_peaks, *ANALYSIS.trade_peaks)), reverse=True
    )
    assert (ANALYSIS.depth_accumulations, ANALYSIS.trade_accumulations) == ((), ())  # single orders, all of them
    # 97 and 102 are 5 apart: one zone of depth, 97…103, whose middle is the mid price 100 itself: not below it.
    (resistance,) = ANALYSIS.resistance_zones
    assert (resistance.low, resistance.high, resistance.profile) == (97 * SCALE, 103 * SCALE, "depth")
    assert resistance.volume == round((40 + 1 + 3 + 1 + 1 + 30) * SCALE)
    (support,) = ANALYSIS.support_zones
    assert (support.low, support.high, support.profile) == (97 * SCALE, 98 * SCALE, "trades")
    assert support.strength == 35 / 42
    assert support.touches == 1  # all three minutes traded there: one run
    (resonance,) = ANALYSIS.resonance_zones
    assert (resonance.low, resonance.high, resonance.depth_volume, resonance.trade_volume) == (97, 97, 40.0, 35.0)
    near = analyze_market(BOOK, TRADES, "BTCUSDT", parameters=LevelParameters(zone_tolerance_buckets=4))
    assert [(zone.low // SCALE, zone.side) for zone in (*near.support_zones, *near.resistance_zones)] == [
        *((97, "support"), (97, "support"), (102, "resistance"))
    ]


def made_book(centre, seed):
    """400 dollars a side of lognormal orders, and orders gathered around ``centre`` over a dozen of dollars."""
    bucket = np.arange(59_600, 60_400)
    volume = np.random.default_rng(seed).lognormal(0, 0.5, len(bucket)) + 8 * np.exp(-(((bucket - centre) / 6) ** 2))
    price, quantity = bucket * SCALE, (volume * SCALE).astype(np.int64)
    below = bucket < 60_000
    return BookSnapshot(price[below][::-1], quantity[below][::-1], price[~below], quantity[~below])


def test_accumulations_are_among_the_wave_peaks_and_a_history_of_others_withdraws_them():
    found = analyze_market(made_book(59_800, 1), None, "BTCUSDT")
    (accumulation,) = found.depth_accumulations
    assert abs(accumulation.price - 59_800) <= 6
    assert accumulation.method == "scale_space"
    assert found.wave_peaks.count(accumulation) == 1
    assert set(found.depth_peaks) < set(found.wave_peaks)
    book, parameters = made_book(59_800, 2), LevelParameters()
    profile = found.aggregated_bids.price // SCALE, found.aggregated_bids.quantity / SCALE
    assert abs(detect_scale_space_peaks(*profile)[0].price - accumulation.price) <= 6
    elsewhere = replace(accumulation, price=accumulation.price + 60)
    in_its_place = replace(accumulation, method="combined")
    histories = (
        ([found.depth_accumulations], 1),
        ([found.depth_peaks] * 3, 1),  # of accumulations it says nothing
        ([(elsewhere,)] * 3, 0),
        ([(elsewhere, in_its_place)] * 3, 0),  # a single order does not vouch for an accumulation
    )
    for history, left in histories:
        assert len(analyze_market(book, None, "X", True, history).depth_accumulations) == left
    nobody = replace(parameters, false_discovery_rate=0.0, min_scale_space_confidence=1.0)
    assert analyze_market(book, None, "X", parameters=nobody).depth_accumulations == ()


def test_legacy_levels_by_hand():
    # At least 0.01 and at least a tenth of the side's largest: 40 alone among bids, 30 alone among asks.
    assert [(level.price, level.quantity, level.strength) for level in ANALYSIS.support_levels] == [
        (round(97.4 * SCALE), 40 * SCALE, 1.0)
    ]
    assert [level.price for level in ANALYSIS.resistance_levels] == [round(102.7 * SCALE)]
    looser = LevelParameters(support_resistance_threshold=0.0)
    found = analyze_market(BOOK, TRADES, "BTCUSDT", False, parameters=looser)
    # Everything but the 0.005; the largest first, of equals the lower price.
    assert [round(level.price / SCALE, 1) for level in found.support_levels] == [
        97.4,
        99.2,
        93.0,
        94.9,
        96.0,
        98.1,
        99.5,
    ]
    assert [level.price for level in ANALYSIS.poc_levels] == [97 * SCALE]
    assert [(zone.low // SCALE, zone.high // SCALE) for zone in ANALYSIS.liquidity_vacuum_zones] == [(95, 96)]


def test_the_legacy_result_is_the_enhanced_one_without_the_rest():
    legacy = analyze_market(BOOK, TRADES, "BTCUSDT", enhanced_mode=False)
    assert type(legacy) is LegacyAnalysis
    assert type(ANALYSIS) is EnhancedAnalysis
    for name in LegacyAnalysis.__dataclass_fields__:
        assert getattr(legacy, name) == getattr(ANALYSIS, name), name


def test_equal_points_of_control_are_all_named():
    tied = MinuteTrades(np.full(3, MINUTE), units(97, 98, 103), units(2, 2, 2), units(0, 0, 0))
    # Of three equals the one nearest to the middle of 97…103 (100) comes first: 98.
    found = analyze_market(BOOK, tied, "BTCUSDT").poc_levels
    assert [level.price // SCALE for level in found] == [98, 97, 103]


def test_without_trades_there_is_a_book_and_no_more():
    for nothing in (None, MinuteTrades(*[np.empty(0, np.int64)] * 4)):
        found = analyze_market(BOOK, nothing, "BTCUSDT")
        assert (found.poc_levels, found.trade_peaks, dict(found.value_areas)) == ((), (), {})
        assert (found.high_volume_nodes, found.resonance_zones) == ((), ())
        assert len(found.depth_peaks) == 2


def test_history_weighs_what_came_and_went():
    at_97 = [WavePeak(97, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, "combined")]
    weighed = {peak.price: peak.confidence for peak in analyze_market(BOOK, TRADES, "X", True, [at_97, []]).depth_peaks}
    plain = {peak.price: peak.confidence for peak in ANALYSIS.depth_peaks}
    assert weighed[97] / plain[97] > weighed[102] / plain[102]


SIDE = st.lists(st.tuples(st.integers(1, 60 * SCALE), st.integers(0, 50 * SCALE)), max_size=40)
ROWS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(50, 110), st.integers(0, 20 * SCALE), st.integers(0, 20 * SCALE)),
    max_size=60,
)


@given(SIDE, SIDE, ROWS, st.sampled_from([SCALE // 2, SCALE, 3 * SCALE]), st.randoms(use_true_random=False))
def test_the_result_does_not_depend_on_order_and_is_what_the_parts_say(bids, asks, rows, size, random):
    bids = [(100 * SCALE - offset, quantity) for offset, quantity in bids]
    asks = [(100 * SCALE + offset, quantity) for offset, quantity in asks]
    if not bids and not asks:
        return
    rows = [(minute * MINUTE, price * SCALE // size * size, bought, sold) for minute, price, bought, sold in rows]

    def analysis():
        book = {}
        for side, levels in (("bid", bids), ("ask", asks)):
            book[f"{side}_price"], book[f"{side}_quantity"] = np.array(levels, np.int64).reshape(-1, 2).T
        trades = pd.DataFrame(rows, columns=["minute", "price_bucket", "buy_quantity", "sell_quantity"], dtype=np.int64)
        return analyze_market(book, trades, "BTCUSDT", bucket_size=size), trades

    found, trades = analysis()
    for side in (bids, asks, rows):
        random.shuffle(side)
    again, _ = analysis()
    for name in EnhancedAnalysis.__dataclass_fields__:
        if not name.startswith("aggregated"):
            assert getattr(found, name) == getattr(again, name), name
    for side, buckets in ((bids, found.aggregated_bids), (asks, found.aggregated_asks)):
        assert sum(buckets.quantity.tolist()) == sum(quantity for _, quantity in side)
    profile = trade_profile(trades, size, 10 * MINUTE, 11 * MINUTE)
    assert list(found.trade_peaks) == detect_combined_peaks(profile.bucket, profile.base_volume)
    if len(profile):
        assert found.value_areas["two_row"] == find_value_area(profile, "two_row")
    for zone in (*found.support_zones, *found.resistance_zones):
        peaks = found.depth_peaks if zone.profile == "depth" else found.trade_peaks
        inside = [peak for peak in peaks if zone.low <= peak.price * size < zone.high]
        assert zone.confidence == max(peak.confidence for peak in inside)


@given(ROWS, st.lists(st.integers(50, 110), min_size=1, max_size=8))
def test_touches_in_one_pass_are_those_of_the_rolling_count(rows, peaks):
    minute, bucket, *_ = np.array(sorted(rows), np.int64).reshape(-1, 4).T
    rolling = RollingTradeProfile(
        minute * MINUTE + MINUTE, bucket * SCALE, np.ones(len(rows), np.int64), SCALE, 48 * MINUTE
    )
    zones = cluster_peaks(np.unique(peaks), np.ones(len(set(peaks))), 3)
    expected = Touches(rolling).count(zones, 20 * MINUTE)
    edges = zones.low * SCALE, (zones.high + 1) * SCALE
    columns = minute * MINUTE + MINUTE, bucket * SCALE
    assert count_touches(*columns, *edges).tolist() == expected.tolist()
    assert count_touches.py_func(*columns, *edges).tolist() == expected.tolist()


def test_each_peak_resonates_once_with_the_nearest():
    peak = lambda price, confidence=0.5: WavePeak(price, 1.0, 1.0, confidence, 0.0, 1.0, 1.0, "combined")  # noqa: E731
    found = find_resonances([peak(100), peak(102)], [peak(101), peak(103, 0.9), peak(110)], 2)
    # 100-101, 102-101 and 102-103 are one apart. 102-103 is no more confident (the lesser counts): the lower first.
    assert [(zone.low, zone.high) for zone in found] == [(100, 101), (102, 103)]
    assert find_resonances([], [peak(1)], 2) == ()


@pytest.mark.parametrize(
    ("book", "trades", "symbol", "size", "message"),
    [
        (BOOK, None, "btc usdt", SCALE, "symbol must be like BTCUSDT, not 'btc usdt'"),
        (BOOK, None, 7, SCALE, "symbol must be like BTCUSDT, not 7"),
        (BOOK, None, "BTCUSDT", 0, "bucket_size must be a positive integer in units of 1e-8, not 0"),
        ({}, None, "BTCUSDT", SCALE, "snapshot: dict has no bid_price"),
        (BookSnapshot(*[np.empty(0, np.int64)] * 4), None, "BTCUSDT", SCALE, "snapshot: no level on either side"),
        (
            BookSnapshot(*ASKS, *BIDS),
            None,
            "X",
            SCALE,
            "snapshot: crossed, best bid 10500000000 is not below best ask 93",
        ),
        (BookSnapshot(BIDS[0] / 2, BIDS[1], *ASKS), None, "X", SCALE, "snapshot.bid_price must be .* not float64"),
        (BookSnapshot(BIDS[0][1:], BIDS[1], *ASKS), None, "X", SCALE, "snapshot: 7 bid prices and 8 bid quantities"),
        (
            BookSnapshot(*BIDS, ASKS[0], -ASKS[1]),
            None,
            "X",
            SCALE,
            r"snapshot.ask_quantity\[0\] is -100000000, less than 0",
        ),
        (BookSnapshot(*BIDS, *ASKS, 5, 4), None, "X", SCALE, "snapshot: coverage_low 5 lies above coverage_high 4"),
        (BOOK, object(), "X", SCALE, "trades: object has no minute"),
        (BOOK, {"minute": [1], "price_bucket": [1], "buy_quantity": [1], "sell_quantity": []}, "X", SCALE, "different"),
        (
            BOOK,
            {"minute": [1, 2], "price_bucket": [1, 1], "buy_quantity": [1, -1], "sell_quantity": [1, 1]},
            *("X", SCALE, r"trades.buy_quantity\[1\] is -1, less than 0"),
        ),
    ],
)
def test_bad_input_is_refused_with_one_line_that_says_what_and_where(book, trades, symbol, size, message):
    with pytest.raises(ValueError, match=message) as refused:
        analyze_market(book, trades, symbol, bucket_size=size)
    assert "\n" not in str(refused.value)


def test_the_recorded_book_keeps_its_volume_and_its_dollar_levels(shared_data):
    (file,) = (shared_data / "depth5000_btcusdt").glob("*.csv.gz")
    levels = {"0": [], "1": []}
    with gzip.open(file, "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            levels[row["IsAsk"]].append((parse_fixed(row["Price"]), parse_fixed(row["Quantity"])))
    bids, asks = (np.array(levels[side], np.int64).T for side in ("0", "1"))
    found = analyze_market(BookSnapshot(*bids, *asks), None, "BTCUSDT")
    for side, buckets, count in (("0", found.aggregated_bids, 1_050), ("1", found.aggregated_asks, 974)):
        sums = defaultdict(int)
        for price, quantity in levels[side]:
            sums[price // SCALE * SCALE] += quantity
        assert len(buckets) == len(sums) == count
        assert dict(zip(buckets.price.tolist(), buckets.quantity.tolist(), strict=True)) == sums
    assert found.quality.volume_is_preserved
    low, high = int(bids[0].min()), int(asks[0].max())
    assert all(low <= zone.low and zone.high <= high + 1 for zone in found.liquidity_vacuum_zones)
