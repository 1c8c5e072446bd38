"""The heartbeat lease of a run: proof that the process which executes it is alive.

Belongs here: the lease's key, its renewal while a run executes, and the question whether it is held.
Does not belong here: what follows when it is gone (``resources/run_launcher``).
"""

import logging
import os
import socket
import threading
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

import psutil
import redis

LEASE_SECONDS: Final = 10
TAKEN_SECONDS: Final = 60
"""How long a run that was taken off the queue is known to be somebody's: longer than its start time-out."""
RENEW_SECONDS: Final = 2.0
_TIMEOUT_SECONDS: Final = 5.0

_logger = logging.getLogger(__name__)


def lease_key(run_id: str) -> str:
    """Redis key (in the broker's database) that exists while somebody executes ``run_id``.

    Examples
    --------
    >>> lease_key("4f0c")
    'platform:lease:4f0c'
    """
    return f"platform:lease:{run_id}"


def broker_client(broker_url: str) -> redis.Redis:
    """A Redis client for a Celery broker address: ``redis://…``, ``rediss://…`` or ``redis+socket:///path?virtual_host=1``.

    Nothing is connected before the first command.
    """
    parts = urlsplit(broker_url)
    if parts.scheme not in {"redis+socket", "socket"}:
        return redis.Redis.from_url(
            broker_url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS
        )
    return redis.Redis(
        unix_socket_path=unquote(parts.path),
        db=int(parse_qs(parts.query).get("virtual_host", ["0"])[0]),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        socket_timeout=_TIMEOUT_SECONDS,
    )


class RunLease:
    """Holds the lease of one run, renewed by a thread, from ``with`` to its end.

    A Redis that does not answer is asked again; the run itself is never disturbed.

    Parameters
    ----------
    client
        Redis of the broker, opened in this process.
    run_id
        The run that is executed here.
    """

    def __init__(
        self, client: redis.Redis, run_id: str, *, seconds: int = LEASE_SECONDS, renew_every: float = RENEW_SECONDS
    ) -> None:
        self._client = client
        self._key = lease_key(run_id)
        self._seconds = seconds
        self._renew_every = renew_every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease of {run_id[:8]}", daemon=True)

    def __enter__(self) -> Self:
        self._set()  # before anything of the run happens, so that a started run always had one
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=_TIMEOUT_SECONDS)
        try:
            if self._client.get(self._key) == _owner(os.getpid()):  # not that of a run delivered twice
                self._client.delete(self._key)
        except redis.RedisError as failure:
            _logger.warning("lease %s could not be given back, it expires: %s", self._key, failure)

    def _renew(self) -> None:
        while not self._ended.wait(self._renew_every):
            self._set()

    def _set(self) -> None:
        try:
            self._client.set(self._key, _owner(os.getpid()), ex=self._seconds)
        except redis.RedisError as failure:
            _logger.warning("lease %s could not be renewed: %s", self._key, failure)


def _owner(pid: int) -> bytes:
    return f"{socket.gethostname()}:{pid}".encode()


def mark_taken(client: redis.Redis, run_id: str) -> None:
    """Say that this process has taken a run off the queue, before the process that executes it takes the lease.

    A worker killed in between leaves a run that nobody has begun; thus its successor knows.

    Raises
    ------
    redis.RedisError
        If Redis does not answer.
    """
    client.set(lease_key(run_id), _owner(os.getpid()), ex=TAKEN_SECONDS, nx=True)


def release_leases_of_the_dead(client: redis.Redis) -> list[str]:
    """Remove leases of processes of this host that no longer exist; returns the runs they were for.

    A worker that starts does this for its predecessor, so that the loss of a run is noticed before its lease expires.
    """
    released: list[str] = []
    for key in client.scan_iter(match=lease_key("*"), count=1_000):
        owner = client.get(key)
        host, _, pid = (owner.decode("utf-8", "replace") if isinstance(owner, bytes) else "").rpartition(":")
        if host == socket.gethostname() and pid.isdigit() and not _lives(int(pid)) and client.delete(key):
            released.append(key.decode("utf-8").removeprefix(lease_key("")))
    return released


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def lease_is_held(client: redis.Redis, run_id: str) -> bool:
    """Whether a living process executes ``run_id``.

    Raises
    ------
    redis.RedisError
        If Redis does not answer: then nobody knows.
    """
    return bool(client.exists(lease_key(run_id)))
