"""The outbox: what is ready for Redis, sent in order, in transactions, never dropped.

Belongs here: batching, sending, retrying, spilling, pausing. Does not belong here: what the rows mean.

Order is spill, then the batch being sent, then the rows pending; a spill takes over both of the others, so the disk
always holds the oldest and memory the newest. Death of this process while Redis is away therefore loses only what came
last, and that is fetched again from the exchange (trades) or recorded as a gap (depth).

What Redis may have forgotten of the last seconds is sent again. A Redis that has forgotten more – its streams end
before what it had acknowledged, or are not there – is not written to: entries behind a hole would hide it. Sending ends
with a :class:`RedisLostError`, what is in memory goes to disk, and the next start closes the hole (``resumption``).
"""

import asyncio
import contextlib
import time
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import redis.exceptions
import structlog

from resources.redis_keys import MARKET_GENERATION
from resources.redis_streams import open_async_redis, sequence_of, stream_tail
from services.live_lane.batch import AUTOMATIC_ID, Addition, Batch, BatchError
from services.live_lane.measurements import Measurements
from services.live_lane.pending import Pending
from services.live_lane.shard_lease import Fence
from services.live_lane.spill import Spill, SpillFullError
from services.live_lane.task_end import end_task
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


class RedisLostError(RuntimeError):
    """Redis no longer holds what it had acknowledged: its data was lost, or it has gone back to an older state."""


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
        self._settled: dict[str, int] = {}
        self._existing: set[str] = set()
        self._released = asyncio.Event()
        self._released.set()
        self._bridge: Batch | None = None
        self._renew_generation = False
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
        return not self.records and self._spill.empty and self._bridge is None

    @property
    def spill(self) -> Spill:
        """The disk part."""
        return self._spill

    @property
    def lost(self) -> bool:
        """Whether sending has ended because Redis had lost what it held."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return False
        return isinstance(self._task.exception(), RedisLostError)

    def hold(self) -> None:
        """Send nothing before :meth:`release`."""
        self._released.clear()

    def release(self, bridge: Batch | None, tails: Mapping[str, int], *, renew_generation: bool) -> None:
        """Begin to send: first the bridge over what Redis has lost, then what an earlier process had spilled.

        Parameters
        ----------
        tails : mapping of str to int
            Highest id of each stream that is there, by key: an older one found later means that Redis has lost data.
        renew_generation : bool
            Tell readers that these are not the streams they know.
        """
        self._bridge, self._renew_generation = bridge, renew_generation
        self._settled.update(tails)
        self._existing.update(tails)
        self._released.set()

    def start(self) -> "asyncio.Task[None]":
        """Begin to send; what an earlier process spilled goes first. The task ends only by an error or :meth:`stop`.

        The task raises :class:`RedisLostError` when Redis has lost what it held.
        """
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
        while not (self._connected and self._spill.empty and self._bridge is None):
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
                async with asyncio.timeout(0.0 if self._task.done() else seconds):
                    await self.flush()
            except TimeoutError:
                if not self.lost:
                    log.warning("redis does not take everything in time", records=self.records)
            await end_task(self._task)
        if self.lost:
            self._spill_kept()
        if self.records and not self._spill_memory():
            self._measurements.records_lost += self.records
            log.error("records lost at the end: neither redis nor the disk takes them", records=self.records)
        self._spill.close()
        await self._client.aclose()

    async def abandon(self) -> None:
        """Somebody else leads: let go of everything, in memory and on disk, and count it."""
        if self._task is not None:
            await end_task(self._task)
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

    def _sync_spill(self) -> None:
        try:
            self._spill.sync()
        except OSError as error:
            self._alarm(f"the spill cannot be synced: {error}")

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

    def _spill_kept(self) -> None:
        """What was acknowledged last goes to disk again, for the Redis that acknowledged it has lost it.

        Only in front of everything else: behind an older spill it would break the order. Then it belongs to the hole.
        """
        if not self._spill.empty:
            return
        for _, batch in self._kept:
            named = _named(batch)
            try:
                if named:
                    self._spill.append(Batch(named, batch.records).encode())
            except SpillFullError as error:
                self._alarm(str(error))
                return

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
        await self._released.wait()
        while True:
            batch, spilled = self._next()
            if self._spill.sync_is_due:
                self._sync_spill()
            if batch is None and self._connected:
                await self._wait_due()
                continue
            self._in_flight = not spilled  # then it may not go to disk behind its own back
            try:
                if not self._connected:
                    await self._reconnect()
                if batch is not None:
                    await self._send(batch)
            except RedisLostError as error:
                self._in_flight = False
                log.error("redis has lost data", error=str(error))  # noqa: TRY400 – the line says it all
                raise
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
        if self._bridge is not None:
            return self._bridge, False
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
            log.warning("redis does not take entries, will try again", error=self.error)
        self._connected = self._connecting = False
        self._progress.set()

    def _acknowledged(self, batch: Batch, spilled: bool) -> None:
        if batch is self._bridge:
            self._bridge = None
        elif spilled:
            self._spill.advance()
        else:
            self._current = None
            if self._current_closed_since is not None:
                self._measurements.close_to_redis.observe(time.perf_counter() - self._current_closed_since)
        self._measurements.records_added += batch.records
        self._existing.update(addition.key for addition in _named(batch))
        now = time.perf_counter()
        self._kept.append((now, batch))
        while self._kept and self._kept[0][0] < now - KEPT_SECONDS:
            _, settled = self._kept.popleft()
            for addition in _named(settled):
                self._settled[addition.key] = max(sequence_of(addition.id), self._settled.get(addition.key, 0))

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
        await self._require_what_was_settled()
        await self._client.set(MARKET_GENERATION, str(uuid.uuid4()), nx=not self._renew_generation)
        self._renew_generation = False
        for _, batch in self._kept:
            if named := _named(batch):
                await self._execute(named, again=True)
                self._measurements.batches_resent += 1
        self._connecting = False
        self._connected = True
        self.error = ""
        log.info("redis takes entries", kept_batches=len(self._kept), spill_bytes=self._spill.size)

    async def _require_what_was_settled(self) -> None:
        """Every stream must reach to where it was acknowledged before what is kept to be sent again."""
        for key, settled in self._settled.items():
            tail = await stream_tail(self._client, key)
            if tail is None or tail < settled:
                found = "is not there" if tail is None else f"ends at {tail}"
                raise RedisLostError(f"{key} was acknowledged up to {settled} and {found}")

    def _on_connect(self) -> None:
        # redis-py replaces a broken connection silently; what Redis may have forgotten must go before anything new.
        if not self._connecting:
            raise redis.exceptions.ConnectionError("the connection was lost")

    async def _execute(self, additions: tuple[Addition, ...], *, again: bool = False) -> int:
        """Add all in one MULTI/EXEC; returns how many were refused because Redis has them.

        A stream that was there before is not made anew: where it is gone, the data was (``FLUSHALL``). Only what is
        sent ``again`` may have made its stream in the seconds that Redis is allowed to forget.

        Raises
        ------
        RedisLostError
            If a stream is gone.
        """
        async with self._client.pipeline(transaction=True) as pipeline:
            if self._fence is not None:
                # EXEC fails if the holder changes after this look: what is added was ours to add at that very moment.
                await pipeline.watch(self._fence.key)
                self._fence.check(await pipeline.get(self._fence.key))
                pipeline.multi()  # type: ignore[no-untyped-call]
            for addition in additions:
                words: list[Any] = ["XADD", addition.key]
                if addition.key in self._existing and not again:
                    words.append("NOMKSTREAM")
                if addition.maximum_length:
                    words += ["MAXLEN", "~", addition.maximum_length]
                words.append(addition.id)
                for name, value in addition.fields:
                    words += (name, value)
                pipeline.execute_command(*words)
            results = await pipeline.execute(raise_on_error=False)
        refused = 0
        for addition, result in zip(additions, results, strict=True):
            if result is None:
                raise RedisLostError(f"{addition.key} was acknowledged and is not there")
            if isinstance(result, redis.exceptions.ResponseError) and "equal or smaller" in str(result):
                refused += 1
            elif isinstance(result, Exception):
                raise result
        return refused


def _named(batch: Batch) -> tuple[Addition, ...]:
    """Additions with an id of their own: sent twice, they are there once."""
    return tuple(addition for addition in batch.additions if addition.id != AUTOMATIC_ID)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    # Not asyncio.wait_for: in Python 3.11 it swallows a cancellation that comes together with the event.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
