"""One line when PostgreSQL goes and one when it is back, where Dagster's daemon would write a stack trace per attempt.

Belongs here: what becomes of the daemon's log records while PostgreSQL is away. Does not belong here: trying again,
which Dagster does by itself: each of its daemons goes on with its next round.
"""

import logging
import time
from typing import Any, Final

REMINDER_SECONDS: Final = 600.0
"""While it stays away, a line at most this often."""

_LOGGERS: Final = (
    "",
    ".AssetDaemon",
    ".BackfillDaemon",
    ".EventLogConsumerDaemon",
    ".FreshnessDaemon",
    ".MonitoringDaemon",
    ".QueuedRunCoordinatorDaemon",
    ".SchedulerDaemon",
    ".SensorDaemon",
)
_SIGNS: Final = ("DagsterPostgresException", "OperationalError")


class PostgresOutageLog(logging.Filter):
    """Shortens the first record that says PostgreSQL is away, and drops those that follow.

    Examples
    --------
    >>> outage = PostgresOutageLog()
    >>> record = logging.makeLogRecord({"levelno": logging.ERROR, "msg": "Caught error: psycopg2.OperationalError …"})
    >>> outage.filter(record), record.getMessage()
    (True, "PostgreSQL does not answer: Dagster's daemons try again")
    >>> outage.filter(logging.makeLogRecord({"levelno": logging.ERROR, "msg": "DagsterPostgresException: …"}))
    False
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: float | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        if record.levelno < logging.WARNING or not _tells_of_an_outage(record):
            return True
        now = time.monotonic()
        if self._last is not None and now - self._last < REMINDER_SECONDS:
            return False
        self._last = now
        record.msg, record.args = "PostgreSQL does not answer: Dagster's daemons try again", ()
        record.exc_info = record.exc_text = record.stack_info = None
        return True

    def connected(self, *_: Any) -> None:
        """A connection was made."""
        if self._last is not None:
            self._last = None
            logging.getLogger("dagster.daemon").warning("PostgreSQL answers again")

    def install(self) -> None:
        """Stand in front of the daemon's loggers; harmless in other processes."""
        for name in _LOGGERS:
            logging.getLogger(f"dagster.daemon{name}").addFilter(self)


def _tells_of_an_outage(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    text = f"{type(error).__name__} {record.getMessage()}"
    return any(sign in text for sign in _SIGNS)
