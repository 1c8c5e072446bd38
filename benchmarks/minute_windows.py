"""The whole chain per window of one minute, one instrument, in a warm worker: seconds of each asset.

A day like that of ``day_run`` lies in a real DuckLake on an embedded PostgreSQL. One process computes it forward up to
its last minutes in one window, then minute by minute as tactical and strategic runs do, with warm machines; the first
of those windows is not counted.

Belongs here: the measurement. Does not belong here: Dagster's own overhead (``platform_latency``), whole days
(``day_run``).
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.day_run import START, fill, in_a_process, one_instrument
from benchmarks.measurement import console
from resources.duck_lake import DuckLake
from resources.settings import Addresses, Settings
from services.platform.embedded_postgres import EmbeddedPostgres
from services.platform.home import socket_folder
from signal_assets.derivation import forward
from signal_assets.event_time import DAY, MINUTE
from signal_assets.fold import WarmMachines, forward_fold
from signal_assets.stage_tables import TABLES

WINDOWS: Final = 20
GOAL: Final = 0.5


def steps(settings: Settings, lake: DuckLake) -> list[tuple[str, Callable[[int], object]]]:
    """Every asset of tactical and strategic runs in their order: its name and its forward work up to a time."""
    from signal_assets.aggregates.derivations import dollar_depth, dollar_trades
    from signal_assets.anomalies.folds import anomaly_fold
    from signal_assets.execution.folds import execution_fold
    from signal_assets.levels.derivations import level_outcomes, price_zones, value_area, wave_peaks
    from signal_assets.performance.derivations import alert_derivation, metric_derivation
    from signal_assets.performance.folds import equity_fold, trade_log_fold
    from signal_assets.signals.folds import signal_fold
    from signal_assets.strategies.folds import strategy_folds

    ((group, instruments),) = settings.groups.items()
    warm = WarmMachines()
    found: list[tuple[str, Callable[[int], object]]] = []

    def window(made: Any) -> None:
        found.append((made.asset, lambda end: forward(lake, made, group, instruments, end=end, run_id="minute")))

    def fold(made: Any) -> None:
        work = lambda end: forward_fold(lake, made, group, instruments, end=end, run_id="minute", warm=warm)  # noqa: E731
        found.append((made.name, work))

    for declare in (dollar_depth, dollar_trades, wave_peaks, value_area, price_zones, level_outcomes):
        window(declare(settings))
    for made in (anomaly_fold(settings), *strategy_folds(settings.strategies), signal_fold(settings)):
        fold(made)
    for declare_fold in (execution_fold, trade_log_fold, equity_fold):
        fold(declare_fold(settings))
    for declare in (metric_derivation, alert_derivation):
        window(declare(settings))
    return found


def work(part: str) -> dict[str, Any]:
    """One part in this process: the raw day, or seconds of each asset and window."""
    lake, settings = DuckLake(Addresses.resolve()), one_instrument()
    try:
        if part == "fill":
            fill(lake, settings)
            return {}
        lake.ensure(TABLES)
        todo, first = steps(settings, lake), START + DAY - (WINDOWS + 1) * MINUTE
        taken: dict[str, list[float]] = defaultdict(list)
        for number in range(WINDOWS + 2):
            for name, run in todo:
                began = time.perf_counter()
                run(first + number * MINUTE - MINUTE)
                if number > 1:
                    taken[name].append(time.perf_counter() - began)
        return dict(taken)
    finally:
        lake.close()


def measure() -> dict[str, list[float]]:
    """A lake, filled by one process and worked on by another."""
    with tempfile.TemporaryDirectory(prefix="signals-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o755)  # as root, PostgreSQL runs as a user of its own
        postgres = EmbeddedPostgres(home / "postgres", socket_folder(home, "postgres"))
        try:
            addresses = Addresses(postgres.start(), "redis://unused", "redis://unused", str(home / "lake"), home)
            in_a_process("benchmarks.minute_windows", "fill", addresses)
            return in_a_process("benchmarks.minute_windows", "minutes", addresses)
        finally:
            postgres.stop()


def main(out: Console | None = None) -> None:
    """Print the table."""
    out = out or console()
    with out.status("windows of a minute"):
        found = measure()
    title = f"Forward work per window of one minute, one instrument, median of {WINDOWS} windows"
    table = Table("", "ms", title=title)
    for name, seconds in found.items():
        table.add_row(name, f"{statistics.median(seconds) * 1e3:.1f}")
    table.add_section()
    whole = [sum(window) for window in zip(*found.values(), strict=True)]
    table.add_row("[bold]whole chain", f"{statistics.median(whole) * 1e3:.0f}")
    table.add_row("slowest window", f"{max(whole) * 1e3:.0f}")
    table.add_row("goal", f"≤ {GOAL * 1e3:.0f}")
    out.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("fill", "minutes"), help="be the process of one part")
    arguments = parser.parse_args()
    if arguments.part is None:
        main()
    else:
        print(json.dumps(work(arguments.part)))
