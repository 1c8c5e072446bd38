"""Failed runs, in a bounded Redis stream that people and the notifier read."""

from typing import Final

from resources.addresses import Addresses
from resources.redis_streams import open_redis

RUN_FAILURES: Final = "platform:failures"
MAXIMUM_ENTRIES: Final = 10_000


class RedisFailureLog:
    """Writes one entry per failed run."""

    def record(self, fields: dict[str, str]) -> None:
        """Keep one failure; the oldest go when there are too many."""
        client = open_redis(Addresses.resolve().redis_url)
        try:
            client.xadd(
                RUN_FAILURES,
                {str(name): value for name, value in fields.items()},
                maxlen=MAXIMUM_ENTRIES,
                approximate=True,
            )
        finally:
            client.close()
