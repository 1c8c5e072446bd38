"""A back-fill of the window tables by one worker and by two of two homes, on the same days: speed-up, and its limit.

The platform runs as ``signals up`` starts it, without market and UI; the second worker is one of ``signals worker``.
Before each back-fill two of its days are computed unmeasured, so that every process is warm; the rows of both are
compared before anything is printed.

Belongs here: the measurement. Does not belong here: how a back-fill is cut (``services/backfill_plan``).
"""

import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import pandas as pd
import psutil
import psycopg2
from dagster import DagsterInstance, RunsFilter
from rich.console import Console
from rich.table import Table

from benchmarks.generated_market import raw_day
from benchmarks.measurement import console
from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.duck_lake_connection import catalog_dsn
from resources.duck_lake_lock import WRITE_LOCK
from resources.lake import Progress
from resources.run_lease import broker_client
from resources.run_queues import BACKFILL
from resources.settings import Settings, load_settings
from resources.worker_register import registered_workers, slots_of
from services.backfill_runs import BACKFILL_TAG
from services.backfills import Backfills
from services.platform.environment import exports
from services.platform.platform import Platform
from services.platform.shared_workers import SharedWorkers
from services.process_environment import process_environment
from signal_assets.aggregates.tables import TABLES as AGGREGATE_TABLES
from signal_assets.derivation import asset_name
from signal_assets.event_time import DAY, SECOND, date_of
from signal_assets.levels.tables import TABLES as LEVEL_TABLES
from signal_assets.market.tables import TABLES as RAW_TABLES
from signal_assets.stage_tables import TABLES

START: Final = 20_095 * DAY
"""2025-01-07 00:00 UTC."""
NUMBER: Final = 4
STAGES: Final = ("aggregates", "levels")
TRADES_PER_DAY: Final = 200_000
LEVELS: Final = 600
PRICE: Final = 61_000.0
LOOK_SECONDS: Final = 0.1
SETTLE_SECONDS: Final = 120.0
CONFIGURATION: Final = """
live: {metrics_port: 0, health_port: 0}
instruments:
  - {symbol: BTCFDUSD, venue: BINANCE, pair: BTC/FDUSD, tick_size: '0.01', lot_size: '0.00001'}
  - {symbol: BTCUSDT, venue: BINANCE, pair: BTC/USDT, tick_size: '0.01', lot_size: '0.00001'}
  - {symbol: BTCUSDC, venue: BINANCE, pair: BTC/USDC, tick_size: '0.01', lot_size: '0.00001'}
"""


@dataclass(frozen=True)
class Measured:
    """One back-fill."""

    seconds: float
    executing: float
    """Seconds that runs executed, added up over all of them."""
    processor: Mapping[str, float]
    """Seconds of processor time by process, with all it started."""
    waiting: float
    """Seconds that processes waited for the lake's write lock, added up."""
    machine: float
    """How busy all cores were, %, whoever kept them busy."""


class LockWatch:
    """Adds up how long processes wait for the write lock, looking ten times a second."""

    def __init__(self, addresses: Addresses) -> None:
        self._dsn = catalog_dsn(addresses)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="lock watch", daemon=True)
        self.seconds = 0.0

    def _watch(self) -> None:
        connection = psycopg2.connect(self._dsn)
        connection.autocommit = True
        cursor = connection.cursor()
        before = time.monotonic()
        while not self._ended.wait(LOOK_SECONDS):
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %s",
                (WRITE_LOCK,),
            )
            now = time.monotonic()
            self.seconds += int((cursor.fetchone() or (0,))[0]) * (now - before)
            before = now
        connection.close()

    def __enter__(self) -> "LockWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def fill(lake: DuckLake, settings: Settings) -> None:
    """The raw days into the lake."""
    lake.ensure(TABLES)
    ((group, instruments),) = settings.groups.items()
    prices = {instrument.key: PRICE for instrument in instruments}
    for number in range(NUMBER):
        start = START + number * DAY
        frames = raw_day(instruments, start, prices, seed=7, grid=SECOND, count=TRADES_PER_DAY, levels=LEVELS)
        for table in RAW_TABLES:
            with lake.transaction(asset=asset_name(table), run_id="raw") as unit:
                unit.append(table, frames[table])
                unit.advance(
                    asset_name(table), group, Progress(START, start) if number else None, Progress(START, start + DAY)
                )


def day(number: int) -> date:
    """The day of that number."""
    return date_of(START + number * DAY + 1)


def processor_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """Processor time of each process with all it started, so far; of this one, which started them all, its own."""
    found = {}
    for name, pid in pids.items():
        total = 0.0
        try:
            process = psutil.Process(pid)
            if pid == os.getpid():
                total = sum(process.cpu_times()[:2])
            else:
                for member in [process, *process.children(recursive=True)]:
                    total += sum(member.cpu_times()[:4])  # those of children that have ended are in it
        except psutil.NoSuchProcess:
            pass
        found[name] = total
    return found


