"""From the close of a grid point to its rows in the lake, and what the platform's processes cost meanwhile.

The whole platform as ``signals up`` starts it runs on the simulated venue at the pace of the wall clock, all configured
instruments. The lake keeps with every commit how far it moved an asset; the moment at which others can see a commit is
noted from outside, since the time DuckLake writes down is that of the transaction's beginning.

Belongs here: the measurement. Does not belong here: anything the platform does.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
import psycopg2
from rich.console import Console
from rich.table import Table

from benchmarks.measurement import console
from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.duck_lake_connection import catalog_dsn
from resources.duck_lake_sql import CATALOG
from resources.settings import Settings, load_settings
from services.platform.platform import Platform
from signal_assets.event_time import MILLISECOND, SECOND

SECONDS: Final = 90.0
IDLE_SECONDS: Final = 20.0
WARM_UP_SECONDS: Final = 15.0
START_SECONDS: Final = 120.0
SETTLE_SECONDS: Final = 60.0
WATCH_SECONDS: Final = 0.02
VENUE: Final = ("--seed", "7", "--start", "now", "--speed", "1")
RAW: Final = "market/features"
PEAKS: Final = ("levels/wave_peaks", "levels/price_zones")
AGGREGATES: Final = ("aggregates/dollar_depth", "aggregates/dollar_trades")
CHAIN: Final = (*AGGREGATES, *PEAKS, "levels/value_area", "levels/level_outcomes")
ROWS: Final = (  # what is timed, the assets that must all be there, the goals of section 22
    ("raw row", (RAW,), 5, 9),
    ("peaks and zones", PEAKS, 8, 14),
    ("whole chain", CHAIN, 8, 14),
)


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest-rank percentile.

    Examples
    --------
    >>> percentile([3.0, 1.0, 2.0], 0.5)
    2.0
    """
    ordered = sorted(values)
    return ordered[round(share * (len(ordered) - 1))] if ordered else float("nan")


class CommitWatch:
    """Notes when each snapshot of the lake can first be seen, on a connection of its own."""

    def __init__(self, addresses: Addresses) -> None:
        self._dsn = catalog_dsn(addresses)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="commit watch", daemon=True)
        self.seen: list[tuple[int, int]] = []
        """(snapshot id, µs UTC), ascending: this snapshot and all before it could be seen then."""

    def _watch(self) -> None:
        connection = psycopg2.connect(self._dsn)
        connection.autocommit = True
        try:
            cursor = connection.cursor()
            while not self._ended.wait(WATCH_SECONDS):
                cursor.execute(f"SELECT max(snapshot_id) FROM {CATALOG}.ducklake_snapshot")
                newest = int((cursor.fetchone() or (0,))[0] or 0)
                if not self.seen or newest > self.seen[-1][0]:
                    self.seen.append((newest, _now()))
        finally:
            connection.close()

    def __enter__(self) -> "CommitWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def moves(self, lake: DuckLake, asset: str) -> list[tuple[int, int]]:
        """(moment seen, progress) of every commit that moved the asset's progress, in order."""
        rows = lake.query(
            f"SELECT snapshot_id, commit_extra_info FROM {CATALOG}.snapshots() WHERE author = ? ORDER BY snapshot_id",
            [asset],
        )
        found, position = [], 0
        for snapshot, text in rows:
            moved = json.loads(text or "{}")
            while position < len(self.seen) and self.seen[position][0] < snapshot:
                position += 1
            if "progress" in moved and 0 < position < len(self.seen):  # what was there before the watch is not timed
                found.append((self.seen[position][1], int(moved["progress"])))
        return found


