"""A recording through the whole real platform while the faults of a plan happen; nobody helps it up.

Belongs here: running it, how long each recovery took, and what it left in streams and lake. Does not belong here: what
must hold (``checks``), how a fault is done (``injector``).
"""

import contextlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pandas as pd
import redis
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from jobs.asset_jobs import BACKFILL
from resources.duck_lake import DuckLake
from resources.lake import LakeError, Progress
from resources.memory_lake import MemoryLake
from resources.redis_keys import ANOMALIES as ANOMALIES_STREAM
from resources.redis_keys import SIGNALS as SIGNALS_STREAM
from resources.redis_keys import market_features
from resources.redis_streams import StreamReader, StreamsAwayError, open_redis
from services.demo import FORWARD, forward_progress
from services.platform.environment import dagster_home, exports
from services.platform.platform import Platform
from services.process_environment import process_environment
from signal_assets.anomalies.anomaly_record import parse_anomaly
from signal_assets.derivation import asset_name, watermark_of
from signal_assets.event_time import day_start, from_datetime
from signal_assets.execution.tables import TABLES as EXECUTION_TABLES
from signal_assets.market.tables import FEATURES
from signal_assets.market.tables import TABLES as RAW_TABLES
from signal_assets.signals.signal_record import parse
from signal_assets.stage_tables import TABLES
from signal_assets.window import Window
from tests.faults.fault import Fault, Plan
from tests.faults.injector import Happened, Injector
from tests.faults.market import DAYS, SPEED, Market
from tests.faults.small_disk import SmallDisk
from tests.faults.switches import Switches
from tests.faults.venue_proxy import LOOPBACK, VenueProxy
from tests.lanes.market_run import GROUP

POLL_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 600.0
"""From the first data to everything being in: far more than a healthy machine takes."""
RUN_END_SECONDS: Final = 120.0
"""A run that is still open when everything is in gets so long to end: more than Dagster's start time-out."""
LAST_OF_CHAIN: Final = asset_name(EXECUTION_TABLES[0])
"""The asset in whose name tactical runs commit last."""

Frames = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Recovery:
    """What became of a fault."""

    fault: Fault
    seconds: float
    """From its end to the first commit, at the end of the tactical chain, of market data that came in after it."""
    disturbed: tuple[int, int]
    """Event time (µs UTC) between the last data before the fault and that first commit."""


@dataclass(frozen=True)
class Disturbed:
    """What a disturbed replay came to."""

    raw: Frames
    forward: Frames
    """Every other table as sensor-started runs left it; what is learned is not yet there."""
    recomputed: Frames | None
    """All of them after day runs by a worker, if there were any."""
    watermark: int
    stream_ids: Sequence[str]
    """Signal ids in the stream ``signals``, in order."""
    anomalies: Sequence[tuple[str, int]]
    """Id and event time (µs UTC) of every entry of the stream ``anomalies``, in order."""
    recoveries: Sequence[Recovery]
    skipped: Sequence[Fault]
    """Faults that came too late: the recording was over."""
    restarts: Mapping[str, int]
    unfinished_runs: Sequence[str]
    """Runs that nobody ended."""
    failed_runs: int


def replay(folder: Path, market: Market, plan: Plan, *, day_runs: bool = False) -> Disturbed:
    """Serve the recording at its speed while the platform computes and the plan happens; wait until all is in.

    Parameters
    ----------
    folder
        Keeps the platform's home (``home``, made anew) and what it begins with (``fresh``, made once): databases with
        empty tables, so that the time of a plan is spent on faults.
    day_runs
        Recompute the days on the platform afterwards.
    """
    home = folder / "home"
    _fresh_home(folder, home, market)
    switches = Switches(folder / "switches")
    platforms: list[Platform] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(process_environment(_variables(home, market)))
        disk = stack.enter_context(SmallDisk(home / "lake")) if plan.needs_mount else None
        proxy = stack.enter_context(VenueProxy(lambda: _venue_port(platforms)))
        platform = _platform(home, market, switches, proxy)
        platforms.append(platform)
        stack.enter_context(platform)
        stack.enter_context(process_environment(exports(platform.addresses)))
        lake = stack.enter_context(contextlib.closing(DuckLake(platform.addresses)))
        injector = Injector(platform, proxy, switches, disk, plan)
        stack.callback(injector.stop)
        tails = _wait_until_all_is_in(platform, lake, market, injector)
        return _disturbed(home, platform, lake, injector, tails, day_runs=day_runs)


