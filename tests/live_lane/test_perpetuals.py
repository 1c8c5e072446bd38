"""The live lane takes perpetuals from the futures' addresses by the futures' protocol, over real sockets."""

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

from resources.exchange.binance import BinanceSpot
from resources.exchange.binance_usdm import BinanceUsdm
from resources.redis_keys import market_features, market_gaps, market_trades
from resources.redis_streams import StreamReader
from resources.settings import Settings, SettingsError, load_settings
from services.live_lane.lane import ADAPTERS, LiveLane
from services.live_lane.shard import market_of
from services.simulated_venue.order_flow import OrderFlow
from services.simulated_venue.server import SimulatedVenue
from signal_assets.event_time import SECOND
from signal_assets.market import tables
from signal_assets.market.stream_codec import decode
from tests.exchange.futures_venue import FuturesVenue

PERPETUAL = """
  - {symbol: BTCUSDT-PERP, venue: BINANCE, pair: BTC/USDT, group: perpetuals, tick_size: "0.1", lot_size: "0.001",
     trade_stream: aggTrade}
"""
SPOT = """
  - {symbol: BTCUSDT, venue: BINANCE, pair: BTC/USDT, tick_size: "0.01", lot_size: "0.00001"}
"""
KEY, SPOT_KEY = "BTCUSDT-PERP.BINANCE", "BTCUSDT.BINANCE"


def settings_from(folder: Path, instruments: str, **venue: str) -> Settings:
    file = folder / "configuration.yaml"
    lines = [f"  {name}: {value}" for name, value in ({"virtual_clock": "true"} | venue).items()]
    file.write_text(
        "\n".join(["instruments:" + instruments + "venue:", *lines, "live: {metrics_port: 0, health_port: 0}"])
    )
    return load_settings(file)


def sockets(url: str) -> str:
    return url.replace("http", "ws")


def test_perpetuals_have_an_adapter_of_their_own(tmp_path: Path) -> None:
    settings = settings_from(tmp_path, SPOT + PERPETUAL)
    adapters = {key: ADAPTERS[market_of(item)] for key, item in settings.instruments_by_key.items()}
    assert adapters == {SPOT_KEY: BinanceSpot, KEY: BinanceUsdm}
    assert settings.venue.futures_rest_url == "https://fapi.binance.com"


def test_a_perpetual_with_single_trades_is_refused_where_it_is_configured(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="aggregated trades only, say trade_stream: aggTrade"):
        settings_from(tmp_path, PERPETUAL.replace("aggTrade", "trade"))


def column(reader: StreamReader, stream: str, table: Any, name: str) -> list[int]:
    entries = reader.read_after(stream, None, 100_000)
    return [int(value) for entry in entries for value in decode(table, entry.fields["data"])[name]]


@pytest.mark.slow
async def test_spot_and_perpetuals_reach_their_streams_from_two_venues(redis_server: Any, tmp_path: Path) -> None:
    futures = FuturesVenue(seed=3, messages=120)
    spot_only = settings_from(tmp_path, SPOT)
    flow = OrderFlow(tuple(spot_only.instruments_by_key.values()), seed=4, days=0.001)
    async with SimulatedVenue(flow, speed=math.inf) as spot, futures.served() as url:
        settings = settings_from(
            tmp_path,
            SPOT + PERPETUAL,
            rest_url=spot.rest_url,
            stream_url=spot.stream_url,
            futures_rest_url=url,
            futures_stream_url=sockets(url),
        )
        lane = LiveLane(settings, redis_server.url, tmp_path, exit_at_end=True)
        assert await asyncio.wait_for(lane.run(), 180) == "ended"
    assert ("public", {"streams": "btcusdt@depth@100ms"}) in futures.asked
    assert ("market", {"streams": "btcusdt@aggTrade"}) in futures.asked
    assert {query["symbol"] for path, query in futures.asked if path == "depth"} == {"BTCUSDT"}
    reader = StreamReader(redis_server.client())
    # The venue lost trades 540 and 541 on the socket; they came by REST.
    assert column(reader, market_trades(KEY), tables.TRADES, "trade_id") == list(range(500, 620))
    prices = set(column(reader, market_trades(KEY), tables.TRADES, "price"))
    assert prices == {60_100 * 10**8}
    # Twelve seconds of diffs; the book was lost twice on the way, by the diffs that never came, and found again.
    times = column(reader, market_features(KEY), tables.FEATURES, "time")
    assert len(times) > 5
    assert all(time % SECOND == 0 for time in times)
    assert times == sorted(set(times))
    spot_trades = column(reader, market_trades(SPOT_KEY), tables.TRADES, "trade_id")
    assert len(spot_trades) > 20
    assert spot_trades == list(range(spot_trades[0], spot_trades[0] + len(spot_trades)))
    assert reader.tail(market_gaps(SPOT_KEY)) is None
