"""Event time: int64 microseconds since 1970-01-01 UTC, in intervals ``(start, end]``.

Belongs here: the calendar arithmetic every stage shares. Does not belong here: any clock.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Final

MICROSECOND: Final = 1
MILLISECOND: Final = 1_000
SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

_EPOCH: Final = date(1970, 1, 1)


def floor_to(time: int, step: int) -> int:
    """Newest grid point at or before ``time``; grids are aligned to the epoch."""
    return time // step * step


def ceil_to(time: int, step: int) -> int:
    """Oldest grid point at or after ``time``."""
    return -(-time // step) * step


def day_start(time: int) -> int:
    """Start of the day that holds ``time``; midnight sharp closes the old day.

    Examples
    --------
    >>> day_start(DAY), day_start(DAY + 1)
    (0, 86400000000)
    """
    return (time - 1) // DAY * DAY


def day_end(time: int) -> int:
    """End of the day that holds ``time``."""
    return day_start(time) + DAY


def date_of(time: int) -> date:
    """Calendar day (UTC) that holds ``time``, by the rule of :func:`day_start`."""
    return _EPOCH + timedelta(days=(time - 1) // DAY)


def start_of_date(day: date) -> int:
    """Microseconds of the midnight with which ``day`` begins."""
    return (day - _EPOCH).days * DAY


def to_datetime(time: int) -> datetime:
    """Aware datetime (UTC) of ``time``."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)


def from_datetime(moment: datetime) -> int:
    """Microseconds of an aware datetime.

    Raises
    ------
    ValueError
        If ``moment`` has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"a time zone is missing: {moment!r}")
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def iso(time: int) -> str:
    """ISO 8601 text of ``time`` in UTC, with microseconds only where there are any.

    Examples
    --------
    >>> iso(1723161255208000)
    '2024-08-08T23:54:15.208000Z'
    >>> iso(0)
    '1970-01-01T00:00:00Z'
    """
    return to_datetime(time).replace(tzinfo=None).isoformat() + "Z"
