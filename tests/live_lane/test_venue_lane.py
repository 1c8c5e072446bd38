"""How a lane drives ingest: ingest itself is scripted here, Redis is real."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from resources.exchange.errors import ExchangeUnavailableError, FeedDisconnectedError, FeedEndedError
from resources.redis_keys import MARKET_DEAD, MARKET_QUALITY, market_features
from resources.redis_streams import StreamReader
from services.live_lane import venue_lane
from services.live_lane.measurements import Measurements
from services.live_lane.outbox import Outbox
from services.live_lane.spill import Spill
from services.live_lane.venue_lane import LaneSettings, VenueLane
from signal_assets.event_time import SECOND
from signal_assets.market.ingest import Output, SnapshotRequest, TradesRequest
from signal_assets.market.messages import DepthSnapshot, MalformedMessageError, Message, Trade

KEY = "AAAUSD.BINANCE"
START = 1_700_000_000 * SECOND
FAULT = 999_999

WaitUntil = Callable[[Callable[[], bool]], Awaitable[None]]


class Feed:
    """Connections given as lists of raw messages (numbers) and the error that ends them; None: it stays silent."""

    def __init__(self, *connections: tuple[list[bytes], Exception | None]) -> None:
        self.connections = list(connections)
        self.snapshot_failures = 0
        self.positions: list[int | None] = []
        self.remarks: list[tuple[str, int, str]] = []
        self.at_once = self.most_at_once = 0

    async def stream(self) -> AsyncIterator[tuple[int, bytes]]:
        messages, error = self.connections.pop(0) if self.connections else ([], None)
        for raw in messages:
            yield time.time_ns(), raw
        if error is None:
            await asyncio.Event().wait()
        else:
            raise error

    def parse(self, received_ns: int, raw: bytes) -> Message | None:
        if raw == b"subscribed":
            return None
        if not raw.isdigit():
            raise MalformedMessageError(f"not a number:\n{raw.decode('utf-8', 'replace')}")
        event_time = START + int(raw)
        return Trade(KEY, int(raw), event_time, received_ns // 1_000, 100, 1, True, event_time)

    def drain_remarks(self) -> list[tuple[str, int, str]]:
        remarks, self.remarks = self.remarks, []
        return remarks

    async def depth_snapshot(self, instrument_key: str, *, limit: int = 5000, position: int | None = None) -> Any:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        self.positions.append(position)
        if self.snapshot_failures:
            self.snapshot_failures -= 1
            raise ExchangeUnavailableError("try later")
        return DepthSnapshot(instrument_key, position or 0, [], [])

    async def historical_trades(self, instrument_key: str, *, from_id: int, limit: int = 1000) -> list[Trade]:
        return [Trade(instrument_key, from_id + i, START, START, 1, 1, True, START, True) for i in range(3)]

    async def server_time(self) -> int:
        return time.time_ns() // 1_000 + 5 * SECOND

    async def ping(self) -> float:
        return 0.001


class Ingest:
    """Notes what it is told; every message closes a grid point."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.wanted: list[SnapshotRequest | TradesRequest] = []
        self.watermark: int | None = None
        self.held = 0

    def receive(self, message: Message) -> None:
        assert isinstance(message, Trade)
        if message.trade_id == FAULT:
            raise RuntimeError("a fault of ours")
        self.calls.append(message.trade_id)
        self.watermark = message.event_time // SECOND * SECOND + message.trade_id

    def requests(self) -> list[SnapshotRequest | TradesRequest]:
        wanted, self.wanted = self.wanted, []
        return wanted

    def answer_snapshot(self, request: SnapshotRequest, snapshot: DepthSnapshot) -> None:
        self.calls.append(("snapshot", request.position, snapshot.last_update_id))

    def answer_trades(self, request: TradesRequest, trades: list[Trade]) -> None:
        self.calls.append(("trades", [trade.trade_id for trade in trades]))

    def fail(self, request: SnapshotRequest | TradesRequest, reason: str) -> None:
        self.calls.append(("failed", reason))

    def disconnected(self) -> None:
        self.calls.append("disconnected")

    def dead_feed(self, time: int) -> None:
        self.calls.append(("dead", time))

    def end_of_recording(self) -> None:
        self.calls.append("end")
        self.watermark = START + 86_400 * SECOND

    def touched(self) -> list[str]:
        return [KEY]

    def drain(self, instrument: str) -> Output:
        watermark, self.watermark = self.watermark, None
        return Output([], [], [], [], watermark, "", [])

    def state(self, instrument: str) -> dict[str, Any]:
        return {"held": self.held}


