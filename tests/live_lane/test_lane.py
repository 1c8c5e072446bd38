"""The service in this process, five instruments of the simulated venue over its sockets."""

import asyncio
import gc
import math
import urllib.request
import weakref
from pathlib import Path
from typing import Any

import orjson
import pytest

from resources.redis_keys import ANOMALIES as ANOMALY_STREAM
from resources.redis_keys import ANOMALY_CONFIGURATION, MARKET_DEAD, market_features, market_gaps, market_trades
from resources.redis_keys import SIGNALS as STREAM
from resources.redis_streams import StreamReader
from resources.settings import Settings, load_settings
from services.hand_over.stream_hand_over import StreamHandOver
from services.live_lane import while_leading
from services.live_lane.__main__ import _concerns_the_engines, _concerns_the_lane, spare_what_lives_long
from services.live_lane.engine_start import rows_of
from services.live_lane.lane import LiveLane, LiveLaneError
from services.simulated_venue.order_flow import OrderFlow
from services.simulated_venue.server import SimulatedVenue
from signal_assets.anomalies.folds import system_anomalies
from signal_assets.event_time import SECOND
from signal_assets.fold import Fold, forward_fold
from signal_assets.market import tables
from signal_assets.market.stream_codec import decode
from signal_assets.signals.tables import SIGNALS
from tests.anomalies.test_system_machine import PARAMETERS, POINTS
from tests.fakes import FakeLake
from tests.live_lane.test_system_judge import Stage as SystemStage
from tests.live_lane.toy_folds import lake_with, toy_folds

GROUP = "crypto"
pytestmark = pytest.mark.slow


def settings_for(venue: SimulatedVenue) -> Settings:
    settings = load_settings()
    return settings.model_copy(
        update={
            "venue": settings.venue.model_copy(
                update={"rest_url": venue.rest_url, "stream_url": venue.stream_url, "virtual_clock": True}
            ),
            "live": settings.live.model_copy(update={"metrics_port": 0, "health_port": 0}),
        }
    )


def simulated(speed: float = math.inf, days: float = 0.002) -> SimulatedVenue:
    instruments = tuple(load_settings().instruments_by_key.values())
    return SimulatedVenue(OrderFlow(instruments, seed=4, days=days), speed=speed)


async def test_all_instruments_reach_their_streams(redis_server: Any, tmp_path: Path) -> None:
    async with simulated() as venue:
        venue.inject(b'{"stream":"btcfdusd@trade","data":{"e":"trade"}}')
        lane = LiveLane(settings_for(venue), redis_server.url, tmp_path, exit_at_end=True)
        assert await asyncio.wait_for(lane.run(), 180) == "ended"
    client = redis_server.client()
    reader = StreamReader(client)
    keys = list(load_settings().instruments_by_key)
    assert len(keys) == 5
    assert len({reader.tail(market_features(key)) for key in keys}) == 1  # the end of the day, for all
    for key in keys:
        trades = [
            int(number)
            for entry in reader.read_after(market_trades(key), None, 100_000)
            for number in decode(tables.TRADES, entry.fields["data"])["trade_id"]
        ]
        assert len(trades) > 20
        assert trades == list(range(trades[0], trades[0] + len(trades)))
        times = [
            int(time)
            for entry in reader.read_after(market_features(key), None, 100_000)
            for time in decode(tables.FEATURES, entry.fields["data"])["time"]
        ]
        assert len(times) > 150  # of 172.8 s
        assert times == list(range(times[0], times[-1] + SECOND, SECOND))
        assert reader.tail(market_gaps(key)) is None
    ((_, letter),) = client.xrange(MARKET_DEAD)
    assert b"is missing" in letter[b"reason"]


