"""Market hours by event time, in UTC: who may signal when, and how good the hour is.

Belongs here: weekends, times of day, sessions. Does not belong here: ingestion, which never stops for them.

What happens at the full hour sharp closes the hour before, as everywhere: ``(start, end]``.
"""

from typing import Final

from signal_assets.event_time import DAY, HOUR
from signal_assets.instrument import AssetClass
from signal_assets.signals.score import FAVOURABLE, NEUTRAL, UNDECIDED, UNFAVOURABLE, Score

SESSIONS: Final = {"Asia": (0, 9), "Europe": (7, 16), "America": (13, 22)}
"""Business hours (UTC) of Tokyo, London and New York in winter, begin and end."""

BUSIEST: Final = (13, 17)
ACTIVE: Final = (7, 22)
"""Hours (UTC) in which Europe and America trade together, and in which either does."""

THURSDAY: Final = 3
"""Weekday of 1970-01-01, Monday being 0."""


def is_weekend(time: int) -> bool:
    """Whether ``time`` (µs) lies on a Saturday or Sunday, UTC.

    Examples
    --------
    >>> saturday = 20_092 * DAY  # 2025-01-04 00:00
    >>> [is_weekend(saturday + after) for after in (0, 1, 2 * DAY, 2 * DAY + 1)]
    [False, True, True, False]
    """
    return ((time - 1) // DAY + THURSDAY) % 7 >= 5


def may_signal(time: int, asset_class: AssetClass) -> bool:
    """Whether the market is open for signals: crypto always, everything else Monday to Friday ("weekend mode")."""
    return asset_class == "crypto" or not is_weekend(time)


def time_of_day(time: int) -> Score:
    """How much is traded at that hour, as a rule.

    A quiet night scores :data:`UNDECIDED`, for a market that never closes is no worse for it; hours in which Europe or
    America trade a tenth more, those in which both do two. A weekend, whose books are thin, scores half a tenth less:
    a good signal still passes, an ordinary one does not.
    """
    hour = _hour(time)
    if is_weekend(time):
        return Score(0.65, "weekend")
    if BUSIEST[0] <= hour < BUSIEST[1]:
        return Score(0.9, "busiest hours")
    if ACTIVE[0] <= hour < ACTIVE[1]:
        return Score(0.8, "active hours")
    return Score(UNDECIDED, "quiet hours")


def market_session(time: int) -> Score:
    """How many of the three sessions are open: two are favourable, one is neutral, none (weekends too) unfavourable."""
    hour = _hour(time)
    names = [] if is_weekend(time) else [name for name, (begin, end) in SESSIONS.items() if begin <= hour < end]
    value = (UNFAVOURABLE, NEUTRAL, FAVOURABLE)[len(names)]
    return Score(value, f"{' and '.join(names)} open" if names else "no session open")


def _hour(time: int) -> int:
    return (time - 1) % DAY // HOUR