@pytest.fixture
async def outbox(redis_server: Any, tmp_path: Path) -> AsyncIterator[Outbox]:
    outbox = Outbox(redis_server.url, Spill(tmp_path / "spill", 10_000_000), Measurements(), flush_seconds=0.01)
    outbox.start()
    await outbox.ready()
    yield outbox
    await outbox.stop(1.0)


def make_lane(feed: Feed, ingest: Ingest, outbox: Outbox, *, virtual: bool = True, dead: float = 10) -> VenueLane:
    settings = LaneSettings("BINANCE", virtual, lateness=500_000, dead_feed_seconds=dead, depth_limit=5000)
    return VenueLane(feed, [KEY], ingest, outbox, outbox._measurements, settings)  # type: ignore[arg-type]


def numbers(first: int, last: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, last)]


ENDED = FeedEndedError("the end")


async def test_everything_is_received_in_order_and_the_end_reaches_redis(redis_server: Any, outbox: Outbox) -> None:
    ingest = Ingest()
    lane = make_lane(Feed((numbers(1, 3_000), ENDED)), ingest, outbox)
    await lane.run()
    assert ingest.calls == [*range(1, 3_000), "end"]
    assert lane.state == "ended"
    assert outbox._measurements.messages == 2_999
    assert outbox.idle
    assert StreamReader(redis_server.client()).tail(market_features(KEY)) == START + 86_400 * SECOND


async def test_malformed_message_is_a_dead_letter_and_stops_nothing(redis_server: Any, outbox: Outbox) -> None:
    ingest = Ingest()
    feed = Feed(([b"1", b"{broken", b"subscribed", b"\xff\x00", b"%d" % FAULT, b"2"], ENDED))
    feed.remarks = [(KEY, START, "price of 30 digits")]
    await make_lane(feed, ingest, outbox).run()
    assert ingest.calls == [1, 2, "end"]
    client = redis_server.client()
    letters = [fields for _, fields in client.xrange(MARKET_DEAD)]
    assert [letter[b"raw"] for letter in letters] == [b"{broken", b"\xff\x00", b"%d" % FAULT]
    assert letters[0][b"reason"] == b"not a number: {broken"
    assert letters[2][b"reason"] == b"internal error: RuntimeError: a fault of ours"
    assert outbox._measurements.dead_letters == 3
    assert outbox._measurements.internal_errors == 1
    ((_, event),) = client.xrange(MARKET_QUALITY)
    assert event == {
        b"instrument": KEY.encode(),
        b"time": b"%d" % START,
        b"kind": b"level_refused",
        b"detail": b"price of 30 digits",
    }


