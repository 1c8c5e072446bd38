"""From the message that closes a grid point to the signal in Redis, on one core.

The live lane runs as it always does – sockets, parser, ingest, engine with the real folds, emitter – in a process that
is pinned to one core; the simulated venue, at the pace of the wall clock, and a real Redis share the others. The lane
begins with two hours of market in its lake, so that every window is full. Signals of the real strategies are rare, so
one of them is made to propose besides: every instrument in turn, an order that validation, confidence and
de-duplication then treat like any other.

Belongs here: the measurement. Does not belong here: anything the lane does.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import psutil
import uvloop
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.generated_market import features, generator
from benchmarks.measurement import console
from resources.lake import Lake, Progress
from resources.memory_lake import MemoryLake
from resources.redis_keys import MARKET_DEAD, market_gaps, market_stream
from resources.redis_streams import StreamReader, open_redis
from resources.settings import Settings, load_settings
from services.live_lane.__main__ import configure_logging, spare_what_lives_long
from services.live_lane.lane import LiveLane
from services.live_lane.measurements import Latency
from services.platform.embedded_redis import EmbeddedRedis
from signal_assets.content_id import content_id
from signal_assets.derivation import asset_name
from signal_assets.event_time import HOUR, MILLISECOND, SECOND, day_start, from_datetime
from signal_assets.fold import Fold
from signal_assets.instrument import Instrument
from signal_assets.machine import Events, Machine, Rows, record_class
from signal_assets.market.tables import FEATURES, TRADES
from signal_assets.strategies.tables import strategy_table

SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.1
START_SECONDS: Final = 180.0
START_TEXT: Final = "2025-01-07T14:00:00+00:00"
"""A Tuesday afternoon: the hour must not speak against a signal."""
HISTORY: Final = 2 * HOUR
HISTORY_STEP: Final = 10 * SECOND
COUNTS: Final = ((5, 1), (100, 10))
"""Instruments, and at every which grid point each of them is proposed."""
STRATEGY: Final = "momentum_rider"
GOAL_MILLISECONDS: Final = 20


# -- the lane, in a process of its own -----------------------------------------------------------------------------


class Proposing:
    """The real machine of a strategy, which proposes besides at every so-manieth grid point of each instrument."""

    def __init__(self, machine: Machine, instruments: Sequence[Instrument], every: int) -> None:
        self._machine = machine
        self._instruments = sorted(instruments, key=lambda instrument: instrument.key)
        self._every = every
        self._table = strategy_table(STRATEGY)
        self._record = record_class(self._table)
        self.begin_day, self.state, self.restore = machine.begin_day, machine.state, machine.restore

    def step(self, time: int, events: Events) -> Rows:
        """What the strategy says, and what is put into its mouth."""
        rows = list(self._machine.step(time, events).get(self._table.name, ()))
        seen = {record.instrument: record for record in events[FEATURES.name]}
        for number, instrument in enumerate(self._instruments):
            if (time // SECOND + number) % self._every == 0 and instrument.key in seen:
                rows.append(self._row(instrument, time, seen[instrument.key]))
        return {self._table.name: rows}

    def _row(self, instrument: Instrument, time: int, record: Any) -> tuple[Any, ...]:
        entry = round(record.mid_price * 10**8) // instrument.tick_size * instrument.tick_size
        far = max(entry // 50 // instrument.tick_size, 1) * instrument.tick_size
        made: tuple[Any, ...] = self._record(
            id=content_id("proposed", instrument.key, time),
            strategy=STRATEGY,
            family="trend_following",
            tier="fast",
            instrument=instrument.key,
            timeframe=f"proposed at {time}",  # of a kind of its own, so never a duplicate
            event_time=time,
            action="buy",
            order_type="market",
            legs="[]",
            entry_price=entry,
            stop_loss=entry - far,
            take_profit=entry + 3 * far,
            quantity=0,
            raw_confidence=1.0,
            metadata='{"proposed_by":"benchmark"}',
            parameters_version="benchmark",
            failure="",
        )
        return made


def folds_that_emit(settings: Settings, every: int) -> list[Fold]:
    """The real folds, one strategy of which proposes besides."""
    from services.live_lane.live_folds import live_folds

    def emitting(fold: Fold) -> Fold:
        if fold.tables[0].short_name != STRATEGY:
            return fold
        inputs = tuple(replace(item, columns=(*(item.columns or ()), "mid_price")) for item in fold.inputs)
        return replace(
            fold, inputs=inputs, machine=lambda instruments: Proposing(fold.machine(instruments), instruments, every)
        )

    return [emitting(fold) for fold in live_folds(settings)]


@dataclass(frozen=True)
class OneLake:
    """A lake that is there."""

    lake: Lake

    def open(self) -> Lake:
        """That lake."""
        return self.lake


def history(settings: Settings, start: int) -> MemoryLake:
    """Two hours of features of all instruments up to ``start``."""
    from services.simulated_venue.market_plan import BASE_PRICES

    lake = MemoryLake()
    times = np.arange(start - HISTORY, start + 1, HISTORY_STEP)
    for group, instruments in settings.groups.items():
        with lake.transaction(asset=asset_name(FEATURES), run_id="history") as unit:
            for instrument in instruments:
                price = BASE_PRICES.get(instrument.base, 100.0) / BASE_PRICES.get(instrument.quote, 1.0)
                unit.append(FEATURES, features(instrument, times, price, generator(instrument, 1)))
            unit.advance(asset_name(FEATURES), group, None, Progress(day_start(start), start))
    return lake


class EveryLatency(Latency):
    """A latency that keeps every value, not only the newest."""

    def __init__(self) -> None:
        super().__init__("closing_message_to_signal_seconds", "measured from here on")
        self.values: list[float] = []

    def observe(self, seconds: float) -> None:
        """Take one value."""
        super().observe(seconds)
        self.values.append(seconds)


@dataclass
class Most:
    """The most that was seen of what comes and goes."""

    records: int = 0
    spill_bytes: int = 0
    paused_seconds: float = 0.0

    async def watch(self, lane: LiveLane) -> None:
        """Look ten times a second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for shard in lane.shards.values():
                self.records = max(self.records, shard.outbox.records)
                self.spill_bytes = max(self.spill_bytes, shard.outbox.spill.size)
                self.paused_seconds += LOOK_SECONDS * shard.outbox.paused


