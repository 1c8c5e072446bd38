"""The demo: a simulated market at high speed through the real platform, and a page about it.

Belongs here: what the demo starts, waits for and shows. Does not belong here: printing (``cli/demo``).
"""

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from dagster import DagsterRunStatus
from dagster_graphql import DagsterGraphQLClient

from jobs.asset_jobs import LEARNING, LEARNING_STAGE
from resources.duck_lake import DuckLake, process_lake
from resources.lake import Lake
from resources.settings import Settings, load_settings
from services.platform.environment import exports
from services.platform.platform import Platform
from services.process_environment import process_environment
from services.report import Pictures, Report, render
from services.summary import Planted, Summary, market_minutes, summarize
from signal_assets.anomalies.day_pictures import anomaly_pictures
from signal_assets.derivation import asset_name, watermark_of
from signal_assets.event_time import iso
from signal_assets.levels.day_pictures import heat_map_pictures, profile_pictures
from signal_assets.performance.day_pictures import equity_pictures, price_pictures
from signal_assets.stage_tables import TABLES
from signal_assets.window import Window

START: Final = "2025-01-06T22:15:00"
DAYS: Final = 1.9 / 24
"""Up to a midnight as long as momentum needs, which looks back a hundred minutes; and a little beyond it."""
CLOSED, NEWEST = date(2025, 1, 6), date(2025, 1, 7)
FLOW: Final = (
    *("--diff-milliseconds", "3000", "--trades-per-second", "1", "--levels", "250"),
    *("--anomalies-per-day", "48"),
)
STRATEGIC_SECONDS: Final = 5
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
    market_minutes: float
    seconds: float


def run_demo(home: Path, *, seed: int, report_path: Path, report: Callable[[str], None] = print) -> DemoResult:
    """Start the platform on an empty home, let the market run, learn from its closed day, write the page, stop.

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
            runs = _Runs(platform, lake, settings, report)
            try:
                runs.wait_for_forward(CLOSED)
                learned = runs.learn(CLOSED)
                keys = tuple(settings.instruments_by_key)
                pictures = Pictures(  # of the closed day; learning changes nothing of it
                    prices=price_pictures(lake, settings, CLOSED, keys),
                    anomalies=anomaly_pictures(lake, settings, CLOSED, PICTURED_SERIES),
                    equity=equity_pictures(lake, settings, CLOSED),
                )
                runs.wait_for_forward(NEWEST)
                pictures = replace(
                    pictures,
                    profiles=profile_pictures(lake, settings, NEWEST, keys),
                    heat_maps=heat_map_pictures(lake, settings, NEWEST, keys[:1]),
                )
                runs.wait_for(learned)
                report("counting")
                summary = summarize(lake, settings, Planted.read([truth]))
                result = DemoResult(summary, market_minutes(summary.tables), time.perf_counter() - began)
                _write_page(report_path, result, pictures, keys, seed)
            finally:
                lake.close()
    return result


def _environment() -> dict[str, str]:
    return {
        "SIGNAL_LIVE__METRICS_PORT": "0",
        "SIGNAL_LIVE__HEALTH_PORT": "0",
        "SIGNAL_STRATEGIC_INTERVAL_SECONDS": str(STRATEGIC_SECONDS),
    }


class _Runs:
    """What sensors start, and the learning run beside it: launched as the UI does, executed by a worker."""

    def __init__(self, platform: Platform, lake: DuckLake, settings: Settings, report: Callable[[str], None]) -> None:
        address = urlsplit(platform.ui_url or "")
        self._client = DagsterGraphQLClient(str(address.hostname), port_number=address.port)
        self._platform, self._lake, self._report = platform, lake, report
        self._group = next(iter(settings.groups))
        self._shown: int | None = None

    def wait_for_forward(self, day: date) -> None:
        """Wait until sensor-started runs have computed all of ``day``."""
        end, deadline = Window.of_day(day).end, time.monotonic() + LONGEST_SECONDS
        while (reached := forward_progress(self._lake, self._group)) is None or reached < end:
            mark = watermark_of(self._lake, self._group)
            if mark is not None and mark != self._shown:
                self._report(f"sensor-started runs have taken in everything up to {iso(mark)}")
                self._shown = mark
            self._pause(deadline, f"{day} was not computed")

    def learn(self, day: date) -> str:
        """Launch the learning job of a day that forward runs have gone beyond; id of its run."""
        self._report(f"learning from {day}")
        return str(self._client.submit_job_execution(LEARNING, tags={PARTITION_TAG: day.isoformat()}))

    def wait_for(self, run_id: str) -> None:
        """Wait until the run has succeeded."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while (status := self._client.get_run_status(run_id)) not in ENDED:
            self._pause(deadline, f"run {run_id} did not end")
        if status is not DagsterRunStatus.SUCCESS:
            raise DemoError(f"run {run_id} ended as {status.value}: see {self._platform.home / 'logs'}")

    def _pause(self, deadline: float, what: str) -> None:
        if self._platform.wait(POLL_SECONDS):
            raise DemoError("stopped")
        if time.monotonic() > deadline:
            raise DemoError(f"{what} within {LONGEST_SECONDS:.0f} s: see {self._platform.home / 'logs'}")


def forward_progress(lake: Lake, group: str) -> int | None:
    """Event time up to which sensor-started runs have computed everything they do; None before that is anything."""
    progresses = lake.progresses(group)
    known = [progresses[name].progress for name in map(asset_name, FORWARD) if name in progresses]
    return min(known) if len(known) == len(FORWARD) else None


def _write_page(path: Path, result: DemoResult, pictures: Pictures, instruments: Sequence[str], seed: int) -> None:
    page = Report(
        title="Signal Assets – demo",
        subtitle=(
            f"{result.market_minutes:,.0f} minutes of a simulated market ({len(instruments)} instruments, seed {seed}) "
            f"through live lane, streams, sensors, runs and lake in {result.seconds:.1f} s."
        ),
        summary=result.summary,
        pictures=pictures,
    )
    temporary = path.with_suffix(".part")
    temporary.write_text(render(page), "utf-8")
    temporary.replace(path)
