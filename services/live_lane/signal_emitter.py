"""The emitter: signals leave the system here, at once, in order, each of them once.

Belongs here: the connection, the atomic "set if new, then add", what happens while Redis is away. Does not belong here:
which signals there are (``group_lane``), the fields of an entry (``signal_assets/signals/signal_record``).

A signal that was sent but not acknowledged is sent again: its guard in Redis says whether it had left. What Redis does
not take within the signal's life is not sent at all; after a death of this process the engine makes it anew.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis.exceptions
import structlog

from resources import redis_keys
from resources.redis_streams import open_async_redis
from services.live_lane.measurements import SignalMeasurements
from services.live_lane.outbox import FIRST_RETRY, KEPT_SECONDS, LONGEST_RETRY, REDIS_ERRORS
from services.live_lane.shard_lease import Fence, HolderUnknownError
from services.live_lane.task_end import end_task
from signal_assets.event_time import MINUTE, SECOND
from signal_assets.signals.signal_record import EmittedSignal, signal_fields

LANE: Final = "live"
GUARD_SECONDS: Final = 86_400
COPY_SECONDS: Final = 3_600
DUPLICATE_WINDOW: Final = 15 * MINUTE
"""Event time in which a second signal of the same kind is a duplicate."""

MAXIMUM_LENGTH: Final = 100_000
"""Entries kept in the stream, about."""

EMIT: Final = """
if ARGV[9] ~= '' then
    local leader = redis.call('GET', KEYS[5])
    if leader ~= ARGV[9] then return {'fenced', leader or ''} end