def _fresh_home(folder: Path, home: Path, market: Market) -> None:
    fresh = folder / "fresh"
    if not fresh.exists():
        # At the very place where it will be used: the lake's catalog knows where its files lie.
        with process_environment(_variables(home, market)):
            options = {"with_ui": False, "with_workers": False, "with_daemon": False, "with_live_lane": False}
            platform = Platform(home, market.settings, report=lambda line: None, **options)
            with (
                platform,
                process_environment(exports(platform.addresses)),
                DagsterInstance.get(),
                contextlib.closing(DuckLake(platform.addresses)) as lake,
            ):
                lake.ensure(TABLES)
        home.rename(fresh)
    shutil.rmtree(home, ignore_errors=True)
    shutil.rmtree(folder / "switches", ignore_errors=True)
    subprocess.run(["cp", "-a", str(fresh), str(home)], check=True)  # with owners: PostgreSQL's files are its own


def _variables(home: Path, market: Market) -> dict[str, str]:
    return {"SIGNAL_CONFIG": str(market.settings_file), "SIGNAL_HOME": str(home)}


def _platform(home: Path, market: Market, switches: Switches, proxy: VenueProxy) -> Platform:
    addresses = [
        f"SIGNAL_VENUE__REST_URL=http://{LOOPBACK}:{proxy.port}",
        f"SIGNAL_VENUE__STREAM_URL=ws://{LOOPBACK}:{proxy.port}",
    ]
    lane = [sys.executable, "-m", "services.live_lane", "--exit-at-end"]
    return Platform(
        home,
        market.settings,
        with_ui=False,
        venue=["--recording", str(market.recording), "--speed", f"{SPEED:g}"],
        extra_environment={"SIGNAL_VENUE__VIRTUAL_CLOCK": "true", **switches.environment()},
        commands={"live_lane": ["env", *addresses, *lane]},
        report=lambda line: None,
    )


def _venue_port(platforms: Sequence[Platform]) -> int | None:
    url = platforms[0].venue_url if platforms else None
    return urlsplit(url).port if url is not None else None


# -- waiting -----------------------------------------------------------------------------------------------------


class Tails:
    """Where the features streams ended when: (time in seconds UTC, event time), watched by a thread of its own."""

    def __init__(self, redis_url: str, instruments: Sequence[str]) -> None:
        self._reader = StreamReader(open_redis(redis_url, timeout=2.0))
        self._keys = [market_features(instrument) for instrument in instruments]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tails", daemon=True)
        self.seen: list[tuple[float, int]] = []

    def __enter__(self) -> "Tails":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            with contextlib.suppress(redis.RedisError, StreamsAwayError):  # away, as planned
                tail = min(self._reader.tail(key) or 0 for key in self._keys)
                if tail and (not self.seen or tail > self.seen[-1][1]):
                    self.seen.append((time.time(), tail))


def _wait_until_all_is_in(
    platform: Platform, lake: DuckLake, market: Market, injector: Injector
) -> list[tuple[float, int]]:
    """Let the plan begin with the first data; wait for the last run."""
    end = Window.of_day(DAYS[-1]).end
    with Tails(platform.addresses.redis_url, list(market.settings.instruments_by_key)) as tails:
        for _ in _polls(platform, "the first data"):
            if tails.seen:
                break
        injector.start()
        for _ in _polls(platform, "everything"):
            over = any(child.name == "live_lane" and child.state == "finished" for child in platform.children())
            if injector.over() and over:
                with contextlib.suppress(LakeError):
                    if (forward_progress(lake, GROUP) or 0) >= end:
                        return tails.seen
    raise AssertionError("unreachable")


def _polls(platform: Platform, what: str) -> Iterator[None]:
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline:
        yield
        if platform.wait(POLL_SECONDS):
            raise KeyboardInterrupt  # the platform has caught the signal
    raise AssertionError(f"{what} did not arrive within {LONGEST_SECONDS:.0f} s")


