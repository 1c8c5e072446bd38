"""From the close of a grid point to its rows in the lake, and what the platform's processes cost meanwhile.

The whole platform runs on the simulated venue at the pace of the wall clock, five instruments. The lake's own history says
when each grid point's raw row and its whole chain were committed; nothing is instrumented for it.
"""

import argparse
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil
from rich.console import Console
from rich.table import Table

from resources.duck_lake import DuckLake
from resources.settings import Settings, load_settings
from services.platform.platform import Platform
from signal_assets.event_time import MILLISECOND, SECOND, from_datetime

RAW: Final = "market/features"
CHAIN: Final = ("levels/wave_peaks", "levels/price_zones", "levels/value_area")
WARM_UP_SECONDS: Final = 20.0


def percentile(values: list[float], share: float) -> float:
    """Nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))] if ordered else float("nan")


def commits(lake: DuckLake, asset: str) -> list[tuple[int, int]]:
    """(commit time, progress) of every commit that moved the asset's progress, µs UTC, in order."""
    rows = lake.query(
        "SELECT snapshot_time, commit_extra_info FROM lake.snapshots() WHERE author = ? ORDER BY snapshot_id", [asset]
    )
    moved = [(from_datetime(when), json.loads(extra)) for when, extra in rows if extra]
    return [(when, int(extra["progress"])) for when, extra in moved if "progress" in extra]


def latencies(moves: list[tuple[int, int]], since: int, until: int, settings: Settings) -> list[float]:
    """Seconds from the close of each grid point in ``(since, until]`` to the first commit that covers it.

    A grid point g closes at g + lateness, when the exchange's clock has passed it by that much.
    """
    step, lateness = settings.grid_milliseconds * MILLISECOND, settings.lateness_milliseconds * MILLISECOND
    found, position = [], 0
    for point in range(since // step * step + step, until + 1, step):
        while position < len(moves) and moves[position][1] < point:
            position += 1
        if position == len(moves):
            break
        found.append((moves[position][0] - point - lateness) / SECOND)
    return found


def sample(pids: dict[str, int]) -> dict[str, tuple[float, float]]:
    """(CPU seconds so far, resident megabytes) of each child with all its descendants."""
    usage = {}
    for name, pid in pids.items():
        try:
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            cpu = sum(sum(process.cpu_times()[:2]) for process in family)
            usage[name] = (cpu, sum(process.memory_info().rss for process in family) / 1e6)
        except psutil.NoSuchProcess:
            continue
    return usage


def measure(seconds: float, venue: list[str] | None) -> dict[str, Any]:
    """Run the platform for a while; returns latencies and usage."""
    settings = load_settings()
    with tempfile.TemporaryDirectory(prefix="signals-bench-") as folder:
        home = Path(folder) / "home"
        platform = Platform(
            home, settings, venue=venue, with_live_lane=venue is not None, ui_port=0, report=lambda line: None,
            extra_environment={"SIGNAL_LIVE__METRICS_PORT": "0", "SIGNAL_LIVE__HEALTH_PORT": "0"},
        )
        with platform:
            time.sleep(WARM_UP_SECONDS)
            pids = {child.name: child.pid for child in platform.children() if child.pid is not None}
            before, began, since = sample(pids), time.monotonic(), from_datetime(datetime.now(UTC))
            time.sleep(seconds)
            after, elapsed = sample(pids), time.monotonic() - began
            until = from_datetime(datetime.now(UTC)) - 20 * SECOND
            usage = {
                name: (100 * (after[name][0] - before[name][0]) / elapsed, after[name][1])
                for name in after
                if name in before
            }
            result: dict[str, Any] = {"usage": usage}
            if venue is not None:
                lake = DuckLake(platform.addresses)
                raw = latencies(commits(lake, RAW), since, until, settings)
                chains = [latencies(commits(lake, asset), since, until, settings) for asset in CHAIN]
                count = min(len(values) for values in (raw, *chains))
                result["raw"] = raw[:count]
                result["chain"] = [max(values[row] for values in chains) for row in range(count)]
                result["runs"] = lake.query(
                    "SELECT count(DISTINCT commit_message) FROM lake.snapshots() WHERE author = ?", [RAW]
                )[0][0]
                lake.close()
        return result


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--venue", nargs="*", default=["--seed", "7", "--speed", "1", "--start", "now"])
    arguments = parser.parse_args()
    console = Console()
    busy = measure(arguments.seconds, arguments.venue)
    idle = measure(min(arguments.seconds, 30.0), None)
    table = Table("grid close → in the lake", "points", "p50 s", "p99 s", "goal p50 / p99", title="Latency")
    for name, goal in (("raw", "5 / 9"), ("chain", "8 / 14")):
        values = busy[name]
        table.add_row(
            {"raw": "raw row", "chain": "peaks, zones, value area"}[name],
            str(len(values)),
            f"{statistics.median(values):.2f}" if values else "–",
            f"{percentile(values, 0.99):.2f}",
            goal,
        )
    console.print(table)
    processes = Table("process", "idle CPU %", "busy CPU %", "idle MB", "busy MB", title="Processes")
    for name in sorted({*busy["usage"], *idle["usage"]}):
        quiet, loud = idle["usage"].get(name), busy["usage"].get(name)
        processes.add_row(
            name,
            *(f"{value[0]:.1f}" if value else "–" for value in (quiet, loud)),
            *(f"{value[1]:.0f}" if value else "–" for value in (quiet, loud)),
        )
    console.print(processes)


if __name__ == "__main__":
    main()
