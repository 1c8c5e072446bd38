"""Live = back-fill on the real platform: sockets, live lane, Redis, sensor-started runs, lake, day runs by a worker.

What forward runs wrote while the market came in, what day runs wrote afterwards, and what the same raw rows give in
memory are the same rows in every table; and what the live lane sent is what was computed.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import pytest

from resources.duck_lake import DuckLake
from resources.memory_lake import MemoryLake
from resources.settings import Settings, load_settings
from services.demo import CLOSED, DAYS, FLOW, NEWEST, START, forward_progress
from services.platform.environment import exports
from services.platform.platform import Platform
from services.process_environment import process_environment
from signal_assets.aggregates.tables import TABLES as AGGREGATE_TABLES
from signal_assets.derivation import watermark_of
from signal_assets.levels.tables import TABLES as LEVEL_TABLES
from signal_assets.market.tables import FEATURES, TRADES
from signal_assets.market.tables import TABLES as RAW_TABLES
from signal_assets.signals.tables import EMITTED, SIGNALS
from signal_assets.table import Table
from signal_assets.window import Window
from tests.faults.disturbed_replay import lake_of, run_backfill_job
from tests.lanes.market_run import (
    FOLDED,
    GROUP,
    RawRows,
    assert_equal,
    contents,
    folded,
    run_days,
    run_days_without_late_rows,
    run_fold_days,
)

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

WINDOWED = (*AGGREGATE_TABLES, *LEVEL_TABLES)
LEARNED = tuple(table for table in FOLDED if table.stage == "learning")
FORWARD = tuple(table for table in FOLDED if table not in LEARNED)
MINIMA = {
    "anomalies.anomalies": 500,
    "anomalies.incidents": 10,
    "strategies.moving_average_crossover": 20,
    "signals.signals": 30,
    "execution.orders": 40,
    "execution.fills": 20,
    "performance.trade_log": 15,
    "performance.equity": 200,
}
"""Of two hours; tables that say little in so short a time have theirs in ``test_folds``, which runs three days."""
LONGEST_SECONDS = 480.0

Frames = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Lived:
    """What the platform left in its lake."""

    settings: Settings
    raw: Frames
    forward: Frames
    recomputed: Frames
    emitted: pd.DataFrame
    watermark: int


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """Two hours around a midnight, five instruments, as fast as everything goes."""
    home = tmp_path_factory.mktemp("platform") / "home"
    environment = {
        "SIGNAL_HOME": str(home),
        "SIGNAL_LIVE__METRICS_PORT": "0",
        "SIGNAL_LIVE__HEALTH_PORT": "0",
        "SIGNAL_STRATEGIC_INTERVAL_SECONDS": "5",
    }
    with process_environment(environment):
        settings = load_settings()
        platform = Platform(
            home,
            settings,
            with_ui=False,
            venue=["--seed", "23", "--start", START, "--days", f"{DAYS:.6f}", "--speed", "max", *FLOW],
            extra_environment={"SIGNAL_VENUE__VIRTUAL_CLOCK": "true"},
            commands={"live_lane": [sys.executable, "-m", "services.live_lane", "--exit-at-end"]},
        )
        with platform, process_environment(exports(platform.addresses)):
            lake = DuckLake(platform.addresses)
            try:
                end, deadline = Window.of_day(NEWEST).end, time.monotonic() + LONGEST_SECONDS
                while (forward_progress(lake, GROUP) or 0) < end:
                    assert time.monotonic() < deadline, "the data did not arrive"
                    time.sleep(0.5)
                lake.ensure((*RAW_TABLES, *WINDOWED, *FOLDED, EMITTED))
                raw = {table.name: lake.read(table) for table in RAW_TABLES}
                forward = read(lake, (*WINDOWED, *FORWARD))
                emitted, watermark = lake.read(EMITTED), watermark_of(lake, GROUP)
                assert watermark is not None
                run_backfill_job(home, [CLOSED, NEWEST])
                return Lived(settings, raw, forward, read(lake, (*WINDOWED, *FOLDED)), emitted, watermark)
            finally:
                lake.close()


def read(lake: DuckLake, tables: tuple[Table, ...]) -> Frames:
    return {table.name: lake.read(table)[list(table.value_columns)] for table in tables}


@pytest.fixture(scope="module")
def in_memory(lived: Lived) -> MemoryLake:
    """The folds' day runs over the same raw rows, learned from."""
    lake = lake_of(lived.raw, lived.watermark)
    run_fold_days(lake, lived.settings, extent(lived))
    return lake


def extent(lived: Lived) -> RawRows:
    return RawRows(watermark=lived.watermark, first=int(lived.raw[FEATURES.name]["time"].min()))


def chosen(frames: Frames, tables: tuple[Table, ...]) -> dict[str, pd.DataFrame]:
    return {table.name: frames[table.name] for table in tables}


def test_there_is_something_to_compare(lived: Lived) -> None:
    found = {name: len(lived.forward[name]) for name in MINIMA}
    assert {name: (found[name], least) for name, least in MINIMA.items() if found[name] < least} == {}
    assert len(lived.raw[TRADES.name]) > 10_000
    assert len(lived.emitted) >= 10


def test_window_tables(lived: Lived) -> None:
    for frames, run in ((lived.forward, run_days_without_late_rows), (lived.recomputed, run_days)):
        lake = lake_of(lived.raw, lived.watermark)
        run(lake, lived.settings, extent(lived))
        expected = contents(lake, lived.settings)
        assert_equal(chosen(frames, WINDOWED), {t.name: expected[t.name][list(t.value_columns)] for t in WINDOWED})


def test_everything_that_folds_make(lived: Lived, in_memory: MemoryLake) -> None:
    expected = folded(in_memory)
    assert_equal(chosen(lived.forward, FORWARD), chosen(expected, FORWARD))
    assert_equal(chosen(lived.recomputed, FOLDED), chosen(expected, FOLDED))


def test_what_left_is_what_was_computed(lived: Lived) -> None:
    signals = lived.recomputed[SIGNALS.name]
    due = signals[(signals["status"] == "validated") & signals["tier"].isin(["fast", "tactical"])]
    shared = ["id", "instrument", "strategy", "action", "event_time", "expires_at", "confidence"]
    emitted = lived.emitted.sort_values("id")[shared].reset_index(drop=True)
    pd.testing.assert_frame_equal(emitted, due.sort_values("id")[shared].reset_index(drop=True), check_exact=True)
    assert set(lived.emitted["lane"]) == {"live"}
