"""A recording through the whole real platform, with one process killed on the way; nobody helps it up.

Belongs here: running it, and what it left in streams and lake. Does not belong here: what must hold (``test_kill``).
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from jobs.asset_jobs import BACKFILL
from resources.duck_lake import DuckLake
from resources.lake import Progress
from resources.memory_lake import MemoryLake
from resources.redis_keys import market_features
from resources.redis_streams import StreamReader, open_redis
from resources.settings import Settings
from services.platform.environment import dagster_home, exports
from services.platform.platform import Platform
from services.process_environment import process_environment
from signal_assets.aggregates.tables import TABLES as AGGREGATE_TABLES
from signal_assets.derivation import asset_name
from signal_assets.event_time import SECOND, day_start, from_datetime
from signal_assets.levels.tables import TABLES as LEVEL_TABLES
from signal_assets.market.tables import FEATURES
from signal_assets.market.tables import TABLES as RAW_TABLES
from tests.faults.fault import Death, Fault

GROUP = "crypto"
DERIVED_TABLES = (*AGGREGATE_TABLES, *LEVEL_TABLES)
SPEED = "25"
POLL_SECONDS = 0.1
LONGEST_SECONDS = 240.0

Frames = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Disturbed:
    """What a disturbed replay came to."""

    raw: Frames
    forward: Frames
    """The derived tables as sensor-started runs left them."""
    recomputed: Frames
    """The same after day runs over every day."""
    watermark: int
    death: Death
    restarts: Mapping[str, int]
    recovery_seconds: float
    """From the kill to the first write of the same kind that reaches further."""


def replay(home: Path, settings: Settings, recordings: Sequence[Path], days: Sequence[date], fault: Fault) -> Disturbed:
    """Serve ``recordings`` at a finite speed while the platform computes, wait until all is in, run the days."""
    platform = Platform(
        home,
        settings,
        with_ui=False,
        venue=["--recording", *map(str, recordings), "--speed", SPEED],
        extra_environment={"SIGNAL_VENUE__VIRTUAL_CLOCK": "true", **fault.environment()},
        commands={"live_lane": [sys.executable, "-m", "services.live_lane", "--exit-at-end"]},
    )
    with platform, process_environment(exports(platform.addresses)):
        lake = DuckLake(platform.addresses)
        try:
            seen = _wait_until_all_is_in(platform, lake, settings, fault)
            death = fault.death()
            assert death is not None, f"the fault did not happen: {fault}"
            raw = {table.name: lake.read(table) for table in RAW_TABLES}
            forward = {table.name: lake.read(table) for table in DERIVED_TABLES}
            run_backfill_job(home, days)
            writes = commits(lake, fault.asset) if fault.asset else seen
            beyond = death.reached - (fault.moment == "before")
            recovered = min(when for when, end in writes if when > death.time and end > beyond)
            (progress,) = {_progress(lake, asset_name(table)) for table in (*RAW_TABLES, *DERIVED_TABLES)}
            return Disturbed(
                raw=raw,
                forward=forward,
                recomputed={table.name: lake.read(table) for table in DERIVED_TABLES},
                watermark=progress,
                death=death,
                restarts={child.name: child.restarts for child in platform.children()},
                recovery_seconds=(recovered - death.time) / SECOND,
            )
        finally:
            lake.close()


def lake_of(raw: Frames, watermark: int) -> MemoryLake:
    """A lake of its own with a run's raw rows."""
    made = MemoryLake()
    origin = day_start(int(raw[FEATURES.name]["time"].min()))
    for table in RAW_TABLES:
        with made.transaction(asset=asset_name(table), run_id="raw") as unit:
            unit.append(table, raw[table.name])
            unit.advance(asset_name(table), GROUP, None, Progress(origin, watermark))
    return made


def commits(lake: DuckLake, asset: str) -> list[tuple[int, int]]:
    """(commit time, progress) of every commit of the asset, µs UTC, in order: the lake's own history."""
    rows = lake.query(
        "SELECT snapshot_time, commit_extra_info FROM lake.snapshots() WHERE author = ? ORDER BY snapshot_id", [asset]
    )
    moved = [(from_datetime(when), json.loads(extra)) for when, extra in rows]
    return [(when, int(extra["progress"])) for when, extra in moved if "progress" in extra]


def _wait_until_all_is_in(
    platform: Platform, lake: DuckLake, settings: Settings, fault: Fault
) -> list[tuple[int, int]]:
    """Wait for the last run; returns when the features stream was seen to have moved, and to where."""
    streams = StreamReader(open_redis(platform.addresses.redis_url))
    (instrument,) = settings.instruments_by_key
    seen = [(0, 0)]
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline:
        tail = streams.tail(market_features(instrument)) or 0
        if tail > seen[-1][1]:
            seen.append((time.time_ns() // 1000, tail))
        over = any(child.name == "live_lane" and child.state == "finished" for child in platform.children())
        if over and _progress(lake, asset_name(FEATURES)) == tail:
            slowest = min(_progress(lake, asset_name(table)) for table in (*RAW_TABLES, *DERIVED_TABLES))
            if slowest == tail:
                return seen
        time.sleep(POLL_SECONDS)
    raise AssertionError(f"not everything arrived within {LONGEST_SECONDS:.0f} s; the kill: {fault.death()}")


def run_backfill_job(home: Path, days: Sequence[date]) -> None:
    """One run of the back-fill job per day, in order, by a worker of the platform.

    Launched directly: Dagster's back-fill daemon looks only twice a minute.
    """
    workspace = str(dagster_home(home) / "workspace.yaml")
    deadline = time.monotonic() + LONGEST_SECONDS
    with DagsterInstance.get() as instance:
        for day in days:
            tags = json.dumps({"dagster/partition": day.isoformat()})
            words = ["--workspace", workspace, "--job", BACKFILL, "--tags", tags]
            launch = [sys.executable, "-m", "dagster", "job", "launch", *words]
            subprocess.run(launch, check=True, timeout=LONGEST_SECONDS)
            while not (run := instance.get_runs(RunsFilter(job_name=BACKFILL), limit=1)[0]).is_finished:
                assert time.monotonic() < deadline, f"the day runs did not end within {LONGEST_SECONDS:.0f} s"
                time.sleep(3 * POLL_SECONDS)
            assert run.status is DagsterRunStatus.SUCCESS


def _progress(lake: DuckLake, asset: str) -> int:
    known = lake.progress(asset, GROUP)
    return known.progress if known is not None else 0
