"""The figures of docs/worked-example.md, by the code itself: the page's own messages through every table."""

import re
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from resources.exchange.binance_messages import MessageParser
from signal_assets.aggregates.dollar_depth import dollar_depth_rows
from signal_assets.aggregates.dollar_trades import dollar_trades_rows
from signal_assets.event_time import MINUTE, SECOND
from signal_assets.fixed_point import SCALE, parse_fixed
from signal_assets.instrument import Instrument
from signal_assets.levels.parameters import LevelParameters
from signal_assets.levels.window_kernels import price_zone_rows, value_area_rows, wave_peak_rows
from signal_assets.market.ingest import IngestSettings, VenueIngest
from signal_assets.market.messages import DepthSnapshot, DepthUpdate
from signal_assets.market.tables import DEPTH_SNAPSHOTS, FEATURES, TRADES
from signal_assets.table import Table
from signal_assets.window import Window

PAGE = Path(__file__).parents[2] / "docs" / "worked-example.md"
BTC = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", tick_size=1_000_000, lot_size=1_000)
POINT = 1_723_161_256 * SECOND  # 2024-08-08T23:54:16Z
CLOSE = 1_723_161_300 * SECOND  # 23:55:00
WINDOW = Window(CLOSE - MINUTE, CLOSE)
PARAMETERS = {BTC.key: LevelParameters()}


def levels(*pairs: tuple[str, str]) -> list[tuple[int, int]]:
    return [(parse_fixed(price), parse_fixed(quantity)) for price, quantity in pairs]


