import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from resources.redis_keys import (
    MARKET_DEAD,
    MARKET_GENERATION,
    MARKET_QUALITY,
    market_depth,
    market_features,
    market_gaps,
    market_trades,
)
from resources.redis_streams import StreamReader
from services.live_lane.dead_letters import MAXIMUM_RAW, dead_letter, quality_event
from services.live_lane.measurements import Measurements
from services.live_lane.outbox import Outbox
from services.live_lane.spill import Spill
from signal_assets.event_time import SECOND
from signal_assets.market import tables
from signal_assets.market.ingest import Output
from signal_assets.market.stream_codec import decode

pytestmark = pytest.mark.slow

ONE, TWO = "AAAUSD.BINANCE", "BBBUSD.BINANCE"
START = 1_700_000_000 * SECOND

WaitUntil = Callable[[Callable[[], bool]], Awaitable[None]]


def output(instrument: str, second: int, trades: int = 10, **more: Any) -> Output:
    """Trades numbered on from the second, and one features row that closes it."""
    watermark = START + second * SECOND
    first = second * trades + 1
    twenty = [100 - i for i in range(20)]
    row = (instrument, watermark, 100, 101, 5, 6, twenty, twenty, twenty, twenty, 100.5, 1, 0.1, 0.2, 0.3, -7, trades)
    return Output(
        trades=[
            (instrument, first + i, watermark - i, watermark, 6_000_000_000_000, 100, True, False, 0)
            for i in range(trades)
        ],
        features=[(*row, 1, 2, 100, 77)],
        depth_snapshots=more.get("depth_snapshots", []),
        feed_gaps=more.get("feed_gaps", []),
        watermark=watermark,
        reason=more.get("reason", ""),
        quality=[],
    )


@pytest.fixture
async def make_outbox(redis_server: Any, tmp_path: Path) -> AsyncIterator[Callable[..., Outbox]]:
    made: list[Outbox] = []

    def make(*, spill_limit: int = 10_000_000, **options: Any) -> Outbox:
        options = {"timeout": 1.0, **options}
        outbox = Outbox(redis_server.url, Spill(tmp_path / "spill", spill_limit), Measurements(), **options)
        made.append(outbox)
        return outbox

    yield make
    for outbox in made:
        await outbox.stop(0.05)


def trade_ids(client: redis.Redis, instrument: str) -> list[int]:
    entries = StreamReader(client).read_after(market_trades(instrument), None, 100_000)
    return [int(i) for entry in entries for i in decode(tables.TRADES, entry.fields["data"])["trade_id"]]


def watermarks(client: redis.Redis, instrument: str) -> list[int]:
    entries = StreamReader(client).read_after(market_features(instrument), None, 100_000)
    return [int(t) for entry in entries for t in decode(tables.FEATURES, entry.fields["data"])["time"]]


async def test_one_flush_is_one_transaction_in_the_promised_order(
    redis_server: Any, make_outbox: Callable[..., Outbox]
) -> None:
    outbox = make_outbox(flush_seconds=0.02)
    gap = (ONE, "trades", START, START + SECOND, "unfilled")
    depth = (ONE, START + SECOND, START, 77, [100, 99], [1, 2], [101], [3], 99, 101)
    outbox.add_other(dead_letter("no reason", "BINANCE", b"\xff" * 9_000, 5))
    outbox.add(TWO, output(TWO, 1), time.perf_counter())
    outbox.add(ONE, output(ONE, 1, feed_gaps=[gap], depth_snapshots=[depth]), time.perf_counter())
    outbox.add(ONE, output(ONE, 2, reason="restart"), time.perf_counter())
    outbox.add_other(quality_event(ONE, 3, "price", "odd"))
    client = redis_server.client()
    seen: list[str] = []
    with client.monitor() as monitor:
        outbox.start()
        while "EXEC" not in seen:
            words = (await asyncio.to_thread(monitor.next_command))["command"].split()
            seen.append(" ".join(words[:2]) if words[0] == "XADD" else words[0])
    assert seen[seen.index("MULTI") + 1 : seen.index("EXEC")] == [
        f"XADD {market_trades(TWO)}",
        f"XADD {market_trades(ONE)}",
        f"XADD {market_depth(ONE)}",
        f"XADD {market_gaps(ONE)}",
        f"XADD {market_features(TWO)}",
        f"XADD {market_features(ONE)}",
        f"XADD {market_features(ONE)}",
        f"XADD {MARKET_DEAD}",
        f"XADD {MARKET_QUALITY}",
    ]
    await outbox.flush()

    reader = StreamReader(client)
    features = reader.read_after(market_features(ONE), None, 10)
    assert [(e.id, e.fields["reason"], e.fields["n"]) for e in features] == [
        (START + SECOND, b"", b"1"),
        (START + 2 * SECOND, b"restart", b"1"),
    ]
    assert [int(e.fields["watermark"]) for e in features] == [START + SECOND, START + 2 * SECOND]
    (gaps,) = reader.read_after(market_gaps(ONE), None, 10)
    assert tuple(decode(tables.FEED_GAPS, gaps.fields["data"]).iloc[0]) == gap
    assert reader.tail(market_trades(ONE)) == 30
    assert trade_ids(client, ONE) == list(range(11, 31))
    ((_, letter),) = client.xrange(MARKET_DEAD)
    assert letter[b"raw"] == b"\xff" * MAXIMUM_RAW
    assert (letter[b"reason"], letter[b"source"], letter[b"received_time"]) == (b"no reason", b"BINANCE", b"5")


