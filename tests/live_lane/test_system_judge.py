"""What the live lane says of the machine's samples is what runs say of them, whoever reads when."""

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.lake import Lake
from resources.memory_lake import MemoryLake
from resources.redis_keys import MARKET_GENERATION, SYSTEM_METRICS
from resources.redis_streams import StreamReader, open_redis
from services.live_lane import system_judge
from services.live_lane.system_judge import BehindError, SystemJudge
from services.live_lane.system_metrics import entry
from signal_assets.anomalies.folds import system_anomalies
from signal_assets.anomalies.system_assets import SYSTEM_ASSETS, SYSTEM_RAW
from signal_assets.anomalies.system_series import SYSTEM, SYSTEM_GROUP
from signal_assets.anomalies.tables import ANOMALIES, LABELS, SYSTEM_SAMPLES, TABLES
from signal_assets.fold import Stepper, forward_fold
from signal_assets.market.stream_intake import take_in
from signal_assets.tactical_end import stream_end
from tests.anomalies.test_system_machine import INTERVAL, PARAMETERS, POINTS, START, sample_rows

WaitUntil = Callable[[Callable[[], bool]], Awaitable[None]]
Rows = Mapping[str, Sequence[tuple[Any, ...]]]

pytestmark = pytest.mark.slow
WAIT = 120.0


class Stage:
    """A Redis with samples, a lake, runs, and judges that come and go."""

    def __init__(self, redis_server: Any, lake: Lake | None = None) -> None:
        self.client = redis_server.client()
        self.client.set(MARKET_GENERATION, "life")
        self.streams = StreamReader(open_redis(redis_server.url))
        self.lake = lake if lake is not None else MemoryLake()
        self.lake.ensure([SYSTEM_SAMPLES, LABELS, *TABLES])
        self.found: dict[str, tuple[Any, ...]] = {}

    def sample(self, number: int) -> None:
        """What sampler and outbox do."""
        values = {row[1]: row[4] for row in sample_rows(number)}
        addition = entry(START + number * INTERVAL, values, "host-1")
        self.client.xadd(addition.key, dict(addition.fields), id=addition.id)  # type: ignore[arg-type]

    def run(self) -> None:
        """What the sensor and a run of the job do."""
        end = stream_end(self.lake, self.streams, [SYSTEM_METRICS], SYSTEM_GROUP, SYSTEM_ASSETS)
        if isinstance(end, str):
            return
        take_in(self.lake, self.streams, SYSTEM_RAW, SYSTEM_GROUP, end=end, run_id="run")
        forward_fold(self.lake, system_anomalies(PARAMETERS), SYSTEM_GROUP, [SYSTEM], end=end, run_id="run")

    def judge(self) -> SystemJudge:
        return SystemJudge(lambda: self.lake, lambda: system_anomalies(PARAMETERS), self.streams, self.take)

    def take(self, rows: Rows) -> None:
        """What Redis does: the first of an id stays."""
        for row in rows.get(ANOMALIES.name, ()):
            assert self.found.setdefault(row[0], tuple(row)) == tuple(row)

    def look(self, judge: SystemJudge) -> None:
        for rows in judge._advance():
            self.take(rows)

    @property
    def in_lake(self) -> dict[str, tuple[Any, ...]]:
        frame = self.lake.read(ANOMALIES)[list(ANOMALIES.value_columns)]
        return {row[0]: tuple(row) for row in frame.itertuples(index=False)}


@pytest.mark.parametrize("seed", range(4))
def test_judged_live_is_judged_by_runs(redis_server: Any, seed: int) -> None:
    stage, chance = Stage(redis_server), random.Random(seed)
    judge = stage.judge()
    for number in range(1, POINTS + 1):
        stage.sample(number)
        if chance.random() < 0.6:
            try:
                stage.look(judge)
            except BehindError:
                judge.renew()
        if chance.random() < 0.2:
            stage.run()
        if chance.random() < 0.03:
            judge = stage.judge()  # the last one was killed
    stage.run()
    stage.look(stage.judge())
    assert len(stage.in_lake) > 3
    assert stage.found == stage.in_lake
    assert len(stage.lake.read(SYSTEM_SAMPLES)) == 4 * POINTS  # every sample once
    assert stage.client.xlen(SYSTEM_METRICS) == 1  # what was committed is removed, but the last


def test_samples_that_a_run_has_taken_away_are_found_in_the_lake(redis_server: Any) -> None:
    stage = Stage(redis_server)
    judge = stage.judge()
    stage.sample(1)
    stage.look(judge)
    for number in range(2, POINTS + 1):
        stage.sample(number)
    stage.run()
    stage.sample(POINTS + 1)
    with pytest.raises(BehindError, match="have gone to the lake"):
        stage.look(judge)
    judge.renew()
    stage.look(judge)
    assert stage.found == stage.in_lake
    assert judge.time == START + (POINTS + 1) * INTERVAL


