"""One venue's lane: its messages in, rows out to the outbox.

Belongs here: receiving in batches, REST requests, reconnecting, the dead-feed marker. Does not belong here: what a
message means (``signal_assets/market/ingest``), the venue's JSON (``resources/exchange``), Redis (``outbox``).
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol

import structlog

from resources.exchange.errors import ExchangeError, FeedEndedError
from services.live_lane.dead_letters import dead_letter, quality_event
from services.live_lane.group_lane import GroupLane
from services.live_lane.measurements import Measurements
from services.live_lane.outbox import Outbox
from signal_assets.event_time import SECOND
from signal_assets.market.ingest import Output, SnapshotRequest, TradesRequest, VenueIngest
from signal_assets.market.messages import (
    BookTicker,
    DepthSnapshot,
    DepthUpdate,
    MalformedMessageError,
    Message,
    Trade,
)

RECEIVE_LIMIT: Final = 500
"""Messages taken at a time: bounds how long the event loop is held, and with it the memory before processing."""
HELD_LIMIT: Final = 20_000
"""Messages that may wait inside ingest for REST answers before the feed is not read any further."""
REST_AT_ONCE: Final = 4
TRADES_PAGE: Final = 1_000
REST_ATTEMPTS: Final = 2
"""On top of the adapter's own retries."""
FIRST_BACKOFF: Final = 0.2
LONGEST_BACKOFF: Final = 30.0
LONGEST_VIRTUAL_BACKOFF: Final = 1.0
HEALTHY_CONNECTION_SECONDS: Final = 10.0
SERVER_TIME_INTERVAL: Final = 60.0
LARGEST_LEAD: Final = 60 * SECOND
"""An exchange time further ahead of the exchange's own clock is a fault: it would close the grid up to there."""
NEVER: Final = 2**63

FEED_ERRORS: Final = (ExchangeError, OSError, TimeoutError)

LaneState = Literal["starting", "connecting", "running", "disconnected", "dead_feed", "ended", "stopped"]

log = structlog.get_logger("live_lane.venue")


class Feed(Protocol):
    """What a venue adapter offers; see ``resources/exchange/binance``."""

    def stream(self) -> AsyncIterator[tuple[int, bytes]]:
        """Messages of one connection: (receive time ns, raw)."""

    def parse(self, received_ns: int, raw: bytes) -> Message | None:
        """The message, None if it carries nothing."""

    def drain_remarks(self) -> list[tuple[str, int, str]]:
        """What was odd about messages since the last call: (instrument, event time, one line)."""

    async def depth_snapshot(
        self, instrument_key: str, *, limit: int = 5000, position: int | None = None
    ) -> DepthSnapshot:
        """The book by REST."""

    async def historical_trades(self, instrument_key: str, *, from_id: int, limit: int = 1000) -> list[Trade]:
        """Trades by REST."""

    async def server_time(self) -> int:
        """The venue's clock, µs."""

    async def ping(self) -> float:
        """Seconds a round trip takes."""


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """What a lane needs of the settings; times in µs except where named."""

    venue: str
    virtual_clock: bool
    lateness: int
    dead_feed_seconds: float
    depth_limit: int


def newest_time(message: Message) -> int:
    """The newest exchange time a message names, µs; 0 where it names none."""
    if isinstance(message, Trade):
        return max(message.event_time, message.clock)
    return message.event_time if isinstance(message, DepthUpdate) else 0


