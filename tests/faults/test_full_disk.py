"""A disk that is full, under the lake, under the spill and under Redis: one clear line, no harm, on by itself."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.lake import LakeError
from resources.redis_streams import StreamReader
from services.live_lane.measurements import Measurements
from services.live_lane.outbox import Outbox
from services.live_lane.spill import Spill
from services.simulated_venue.server import SimulatedVenue
from signal_assets.derivation import asset_name
from signal_assets.event_time import DAY, SECOND
from signal_assets.market.stream_intake import RawTable, take_in
from signal_assets.market.tables import FEED_GAPS, TRADES
from tests.fakes import FakeStreams
from tests.faults.live_stores import SPEED, LiveStores, Market, check_raw, flow, make_market, until
from tests.faults.small_disk import SmallDisk, small_disk
from tests.live_lane.conftest import RedisServer, redis_server  # noqa: F401 – a fixture
from tests.live_lane.test_outbox import ONE, output, trade_ids

pytestmark = [pytest.mark.slow, pytest.mark.alone]

KEY = "market:A.B:trades"
RAW = RawTable(TRADES, {"A.B": KEY})
START = 19_943 * DAY


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 8) as disk:
        yield disk


# -- the lake --------------------------------------------------------------------------------------------------------


@pytest.fixture
def lake(addresses: Addresses, disk: SmallDisk) -> Iterator[DuckLake]:
    lake = DuckLake(dataclasses.replace(addresses, lake_path=f"{disk.folder}/lake/"))
    lake.ensure([TRADES])
    yield lake
    lake.close()


def add_trades(streams: FakeStreams, numbers: range) -> None:
    """Entries of a hundred trades; more rows in all than are kept inside the catalog, so that they become a file."""
    for first in range(numbers.start, numbers.stop, 100):
        rows = [
            ("A.B", n, START + n, START, 7 * n + 1, n % 977 + 1, n % 2 == 0, False, 0)
            for n in range(first, first + 100)
        ]
        streams.add(KEY, TRADES, first + 99, rows)


def files(lake: DuckLake, disk: SmallDisk) -> tuple[set[Path], set[Path]]:
    """Parquet files that readers are told of, and those that are there."""
    known = lake.query("SELECT data_file FROM ducklake_list_files('lake', 'trades', schema => 'market')")
    return {Path(str(row[0])) for row in known}, set(disk.folder.rglob("*.parquet"))


def test_lake_on_a_full_disk(lake: DuckLake, disk: SmallDisk) -> None:
    streams = FakeStreams()
    add_trades(streams, range(0, 5_000))
    take_in(lake, streams, RAW, "crypto", end=START + SECOND, run_id="one")
    before = (lake.snapshot(), lake.offset(KEY), lake.progress(asset_name(TRADES), "crypto"))
    add_trades(streams, range(5_000, 30_000))
    disk.fill()
    for attempt in ("two", "three"):
        with pytest.raises(LakeError, match="No space left on device") as raised:
            take_in(lake, streams, RAW, "crypto", end=START + 2 * SECOND, run_id=attempt)
        assert str(disk.folder / "lake/market/trades") in str(raised.value)
        assert "\n" not in str(raised.value)
        assert (lake.snapshot(), lake.offset(KEY), lake.progress(asset_name(TRADES), "crypto")) == before
        assert lake.read(TRADES)["trade_id"].tolist() == list(range(5_000))
    known, there = files(lake, disk)
    assert known <= there  # what an attempt has left is known to nobody; maintenance removes it
    disk.free()
    done = take_in(lake, streams, RAW, "crypto", end=START + 2 * SECOND, run_id="four")
    assert done.rows == 25_000
    assert lake.read(TRADES)["trade_id"].tolist() == list(range(30_000))
    other = DuckLake(lake._addresses)  # a reader of its own sees the same
    try:
        assert other.query("SELECT count(*), count(DISTINCT trade_id) FROM lake.market.trades") == [(30_000, 30_000)]
    finally:
        other.close()


# -- the spill -------------------------------------------------------------------------------------------------------


async def test_spill_on_a_full_disk(redis_server: RedisServer, disk: SmallDisk) -> None:  # noqa: F811
    redis_server.kill()
    disk.fill(leave=60_000)
    measured = Measurements()
    outbox = Outbox(redis_server.url, Spill(disk.folder / "spill", 1 << 30), measured, high=100, low=20, timeout=1.0)
    outbox.start()
    sent = 0

    async def produce() -> None:
        nonlocal sent
        for second in range(600):
            outbox.add(ONE, output(ONE, second), time.perf_counter())
            sent = second + 1
            await outbox.room()

    with capture_logs() as lines:
        producer = asyncio.create_task(produce())
        await until(lambda: measured.spill_refused > 3)
        held_at = sent
        await asyncio.sleep(0.5)
        assert sent == held_at  # the feed waits
        assert outbox.paused
        assert outbox.records < 100 + 22
        refused = [line for line in lines if line["event"].startswith("spill refused")]
        assert len(refused) == 1  # once in ten seconds, not at each attempt
        assert refused[0]["error"].endswith(f"No space left on device: {next(iter(disk.folder.glob('spill/*.spill')))}")
        disk.free()
        await until(lambda: sent == 600)  # goes on by itself, Redis still away
        await producer
    redis_server.start()
    await asyncio.wait_for(outbox.flush(), 60)
    assert trade_ids(redis_server.client(), ONE) == list(range(1, 6_001))
    assert outbox.spill.corrupt_bytes == measured.records_lost == 0
    await outbox.stop(1.0)


# -- the whole lane --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return make_market(tmp_path_factory.mktemp("market"))


@asynccontextmanager
async def running(stores: LiveStores) -> AsyncIterator[list[Any]]:
    """The venue and a lane, and what they log; at the end all is in the lake."""
    with capture_logs() as lines:
        async with SimulatedVenue(flow(stores.market.settings), speed=SPEED) as venue:
            live = asyncio.create_task(stores.live(stores.settings_for(venue)))
            try:
                yield lines
                await asyncio.wait_for(live, 180)
            finally:
                live.cancel()
                await asyncio.gather(live, return_exceptions=True)
    stores.take_in()


def count(lines: list[Any], event: str) -> int:
    return sum(line["event"] == event for line in lines)


async def test_no_redis_and_no_room_for_the_spill(
    market: Market,
    redis_server: RedisServer,  # noqa: F811
    disk: SmallDisk,
) -> None:
    """The venue is held back by TCP, and goes on with not one message missing."""
    stores = LiveStores(market, redis_server, disk.folder / "home")
    async with running(stores) as lines:
        await stores.reach(60)
        disk.fill(leave=100_000)
        redis_server.kill()
        assert stores.lane is not None
        lane = stores.lane
        await until(lambda: lane.measurements.spill_refused > 3)
        seen = lane.measurements.messages
        await asyncio.sleep(1.0)
        assert lane.measurements.messages == seen
        assert (await lane.server.health())["outbox"]["paused"]
        disk.free()
        await until(lambda: lane.measurements.messages > seen + 500)
        redis_server.start()
    assert stores.outcomes == ["ended"]
    assert count(lines, "redis does not take entries, will try again") == 1
    check_raw(stores)
    assert stores.lake.read(FEED_GAPS).empty


async def test_redis_whose_disk_is_full(market: Market, disk: SmallDisk, tmp_path: Path) -> None:
    """Redis refuses writes (``MISCONF``) until there is space again; the spill takes over, then the order is kept."""
    server = RedisServer(disk.folder)
    server.start()
    try:
        stores = LiveStores(market, server, tmp_path / "home")
        async with running(stores) as lines:
            await stores.reach(60)
            disk.fill()
            assert stores.lane is not None
            lane = stores.lane
            await until(lambda: lane.measurements.spilled_batches > 3)
            error = (await lane.server.health())["outbox"]["error"]
            assert "MISCONF" in error
            assert "No space left on device" in error
            disk.free()
        assert stores.outcomes == ["ended"]
        assert count(lines, "redis does not take entries, will try again") == 1
        assert count(lines, "redis takes entries") == 2  # the first is the start
        check_raw(stores)
        assert stores.lake.read(FEED_GAPS).empty
        assert StreamReader(server.client()).generation() is not None
    finally:
        server.kill()
