"""Anomalies into Redis: events, counts, the parameters in force, how the detectors do.

Belongs here: the connection, the atomic "add if new, and count", what is removed when. Does not belong here: which
anomalies there are (``group_lane``), an entry's fields (``signal_assets/anomalies/anomaly_record``), what health says
(``detector_tally``).

An anomaly's id follows from its content, and the script that adds it counts it in the same step, unless its id is
known: so what is sent twice, after an answer that was lost or by an engine that catches up, stands there and is counted
once. Rows are handed in and left; nobody waits for Redis here. While it is away up to a hundred thousand anomalies
wait, and what is dropped then is counted (the lake has it). Whatever goes wrong here is this task's own.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog

from resources import redis_keys
from resources.redis_streams import open_async_redis
from resources.retention_settings import RetentionSettings
from services.live_lane.detector_tally import Circumstances, DetectorTally
from services.live_lane.measurements import SignalMeasurements
from services.live_lane.outbox import FIRST_RETRY, KEPT_SECONDS, LONGEST_RETRY, REDIS_ERRORS, SIGNALS_FIRST_SECONDS
from services.live_lane.shard_lease import Fence, HolderUnknownError, SupersededError
from services.live_lane.task_end import end_task
from signal_assets.anomalies.anomaly_record import anomaly_fields
from signal_assets.anomalies.tables import ANOMALIES, SCORES
from signal_assets.content_id import content_id
from signal_assets.event_time import SECOND

Row = tuple[Any, ...]

MAXIMUM_WAITING: Final = 100_000
MAXIMUM_LENGTH: Final = 100_000
"""Entries kept in the stream at most, about; more than age leaves there only where anomalies come in masses."""

AT_ONCE: Final = 200
HEALTH_SECONDS: Final = 5.0
SPANS: Final[Mapping[str, int]] = {"minute": 60, "hour": 3_600, "day": 86_400}
"""Counts are kept by these, in seconds of event time."""

PUBLISH: Final = """
if ARGV[1] ~= '' then
    local leader = redis.call('GET', KEYS[6])
    if leader ~= ARGV[1] then return {'fenced', leader or ''} end
end
local clock = redis.call('TIME')
local now = string.format('%d', clock[1] * 1000 + math.floor(clock[2] / 1000))
if redis.call('ZADD', KEYS[2], 'NX', now, ARGV[2]) == 0 then return {'known', ''} end
local entry = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, 8))
for i = 3, 5 do
    redis.call('HINCRBY', KEYS[i], ARGV[3], 1)
    redis.call('EXPIRE', KEYS[i], ARGV[i + 2])
end
return {'stored', entry}
"""
"""Keys: stream, known ids, counts of minute, hour and day, fence. Arguments: what the fence must be (empty: there is
none), id, what is counted, stream length, three times to live (s), fields.
"""

TRIM: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local oldest = string.format('%d', now - ARGV[1])
redis.call('XTRIM', KEYS[1], 'MINID', oldest)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. oldest)
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return oldest
"""
"""Keys: stream, known ids. Argument: age at which they go, ms."""

HEALTH: Final = """
if ARGV[1] ~= '' then
    local leader = redis.call('GET', KEYS[2])
    if leader ~= ARGV[1] then return {'fenced', leader or ''} end
end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {'stored', ''}
"""
"""Keys: health of a detector, fence. Arguments: what the fence must be, time to live (s), fields."""

_SERIES: Final = ANOMALIES.value_columns.index("series")
_SEVERITY: Final = ANOMALIES.value_columns.index("severity")
_TIME: Final = ANOMALIES.value_columns.index("time")
_ID: Final = ANOMALIES.value_columns.index("id")

log = structlog.get_logger("live_lane.anomalies")


