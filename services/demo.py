"""The demo: a simulated market at high speed through the real platform, and a page about it.

Belongs here: what the demo starts, waits for and shows. Does not belong here: printing (``cli/demo``).
"""

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from dagster import DagsterRunStatus
from dagster_graphql import DagsterGraphQLClient

from jobs.asset_jobs import LEARNING_STAGE
from resources.dagster_resources import StreamsResource
from resources.duck_lake import DuckLake, process_lake
from resources.redis_keys import market_features
from resources.run_queues import BACKFILL
from resources.settings import Settings, load_settings
from services.platform.environment import exports
from services.platform.platform import Platform
from services.process_environment import process_environment
from services.report import Pictures, Report, render
from services.summary import Planted, Summary, market_minutes, summarize
from signal_assets.anomalies.day_pictures import anomaly_pictures
from signal_assets.derivation import asset_name, watermark_of
from signal_assets.event_time import iso
from signal_assets.levels.day_pictures import profile_pictures
from signal_assets.performance.day_pictures import equity_pictures, price_pictures
from signal_assets.stage_tables import TABLES

START: Final = "2025-01-06T21:30:00"
"""Two and a half hours before a midnight: momentum needs a hundred minutes, and a day closes under the user's eyes."""
DAYS: Final = 3 / 24
FLOW: Final = (
    *("--diff-milliseconds", "2000", "--trades-per-second", "1", "--levels", "400"),
    *("--anomalies-per-day", "48"),
)
STRATEGIC_SECONDS: Final = 10
PICTURED_SERIES: Final = 4
PARTITION_TAG: Final = "dagster/partition"
FORWARD: Final = tuple(table for table in TABLES if table.stage != LEARNING_STAGE)
"""What sensor-started runs move; what is learned follows a closed day."""
POLL_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 240.0
ENDED: Final = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)


class DemoError(RuntimeError):
    """The demo did not come to its end; one line says where it stopped."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo printed and drew."""

    summary: Summary
    days: Sequence[date]
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
    with process_environment({"SIGNAL_HOME": str(home), **_environment()}):
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
                report("counting and drawing")
                summary = summarize(lake, settings, Planted.read([truth]))
                minutes, seconds = market_minutes(summary.tables), time.perf_counter() - began
                result = DemoResult(summary, days, minutes, seconds)
                _write_page(report_path, result, lake, settings, seed)
            finally:
                lake.close()
    return result


def _environment() -> dict[str, str]:
    return {
        "SIGNAL_LIVE__METRICS_PORT": "0",
        "SIGNAL_LIVE__HEALTH_PORT": "0",
        "SIGNAL_STRATEGIC_INTERVAL_SECONDS": str(STRATEGIC_SECONDS),
    }


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
    progresses = lake.progresses(group)
    known = [progresses[name].progress for name in map(asset_name, FORWARD) if name in progresses]
    return min(known) if len(known) == len(FORWARD) else None


def _days(lake: DuckLake) -> list[date]:
    return [row[0] for row in lake.query("SELECT DISTINCT day FROM lake.market.features ORDER BY day")]


def _recompute(platform: Platform, days: Sequence[date], report: Callable[[str], None]) -> None:
    """One run of the back-fill job per day, in order, launched as the UI does, executed by a worker."""
    address = urlsplit(platform.ui_url or "")
    client = DagsterGraphQLClient(str(address.hostname), port_number=address.port)
    for day in days:
        report(f"recomputing {day} from raw, late trades included, checking it and learning from it")
        run_id = client.submit_job_execution(BACKFILL, tags={PARTITION_TAG: day.isoformat()})
        deadline = time.monotonic() + LONGEST_SECONDS
        while (status := client.get_run_status(run_id)) not in ENDED:
            if platform.wait(POLL_SECONDS):
                raise DemoError("stopped")
            if time.monotonic() > deadline:
                raise DemoError(
                    f"run {run_id} did not end within {LONGEST_SECONDS:.0f} s: see {platform.home / 'logs'}"
                )
        if status is not DagsterRunStatus.SUCCESS:
            raise DemoError(f"run {run_id} ended as {status.value}: see {platform.home / 'logs'}")


def _write_page(path: Path, result: DemoResult, lake: DuckLake, settings: Settings, seed: int) -> None:
    closed, newest, keys = result.days[0], result.days[-1], tuple(settings.instruments_by_key)
    page = Report(
        title="Signal Assets – demo",
        subtitle=(
            f"{result.market_minutes:,.0f} minutes of a simulated market of {len(keys)} instruments (seed {seed}) "
            f"through live lane, streams, sensors, runs and lake in {result.seconds:.1f} s."
        ),
        summary=result.summary,
        pictures=Pictures(
            prices=price_pictures(lake, settings, closed, keys),
            profiles=profile_pictures(lake, settings, newest, keys),
            anomalies=anomaly_pictures(lake, settings, closed, PICTURED_SERIES),
            equity=equity_pictures(lake, settings, closed),
        ),
    )
    temporary = path.with_suffix(".part")
    temporary.write_text(render(page), "utf-8")
    temporary.replace(path)
