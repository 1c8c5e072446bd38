"""Four small days of two instruments in a lake, and what one process alone makes of them.

Belongs here: raw rows and the reference. Does not belong here: workers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import pandas as pd

from benchmarks.generated_market import raw_day
from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.lake import Lake, Progress
from resources.memory_lake import MemoryLake
from resources.settings import Settings, load_settings
from signal_assets.derivation import asset_name
from signal_assets.event_time import DAY, SECOND, date_of
from signal_assets.market.tables import TABLES as RAW_TABLES
from signal_assets.stage_tables import TABLES
from tests.lanes.market_run import FOLDED, GROUP, RawRows, contents, folded, run_days, run_fold_days

SETTINGS = """
grid_milliseconds: 30000
anomalies: {metrics_interval_seconds: 30}
strategic_interval_seconds: 300
live: {metrics_port: 0, health_port: 0}
instruments:
  - {symbol: BTCFDUSD, venue: BINANCE, pair: BTC/FDUSD, tick_size: '0.01', lot_size: '0.00001'}
  - {symbol: ETHFDUSD, venue: BINANCE, pair: ETH/FDUSD, tick_size: '0.01', lot_size: '0.0001'}
"""
PRICES = {"BTCFDUSD.BINANCE": 6_100.0, "ETHFDUSD.BINANCE": 340.0}
START = 20_095 * DAY
"""2025-01-07 00:00 UTC, a Tuesday."""
NUMBER = 4
DAYS = [date_of(START + number * DAY + 1) for number in range(NUMBER)]
END = START + NUMBER * DAY
EXTENT = RawRows(watermark=END, first=START + SECOND)
FOLD_TABLES = [table.name for table in FOLDED]


def write_settings(folder: Path) -> Path:
    """The configuration of every process of a test."""
    file = folder / "signals.yaml"
    file.write_text(SETTINGS, "utf-8")
    return file


def fill(lake: Lake, settings: Settings) -> None:
    """The raw days into a lake, complete."""
    lake.ensure(TABLES)
    (instruments,) = settings.groups.values()
    for number in range(NUMBER):
        start = START + number * DAY
        frames = raw_day(instruments, start, PRICES, seed=5, grid=30 * SECOND, count=2_000, levels=40)
        for table in RAW_TABLES:
            frame = frames[table]
            with lake.transaction(asset=asset_name(table), run_id="raw") as unit:
                unit.append(table, frame[::2])
            with lake.transaction(asset=asset_name(table), run_id="raw") as unit:
                unit.append(table, frame[1::2])
                before = Progress(START, start) if number else None
                unit.advance(asset_name(table), GROUP, before, Progress(START, start + DAY))


def rows_of(lake: Lake, settings: Settings) -> dict[str, pd.DataFrame]:
    """Every derived table, whole, without what may differ between runs."""
    lake.ensure(TABLES)
    windows = {name: frame for name, frame in contents(lake, settings).items()}
    return windows | folded(lake)


@lru_cache(maxsize=1)
def _expected(text: str, file: Path) -> dict[str, pd.DataFrame]:
    del text
    settings = load_settings(file)
    lake = MemoryLake()
    fill(lake, settings)
    run_days(lake, settings, EXTENT)
    run_fold_days(lake, settings, EXTENT)
    return rows_of(lake, settings)


def expected(file: Path) -> dict[str, pd.DataFrame]:
    """What one process makes of the days, one after the other, in memory; made once."""
    return _expected(SETTINGS, file)


@contextmanager
def opened(addresses: Addresses) -> Iterator[DuckLake]:
    """The lake at the addresses, closed again."""
    lake = DuckLake(addresses)
    try:
        yield lake
    finally:
        lake.close()