async def hold_redis(lane: LiveLane, pid: int, seconds: float) -> float:
    """Stop Redis for so long; seconds it then takes until it has everything."""
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)
    began = time.perf_counter()
    while not all(shard.outbox.redis_up and shard.outbox.spill.empty for shard in lane.shards.values()):
        await asyncio.sleep(0.01)
    return time.perf_counter() - began


def what_is_in_redis(settings: Settings, redis_url: str) -> dict[str, int]:
    """Trades and grid points that are missing or there twice, gaps and dead letters, over everything in the streams."""
    client = open_redis(redis_url, timeout=60.0)
    reader = StreamReader(client)
    counts: Counter[str] = Counter()
    for key in settings.instruments_by_key:
        for name, table, column, step in (
            ("trades", TRADES, "trade_id", 1),
            ("rows", FEATURES, "time", settings.grid_milliseconds * MILLISECOND),
        ):
            ids: list[int] = []
            for entry in reader.read_after(market_stream(key, table.short_name), None, 10**7):
                ids += orjson.loads(entry.fields["data"])["columns"][column]
            counts[name] += len(ids)
            if ids:
                counts[f"missing {name}"] += (max(ids) - min(ids)) // step + 1 - len(set(ids))
                counts[f"repeated {name}"] += len(ids) - len(set(ids))
        counts["feed gaps"] += len(reader.read_after(market_gaps(key), None, 10**7))
    counts["dead letters"] = int(client.xlen(MARKET_DEAD))
    return dict(counts)


