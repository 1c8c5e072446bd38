"""The lake's write lock: one writer at a time, and none that sleeps.

Belongs here: taking the lock, showing PostgreSQL that its holder lives, finding out that it was lost. Does not belong
here: what is written under it (``duck_lake``).
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg2
import structlog

from resources.addresses import Addresses
from resources.duck_lake_connection import catalog_dsn
from resources.duck_lake_sql import first_line
from resources.lake import LakeBusyError, LakeError

WRITE_LOCK: Final = 0x51674C61  # any constant will do; one lock per catalog database
SILENCE_SECONDS: Final = 15.0
"""A holder that PostgreSQL has not heard of for so long has lost the lock: it was stopped, or its machine was."""

log = structlog.get_logger(__name__)


class WriteLock:
    """An advisory lock on a connection of its own, so that it falls with the process that holds it.

    A process that is stopped (SIGSTOP, a suspended machine) keeps its connections: without more, everybody else would
    wait for it. So a thread gives PostgreSQL a sign of life while the lock is held, and a session that is silent for
    ``silence`` seconds is ended by PostgreSQL, the lock with it. The holder asks with :meth:`check`, right before it
    commits, whether it still is one.

    Parameters
    ----------
    addresses : Addresses
        Where the catalog is.
    timeout : float
        Seconds to wait for the lock.
    on_lost : callable
        Called when the connection turns out to be dead, as after a restart of PostgreSQL: others are too. Calls
        :meth:`close`.
    silence : float
        Seconds.
    """

    def __init__(
        self,
        addresses: Addresses,
        timeout: float,
        on_lost: Callable[[], None],
        silence: float = SILENCE_SECONDS,
    ) -> None:
        self._addresses = addresses
        self._timeout = timeout
        self._on_lost = on_lost
        self._silence = silence
        self._connection: Any = None

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock.

        Raises
        ------
        LakeBusyError
            If it does not come free within the time-out.
        LakeError
            If PostgreSQL cannot be reached.
        """
        self._take()
        over = threading.Event()
        threading.Thread(target=self._give_signs_of_life, args=(over,), name="lake lock", daemon=True).start()
        try:
            yield
        finally:
            over.set()
            self._release()

    def check(self) -> None:
        """Make sure that the lock is still ours.

        Raises
        ------
        LakeError
            If PostgreSQL has ended the session that held it.
        """
        try:
            self._execute("SELECT 1")
        except psycopg2.Error as error:
            raise LakeError(f"the lake's write lock was lost: {first_line(error)}") from error

    def close(self) -> None:
        """Drop the connection; the next use opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except psycopg2.Error as error:
                log.info("lake_lock_close", error=first_line(error))

    def _take(self) -> None:
        for attempt in (1, 2):
            try:
                self._connect()
                self._execute("SELECT pg_advisory_lock(%s)", WRITE_LOCK)
                self._execute("SELECT set_config('idle_session_timeout', %s, false)", _milliseconds(self._silence))
            except psycopg2.errors.LockNotAvailable as error:
                raise LakeBusyError(
                    f"another process has held the lake's write lock for {self._timeout:g} s"
                ) from error
            except psycopg2.Error as error:
                # A restarted PostgreSQL leaves a dead connection behind; one fresh attempt tells whether it is back.
                self._on_lost()
                if attempt == 2:
                    raise LakeError(f"cannot lock the lake: {first_line(error)}") from error
            else:
                return

    def _connect(self) -> None:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg2.connect(catalog_dsn(self._addresses))
            self._connection.autocommit = True
        self._execute("SELECT set_config('lock_timeout', %s, false)", _milliseconds(self._timeout))

    def _execute(self, sql: str, *parameters: object) -> None:
        connection = self._connection
        if connection is None:
            raise psycopg2.InterfaceError("the connection was closed")
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)

    def _release(self) -> None:
        try:
            self._execute("SELECT set_config('idle_session_timeout', '0', false), pg_advisory_unlock(%s)", WRITE_LOCK)
        except psycopg2.Error as error:
            log.warning("lake_unlock", error=first_line(error))
            self._on_lost()

    def _give_signs_of_life(self, over: threading.Event) -> None:
        while not over.wait(self._silence / 3):
            try:
                self._execute("SELECT 1")
            except psycopg2.Error as error:
                log.warning("lake_lock_lost", error=first_line(error))
                return


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms"
