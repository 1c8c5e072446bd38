"""From the stream of anomalies to a stream in the receiver's words, over a real Redis."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from resources.hand_over_settings import HandOverSettings
from resources.redis_keys import ANOMALIES, ANOMALIES_HANDED_OVER, ANOMALY_MEMORY, ANOMALY_MEMORY_KNOWN
from resources.redis_streams import open_redis
from services.hand_over.redis_receiver import RedisDeadLetters, RedisStreamReceiver
from services.hand_over.stream_hand_over import StreamHandOver
from signal_assets.anomalies.anomaly_record import anomaly_fields
from signal_assets.anomalies.memory_record import MemoryRecord
from signal_assets.event_time import DAY, MILLISECOND
from tests.hand_over.material import Receiver, anomaly, record

WAIT = 120.0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.01)


def settings(**changes: Any) -> HandOverSettings:
    return HandOverSettings(enabled=True, hostname="host-1", environment="test", batch_seconds=0.05, **changes)


def add(client: Any, *numbers: int, **changes: Any) -> list[bytes]:
    return [client.xadd(ANOMALIES, anomaly_fields(anomaly(number, **changes))) for number in numbers]


def handed_over(client: Any) -> list[dict[str, Any]]:
    return [json.loads(fields[b"record"]) for _, fields in client.xrange(ANOMALY_MEMORY)]


def test_a_record_stands_in_the_stream_once(redis_server: Any) -> None:
    client = open_redis(redis_server.url)
    receiver = RedisStreamReceiver(client)
    receiver.receive([record(1), record(2)])
    receiver.receive([record(2), record(3), record(3)])
    entries = client.xrange(ANOMALY_MEMORY)
    assert [fields[b"id"].decode() for _, fields in entries] == [record(number).id for number in (1, 2, 3)]
    assert [json.loads(fields[b"record"]) for _, fields in entries] == [
        json.loads(record(number).as_json()) for number in (1, 2, 3)
    ]
    assert 0 < client.pttl(ANOMALY_MEMORY_KNOWN) <= 7 * DAY // MILLISECOND


def test_old_records_go(redis_server: Any) -> None:
    client = open_redis(redis_server.url)
    client.xadd(ANOMALY_MEMORY, {"id": "old", "record": "{}"}, id="1000-0")  # one second after 1970 began
    client.zadd(ANOMALY_MEMORY_KNOWN, {"old": 1_000})
    RedisStreamReceiver(client, retention=DAY).receive([record(1)])
    assert [fields[b"id"].decode() for _, fields in client.xrange(ANOMALY_MEMORY)] == [record(1).id]
    assert client.zrange(ANOMALY_MEMORY_KNOWN, 0, -1) == [record(1).id.encode()]


def test_dead_letters_carry_the_reason(redis_server: Any) -> None:
    client = open_redis(redis_server.url)
    RedisDeadLetters(client)(record(1), "metric unknown")
    ((_, fields),) = client.xrange("anomalies:memory:dead")
    assert fields == {
        b"id": record(1).id.encode(),
        b"reason": b"metric unknown",
        b"record": record(1).as_json().encode(),
    }


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["direct", "batch"])
def test_anomalies_reach_the_receiver_in_its_words(redis_server: Any, mode: str) -> None:
    client = redis_server.client()
    add(client, 1, 2)
    chosen = settings(mode=mode, metric_names={"*.volume": "traded"}, severities={"HIGH": "severe"})
    service = StreamHandOver(redis_server.url, chosen, retention=DAY)
    service.start()
    try:
        add(client, 3, severity="LOW")  # below MEDIUM: nobody is told
        entries = add(client, 4)
        wait_until(lambda: client.get(ANOMALIES_HANDED_OVER) == entries[-1])
    finally:
        service.stop()
    found = handed_over(client)
    assert [item["id"] for item in found] == [record(number).id for number in (1, 2, 4)]
    assert {(item["metric_name"], item["severity"]) for item in found} == {("traded", "severe")}
    assert found[0]["metadata"]["hostname"] == "host-1"
    assert found[0]["metadata"]["environment"] == "test"
    assert found[0]["metadata"]["service"] == "signal-assets"
    assert service.counts == {"accepted": 3}


@pytest.mark.slow
def test_the_next_one_goes_on_where_the_last_one_stood(redis_server: Any) -> None:
    client = redis_server.client()
    first = Receiver(*[OSError("away")] * 1_000)
    entries = add(client, 1, 2, 3)
    service = StreamHandOver(redis_server.url, settings(attempts=1_000), first, retention=DAY)
    service.start()
    wait_until(lambda: first.attempts > 0)
    service.stop(0.05)  # dies with records that nobody has taken
    assert client.get(ANOMALIES_HANDED_OVER) is None
    second = Receiver()
    for numbers in ((1, 2, 3), (4, 5)):
        if numbers[0] == 4:
            entries = add(client, *numbers)
        service = StreamHandOver(redis_server.url, settings(), second, retention=DAY)
        service.start()
        wait_until(lambda: client.get(ANOMALIES_HANDED_OVER) == entries[-1])  # noqa: B023 – called in this round
        service.stop()
    assert second.ids == [record(number).id for number in (1, 2, 3, 4, 5)]


@pytest.mark.slow
def test_what_cannot_be_read_or_is_not_taken_is_a_dead_letter(redis_server: Any) -> None:
    client = redis_server.client()

    class Choosing:
        def receive(self, records: Sequence[MemoryRecord]) -> None:
            if any(item.id == record(2).id for item in records):
                raise ValueError("I do not know this one")

    client.xadd(ANOMALIES, {"id": '"x"'})
    entries = add(client, 1, 2, 3)
    service = StreamHandOver(redis_server.url, settings(mode="direct", attempts=2), Choosing(), retention=DAY)
    service.start()
    try:
        wait_until(lambda: client.get(ANOMALIES_HANDED_OVER) == entries[-1])
    finally:
        service.stop()
    ((_, unread),) = client.xrange("anomalies:dead")
    assert unread[b"reason"] == b"an anomaly without the field instrument"
    ((_, dead),) = client.xrange("anomalies:memory:dead")
    assert dead[b"id"].decode() == record(2).id
    assert dead[b"reason"] == b"ValueError: I do not know this one"
    assert service.counts == {"accepted": 2, "failures": 2, "dead": 1}


@pytest.mark.slow
def test_a_malformed_entry_is_a_dead_letter_and_those_behind_it_are_handed_over(redis_server: Any) -> None:
    client, receiver = redis_server.client(), Receiver()
    malformed: list[dict[Any, Any]] = [
        anomaly_fields(anomaly(1, severity="DIRE")),
        anomaly_fields(anomaly(2, time=2**62)),  # 148 thousand years from now
        {**anomaly_fields(anomaly(3)), "series": b'"\xff"'},
        {**anomaly_fields(anomaly(4)), "series": b'"\\ud800"'},
        {**anomaly_fields(anomaly(5)), "value": "1" + "0" * 400},
    ]
    for fields in malformed:
        client.xadd(ANOMALIES, fields)
    entries = add(client, 6)
    service = StreamHandOver(redis_server.url, settings(), receiver, retention=DAY)
    service.start()
    try:
        wait_until(lambda: client.get(ANOMALIES_HANDED_OVER) == entries[-1])
        assert service.reads
    finally:
        service.stop()
    assert receiver.ids == [record(6).id]
    dead = [fields for _, fields in client.xrange("anomalies:dead")]
    assert [fields[b"id"].decode() for fields in dead] == [f'"{number:032x}"' for number in range(1, 6)]
    assert [fields[b"reason"].partition(b":")[0] for fields in dead] == [
        b"ValueError",
        b"OverflowError",
        b"UnicodeDecodeError",
        b"UnicodeEncodeError",
        b"OverflowError",
    ]
    assert dead[2][b"series"] == b'"\xff"'  # as it came
    assert not service.reads


@pytest.mark.slow
def test_redis_away_and_back(redis_server: Any) -> None:
    client = redis_server.client()
    add(client, 1)
    receiver = Receiver()
    service = StreamHandOver(redis_server.url, settings(), receiver, retention=DAY)
    service.start()
    try:
        wait_until(lambda: client.get(ANOMALIES_HANDED_OVER) is not None)
        redis_server.kill()
        wait_until(lambda: bool(service.error))
        redis_server.start()
        client = redis_server.client()
        entries = add(client, 2)
        wait_until(lambda: client.get(ANOMALIES_HANDED_OVER) == entries[-1])
        wait_until(lambda: not service.error)
    finally:
        service.stop()
    assert set(receiver.ids) == {record(1).id, record(2).id}
