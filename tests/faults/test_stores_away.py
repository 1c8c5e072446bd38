"""Redis away for a minute, then PostgreSQL, under a live market on the whole platform: nothing lost, nothing doubled.

Both servers are the test's own, so that nobody restarts them: each is killed with -9, kept away, and started again.
"""

import json
import os
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from resources.duck_lake import DuckLake
from resources.settings import Settings, load_settings
from services.platform.embedded_postgres import EmbeddedPostgres
from services.platform.environment import exports
from services.platform.platform import Platform
from services.process_environment import process_environment
from services.simulated_venue.order_flow import OrderFlow
from signal_assets.aggregates.tables import TABLES as AGGREGATE_TABLES
from signal_assets.derivation import asset_name
from signal_assets.event_time import DAY, SECOND
from signal_assets.levels.tables import TABLES as LEVEL_TABLES
from signal_assets.market.tables import DEPTH_SNAPSHOTS, FEATURES, FEED_GAPS, TRADES
from signal_assets.market.tables import TABLES as RAW_TABLES
from tests.faults.disturbed_replay import lake_of
from tests.faults.live_stores import CONFIGURATION, GROUP, SEED, compared
from tests.lanes.market_run import RawRows, assert_equal, contents, ingest, run_days_without_late_rows
from tests.live_lane.conftest import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.alone]

AWAY_SECONDS = 60.0
SPEED = 4
MARKET_SECONDS = 840
"""At that speed three and a half minutes: both outages, and what comes before, between and behind them."""
REDIS_GOES, POSTGRES_GOES = 60, 400
"""Market seconds: 15 and 100 s of ours; nothing fails if a slow machine comes to them later."""
LONGEST_SECONDS = 420.0
DERIVED_TABLES = (*AGGREGATE_TABLES, *LEVEL_TABLES)

Frames = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Outage:
    """When a server was killed and when it was there again, µs UTC."""

    gone: int
    back: int


@dataclass(frozen=True)
class Survived:
    """What the platform left."""

    settings: Settings
    undisturbed: RawRows
    raw: Frames
    forward: Frames
    redis: Outage
    postgres: Outage
    metrics: Mapping[str, float]
    restarts: Mapping[str, int]
    lane_log: Sequence[Mapping[str, Any]]
    logs: Mapping[str, str]
    watermark: int


@pytest.fixture(scope="module")
def survived() -> Iterator[Survived]:
    # Not pytest's folder: under root PostgreSQL runs as another user, whom a second pytest would lock out of it.
    with tempfile.TemporaryDirectory(prefix="signals_stores_") as folder:
        yield from in_folder(Path(folder))


def in_folder(folder: Path) -> Iterator[Survived]:
    home = folder / "home"
    (folder / "signals.yaml").write_text(CONFIGURATION, "utf-8")
    (folder / "redis").mkdir()
    redis, postgres = RedisServer(folder / "redis"), EmbeddedPostgres(folder / "postgres", folder / "postgres")
    redis.start()
    try:
        environment = {
            "SIGNAL_CONFIG": str(folder / "signals.yaml"),
            "SIGNAL_HOME": str(home),
            "SIGNAL_REDIS_URL": redis.url,
            "SIGNAL_POSTGRES_URL": postgres.start(),
        }
        with process_environment(environment):
            yield run(home, redis, postgres)
    finally:
        redis.kill()
        postgres.stop()


