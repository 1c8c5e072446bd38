"""The service in this process, five instruments of the simulated venue over its sockets."""

import asyncio
import math
from pathlib import Path
from typing import Any

import orjson
import pytest

from resources.redis_keys import MARKET_DEAD, market_features, market_gaps, market_trades
from resources.redis_streams import StreamReader
from resources.settings import Settings, load_settings
from services.live_lane.lane import LiveLane, LiveLaneError
from services.simulated_venue.order_flow import OrderFlow
from services.simulated_venue.server import SimulatedVenue
from signal_assets.event_time import SECOND
from signal_assets.market import tables
from signal_assets.market.stream_codec import decode

pytestmark = pytest.mark.slow


def settings_for(venue: SimulatedVenue) -> Settings:
    settings = load_settings()
    return settings.model_copy(
        update={
            "venue": settings.venue.model_copy(
                update={"rest_url": venue.rest_url, "stream_url": venue.stream_url, "virtual_clock": True}
            ),
            "live": settings.live.model_copy(update={"metrics_port": 0, "health_port": 0}),
        }
    )


def simulated(speed: float = math.inf) -> SimulatedVenue:
    return SimulatedVenue(
        OrderFlow(tuple(load_settings().instruments_by_key.values()), seed=4, days=0.002), speed=speed
    )


async def test_all_instruments_reach_their_streams(redis_server: Any, tmp_path: Path) -> None:
    async with simulated() as venue:
        venue.inject(b'{"stream":"btcfdusd@trade","data":{"e":"trade"}}')
        lane = LiveLane(settings_for(venue), redis_server.url, tmp_path, exit_at_end=True)
        assert await asyncio.wait_for(lane.run(), 60) == "ended"
    client = redis_server.client()
    reader = StreamReader(client)
    keys = list(load_settings().instruments_by_key)
    assert len(keys) == 5
    assert len({reader.tail(market_features(key)) for key in keys}) == 1  # the end of the day, for all
    for key in keys:
        trades = [
            int(number)
            for entry in reader.read_after(market_trades(key), None, 100_000)
            for number in decode(tables.TRADES, entry.fields["data"])["trade_id"]
        ]
        assert len(trades) > 20
        assert trades == list(range(trades[0], trades[0] + len(trades)))
        times = [
            int(time)
            for entry in reader.read_after(market_features(key), None, 100_000)
            for time in decode(tables.FEATURES, entry.fields["data"])["time"]
        ]
        assert len(times) > 150  # of 172.8 s
        assert times == list(range(times[0], times[-1] + SECOND, SECOND))
        assert reader.tail(market_gaps(key)) is None
    ((_, letter),) = client.xrange(MARKET_DEAD)
    assert b"is missing" in letter[b"reason"]


async def test_stop_flushes_and_a_second_lane_goes_on(redis_server: Any, tmp_path: Path) -> None:
    async with simulated(speed=20) as venue:
        first = LiveLane(settings_for(venue), redis_server.url, tmp_path)
        running = asyncio.create_task(first.run())
        while first.measurements.records_added < 200:
            await asyncio.sleep(0.01)
        with pytest.raises(LiveLaneError, match="another live lane runs"):
            await LiveLane(settings_for(venue), redis_server.url, tmp_path).run()
        assert orjson.loads((tmp_path / "live_lane.json").read_bytes())["health"].startswith("http://127.0.0.1:")
        first.stop()
        assert await asyncio.wait_for(running, 10) == "stopped"
        assert first.outbox.idle
        second = LiveLane(settings_for(venue), redis_server.url, tmp_path, exit_at_end=True)
        assert await asyncio.wait_for(second.run(), 60) == "ended"
    reader = StreamReader(redis_server.client())
    for key in load_settings().instruments_by_key:
        trades = [
            int(number)
            for entry in reader.read_after(market_trades(key), None, 100_000)
            for number in decode(tables.TRADES, entry.fields["data"])["trade_id"]
        ]
        assert trades == list(range(trades[0], trades[0] + len(trades)))
        gaps = reader.read_after(market_gaps(key), None, 10)
        assert [decode(tables.FEED_GAPS, gap.fields["data"])["reason"].tolist() for gap in gaps] == [["restart"]]
