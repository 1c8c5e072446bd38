from datetime import date

import numpy as np
import pytest

from resources.settings import load_settings
from signal_assets.event_time import DAY, MINUTE
from signal_assets.execution.tables import FILLS
from signal_assets.fixed_point import SCALE
from signal_assets.levels.tables import PRICE_ZONES
from signal_assets.market.tables import FEATURES
from signal_assets.performance import day_pictures
from signal_assets.performance.day_pictures import equity_pictures, price_pictures
from signal_assets.performance.tables import EQUITY
from signal_assets.signals.tables import SIGNALS
from tests.lake_rows import frame_of, lake_of

BTC, ETH = "BTCFDUSD.BINANCE", "ETHFDUSD.BINANCE"
DAY_DRAWN = date(2024, 10, 4)
MIDNIGHT = 20_000 * DAY


@pytest.fixture(scope="module")
def settings():
    return load_settings()


def at(minute, **fields):
    return {"instrument": BTC, "time": MIDNIGHT + minute * MINUTE} | fields


@pytest.fixture
def lake():
    quotes = {"best_bid": 60_000 * SCALE, "best_ask": 60_001 * SCALE}
    zone = {"side": "support", "low": 59_990 * SCALE, "high": 59_999 * SCALE, "confidence": 0.5}
    zones = [at(2, profile=profile, **zone) for profile in ("trades", "depth")]
    signals = [
        {"id": name, "instrument": key, "event_time": MIDNIGHT + 2 * MINUTE, "entry_price": 60_000 * SCALE}
        | {"action": "buy", "status": "validated"}
        for name, key in (("a", BTC), ("b", BTC), ("c", ETH))
    ]
    fills = [at(3, order_id="a", price=60_000 * SCALE, side="buy")]
    return lake_of(
        {
            FEATURES: frame_of(FEATURES, [at(minute, **quotes) for minute in np.arange(-2, 10).tolist()]),
            PRICE_ZONES: frame_of(PRICE_ZONES, zones),
            SIGNALS: frame_of(SIGNALS, signals),
            FILLS: frame_of(FILLS, fills),
        }
    )


def test_a_price_is_drawn_for_each_instrument_that_has_any(lake, settings):
    (picture,) = price_pictures(lake, settings, DAY_DRAWN, [BTC, ETH])
    assert picture.name == f"price_{BTC}"
    assert picture.title == f"{BTC} on 2024-10-04: price with zones, signals (2) and fills (1)"
    assert picture.png.startswith(b"\x89PNG")
    assert price_pictures(lake, settings, date(2024, 10, 6), [BTC]) == []


def test_the_price_goes_with_the_zones_of_the_trade_profile_and_rows_of_the_day(lake, settings, monkeypatch):
    drawn = {}

    def keep(features, **rest):
        drawn.update(rest, features=features)
        return b""

    monkeypatch.setattr(day_pictures, "plot_price", keep)
    price_pictures(lake, settings, DAY_DRAWN, [BTC])
    assert drawn["features"]["time"].tolist() == [MIDNIGHT + minute * MINUTE for minute in range(1, 10)]
    assert drawn["price_zones"]["profile"].tolist() == ["trades"]
    assert drawn["signals"]["id"].tolist() == ["a", "b"]


def test_equity_is_drawn_for_each_group_that_has_any(settings):
    rows = [
        {"strategy": name, "instrument": "*.crypto", "time": MIDNIGHT + minute * MINUTE, "equity": 100 * SCALE}
        for name in ("momentum_rider", "portfolio")
        for minute in (1, 2, 3)
    ]
    (picture,) = equity_pictures(lake_of({EQUITY: frame_of(EQUITY, rows)}), settings, DAY_DRAWN)
    assert picture.name == "equity_crypto"
    assert picture.title == "crypto: equity and drawdown of each strategy and of the portfolio on 2024-10-04"
    assert picture.png.startswith(b"\x89PNG")
    assert equity_pictures(lake_of({}), settings, DAY_DRAWN) == []