async def test_stop_flushes_and_a_second_lane_goes_on(redis_server: Any, tmp_path: Path) -> None:
    async with simulated(speed=20) as venue:
        first = LiveLane(settings_for(venue), redis_server.url, tmp_path)
        running = asyncio.create_task(first.run())
        while first.measurements.records_added < 200:
            await asyncio.sleep(0.01)
        with pytest.raises(LiveLaneError, match="another live lane runs"):
            await LiveLane(settings_for(venue), redis_server.url, tmp_path).run()
        assert orjson.loads((tmp_path / "live_lane.json").read_bytes())["health"].startswith("http://127.0.0.1:")
        outbox = first.shards[GROUP].outbox
        first.stop()
        assert await asyncio.wait_for(running, 60) == "stopped"
        assert outbox.idle
        second = LiveLane(settings_for(venue), redis_server.url, tmp_path, exit_at_end=True)
        assert await asyncio.wait_for(second.run(), 180) == "ended"
    reader = StreamReader(redis_server.client())
    for key in load_settings().instruments_by_key:
        trades = [
            int(number)
            for entry in reader.read_after(market_trades(key), None, 100_000)
            for number in decode(tables.TRADES, entry.fields["data"])["trade_id"]
        ]
        assert trades == list(range(trades[0], trades[0] + len(trades)))
        gaps = reader.read_after(market_gaps(key), None, 10)
        assert [decode(tables.FEED_GAPS, gap.fields["data"])["reason"].tolist() for gap in gaps] == [["restart"]]


