import numpy as np
import pandas as pd
import pytest

from resources.lake import Progress
from resources.memory_lake import MemoryLake
from resources.settings import load_settings
from signal_assets.aggregates.tables import DOLLAR_DEPTH, DOLLAR_TRADES
from signal_assets.derivation import asset_name
from signal_assets.event_time import DAY, MINUTE, date_of
from signal_assets.fixed_point import SCALE
from signal_assets.levels import day_pictures
from signal_assets.levels.day_pictures import heat_map_pictures
from signal_assets.levels.tables import PRICE_ZONES, WAVE_PEAKS
from signal_assets.market.tables import FEATURES

MIDNIGHT = 20_000 * DAY
BTC, ETH = "BTCFDUSD.BINANCE", "ETHFDUSD.BINANCE"


def conformed(table, rows):
    """Rows of a table, the columns that are not given filled with something of the right kind."""
    frame = pd.DataFrame(rows)
    for column in table.columns:
        if column.name not in frame:
            if column.type.is_list:
                frame[column.name] = pd.Series([np.zeros(20, np.int64)] * len(frame), dtype=object)
            else:
                frame[column.name] = "x" if column.type.dtype == "str" else 1
    return table.conform(frame[[column.name for column in table.columns]])


@pytest.fixture
def lake():
    """Two minutes of one instrument on one day, and one of the day before."""
    made = MemoryLake()
    key = {"instrument": BTC}
    minutes = [MIDNIGHT, MIDNIGHT + MINUTE, MIDNIGHT + 2 * MINUTE]
    prices = [60_000 * SCALE + step * SCALE for step in range(3)]
    frames = {
        FEATURES: [
            {**key, "time": time, "best_bid": price, "best_ask": price + SCALE}
            for time, price in zip(minutes, prices, strict=True)
        ],
        DOLLAR_DEPTH: [
            {**key, "event_time": time, "side": "bid", "price_bucket": price, "quantity": (1 + row) * SCALE}
            for row, (time, price) in enumerate(zip(minutes, prices, strict=True))
        ],
        DOLLAR_TRADES: [
            {**key, "minute": time, "price_bucket": price, "buy_quantity": 2 * SCALE, "sell_quantity": 3 * SCALE}
            for time, price in zip(minutes, prices, strict=True)
        ],
        WAVE_PEAKS: [
            {**key, "time": time, "profile": profile, "method": "combined", "price": prices[0], "confidence": 0.5}
            for time in minutes
            for profile in ("depth", "trades")
        ],
        PRICE_ZONES: [
            {**key, "time": time, "profile": profile, "low": prices[0], "high": prices[1], "side": "support"}
            for time in minutes
            for profile in ("depth", "trades")
        ],
    }
    made.ensure(frames)
    for table, rows in frames.items():
        with made.transaction(asset=asset_name(table), run_id="made") as unit:
            unit.append(table, conformed(table, rows))
            unit.advance(asset_name(table), "crypto", None, Progress(MIDNIGHT - DAY, MIDNIGHT + DAY))
    return made


def test_each_heat_map_is_of_the_day_and_the_profile(lake, monkeypatch):
    drawn = []
    monkeypatch.setattr(day_pictures, "plot_heat_map", lambda *args, **given: drawn.append((args, given)) or b"\x89PNG")
    pictures = heat_map_pictures(lake, load_settings(), date_of(MIDNIGHT + DAY), [BTC, ETH])
    assert [picture.name for picture in pictures] == [f"heat_depth_{BTC}", f"heat_trades_{BTC}"]
    assert [given["together"] for _, given in drawn] == ["mean", "sum"]
    for (cells, features, bucket_size), given in drawn:
        # (start, end]: midnight sharp belongs to the day before.
        assert cells["time"].tolist() == [MIDNIGHT + MINUTE, MIDNIGHT + 2 * MINUTE]
        assert features["time"].tolist() == cells["time"].tolist()
        assert bucket_size == SCALE
        assert len(given["wave_peaks"]) == len(given["price_zones"]) == 2
    (depth, _), (trades, _) = drawn
    assert depth[0]["quantity"].tolist() == [2 * SCALE, 3 * SCALE]
    assert trades[0]["quantity"].tolist() == [5 * SCALE, 5 * SCALE]
    # The profile at the end: of depth the newest snapshot, of trades the look-back, the day before's minute too.
    assert drawn[0][1]["profile"].volume.tolist() == [3 * SCALE]
    assert drawn[1][1]["profile"].volume.tolist() == [5 * SCALE] * 3


def test_pictures_are_files(lake):
    pictures = heat_map_pictures(lake, load_settings(), date_of(MIDNIGHT + DAY), [BTC])
    assert all(picture.png.startswith(b"\x89PNG") for picture in pictures)
    assert len(pictures) == 2


def test_a_day_without_data_has_no_pictures(lake):
    assert heat_map_pictures(lake, load_settings(), date_of(MIDNIGHT + 5 * DAY), [BTC]) == []