def run(home: Path, redis: RedisServer, postgres: EmbeddedPostgres) -> Survived:
    settings = load_settings()
    days = MARKET_SECONDS * SECOND / DAY
    instruments = settings.groups[GROUP]
    undisturbed = ingest(iter(OrderFlow(instruments, seed=SEED, days=days)), instruments, settings)
    platform = Platform(
        home,
        settings,
        with_ui=False,
        venue=["--seed", str(SEED), "--days", repr(days), "--speed", str(SPEED)],
        extra_environment={"SIGNAL_VENUE__VIRTUAL_CLOCK": "true"},
        commands={"live_lane": [sys.executable, "-m", "services.live_lane"]},
    )
    with platform, process_environment(exports(platform.addresses)):
        lake = DuckLake(platform.addresses)
        try:
            wait_for(lambda: progress(lake, FEATURES) >= undisturbed.first + REDIS_GOES * SECOND)
            redis_away = away(redis.kill, redis.start)
            wait_for(lambda: progress(lake, FEATURES) >= undisturbed.first + POSTGRES_GOES * SECOND)
            pid = postgres.pid
            assert pid is not None
            postgres_away = away(lambda: kill(pid), postgres.start)
            end = undisturbed.watermark
            wait_for(lambda: all(progress(lake, table) == end for table in (*RAW_TABLES, *DERIVED_TABLES)))
            return Survived(
                settings,
                undisturbed,
                raw={table.name: lake.read(table) for table in RAW_TABLES},
                forward={table.name: lake.read(table) for table in DERIVED_TABLES},
                redis=redis_away,
                postgres=postgres_away,
                metrics=metrics(home),
                restarts={child.name: child.restarts for child in platform.children()},
                lane_log=[json.loads(line) for line in (home / "logs" / "live_lane.log").read_text().splitlines()],
                logs={path.stem: path.read_text("utf-8", "replace") for path in (home / "logs").glob("*.log")},
                watermark=end,
            )
        finally:
            lake.close()


def away(kill_it: Any, start_it: Any) -> Outage:
    gone = time.time_ns() // 1_000
    kill_it()
    time.sleep(AWAY_SECONDS)
    start_it()
    return Outage(gone, time.time_ns() // 1_000)


def kill(pid: int) -> None:
    """Postmaster and all that serve it, as a machine's end would."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs(family, timeout=30)


def progress(lake: DuckLake, table: Any) -> int:
    known = lake.progress(asset_name(table), GROUP)
    return known.progress if known is not None else 0


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while True:
        try:
            if condition():
                return
        except Exception:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.25)


def metrics(home: Path) -> dict[str, float]:
    pages = json.loads((home / "live_lane.json").read_text("utf-8"))
    with urllib.request.urlopen(pages["metrics"], timeout=10) as answer:  # noqa: S310 – our own page
        lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_raw_rows_are_those_of_an_undisturbed_lane(survived: Survived) -> None:
    assert survived.raw[FEED_GAPS.name].empty
    for table in (TRADES, FEATURES, DEPTH_SNAPSHOTS):
        actual, expected = survived.raw[table.name], survived.undisturbed.frame(table)
        pd.testing.assert_frame_equal(
            compared(actual, table), compared(expected, table), check_exact=True, obj=table.name
        )
    assert len(survived.raw[FEATURES.name]) > 2 * (MARKET_SECONDS - 60)


def test_derived_rows_are_those_of_a_day_run_over_them(survived: Survived) -> None:
    extent = RawRows(watermark=survived.watermark, first=int(survived.raw[FEATURES.name]["time"].min()))
    lake = lake_of(survived.raw, survived.watermark)
    run_days_without_late_rows(lake, survived.settings, extent)
    assert_equal(dict(survived.forward), contents(lake, survived.settings))


def test_the_spill_was_used_and_drained(survived: Survived) -> None:
    counted = survived.metrics
    assert counted["live_lane_spilled_batches_total"] > 0
    assert counted["live_lane_spill_bytes"] == counted["live_lane_spill_corrupt_bytes"] == 0
    assert counted["live_lane_records_lost_total"] == counted["live_lane_spill_refused_total"] == 0
    assert counted["live_lane_outbox_records"] == 0


def test_nobody_died_of_it(survived: Survived) -> None:
    assert {name: count for name, count in survived.restarts.items() if count} == {}


def test_one_line_when_redis_goes_and_one_when_it_is_back(survived: Survived) -> None:
    events = [line["event"] for line in survived.lane_log if line.get("level") in ("warning", "error")]
    assert events.count("redis does not take entries, will try again") == 1
    assert [line["event"] for line in survived.lane_log].count("redis takes entries") == 2  # the first is the start


def test_one_line_when_postgres_goes_and_one_when_it_is_back(survived: Survived) -> None:
    lines = [line for line in survived.logs["daemon"].splitlines() if line.startswith("{")]
    gone = sum("PostgreSQL does not answer" in line for line in lines)
    # A statement that was under way when the first connection succeeded may still say that it failed.
    assert 1 <= gone <= 3
    assert 1 <= sum("PostgreSQL answers again" in line for line in lines) <= gone
    assert "DagsterPostgresException" not in survived.logs["daemon"]
    assert survived.logs["live_lane"].count("Traceback") == 0
