"""The demo: a simulated market at high speed through the real platform, and a page about it.

Belongs here: what the demo starts, waits for and shows. Does not belong here: printing (``cli/demo``).
"""

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from dagster import DagsterRunStatus
from dagster_graphql import DagsterGraphQLClient

from resources.dagster_resources import StreamsResource
from resources.duck_lake import DuckLake, process_lake
from resources.redis_keys import market_features
from resources.run_queues import BACKFILL
from resources.settings import Settings, load_settings
from services.in_process_runs import RANGE_END, RANGE_START
from services.platform.environment import exports
from services.platform.platform import Platform
from services.process_environment import process_environment
from services.replay import TABLES
from services.report import Report, render
from services.summary import (
    TableSummary,
    Wall,
    find_walls,
    market_minutes,
    strongest_peaks,
    strongest_zones,
    summarize_tables,
)
from signal_assets.derivation import watermark_of
from signal_assets.event_time import iso
from signal_assets.levels.day_pictures import day_pictures

START: Final = "2025-01-06T23:00:00"
"""An hour before a midnight, so that a day closes under the user's eyes."""
DAYS: Final = 1.5 / 24
FLOW: Final = ("--diff-milliseconds", "1000", "--trades-per-second", "2", "--levels", "400")
POLL_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 240.0
ENDED: Final = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)


class DemoError(RuntimeError):
    """The demo did not come to its end; one line says where it stopped."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo printed and drew."""

    tables: Sequence[TableSummary]
    peaks: Mapping[str, Sequence[Mapping[str, Any]]]
    zones: Mapping[str, Sequence[Mapping[str, Any]]]
    walls: Sequence[Wall]
    market_minutes: float
    seconds: float


def run_demo(home: Path, *, seed: int, report_path: Path, report: Callable[[str], None] = print) -> DemoResult:
    """Start the platform on an empty home, let the market run, recompute its days, write the page, stop.

    Raises
    ------
    DemoError
        If a run failed or the data did not arrive in time.
    """
    began = time.perf_counter()
    home = home.expanduser().absolute()
    if home.exists():
        shutil.rmtree(home)
    truth = home / "truth.json"
    home.mkdir(parents=True)
    venue = ["--seed", str(seed), "--start", START, "--days", f"{DAYS:.6f}", "--speed", "max", *FLOW]
    with process_environment({"SIGNAL_HOME": str(home), **_quiet_ports()}):
        settings = load_settings()
        platform = Platform(
            home,
            settings,
            ui_port=0,
            venue=[*venue, "--truth", str(truth)],
            extra_environment={"SIGNAL_VENUE__VIRTUAL_CLOCK": "true"},
            commands={"live_lane": [sys.executable, "-m", "services.live_lane", "--exit-at-end"]},
            report=lambda line: None,
        )
        report("starting PostgreSQL, Redis, Dagster, workers, the simulated venue and the live lane")
        with platform, process_environment(exports(platform.addresses)):
            report(f"Dagster UI for as long as the demo runs: {platform.ui_url}")
            lake = process_lake(platform.addresses)
            try:
                days = _wait_for_data(platform, lake, settings, report)
                _recompute(platform, days, report)
                result = _collect(lake, settings, truth, time.perf_counter() - began)
                report("drawing the page")
                _write_page(report_path, result, lake, settings, days[-1], seed)
            finally:
                lake.close()
    return result


def _quiet_ports() -> dict[str, str]:
    return {"SIGNAL_LIVE__METRICS_PORT": "0", "SIGNAL_LIVE__HEALTH_PORT": "0"}


def _wait_for_data(platform: Platform, lake: DuckLake, settings: Settings, report: Callable[[str], None]) -> list[date]:
    """Wait until sensors have taken everything in; returns the days that lie behind the watermark."""
    streams = StreamsResource().open()
    keys = [market_features(key) for key in settings.instruments_by_key]
    group = next(iter(settings.groups))
    deadline, shown = time.monotonic() + LONGEST_SECONDS, None
    while time.monotonic() < deadline:
        mark = watermark_of(lake, group)
        if mark is not None and mark != shown:
            report(f"sensor-started runs have computed up to {iso(mark)}")
            shown = mark
        over = any(child.name == "live_lane" and child.state == "finished" for child in platform.children())
        tails = [streams.tail(key) for key in keys]
        chain = _slowest(lake, group)
        if over and all(tail is not None for tail in tails) and chain == min(tail for tail in tails if tail):
            return _days(lake)
        if platform.wait(POLL_SECONDS):
            raise DemoError("stopped")
    raise DemoError(f"the data did not arrive within {LONGEST_SECONDS:.0f} s: see {platform.home / 'logs'}")


def _slowest(lake: DuckLake, group: str) -> int | None:
    known = [lake.progress(f"{table.stage}/{table.short_name}", group) for table in TABLES]
    return None if any(item is None for item in known) else min(item.progress for item in known if item is not None)


def _days(lake: DuckLake) -> list[date]:
    return [row[0] for row in lake.query("SELECT DISTINCT day FROM lake.market.features ORDER BY day")]


def _recompute(platform: Platform, days: Sequence[date], report: Callable[[str], None]) -> None:
    """One run of the back-fill job over the days, launched as the UI does, executed by a worker."""
    report(f"recomputing {', '.join(map(str, days))} from raw, late trades included, and checking them")
    address = urlsplit(platform.ui_url or "")
    client = DagsterGraphQLClient(str(address.hostname), port_number=address.port)
    run_id = client.submit_job_execution(
        BACKFILL, tags={RANGE_START: days[0].isoformat(), RANGE_END: days[-1].isoformat()}
    )
    deadline = time.monotonic() + LONGEST_SECONDS
    while (status := client.get_run_status(run_id)) not in ENDED:
        if platform.wait(POLL_SECONDS):
            raise DemoError("stopped")
        if time.monotonic() > deadline:
            raise DemoError(f"run {run_id} did not end within {LONGEST_SECONDS:.0f} s: see {platform.home / 'logs'}")
    if status is not DagsterRunStatus.SUCCESS:
        raise DemoError(f"run {run_id} ended as {status.value}: see {platform.home / 'logs'}")


def _collect(lake: DuckLake, settings: Settings, truth: Path, seconds: float) -> DemoResult:
    tables = summarize_tables(lake, TABLES)
    return DemoResult(
        tables=tables,
        peaks=strongest_peaks(lake, settings),
        zones=strongest_zones(lake, settings),
        walls=find_walls(lake, settings, json.loads(truth.read_text("utf-8"))["walls"]),
        market_minutes=market_minutes(tables),
        seconds=seconds,
    )


def _write_page(path: Path, result: DemoResult, lake: DuckLake, settings: Settings, day: date, seed: int) -> None:
    found = sum(wall.found for wall in result.walls)
    page = Report(
        title="Signal Assets – demo",
        subtitle="A simulated market through live lane, streams, sensors, runs and lake. No figure here is typed in.",
        tables=result.tables,
        peaks=result.peaks,
        zones=result.zones,
        walls=result.walls,
        pictures=day_pictures(lake, settings, day, settings.instruments_by_key),
        facts={
            "market time": f"{result.market_minutes:,.0f} minutes",
            "seed": str(seed),
            "instruments": ", ".join(settings.instruments_by_key),
            "planted walls": f"{found} found, {len(result.walls) - found} missed",
            "time taken": f"{result.seconds:.1f} s",
        },
    )
    temporary = path.with_suffix(".part")
    temporary.write_text(render(page), "utf-8")
    temporary.replace(path)