async def run_lane(home: Path, every: int, seconds: float, hold: float = 0.0, redis_pid: int = 0) -> dict[str, Any]:
    """Run the lane for so long and say what was measured."""
    settings = load_settings()
    lane = LiveLane(
        settings,
        os.environ["SIGNAL_REDIS_URL"],
        home,
        folds_of=lambda current: folds_that_emit(current, every),
        lake=OneLake(history(settings, from_datetime(start_moment()))),
        engine_started=spare_what_lives_long,
    )
    running = asyncio.create_task(lane.run())
    deadline = time.monotonic() + START_SECONDS
    counted = lane.signal_measurements
    while counted.emitted < 10:
        if running.done() or time.monotonic() > deadline:
            raise RuntimeError(f"no signal came: {[group.health() for group in lane.groups.values()]}")
        await asyncio.sleep(0.1)
    await asyncio.sleep(SETTLE_SECONDS)
    counted.closing_to_signal = latency = EveryLatency()
    most, process = Most(), psutil.Process()
    watch = asyncio.create_task(most.watch(lane))
    memory = process.memory_info().rss
    messages, emitted, began = lane.measurements.messages, counted.emitted, time.perf_counter()
    used, waited = sum(psutil.Process().cpu_times()[:2]), waited_for_the_core()
    drained = 0.0
    if hold:
        await asyncio.sleep((seconds - hold) / 2)
        drained = await hold_redis(lane, redis_pid, hold)
    await asyncio.sleep(max(seconds - (time.perf_counter() - began), 0.0))
    elapsed = time.perf_counter() - began
    watch.cancel()
    ordered = sorted(latency.values) or [nan]
    found = {
        **{
            name: ordered[min(int(share * len(ordered)), len(ordered) - 1)]
            for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("most", 1.0))
        },
        "signals": counted.emitted - emitted,
        "messages_per_second": (lane.measurements.messages - messages) / elapsed,
        "cpu_percent": 100 * (sum(psutil.Process().cpu_times()[:2]) - used) / elapsed,
        "waited_percent": 100 * (waited_for_the_core() - waited) / elapsed,
        "by_status": {" ".join(key): count for key, count in counted.signals.items()},
        "suppressed": dict(counted.suppressed),
        "failures": {" ".join(key): n for group in lane.groups.values() for key, n in group.plug_in_failures().items()},
        "failed_folds": dict(counted.fold_failures),
        "memory": [memory, process.memory_info().rss],
        "most_records": most.records,
        "most_spill": most.spill_bytes,
        "spilled_batches": lane.measurements.spilled_batches,
        "pauses": lane.measurements.pauses,
        "paused_seconds": most.paused_seconds,
        "drained_seconds": drained,
        "lost": lane.measurements.records_lost,
    }
    lane.stop()
    await running
    return found | {"streams": what_is_in_redis(settings, os.environ["SIGNAL_REDIS_URL"])}


def waited_for_the_core() -> float:
    """Seconds this process' event loop was ready to run and somebody else had its core, as the kernel counts them."""
    return int(Path(f"/proc/self/task/{os.getpid()}/schedstat").read_text("ascii").split()[1]) / 1e9


def start_moment() -> Any:
    """When the measured market begins."""
    from datetime import datetime

    return datetime.fromisoformat(START_TEXT)


# -- what it needs around it ---------------------------------------------------------------------------------------


def configuration(instruments: int) -> dict[str, Any]:
    """The shipped configuration with so many instruments: its own first, a triangle among them."""
    content: dict[str, Any] = yaml.safe_load(Path("config/signals.yaml").read_text("utf-8"))
    own = content["instruments"][:instruments]
    extra = [
        {
            "symbol": f"COIN{letters(number)}FDUSD",
            "venue": "BINANCE",
            "pair": f"COIN{letters(number)}/FDUSD",
            "group": "crypto",
            "tick_size": "0.01",
            "lot_size": "0.001",
            "bucket_size": "0.01",
        }
        for number in range(instruments - len(own))
    ]
    content["instruments"] = own + extra
    content["live"] = {**content["live"], "metrics_port": 0, "health_port": 0}
    return content