async def test_whoever_sees_a_watermark_finds_its_trades(redis_server: Any, make_outbox: Callable[..., Outbox]) -> None:
    outbox = make_outbox(batch=10, flush_seconds=0.001)
    outbox.start()
    await outbox.ready()
    checked: set[int] = set()
    finished = threading.Event()

    def watch() -> None:
        reader = StreamReader(redis_server.client())
        while not finished.is_set():
            watermark = reader.tail(market_features(ONE))
            if watermark is not None:
                second = (watermark - START) // SECOND
                assert (reader.tail(market_trades(ONE)) or 0) >= second * 10 + 10
                checked.add(second)

    watcher = asyncio.get_running_loop().run_in_executor(None, watch)
    for second in range(200):
        outbox.add(ONE, output(ONE, second), time.perf_counter())
        await asyncio.sleep(0.002)
    await outbox.flush()
    finished.set()
    await watcher
    assert len(checked) > 20


async def test_repeats_are_refused_and_counted(redis_server: Any, make_outbox: Callable[..., Outbox]) -> None:
    outbox = make_outbox()
    outbox.start()
    for _ in range(2):
        outbox.add(ONE, output(ONE, 5), time.perf_counter())
        await outbox.flush()
    assert trade_ids(redis_server.client(), ONE) == list(range(51, 61))
    assert watermarks(redis_server.client(), ONE) == [START + 5 * SECOND]
    assert outbox._measurements.entries_refused == 2
    assert outbox._measurements.entries_added == 2


async def test_gap_known_later_than_it_ended_is_not_refused(
    redis_server: Any, make_outbox: Callable[..., Outbox]
) -> None:
    outbox = make_outbox()
    outbox.start()
    gaps = [
        (ONE, "depth", START, START + 9 * SECOND, "sequence"),
        (ONE, "trades", START, START + 9 * SECOND, "sequence"),
        (ONE, "trades", START, START + 4 * SECOND, "unfilled"),
    ]
    for second, gap in enumerate(gaps):
        outbox.add(ONE, output(ONE, second, feed_gaps=[gap]), time.perf_counter())
        await outbox.flush()
    entries = StreamReader(redis_server.client()).read_after(market_gaps(ONE), None, 10)
    assert [tuple(decode(tables.FEED_GAPS, e.fields["data"]).iloc[0]) for e in entries] == gaps
    assert [e.id - START for e in entries] == [9 * SECOND, 9 * SECOND + 1, 9 * SECOND + 2]


async def test_redis_killed_and_restarted_under_load(
    redis_server: Any, make_outbox: Callable[..., Outbox], wait_until: WaitUntil
) -> None:
    outbox = make_outbox(batch=50, flush_seconds=0.005, high=300, low=100)
    outbox.start()
    measurements = outbox._measurements
    count, largest = 600, 0
    for second in range(count):
        if second in (100, 350):
            redis_server.kill()
        if second in (250, 450):
            redis_server.start()
        for instrument in (ONE, TWO):
            outbox.add(instrument, output(instrument, second), time.perf_counter())
        largest = max(largest, outbox.records)
        await outbox.room()
        await asyncio.sleep(0.002)
    await asyncio.wait_for(outbox.flush(), 20)

    assert measurements.spilled_batches > 3
    assert measurements.flush_failures > 0
    assert largest <= 300 + 22
    client = redis_server.client()
    for instrument in (ONE, TWO):
        assert trade_ids(client, instrument) == list(range(1, 10 * count + 1))
        assert watermarks(client, instrument) == [START + s * SECOND for s in range(count)]
    assert outbox.spill.size == 0
    assert measurements.records_lost == 0


