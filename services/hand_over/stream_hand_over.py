"""From the stream ``anomalies`` to a receiver: every anomaly that is severe enough, also after a restart.

Belongs here: reading on from where the hand-over stands, and moving it. Does not belong here: delivery, batches and
dead letters (``memory_interface``), receivers.

Where it stands is kept in Redis and moves when records are settled – taken, or dead letters – so that nothing is lost
when this process dies; what it had handed over but not noted is handed over again, under the same id. A thread of its
own reads: neither a slow receiver nor Redis is in anybody's way.
"""

import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import redis
import redis.exceptions
import structlog

from resources.hand_over_settings import HandOverSettings
from resources.redis_keys import ANOMALIES, ANOMALIES_HANDED_OVER, dead_letters
from resources.redis_streams import open_redis
from services.hand_over.memory_interface import AnomalyReceiver, BatchedHandOver, Delivery, HandOverClosedError
from services.hand_over.redis_receiver import DEAD_LENGTH, RedisDeadLetters, RedisStreamReceiver
from signal_assets.anomalies.anomaly_record import AnomalyRecordError, parse_anomaly
from signal_assets.anomalies.memory_record import (
    METRIC_NAMES,
    SEVERITY_NAMES,
    MemoryRecord,
    Origin,
    RecordMapping,
    memory_record,
)

BEGINNING: Final = "0-0"
READ_AT_ONCE: Final = 500
BLOCK_MILLISECONDS: Final = 250
RETRY_SECONDS: Final = 1.0

log = structlog.get_logger("hand_over")


def record_mapping(settings: HandOverSettings) -> RecordMapping:
    """The configured words, and ours for the rest."""
    # A configured pattern goes before any of ours.
    names = dict(settings.metric_names)
    for pattern, name in METRIC_NAMES.items():
        names.setdefault(pattern, name)
    severities = dict(SEVERITY_NAMES) | {str(name): text for name, text in settings.severities.items()}
    return RecordMapping(names, severities, settings.least_severity)


def origin_of(settings: HandOverSettings) -> Origin:
    """Where records say that they come from."""
    return Origin(settings.hostname or socket.gethostname(), settings.environment, settings.service)


class StreamHandOver:
    """Hands the stream's anomalies over, from :meth:`start` to :meth:`stop`.

    Parameters
    ----------
    redis_url : str
        The bus.
    receiver : AnomalyReceiver, optional
        Default: the stream ``anomalies:memory`` of the same Redis.
    retention : int
        µs for which the default receiver keeps records.
    """

    def __init__(
        self, redis_url: str, settings: HandOverSettings, receiver: AnomalyReceiver | None = None, *, retention: int
    ) -> None:
        self._client, self._reading = open_redis(redis_url), open_redis(redis_url)
        self._settings = settings
        self._mapping, self._origin = record_mapping(settings), origin_of(settings)
        self._receiver = receiver if receiver is not None else RedisStreamReceiver(self._client, retention)
        self._batch = settings.mode == "batch"
        self._stopped = threading.Event()
        self._positions: deque[tuple[str, str]] = deque()
        self._thread: threading.Thread | None = None
        self._sender: BatchedHandOver | None = None
        self.error = ""

    @property
    def counts(self) -> Mapping[str, int]:
        """Records ``accepted`` and ``dead``, and ``failures`` of the receiver, since the start."""
        return self._sender.counts if self._sender is not None else {}

    @property
    def reads(self) -> bool:
        """Whether the reading thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin to read; returns at once."""
        # A direct call is a batch of one that waits for nothing.
        self._sender = BatchedHandOver(
            self._delivery,
            records=self._settings.batch_records if self._batch else 1,
            seconds=self._settings.batch_seconds,
            settled=self._settled,
        )
        self._thread = threading.Thread(target=self._read_all, name="anomaly stream", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Read what is there and hand it over, within about so many seconds; the rest is for whoever comes next."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(seconds)
        if self._sender is not None:
            left = self._sender.close(seconds)
            if left:
                log.info("anomalies are left to be handed over", records=len(left))
        self._client.close()

    def _delivery(self, pause: Callable[[float], bool]) -> Delivery:
        return Delivery(self._receiver, RedisDeadLetters(self._client), attempts=self._settings.attempts, pause=pause)

    # -- in the reading thread -------------------------------------------------------------------------------------

    def _read_all(self) -> None:
        position: str | None = None
        while True:
            last = self._stopped.is_set()
            try:
                if position is None:
                    position = self._noted()
                before, position = position, self._read(position)
            except (redis.exceptions.RedisError, OSError) as error:
                self.error = " ".join(f"{type(error).__name__}: {error}".split())
                if last or self._stopped.wait(RETRY_SECONDS):
                    break
            except HandOverClosedError:
                break
            else:
                self.error = ""
                if last and before == position:
                    break
        self._reading.close()

    def _noted(self) -> str:
        raw = cast(bytes | None, self._reading.get(ANOMALIES_HANDED_OVER))
        return raw.decode() if raw is not None else BEGINNING

    def _read(self, position: str) -> str:
        """Submit the next entries; returns the id of the last one."""
        streams: dict[Any, Any] = {ANOMALIES: position}
        found = cast(list[Any], self._reading.xread(streams, count=READ_AT_ONCE, block=BLOCK_MILLISECONDS))
        entries = found[0][1] if found else []
        for raw_id, raw in entries:
            position = raw_id.decode()
            self._submit(position, raw)
        return position

    def _submit(self, entry: str, raw: Mapping[bytes, bytes]) -> None:
        try:
            record = self._record(raw)
        except Exception as error:  # whatever is odd about one entry: those behind it are handed over
            text = " ".join(f"{type(error).__name__}: {error}".split())
            reason = str(error) if isinstance(error, AnomalyRecordError) else text
            dead: dict[Any, Any] = {**raw, b"reason": reason, b"entry": entry}
            self._reading.xadd(
                dead_letters(ANOMALIES),
                dead,
                maxlen=DEAD_LENGTH,
                approximate=True,
            )
            log.warning("anomaly cannot be read", error=reason, entry=entry)
            return
        if self._sender is not None and record is not None:
            self._positions.append((record.id, entry))
            self._sender.submit(record)

    def _record(self, raw: Mapping[bytes, bytes]) -> MemoryRecord | None:
        """What is to be handed over of an entry; None: it is not severe enough."""
        anomaly = parse_anomaly({name.decode(): value.decode() for name, value in raw.items()})
        if not self._mapping.wants(anomaly):
            return None
        record = memory_record(anomaly, self._mapping, self._origin)
        record.as_json().encode()  # half a surrogate pair is text for us and for nobody else
        return record

    def _settled(self, records: Sequence[MemoryRecord]) -> None:
        """In the sending thread: note where it stands; records are settled in the order in which they were read."""
        entry = BEGINNING
        for _ in records:
            _, entry = self._positions.popleft()
        self._client.set(ANOMALIES_HANDED_OVER, entry)