def letters(number: int) -> str:
    """AA, AB and so on."""
    return chr(65 + number // 26) + chr(65 + number % 26)


@contextmanager
def stopped_at_the_end(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """A process that does not outlive the measurement."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


@dataclass(frozen=True)
class Surroundings:
    """What a measured lane finds: its home, the environment to start it with, its core, Redis."""

    home: Path
    environment: Mapping[str, str]
    core: int
    redis_pid: int


@contextmanager
def surroundings(content: Mapping[str, Any]) -> Iterator[Surroundings]:
    """Redis and the simulated venue on all cores but the last, for a lane configured like this."""
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="signals-", ignore_cleanup_errors=True)))
        file = home / "signals.yaml"
        file.write_text(yaml.safe_dump(dict(content)), "utf-8")
        redis = EmbeddedRedis(home / "redis", home, home / "redis.log")
        stack.callback(redis.stop)
        environment = {**os.environ, "SIGNAL_CONFIG": str(file), "SIGNAL_REDIS_URL": redis.start()}
        words = ["--start", START_TEXT, "--speed", "1", "--seed", "7"]
        venue = stack.enter_context(
            stopped_at_the_end(
                subprocess.Popen(
                    [sys.executable, "-m", "services.simulated_venue", *words],
                    env=environment,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        )
        assert venue.stdout is not None
        address = json.loads(venue.stdout.readline())
        for pid in (redis.pid, venue.pid):
            os.sched_setaffinity(pid or 0, cores[:-1] or cores)
        environment |= {
            "SIGNAL_VENUE__REST_URL": address["rest_url"],
            "SIGNAL_VENUE__STREAM_URL": address["stream_url"],
            "SIGNAL_VENUE__VIRTUAL_CLOCK": "true",
        }
        yield Surroundings(home, environment, cores[-1], redis.pid or 0)


def answer_of(module: str, found: Surroundings, *words: str) -> dict[str, Any]:
    """What the lane of a measurement, a process of its own, says at its end."""
    command = [sys.executable, "-m", module, "--lane", str(found.home), "--core", str(found.core), *words]
    answer = subprocess.run(command, env=found.environment, capture_output=True, text=True)
    if answer.returncode:
        raise RuntimeError(f"the lane ended with {answer.returncode}: {answer.stderr[-2000:]}")
    said: dict[str, Any] = json.loads(answer.stdout)
    return said


def measure(instruments: int, every: int, seconds: float, hold: float = 0.0) -> dict[str, Any]:
    """Redis and the venue on all cores but the last, the lane on the last."""
    with surroundings(configuration(instruments)) as found:
        words = ["--every", str(every), "--seconds", str(seconds), "--hold", str(hold)]
        return answer_of("benchmarks.signal_latency", found, *words, "--redis", str(found.redis_pid))


def main(
    out: Console | None = None,
    seconds: float = SECONDS,
    counts: Sequence[tuple[int, int]] = COUNTS,
    hold: float = 0.0,
) -> None:
    """Print the table."""
    out = out or console()
    table = Table(
        "instruments",
        "messages/s",
        "core used",
        "waited for it",
        "signals",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "most ms",
        "goal p99",
        title=f"Closing message → signal in Redis, one core, {seconds:.0f} s each",
    )
    remarks = []
    for instruments, every in counts:
        with out.status(f"{instruments} instruments"):
            found = measure(instruments, every, seconds, hold)
        table.add_row(
            str(instruments),
            f"{found['messages_per_second']:,.0f}",
            f"{found['cpu_percent']:.0f} %",
            f"{found['waited_percent']:.0f} %",
            str(found["signals"]),
            *(f"{found[name] * 1_000:.1f}" for name in ("p50", "p90", "p99", "most")),
            f"≤ {GOAL_MILLISECONDS}" if instruments == 100 else "–",
        )
        remarks += [f"{instruments} instruments: {remark(found, every)}", keeping(found, hold)]
    out.print(table)
    out.print(
        "waited for it: share of the time in which the lane was ready and other processes had its core; the tail is "
        "theirs as much as ours unless this is about zero",
        soft_wrap=True,
    )
    for line in remarks:
        out.print(line, soft_wrap=True)


def remark(found: Mapping[str, Any], every: int) -> str:
    """What the signals were made of."""
    status: Counter[str] = Counter(found["by_status"])
    verdicts = ", ".join(f"{count} {name}" for name, count in sorted(status.items()))
    trouble = {**found["suppressed"], **found["failures"], **found["failed_folds"]}
    return (
        f"the three real strategies, {STRATEGY} made to propose besides each instrument at every "
        f"{'' if every == 1 else f'{every}th '}grid point; since the start: {verdicts}"
        + (f"; {trouble}" if trouble else "")
    )


def keeping(found: Mapping[str, Any], hold: float) -> str:
    """What memory and disk were used for, and whether everything is there."""
    before, after = (size / 2**20 for size in found["memory"])
    streams = ", ".join(f"{count:,} {name}" for name, count in found["streams"].items())
    held = f"; Redis held back for {hold:.0f} s, after which it took {found['drained_seconds']:.2f} s" if hold else ""
    return (
        f"memory {before:.0f} → {after:.0f} MB; at most {found['most_records']:,} records waiting, "
        f"{found['spilled_batches']} batches and {found['most_spill'] / 2**20:.1f} MB on disk, the feed held back "
        f"{found['pauses']} times for {found['paused_seconds']:.1f} s, {found['lost']} records lost{held}; "
        f"in Redis since the start: {streams}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--instruments", type=int, help="only with so many, each proposed at every 10th grid point")
    parser.add_argument("--hold", type=float, default=0.0, help="stop Redis for so many seconds in the middle")
    parser.add_argument("--redis", type=int, default=0, help="process id of Redis, for --lane")
    parser.add_argument("--lane", type=Path, help="be the measured process, in this home")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--every", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _arguments()
    if arguments.lane is None:
        wanted = COUNTS if arguments.instruments is None else ((arguments.instruments, 10),)
        main(seconds=arguments.seconds, counts=wanted, hold=arguments.hold)
    else:
        os.sched_setaffinity(0, {arguments.core})
        configure_logging()
        found_here = uvloop.run(
            run_lane(arguments.lane, arguments.every, arguments.seconds, arguments.hold, arguments.redis)
        )
        print(json.dumps(found_here))
