"""Anomalies into a real Redis: once, counted once, with an end, and in nobody's way."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from resources.redis_keys import ANOMALIES as STREAM
from resources.redis_keys import ANOMALIES_KNOWN, ANOMALY_CONFIGURATION, anomaly_counts, anomaly_health
from resources.retention_settings import RetentionSettings
from services.live_lane import anomaly_publisher
from services.live_lane.anomaly_publisher import AnomalyPublisher
from services.live_lane.detector_tally import Circumstances
from services.live_lane.measurements import SignalMeasurements
from services.live_lane.shard_lease import Fence
from signal_assets.anomalies.anomaly_record import parse_anomaly
from signal_assets.anomalies.tables import ANOMALIES
from tests.hand_over.material import TIME, anomaly
from tests.live_lane.test_detector_tally import score

WaitUntil = Callable[[Callable[[], bool]], Awaitable[None]]
WAIT = 120.0
VOLUME = "market.BTCFDUSD.BINANCE.volume"
SECONDS = TIME // 1_000_000
"""Midnight: a minute, an hour and a day begin."""


class Publishing:
    """A publisher of a group that is started and stopped."""

    def __init__(self, redis_server: Any, **changes: Any) -> None:
        self.client = redis_server.client()
        self.measurements = SignalMeasurements()
        self.publisher = AnomalyPublisher(
            redis_server.url, "crypto", self.measurements, {"window": 100}, RetentionSettings(), timeout=10.0, **changes
        )

    async def __aenter__(self) -> "Publishing":
        self.publisher.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.publisher.stop(1.0)

    def take(self, *numbers: int, **changes: Any) -> None:
        self.publisher.take({ANOMALIES.name: [tuple(anomaly(number, **changes)) for number in numbers]})

    async def flushed(self) -> None:
        assert await self.publisher.flush(WAIT)

    @property
    def stored(self) -> list[str]:
        entries = [fields for _, fields in self.client.xrange(STREAM)]
        return [parse_anomaly({k.decode(): v for k, v in fields.items()}).id for fields in entries]

    def counts(self, span: str, start: int) -> dict[str, int]:
        return {k.decode(): int(v) for k, v in self.client.hgetall(anomaly_counts(span, start)).items()}


def ids(*numbers: int) -> list[str]:
    return [anomaly(number).id for number in numbers]


async def test_an_anomaly_is_stored_whole_and_counted(redis_server: Any) -> None:
    async with Publishing(redis_server) as stage:
        stage.take(0, 1)  # ten seconds apart
        stage.take(6, severity="LOW")  # a minute after midnight
        stage.take(360)  # an hour after
        await stage.flushed()
        ((_, fields), *_) = stage.client.xrange(STREAM)
        read = parse_anomaly({name.decode(): value for name, value in fields.items()})
        assert read._replace(expected_low=0.0) == anomaly(0)._replace(expected_low=0.0)
        assert stage.stored == ids(0, 1, 6, 360)
        assert stage.counts("minute", SECONDS) == {f"{VOLUME}|HIGH": 2}
        assert stage.counts("minute", SECONDS + 60) == {f"{VOLUME}|LOW": 1}
        assert stage.counts("hour", SECONDS) == {f"{VOLUME}|HIGH": 2, f"{VOLUME}|LOW": 1}
        assert stage.counts("hour", SECONDS + 3_600) == {f"{VOLUME}|HIGH": 1}
        assert stage.counts("day", SECONDS) == {f"{VOLUME}|HIGH": 3, f"{VOLUME}|LOW": 1}
        assert 0 < stage.client.ttl(anomaly_counts("minute", SECONDS)) <= 48 * 3_600
        assert 48 * 3_600 < stage.client.ttl(anomaly_counts("hour", SECONDS)) <= 30 * 86_400
        assert 30 * 86_400 < stage.client.ttl(anomaly_counts("day", SECONDS)) <= 400 * 86_400
        assert stage.measurements.anomaly_events == {"stored": 4}


async def test_what_is_known_is_neither_stored_nor_counted_again(redis_server: Any) -> None:
    async with Publishing(redis_server) as one, Publishing(redis_server) as other:
        for stage in (one, other, one):
            stage.take(0, 1, 2)
            await stage.flushed()
        assert one.stored == ids(0, 1, 2)
        assert one.counts("day", SECONDS) == {f"{VOLUME}|HIGH": 3}
        assert one.measurements.anomaly_events == {"stored": 3, "known": 3}
        assert other.measurements.anomaly_events == {"known": 3}


async def test_old_events_go_with_what_is_known_of_them(
    redis_server: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anomaly_publisher, "HEALTH_SECONDS", 0.01)
    client = redis_server.client()
    client.xadd(STREAM, {"id": '"old"'}, id="1000-0")  # one second after 1970 began
    client.zadd(ANOMALIES_KNOWN, {"old": 1_000})
    async with Publishing(redis_server) as stage:
        stage.take(0)
        await stage.flushed()
        await wait_until(lambda: client.zscore(ANOMALIES_KNOWN, "old") is None)
        assert stage.stored == ids(0)
        assert client.zrange(ANOMALIES_KNOWN, 0, -1) == [ids(0)[0].encode()]
        assert 0 < client.ttl(ANOMALIES_KNOWN) <= 7 * 86_400


async def test_parameters_and_health_stand_in_redis(
    redis_server: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anomaly_publisher, "HEALTH_SECONDS", 0.01)
    said = Circumstances(TIME + 2_500_000, {"own": 2}, {"own": "ValueError: x"})
    async with Publishing(redis_server, circumstances=lambda: said) as stage:
        stage.publisher.take({"anomalies.scores": [score("mad", 0, 0.5)]})
        client = stage.client
        key = anomaly_health("crypto", "mad")
        await wait_until(lambda: bool(client.exists(key)) and bool(client.exists(anomaly_health("crypto", "own"))))
        health = client.hgetall(key)
        assert (health[b"state"], health[b"lag_seconds"], health[b"points"]) == (b"running", b"2.5", b"1")
        assert health[b"last_point"] == str(TIME).encode()
        assert client.hget(anomaly_health("crypto", "own"), "last_failure") == b"ValueError: x"
        assert 0 < client.ttl(key) <= 60
        kept = json.loads(client.get(ANOMALY_CONFIGURATION))
        assert kept["parameters"] == {"window": 100}
        assert kept["retention"]["anomaly_event_days"] == 7
        stage.publisher.configure({"window": 50})
        await wait_until(lambda: json.loads(client.get(ANOMALY_CONFIGURATION))["parameters"] == {"window": 50})
        assert json.loads(client.get(ANOMALY_CONFIGURATION))["version"] != kept["version"]


async def test_redis_away_and_back(redis_server: Any, wait_until: WaitUntil) -> None:
    async with Publishing(redis_server) as stage:
        stage.take(0)
        await stage.flushed()
        redis_server.kill()
        stage.take(1, 2)
        stage.take(3)
        await wait_until(lambda: bool(stage.publisher.error))
        assert stage.publisher.waiting == 3
        assert not await stage.publisher.flush(0.01)
        redis_server.start()
        await stage.flushed()
        assert stage.stored == ids(0, 1, 2, 3)
        assert stage.counts("day", SECONDS) == {f"{VOLUME}|HIGH": 4}
        await wait_until(lambda: not stage.publisher.error)


async def test_an_answer_that_was_lost_counts_once(redis_server: Any) -> None:
    async with Publishing(redis_server) as stage:
        real = stage.publisher._send_some

        async def lost(rows: Any) -> None:
            waiting, counted = list(stage.publisher._waiting), stage.measurements.anomaly_events.copy()
            await real(rows)
            stage.publisher._send_some = real  # type: ignore[method-assign]
            stage.publisher._waiting.extend(waiting)
            stage.measurements.anomaly_events = counted
            raise TimeoutError("the answer did not come")

        stage.publisher._send_some = lost  # type: ignore[method-assign]
        stage.take(0, 1)
        await stage.flushed()
        assert stage.stored == ids(0, 1)
        assert stage.counts("day", SECONDS) == {f"{VOLUME}|HIGH": 2}
        assert stage.measurements.anomaly_events == {"known": 2}
        assert stage.measurements.anomaly_event_failures == {"TimeoutError": 1}


@pytest.mark.parametrize(("kept", "there"), [(0.0, (1, 2, 3)), (3_600.0, (0, 1, 2, 3))])
async def test_a_redis_that_forgot_the_last_second_is_told_again(
    redis_server: Any, monkeypatch: pytest.MonkeyPatch, kept: float, there: tuple[int, ...]
) -> None:
    # Seconds before the last acknowledgement: at 0, what was acknowledged with it, however long ago it was.
    monkeypatch.setattr(anomaly_publisher, "KEPT_SECONDS", kept)
    async with Publishing(redis_server) as stage:
        stage.take(0)
        await stage.flushed()
        stage.take(1, 2)
        await stage.flushed()
        stage.client.flushall()  # as after the death of its machine
        stage.client.client_kill_filter(_type="normal", skipme=True)
        stage.take(3)
        await stage.flushed()
        assert set(ids(*there)) <= set(stage.stored)
        assert stage.client.exists(ANOMALY_CONFIGURATION)


async def test_what_was_forgotten_is_told_again_once_it_is_known_who_leads(
    redis_server: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anomaly_publisher, "HEALTH_SECONDS", 0.01)
    fence = Fence("live:holder:crypto", "7 here/a")
    async with Publishing(redis_server, fence=fence) as stage:
        stage.client.set(fence.key, fence.value)
        stage.take(0, 1)
        await stage.flushed()
        stage.client.flushall()
        stage.client.client_kill_filter(_type="normal", skipme=True)
        # Nothing new comes, and Redis has forgotten who leads as well.
        await wait_until(lambda: "HolderUnknownError" in stage.publisher.error)
        await wait_until(lambda: stage.publisher.waiting == 2)
        assert stage.stored == []
        stage.client.set(fence.key, fence.value)
        await wait_until(lambda: stage.stored == ids(0, 1))
        assert stage.counts("day", SECONDS) == {f"{VOLUME}|HIGH": 2}


async def test_who_does_not_lead_stores_nothing(redis_server: Any) -> None:
    client = redis_server.client()
    client.set("live:holder:crypto", "8 there/b")
    stage = Publishing(redis_server, fence=Fence("live:holder:crypto", "7 here/a"))
    task = stage.publisher.start()
    stage.take(0)
    await asyncio.wait_for(task, WAIT)  # its end, without an error
    assert client.xlen(STREAM) == 0
    assert client.zcard(ANOMALIES_KNOWN) == 0
    await stage.publisher.abandon()
    assert stage.measurements.anomaly_events == {"dropped": 1}
    # Who leads stores.
    leads = Publishing(redis_server, fence=Fence("live:holder:crypto", "8 there/b"))
    async with leads:
        leads.take(0)
        await leads.flushed()
    assert leads.stored == ids(0)


async def test_the_oldest_go_when_too_many_wait(redis_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anomaly_publisher, "MAXIMUM_WAITING", 3)
    stage = Publishing(redis_server)
    stage.take(*range(5))
    async with stage:
        await stage.flushed()
        assert stage.stored == ids(2, 3, 4)
        assert stage.measurements.anomaly_events == {"dropped": 2, "stored": 3}


@pytest.mark.slow
async def test_many_at_once(redis_server: Any) -> None:
    async with Publishing(redis_server) as stage:
        stage.take(*range(2_500))
        await stage.flushed()
        assert stage.stored == ids(*range(2_500))
        assert sum(stage.counts("day", SECONDS).values()) == 2_500
