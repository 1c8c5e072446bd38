"""A thousand series at a point a second through the live lane: processor, lag, memory.

The live lane runs as it always does – sockets, parser, books, ingest, engine with the real folds, emitter – in a
process that is pinned to one core; the simulated venue, at the pace of the wall clock, and a real Redis share the
others. 91 instruments have 1,001 market series, and the metrics grid is one second instead of ten. Every series begins
with more points behind it than any detector's window holds.

The lag of a point is the time from the message that closed its second for the last instrument to its rows: until then
no series of the group can be judged, as all instruments of a group are stepped together.

Belongs here: the measurement. Does not belong here: anything the lane does.
"""

import argparse
import asyncio
import gc
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.generated_market import features, generator
from benchmarks.measurement import console
from benchmarks.signal_latency import (
    SETTLE_SECONDS,
    START_SECONDS,
    answer_of,
    configuration,
    start_moment,
    surroundings,
    waited_for_the_core,
    what_is_in_redis,
)
from resources.lake import Lake, Progress
from resources.memory_lake import MemoryLake
from resources.settings import Settings, load_settings
from services.live_lane.__main__ import configure_logging, spare_what_lives_long
from services.live_lane.lane import LiveLane
from services.live_lane.live_folds import live_folds
from signal_assets.anomalies.series import MARKET_FEATURES
from signal_assets.anomalies.tables import ANOMALIES, METRICS, SCORES
from signal_assets.derivation import asset_name
from signal_assets.event_time import SECOND, day_start, from_datetime
from signal_assets.fold import Fold
from signal_assets.instrument import Instrument
from signal_assets.machine import Events, Machine, Rows
from signal_assets.market.tables import FEATURES

SECONDS: Final = 600.0
INSTRUMENTS: Final = 91
POINTS_BEFORE: Final = 1_500
FOLD: Final = "anomalies"


@dataclass
class Watch:
    """What the watched machine made, and when, since :meth:`begin`."""

    lane: LiveLane | None = None
    group: str = ""
    seconds: list[float] = field(default_factory=list)
    processor: float = 0.0
    lags: list[float] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)

    def begin(self, lane: LiveLane) -> None:
        """Forget what was before."""
        self.lane, self.seconds, self.processor, self.lags, self.rows = lane, [], 0.0, [], {}

    def note(self, began: float, used: float, made: Rows) -> None:
        """Take what came of one step, and when it began by the clock on the wall and by the thread's."""
        now = time.perf_counter()
        self.processor += time.thread_time() - used
        if self.lane is None or METRICS.name not in made:
            return
        self.seconds.append(now - began)
        since = self.lane.groups[self.group]._since  # when the message that closed the point came
        if since is not None:
            self.lags.append(now - since)
        for table in (METRICS, SCORES, ANOMALIES):
            self.rows[table.name] = self.rows.get(table.name, 0) + len(made[table.name])


class Watched:
    """The real machine, its steps timed."""

    def __init__(self, machine: Machine, watch: Watch) -> None:
        self._machine, self._watch = machine, watch
        self.begin_day, self.state, self.restore = machine.begin_day, machine.state, machine.restore

    def step(self, time_: int, events: Events) -> Rows:
        """What the machine says."""
        began, used = time.perf_counter(), time.thread_time()
        made = self._machine.step(time_, events)
        self._watch.note(began, used, made)
        return made


def watched_folds(settings: Settings, watch: Watch) -> list[Fold]:
    """The real folds, one of them watched."""

    def watched(fold: Fold) -> Fold:
        def machine(instruments: Sequence[Instrument]) -> Machine:
            return Watched(fold.machine(instruments), watch)

        return replace(fold, machine=machine) if fold.name == FOLD else fold

    return [watched(fold) for fold in live_folds(settings)]


@dataclass
class Before:
    """A lake with the points before the measurement, which is let go when the engines have taken them in."""

    lake: Lake

    def open(self) -> Lake:
        """That lake."""
        return self.lake

    def let_go(self) -> None:
        """Put an empty one in its place."""
        self.lake = MemoryLake()
        gc.collect()


def points_before(settings: Settings, start: int) -> MemoryLake:
    """Features rows of every second before ``start``."""
    lake = MemoryLake()
    times = np.arange(start - POINTS_BEFORE * SECOND, start + 1, SECOND)
    for group, instruments in settings.groups.items():
        with lake.transaction(asset=asset_name(FEATURES), run_id="before") as unit:
            for instrument in instruments:
                unit.append(FEATURES, features(instrument, times, 100.0, generator(instrument, 1)))
            unit.advance(asset_name(FEATURES), group, None, Progress(int(times[0]) - SECOND, start))
            assert day_start(start) < times[0], "learning would be waited for"
    return lake


