"""What a day of the configured instruments costs in every store, and a year, with and without maintenance.

Two measurements, both through the real stores. **Cadence**: the whole platform runs on the simulated venue at the pace
of the wall clock; what event log, catalog, Redis and disk gain is counted over two stretches of different length (were
the growth not linear, their rates would differ), then one maintenance pass is run. **Rows**: a whole day of raw rows –
a features row a second, a book of 5,000 levels a side a minute, 300,000 trades an instrument – is written in blocks
with a maintenance pass after each, then the day run and the lessons follow; what lies in the lake is weighed – for
one instrument and for two, since a group's day is computed at once and five would take the memory of a small machine.

Belongs here: the measurement, and what follows from it for a year. Does not belong here: counting (``store_census``).
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from dagster import DagsterInstance
from rich.console import Console
from rich.table import Table as Sheet

from benchmarks.day_run import START, day
from benchmarks.generated_market import features, generator, snapshots, trades, walk
from benchmarks.measurement import ROOT, console
from benchmarks.platform_latency import START_SECONDS, VENUE, running_platform, wait_for_progress
from benchmarks.store_census import Census, Held, census
from jobs.maintenance import FREQUENT_JOBS
from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.duck_lake_sql import CATALOG
from resources.lake import Progress
from resources.lake_maintenance import MERGED_UP_TO, METADATA, Keep, maintain
from resources.retention_settings import RetentionSettings
from resources.run_queues import CELERY_CONFIGURATION
from resources.run_retention import remove_reports, remove_runs
from resources.settings import Settings, load_settings
from services.platform.embedded_postgres import EmbeddedPostgres
from services.platform.environment import exports
from services.platform.home import socket_folder
from services.process_environment import process_environment
from signal_assets.anomalies.tables import LABELS
from signal_assets.derivation import asset_name
from signal_assets.event_time import DAY, SECOND
from signal_assets.market.tables import DEPTH_SNAPSHOTS, FEATURES, FEED_GAPS, TRADES
from signal_assets.market.tables import TABLES as RAW_TABLES
from signal_assets.stage_tables import TABLES
from signal_assets.table import Table

STRETCHES: Final = (40.0, 80.0)
WARM_UP_SECONDS: Final = 15.0
DAY_SECONDS: Final = 86_400
BLOCKS: Final = 4
LEVELS: Final = 5_000
TRADES_PER_DAY: Final = 300_000
PRICES: Final = {"BTCFDUSD": 61_000.0, "ETHFDUSD": 2_600.0, "SOLFDUSD": 150.0, "BNBFDUSD": 520.0}
CROSS: Final = ("ETHBTC", "ETHFDUSD", "BTCFDUSD")
"""The cross rate follows from the other two; a random one would be an arbitrage in every second."""
BY_TIME: Final = {
    ("Dagster", "ticks"),
    ("Redis", "market streams"),
    ("Redis", "signals"),
    ("Redis", "append-only file"),
    ("disk", "logs"),
}
SEED: Final = 7
YEAR: Final = 365
PASSES_PER_DAY: Final = 48
RUNS_KEPT_PER_DAY: Final = 4
"""Tactical, strategic, day close, learning: each holds the newest materialization of some assets' day."""


@dataclass
class Cadence:
    """What the running platform gains; ``counted`` at the beginning and after each stretch."""

    runs_a_day: float
    counted: list[Census] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    tidied: Census = field(default_factory=dict)
    removed_runs: int = 0
    removing_seconds: float = 0.0
    tidying_seconds: float = 0.0
    steps: dict[str, int] = field(default_factory=dict)

    def gain(self, part: tuple[str, str], stretch: int) -> Held:
        """What a part gained in a stretch."""
        return self.counted[stretch + 1][part] - self.counted[stretch][part]

    def rate(self, part: tuple[str, str], stretch: int) -> float:
        """Entries a run, or a second where runs have no part in it, of a stretch."""
        by = self.runs[stretch + 1] - self.runs[stretch] if by_run(part) else self.seconds[stretch]
        return self.gain(part, stretch).count / max(by, 1)

    def per_day(self, part: tuple[str, str]) -> Held:
        """Both stretches together, for a day of as many runs as the sensor starts where nothing is in its way."""
        gained = self.counted[-1][part] - self.counted[0][part]
        if by_run(part):
            scale = self.runs_a_day / max(self.runs[-1] - self.runs[0], 1)
        else:
            scale = DAY_SECONDS / sum(self.seconds)
        return Held(round(gained.count * scale), round(gained.size * scale))


