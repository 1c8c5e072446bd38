"""Which workers there are, on whichever machine: each says so in Redis for as long as it lives.

Belongs here: the entry of a worker, its renewal, and what follows from all entries: how many runs of a queue may be on
their way at once. Does not belong here: the queue itself (``run_coordinator``), the worker (``services/worker``).
"""

import json
import logging
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import redis

ENTRY_SECONDS: Final = 15
RENEW_SECONDS: Final = 4.0
PREFIX: Final = "platform:worker:"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """A worker that takes runs."""

    name: str
    queues: tuple[str, ...]
    processes: int

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


class WorkerRegistration:
    """The entry of this worker, renewed by a thread until it is withdrawn.

    A Redis that does not answer is asked again; the worker itself is never disturbed.

    Parameters
    ----------
    client
        Redis of the broker.
    entry
        What is written.
    """

    def __init__(
        self, client: redis.Redis, entry: WorkerEntry, *, seconds: int = ENTRY_SECONDS, every: float = RENEW_SECONDS
    ) -> None:
        self._client = client
        self._key = f"{PREFIX}{entry.name}:{socket.gethostname()}:{os.getpid()}"
        self._text = json.dumps(asdict(entry))
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
            self._client.set(self._key, self._text, ex=self._seconds)
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
            found.append(WorkerEntry(str(content["name"]), tuple(content["queues"]), int(content["processes"])))
        except (ValueError, TypeError, KeyError):
            continue
    return found


def slots_of(workers: Sequence[WorkerEntry], queue: str) -> int:
    """How many runs of ``queue`` all workers together execute at once."""
    return sum(worker.slots(queue) for worker in workers)
