from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from signal_assets.event_time import DAY, HOUR, MINUTE
from signal_assets.fixed_point import SCALE
from signal_assets.levels.profile_plot import SUPPORT_COLOUR
from signal_assets.performance.equity_plot import PORTFOLIO_COLOUR, STRATEGY_COLOURS, plot_equity
from signal_assets.performance.price_plot import BUY_COLOUR, PRICE_COLOUR, SELL_COLOUR, plot_price

MIDNIGHT = 20_000 * DAY


def share_of(picture, colour, tolerance=0.02):
    pixels = imread(BytesIO(picture))[..., :3]
    wanted = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return float((np.abs(pixels - wanted).max(axis=2) < tolerance).mean())


def over_white(colour, alpha):
    blended = [alpha * int(colour[i : i + 2], 16) / 255 + 1 - alpha for i in (1, 3, 5)]
    return "#" + "".join(f"{round(part * 255):02x}" for part in blended)


def equity(**accounts):
    frames = [
        pd.DataFrame({"strategy": name, "time": MIDNIGHT + np.arange(len(values)) * HOUR, "equity": values})
        for name, values in accounts.items()
    ]
    return pd.concat(frames) if frames else pd.DataFrame({"strategy": [], "time": [], "equity": []})


def test_every_account_has_its_line():
    picture = plot_equity(equity(rider=[100, 90, 120], portfolio=[300, 310, 280]), title="crypto")
    assert picture.startswith(b"\x89PNG")
    assert share_of(picture, STRATEGY_COLOURS[0]) > 0.0005
    assert share_of(picture, PORTFOLIO_COLOUR) > 0.0005
    assert share_of(picture, STRATEGY_COLOURS[1]) == 0


def test_accounts_without_capital_are_left_out():
    picture = plot_equity(equity(stranger=[0, 50], portfolio=[300, 310]), title="crypto")
    assert share_of(picture, STRATEGY_COLOURS[0]) == 0
    assert plot_equity(equity(), title="crypto").startswith(b"\x89PNG")


@pytest.fixture
def features():
    time = MIDNIGHT + np.arange(1, 25) * 50 * MINUTE // 60
    bid = (60_000 + np.arange(24) * 10) * SCALE
    return pd.DataFrame({"time": time, "best_bid": bid, "best_ask": bid + SCALE})


def signals(status, action="buy"):
    return pd.DataFrame(
        {"event_time": [MIDNIGHT + 5 * MINUTE], "entry_price": [60_100 * SCALE], "status": status, "action": action}
    )


def test_the_price_is_drawn_and_what_was_done(features):
    bare = plot_price(features, title="BTCFDUSD.BINANCE")
    assert share_of(bare, PRICE_COLOUR) > 0.0005
    assert share_of(bare, BUY_COLOUR) == share_of(bare, SELL_COLOUR) == 0
    fills = pd.DataFrame({"time": [MIDNIGHT + 9 * MINUTE], "price": [60_110 * SCALE], "side": ["sell"]})
    done = plot_price(features, title="BTCFDUSD.BINANCE", fills=fills)
    assert share_of(done, SELL_COLOUR) > 0
    assert share_of(done, BUY_COLOUR) == 0


def test_signals_are_told_by_action_and_status(features):
    for action, colour in (("buy", BUY_COLOUR), ("sell", SELL_COLOUR)):
        assert share_of(plot_price(features, title="", signals=signals("validated", action)), colour) > 0
    rejected = plot_price(features, title="", signals=signals("rejected"))
    assert share_of(rejected, BUY_COLOUR) == 0
    assert share_of(rejected, over_white(BUY_COLOUR, 0.35)) > 0
    assert share_of(plot_price(features, title="", signals=signals("failed", "hold")), BUY_COLOUR) == 0


def test_zones_are_drawn_over_the_minutes_for_which_they_were_known(features):
    minutes = MIDNIGHT + np.arange(4, 14) * MINUTE
    zones = pd.DataFrame(
        {"time": minutes, "low": 60_020 * SCALE, "high": 60_120 * SCALE, "side": "support", "confidence": 1.0}
    )
    shade = over_white(SUPPORT_COLOUR, 0.42)  # 0.12 + 0.3 x confidence
    drawn = share_of(plot_price(features, title="", price_zones=zones), shade)
    half = share_of(plot_price(features, title="", price_zones=zones.head(5)), shade)
    assert drawn > 0.05
    assert half == pytest.approx(drawn / 2, rel=0.1)


def test_a_gap_is_left_open_and_a_day_without_prices_said_to_have_none(features):
    gap = features.assign(time=features["time"].where(features.index < 12, features["time"] + HOUR))
    assert share_of(plot_price(gap, title=""), PRICE_COLOUR) < share_of(plot_price(features, title=""), PRICE_COLOUR)
    assert plot_price(features.head(0), title="quiet").startswith(b"\x89PNG")