def by_run(part: tuple[str, str]) -> bool:
    """Whether runs make it grow; the rest grows with time."""
    return part not in BY_TIME


def measure_cadence() -> Cadence:
    """The platform on the simulated venue, stretch by stretch, and one maintenance pass that keeps nothing."""
    settings = load_settings()
    found = Cadence(DAY_SECONDS / settings.sensor_interval_seconds)
    with running_platform(settings, VENUE) as platform:
        addresses = platform.addresses
        lake = DuckLake(addresses)
        wait_for_progress(lake, settings, None, START_SECONDS)
        time.sleep(WARM_UP_SECONDS)
        with process_environment(exports(addresses)):
            instance = DagsterInstance.get()
            began = time.monotonic()
            found.counted.append(census(addresses))
            found.runs.append(instance.get_runs_count())
            for seconds in STRETCHES:
                time.sleep(seconds)
                found.counted.append(census(addresses))
                found.runs.append(instance.get_runs_count())
                found.seconds.append(time.monotonic() - began)
                began = time.monotonic()
            _tidy(found, instance, lake)
            instance.dispose()
        found.tidied = census(addresses)
        lake.close()
    return found


def _tidy(found: Cadence, instance: DagsterInstance, lake: DuckLake) -> None:
    began, now = time.monotonic(), datetime.now(UTC)
    found.removed_runs = remove_runs(instance, now, jobs=FREQUENT_JOBS)
    remove_reports(instance, now)
    found.removing_seconds = time.monotonic() - began
    began = time.monotonic()
    nothing = timedelta(0)
    found.steps = maintain(lake, Keep(nothing, nothing, unneeded_files=nothing))
    found.tidying_seconds = time.monotonic() - began


@dataclass
class Rows:
    """What a day of rows weighs."""

    tables: dict[str, Held] = field(default_factory=dict)
    """Rows and bytes of Parquet by table."""
    files: dict[str, int] = field(default_factory=dict)
    written: int = 0
    """Bytes of all files ever written, those that merging replaced included."""
    states: int = 0
    """Bytes of the folds' states of one day's end."""
    passes: list[float] = field(default_factory=list)
    seconds: float = 0.0


def scaled(one: Rows, two: Rows, instruments: int) -> Rows:
    """A day of so many instruments, from a day of one and a day of two: what the second one added, again and again."""
    more = instruments - 1
    found = Rows(files=dict(two.files), states=one.states + more * (two.states - one.states))
    for name, held in two.tables.items():
        first = one.tables.get(name, Held(0, 0))
        added = held - first
        found.tables[name] = Held(first.count + more * added.count, first.size + more * added.size)
    return found


