"""A group's lane with a real Redis and a lake in memory: starts, restarts, holds, faults."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from resources.lake import Lake, LakeError, Progress
from resources.memory_lake import MemoryLake
from resources.redis_keys import SIGNALS as STREAM
from resources.redis_keys import market_features
from resources.redis_streams import StreamReader, open_redis
from services.live_lane import group_lane
from services.live_lane.group_lane import GroupLane
from services.live_lane.measurements import SignalMeasurements
from services.live_lane.signal_emitter import SignalEmitter
from signal_assets.event_time import DAY, MINUTE, SECOND
from signal_assets.fold import Fold, forward_fold
from signal_assets.instrument import Instrument, whole_group
from signal_assets.machine import Events, Rows
from signal_assets.market.ingest import Output
from signal_assets.market.stream_codec import encode
from signal_assets.market.tables import FEATURES
from signal_assets.signals.signal_record import parse
from signal_assets.signals.tables import SIGNALS
from tests.live_lane.toy_folds import (
    FACTORS,
    GROUP,
    INSTRUMENTS,
    ONE,
    START,
    TWO,
    Moves,
    Signals,
    feature_rows,
    lake_with,
    outputs,
    put_rows,
    seconds,
    signal_row,
    toy_folds,
)

pytestmark = pytest.mark.slow

WaitUntil = Callable[[Callable[[], bool]], Awaitable[None]]
END = START + 20 * MINUTE
ROWS = feature_rows(seconds(5, 1_200, 5))


class Stage:
    """A Redis, a lake, and lanes that come and go."""

    def __init__(self, redis_server: Any, lake: Lake) -> None:
        self.redis_server = redis_server
        self.client = redis_server.client()
        self.streams = StreamReader(open_redis(redis_server.url))
        self.lake: Lake = lake
        self.measurements = SignalMeasurements()

    def publish(self, instrument: str, output: Output) -> None:
        """What the outbox does."""
        fields = {"n": len(output.features), "data": encode(FEATURES, output.features)}
        self.client.xadd(market_features(instrument), fields, id=f"{output.watermark}-0")  # type: ignore[arg-type]

    def lane(
        self,
        emitter: SignalEmitter,
        folds: Sequence[Fold] | None = None,
        *,
        group: str = GROUP,
        instruments: Sequence[Instrument] = INSTRUMENTS,
        virtual: bool = True,
        open_lake: Callable[[], Lake] | None = None,
    ) -> GroupLane:
        made = GroupLane(
            group,
            instruments,
            lambda: folds or toy_folds(),
            open_lake or (lambda: self.lake),
            self.streams,
            emitter,
            self.measurements,
            virtual_clock=virtual,
        )
        made.resume({instrument.key: self.streams.tail(market_features(instrument.key)) for instrument in instruments})
        return made

    @asynccontextmanager
    async def running(self, *lanes: GroupLane) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(lane.run()) for lane in lanes]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @asynccontextmanager
    async def emitter(self) -> AsyncIterator[SignalEmitter]:
        made = SignalEmitter(self.redis_server.url, self.measurements, {})
        made.start()
        try:
            yield made
        finally:
            await made.stop(5.0)

    def sent(self) -> list[Any]:
        entries = self.client.xrange(STREAM)
        return [parse({name.decode(): value for name, value in fields.items()}).signal for _, fields in entries]

    async def hand_in(self, lane: GroupLane, pieces: Sequence[tuple[str, Output]], *, paced: bool = False) -> None:
        for instrument, output in pieces:
            self.publish(instrument, output)
            lane.take(instrument, output, 0.0)
            await asyncio.sleep(0)
            while paced and lane.waiting:
                await asyncio.sleep(0.001)


@pytest.fixture
def stage(redis_server: Any) -> Stage:
    return Stage(redis_server, MemoryLake())


def validated(
    rows: Mapping[str, Sequence[tuple[Any, ...]]], end: int, folds: Sequence[Fold] | None = None
) -> list[Any]:
    """What batch makes of it, in order of time and instrument."""
    lake = lake_with(rows, end)
    for fold in folds or toy_folds():
        forward_fold(lake, fold, GROUP, INSTRUMENTS, end=end, run_id="batch")
    found = lake.read(SIGNALS).sort_values(["event_time", "instrument"])
    return found[found["status"] == "validated"]["id"].tolist()


async def test_everything_validated_leaves_once_and_in_order(stage: Stage, wait_until: WaitUntil) -> None:
    async with stage.emitter() as emitter:
        lane = stage.lane(emitter)
        async with stage.running(lane):
            await stage.hand_in(lane, outputs(ROWS, END))
            await lane.flush()
            await emitter.flush()
            assert lane.state == "running"
            assert lane.lag_seconds == 0
            assert lane.health()["failed_folds"] == {}
    expected = validated(ROWS, END)
    assert [signal.id for signal in stage.sent()] == expected
    assert len(expected) > 35
    assert stage.measurements.emitted == len(expected)
    assert stage.measurements.signals["toy", "validated"] == len(expected)
    assert stage.measurements.signals["toy", "rejected"] > 30
    assert stage.measurements.suppressed == {}


@pytest.mark.parametrize("seed", range(5))
async def test_a_restart_anywhere_emits_what_is_missing_and_nothing_twice(stage: Stage, seed: int) -> None:
    chance = random.Random(seed)
    pieces = outputs(ROWS, END, seed=seed)
    kills = sorted(chance.sample(range(50, len(pieces)), 3))
    lake = lake_with(ROWS, START)
    stage.lake = lake
    for first, last in zip([0, *kills], [*kills, len(pieces)], strict=True):
        async with stage.emitter() as emitter:
            lane = stage.lane(emitter)
            async with stage.running(lane):
                await stage.hand_in(lane, pieces[first : last - 3], paced=True)
                await stage.hand_in(lane, pieces[last - 3 : last])
                if last == len(pieces):
                    await lane.flush()
                else:
                    await asyncio.sleep(chance.choice([0.0, 0.01, 0.1]))  # killed in the middle of it
        reached = min(stage.streams.tail(market_features(key)) or START for key in ROWS)
        put_rows(lake, ROWS, reached)
        for fold in toy_folds():
            forward_fold(lake, fold, GROUP, INSTRUMENTS, end=reached, run_id="run")
    expected = validated(ROWS, END)
    sent = [signal.id for signal in stage.sent()]
    assert sorted(sent) == sorted(expected)


async def test_after_a_long_absence_nothing_that_has_expired_leaves(stage: Stage, wait_until: WaitUntil) -> None:
    pieces = outputs(ROWS, END)
    away, back = START + 5 * MINUTE, START + 15 * MINUTE
    for instrument, output in pieces:
        if (output.watermark or 0) <= away:
            stage.publish(instrument, output)
    async with stage.emitter() as emitter:
        lane = stage.lane(emitter, virtual=False)
        async with stage.running(lane):
            await wait_until(lambda: lane.state == "running")
            await asyncio.sleep(0.05)
            assert stage.sent() == []  # nobody knows yet what time it is
            late = [(key, output) for key, output in pieces if (output.watermark or 0) > back]
            rest = [
                (key, Output(list(), output.features, watermark=output.watermark, reason="")) for key, output in late
            ]
            await stage.hand_in(lane, rest)
            await lane.flush()
            await emitter.flush()
    assert stage.sent()
    assert min(signal.event_time for signal in stage.sent()) > back - MINUTE


async def test_a_signal_whose_life_is_not_over_leaves_after_the_restart(stage: Stage, wait_until: WaitUntil) -> None:
    for instrument, output in outputs(ROWS, START + 5 * MINUTE):
        stage.publish(instrument, output)
    expected = [signal for signal in validated(ROWS, START + 5 * MINUTE)]
    async with stage.emitter() as emitter:
        lane = stage.lane(emitter, virtual=False)
        async with stage.running(lane):
            await wait_until(lambda: lane.state == "running")
            for key in ROWS:
                lane.take(key, Output(watermark=START + 5 * MINUTE + 20 * SECOND, reason=""), 0.0)
            await wait_until(lambda: bool(stage.sent()))
    sent = stage.sent()
    assert all(signal.expires_at > START + 5 * MINUTE + 20 * SECOND for signal in sent)
    assert [signal.id for signal in sent] == expected[-len(sent) :]


async def test_rows_that_waited_too_long_make_no_signal_by_the_clock_of_the_market(
    stage: Stage, wait_until: WaitUntil
) -> None:
    async with stage.emitter() as emitter:
        lane = stage.lane(emitter, virtual=False)
        async with stage.running(lane):
            await wait_until(lambda: lane.state == "running")
            for instrument, output in outputs(ROWS, END):  # all at once: the engine is 20 minutes behind
                lane.take(instrument, output, 0.0)
            await lane.flush()
            await emitter.flush()
    expected = validated(ROWS, END)
    sent = [signal.id for signal in stage.sent()]
    assert sent == expected[-len(sent) :]
    assert stage.measurements.suppressed == {"expired": len(expected) - len(sent)}
    assert all(signal.expires_at > END for signal in stage.sent())


async def test_the_end_of_a_recording_is_no_time_of_day(stage: Stage) -> None:
    async with stage.emitter() as emitter:
        lane = stage.lane(emitter, virtual=False)
        async with stage.running(lane):
            pieces = outputs(ROWS, END)
            await stage.hand_in(lane, pieces[:-60], paced=True)
            before = len(stage.sent())
            rest = {key: [row for k, output in pieces[-60:] if k == key for row in output.features] for key in ROWS}
            for key, mine in rest.items():
                lane.take(key, Output(features=mine, watermark=START + DAY, reason="end_of_recording"), 0.0)
            await lane.flush()
            await emitter.flush()
    assert [signal.id for signal in stage.sent()] == validated(ROWS, END)
    assert len(stage.sent()) > before


@pytest.mark.parametrize("processes", [1, 2])
async def test_two_groups_in_one_process_or_two_emit_the_same(stage: Stage, processes: int) -> None:
    other = replace(TWO, group="other")
    groups = {GROUP: (ONE,), "other": (other,)}
    async with stage.emitter() as first, stage.emitter() as second:
        emitters = {GROUP: first, "other": first if processes == 1 else second}
        lanes = {name: stage.lane(emitters[name], group=name, instruments=members) for name, members in groups.items()}
        twin = stage.lane(second, group=GROUP, instruments=(ONE,))  # another process that believes the group is its own
        async with stage.running(*lanes.values(), twin):
            for instrument, output in outputs(ROWS, END):
                stage.publish(instrument, output)
                lane = lanes[GROUP if instrument == ONE.key else "other"]
                for each in (lane, twin) if lane is lanes[GROUP] else (lane,):
                    each.take(instrument, output, 0.0)
                await asyncio.sleep(0)
            for each in (*lanes.values(), twin):
                await each.flush()
    ids = [signal.id for signal in stage.sent()]
    assert sorted(ids) == sorted(validated(ROWS, END))
    assert stage.measurements.suppressed["repeated"] == sum(signal.instrument == ONE.key for signal in stage.sent())


async def test_a_lake_that_is_away_holds_nobody_up(
    stage: Stage, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_lane, "RETRY_SECONDS", 0.02)
    away = True

    def open_lake() -> Lake:
        if away:
            raise LakeError("cannot open the lake")
        return stage.lake

    pieces = outputs(ROWS, END)
    async with stage.emitter() as emitter:
        lane = stage.lane(emitter, virtual=False, open_lake=open_lake)
        async with stage.running(lane):
            await stage.hand_in(lane, pieces[:-10])
            await asyncio.wait_for(lane.room(), 0.1)
            failures = stage.measurements.engine_start_failures["LakeError"]
            await wait_until(lambda: stage.measurements.engine_start_failures["LakeError"] > failures + 1)
            assert lane.state == "starting"
            assert lane.health()["error"] == "LakeError: cannot open the lake"
            assert lane.waiting == 0  # the last attempt has let go what Redis held when it began
            away = False
            await wait_until(lambda: lane.state == "running")
            await stage.hand_in(lane, pieces[-10:])
            await lane.flush()
    assert lane.time == max(row[1] for mine in ROWS.values() for row in mine)
    sent = [signal.id for signal in stage.sent()]
    assert sent == validated(ROWS, END)[-len(sent) :]
    assert sent


async def test_the_first_rows_of_a_replay_wait_for_the_engine(
    stage: Stage, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_lane, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(group_lane, "HIGH", 30)
    away = True

    def open_lake() -> Lake:
        if away:
            raise LakeError("cannot open the lake")
        return stage.lake

    pieces = outputs(ROWS, END)
    async with stage.emitter() as emitter:
        lane = stage.lane(emitter, virtual=True, open_lake=open_lake)
        async with stage.running(lane):
            await wait_until(lambda: stage.measurements.engine_start_failures["LakeError"] > 1)
            await stage.hand_in(lane, pieces[:31])
            room = asyncio.create_task(lane.room())
            await wait_until(lambda: stage.measurements.engine_start_failures["LakeError"] > 4)
            assert not room.done()
            assert lane.waiting == 31
            away = False
            await asyncio.wait_for(room, 5)
            await stage.hand_in(lane, pieces[31:])
            await lane.flush()
    assert [signal.id for signal in stage.sent()] == validated(ROWS, END)


async def test_a_new_day_waits_for_what_has_to_be_learned(
    stage: Stage, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_lane, "RETRY_SECONDS", 0.02)
    begin = START + 2 * DAY
    rows = {
        key: [(row[0], row[1] + 2 * DAY - MINUTE, *row[2:]) for row in mine if row[1] < START + 3 * MINUTE]
        for key, mine in ROWS.items()
    }
    end = begin + 2 * MINUTE
    lake = lake_with(feature_rows([START + SECOND], missing=0), START + 2 * DAY - 2 * MINUTE)
    stage.lake = lake
    async with stage.emitter() as emitter:
        lane = stage.lane(emitter, toy_folds(FACTORS))
        async with stage.running(lane):
            await stage.hand_in(lane, outputs(rows, end, begin=begin - 2 * MINUTE))
            await wait_until(lambda: lane.state == "waiting")
            assert lane.error.startswith(
                "waiting for learning of learning.factors of crypto has not been learned up to"
            )
            assert lane.time == begin
            with lake.transaction(asset="learning/factors", run_id="learn") as unit:
                row = {"instrument": [whole_group(GROUP)], "valid_from": [begin], "value": [7.0]}
                unit.append(FACTORS, pd.DataFrame(row))
                unit.advance("learning/factors", GROUP, None, Progress(START, START + DAY))
            await wait_until(lambda: lane.state == "running")
            await lane.flush()
            assert lane.time == max(row[1] for mine in rows.values() for row in mine)
            assert lane._engine is not None
            assert lane._engine.machines["plans"].factor == 7.0  # type: ignore[attr-defined]


async def test_settings_that_change_before_it_runs_are_those_it_begins_with(
    stage: Stage, wait_until: WaitUntil
) -> None:
    for instrument, output in outputs(ROWS, START + 5 * MINUTE):
        stage.publish(instrument, output)
    asked: list[str] = []
    async with stage.emitter() as emitter:
        lane = stage.lane(emitter)
        lane.renew(lambda: asked.append("new") or toy_folds())  # type: ignore[func-returns-value]
        lane.resume({key: stage.streams.tail(market_features(key)) for key in ROWS})
        async with stage.running(lane):
            await wait_until(lambda: lane.state == "running")
            assert lane.time == max(row[1] for mine in ROWS.values() for row in mine if row[1] <= START + 5 * MINUTE)
    assert asked == ["new"]


class Brittle(Moves):
    """Raises at one time, until somebody mends it."""

    broken = True

    def step(self, time: int, events: Events) -> Rows:
        if Brittle.broken and time == START + 300 * SECOND:
            raise ZeroDivisionError("at five minutes")
        return super().step(time, events)


async def test_a_fold_that_raises_is_named_and_brought_back_from_the_lake(
    stage: Stage, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_lane, "FIRST_RENEWAL", 0.1)
    Brittle.broken = True
    rows = feature_rows(seconds(5, 1_200, 5), missing=0)
    folds = toy_folds()
    folds[0] = Fold("moves", folds[0].tables, folds[0].inputs, lambda instruments: Brittle())
    pieces = outputs(rows, END)
    half = len(pieces) // 2
    async with stage.emitter() as emitter:
        lane = stage.lane(emitter, folds)
        async with stage.running(lane):
            await stage.hand_in(lane, pieces[:half])
            await wait_until(lambda: lane.state == "failed")
            assert lane.health()["failed_folds"] == {"moves": "ZeroDivisionError: at five minutes"}
            await lane.flush()  # the others go on
            assert lane.time is not None
            assert lane.time > START + 8 * MINUTE
            await wait_until(lambda: stage.measurements.engine_starts == 2)  # and raises again
            assert stage.measurements.fold_failures["moves"] >= 2
            Brittle.broken = False
            await wait_until(lambda: lane.state == "running")
            assert lane.error == ""
            await stage.hand_in(lane, pieces[half:])
            await lane.flush()
            assert lane._engine is not None
            assert lane._engine.failed == {}
    assert [signal.id for signal in stage.sent()] == validated(rows, END)


async def test_an_engine_that_breaks_is_started_anew(
    stage: Stage, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_lane, "FIRST_RENEWAL", 0.05)
    pieces = outputs(ROWS, END)
    async with stage.emitter() as emitter:
        lane = stage.lane(emitter)
        async with stage.running(lane):
            await stage.hand_in(lane, pieces[:100])
            await lane.flush()
            assert lane._engine is not None
            lane._engine.step = None  # type: ignore[method-assign,assignment]
            await stage.hand_in(lane, pieces[100:101])
            await wait_until(lambda: stage.measurements.engine_starts == 2)
            await stage.hand_in(lane, pieces[101:])
            await lane.flush()
            assert lane.state == "running"
    assert stage.measurements.fold_failures == {"engine": 1}
    sent = [signal.id for signal in stage.sent()]
    assert sorted(sent) == sorted(validated(ROWS, END))


class Loud(Signals):
    """A machine with plug-ins of its own that fail, and other signals."""

    failures: dict[str, int]

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        super().__init__(instruments)
        self.failures = {"loud": 3}
        self.last_failure = {"loud": "ValueError: too loud"}

    def step(self, time: int, events: Events) -> Rows:
        return {
            SIGNALS.name: [
                signal_row(
                    self.instruments[record.instrument],
                    time,
                    tier=tier,
                    id=f"{tier} {record.instrument} {time}",
                    timeframe=f"{tier} {time}",
                )
                for record in events[FEATURES.name]
                for tier in ("fast", "tactical", "strategic")
            ]
        }


async def test_other_settings_are_in_force_without_a_gap(stage: Stage, wait_until: WaitUntil) -> None:
    pieces = outputs(ROWS, END)
    folds = toy_folds()
    loud = Fold("signals", (SIGNALS,), (*folds[2].inputs,), Loud)
    async with stage.emitter() as emitter:
        lane = stage.lane(emitter)
        async with stage.running(lane):
            await stage.hand_in(lane, pieces[:100])
            await lane.flush()
            lane.renew(lambda: [*folds[:2], loud])
            await wait_until(lambda: stage.measurements.engine_starts == 2)
            changed = lane.time or 0
            await stage.hand_in(lane, pieces[100:])
            await lane.flush()
            assert lane.plug_in_failures() == {("signals", "loud"): 3}
            assert lane.health()["plug_in_failures"] == {"signals loud": "3 times, last: ValueError: too loud"}
    behind = [signal for signal in stage.sent() if signal.event_time > changed]
    assert {signal.tier for signal in behind} == {"fast", "tactical"}  # strategic ones leave by runs
    assert len(behind) == 2 * sum(row[1] > changed for mine in ROWS.values() for row in mine)
