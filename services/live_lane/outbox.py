"""The outbox: what is ready for Redis, sent in order, in transactions, never dropped.

Belongs here: batching, sending, retrying, spilling, pausing. Does not belong here: what the rows mean.

Order is spill, then the batch being sent, then the rows pending; a spill takes over both of the others, so the disk
always holds the oldest and memory the newest. Death of this process while Redis is away therefore loses only what came
last, and that is fetched again from the exchange (trades) or recorded as a gap (depth).
"""

import asyncio
import contextlib
import time
import uuid
from collections import deque
from typing import Any, Final

import redis.exceptions
import structlog

from resources.redis_keys import MARKET_GENERATION
from resources.redis_streams import open_async_redis
from services.live_lane.batch import AUTOMATIC_ID, Addition, Batch, BatchError
from services.live_lane.measurements import Measurements
from services.live_lane.pending import Pending
from services.live_lane.shard_lease import Fence
from services.live_lane.spill import Spill, SpillFullError
from signal_assets.market.ingest import Output

REDIS_ERRORS: Final = (redis.exceptions.RedisError, OSError, TimeoutError)
FIRST_RETRY: Final = 0.05
LONGEST_RETRY: Final = 1.0
KEPT_SECONDS: Final = 2.0
"""Acknowledged batches are kept this long and sent again after a reconnect: with `appendfsync everysec` a Redis whose
machine died may have forgotten its last second."""
ALARM_INTERVAL: Final = 10.0
SIGNALS_FIRST_SECONDS: Final = 0.005
"""So long a full batch lets the engine and the emitter go first; rows wait for a flush up to twenty times longer."""

log = structlog.get_logger("live_lane.outbox")


