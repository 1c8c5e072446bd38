"""What a day of work leaves in a real Redis: streams are cut, everything else has a time to live."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from resources.memory_lake import MemoryLake
from resources.redis_keys import MARKET_GENERATION, SIGNALS
from resources.redis_streams import StreamReader, entry_id
from resources.settings import load_settings
from services.live_lane import signal_emitter
from services.live_lane.measurements import SignalMeasurements
from services.live_lane.signal_emitter import DUPLICATE_WINDOW, GUARD_SECONDS, SignalEmitter
from signal_assets.event_time import DAY, SECOND
from signal_assets.market.assets import raw_table
from signal_assets.market.stream_codec import encode
from signal_assets.market.stream_intake import take_in
from signal_assets.market.tables import TABLES, TRADES
from tests.live_lane.test_signal_emitter import outgoing
from tests.live_lane.toy_folds import START as START_OF_SIGNALS

if TYPE_CHECKING:
    from tests.live_lane.conftest import RedisServer

START = 19_943 * DAY
NODE = 100
"""Entries in a node of a stream: Redis cuts whole ones (``stream-node-max-entries``)."""

pytestmark = pytest.mark.slow


def test_market_streams_hold_what_has_not_been_committed(redis_server: "RedisServer") -> None:
    client, lake, settings = redis_server.client(), MemoryLake(), load_settings()
    client.set(MARKET_GENERATION, "life")
    reader = StreamReader(client)
    raws = [raw_table(table, settings, "crypto") for table in TABLES]
    keys = [key for raw in raws for key in raw.stream_keys.values()]
    number = 0
    for cycle in range(5):
        for _ in range(20):
            number += 1
            time = START + number * SECOND
            for raw in raws:
                for instrument, key in raw.stream_keys.items():
                    row = (instrument, number, time, time, 100, 1, True, False, 0)
                    rows = [row] if raw.table is TRADES else []
                    client.xadd(key, {"n": len(rows), "data": encode(raw.table, rows)}, id=entry_id(number))
        held = [client.xlen(key) for key in keys]
        assert held == [20 + bool(cycle)] * len(keys)  # the last one committed is kept: it tells where the stream ends
        for raw in raws:
            take_in(lake, reader, raw, "crypto", end=START + number * SECOND, run_id=f"run-{cycle}")
        assert [client.xlen(key) for key in keys] == [1] * len(keys)
    assert len(lake.read(TRADES)) == number * len(settings.groups["crypto"])
    assert set(client.keys()) == {MARKET_GENERATION.encode(), *(key.encode() for key in keys)}


async def test_signals_leave_a_stream_that_is_cut_and_keys_that_expire(
    redis_server: "RedisServer", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal_emitter, "MAXIMUM_LENGTH", 2 * NODE)
    emitter = SignalEmitter(redis_server.url, SignalMeasurements(), {}, timeout=10.0)
    emitter.start()
    for number in range(6 * NODE):
        emitter.emit(outgoing(START_OF_SIGNALS + number * DUPLICATE_WINDOW))
    await asyncio.wait_for(emitter.flush(), 120)
    await emitter.stop(10.0)
    client = redis_server.client()
    assert 2 * NODE <= client.xlen(SIGNALS) < 3 * NODE
    others = [key for key in client.scan_iter(count=1_000) if key != SIGNALS.encode()]
    assert len(others) == 2 * 6 * NODE + 1  # a guard and a copy of each, one arbiter
    assert all(0 < client.ttl(key) <= GUARD_SECONDS for key in others)
