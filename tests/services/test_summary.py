import json

import pytest

from resources.settings import load_settings
from services.summary import (
    WRITERS,
    Planted,
    TableSummary,
    find_walls,
    market_minutes,
    strongest_peaks,
    strongest_zones,
)
from signal_assets.anomalies.folds import anomaly_fold
from signal_assets.derivation import asset_name
from signal_assets.event_time import DAY, MINUTE
from signal_assets.execution.folds import execution_fold
from signal_assets.fixed_point import SCALE
from signal_assets.levels.tables import PRICE_ZONES, WAVE_PEAKS
from signal_assets.performance.folds import equity_fold, trade_log_fold
from signal_assets.signals.folds import signal_fold
from signal_assets.stage_tables import TABLES
from tests.lake_rows import frame_of, lake_of

BTC = "BTCFDUSD.BINANCE"  # buckets of one FDUSD
MIDNIGHT = 20_000 * DAY


@pytest.fixture(scope="module")
def settings():
    return load_settings()


def peak(minute, price, profile="trades", method="combined", **fields):
    where = {"instrument": BTC, "time": MIDNIGHT + minute * MINUTE, "price": price * SCALE}
    return where | {"profile": profile, "method": method} | fields


def test_the_strongest_peaks_are_combined_ones_of_the_newest_minute(settings):
    rows = [
        peak(1, 60_000, confidence=1.0, volume=9 * SCALE),
        peak(2, 60_001, confidence=0.5, volume=2 * SCALE, z_score=1.5),
        peak(2, 60_002, confidence=0.9, volume=1 * SCALE),
        peak(2, 60_003, confidence=0.5, volume=3 * SCALE),
        peak(2, 60_004, confidence=1.0, method="volume"),
        peak(3, 60_005, confidence=1.0, profile="depth"),
    ]
    found = strongest_peaks(lake_of({WAVE_PEAKS: frame_of(WAVE_PEAKS, rows)}), settings, count=3)
    assert [(row["price"], row["volume"]) for row in found[BTC]] == [(60_002, 1), (60_003, 3), (60_001, 2)]
    assert found["ETHFDUSD.BINANCE"] == []


def test_scale_space_peaks_come_before_combined_ones(settings):
    rows = [
        peak(2, 60_001, confidence=0.95),
        peak(2, 60_002, confidence=0.75, method="scale_space"),
        peak(2, 60_003, confidence=0.85, method="scale_space"),
        peak(2, 60_004, confidence=0.99, method="statistical"),
    ]
    found = strongest_peaks(lake_of({WAVE_PEAKS: frame_of(WAVE_PEAKS, rows)}), settings)[BTC]
    assert [(row["method"], row["price"]) for row in found] == [
        ("scale_space", 60_003),
        ("scale_space", 60_002),
        ("combined", 60_001),
    ]


def test_the_strongest_zones_come_first(settings):
    rows = [
        {
            "instrument": BTC,
            "time": MIDNIGHT,
            "profile": "trades",
            "side": side,
            "low": low * SCALE,
            "strength": strength,
        }
        for side, low, strength in (("support", 1, 0.1), ("resistance", 2, 0.3), ("support", 3, 0.2))
    ]
    found = strongest_zones(lake_of({PRICE_ZONES: frame_of(PRICE_ZONES, rows)}), settings, count=2)
    assert [(row["side"], row["low"]) for row in found[BTC]] == [("resistance", 2.0), ("support", 3.0)]


def wall(price, first, last):
    times = {"start": MIDNIGHT + first * MINUTE, "end": MIDNIGHT + last * MINUTE}
    return {"instrument": BTC, "side": "bid", "price": price, "quantity": "5"} | times


def test_a_wall_is_found_where_a_depth_peak_stands_in_its_bucket_or_next_to_it(settings):
    rows = [
        peak(1, 59_999, "depth"),  # next to the bucket of 60,000.25
        peak(2, 60_002, "depth"),  # two buckets away
        peak(3, 60_000, "depth"),
        peak(3, 60_000, "trades"),
        peak(9, 60_500, "depth"),
    ]
    lake = lake_of({WAVE_PEAKS: frame_of(WAVE_PEAKS, rows)})
    stood, missed, unseen = wall("60000.25", 0, 4), wall("60400", 8, 10), wall("60000", 20, 30)
    found = find_walls(lake, settings, [stood, missed, unseen, stood | {"instrument": "XRPFDUSD.BINANCE"}])
    assert [(item.price, item.minutes_found, item.minutes, item.found) for item in found] == [
        (6_000_025 * SCALE // 100, 2, 3, True),
        (60_400 * SCALE, 0, 1, False),
    ]


def test_market_time_is_that_of_the_features(settings):
    lines = [
        TableSummary("market.features", 3, MIDNIGHT, MIDNIGHT + 90 * MINUTE, None),
        TableSummary("learning.thresholds", 4, MIDNIGHT + DAY, MIDNIGHT + 2 * DAY, None),
    ]
    assert market_minutes(lines) == 90.0
    assert market_minutes([TableSummary("market.features", 0, None, None, None)]) == 0.0


def test_what_was_planted_is_read_from_every_truth_there_is(tmp_path):
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(json.dumps({"walls": [1], "anomalies": [2]}))
    second.write_text(json.dumps({"walls": [3]}))
    assert Planted.read([first, second, tmp_path / "absent.json"]) == Planted([1, 3], [2])
    assert Planted.read([tmp_path / "absent.json"]) == Planted([], None)


def test_tables_of_one_fold_bear_the_snapshot_of_their_first(settings):
    folds = (anomaly_fold, signal_fold, execution_fold, trade_log_fold, equity_fold)
    for fold in (declare(settings) for declare in folds):
        for table in fold.tables:
            assert WRITERS.get(table, asset_name(table)) == asset_name(fold.tables[0])
    assert set(WRITERS) <= set(TABLES)