async def run_lane(home: Path, seconds: float) -> dict[str, Any]:
    """Run the lane for so long and say what was measured."""
    settings = load_settings()
    (group,) = settings.groups
    watch = Watch(group=group)
    before = Before(points_before(settings, from_datetime(start_moment())))
    lane = LiveLane(
        settings,
        os.environ["SIGNAL_REDIS_URL"],
        home,
        folds_of=lambda current: watched_folds(current, watch),
        lake=before,
        engine_started=spare_what_lives_long,
    )
    running = asyncio.create_task(lane.run())
    deadline = time.monotonic() + START_SECONDS
    while group not in lane.groups or lane.groups[group].state != "running" or lane.groups[group].waiting > INSTRUMENTS:
        if running.done() or time.monotonic() > deadline:
            raise RuntimeError(f"the engine does not run: {[found.health() for found in lane.groups.values()]}")
        await asyncio.sleep(0.1)
    before.let_go()
    await asyncio.sleep(SETTLE_SECONDS)
    process = psutil.Process()
    watch.begin(lane)
    memory, messages, began = process.memory_info().rss, lane.measurements.messages, time.perf_counter()
    used, waited = sum(process.cpu_times()[:2]), waited_for_the_core()
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - began
    found = {
        "seconds": elapsed,
        "points": len(watch.seconds),
        "rows": watch.rows,
        "step": [float(np.quantile(watch.seconds, share)) for share in (0.5, 0.99, 1.0)],
        "lag": [float(np.quantile(watch.lags, share)) for share in (0.5, 0.9, 0.99, 1.0)],
        "machine_percent": 100 * watch.processor / elapsed,
        "cpu_percent": 100 * (sum(process.cpu_times()[:2]) - used) / elapsed,
        "waited_percent": 100 * (waited_for_the_core() - waited) / elapsed,
        "messages_per_second": (lane.measurements.messages - messages) / elapsed,
        "memory": [memory, process.memory_info().rss],
        "lost": lane.measurements.records_lost,
        "pauses": lane.measurements.pauses,
        "failed": dict(lane.signal_measurements.fold_failures),
    }
    lane.stop()
    await running
    return found | {"streams": what_is_in_redis(settings, os.environ["SIGNAL_REDIS_URL"])}


def measure(instruments: int, seconds: float) -> dict[str, Any]:
    """The lane on the last core, everything else on the others."""
    content = configuration(instruments)
    content["anomalies"] = {**content["anomalies"], "metrics_interval_seconds": 1}
    with surroundings(content) as found:
        return answer_of("benchmarks.series_load", found, "--seconds", str(seconds))


def main(out: Console | None = None, seconds: float = SECONDS, instruments: int = INSTRUMENTS) -> None:
    """Print the table."""
    out = out or console()
    series = instruments * len(MARKET_FEATURES)
    with out.status(f"{series:,} series for {seconds:.0f} s"):
        found = measure(instruments, seconds)
    table = Table(
        *("what", "figure"),
        title=f"{series:,} series of {instruments} instruments, a point a second, {found['seconds']:.0f} s, one core",
    )
    for name, text in figures(found).items():
        table.add_row(name, text)
    out.print(table)
    out.print(
        "waited for it: share of the time in which the lane was ready and other processes had its core; the tail is "
        "theirs as much as ours unless this is about zero",
        soft_wrap=True,
    )


def figures(found: Mapping[str, Any]) -> dict[str, str]:
    """What was measured, in words."""
    rows = {name.rpartition(".")[2]: count for name, count in found["rows"].items()}
    step, lag = ([1_000 * value for value in found[name]] for name in ("step", "lag"))
    before, after = (size / 2**20 for size in found["memory"])
    streams = ", ".join(f"{count:,} {name}" for name, count in found["streams"].items())
    return {
        "points judged": f"{rows['metrics']:,} in {found['points']} seconds of market, {rows['scores']:,} distances, "
        f"{rows['anomalies']:,} anomalies",
        "messages taken in": f"{found['messages_per_second']:,.0f} a second",
        "core used by the lane": f"{found['cpu_percent']:.1f} %",
        "of it by the anomalies": f"{found['machine_percent']:.1f} % of the core",
        "waited for it": f"{found['waited_percent']:.1f} %",
        "one second's points": f"p50 {step[0]:.1f}, p99 {step[1]:.1f}, at most {step[2]:.1f} ms",
        "lag, closing message → rows": f"p50 {lag[0]:.1f}, p90 {lag[1]:.1f}, p99 {lag[2]:.1f}, at most {lag[3]:.1f} ms",
        "memory of the lane": f"{before:.0f} → {after:.0f} MB",
        "kept": f"{found['lost']} records lost, feed held back {found['pauses']} times, "
        f"folds failed: {found['failed'] or 'none'}",
        "in Redis since the start": streams,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--instruments", type=int, default=INSTRUMENTS)
    parser.add_argument("--lane", type=Path, help="be the measured process, in this home")
    parser.add_argument("--core", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _arguments()
    if arguments.lane is None:
        main(seconds=arguments.seconds, instruments=arguments.instruments)
    else:
        os.sched_setaffinity(0, {arguments.core})
        configure_logging()
        print(json.dumps(uvloop.run(run_lane(arguments.lane, arguments.seconds))))
