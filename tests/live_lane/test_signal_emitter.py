"""Signals into a real Redis: once, in order, at once, and what happens while it is away."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from resources.redis_keys import SIGNALS as STREAM
from services.live_lane import signal_emitter
from services.live_lane.measurements import SignalMeasurements
from services.live_lane.signal_emitter import Outgoing, SignalEmitter
from signal_assets.event_time import MINUTE, SECOND
from signal_assets.machine import record_class
from signal_assets.signals.signal_record import parse
from signal_assets.signals.tables import SIGNALS
from tests.live_lane.toy_folds import ONE, START, TWO, signal_row

WaitUntil = Callable[[Callable[[], bool]], Awaitable[None]]
CONFIGURATIONS = {"anomalies": {"window": 100}, "toy": {"threshold": 1.5, "names": ["a"]}}


def outgoing(time: int, *, clock: int = START, instrument: Any = ONE, **changes: Any) -> Outgoing:
    signal = record_class(SIGNALS)._make(signal_row(instrument, time, timeframe="1m", **changes))
    return Outgoing(signal, signal.symbol, lambda: clock, 0.0)


def emitter_on(redis_server: Any) -> SignalEmitter:
    return SignalEmitter(redis_server.url, SignalMeasurements(), CONFIGURATIONS, timeout=1.0)


@pytest.fixture
async def emitter(redis_server: Any) -> AsyncIterator[SignalEmitter]:
    made = emitter_on(redis_server)
    made.start()
    yield made
    await made.stop(1.0)


def measured(emitter: SignalEmitter) -> SignalMeasurements:
    return emitter._measurements


def stream(redis_server: Any) -> list[Any]:
    return [parse({k.decode(): v for k, v in fields.items()}) for _, fields in redis_server.client().xrange(STREAM)]


async def flushed(emitter: SignalEmitter) -> None:
    await asyncio.wait_for(emitter.flush(), 10)


async def test_a_signal_leaves_whole_with_its_guard_its_arbiter_and_its_copy(
    redis_server: Any, emitter: SignalEmitter
) -> None:
    sent = outgoing(START)
    emitter.emit(sent)
    await flushed(emitter)
    client = redis_server.client()
    ((entry, fields),) = client.xrange(STREAM)
    received = parse({name.decode(): value for name, value in fields.items()})
    assert received.signal == sent.signal
    assert received.lane == "live"
    assert client.get(f"signals:emitted:{sent.signal.id}") == entry
    assert 86_390 < client.ttl(f"signals:emitted:{sent.signal.id}") <= 86_400
    arbiter = "signal:BTC/FDUSD:1m:toy:buy"
    assert client.get(arbiter).decode() == f"{START} {sent.signal.id}"
    assert 890 < client.ttl(arbiter) <= 900
    copy = f"strategy_engine:toy:BTCFDUSD:{START}"
    assert json.loads(client.get(copy)) == {name.decode(): json.loads(value) for name, value in fields.items()}
    assert 3_590 < client.ttl(copy) <= 3_600
    assert measured(emitter).emitted == 1
    assert measured(emitter).closing_to_signal.quantile(0.5) is not None


async def test_what_components_are_configured_to_do_stands_in_redis(redis_server: Any, emitter: SignalEmitter) -> None:
    emitter.emit(outgoing(START))
    await flushed(emitter)
    client = redis_server.client()
    assert json.loads(client.get("strategy_engine:config:toy")) == {"threshold": 1.5, "names": ["a"]}
    assert json.loads(client.get("strategy_engine:config:anomalies")) == {"window": 100}
    emitter.configure({"toy": {"threshold": 2}}, 10 * SECOND)
    for second in (0, 9, 10):
        emitter.emit(outgoing(START + (1_200 + second) * SECOND))
    await flushed(emitter)
    assert json.loads(client.get("strategy_engine:config:toy")) == {"threshold": 2}
    assert measured(emitter).suppressed == {"duplicate": 1}
    assert client.ttl("signal:BTC/FDUSD:1m:toy:buy") <= 10


async def test_the_arbiter_decides_by_event_time(redis_server: Any, emitter: SignalEmitter) -> None:
    for second in (0, 1, 899, 900, 1_799, 1_800):
        emitter.emit(outgoing(START + second * SECOND))
    await flushed(emitter)
    assert [(entry.signal.event_time - START) // SECOND for entry in stream(redis_server)] == [0, 900, 1_800]
    assert measured(emitter).suppressed == {"duplicate": 3}
    # Another action, timeframe, strategy or pair is another matter.
    emitter.emit(outgoing(START + 1_801 * SECOND, action="sell"))
    emitter.emit(outgoing(START + 1_801 * SECOND, strategy="other", id="1"))
    emitter.emit(outgoing(START + 1_801 * SECOND, instrument=TWO))
    await flushed(emitter)
    assert len(stream(redis_server)) == 6


async def test_two_processes_share_guard_and_arbiter(redis_server: Any, emitter: SignalEmitter) -> None:
    other = emitter_on(redis_server)
    other.start()
    for second in range(0, 3_600, 450):
        emitter.emit(outgoing(START + second * SECOND))
        other.emit(outgoing(START + second * SECOND))
        await asyncio.gather(flushed(emitter), flushed(other))
    assert [(entry.signal.event_time - START) // SECOND for entry in stream(redis_server)] == [0, 900, 1_800, 2_700]
    both = measured(emitter).suppressed + measured(other).suppressed
    assert both == {"repeated": 4, "duplicate": 8}
    assert measured(emitter).emitted + measured(other).emitted == 4
    await other.stop(1.0)


async def test_a_flushed_script_is_loaded_again(redis_server: Any, emitter: SignalEmitter) -> None:
    emitter.emit(outgoing(START))
    await flushed(emitter)
    redis_server.client().script_flush()
    emitter.emit(outgoing(START + 900 * SECOND))
    emitter.emit(outgoing(START + 1_800 * SECOND))
    await flushed(emitter)
    assert len(stream(redis_server)) == 3
    assert measured(emitter).emission_failures == {}


async def test_redis_away_and_back_in_order_and_only_what_has_not_expired(
    redis_server: Any, emitter: SignalEmitter, wait_until: WaitUntil
) -> None:
    emitter.emit(outgoing(START))
    await flushed(emitter)
    redis_server.kill()
    clock = START
    waiting = [
        Outgoing(record_class(SIGNALS)._make(signal_row(ONE, START + second * SECOND)), "BTCFDUSD", lambda: clock, None)
        for second in (10, 20, 30, 40)
    ]
    for item in waiting:
        emitter.emit(item)
    await wait_until(lambda: bool(measured(emitter).emission_failures))
    assert not emitter.connected
    assert "onnection" in emitter.error
    assert emitter.waiting == 4
    clock = START + 80 * SECOND  # the second one expires right then
    redis_server.start()
    await flushed(emitter)
    assert [(entry.signal.event_time - START) // SECOND for entry in stream(redis_server)] == [0, 30, 40]
    assert measured(emitter).suppressed == {"expired": 2}
    assert measured(emitter).emitted == 3
    assert emitter.connected
    assert emitter.error == ""


async def test_a_redis_that_forgot_the_last_second_is_told_again(redis_server: Any, emitter: SignalEmitter) -> None:
    for second in (0, 900):
        emitter.emit(outgoing(START + second * SECOND))
    await flushed(emitter)
    client = redis_server.client()
    client.flushall()  # as after the death of its machine
    client.client_kill_filter(_type="normal", skipme=True)
    emitter.emit(outgoing(START + 1_800 * SECOND))
    await flushed(emitter)
    assert [(entry.signal.event_time - START) // SECOND for entry in stream(redis_server)] == [0, 900, 1_800]
    assert measured(emitter).emitted == 3
    assert measured(emitter).suppressed == {}
    assert json.loads(client.get("strategy_engine:config:toy")) == CONFIGURATIONS["toy"]


async def test_an_answer_that_was_lost_counts_once(redis_server: Any, emitter: SignalEmitter) -> None:
    real = emitter._evaluate

    async def lost(batch: Any) -> list[Any]:
        await real(batch)
        emitter._evaluate = real  # type: ignore[method-assign]
        raise TimeoutError("the answer did not come")

    emitter._evaluate = lost  # type: ignore[method-assign]
    emitter.emit(outgoing(START))
    await flushed(emitter)
    assert len(stream(redis_server)) == 1
    assert measured(emitter).emitted == 1
    assert measured(emitter).suppressed == {}
    assert measured(emitter).emission_failures == {"TimeoutError": 1}


async def test_a_signal_that_redis_refuses_does_not_stop_the_others(
    redis_server: Any, emitter: SignalEmitter, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_server.client().lpush("signal:ETH/FDUSD:1m:toy:buy", "somebody else's")
    clock = START
    refused = Outgoing(
        record_class(SIGNALS)._make(signal_row(TWO, START, timeframe="1m")), "ETHFDUSD", lambda: clock, None
    )
    emitter.emit(refused)
    emitter.emit(outgoing(START))
    await wait_until(lambda: measured(emitter).emitted == 1)
    assert emitter.waiting == 1
    assert set(measured(emitter).emission_failures) == {"ResponseError"}
    clock = START + MINUTE
    await flushed(emitter)
    assert measured(emitter).suppressed == {"expired": 1}
    monkeypatch.setattr(signal_emitter, "words_of", None)
    emitter.emit(outgoing(START + 900 * SECOND))  # a fault of ours
    await wait_until(lambda: measured(emitter).emission_failures["TypeError"] == 1)
    assert emitter.waiting == 0


async def test_stop_leaves_what_redis_does_not_take(redis_server: Any) -> None:
    redis_server.kill()
    emitter = emitter_on(redis_server)
    emitter.start()
    emitter.emit(outgoing(START))
    await asyncio.wait_for(emitter.stop(0.2), 5)
    assert emitter.waiting == 1
