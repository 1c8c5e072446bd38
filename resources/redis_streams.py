"""Redis clients and the few stream operations both sides need.

Belongs here: opening a client from a URL (TCP, TLS, unix socket), reading a market stream, trimming it. Does not belong
here: key names (``redis_keys``), the payload (``signal_assets/market/stream_codec``), writing (``services/live_lane``).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

import redis
import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff

from resources.redis_keys import MARKET_GENERATION

_AWAY: Final = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)

LAST_SEQUENCE: Final = 2**64 - 1
"""Highest second half of an entry id: the id after ``5-18446744073709551615`` begins with 6."""


class StreamError(RuntimeError):
    """A Redis URL or a stream does not look as it must."""


class StreamsAwayError(StreamError):
    """Redis does not answer, after the client has tried again; a later attempt may find it."""


def normalised_url(url: str) -> str:
    """The URL as redis-py wants it: ``redis+socket://`` (Celery's spelling) becomes ``unix://``.

    Raises
    ------
    StreamError
        If the scheme is none of redis, rediss, unix, redis+socket.

    Examples
    --------
    >>> normalised_url("redis+socket:///tmp/redis.sock?virtual_host=1")
    'unix:///tmp/redis.sock?db=1'
    """
    parts = urlsplit(url)
    if parts.scheme in ("redis", "rediss", "unix"):
        return url
    if parts.scheme == "redis+socket":
        query = parts.query.replace("virtual_host=", "db=")
        return f"unix://{parts.netloc}{parts.path}" + (f"?{query}" if query else "")
    raise StreamError(f"Redis URL must begin with redis://, rediss:// or unix://, not {masked_url(url)!r}")


def masked_url(url: str) -> str:
    """The URL without its password, for logs.

    Examples
    --------
    >>> masked_url("rediss://signals:geheim@example.net:6379/0")
    'rediss://signals:***@example.net:6379/0'
    """
    masked = re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1:***@", url)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", masked)


def open_redis(url: str, *, timeout: float = 5.0) -> redis.Redis:
    """A synchronous client; it connects at the first command."""
    return redis.Redis.from_url(normalised_url(url), socket_timeout=timeout, socket_connect_timeout=timeout)


def open_async_redis(
    url: str, *, timeout: float = 2.0, on_connect: Callable[[], None] | None = None
) -> "redis.asyncio.Redis":
    """An asyncio client that never retries by itself: its user knows what may be sent twice.

    ``on_connect`` is called whenever a connection is made, also silently for a command; a
    ``redis.exceptions.RedisError`` raised by it fails that command.
    """

    async def connected(connection: Any) -> None:
        await connection.on_connect()
        if on_connect is not None:
            on_connect()

    return redis.asyncio.Redis.from_url(
        normalised_url(url),
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=AsyncRetry(NoBackoff(), 0),
        redis_connect_func=connected,
    )


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One entry: the first half of its id (the sequence of its last record) and its fields, values as bytes."""

    id: int
    fields: Mapping[str, bytes]


def entry_id(sequence: int) -> str:
    """The id under which an entry whose last record has ``sequence`` is added; Redis refuses ``0-0``.

    Examples
    --------
    >>> entry_id(17), entry_id(0)
    ('17-0', '0-1')
    """
    return f"{sequence}-0" if sequence else "0-1"


def sequence_of(raw_id: bytes | str) -> int:
    """First half of an entry id."""
    text = raw_id.decode() if isinstance(raw_id, bytes) else raw_id
    return int(text.partition("-")[0])


def last_generated(information: Mapping[Any, Any]) -> int | None:
    """The highest id ever added, out of ``XINFO STREAM``; it survives trimming. None for a stream never added to."""
    raw = information.get("last-generated-id", information.get(b"last-generated-id", b"0-0"))
    text = raw.decode() if isinstance(raw, bytes) else str(raw)
    return None if text == "0-0" else sequence_of(text)


async def stream_tail(client: "redis.asyncio.Redis", key: str) -> int | None:
    """:meth:`StreamReader.tail` for an asyncio client."""
    try:
        return last_generated(await client.xinfo_stream(key))
    except redis.exceptions.ResponseError as error:
        if _is_missing(error):
            return None
        raise


def _is_missing(error: redis.exceptions.ResponseError) -> bool:
    return "no such key" in str(error).lower()


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except _AWAY as error:
        raise StreamsAwayError(
            f"redis does not answer: {(str(error).splitlines() or [type(error).__name__])[0]}"
        ) from None


class StreamReader:
    """Reads market streams for the raw assets.

    Parameters
    ----------
    client : redis.Redis
        As :func:`open_redis` gives it (values as bytes); it tries again by itself for some seconds.

    Raises
    ------
    StreamsAwayError
        By every method, if Redis does not answer.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def tail(self, key: str) -> int | None:
        """Highest id ever added, also when everything was trimmed away; None if there is no such stream."""
        try:
            with _one_line():
                return last_generated(cast(Mapping[Any, Any], self._client.xinfo_stream(key)))
        except redis.exceptions.ResponseError as error:
            if _is_missing(error):
                return None
            raise

    def read_after(self, key: str, last_id: int | None, count: int) -> list[StreamEntry]:
        """At most ``count`` entries behind ``last_id`` (None: from the beginning), in order."""
        low = "-" if last_id is None else f"({last_id}-{LAST_SEQUENCE}"
        with _one_line():
            entries = cast(list[Any], self._client.xrange(key, min=low, max="+", count=count))
        return [
            StreamEntry(sequence_of(raw_id), {name.decode(): value for name, value in fields.items()})
            for raw_id, fields in entries
        ]

    def generation(self) -> str | None:
        """Id of this Redis' life, None if the live lane never wrote to it."""
        with _one_line():
            raw = cast(bytes | None, self._client.get(MARKET_GENERATION))
        return raw.decode() if raw is not None else None

    def trim_below(self, key: str, sequence: int) -> int:
        """Remove entries whose id is below ``sequence``; returns how many. The tail stays known."""
        with _one_line():
            return self._client.xtrim(key, minid=f"{sequence}-0", approximate=False)