def measure_rows(instruments: int) -> Rows:
    """A day of the first so many instruments, in a lake of its own."""
    with tempfile.TemporaryDirectory(prefix="signals-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o755)  # as root, PostgreSQL runs as a user of its own
        postgres = EmbeddedPostgres(home / "postgres", socket_folder(home, "postgres"))
        try:
            addresses = Addresses(postgres.start(), "redis://unused", "redis://unused", str(home / "lake"), home)
            lake = DuckLake(addresses)
            settings = load_settings()
            chosen = settings.model_copy(update={"instruments": settings.instruments[:instruments]})
            found = _one_day(lake, chosen)
            lake.close()
            return found
        finally:
            postgres.stop()


def _one_day(lake: DuckLake, settings: Settings) -> Rows:
    found, began = Rows(), time.monotonic()
    lake.ensure((*TABLES, LABELS))
    ((group, _),) = settings.groups.items()
    frames = raw_day(settings)
    known: dict[Table, Progress] = {}
    for block in range(BLOCKS):
        start, end = START + block * DAY // BLOCKS, START + (block + 1) * DAY // BLOCKS
        for table in RAW_TABLES:
            with lake.transaction(asset=asset_name(table), run_id=f"block-{block}") as unit:
                for frame in frames[table]:
                    times = frame[str(table.time)]
                    unit.append(table, frame[(times > start) & (times <= end)])
                unit.advance(asset_name(table), group, known.get(table), Progress(START, end))
                known[table] = Progress(START, end)
        _pass(lake, found)
    frames.clear()
    day(lake, settings)
    _pass(lake, found)
    found.seconds = time.monotonic() - began
    for name, rows, size, count in lake.query(
        f"SELECT schema_name || '.' || table_name, sum(record_count), sum(file_size_bytes), count(*) "
        f"FROM {METADATA}.ducklake_data_file f JOIN {METADATA}.ducklake_table t USING (table_id) "
        f"JOIN {METADATA}.ducklake_schema s USING (schema_id) WHERE f.end_snapshot IS NULL GROUP BY 1"
    ):
        found.tables[str(name)], found.files[str(name)] = Held(int(rows), int(size)), int(count)
    ((states,),) = lake.query(f"SELECT sum(strlen(state)) FROM {CATALOG}.platform.states WHERE kind = 'day_end'")
    found.states = int(states or 0)
    return found


def _pass(lake: DuckLake, found: Rows) -> None:
    began, nothing = time.monotonic(), timedelta(0)
    maintain(lake, Keep(nothing, nothing, unneeded_files=timedelta(hours=1)))  # as in operation: readers may be at work
    found.passes.append(time.monotonic() - began)
    found.written = sum(path.stat().st_size for path in lake_folder(lake).rglob("*.parquet"))


def lake_folder(lake: DuckLake) -> Path:
    """Where its files lie."""
    ((path,),) = lake.query(f"SELECT value FROM {CATALOG}.options() WHERE option_name = 'data_path'")
    return Path(str(path))


def raw_day(settings: Settings) -> dict[Table, list[Any]]:
    """Raw rows of one day, a frame per instrument."""
    times = np.arange(START + SECOND, START + DAY + 1, SECOND)
    made: dict[Table, list[Any]] = {table: [] for table in RAW_TABLES}
    paths: dict[str, Any] = {}
    for instrument in settings.instruments_by_key.values():
        chance = generator(instrument, SEED)
        if instrument.symbol == CROSS[0]:
            paths[instrument.symbol] = paths[CROSS[1]] / paths[CROSS[2]]
        else:
            paths[instrument.symbol] = walk(len(times), PRICES[instrument.symbol], chance)
        grid = features(instrument, times, paths[instrument.symbol], chance)
        made[FEATURES].append(grid)
        made[TRADES].append(trades(instrument, START, TRADES_PER_DAY, grid, chance))
        made[DEPTH_SNAPSHOTS].append(snapshots(instrument, START, LEVELS, grid, chance))
        made[FEED_GAPS].append(FEED_GAPS.empty())
    return made


# -- a year ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """A line of the year: what a day adds, what is there after a year, what would be there without maintenance."""

    store: str
    day: float
    held: float
    untouched: float
    why: str


def tick_days() -> int:
    """Days for which Dagster keeps ticks that started a run, from its configuration."""
    configured = yaml.safe_load((ROOT / "dagster.yaml").read_text("utf-8"))
    return int(configured["retention"]["sensor"]["purge_after_days"]["success"])


def year(cadence: Cadence, rows: Rows, retention: RetentionSettings) -> list[Kept]:
    """Bytes by store after a year, raw rows kept for good as is the default."""
    lake = sum(held.size for held in rows.tables.values())
    forward = retention.forward_run_hours / 24
    per_run = _per_run(cadence)
    results = CELERY_CONFIGURATION["result_expires"] / DAY_SECONDS
    written = cadence.per_day(("lake", "Parquet files")).size
    # Small files of two hours, and what four passes have merged of the tables that have files to merge in each.
    replaced = written / 12 + 4 * sum(min(held.size, MERGED_UP_TO) for held in rows.tables.values())
    lines = [
        Kept("lake: rows", lake, lake * YEAR, lake * YEAR, "for good; `raw_days`, `derived_days` bound it"),
        Kept("lake: states of day ends", rows.states, rows.states * YEAR, rows.states * YEAR, "as long as raw rows"),
        Kept("lake: files that merging replaced", written, replaced, written * YEAR, "two hours; at most"),
    ]
    snapshot = cadence.per_day(("lake catalog", "snapshots"))
    hourly = 24 * retention.snapshot_days * snapshot.size / max(snapshot.count, 1)
    lines.append(
        Kept(
            "catalog: snapshots",
            snapshot.size,
            snapshot.size * retention.every_snapshot_hours / 24 + hourly,
            snapshot.size * YEAR,
            f"all {retention.every_snapshot_hours} h, one an hour {retention.snapshot_days} days",
        )
    )
    listed = cadence.per_day(("lake catalog", "lists of files"))
    a_file = (
        cadence.counted[-1]["lake catalog", "lists of files"].size / cadence.counted[-1]["lake", "Parquet files"].count
    )
    daily = sum(rows.files.values()) * a_file
    inlined = cadence.per_day(("lake catalog", "inlined rows")).size
    lines += [
        Kept(
            "catalog: lists of files",
            listed.size,
            daily * YEAR + listed.size / PASSES_PER_DAY,
            listed.size * YEAR,
            "one file a table and day after merging",
        ),
        Kept("catalog: inlined rows", inlined, inlined / PASSES_PER_DAY, inlined * YEAR, "flushed every half hour"),
    ]
    for part, days in (("events of runs", forward), ("runs and their tags", forward)):
        gained = cadence.per_day(("Dagster", part)).size
        kept_for_good = RUNS_KEPT_PER_DAY * YEAR * per_run[part]
        lines.append(
            Kept(
                f"Dagster: {part}",
                gained,
                gained * days + kept_for_good,
                gained * YEAR,
                f"{retention.forward_run_hours} h; {RUNS_KEPT_PER_DAY} runs a day for good",
            )
        )
    ticks = cadence.per_day(("Dagster", "ticks")).size
    lines.append(Kept("Dagster: ticks", ticks, ticks * tick_days(), ticks * YEAR, f"{tick_days()} days (dagster.yaml)"))
    output = cadence.per_day(("disk", "output of runs")).size
    lines.append(Kept("disk: output of runs", output, output * forward, output * YEAR, "as long as the run"))
    result = cadence.per_day(("Redis", "results of runs")).size
    lines.append(Kept("Redis: results of runs", result, result * results, result * YEAR, "a day"))
    streams = max(counted["Redis", "market streams"].size for counted in cadence.counted)
    lines.append(Kept("Redis: market streams", streams, streams, streams, "trimmed behind each commit; the most seen"))
    appended = cadence.per_day(("Redis", "append-only file")).size
    bound = 64 * 2**20 + 2 * (streams + result * results)
    lines.append(
        Kept("Redis: append-only file", appended, bound, bound, "rewritten when it has doubled, from 64 MB on")
    )
    logs = cadence.per_day(("disk", "logs")).size
    lines.append(Kept("disk: logs", logs, min(logs * YEAR, 8 * 1.1e9), logs * YEAR, "at most 11 × 100 MB a process"))
    wal = cadence.per_day(("disk", "write-ahead log")).size
    lines.append(Kept("disk: write-ahead log", wal, 2**30, 2**30, "written anew; max_wal_size 1 GB"))
    return lines


def _per_run(cadence: Cadence) -> Mapping[str, float]:
    runs = max(cadence.runs[-1] - cadence.runs[0], 1)
    gained = {
        part: cadence.counted[-1]["Dagster", part] - cadence.counted[0]["Dagster", part]
        for part in ("events of runs", "runs and their tags")
    }
    return {part: held.size / runs for part, held in gained.items()}


# -- the tables --------------------------------------------------------------------------------------------------------


def print_cadence(out: Console, found: Cadence) -> None:
    """Rates of both stretches, and what one maintenance pass left."""
    first, second = found.seconds
    title = f"Running platform: entries a run (* a second) over {first:.0f} s, then {second:.0f} s"
    sheet = Sheet("", "a run", "then", "a day", "MB a day", "before maintenance", "after", title=title)
    for part in found.counted[0]:
        a_day, before, after = found.per_day(part), found.counted[-1][part], found.tidied[part]
        sheet.add_row(
            ": ".join(part) + ("" if by_run(part) else " *"),
            f"{found.rate(part, 0):.2f}",
            f"{found.rate(part, 1):.2f}",
            f"{a_day.count:,}",
            f"{a_day.size / 1e6:,.1f}",
            f"{before.count:,}",
            f"{after.count:,}",
        )
    out.print(sheet)
    runs = found.runs[-1] - found.runs[0]
    out.print(
        f"{runs} runs, one every {sum(found.seconds) / max(runs, 1):.1f} s; a day is taken to have "
        f"{found.runs_a_day:,.0f}; the pass, which kept only the newest, "
        f"removed {found.removed_runs} runs in {found.removing_seconds:.1f} s and tidied the lake in "
        f"{found.tidying_seconds:.1f} s ({', '.join(f'{name} {count}' for name, count in found.steps.items())})",
        soft_wrap=True,
    )


def print_rows(out: Console, one: Rows, two: Rows, instruments: int) -> None:
    """Tables by weight: a day of one instrument, of two, and what follows for all."""
    found = scaled(one, two, instruments)
    total = sum(held.size for held in found.tables.values())
    title = f"A day in the lake, MB of Parquet; {instruments} instruments from what the second one added"
    sheet = Sheet("", "one", "two", str(instruments), "rows", "bytes a row", title=title)

    def line(name: str, tables: Sequence[str]) -> None:
        sizes = [sum(rows.tables.get(table, Held(0, 0)).size for table in tables) for rows in (one, two, found)]
        count = sum(found.tables[table].count for table in tables)
        sheet.add_row(name, *(f"{size / 1e6:.1f}" for size in sizes), f"{count:,}", f"{sizes[2] / max(count, 1):.0f}")

    ordered = sorted(found.tables, key=lambda name: -found.tables[name].size)
    large = [name for name in ordered if found.tables[name].size * 500 >= total]
    for name in large:
        line(name, [name])
    sheet.add_section()
    line("the rest", [name for name in ordered if name not in large])
    line("all", ordered)
    out.print(sheet)
    passes = ", ".join(f"{seconds:.1f}" for seconds in two.passes)
    out.print(
        f"two instruments' raw rows in {BLOCKS} blocks, a maintenance pass after each and at the end: {passes} s; "
        f"{two.written / 1e6:,.0f} MB on disk then, replaced files included; states of a day's end "
        f"{found.states / 1e3:,.0f} kB; it took {one.seconds:.0f} and {two.seconds:.0f} s",
        soft_wrap=True,
    )


def print_year(out: Console, lines: list[Kept]) -> None:
    """What is there after a year."""
    sheet = Sheet("", "MB a day", "MB after a year", "without maintenance", "kept", title="A year")
    for line in lines:
        sheet.add_row(
            line.store, f"{line.day / 1e6:,.1f}", f"{line.held / 1e6:,.0f}", f"{line.untouched / 1e6:,.0f}", line.why
        )
    sheet.add_section()
    sheet.add_row(
        "all",
        f"{sum(line.day for line in lines) / 1e6:,.0f}",
        f"{sum(line.held for line in lines) / 1e6:,.0f}",
        f"{sum(line.untouched for line in lines) / 1e6:,.0f}",
        "",
    )
    out.print(sheet)


def main(out: Console | None = None) -> None:
    """Print the three tables."""
    out = out or console()
    settings = load_settings()
    with out.status("the platform on the simulated venue"):
        cadence = measure_cadence()
    print_cadence(out, cadence)
    with out.status("a day of rows"):
        one, two = measure_rows(1), measure_rows(2)
    instruments = len(settings.instruments_by_key)
    print_rows(out, one, two, instruments)
    print_year(out, year(cadence, scaled(one, two, instruments), settings.retention))


if __name__ == "__main__":
    main()
