"""A Redis that loses its data, or goes back to an older state, under and beside the live lane.

What only the lost Redis had is fetched again (trades) or recorded as a gap (grid points); nothing comes twice. What is
compared is compared when everything has settled: the recording has ended and all streams have been taken in.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from resources.redis_keys import MARKET_GENERATION
from services.simulated_venue.server import SimulatedVenue
from signal_assets.event_time import SECOND
from signal_assets.market.tables import FEATURES
from tests.faults.live_stores import SPEED, LiveStores, Market, check_raw, flow, make_market, until
from tests.live_lane.conftest import redis_server  # noqa: F401 – a fixture

pytestmark = [pytest.mark.slow, pytest.mark.alone]

TAKEN, FAULT = 60, 240
"""Market seconds at which the lake takes the streams in, and behind which Redis loses them: what lies between, but for
the 80 s that are sent again, is in Redis alone."""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return make_market(tmp_path_factory.mktemp("market"))


@pytest.fixture
def stores(market: Market, redis_server: Any, tmp_path: Path) -> LiveStores:  # noqa: F811
    return LiveStores(market, redis_server, tmp_path / "home")


@asynccontextmanager
async def running(stores: LiveStores) -> AsyncIterator[SimulatedVenue]:
    """The venue, and a lane; at the end the lane has come to the end of the recording and all is in the lake."""
    async with SimulatedVenue(flow(stores.market.settings), speed=SPEED) as venue:
        live = asyncio.create_task(stores.live(stores.settings_for(venue)))
        try:
            yield venue
            await asyncio.wait_for(live, 120)
        finally:
            live.cancel()
            await asyncio.gather(live, return_exceptions=True)
    stores.take_in()


def lose(stores: LiveStores) -> None:
    """The server dies and comes back without its file."""
    stores.redis_server.kill()
    for path in stores.redis_server.folder.glob("appendonly*"):
        path.unlink()


def flush_all(stores: LiveStores) -> None:
    stores.redis_server.client().flushall()


def lose_and_restart(stores: LiveStores) -> None:
    lose(stores)
    stores.redis_server.start()


def go_back_and_restart(stores: LiveStores) -> None:
    """The server dies and comes back with the file that :func:`copy` has put aside."""
    lose(stores)
    shutil.copy(stores.redis_server.folder / "copy", stores.redis_server.folder / "appendonly.aof")
    stores.redis_server.start()


def copy(stores: LiveStores) -> None:
    shutil.copy(stores.redis_server.folder / "appendonly.aof", stores.redis_server.folder / "copy")


def check_gaps(stores: LiveStores, gaps: pd.DataFrame, *, begin_before: int) -> None:
    """Each instrument has a gap that begins where the lake had come to, and none that says more than is missing."""
    first = stores.market.undisturbed.first
    for key in stores.market.settings.instruments_by_key:
        mine = gaps[gaps["instrument"] == key]
        assert len(mine), f"no gap of {key}"
        assert mine["gap_start"].min() < first + begin_before * SECOND
        rows = stores.lake.read(FEATURES, instruments=[key])["time"]
        for gap in mine.itertuples():
            assert not ((rows > gap.gap_start) & (rows < gap.gap_end)).any()


@pytest.mark.parametrize("fault", [flush_all, lose_and_restart])
async def test_redis_loses_everything_under_the_lane(stores: LiveStores, fault: Callable[[LiveStores], None]) -> None:
    async with running(stores):
        await stores.reach(TAKEN)
        stores.take_in()
        generation = stores.reader.generation()
        await stores.reach(FAULT)
        fault(stores)
        await until(lambda: "redis_lost" in stores.outcomes)
    assert stores.outcomes == ["redis_lost", "ended"]
    assert stores.reader.generation() not in (None, generation)
    check_gaps(stores, check_raw(stores), begin_before=FAULT)


async def test_redis_goes_back_under_the_lane(stores: LiveStores) -> None:
    async with running(stores):
        await stores.reach(TAKEN // 2)
        copy(stores)
        await stores.reach(TAKEN)
        stores.take_in()
        generation = stores.reader.generation()
        await stores.reach(FAULT)
        go_back_and_restart(stores)
        await until(lambda: "redis_lost" in stores.outcomes)
    assert stores.outcomes == ["redis_lost", "ended"]
    assert stores.reader.generation() not in (None, generation)
    check_gaps(stores, check_raw(stores), begin_before=FAULT)


async def test_what_was_spilled_while_redis_was_away_and_lost_is_kept(stores: LiveStores) -> None:
    async with running(stores):
        await stores.reach(TAKEN)
        stores.take_in()
        await stores.reach(FAULT)
        lose(stores)
        assert stores.lane is not None
        lane = stores.lane
        spilled = lane.measurements.messages
        await until(lambda: lane.measurements.messages > spilled + 2_000)
        stores.redis_server.start()
        await until(lambda: "redis_lost" in stores.outcomes)
    gaps = check_raw(stores)
    check_gaps(stores, gaps, begin_before=FAULT)
    for key in stores.market.settings.instruments_by_key:
        reasons = gaps[gaps["instrument"] == key].sort_values("gap_start")["reason"].tolist()
        assert reasons == ["redis_lost", "restart"]  # between the two lie the rows that were on disk


@pytest.mark.parametrize("fault", [lose_and_restart, go_back_and_restart])
async def test_redis_loses_data_while_no_lane_runs(stores: LiveStores, fault: Callable[[LiveStores], None]) -> None:
    async with SimulatedVenue(flow(stores.market.settings), speed=SPEED) as venue:
        live = asyncio.create_task(stores.live(stores.settings_for(venue)))
        await stores.reach(TAKEN // 2)
        copy(stores)
        await stores.reach(TAKEN)
        stores.take_in()
        generation = stores.redis_server.client().get(MARKET_GENERATION)
        assert stores.lane is not None
        stores.lane.stop()
        await asyncio.wait_for(live, 60)
        fault(stores)
        await asyncio.wait_for(stores.live(stores.settings_for(venue)), 120)
    stores.take_in()
    assert stores.outcomes == ["stopped", "ended"]
    assert stores.redis_server.client().get(MARKET_GENERATION) not in (None, generation)
    check_gaps(stores, check_raw(stores), begin_before=FAULT)