# -- afterwards --------------------------------------------------------------------------------------------------


def _disturbed(
    home: Path,
    platform: Platform,
    lake: DuckLake,
    injector: Injector,
    tails: list[tuple[float, int]],
    *,
    day_runs: bool,
) -> Disturbed:
    lake.ensure(FORWARD)
    raw = {table.name: lake.read(table) for table in RAW_TABLES}
    forward = {table.name: lake.read(table) for table in FORWARD if table not in RAW_TABLES}
    watermark, writes = watermark_of(lake, GROUP), commits(lake, LAST_OF_CHAIN)
    assert watermark is not None
    recomputed = None
    if day_runs:
        run_backfill_job(home, DAYS)
        recomputed = {table.name: lake.read(table) for table in TABLES if table not in RAW_TABLES}
    with open_redis(platform.addresses.redis_url) as client:
        entries = StreamReader(client).read_after(SIGNALS_STREAM, None, 1_000_000)
        told = [  # ids by the clock of Redis: not for the reader of market streams
            parse_anomaly({name.decode(): value for name, value in fields.items()})
            for _, fields in client.xrange(ANOMALIES_STREAM)
        ]
    unfinished, failed = _runs()
    return Disturbed(
        raw=raw,
        forward=forward,
        recomputed=recomputed,
        watermark=watermark,
        stream_ids=[parse(dict(entry.fields)).signal.id for entry in entries],
        anomalies=[(anomaly.id, anomaly.time) for anomaly in told],
        recoveries=[_recovery(event, tails, writes) for event in injector.happened],
        skipped=injector.skipped,
        restarts={child.name: child.restarts for child in platform.children()},
        unfinished_runs=unfinished,
        failed_runs=failed,
    )


def _recovery(event: Happened, tails: Sequence[tuple[float, int]], writes: Sequence[tuple[float, int]]) -> Recovery:
    before = max((tail for when, tail in tails if when <= event.began), default=tails[0][1])
    at_end = max((tail for when, tail in tails if when <= event.ended), default=before)
    # Data that came in after the fault; behind the recording's end there is none, then all of it.
    beyond = min(at_end + 1, tails[-1][1])
    recovered = [(when, reached) for when, reached in writes if when > event.ended and reached >= beyond]
    when, reached = recovered[0] if recovered else (writes[-1][0], writes[-1][1])
    return Recovery(event.fault, max(0.0, when - event.ended), (before, reached))


def commits(lake: DuckLake, asset: str) -> list[tuple[float, int]]:
    """(commit time in seconds UTC, progress) of every commit of the asset, in order: the lake's own history."""
    rows = lake.query(
        "SELECT snapshot_time, commit_extra_info FROM lake.snapshots() WHERE author = ? ORDER BY snapshot_id", [asset]
    )
    moved = [(from_datetime(when) / 1e6, json.loads(extra)) for when, extra in rows]
    return [(when, int(extra["progress"])) for when, extra in moved if "progress" in extra]


def _runs() -> tuple[list[str], int]:
    """Runs that do not come to an end although nothing is left to do, and how many failed."""
    with DagsterInstance.get() as instance:
        left = [run.run_id for run in instance.get_runs(limit=500) if not run.is_finished]
        deadline = time.monotonic() + RUN_END_SECONDS
        while left and time.monotonic() < deadline:
            time.sleep(3 * POLL_SECONDS)
            left = [run_id for run_id in left if not _is_finished(instance, run_id)]
        failed = instance.get_runs_count(RunsFilter(statuses=[DagsterRunStatus.FAILURE]))
    return left, failed


def _is_finished(instance: DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is None or run.is_finished


def lake_of(raw: Frames, watermark: int) -> MemoryLake:
    """A lake of its own with a run's raw rows."""
    made = MemoryLake()
    origin = day_start(int(raw[FEATURES.name]["time"].min()))
    for table in RAW_TABLES:
        with made.transaction(asset=asset_name(table), run_id="raw") as unit:
            unit.append(table, raw[table.name])
            unit.advance(asset_name(table), GROUP, None, Progress(origin, watermark))
    return made


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