def test_a_lake_on_disk_holds_what_was_judged_live(redis_server: Any, addresses: Addresses) -> None:
    lake = DuckLake(addresses)
    try:
        stage = Stage(redis_server, lake)
        judge = stage.judge()
        for number in range(1, POINTS + 1):
            stage.sample(number)
            if number % 10 == 0:
                stage.look(judge)
            if number % 60 == 0:
                stage.run()
                judge = stage.judge()
        stage.look(judge)
        assert len(stage.in_lake) > 3
        assert stage.found == stage.in_lake
        assert len(lake.read(SYSTEM_SAMPLES)) == 4 * POINTS
    finally:
        lake.close()


async def test_a_lake_that_is_away_is_tried_again(
    redis_server: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_judge, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(system_judge, "FIRST_RETRY", 0.01)
    stage, away = Stage(redis_server), True

    def open_lake() -> Lake:
        if away:
            raise OSError("cannot open the lake")
        return stage.lake

    for number in range(1, POINTS + 1):
        stage.sample(number)
    judge = SystemJudge(open_lake, lambda: system_anomalies(PARAMETERS), stage.streams, stage.take)
    task = asyncio.create_task(judge.run())
    try:
        await wait_until(lambda: judge.circumstances().stopped == "OSError: cannot open the lake")
        away = False
        await wait_until(lambda: judge.time == START + POINTS * INTERVAL and not judge.error)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    stage.run()
    assert stage.found == stage.in_lake


def test_entries_of_an_older_version_are_passed_over(redis_server: Any) -> None:
    stage = Stage(redis_server)
    for second in range(3):  # of the same days, by the clock of Redis: in ms
        moment = START // 1_000 + second * 1_000
        stage.client.xadd(
            SYSTEM_METRICS, {"time": str(moment * 1_000), "system.cpu.usage": "12.5"}, id=f"{moment}-{second}"
        )
    for number in range(1, POINTS + 1):
        stage.sample(number)
    judge = stage.judge()
    stage.look(judge)
    assert judge.time == START + POINTS * INTERVAL
    stage.run()
    assert len(stage.in_lake) > 3
    assert stage.found == stage.in_lake
    assert len(stage.lake.read(SYSTEM_SAMPLES)) == 4 * POINTS


def test_a_renewal_that_comes_while_it_judges_is_not_lost(redis_server: Any) -> None:
    stage, begun = Stage(redis_server), 0

    def fold_of() -> Any:
        nonlocal begun
        begun += 1
        if begun == 1:
            judge.renew()  # these settings are no longer those in force
        return system_anomalies(PARAMETERS)

    judge = SystemJudge(lambda: stage.lake, fold_of, stage.streams, stage.take)
    for number in (1, 2, 3):
        stage.sample(number)
        stage.look(judge)
    assert begun == 2


async def test_what_has_gathered_is_judged_batch_by_batch_without_a_pause(
    redis_server: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_judge, "LOOK_SECONDS", 3_600.0)
    monkeypatch.setattr(system_judge, "ENTRIES_AT_ONCE", 7)
    stage = Stage(redis_server)
    for number in range(1, POINTS + 1):
        stage.sample(number)
    judge = stage.judge()
    stage.look(judge)
    assert judge.time == START + 7 * INTERVAL
    task = asyncio.create_task(judge.run())
    try:
        await wait_until(lambda: judge.time == START + POINTS * INTERVAL and not judge.error)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    stage.run()
    assert set(stage.found) <= set(stage.in_lake)  # of the last batch rows may not have been handed on
    assert len(stage.found) > 3


@pytest.mark.parametrize("in_lake", [False, True])
async def test_whoever_no_longer_judges_reads_no_further_entry(
    redis_server: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch, in_lake: bool
) -> None:
    stage = Stage(redis_server)
    for number in range(1, POINTS + 1):
        stage.sample(number)
    if in_lake:
        take_in(stage.lake, stage.streams, SYSTEM_RAW, SYSTEM_GROUP, end=START + POINTS * INTERVAL, run_id="run")
    steps, third, cancelled, over = 0, threading.Event(), threading.Event(), threading.Event()

    class Waiting(Stepper):
        def step(self, time: int, events: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == 3:
                third.set()
                cancelled.wait(WAIT)
            return super().step(time, events)

    monkeypatch.setattr(system_judge, "Stepper", Waiting)
    judge = stage.judge()
    advance = judge._advance

    def watched() -> Any:
        try:
            return advance()
        finally:
            over.set()

    monkeypatch.setattr(judge, "_advance", watched)
    task = asyncio.create_task(judge.run())
    try:
        await wait_until(third.is_set)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        cancelled.set()
    await wait_until(over.is_set)
    assert steps == 3