class VenueLane:
    """Runs one venue's ingest.

    Parameters
    ----------
    feed : Feed
        Opened by the caller, who also closes it.
    ingest : VenueIngest
        The state machine; only this object touches it.
    last_trade_ids : mapping of str to int
        Newest trade in the streams, by instrument.
    groups : mapping of str to GroupLane
        Who makes signals of an instrument's rows.
    """

    def __init__(
        self,
        feed: Feed,
        instruments: Sequence[str],
        ingest: VenueIngest,
        outbox: Outbox,
        measurements: Measurements,
        settings: LaneSettings,
        last_trade_ids: Mapping[str, int] = MappingProxyType({}),
        groups: Mapping[str, GroupLane] = MappingProxyType({}),
    ) -> None:
        self.feed = feed
        self.instruments = tuple(instruments)
        self.settings = settings
        self._ingest = ingest
        self._outbox = outbox
        self._measurements = measurements
        self._last_trade_ids = dict(last_trade_ids)
        self._groups = {key: groups[key] for key in instruments if key in groups}
        self._received: list[tuple[int, bytes]] = []
        self._received_since = 0.0
        self._arrived = asyncio.Event()
        self._space = asyncio.Event()
        self._rest = asyncio.Semaphore(REST_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_message = time.monotonic()
        self._connection_started = self._last_message
        self._last_offset = 0.0
        self._kill_reader = False
        self.state: LaneState = "starting"
        self.clock: int | None = None
        self.latency_seconds: float | None = None
        self.server_offset = 0
        self.error = ""

    @property
    def lag_seconds(self) -> float | None:
        """Age of the newest exchange time seen, by the exchange's clock; None where the clock is virtual."""
        if self.clock is None or self.settings.virtual_clock:
            return None
        return (self._now() - self.clock) / SECOND

    def instrument_state(self, instrument: str) -> dict[str, Any]:
        """What ingest knows about an instrument: book, counters, clock."""
        return dict(self._ingest.state(instrument))

    async def run(self) -> None:
        """Receive until the recording ends or this task is cancelled."""
        watch = asyncio.create_task(self._watch_dead_feed()) if not self.settings.virtual_clock else None
        try:
            await self._connect_again_and_again()
        finally:
            # Cancelled or not: what was received is processed; what waits for REST is fetched again by the next start.
            for task in (*self._tasks, *([watch] if watch else [])):
                task.cancel()
            self._take_received()
            self._drain(time.perf_counter())
            self.state = "ended" if self.state == "ended" else "stopped"

    async def _connect_again_and_again(self) -> None:
        backoff = FIRST_BACKOFF
        longest = LONGEST_VIRTUAL_BACKOFF if self.settings.virtual_clock else LONGEST_BACKOFF
        while True:
            started = time.monotonic()
            self.state = "connecting"
            try:
                await self._one_connection()
                reason = "the venue closed the stream"
            except FeedEndedError:
                await self._finish()
                return
            except FEED_ERRORS as error:
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
            self.state = "disconnected"
            self.error = reason
            self._measurements.disconnections += 1
            self._ingest.disconnected()
            self._drain(time.perf_counter())
            if time.monotonic() - started > HEALTHY_CONNECTION_SECONDS:
                backoff = FIRST_BACKOFF
            seconds = backoff * random.uniform(0.5, 1.0)  # noqa: S311 – jitter
            log.warning("feed lost", venue=self.settings.venue, error=reason, retry_seconds=round(seconds, 2))
            await asyncio.sleep(seconds)
            backoff = min(backoff * 2, longest)

    async def _one_connection(self) -> None:
        """Process one connection's messages; ends by raising what ended the stream, or when it ended without."""
        if not self.settings.virtual_clock:
            await self._measure_server_offset()
        self._received, self._kill_reader = [], False
        self._connection_started = time.monotonic()
        stream = self.feed.stream()
        reader = asyncio.create_task(self._read(stream), name=f"reader {self.settings.venue}")
        reader.add_done_callback(lambda _: self._arrived.set())
        try:
            while not (reader.done() and not self._received):
                await self._arrived.wait()
                self._arrived.clear()
                self._take_received()
                if self._kill_reader:
                    raise TimeoutError(f"no message for {self.settings.dead_feed_seconds:.0f} s")
                await self._outbox.room()
                for group in dict.fromkeys(self._groups.values()):
                    await group.room()
                await self._held_room()
                await asyncio.sleep(0)  # an event that is set lets nobody else run
            await reader
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()

    async def _read(self, stream: AsyncIterator[tuple[int, bytes]]) -> None:
        async for item in stream:
            received = self._received
            if not received:
                if self.state != "running":
                    self._measurements.connections += 1
                    self.state, self.error = "running", ""
                self._received_since = time.perf_counter()
                self._arrived.set()
            received.append(item)
            if len(received) >= RECEIVE_LIMIT:
                self._space.clear()
                await self._space.wait()

    def _take_received(self) -> None:
        batch, self._received = self._received, []
        self._space.set()
        if batch:
            self._process(batch, self._received_since)

    def _process(self, batch: Sequence[tuple[int, bytes]], since: float) -> None:
        started = time.perf_counter()
        parse, receive, measurements = self.feed.parse, self._ingest.receive, self._measurements
        newest: DepthUpdate | Trade | None = None
        trades = updates = 0
        latest = NEVER if self.settings.virtual_clock else self._now() + LARGEST_LEAD
        for received_ns, raw in batch:
            try:
                message = parse(received_ns, raw)
                if message is None:
                    continue
                if (ahead := newest_time(message)) > latest:
                    self._refuse(f"{message.instrument}: exchange time {ahead} lies ahead", raw, received_ns)
                    continue
                receive(message)
            except MalformedMessageError as error:
                self._refuse(str(error), raw, received_ns)
                continue
            except Exception as error:
                # A fault of ours must not stop the feed for the other instruments either.
                measurements.internal_errors += 1
                log.exception("message caused an internal error")
                self._refuse(f"internal error: {type(error).__name__}: {error}", raw, received_ns)
                continue
            if isinstance(message, Trade):
                trades += 1
                newest = message
            elif not isinstance(message, BookTicker):
                updates += 1
                newest = message
        measurements.messages += len(batch)
        measurements.trades += trades
        measurements.depth_updates += updates
        self._last_message = time.monotonic()
        if newest is not None:
            self._note_clock(newest)
        self._drain(since)
        for instrument, event_time, line in self.feed.drain_remarks():
            measurements.quality_events += 1
            self._outbox.add_other(quality_event(instrument, event_time, "level_refused", line))
        self._request()
        measurements.processing.observe(time.perf_counter() - started)

    def _note_clock(self, message: DepthUpdate | Trade) -> None:
        clock = message.clock if isinstance(message, Trade) else message.event_time
        self.clock = max(clock, self.clock or 0)
        self.latency_seconds = (message.received_time + self.server_offset - clock) / SECOND

    def _refuse(self, reason: str, raw: bytes, received_ns: int) -> None:
        self._measurements.dead_letters += 1
        line = " ".join(reason.split())
        self._outbox.add_other(dead_letter(line, self.settings.venue, raw, received_ns // 1_000))

    def _drain(self, since: float) -> None:
        for instrument in self._ingest.touched():
            output: Output = self._ingest.drain(instrument)
            if output.trades:
                self._last_trade_ids[instrument] = output.trades[-1][1]
            if (
                output.trades
                or output.watermark is not None
                or output.feed_gaps
                or output.depth_snapshots
                or output.features
            ):
                self._outbox.add(instrument, output, since)
                if instrument in self._groups:
                    self._groups[instrument].take(instrument, output, since)
            for event in output.quality:
                self._measurements.quality_events += 1
                self._outbox.add_other(quality_event(event.instrument, event.time, event.kind, event.detail))

    def _request(self) -> None:
        for request in self._ingest.requests():
            self._measurements.rest_requests += 1
            task = asyncio.create_task(self._answer(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: SnapshotRequest | TradesRequest) -> None:
        answer: DepthSnapshot | list[Trade] | None = None
        reason = ""
        for attempt in range(REST_ATTEMPTS):
            try:
                async with self._rest:
                    answer = await self._fetch(request)
                break
            except (*FEED_ERRORS, MalformedMessageError) as error:
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                log.warning("REST request failed", instrument=request.instrument, attempt=attempt + 1, error=reason)
            if attempt + 1 < REST_ATTEMPTS:
                await asyncio.sleep(FIRST_BACKOFF * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311 – jitter
        if answer is None:
            self._measurements.rest_failures += 1
            self._ingest.fail(request, reason)
        elif isinstance(request, SnapshotRequest) and isinstance(answer, DepthSnapshot):
            self._ingest.answer_snapshot(request, answer)
        elif isinstance(request, TradesRequest) and isinstance(answer, list):
            self._ingest.answer_trades(request, answer)
        self._drain(time.perf_counter())
        self._request()

    async def _fetch(self, request: SnapshotRequest | TradesRequest) -> DepthSnapshot | list[Trade]:
        if isinstance(request, SnapshotRequest):
            return await self.feed.depth_snapshot(
                request.instrument, limit=self.settings.depth_limit, position=request.position
            )
        return await self.feed.historical_trades(request.instrument, from_id=request.from_id, limit=request.limit)

    async def _held_room(self) -> None:
        """Wait for REST while too many messages wait for it: memory stays bounded, TCP holds the venue back."""
        while self._tasks and sum(self._ingest.state(i)["held"] for i in self.instruments) > HELD_LIMIT:
            await asyncio.wait(tuple(self._tasks), return_when=asyncio.FIRST_COMPLETED)

    async def _finish(self) -> None:
        """The recording is over: wait for REST, close everything, see it into Redis."""
        if self.state != "running":
            await self._missed_trades()
        await self._answers()
        self._ingest.end_of_recording()
        self._request()
        await self._answers()
        self._drain(time.perf_counter())
        await self._outbox.flush()
        self.state = "ended"
        log.info("end of recording", venue=self.settings.venue, messages=self._measurements.messages)

    async def _answers(self) -> None:
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def _missed_trades(self) -> None:
        """The recording ended before this connection had a message: its newest trades stand in for one.

        They show ingest that trades are missing since the last one taken, and up to where.
        """
        newest: list[Trade] = []
        for instrument, last_id in self._last_trade_ids.items():
            page: list[Trade] = []
            try:
                while following := await self.feed.historical_trades(
                    instrument, from_id=last_id + 1, limit=TRADES_PAGE
                ):
                    page, last_id = following, following[-1].trade_id
            except FEED_ERRORS as error:
                log.warning("trades before the end unknown", instrument=instrument, error=str(error))
            newest += page[-1:]
        for trade in sorted(newest, key=attrgetter("clock")):
            self._ingest.receive(trade)
            self._request()

    async def _measure_server_offset(self) -> None:
        before = time.time_ns()
        try:
            server = await self.feed.server_time()
        except (*FEED_ERRORS, MalformedMessageError) as error:
            log.warning("server time unknown", venue=self.settings.venue, error=str(error))
            return
        self.server_offset = server - (before + time.time_ns()) // 2_000
        self._last_offset = time.monotonic()

    def _now(self) -> int:
        return time.time_ns() // 1_000 + self.server_offset

    async def _watch_dead_feed(self) -> None:
        """Once a second of our clock: a feed silent for too long is marked, and its connection given up."""
        while True:
            await asyncio.sleep(1.0)
            if time.monotonic() - self._last_message <= self.settings.dead_feed_seconds:
                if time.monotonic() - self._last_offset > SERVER_TIME_INTERVAL:
                    await self._measure_server_offset()
                continue
            if self.state == "ended" or self._outbox.paused:
                continue  # nothing can come, or we are the ones who do not listen
            if self.state == "running":
                log.error("feed is dead", venue=self.settings.venue, seconds=self.settings.dead_feed_seconds)
                self.state = "dead_feed"
            if time.monotonic() - self._connection_started > self.settings.dead_feed_seconds:
                self._kill_reader = True
                self._arrived.set()
            self._ingest.dead_feed(self._now() - self.settings.lateness)
            self._drain(time.perf_counter())
            self._request()
