"""Which workers there are, on whichever machine: each says so in Redis for as long as it lives.

Belongs here: the entry of a worker, its renewal, and what follows from all entries: how many runs of a queue may be on
their way at once. Does not belong here: the queue itself (``run_coordinator``), the worker (``services/worker``).
"""

import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Final

import redis

from resources.settings import Settings

ENTRY_SECONDS: Final = 15
RENEW_SECONDS: Final = 4.0
PREFIX: Final = "platform:worker:"

NOT_COMPUTED_BY: Final = ("live", "venue", "up", "retention", "sensor_interval_seconds", "strategic_interval_seconds")
"""Sections of the configuration that say where and how often, not what."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """A worker that takes runs."""

    name: str
    queues: tuple[str, ...]
    processes: int
    configuration: str = ""
    """What it computes by, in short; empty when it could not be read."""

    def slots(self, queue: str) -> int:
        """Runs of ``queue`` it executes at once: one process stays for each of its other queues.

        Examples
        --------
        >>> WorkerEntry("background@host", ("backfill", "maintenance"), 2).slots("backfill")
        1
        >>> WorkerEntry("other@host", ("backfill",), 4).slots("backfill")
        4
        """
        return max(1, self.processes - len(self.queues) + 1) if queue in self.queues else 0


def configuration_digest(settings: Settings) -> str:
    """What of the configuration decides what is computed, in twelve letters: equal rows need equal ones."""
    text = settings.model_dump_json(exclude=set(NOT_COMPUTED_BY))
    return sha256(text.encode()).hexdigest()[:12]


def disagreement(workers: Sequence[WorkerEntry]) -> str | None:
    """Two workers that compute by different configurations, in one line; None when all have the same.

    Examples
    --------
    >>> here, there = WorkerEntry("a@here", ("backfill",), 1, "1f"), WorkerEntry("b@there", ("backfill",), 1, "2e")
    >>> disagreement([here, there])
    'a@here and b@there have different configurations (1f, 2e): every machine needs the same file'
    >>> disagreement([here, here])
    """
    known = [worker for worker in workers if worker.configuration]
    for worker in known:
        if worker.configuration != known[0].configuration:
            return (
                f"{known[0].name} and {worker.name} have different configurations ({known[0].configuration}, "
                f"{worker.configuration}): every machine needs the same file"
            )
    return None


class WorkerRegistration:
    """The entry of this worker, renewed by a thread until it is withdrawn.

    A Redis that does not answer is asked again; the worker itself is never disturbed.

    Parameters
    ----------
    client
        Redis of the broker.
    describe
        What is written, asked anew each time: the configuration may change.
    """

    def __init__(
        self,
        client: redis.Redis,
        describe: Callable[[], WorkerEntry],
        *,
        seconds: int = ENTRY_SECONDS,
        every: float = RENEW_SECONDS,
    ) -> None:
        self._client = client
        self._describe = describe
        self._key = f"{PREFIX}{describe().name}:{socket.gethostname()}:{os.getpid()}"
        self._seconds = seconds
        self._every = every
        self._withdrawn = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="worker register", daemon=True)

    def begin(self) -> None:
        """Write the entry and keep it fresh."""
        self._set()
        self._thread.start()

    def withdraw(self) -> None:
        """Remove the entry; harmless when it is gone."""
        self._withdrawn.set()
        try:
            self._client.delete(self._key)
        except redis.RedisError as failure:
            _logger.warning("entry %s could not be withdrawn, it expires: %s", self._key, failure)

    def _renew(self) -> None:
        while not self._withdrawn.wait(self._every):
            self._set()

    def _set(self) -> None:
        try:
            self._client.set(self._key, json.dumps(asdict(self._describe())), ex=self._seconds)
        except redis.RedisError as failure:
            _logger.warning("entry %s could not be renewed: %s", self._key, failure)


def registered_workers(client: redis.Redis) -> list[WorkerEntry]:
    """Every worker that lives, by name; unreadable entries are left out.

    Raises
    ------
    redis.RedisError
        If Redis does not answer.
    """
    keys = sorted(client.scan_iter(match=f"{PREFIX}*", count=1_000))
    found: list[WorkerEntry] = []
    for text in client.mget(keys) if keys else ():
        try:
            content = json.loads(text or "null")
            queues, processes = tuple(content["queues"]), int(content["processes"])
            found.append(WorkerEntry(str(content["name"]), queues, processes, str(content.get("configuration", ""))))
        except (ValueError, TypeError, KeyError):
            continue
    return found


def slots_of(workers: Sequence[WorkerEntry], queue: str) -> int:
    """How many runs of ``queue`` all workers together execute at once."""
    return sum(worker.slots(queue) for worker in workers)