class AnomalyPublisher:
    """Publishes one group's anomalies on a connection of its own; :meth:`take` never waits.

    Parameters
    ----------
    redis_url : str
        The bus.
    parameters : mapping
        By which anomalies are judged, as JSON would hold it.
    retention : RetentionSettings
        How long what is kept.
    circumstances : callable
        What the group's lane knows of its detectors.
    fence : Fence, optional
        What Redis must say for anything to be stored; if it says that somebody else leads by now, publishing ends.
    """

    def __init__(
        self,
        redis_url: str,
        group: str,
        measurements: SignalMeasurements,
        parameters: Mapping[str, Any],
        retention: RetentionSettings,
        circumstances: Callable[[], Circumstances] = Circumstances,
        *,
        timeout: float = 2.0,
        fence: Fence | None = None,
    ) -> None:
        self._client = open_async_redis(redis_url, timeout=timeout, on_connect=self._on_connect)
        self._publish = self._client.register_script(PUBLISH)
        self._trim = self._client.register_script(TRIM)
        self._write_health = self._client.register_script(HEALTH)
        self._group = group
        self._measurements = measurements
        self._parameters = parameters
        self._retention = retention
        self._circumstances = circumstances
        self._fence = fence
        self._tally = DetectorTally()
        self._taken: deque[Mapping[str, Sequence[Row]]] = deque()
        self._waiting: deque[Row] = deque()
        self._kept: deque[tuple[float, Row]] = deque()
        self._forgotten = False
        self._configured = False
        self._last_health = -HEALTH_SECONDS
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.error = ""

    @property
    def waiting(self) -> int:
        """Anomalies that Redis has not acknowledged."""
        return len(self._waiting) + sum(len(rows.get(ANOMALIES.name, ())) for rows in self._taken)

    def start(self) -> "asyncio.Task[None]":
        """Connect, and begin to publish."""
        self._task = asyncio.get_running_loop().create_task(self._publish_all(), name=f"anomalies {self._group}")
        return self._task

    def take(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Take a step's rows, by table name; what is neither scores nor anomalies is passed over."""
        if ANOMALIES.name in rows or SCORES.name in rows:
            self._taken.append(rows)
            self._wake.set()

    def configure(self, parameters: Mapping[str, Any]) -> None:
        """Say anew by what anomalies are judged."""
        self._parameters, self._configured = parameters, False
        self._wake.set()

    async def flush(self, seconds: float) -> bool:
        """Publish what is left; whether Redis has everything within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while self.waiting and self._task is not None and not self._task.done():
                    self._settled.clear()
                    self._wake.set()
                    await self._settled.wait()
        except TimeoutError:
            log.warning("anomalies were not taken in time", anomalies=self.waiting, group=self._group)
        return not self.waiting

    async def stop(self, seconds: float) -> None:
        """Publish what is left within so many seconds."""
        await self.flush(seconds)
        await self.abandon()

    async def abandon(self) -> None:
        """Publish nothing more."""
        if self._task is not None:
            await end_task(self._task)
        self._measurements.anomaly_events["dropped"] += self.waiting
        self._waiting.clear()
        self._taken.clear()
        await self._client.aclose()

    # -- publishing --------------------------------------------------------------------------------------------------

    def _on_connect(self) -> None:
        self._forgotten = True  # whatever this Redis was told last: it may have lost it

    async def _publish_all(self) -> None:
        retry = FIRST_RETRY
        while True:
            await self._something_to_do()
            self._sort()
            try:
                await self._send()
            except SupersededError as error:
                log.info("anomalies are published by another lane", group=self._group, reason=str(error))
                self._settled.set()
                return
            except Exception as error:  # Redis is away, or a fault of ours: signals and rows do not depend on this
                self._failed(error)
                await asyncio.sleep(retry)
                retry = min(retry * 2, LONGEST_RETRY)
                self._wake.set()
                continue
            if self.error:
                log.info("redis takes anomalies again", group=self._group)
            retry, self.error = FIRST_RETRY, ""
            if not self.waiting:
                self._settled.set()

    async def _something_to_do(self) -> None:
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                await self._wake.wait()
                await asyncio.sleep(SIGNALS_FIRST_SECONDS)
        except TimeoutError:
            return
        finally:
            self._wake.clear()

    def _failed(self, error: Exception) -> None:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        self._measurements.anomaly_event_failures[type(error).__name__] += 1
        if not self.error:
            if isinstance(error, REDIS_ERRORS):
                log.warning("redis does not take anomalies, will try again", error=text, group=self._group)
            else:
                log.error("anomalies cannot be published", error=text, group=self._group, exc_info=error)
        self.error = text

    def _sort(self) -> None:
        """Count what was taken and put anomalies in line; the oldest go when there are too many."""
        while self._taken:
            rows = self._taken.popleft()
            self._tally.take(rows)
            self._waiting.extend(rows.get(ANOMALIES.name, ()))
        while len(self._waiting) > MAXIMUM_WAITING:
            self._waiting.popleft()
            self._measurements.anomaly_events["dropped"] += 1

    async def _send(self) -> None:
        await self._client.ping()  # connects anew, if it must, before anything is sent: what was forgotten goes first
        while self._forgotten or not self._configured or self._waiting:
            if self._forgotten:
                self._tell_again()
            elif not self._configured:
                await self._client.set(redis_keys.ANOMALY_CONFIGURATION, self._configuration())
                self._configured = True
            else:
                await self._send_some([self._waiting[i] for i in range(min(AT_ONCE, len(self._waiting)))])
        now = time.monotonic()
        if now - self._last_health >= HEALTH_SECONDS:
            await self._send_health()
            self._last_health = now

    def _configuration(self) -> str:
        kept = self._retention.model_dump(mode="json")
        inside = {
            "parameters": dict(self._parameters),
            "retention": {name: kept[name] for name in kept if name.startswith("anomaly_")},
        }
        return json.dumps({"version": content_id(json.dumps(inside, sort_keys=True)), **inside})

    async def _send_some(self, rows: Sequence[Row]) -> None:
        """Send the first of those that wait; the first that fails stays in front, with all behind it."""
        async with self._client.pipeline(transaction=False) as pipeline:
            for row in rows:
                keys, arguments = self._words(row)
                await self._publish(keys=keys, args=arguments, client=pipeline)
            results = await pipeline.execute(raise_on_error=False)
        now = time.monotonic()
        for row, result in zip(rows, results, strict=True):
            verdict = self._verdict(result)
            self._waiting.popleft()
            self._kept.append((now, row))
            self._measurements.anomaly_events[verdict] += 1
            # Behind a new connection nothing is settled before it was told again.
            while not self._forgotten and self._kept[0][0] < now - KEPT_SECONDS:
                self._kept.popleft()

    def _verdict(self, result: Any) -> str:
        if isinstance(result, BaseException):
            raise result
        verdict = bytes(result[0]).decode()
        if verdict == "fenced":
            if self._fence is not None:
                self._fence.check(result[1])
            raise HolderUnknownError("who leads has changed while anomalies were published")
        return verdict

    def _tell_again(self) -> None:
        """After a new connection, put what was acknowledged last in front: Redis may have forgotten its last second.

        However long ago that was: all that counts is how long before the last acknowledgement.
        """
        self._forgotten = self._configured = False
        self._waiting.extendleft(row for _, row in reversed(self._kept))
        self._kept.clear()

    def _words(self, row: Row) -> tuple[list[str], list[str | int]]:
        """Keys and arguments of :data:`PUBLISH`."""
        seconds = row[_TIME] // SECOND
        counts = [redis_keys.anomaly_counts(name, seconds - seconds % span) for name, span in SPANS.items()]
        keep = self._retention
        lives = [keep.anomaly_minute_hours * 3_600, keep.anomaly_hour_days * 86_400, keep.anomaly_day_days * 86_400]
        fields = [word for field in anomaly_fields(row).items() for word in field]
        counted = f"{row[_SERIES]}|{row[_SEVERITY]}"
        keys = [redis_keys.ANOMALIES, redis_keys.ANOMALIES_KNOWN, *counts, self._fence.key if self._fence else ""]
        return keys, [self._fence.value if self._fence else "", row[_ID], counted, MAXIMUM_LENGTH, *lives, *fields]

    async def _send_health(self) -> None:
        health = self._tally.health(self._circumstances())
        fence = (self._fence.key, self._fence.value) if self._fence is not None else ("", "")
        written = str(time.time_ns() // 1_000)
        async with self._client.pipeline(transaction=False) as pipeline:
            await self._trim(
                keys=[redis_keys.ANOMALIES, redis_keys.ANOMALIES_KNOWN],
                args=[self._retention.anomaly_event_days * 86_400_000],
                client=pipeline,
            )
            for name, fields in health.items():
                flat = [word for field in (fields | {"written_at": written}).items() for word in field]
                await self._write_health(
                    keys=[redis_keys.anomaly_health(self._group, name), fence[0]],
                    args=[fence[1], self._retention.anomaly_health_seconds, *flat],
                    client=pipeline,
                )
            results = await pipeline.execute(raise_on_error=False)
        for result in results[1:]:
            self._verdict(result)
        if isinstance(results[0], BaseException):
            raise results[0]