end
local left = redis.call('GET', KEYS[1])
if left then return {'repeated', left} end
local holder = redis.call('GET', KEYS[2])
local since = holder and tonumber(string.match(holder, '^(%d+) '))
if since and tonumber(ARGV[2]) - since < tonumber(ARGV[3]) then return {'duplicate', holder} end
local entry = redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, 10))
redis.call('SET', KEYS[1], entry, 'EX', ARGV[5])
redis.call('SET', KEYS[2], ARGV[2] .. ' ' .. ARGV[1], 'EX', ARGV[6])
redis.call('SET', KEYS[4], ARGV[8], 'EX', ARGV[7])
return {'emitted', entry}
"""
"""Keys: guard, arbiter, stream, copy, fence. Arguments: id, event time, window, stream length, three times to live, the
copy, what the fence must be (empty: there is none), fields. Whoever holds the arbiter since less than the window ago,
by event time, or since later, stays its holder.
"""

Words = tuple[list[str], list[str | int]]

log = structlog.get_logger("live_lane.signals")


@dataclass(slots=True, eq=False)
class Outgoing:
    """A signal on its way.

    Parameters
    ----------
    signal : named tuple
        Record of ``signals.signals``.
    symbol : str
        What its copy's key says.
    clock : callable
        Newest exchange time its group knows.
    since : float or None
        When the message that closed its grid point came (``time.perf_counter``); None: it was caught up with.
    """

    signal: Any
    symbol: str
    clock: Callable[[], int]
    since: float | None
    attempts: int = 0
    acknowledged: bool = False

    @property
    def expired(self) -> bool:
        """Whether nobody should act on it any more."""
        return bool(self.signal.expires_at <= self.clock())


class SignalEmitter:
    """Sends signals on a connection of its own; :meth:`emit` never waits.

    Parameters
    ----------
    redis_url : str
        The bus.
    configurations : mapping of str to mapping
        Written to Redis whenever a connection is made: what each component is configured to do.
    window : int
        µs of event time for which a signal keeps others of its kind from leaving.
    fence : Fence, optional
        What Redis must say for anything to be sent; if it says that somebody else leads by now, sending ends with
        :class:`~services.live_lane.shard_lease.SupersededError`.
    """

    def __init__(
        self,
        redis_url: str,
        measurements: SignalMeasurements,
        configurations: Mapping[str, Mapping[str, Any]],
        window: int = DUPLICATE_WINDOW,
        *,
        timeout: float = 2.0,
        fence: Fence | None = None,
    ) -> None:
        self._client = open_async_redis(redis_url, timeout=timeout, on_connect=self._on_connect)
        self._fence = fence
        self._measurements = measurements
        self._configurations = configurations
        self._window = window
        self._script = ""
        self._introduced = self._introducing = False
        self._waiting: deque[Outgoing] = deque()
        self._kept: deque[tuple[float, Outgoing]] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.connected = False
        self.error = ""

    @property
    def waiting(self) -> int:
        """Signals that Redis has not acknowledged."""
        return len(self._waiting)

    def start(self) -> "asyncio.Task[None]":
        """Connect, and begin to send. The task ends only by an error or :meth:`stop`."""
        self._task = asyncio.get_running_loop().create_task(self._send_all(), name="signal emitter")
        return self._task

    def emit(self, outgoing: Outgoing) -> None:
        """Send a signal as soon as Redis takes it, unless it expires before."""
        self._waiting.append(outgoing)
        self._wake.set()

    def configure(self, configurations: Mapping[str, Mapping[str, Any]], window: int = DUPLICATE_WINDOW) -> None:
        """Say anew what each component is configured to do."""
        self._configurations, self._window = configurations, window
        self._introduced = False
        self._wake.set()

    async def flush(self) -> None:
        """Return when Redis has everything."""
        while self._waiting:
            self._idle.clear()
            await self._idle.wait()

    async def stop(self, seconds: float) -> None:
        """Send what is left within so many seconds."""
        if self._task is not None:
            try:
                async with asyncio.timeout(seconds):
                    await self.flush()
            except TimeoutError:
                log.warning("signals were not taken in time", signals=self.waiting)
            await end_task(self._task)
        await self._client.aclose()

    async def abandon(self) -> None:
        """Somebody else leads: send nothing more."""
        if self._task is not None:
            await end_task(self._task)
        self._measurements.suppressed["superseded"] += len(self._waiting)
        self._waiting.clear()
        await self._client.aclose()

    # -- sending ---------------------------------------------------------------------------------------------------

    def _on_connect(self) -> None:
        # redis-py replaces a broken connection silently; what Redis may have forgotten must go before anything new.
        if not self._introducing:
            raise redis.exceptions.ConnectionError("the connection was lost")

    async def _send_all(self) -> None:
        retry = FIRST_RETRY
        while True:
            try:
                if not self._introduced:
                    await self._introduce()
                await self._send()
            except REDIS_ERRORS as error:
                self._failed(error)
                await asyncio.sleep(retry)
                retry = min(retry * 2, LONGEST_RETRY)
                continue
            retry, self.connected, self.error = FIRST_RETRY, True, ""
            if not self._waiting:
                self._idle.set()
                if self._introduced:
                    await self._wake.wait()
                self._wake.clear()

    def _failed(self, error: BaseException) -> None:
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        self._measurements.emission_failures[type(error).__name__] += 1
        if self.connected or not self.error:
            log.warning("redis does not take signals, will try again", error=text, signals=self.waiting)
        self.connected = self._introduced = self._introducing = False
        self.error = text

    async def _introduce(self) -> None:
        """Leave the script and the configurations there, and send again what this Redis may have forgotten."""
        await self._client.connection_pool.disconnect()
        self._introducing = True
        self._script = await self._client.script_load(EMIT)
        values = {
            redis_keys.component_configuration(component): json.dumps(configuration, sort_keys=True)
            for component, configuration in self._configurations.items()
        }
        if values:
            await self._client.mset(values)
        horizon = time.perf_counter() - KEPT_SECONDS
        self._waiting.extendleft(outgoing for at, outgoing in reversed(self._kept) if at >= horizon)
        self._kept.clear()
        self._introduced, self._introducing = True, False
        if self.error:
            log.info("redis takes signals again", signals=self.waiting)

    async def _send(self) -> None:
        """Send everything that waits in one round trip; what fails stays in front, in order."""
        if not self.connected:
            self._drop_expired()
        batch = [(outgoing, words) for outgoing in list(self._waiting) if (words := self._words(outgoing)) is not None]
        if not batch:
            return
        results = await self._execute([words for _, words in batch])
        now, failure = time.perf_counter(), None
        for (outgoing, _), result in zip(batch, results, strict=True):
            if isinstance(result, BaseException):
                failure = failure or result
            else:
                self._waiting.remove(outgoing)
                self._acknowledged(outgoing, result, now)
        if failure is not None:
            raise failure

    def _drop_expired(self) -> None:
        for outgoing in list(self._waiting):
            if outgoing.expired:
                self._waiting.remove(outgoing)
                if not outgoing.acknowledged:
                    self._measurements.suppressed["expired"] += 1

    def _words(self, outgoing: Outgoing) -> Words | None:
        """What is sent for a signal; one that cannot be written is dropped: it must not stop the others."""
        outgoing.attempts += 1
        try:
            return words_of(outgoing, self._window, self._fence)
        except Exception as error:
            self._waiting.remove(outgoing)
            self._measurements.emission_failures[type(error).__name__] += 1
            log.exception("signal cannot be written", id=outgoing.signal.id)
            return None

    async def _execute(self, batch: Sequence[Words]) -> list[Any]:
        results = await self._evaluate(batch)
        lost = [i for i, result in enumerate(results) if isinstance(result, redis.exceptions.NoScriptError)]
        if lost:  # somebody flushed the scripts
            self._script = await self._client.script_load(EMIT)
            for i, result in zip(lost, await self._evaluate([batch[i] for i in lost]), strict=True):
                results[i] = result
        return results

    async def _evaluate(self, batch: Sequence[Words]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for keys, arguments in batch:
                pipeline.evalsha(self._script, len(keys), *keys, *arguments)
            results = list(await pipeline.execute(raise_on_error=False))
        return [self._unless_fenced(result) for result in results]

    def _unless_fenced(self, result: Any) -> Any:
        if self._fence is None or isinstance(result, BaseException) or result[0] != b"fenced":
            return result
        try:
            self._fence.check(result[1])
        except HolderUnknownError as error:
            return error
        return HolderUnknownError("who leads has changed while signals were sent")

    def _acknowledged(self, outgoing: Outgoing, result: Any, now: float) -> None:
        verdict = result[0].decode()
        # Ours in an earlier attempt whose answer was lost.
        if verdict == "repeated" and outgoing.attempts > 1:
            verdict = "emitted"
        if verdict == "emitted":
            if not outgoing.acknowledged:
                self._measurements.emitted += 1
                if outgoing.since is not None:
                    self._measurements.closing_to_signal.observe(now - outgoing.since)
            outgoing.acknowledged = True
            self._kept.append((now, outgoing))
            while self._kept[0][0] < now - KEPT_SECONDS:
                self._kept.popleft()
        elif not outgoing.acknowledged:
            self._measurements.suppressed[verdict] += 1


def words_of(outgoing: Outgoing, window: int, fence: Fence | None = None) -> Words:
    """Keys and arguments of :data:`EMIT`."""
    signal = outgoing.signal
    fields = signal_fields(EmittedSignal(signal, time.time_ns() // 1_000, LANE))
    copy = "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in fields.items()) + "}"
    keys = [
        redis_keys.emitted_signal(signal.id),
        redis_keys.signal_arbiter(signal.pair, signal.timeframe, f"{signal.strategy}:{signal.action}"),
        redis_keys.SIGNALS,
        redis_keys.strategy_signal(signal.strategy, outgoing.symbol, signal.event_time),
        *([fence.key] if fence is not None else []),
    ]
    limits = [window, MAXIMUM_LENGTH, GUARD_SECONDS, window // SECOND, COPY_SECONDS]
    flat = [word for field in fields.items() for word in field]
    return keys, [signal.id, signal.event_time, *limits, copy, fence.value if fence is not None else "", *flat]
