"""The live lane in this process between a simulated venue, a Redis that tests take away, and a lake in memory.

Belongs here: running it, taking in what Redis holds, what must hold of the raw rows. Does not belong here: the faults.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from resources.memory_lake import MemoryLake
from resources.redis_keys import market_features
from resources.redis_streams import StreamReader
from resources.settings import Settings, load_settings
from services.live_lane.lane import LiveLane
from services.simulated_venue.order_flow import OrderFlow
from services.simulated_venue.server import SimulatedVenue
from signal_assets.event_time import DAY, SECOND
from signal_assets.market.assets import raw_table
from signal_assets.market.stream_intake import stream_watermark, take_in
from signal_assets.market.tables import DEPTH_SNAPSHOTS, FEATURES, FEED_GAPS, TRADES
from signal_assets.market.tables import TABLES as RAW_TABLES
from signal_assets.table import Table
from tests.fakes import FakeLake
from tests.lanes.market_run import RawRows, ingest

GROUP = "crypto"
SEED = 4
SECONDS = 420
SPEED = 40.0
"""Virtual seconds a second: the 2 s that the outbox sends again are 80 of them."""
CONFIGURATION = """
snapshot_interval_seconds: 20
live: {metrics_port: 0, health_port: 0, high_watermark: 400, low_watermark: 100}
instruments:
  - {symbol: BTCFDUSD, venue: BINANCE, pair: BTC/FDUSD, tick_size: '0.01', lot_size: '0.00001'}
  - {symbol: ETHFDUSD, venue: BINANCE, pair: ETH/FDUSD, tick_size: '0.01', lot_size: '0.0001', bucket_size: '0.02'}
"""


def flow(settings: Settings) -> OrderFlow:
    return OrderFlow(settings.groups[GROUP], seed=SEED, days=SECONDS * SECOND / DAY)


@dataclass
class Market:
    """The settings, and what an undisturbed lane makes of the same messages."""

    settings: Settings
    undisturbed: RawRows


def make_market(folder: Path) -> Market:
    file = folder / "signals.yaml"
    file.write_text(CONFIGURATION, "utf-8")
    settings = load_settings(file)
    return Market(settings, ingest(iter(flow(settings)), settings.groups[GROUP], settings))


@dataclass
class LiveStores:
    """One run.

    Parameters
    ----------
    redis_server : RedisServer
        See ``tests/live_lane/conftest``.
    """

    market: Market
    redis_server: Any
    home: Path
    lake: MemoryLake = field(default_factory=MemoryLake)
    lane: LiveLane | None = None
    outcomes: list[str] = field(default_factory=list)
    runs: int = 0

    def settings_for(self, venue: SimulatedVenue) -> Settings:
        settings = self.market.settings
        urls = {"rest_url": venue.rest_url, "stream_url": venue.stream_url, "virtual_clock": True}
        return settings.model_copy(update={"venue": settings.venue.model_copy(update=urls)})

    async def live(self, settings: Settings) -> None:
        """As ``services.live_lane`` does: a new lane whenever Redis was found to have lost entries."""
        lost = False
        while True:
            self.lane = LiveLane(
                settings,
                self.redis_server.url,
                self.home,
                exit_at_end=True,
                folds_of=lambda _: [],
                lake=FakeLake(self.lake),
                redis_lost=lost,
            )
            outcome = await self.lane.run()
            self.outcomes.append(outcome)
            lost = outcome == "redis_lost"
            if not lost:
                return

    @property
    def reader(self) -> StreamReader:
        return StreamReader(self.redis_server.client())

    def tail(self) -> int:
        """The slowest features stream, as time since the market began."""
        keys = [market_features(key) for key in self.market.settings.instruments_by_key]
        tails = [self.reader.tail(key) or 0 for key in keys]
        return max(min(tails) - self.market.undisturbed.first, 0)

    async def reach(self, second: int) -> None:
        """Wait until the streams have come so far."""
        await until(lambda: self.tail() >= second * SECOND)

    def take_in(self) -> None:
        """What a run does with the four raw tables."""
        settings, streams = self.market.settings, self.reader
        end = stream_watermark(streams, [market_features(key) for key in settings.instruments_by_key])
        assert end is not None
        self.runs += 1
        for table in (FEATURES, TRADES, DEPTH_SNAPSHOTS, FEED_GAPS):
            take_in(self.lake, streams, raw_table(table, settings, GROUP), GROUP, end=end, run_id=f"run {self.runs}")

    def rows(self, table: Table) -> pd.DataFrame:
        return compared(self.lake.read(table), table)


async def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.02)


def compared(rows: pd.DataFrame, table: Table) -> pd.DataFrame:
    """What takes part in equalities, in the order of the key."""
    return rows.sort_values(list(table.key))[list(table.value_columns)].reset_index(drop=True)


def outside(rows: pd.DataFrame, table: Table, gaps: pd.DataFrame) -> pd.DataFrame:
    """Rows that lie in none of their instrument's depth gaps ``(start, end)``."""
    times, inside = rows[str(table.time)], pd.Series(False, index=rows.index)
    for gap in gaps[gaps["feed"] == "depth"].itertuples():
        inside |= (rows["instrument"] == gap.instrument) & (times > gap.gap_start) & (times < gap.gap_end)
    return rows[~inside].reset_index(drop=True)


def check_raw(stores: LiveStores) -> pd.DataFrame:
    """Every trade once; everything else as if nothing had happened, but for the gaps that say so. Returns the gaps."""
    undisturbed, gaps = stores.market.undisturbed, stores.lake.read(FEED_GAPS)
    for table in RAW_TABLES:
        assert not stores.lake.read(table).duplicated(subset=list(table.key)).any(), table.name
    # Whether a trade came too late for its grid point may be another: the point may have closed without it.
    everything = [name for name in TRADES.value_columns if name != "late"]
    expected = compared(undisturbed.frame(TRADES), TRADES)
    pd.testing.assert_frame_equal(stores.rows(TRADES)[everything], expected[everything], check_exact=True)
    assert not (gaps["feed"] == "trades").any()
    for table in (FEATURES, DEPTH_SNAPSHOTS):
        expected = outside(compared(undisturbed.frame(table), table), table, gaps)
        actual = outside(stores.rows(table), table, gaps)
        pd.testing.assert_frame_equal(actual, expected, check_exact=True, obj=table.name)
    return gaps