async def test_exchange_time_far_ahead_is_refused(redis_server: Any, outbox: Outbox) -> None:
    ingest = Ingest()
    ahead = b"%d" % (time.time_ns() // 1_000 - START + 3_600 * SECOND)
    await make_lane(Feed(([b"1", ahead, b"2"], ENDED)), ingest, outbox, virtual=False).run()
    assert ingest.calls == [1, 2, "end"]
    ((_, letter),) = redis_server.client().xrange(MARKET_DEAD)
    assert letter[b"reason"].endswith(b"lies ahead")


async def test_lost_connection_is_told_and_made_again(outbox: Outbox) -> None:
    ingest = Ingest()
    feed = Feed(([b"1"], FeedDisconnectedError("gone")), ([b"2"], FeedDisconnectedError("gone")), ([b"3"], ENDED))
    await make_lane(feed, ingest, outbox).run()
    assert ingest.calls == [1, "disconnected", 2, "disconnected", 3, "end"]
    assert outbox._measurements.disconnections == 2


async def test_rest_answers_reach_ingest_with_their_position(outbox: Outbox) -> None:
    ingest = Ingest()
    ingest.wanted = [SnapshotRequest(KEY, 77, "sync"), TradesRequest(KEY, 5, 1_000)]
    await make_lane(Feed(([b"1"], ENDED)), ingest, outbox).run()
    assert ("snapshot", 77, 77) in ingest.calls
    assert ("trades", [5, 6, 7]) in ingest.calls
    assert ingest.calls[-1] == "end"  # the recording is not over before REST has answered


async def test_rest_is_tried_again_then_given_up(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue_lane, "FIRST_BACKOFF", 0.01)
    ingest = Ingest()
    feed = Feed(([b"1"], ENDED))
    feed.snapshot_failures = 3
    ingest.wanted = [SnapshotRequest(KEY, 77, "sync")]
    await make_lane(feed, ingest, outbox).run()
    assert ingest.calls == [1, ("failed", "ExchangeUnavailableError: try later"), "end"]
    assert outbox._measurements.rest_failures == 1

    ingest.wanted = [SnapshotRequest(KEY, 78, "sync")]
    feed.connections.append(([b"2"], ENDED))
    await make_lane(feed, ingest, outbox).run()
    assert feed.positions == [77, 77, 78, 78]
    assert ("snapshot", 78, 78) in ingest.calls


async def test_no_more_than_four_requests_at_a_time(outbox: Outbox) -> None:
    ingest = Ingest()
    feed = Feed(([b"1"], ENDED))
    ingest.wanted = [SnapshotRequest(KEY, position, "sync") for position in range(20)]
    await make_lane(feed, ingest, outbox).run()
    assert sorted(position for position in feed.positions if position is not None) == list(range(20))
    assert feed.most_at_once == venue_lane.REST_AT_ONCE


async def test_feed_is_not_read_while_too_much_waits_for_rest(outbox: Outbox, wait_until: WaitUntil) -> None:
    ingest = Ingest()
    ingest.held = venue_lane.HELD_LIMIT + 1
    ingest.wanted = [SnapshotRequest(KEY, 1, "sync")]
    feed = Feed((numbers(1, 20_000), ENDED))
    answer = asyncio.Event()

    async def slow(*_: Any, **__: Any) -> DepthSnapshot:
        await answer.wait()
        return DepthSnapshot(KEY, 1, [], [])

    feed.depth_snapshot = slow  # type: ignore[method-assign]
    lane = make_lane(feed, ingest, outbox)
    task = asyncio.create_task(lane.run())
    await wait_until(lambda: bool(ingest.calls))
    await asyncio.sleep(0.2)
    assert len(ingest.calls) <= 2 * venue_lane.RECEIVE_LIMIT
    answer.set()
    await task
    assert len(ingest.calls) == 19_999 + 2


@pytest.mark.slow
async def test_silent_feed_is_marked_dead_by_the_venues_clock_and_left(outbox: Outbox, wait_until: WaitUntil) -> None:
    ingest = Ingest()
    feed = Feed(([b"1"], None), ([b"2"], None))
    lane = make_lane(feed, ingest, outbox, virtual=False, dead=0.5)
    task = asyncio.create_task(lane.run())
    await wait_until(lambda: 2 in ingest.calls)
    dead = [call[1] for call in ingest.calls if isinstance(call, tuple)]
    assert ingest.calls.index("disconnected") > ingest.calls.index(("dead", dead[0]))
    # The venue's clock is 5 s ahead of ours, and what it may still send late is not closed.
    expected = time.time_ns() // 1_000 + 5 * SECOND - 500_000
    assert expected - 2 * SECOND < dead[0] <= expected
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.slow
async def test_virtual_clock_never_declares_a_feed_dead(outbox: Outbox) -> None:
    ingest = Ingest()
    lane = make_lane(Feed(([b"1"], None)), ingest, outbox, dead=0.1)
    task = asyncio.create_task(lane.run())
    await asyncio.sleep(1.5)
    assert ingest.calls == [1]
    assert lane.lag_seconds is None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert lane.state == "stopped"


async def test_lag_and_latency_use_the_venues_clock(outbox: Outbox, wait_until: WaitUntil) -> None:
    ingest = Ingest()
    now = time.time_ns() // 1_000
    feed = Feed(([b"%d" % (now - START + 2 * SECOND)], None))
    lane = make_lane(feed, ingest, outbox, virtual=False)
    task = asyncio.create_task(lane.run())
    await wait_until(lambda: bool(ingest.calls))
    assert lane.latency_seconds == pytest.approx(3.0, abs=0.5)
    assert lane.lag_seconds == pytest.approx(3.0, abs=0.5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