async def test_redis_that_hangs_and_comes_back(
    redis_server: Any, make_outbox: Callable[..., Outbox], wait_until: WaitUntil
) -> None:
    outbox = make_outbox(batch=10, flush_seconds=0.005)
    outbox.start()
    await outbox.ready()
    redis_server.process.send_signal(19)  # SIGSTOP
    outbox.add(ONE, output(ONE, 0), time.perf_counter())
    await wait_until(lambda: not outbox.redis_up)
    redis_server.process.send_signal(18)  # SIGCONT
    outbox.add(ONE, output(ONE, 1), time.perf_counter())
    await asyncio.wait_for(outbox.flush(), 10)
    assert trade_ids(redis_server.client(), ONE) == list(range(1, 21))


async def test_redis_that_forgot_its_last_seconds_gets_them_again(
    redis_server: Any, make_outbox: Callable[..., Outbox], wait_until: WaitUntil
) -> None:
    outbox = make_outbox()
    outbox.start()
    outbox.add(ONE, output(ONE, 0), time.perf_counter())
    outbox.add_other(quality_event(ONE, 3, "price", "odd"))
    await outbox.flush()
    generation = redis_server.client().get(MARKET_GENERATION)
    redis_server.kill()
    for path in redis_server.folder.glob("appendonly*"):
        path.unlink()
    redis_server.start()
    outbox.add(ONE, output(ONE, 1), time.perf_counter())
    await asyncio.wait_for(outbox.flush(), 10)
    client = redis_server.client()
    assert trade_ids(client, ONE) == list(range(1, 21))
    assert outbox._measurements.batches_resent == 1
    assert client.xlen(MARKET_QUALITY) == 0  # has no id of its own, would be doubled
    assert client.get(MARKET_GENERATION) not in (None, generation)


async def test_generation_is_kept_by_a_second_lane(redis_server: Any, make_outbox: Callable[..., Outbox]) -> None:
    seen = set()
    for _ in range(2):
        outbox = make_outbox()
        outbox.start()
        await outbox.ready()
        seen.add(StreamReader(redis_server.client()).generation())
    assert len(seen) == 1
    assert None not in seen


async def test_stop_without_redis_leaves_the_rest_on_disk_for_the_next(
    redis_server: Any, make_outbox: Callable[..., Outbox]
) -> None:
    first = make_outbox()
    first.start()
    await first.ready()
    first.add(ONE, output(ONE, 0), time.perf_counter())
    await first.flush()
    redis_server.kill()
    first.add(ONE, output(ONE, 1), time.perf_counter())
    await first.stop(0.1)
    assert not first.records

    redis_server.start()
    second = make_outbox()
    assert not second.spill.empty
    second.start()
    await asyncio.wait_for(second.ready(), 10)
    assert trade_ids(redis_server.client(), ONE) == list(range(1, 21))


async def test_feed_waits_when_even_the_disk_is_full(
    redis_server: Any, make_outbox: Callable[..., Outbox], wait_until: WaitUntil
) -> None:
    redis_server.kill()
    outbox = make_outbox(spill_limit=30_000, high=100, low=20)
    outbox.start()
    sent = 0

    async def produce() -> None:
        nonlocal sent
        for second in range(200):
            outbox.add(ONE, output(ONE, second), time.perf_counter())
            sent = second + 1
            await outbox.room()

    producer = asyncio.create_task(produce())
    await wait_until(lambda: outbox._measurements.spill_refused > 0)
    stopped_at = sent
    await asyncio.sleep(0.3)
    assert sent == stopped_at < 200
    assert outbox.paused
    assert 0 < outbox.spill.size <= 30_000
    assert outbox.records < 100 + 22

    redis_server.start()
    await asyncio.wait_for(producer, 20)
    await outbox.flush()
    assert trade_ids(redis_server.client(), ONE) == list(range(1, 2_001))
    assert not outbox.paused


async def test_slow_redis_makes_the_feed_wait(
    redis_server: Any, make_outbox: Callable[..., Outbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = make_outbox(batch=10, high=100, low=20)
    execute = outbox._execute

    async def slow(additions: Any) -> int:
        await asyncio.sleep(0.2)
        return await execute(additions)

    monkeypatch.setattr(outbox, "_execute", slow)
    outbox.start()
    await outbox.ready()
    for second in range(60):
        outbox.add(ONE, output(ONE, second), time.perf_counter())
        await outbox.room()
        assert outbox.records < 100
    assert outbox._measurements.pauses > 0
    assert outbox._measurements.spilled_batches == 0
    await outbox.flush()
    assert trade_ids(redis_server.client(), ONE) == list(range(1, 601))


async def test_latency_from_close_to_redis_is_measured(make_outbox: Callable[..., Outbox]) -> None:
    outbox = make_outbox(flush_seconds=0.05)
    outbox.start()
    await outbox.ready()
    outbox.add(ONE, output(ONE, 0), time.perf_counter() - 3.0)
    await outbox.flush()
    latency = outbox._measurements.close_to_redis.quantile(0.5)
    assert latency is not None
    assert 3.0 <= latency < 4.0