def latencies(
    moves: Sequence[tuple[int, int]], since: int, until: int, settings: Settings, behind: int
) -> list[float | None]:
    """Seconds from the close of each grid point in ``(since, until]`` to the first commit that covers it.

    A grid point g closes at g + lateness by the venue's clock, which is ``behind`` ours; None: never covered.
    """
    step, lateness = settings.grid_milliseconds * MILLISECOND, settings.lateness_milliseconds * MILLISECOND
    found: list[float | None] = []
    position = 0
    for point in range(since // step * step + step, until + 1, step):
        while position < len(moves) and moves[position][1] < point:
            position += 1
        covered = moves[position][0] if position < len(moves) else None
        found.append(None if covered is None else (covered - point - lateness - behind) / SECOND)
    return found


# -- processes ---------------------------------------------------------------------------------------------------------


def usage_of(pids: Mapping[str, int]) -> dict[str, tuple[float, float]]:
    """(CPU seconds so far, megabytes) of each child of the platform with all its descendants.

    Memory is the proportional set size: what processes share counts once in total. Ended descendants' CPU is in their
    parents' account.
    """
    usage = {}
    for name, pid in pids.items():
        try:
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        cpu = memory = 0.0
        for process in family:
            try:
                cpu += sum(process.cpu_times()[:4])
                memory += _memory(process)
            except psutil.NoSuchProcess:
                continue
        usage[name] = (cpu, memory / 1e6)
    return usage


def _memory(process: psutil.Process) -> int:
    full = process.memory_full_info()
    return int(getattr(full, "pss", full.rss))


@dataclass
class Measured:
    """Per process (CPU %, MB); per row of :data:`ROWS` the latencies; commits of raw rows."""

    usage: dict[str, tuple[float, float]] = field(default_factory=dict)
    latencies: dict[str, list[float | None]] = field(default_factory=dict)
    instruments: int = 0
    commits: int = 0
    behind: float = 0.0
    machine: float = 0.0
    """How busy all cores were, %, whoever kept them busy."""


def _usage_over(platform: Platform, seconds: float) -> dict[str, tuple[float, float]]:
    pids = {child.name: child.pid for child in platform.children() if child.pid is not None}
    before, began = usage_of(pids), time.monotonic()
    time.sleep(seconds)
    after, elapsed = usage_of(pids), time.monotonic() - began
    return {
        name: (100 * (after[name][0] - before[name][0]) / elapsed, after[name][1]) for name in after if name in before
    }


@contextmanager
def running_platform(settings: Settings, venue: Sequence[str] | None) -> Iterator[Platform]:
    """Everything ``signals up`` starts, in a home of its own, with the simulated venue if there is to be a market."""
    with tempfile.TemporaryDirectory(prefix="signals-bench-", ignore_cleanup_errors=True) as folder:
        platform = Platform(
            Path(folder) / "home",
            settings,
            venue=venue,
            with_live_lane=venue is not None,
            ui_port=0,
            report=lambda line: None,
            extra_environment={
                "SIGNAL_LIVE__METRICS_PORT": "0",
                "SIGNAL_LIVE__HEALTH_PORT": "0",
                "SIGNAL_VENUE__VIRTUAL_CLOCK": "false",  # at the wall clock's pace, so the wall clock's rules
            },
        )
        with platform:
            yield platform


def measure_idle(seconds: float) -> Measured:
    """The platform without a market: what it costs to wait."""
    with running_platform(load_settings(), None) as platform:
        time.sleep(WARM_UP_SECONDS)
        return Measured(_usage_over(platform, seconds))


def measure_busy(seconds: float, venue: Sequence[str] = VENUE) -> Measured:
    """The platform on the simulated venue."""
    settings = load_settings()
    with running_platform(settings, venue) as platform:
        lake = DuckLake(platform.addresses)
        wait_for_progress(lake, settings, None, START_SECONDS)
        with CommitWatch(platform.addresses) as watch:
            time.sleep(WARM_UP_SECONDS)
            behind, since = venue_behind(platform.venue_url), _now()
            psutil.cpu_percent()
            measured = Measured(_usage_over(platform, seconds))
            measured.machine, until = psutil.cpu_percent(), _now()
            wait_for_progress(lake, settings, until - behind, SETTLE_SECONDS)
        moves = {asset: watch.moves(lake, asset) for asset in (RAW, *CHAIN)}
        lake.close()
    since, until = since - behind, until - behind  # by the venue's clock
    for name, assets, _, _ in ROWS:
        columns = [latencies(moves[asset], since, until, settings, behind) for asset in assets]
        measured.latencies[name] = [
            None if None in points else max(point for point in points if point is not None)
            for points in zip(*columns, strict=True)
        ]
    measured.instruments = len(settings.instruments_by_key)
    measured.commits = len(moves[RAW])
    measured.behind = behind / SECOND
    return measured


def wait_for_progress(lake: DuckLake, settings: Settings, until: int | None, seconds: float) -> None:
    """Wait until every asset has come to ``until`` (None: has begun), but not for ever."""
    deadline = time.monotonic() + seconds
    scopes = [(asset, group) for asset in (RAW, *CHAIN) for group in settings.groups]
    while time.monotonic() < deadline:
        progress = [lake.progress(asset, group) for asset, group in scopes]
        if all(found is not None and found.progress >= (until or 0) for found in progress):
            return
        time.sleep(0.5)


def venue_behind(url: str | None) -> int:
    """µs the venue's clock is behind ours: its clock starts with its first client. The least of several readings."""
    readings = []
    for _ in range(20):
        with urllib.request.urlopen(f"{url}/simulated/status", timeout=5) as answer:  # noqa: S310 – our own page
            readings.append(_now() - int(json.load(answer)["virtual_time"]))
        time.sleep(0.05)
    return min(readings)


def _now() -> int:
    return time.time_ns() // 1_000


# -- the tables --------------------------------------------------------------------------------------------------------


def print_latencies(out: Console, busy: Measured, seconds: float) -> None:
    """From grid close to the lake."""
    title = f"Grid close → in the lake, {busy.instruments} instruments, {seconds:.0f} s, all seconds"
    table = Table("", "points", "p50 s", "p99 s", "most s", "goal p50, p99", title=title)
    for name, _, median_goal, tail_goal in ROWS:
        points = busy.latencies[name]
        values = [point for point in points if point is not None]
        missing = len(points) - len(values)
        table.add_row(
            name,
            f"{len(values)}" + (f" (+ {missing} never)" if missing else ""),
            f"{statistics.median(values):.2f}" if values else "–",
            f"{percentile(values, 0.99):.2f}" if values else "–",
            f"{max(values):.2f}" if values else "–",
            f"≤ {median_goal}, ≤ {tail_goal}",
        )
    out.print(table)
    cores = psutil.cpu_count() or 1
    ours = sum(cpu for cpu, _ in busy.usage.values()) / cores
    out.print(
        f"{busy.commits} commits of raw rows; timed by the venue's clock, {busy.behind:.2f} s behind ours; the "
        f"machine's {cores} cores were {busy.machine:.0f} % busy meanwhile, {ours:.0f} % with this platform",
        soft_wrap=True,
    )


def print_processes(out: Console, busy: Measured, idle: Measured) -> None:
    """CPU and memory."""
    title = "Processes (with all they started): CPU of one core, memory as proportional set size"
    table = Table("", "idle CPU %", "busy CPU %", "idle MB", "busy MB", title=title)
    for name in sorted({*busy.usage, *idle.usage}):
        cells = [usage.get(name) for usage in (idle.usage, busy.usage)]
        table.add_row(
            name,
            *(f"{cell[0]:.1f}" if cell else "–" for cell in cells),
            *(f"{cell[1]:.0f}" if cell else "–" for cell in cells),
        )
    table.add_section()
    totals = [[sum(cell[column] for cell in usage.values()) for usage in (idle.usage, busy.usage)] for column in (0, 1)]
    table.add_row("all", *(f"{value:.1f}" for value in totals[0]), *(f"{value:.0f}" for value in totals[1]))
    out.print(table)
    out.print("idle: the same platform without venue and live lane")


def main(out: Console | None = None, seconds: float = SECONDS) -> None:
    """Print the two tables."""
    out = out or console()
    with out.status("the platform on the simulated venue"):
        busy = measure_busy(seconds)
    print_latencies(out, busy, seconds)
    with out.status("the platform without a market"):
        idle = measure_idle(min(seconds, IDLE_SECONDS))
    print_processes(out, busy, idle)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=float, default=SECONDS)
    main(seconds=arguments.parse_args().seconds)