def back_fill(addresses: Addresses, pids: Mapping[str, int], last: int = NUMBER - 1) -> Measured:
    """Days 0 to ``last``, watched as ``signals backfill`` does."""
    pids = {**pids, "watching": os.getpid()}
    before = processor_seconds(pids)
    psutil.cpu_percent()
    with LockWatch(addresses) as locks, Backfills(addresses) as backfills:
        running = backfills.prepare(day(0), day(last), STAGES)
        began = time.monotonic()
        for _ in running.follow():
            pass
        seconds = time.monotonic() - began
    machine = psutil.cpu_percent()
    after = processor_seconds(pids)
    with DagsterInstance.get() as instance:
        records = instance.get_run_records(RunsFilter(tags={BACKFILL_TAG: running.identifier}))
    executing = sum((record.end_time or 0.0) - (record.start_time or 0.0) for record in records)
    return Measured(seconds, executing, {name: after[name] - before[name] for name in after}, locks.seconds, machine)


def rows(lake: DuckLake) -> dict[str, pd.DataFrame]:
    """Every window table, whole."""
    return {table.name: lake.read(table) for table in (*AGGREGATE_TABLES, *LEVEL_TABLES)}


def wait_for_slots(addresses: Addresses, wanted: int) -> None:
    """Wait until Dagster's queue knows of so many processes."""
    deadline = time.monotonic() + SETTLE_SECONDS
    with broker_client(addresses.broker_url) as client:
        while slots_of(registered_workers(client), BACKFILL) != wanted and time.monotonic() < deadline:
            time.sleep(0.2)


@contextmanager
def _platform() -> Iterator[tuple[Platform, Settings, Path]]:
    with tempfile.TemporaryDirectory(prefix="signals-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, PostgreSQL runs as a user of its own
        file = folder / "signals.yaml"
        file.write_text(CONFIGURATION, "utf-8")
        with process_environment({"SIGNAL_CONFIG": str(file), "SIGNAL_HOME": str(folder / "home")}):
            settings = load_settings()
            platform = Platform(
                folder / "home", settings, with_ui=False, with_live_lane=False, report=lambda line: None
            )
            with platform, process_environment(exports(platform.addresses)):
                yield platform, settings, folder


def measure() -> tuple[Measured, Measured, int]:
    """One worker, then two, over the same days; how many rows both made."""
    with _platform() as (platform, settings, folder):
        lake = DuckLake(platform.addresses)
        fill(lake, settings)
        pids = {child.name: child.pid for child in platform.children() if child.pid is not None}
        wait_for_slots(platform.addresses, 1)
        back_fill(platform.addresses, pids, 1)
        one = back_fill(platform.addresses, pids)
        made = rows(lake)
        variables = {**os.environ, **platform.addresses.environment()}
        with SharedWorkers(folder / "second", [BACKFILL], 1, environment=variables, report=lambda line: None) as second:
            (worker,) = second.children()
            assert worker.pid is not None
            wait_for_slots(platform.addresses, 2)
            back_fill(platform.addresses, pids, 1)
            two = back_fill(platform.addresses, {**pids, "second worker": worker.pid})
        for name, frame in rows(lake).items():
            pd.testing.assert_frame_equal(frame, made[name], check_exact=True, obj=name)
        lake.close()
    return one, two, sum(len(frame) for frame in made.values())


def main(out: Console | None = None) -> None:
    """Print the table."""
    out = out or console()
    with out.status("a back-fill by one worker and by two"):
        one, two, count = measure()
    table = Table(
        "", "one worker", "two workers", title=f"Back-fill of the window tables, {NUMBER} days, three instruments"
    )
    lines: list[tuple[str, str, float, float]] = [
        ("seconds", ".1f", one.seconds, two.seconds),
        ("runs executed, s", ".1f", one.executing, two.executing),
        ("waited for the write lock, s", ".1f", one.waiting, two.waiting),
        ("all cores busy, %", ".0f", one.machine, two.machine),
    ]
    for name in sorted({*one.processor, *two.processor}):
        lines.append((f"processor, s: {name}", ".1f", one.processor.get(name, 0.0), two.processor.get(name, 0.0)))
    lines.append(("processor, s: all", ".1f", sum(one.processor.values()), sum(two.processor.values())))
    for title, style, first, second in lines:
        table.add_row(title, format(first, style), format(second, style))
    out.print(table)
    cores = psutil.cpu_count() or 1
    bound = cores * one.seconds / sum(two.processor.values())
    out.print(
        f"the same {count:,} rows; speed-up {one.seconds / two.seconds:.2f} (goal ≥ 1.6). If {cores} cores had spent "
        f"the processor time that two workers took without a pause, it would be {bound:.2f}; that time is "
        f"{sum(two.processor.values()) / sum(one.processor.values()):.2f} times that of one worker",
        soft_wrap=True,
    )


if __name__ == "__main__":
    main()
