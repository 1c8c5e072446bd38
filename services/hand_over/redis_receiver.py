"""A receiver that is a Redis stream: another system reads it there, with a consumer group of its own.

Belongs here: the receiver and the stream of dead letters. Does not belong here: when records come
(``memory_interface``).
"""

from collections.abc import Sequence
from typing import Any, Final

import redis

from resources.redis_keys import ANOMALY_MEMORY, ANOMALY_MEMORY_KNOWN, dead_letters
from signal_assets.anomalies.memory_record import MemoryRecord
from signal_assets.event_time import DAY, MILLISECOND

RETENTION: Final = 7 * DAY
DEAD_LENGTH: Final = 100_000
"""Dead letters kept, about."""

RECEIVE: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local oldest = string.format('%d', now - ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. oldest)
local added = 0
for i = 2, #ARGV, 2 do
    if redis.call('ZADD', KEYS[2], 'NX', string.format('%d', now), ARGV[i]) == 1 then
        redis.call('XADD', KEYS[1], '*', 'id', ARGV[i], 'record', ARGV[i + 1])
        added = added + 1
    end
end
redis.call('XTRIM', KEYS[1], 'MINID', oldest)
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return added
"""
"""Keys: stream, ids that are in it. Arguments: age at which an entry goes (ms), then id and JSON of each record."""


class RedisStreamReceiver:
    """Adds every record once to the stream ``anomalies:memory``, as JSON under ``record`` beside its ``id``.

    Parameters
    ----------
    client : redis.Redis
        May be one that tries again by itself.
    retention : int
        µs; entries older than this are removed, and a record that came so long ago would be added again.
    """

    def __init__(self, client: redis.Redis, retention: int = RETENTION) -> None:
        self._client = client
        self._script = client.register_script(RECEIVE)
        self._age = retention // MILLISECOND

    def receive(self, records: Sequence[MemoryRecord]) -> None:
        """Add what is not there, in order; all of it or nothing."""
        words = [word for record in records for word in (record.id, record.as_json())]
        self._script(keys=[ANOMALY_MEMORY, ANOMALY_MEMORY_KNOWN], args=[self._age, *words])


class RedisDeadLetters:
    """Keeps records that the receiver did not take, with the reason, in the stream ``anomalies:memory:dead``."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def __call__(self, record: MemoryRecord, reason: str) -> None:
        """Keep one; the oldest go when there are too many."""
        fields: dict[Any, Any] = {"id": record.id, "reason": reason, "record": record.as_json()}
        self._client.xadd(dead_letters(ANOMALY_MEMORY), fields, maxlen=DEAD_LENGTH, approximate=True)