@pytest.fixture(scope="module")
def raw() -> dict[str, pd.DataFrame]:
    """The raw tables after the page's messages; an update before and one after them move the clock."""
    parser = MessageParser([BTC])
    block = re.search(r"```json\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert block is not None
    ingest = VenueIngest([BTC], IngestSettings())
    ingest.receive(DepthUpdate(BTC.key, POINT - 5 * SECOND, 0, 999, 999, [], []))
    (request,) = ingest.requests()
    bids = levels(("61737.62", "2"), ("61736.10", "1.5"), ("61735.00", "12"))
    asks = levels(("61737.63", "1"), ("61738.40", "3"))
    ingest.answer_snapshot(request, DepthSnapshot(BTC.key, 999, bids, asks))
    ingest.receive(DepthUpdate(BTC.key, POINT - 4 * SECOND, 0, 1000, 1000, [], []))
    for line in block.group(1).splitlines():
        suffix = "trade" if '"e":"trade"' in line else "depth@100ms"
        message = parser.parse(0, f'{{"stream":"btcfdusd@{suffix}","data":{line}}}'.encode())
        assert message is not None
        ingest.receive(message)
    ingest.receive(DepthUpdate(BTC.key, CLOSE + SECOND, 0, 1002, 1002, [], []))
    output = ingest.drain(BTC.key)

    def frame(table: Table, rows: list[tuple[object, ...]]) -> pd.DataFrame:
        return table.conform(pd.DataFrame(rows, columns=[column.name for column in table.columns]))

    return {
        "trades": frame(TRADES, output.trades),
        "features": frame(FEATURES, output.features),
        "depth": frame(DEPTH_SNAPSHOTS, output.depth_snapshots),
    }


def test_trade(raw: dict[str, pd.DataFrame]) -> None:
    (row,) = raw["trades"].to_dict("records")
    assert (row["trade_id"], row["event_time"], row["price"], row["quantity"]) == (
        100,
        POINT - SECOND + 207_000,
        6_173_763_000_000,
        SCALE // 2,
    )
    assert not row["is_buyer_maker"]
    assert not row["late"]


def test_features(raw: dict[str, pd.DataFrame]) -> None:
    rows = raw["features"]
    (row,) = rows[rows["time"] == POINT].to_dict("records")
    assert (row["best_bid"], row["bid_quantity"]) == (6_173_762_000_000, 2 * SCALE)
    assert (row["best_ask"], row["ask_quantity"]) == (6_173_763_000_000, SCALE // 2)
    assert (row["mid_price"], row["spread"]) == (61_737.625, SCALE // 100)
    assert row["imbalance_1"] == pytest.approx(0.6)
    assert row["imbalance_5"] == pytest.approx(12 / 19)
    assert row["imbalance_20"] == row["imbalance_5"]
    assert row["order_flow_imbalance"] == SCALE // 2
    assert (row["trade_count"], row["buy_quantity"], row["sell_quantity"]) == (1, SCALE // 2, 0)
    assert (row["last_price"], row["last_update_id"]) == (6_173_763_000_000, 1001)


def test_depth_snapshot(raw: dict[str, pd.DataFrame]) -> None:
    (row,) = raw["depth"].to_dict("records")
    assert row["event_time"] == CLOSE
    assert (list(row["bid_quantity"]), list(row["ask_quantity"])) == (
        [2 * SCALE, 3 * SCALE // 2, 12 * SCALE],
        [SCALE // 2, 3 * SCALE],
    )


def test_aggregates(raw: dict[str, pd.DataFrame]) -> None:
    trades = dollar_trades_rows(WINDOW, [BTC], raw["trades"])
    assert trades[["minute", "price_bucket", "buy_quantity", "sell_quantity", "trade_count"]].values.tolist() == [
        [CLOSE, 61_737 * SCALE, SCALE // 2, 0, 1]
    ]
    depth = dollar_depth_rows(WINDOW, [BTC], raw["depth"])
    assert {
        (side, bucket // SCALE): (Decimal(quantity) / SCALE, count)
        for side, bucket, quantity, count in depth[["side", "price_bucket", "quantity", "level_count"]].values.tolist()
    } == {
        ("ask", 61_737): (Decimal("0.5"), 1),
        ("ask", 61_738): (Decimal(3), 1),
        ("bid", 61_735): (Decimal(12), 1),
        ("bid", 61_736): (Decimal("1.5"), 1),
        ("bid", 61_737): (Decimal(2), 1),
    }


def test_levels(raw: dict[str, pd.DataFrame]) -> None:
    trades = dollar_trades_rows(WINDOW, [BTC], raw["trades"])
    depth = dollar_depth_rows(WINDOW, [BTC], raw["depth"])
    features = raw["features"][["instrument", "time", "best_bid", "best_ask"]]

    peaks = wave_peak_rows(WINDOW, [BTC], trades, depth, features, PARAMETERS)
    assert peaks["time"].tolist() == [CLOSE] * 3
    assert peaks["profile"].tolist() == ["depth"] * 3
    assert (peaks["price"] == 61_735 * SCALE).all()
    confidence = dict(zip(peaks["method"], peaks["confidence"], strict=True))
    assert confidence == pytest.approx({"statistical": 0.553050, "volume": 0.511364, "combined": 0.890802}, abs=1e-6)
    for name, value in (("z_score", 1.717812), ("prominence", 10.5), ("distance_sigma", -0.699328), ("width", 0.9375)):
        assert peaks[name].tolist() == pytest.approx([value] * 3, abs=1e-6), name

    (zone,) = price_zone_rows(WINDOW, [BTC], peaks, trades, depth, features, PARAMETERS).to_dict("records")
    assert (zone["low"], zone["high"], zone["side"]) == (61_735 * SCALE, 61_736 * SCALE, "support")
    assert (zone["volume"], zone["touches"]) == (12 * SCALE, 0)
    assert zone["strength"] == pytest.approx(12 / 19)
    assert zone["confidence"] == pytest.approx(0.890802, abs=1e-6)

    areas = value_area_rows(WINDOW, [BTC], trades, features, PARAMETERS)
    assert sorted(areas["expansion"]) == ["one_row", "two_row"]
    for name in ("point_of_control", "value_area_low", "value_area_high"):
        assert areas[name].tolist() == [61_737 * SCALE] * 2, name
    assert areas[["volume", "total_volume"]].values.tolist() == [[SCALE // 2, SCALE // 2]] * 2
