"""The whole chain per window of one minute, one instrument, in a warm worker: what each asset takes.

Computing is kernels and machines alone. Processor time is that of the worker's process, reading from the lake and
preparing what is written included. The rest of wall time is waiting for PostgreSQL, for the disk and for whoever else
uses the machine.

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
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.day_run import START, fill, in_a_process, one_instrument
from benchmarks.measurement import console
from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.settings import Settings
from services.platform.embedded_postgres import EmbeddedPostgres
from services.platform.home import socket_folder
from signal_assets.anomalies.tables import LABELS
from signal_assets.derivation import forward
from signal_assets.event_time import DAY, MINUTE
from signal_assets.fold import WarmMachines, forward_fold
from signal_assets.machine import Machine
from signal_assets.stage_tables import TABLES

WINDOWS: Final = 20
GOAL: Final = 0.5


class Stopwatch:
    """Adds up the wall time of the calls it is put around."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, timed."""

        def timed(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*arguments)
            finally:
                self.seconds += time.perf_counter() - began

        return timed


class TimedMachine:
    """A machine whose steps are timed."""

    def __init__(self, machine: Machine, watch: Stopwatch) -> None:
        self.step = watch.around(machine.step)
        self.begin_day, self.state, self.restore = machine.begin_day, machine.state, machine.restore


def steps(settings: Settings, lake: DuckLake, watch: Stopwatch) -> list[tuple[str, Callable[[int], object]]]:
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
        made = replace(made, kernel=watch.around(made.kernel))
        found.append((made.asset, lambda end: forward(lake, made, group, instruments, end=end, run_id="minute")))

    def fold(made: Any) -> None:
        made = replace(made, machine=lambda group, cold=made.machine: TimedMachine(cold(group), watch))
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
    """One part in this process: the raw day, or seconds of each asset and window – computing, processor, wall."""
    lake, settings = DuckLake(Addresses.resolve()), one_instrument()
    try:
        if part == "fill":
            fill(lake, settings)
            return {}
        lake.ensure((*TABLES, LABELS))
        watch = Stopwatch()
        todo, first = steps(settings, lake, watch), START + DAY - (WINDOWS + 1) * MINUTE
        taken: dict[str, list[tuple[float, ...]]] = defaultdict(list)
        for number in range(WINDOWS + 2):
            for name, run in todo:
                watch.seconds, began, used = 0.0, time.perf_counter(), time.process_time()
                run(first + number * MINUTE - MINUTE)
                if number > 1:
                    spent = time.process_time() - used, time.perf_counter() - began
                    taken[name].append((watch.seconds, *spent))
        return dict(taken)
    finally:
        lake.close()


def measure() -> dict[str, list[list[float]]]:
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
    table = Table("", "computing ms", "processor ms", "wall ms", title=title)
    for name, windows in found.items():
        table.add_row(name, *(f"{statistics.median(column) * 1e3:.1f}" for column in zip(*windows, strict=True)))
    table.add_section()
    taken = np.array(list(found.values())).sum(axis=0) * 1e3  # windows, columns
    table.add_row("[bold]whole chain", *(f"{value:.0f}" for value in np.median(taken, axis=0)))
    table.add_row("slowest window", *(f"{value:.0f}" for value in taken.max(axis=0)))
    table.add_row("goal", f"≤ {GOAL * 1e3:.0f}", "", "")
    out.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("fill", "minutes"), help="be the process of one part")
    arguments = parser.parse_args()
    if arguments.part is None:
        main()
    else:
        print(json.dumps(work(arguments.part)))
