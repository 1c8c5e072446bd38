"""A day run of one instrument, from raw rows to what is learned: seconds per part, and peak memory.

The raw day – a features row a second, a book a minute, 300,000 trades – is made at random and put into a real DuckLake
on an embedded PostgreSQL; a process of its own then does what the day-close and the learning job do, asset by asset.

Belongs here: the measurement. Does not belong here: Dagster's own overhead (``platform_latency``), any kernel.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.generated_market import features, generator, snapshots, trades
from benchmarks.measurement import console
from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.lake import Progress
from resources.settings import Settings, load_settings
from services.platform.embedded_postgres import EmbeddedPostgres
from services.platform.home import socket_folder
from signal_assets.anomalies.tables import LABELS
from signal_assets.derivation import WorkDone, asset_name, recompute_day
from signal_assets.event_time import DAY, SECOND, date_of
from signal_assets.fold import recompute_day_fold
from signal_assets.market.tables import DEPTH_SNAPSHOTS, FEATURES, FEED_GAPS, TRADES
from signal_assets.market.tables import TABLES as RAW_TABLES
from signal_assets.stage_tables import TABLES

START: Final = 20_095 * DAY
"""2025-01-07 00:00 UTC, a Tuesday."""
TRADES_PER_DAY: Final = 300_000
LEVELS: Final = 1_000
"""Of a stored book, a side."""
PRICE: Final = 61_000.0
SEED: Final = 7


def one_instrument() -> Settings:
    """The configuration, with its first instrument alone."""
    settings = load_settings()
    return settings.model_copy(update={"instruments": settings.instruments[:1]})


def fill(lake: DuckLake, settings: Settings) -> None:
    """The raw day into the lake."""
    lake.ensure((*TABLES, LABELS))
    ((group, (instrument,)),) = settings.groups.items()
    chance = generator(instrument, SEED)
    grid = features(instrument, np.arange(START + SECOND, START + DAY + 1, SECOND), PRICE, chance)
    frames = {
        FEATURES: grid,
        TRADES: trades(instrument, START, TRADES_PER_DAY, grid, chance),
        DEPTH_SNAPSHOTS: snapshots(instrument, START, LEVELS, grid, chance),
        FEED_GAPS: FEED_GAPS.empty(),
    }
    for table in RAW_TABLES:
        with lake.transaction(asset=asset_name(table), run_id="raw") as unit:
            unit.append(table, frames[table])
            unit.advance(asset_name(table), group, None, Progress(START, START + DAY))


def day(lake: DuckLake, settings: Settings) -> list[dict[str, Any]]:
    """Every derived asset in turn; seconds and rows of each."""
    from signal_assets.aggregates.derivations import dollar_depth, dollar_trades
    from signal_assets.anomalies.folds import anomaly_fold
    from signal_assets.execution.folds import execution_fold
    from signal_assets.learning.derivations import recent_performance_lesson, regime_derivation, threshold_lesson
    from signal_assets.learning.learned import learn_day
    from signal_assets.levels.derivations import level_outcomes, price_zones, value_area, wave_peaks
    from signal_assets.performance.derivations import alert_derivation, metric_derivation
    from signal_assets.performance.folds import equity_fold, trade_log_fold
    from signal_assets.signals.folds import signal_fold
    from signal_assets.strategies.folds import strategy_folds

    lake.ensure((*TABLES, LABELS))
    ((group, instruments),) = settings.groups.items()
    date, done = date_of(START + DAY), list[dict[str, Any]]()

    def note(name: str, run: Callable[[], Iterable[WorkDone]]) -> None:
        began = time.perf_counter()
        rows = sum(work.rows for work in run())
        done.append({"name": name, "seconds": time.perf_counter() - began, "rows": rows})

    def window(declare: Callable[[Settings], Any]) -> None:
        made = declare(settings)
        note(made.asset, lambda: [recompute_day(lake, made, group, instruments, day=date, run_id="day")])

    def fold(made: Any) -> None:
        work = lambda: recompute_day_fold(lake, made, group, instruments, day=date, run_id="day").values()  # noqa: E731
        note(made.name, work)

    def lesson(declare: Callable[[Settings], Any]) -> None:
        made = declare(settings)
        note(asset_name(made.table), lambda: [learn_day(lake, made, group, instruments, day=date, run_id="day")])

    for declare in (dollar_depth, dollar_trades, wave_peaks, price_zones, value_area, level_outcomes):
        window(declare)
    for made in (anomaly_fold(settings), *strategy_folds(settings.strategies), signal_fold(settings)):
        fold(made)
    for declare_fold in (execution_fold, trade_log_fold, equity_fold):
        fold(declare_fold(settings))
    for declare in (metric_derivation, alert_derivation, regime_derivation):
        window(declare)
    for declare_lesson in (threshold_lesson, recent_performance_lesson):
        lesson(declare_lesson)
    return done


def work(part: str) -> dict[str, Any]:
    """One part in this process: what it did, and how much memory it took."""
    lake, settings = DuckLake(Addresses.resolve()), one_instrument()
    try:
        if part == "fill":
            fill(lake, settings)
            return {}
        lake.connection()
        before = psutil.Process().memory_info().rss
        began, used = time.perf_counter(), time.process_time()
        done = day(lake, settings)
        seconds, processor = time.perf_counter() - began, time.process_time() - used
    finally:
        lake.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024
    return {"parts": done, "seconds": seconds, "processor": processor, "before": before, "peak": peak}


def measure() -> dict[str, Any]:
    """A lake, filled by one process and worked on by another."""
    with tempfile.TemporaryDirectory(prefix="signals-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o755)  # as root, PostgreSQL runs as a user of its own
        postgres = EmbeddedPostgres(home / "postgres", socket_folder(home, "postgres"))
        try:
            addresses = Addresses(postgres.start(), "redis://unused", "redis://unused", str(home / "lake"), home)
            in_a_process("benchmarks.day_run", "fill", addresses)
            return in_a_process("benchmarks.day_run", "day", addresses)
        finally:
            postgres.stop()


def in_a_process(module: str, part: str, addresses: Addresses) -> dict[str, Any]:
    """What a process of its own prints at its end, doing one part of a measurement."""
    command = [sys.executable, "-m", module, "--part", part]
    answer = subprocess.run(command, env={**os.environ, **addresses.environment()}, capture_output=True, text=True)
    if answer.returncode:
        raise RuntimeError(f"{part} ended with {answer.returncode}: {answer.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def main(out: Console | None = None) -> None:
    """Print the table."""
    out = out or console()
    with out.status("a day of one instrument"):
        found = measure()
    table = Table("", "rows", "seconds", title="Day run of one instrument, DuckLake on embedded PostgreSQL")
    for part in found["parts"]:
        table.add_row(part["name"], f"{part['rows']:,}", f"{part['seconds']:.2f}")
    table.add_section()
    table.add_row("[bold]whole chain", f"{sum(part['rows'] for part in found['parts']):,}", f"{found['seconds']:.2f}")
    out.print(table)
    out.print(
        f"from 86,400 features rows, 1,440 books of {LEVELS:,} levels a side and {TRADES_PER_DAY:,} trades, made at "
        f"random; {found['processor']:.1f} s of processor time, imports included; peak memory of the process "
        f"{found['peak'] / 1e6:,.0f} MB, {found['before'] / 1e6:,.0f} MB of it before the first asset",
        soft_wrap=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("fill", "day"), help="be the process of one part")
    arguments = parser.parse_args()
    if arguments.part is None:
        main()
    else:
        print(json.dumps(work(arguments.part)))