class Outbox:
    """Queue between ingest and Redis.

    Parameters
    ----------
    redis_url : str
        The bus; the outbox has a connection of its own.
    spill : Spill
        Where it goes when Redis is away; may hold what an earlier process left.
    batch, flush_seconds : int, float
        A flush is due at so many records or so long after the first of them.
    high, low : int
        Records in memory at which the reading of the feed pauses, and at which it goes on.
    fence : Fence, optional
        What Redis must say for anything to be added; if it says that somebody else leads by now, sending ends with
        :class:`~services.live_lane.shard_lease.SupersededError`.
    """

    def __init__(
        self,
        redis_url: str,
        spill: Spill,
        measurements: Measurements,
        *,
        batch: int = 100,
        flush_seconds: float = 0.1,
        high: int = 8_000,
        low: int = 2_000,
        timeout: float = 2.0,
        fence: Fence | None = None,
    ) -> None:
        self._client = open_async_redis(redis_url, timeout=timeout, on_connect=self._on_connect)
        self._fence = fence
        self._connecting = False
        self._spill = spill
        self._measurements = measurements
        self._batch = batch
        self._flush_seconds = flush_seconds
        self._high, self._low = high, low
        self.pending = Pending()
        self._first_at = 0.0
        self._current: Batch | None = None
        self._current_closed_since: float | None = None
        self._kept: deque[tuple[float, Batch]] = deque()
        self._in_flight = False
        self._connected = False
        self._flush_now = 0
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._last_alarm = -ALARM_INTERVAL
        self._task: asyncio.Task[None] | None = None
        self.paused = False
        self.error = ""

    @property
    def records(self) -> int:
        """Records in memory that Redis has not acknowledged."""
        return self.pending.records + (self._current.records if self._current else 0)

    @property
    def redis_up(self) -> bool:
        """Whether the last attempt succeeded."""
        return self._connected

    @property
    def idle(self) -> bool:
        """Whether Redis has everything."""
        return not self.records and self._spill.empty

    @property
    def spill(self) -> Spill:
        """The disk part."""
        return self._spill

    def start(self) -> "asyncio.Task[None]":
        """Begin to send; what an earlier process spilled goes first. The task ends only by an error or :meth:`stop`."""
        self._task = asyncio.get_running_loop().create_task(self._send_all(), name="outbox")
        return self._task

    def add(self, instrument: str, output: Output, since: float) -> None:
        """Take rows of one instrument; ``since`` is when their newest message came (``time.perf_counter``)."""
        before = self.pending.records
        self.pending.add(instrument, output, since)
        self._added(before)

    def add_other(self, addition: Addition) -> None:
        """Take a dead letter or a quality event."""
        before = self.pending.records
        self.pending.add_other(addition)
        self._added(before)

    def _added(self, before: int) -> None:
        if before == 0 and self.pending.records:
            self._first_at = time.perf_counter()
            self._wake.set()
        elif self.pending.records >= self._batch:
            self._wake.set()

    async def room(self) -> None:
        """Return when more may be added; until then the feed is not read and TCP holds the venue back."""
        if self.records < self._high:
            return
        self._measurements.pauses += 1
        self.paused = True
        try:
            while self.records > self._low:
                # A Redis that only takes its time is waited for; one that is away, or still gets what was spilled, not.
                if not (self._connected and self._spill.empty) and not self._in_flight and self._spill_memory():
                    return
                await self._wait_progress()
        finally:
            self.paused = False

    async def ready(self) -> None:
        """Return when Redis answers and has everything that an earlier process had left on disk."""
        while not (self._connected and self._spill.empty):
            await self._wait_progress()

    async def flush(self) -> None:
        """Return when Redis has everything that was added and spilled."""
        self._flush_now += 1
        self._wake.set()
        try:
            while not self.idle:
                await self._wait_progress()
        finally:
            self._flush_now -= 1

    async def stop(self, seconds: float) -> None:
        """Send what is left within so many seconds, put the rest on disk."""
        if self._task is not None:
            try:
                async with asyncio.timeout(seconds):
                    await self.flush()
            except TimeoutError:
                log.warning("redis does not take everything in time", records=self.records)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.records and not self._spill_memory():
            self._measurements.records_lost += self.records
            log.error("records lost at the end: neither redis nor the disk takes them", records=self.records)
        self._spill.close()
        await self._client.aclose()

    async def abandon(self) -> None:
        """Somebody else leads: let go of everything, in memory and on disk, and count it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.drop()
        self._spill.close()
        await self._client.aclose()

    def drop(self) -> None:
        """Let go of what waits in memory and on disk, and count it; not while anything is being sent."""
        dropped = self.records
        self._current, self.pending = None, Pending()
        while not self._spill.empty:
            with contextlib.suppress(BatchError):
                dropped += Batch.decode(self._spill.peek()).records
            self._spill.advance()
        self._measurements.records_superseded += dropped
        if dropped:
            log.warning("records of a lane that leads no more are let go of", records=dropped)

    async def _wait_progress(self) -> None:
        self._progress.clear()
        await _wait(self._progress, 0.1)

    def _spill_memory(self) -> bool:
        """Move everything from memory to the end of the spill; False if the disk does not take it."""
        while self._current is not None or self.pending.records:
            batch = self._current or self._compose()
            try:
                self._spill.append(batch.encode())
            except SpillFullError as error:
                self._measurements.spill_refused += 1
                self._alarm(str(error))
                return False
            self._measurements.spilled_batches += 1
            self._current = None
        return True

    def _alarm(self, reason: str) -> None:
        if time.perf_counter() - self._last_alarm > ALARM_INTERVAL:
            self._last_alarm = time.perf_counter()
            log.error("spill refused: the feed waits", error=reason, records=self.records)

    def _compose(self) -> Batch:
        self._current_closed_since = self.pending.closed_since
        self._current = self.pending.compose()
        return self._current

    async def _send_all(self) -> None:
        retry = FIRST_RETRY
        while True:
            batch, spilled = self._next()
            if batch is None and self._connected:
                await self._wait_due()
                continue
            self._in_flight = not spilled  # then it may not go to disk behind its own back
            try:
                if not self._connected:
                    await self._reconnect()
                if batch is not None:
                    await self._send(batch)
            except REDIS_ERRORS as error:
                self._in_flight = False
                self._failed(error)
                await asyncio.sleep(retry)
                retry = min(retry * 2, LONGEST_RETRY)
                continue
            self._in_flight = False
            retry = FIRST_RETRY
            if batch is not None:
                self._acknowledged(batch, spilled)
            self._progress.set()

    def _next(self) -> tuple[Batch | None, bool]:
        """The oldest batch not yet acknowledged and whether it comes from the disk."""
        while not self._spill.empty:
            try:
                return Batch.decode(self._spill.peek()), True
            except BatchError:
                # The checksum was right, so another version wrote it; its bytes stay in the log's count.
                self._spill.corrupt_bytes += len(self._spill.peek())
                log.exception("spilled record is no batch, skipped")
                self._spill.advance()
        if self._current is None and self.pending.records and self._due() <= 0:
            self._compose()
        return self._current, False

    def _due(self) -> float:
        """Seconds until the next flush; pending rows only."""
        if self._flush_now or self.pending.records >= self._batch:
            return 0.0
        return self._first_at + self._flush_seconds - time.perf_counter()

    async def _wait_due(self) -> None:
        self._wake.clear()
        seconds = self._due() if self.pending.records else 60.0
        if seconds <= 0 or not self._spill.empty:
            return
        await _wait(self._wake, seconds)
        if self.pending.records >= self._batch and not self._flush_now:
            # What filled the batch may just have closed a grid point of the whole group: its signals go first.
            await asyncio.sleep(SIGNALS_FIRST_SECONDS)

    def _failed(self, error: BaseException) -> None:
        self._measurements.flush_failures += 1
        self.error = f"{type(error).__name__}: {error}".splitlines()[0]
        if self._connected or self._measurements.flush_failures == 1:
            log.warning("redis does not answer, will try again", error=self.error)
        self._connected = self._connecting = False
        self._progress.set()

    def _acknowledged(self, batch: Batch, spilled: bool) -> None:
        if spilled:
            self._spill.advance()
        else:
            self._current = None
            if self._current_closed_since is not None:
                self._measurements.close_to_redis.observe(time.perf_counter() - self._current_closed_since)
        self._measurements.records_added += batch.records
        now = time.perf_counter()
        self._kept.append((now, batch))
        while self._kept and self._kept[0][0] < now - KEPT_SECONDS:
            self._kept.popleft()

    async def _send(self, batch: Batch) -> None:
        started = time.perf_counter()
        refused = await self._execute(batch.additions)
        self._measurements.flush.observe(time.perf_counter() - started)
        self._measurements.flushes += 1
        self._measurements.entries_refused += refused
        self._measurements.entries_added += len(batch.additions) - refused

    async def _reconnect(self) -> None:
        """Give the Redis an id if it is new, and send again what it may have forgotten."""
        await self._client.connection_pool.disconnect()
        self._connecting = True
        await self._client.set(MARKET_GENERATION, str(uuid.uuid4()), nx=True)
        for _, batch in self._kept:
            named = tuple(addition for addition in batch.additions if addition.id != AUTOMATIC_ID)
            if named:
                await self._execute(named)
                self._measurements.batches_resent += 1
        self._connecting = False
        self._connected = True
        self.error = ""
        log.info("redis takes entries", kept_batches=len(self._kept))

    def _on_connect(self) -> None:
        # redis-py replaces a broken connection silently; what Redis may have forgotten must go before anything new.
        if not self._connecting:
            raise redis.exceptions.ConnectionError("the connection was lost")

    async def _execute(self, additions: tuple[Addition, ...]) -> int:
        """Add all in one MULTI/EXEC; returns how many were refused because Redis has them."""
        async with self._client.pipeline(transaction=True) as pipeline:
            if self._fence is not None:
                # EXEC fails if the holder changes after this look: what is added was ours to add at that very moment.
                await pipeline.watch(self._fence.key)
                self._fence.check(await pipeline.get(self._fence.key))
                pipeline.multi()  # type: ignore[no-untyped-call]
            for addition in additions:
                words: list[Any] = ["XADD", addition.key]
                if addition.maximum_length:
                    words += ["MAXLEN", "~", addition.maximum_length]
                words.append(addition.id)
                for name, value in addition.fields:
                    words += (name, value)
                pipeline.execute_command(*words)
            results = await pipeline.execute(raise_on_error=False)
        refused = 0
        for result in results:
            if isinstance(result, redis.exceptions.ResponseError) and "equal or smaller" in str(result):
                refused += 1
            elif isinstance(result, Exception):
                raise result
        return refused


async def _wait(event: asyncio.Event, seconds: float) -> None:
    # Not asyncio.wait_for: in Python 3.11 it swallows a cancellation that comes together with the event.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