def page(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 – our own page
        lines = [line.rsplit(" ", 1) for line in response.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


async def test_signals_of_the_live_lane_are_those_of_batch(redis_server: Any, tmp_path: Path) -> None:
    lake = FakeLake()
    async with simulated() as venue:
        settings = settings_for(venue)
        lane = LiveLane(settings, redis_server.url, tmp_path, folds_of=lambda _: toy_folds(), lake=lake)
        running = asyncio.create_task(lane.run())
        while not (lane.lanes and lane.lanes[0].state == "ended"):
            await asyncio.sleep(0.05)
        await lane.groups[GROUP].flush()
        await lane.shards[GROUP].emitter.flush()
        health = await lane.server.health()
        metrics = await asyncio.to_thread(page, f"http://127.0.0.1:{lane.server.ports[0]}/metrics")
        lane.stop()
        assert await asyncio.wait_for(running, 60) == "stopped"
    reader = StreamReader(redis_server.client())
    instruments = settings.groups[GROUP]
    rows = {
        instrument.key: [
            row
            for entry in reader.read_after(market_features(instrument.key), None, 100_000)
            for row in rows_of(entry.fields["data"])
        ]
        for instrument in instruments
    }
    end = min(reader.tail(market_features(instrument.key)) or 0 for instrument in instruments)
    batch = lake_with(rows, end)
    for fold in toy_folds():
        forward_fold(batch, fold, GROUP, instruments, end=end, run_id="batch")
    computed = batch.read(SIGNALS).sort_values(["event_time", "instrument"])
    expected = computed[computed["status"] == "validated"]["id"].tolist()
    sent = [orjson.loads(fields[b"id"]) for _, fields in redis_server.client().xrange(STREAM)]
    assert sent == expected
    assert len(sent) > 50

    assert health["status"] == "ok"
    assert health["engines"][GROUP] | {"time": 0, "lag_seconds": 0} == {
        "state": "running",
        "error": "",
        "time": 0,
        "lag_seconds": 0,
        "waiting": 0,
        "failed_folds": {},
        "plug_in_failures": {},
    }
    assert health["emitter"]["emitted"] == len(sent)
    assert metrics["signals_emitted_total"] == len(sent)
    assert metrics['signals_total{status="validated",strategy="toy"}'] == len(sent)
    assert metrics['signals_total{status="rejected",strategy="toy"}'] == (computed["status"] == "rejected").sum()
    assert metrics["closing_message_to_signal_seconds_count"] == len(sent)
    assert metrics[f'engine_state{{group="{GROUP}",state="running"}}'] == 1
    assert metrics[f'engine_state{{group="{GROUP}",state="failed"}}'] == 0
    assert metrics["engine_starts_total"] == 1
    assert not any(name.startswith("system_") for name in metrics)  # a virtual clock measures no machine


async def test_changed_strategies_renew_the_engines_and_leave_the_feed_alone(
    redis_server: Any, tmp_path: Path, wait_until: Any
) -> None:
    asked: list[float] = []
    started: list[int] = []

    def folds_of(settings: Settings) -> list[Fold]:
        asked.append(settings.strategies.momentum_rider.threshold)
        return toy_folds()

    async with simulated(speed=20, days=0.04) as venue:
        settings = settings_for(venue)
        lane = LiveLane(
            settings,
            redis_server.url,
            tmp_path,
            folds_of=folds_of,
            lake=FakeLake(),
            engine_started=lambda: started.append(len(asked)),
        )
        running = asyncio.create_task(lane.run())
        await wait_until(lambda: lane.signal_measurements.emitted > 5)
        rider = settings.strategies.momentum_rider.model_copy(update={"threshold": 9.0})
        changed = settings.model_copy(
            update={"strategies": settings.strategies.model_copy(update={"momentum_rider": rider})}
        )
        lane.renew_engines(changed)
        await wait_until(lambda: lane.signal_measurements.engine_starts == 2)
        before = lane.signal_measurements.emitted
        await wait_until(lambda: lane.signal_measurements.emitted > before + 5)
        assert lane.measurements.disconnections == 0
        lane.stop()
        assert await asyncio.wait_for(running, 60) == "stopped"
    assert len(started) == 2
    assert asked[0] == 1.5
    assert set(asked[1:]) == {9.0}
    client = redis_server.client()
    assert orjson.loads(client.get("strategy_engine:config:momentum_rider"))["threshold"] == 9.0
    ids = [fields[b"id"] for _, fields in client.xrange(STREAM)]
    assert len(ids) == len(set(ids))


def test_each_section_concerns_whom_it_should() -> None:
    old = load_settings()

    def concerns(section: str, **changes: Any) -> tuple[bool, bool]:
        new = old.model_copy(update={section: getattr(old, section).model_copy(update=changes)})
        return _concerns_the_lane(old, new), _concerns_the_engines(old, new)

    assert concerns("live", batch=7) == (True, False)
    assert concerns("venue", virtual_clock=True) == (True, False)
    assert concerns("signals", expiry_seconds=7) == (False, True)
    assert concerns("anomalies", window=33) == (False, True)
    assert concerns("levels", z_score_threshold=9.0) == (False, False)
    assert concerns("up", port=9) == (False, False)


def test_what_lives_long_is_spared_by_the_garbage_collector() -> None:
    class Ring:
        def __init__(self) -> None:
            self.itself = self

    try:
        spare_what_lives_long()
        assert gc.get_freeze_count() > 10_000
        ring = Ring()
        gone = weakref.ref(ring)
        spare_what_lives_long()
        del ring  # frozen, as an engine is
        gc.collect()
        assert gone() is not None
        spare_what_lives_long()  # the next one has begun to run
        assert gone() is None
    finally:
        gc.unfreeze()


async def test_what_the_machine_does_is_judged_published_and_handed_over(
    redis_server: Any, tmp_path: Path, wait_until: Any
) -> None:
    stage = SystemStage(redis_server)
    for number in range(1, POINTS + 1):
        stage.sample(number)
    loaded = load_settings()
    settings = loaded.model_copy(
        update={
            "hand_over": loaded.hand_over.model_copy(
                update={"enabled": True, "least_severity": "LOW", "batch_seconds": 0.05}
            ),
            "live": loaded.live.model_copy(update={"metrics_port": 0, "health_port": 0}),
        }
    )
    lane = LiveLane(
        settings,
        redis_server.url,
        tmp_path,
        lake=FakeLake(stage.lake),
        system_fold_of=lambda settings: system_anomalies(PARAMETERS),
    )
    stage.run()
    expected = set(stage.in_lake)
    client = redis_server.client()
    tasks = [asyncio.create_task(work()) for work in (lane._judge_system, lane._hand_over)]
    try:
        await wait_until(lambda: client.xlen("anomalies:memory") == len(expected))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert len(expected) > 3
    records = [orjson.loads(fields[b"record"]) for _, fields in client.xrange("anomalies:memory")]
    assert {record["id"] for record in records} == expected
    assert {record["metric_name"] for record in records} <= {"cpu_usage", "memory_usage", "network_io", "disk_io"}
    counted = lane.signal_measurements.anomaly_events
    assert counted["stored"] + counted["known"] >= len(expected)  # known: an answer was lost on the way


async def test_a_changed_configuration_reaches_those_who_watch_the_machine(
    redis_server: Any, tmp_path: Path, wait_until: Any
) -> None:
    stage, loaded = SystemStage(redis_server), load_settings()
    half = POINTS // 2
    for number in range(1, half + 1):
        stage.sample(number)
    judged_by: list[int] = []

    def fold_of(settings: Settings) -> Fold:
        judged_by.append(settings.anomalies.window)
        return system_anomalies(PARAMETERS)

    lane = LiveLane(loaded, redis_server.url, tmp_path, lake=FakeLake(stage.lake), system_fold_of=fold_of)
    client = redis_server.client()

    def in_force() -> dict[str, Any]:
        return orjson.loads(client.get(ANOMALY_CONFIGURATION) or b'{"parameters": {}}')["parameters"]

    task = asyncio.create_task(lane._judge_system())
    try:
        await wait_until(lambda: set(judged_by) == {100} and in_force().get("window") == 100)
        before = len(judged_by)
        anomalies = loaded.anomalies.model_copy(update={"window": 77, "metrics_interval_seconds": 20})
        lane.renew_engines(loaded.model_copy(update={"anomalies": anomalies}))
        for number in range(half + 1, POINTS + 1):
            stage.sample(number)
        await wait_until(lambda: in_force().get("window") == 77)
        client.client_kill_filter(_type="normal", skipme=True)  # whoever connects anew says it again
        stage.run()
        await wait_until(lambda: client.xlen(ANOMALY_STREAM) == len(stage.in_lake))
        assert in_force()["window"] == 77
        assert set(judged_by[before:]) == {77}
        assert lane.system._interval == 20 * SECOND
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(stage.in_lake) > 3
    told = [orjson.loads(fields[b"id"]) for _, fields in client.xrange(ANOMALY_STREAM)]
    assert sorted(told) == sorted(stage.in_lake)  # none lost, none twice


async def test_a_hand_over_that_no_longer_reads_has_failed(
    redis_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StreamHandOver, "_read_all", lambda self: None)  # its thread ends at once
    lane = LiveLane(load_settings(), redis_server.url, tmp_path)
    with pytest.raises(LiveLaneError, match="no longer read"):
        await asyncio.wait_for(lane._hand_over(), 120)  # otherwise it goes on as if nothing had happened


async def test_work_of_the_leading_lane_runs_while_it_leads(wait_until: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(while_leading, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(while_leading, "RETRY_SECONDS", 0.001)
    leads, begun, ended, fails = False, 0, 0, True

    async def work() -> None:
        nonlocal begun, ended
        begun += 1
        try:
            if fails:
                raise ValueError("x")
            await asyncio.Event().wait()
        finally:
            ended += 1

    task = asyncio.create_task(while_leading.while_leading(lambda: leads, work))
    await asyncio.sleep(0.02)
    assert begun == 0
    leads = True
    await wait_until(lambda: begun > 2)  # it fails and begins again
    fails = False
    await wait_until(lambda: begun == ended + 1)
    leads = False
    await wait_until(lambda: begun == ended)
    leads = True
    await wait_until(lambda: begun == ended + 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert begun == ended
