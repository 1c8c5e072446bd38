"""How many alerts people get: at most so many in any 24 hours.

Belongs here: counting alerts on event time. Does not belong here: what an alert is (``alerting``).

A bucket of tokens that refills would let twice as many through in a day that begins with a full bucket. So the times
themselves are kept: there are never more of them than the budget allows.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from signal_assets.event_time import DAY


class AlertBudget:
    """At most ``limit`` alerts per name in any sliding day: an alert at t counts in ``[t, t + 24 h)``.

    Parameters
    ----------
    limit : int
        Per name; a name is a series, or a group of instruments.

    Examples
    --------
    >>> budget = AlertBudget(2)
    >>> budget.spend("a", 0), budget.spend("a", 5), budget.allows("a", DAY - 1), budget.allows("a", DAY)
    (None, None, False, True)
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._spent: dict[str, deque[int]] = {}

    def allows(self, name: str, time: int) -> bool:
        """Whether one more alert may be given at ``time`` (µs UTC, not before the last one)."""
        spent = self._spent.get(name)
        return spent is None or len(spent) < self._limit or spent[0] + DAY <= time

    def spend(self, name: str, time: int) -> None:
        """Count an alert; more than are allowed push out the oldest."""
        if name not in self._spent:
            self._spent[name] = deque(maxlen=self._limit)
        self._spent[name].append(time)

    def newest(self, name: str) -> int | None:
        """When the last alert was given; None: never."""
        spent = self._spent.get(name)
        return spent[-1] if spent else None

    def state(self) -> dict[str, list[int]]:
        """Times of the alerts that may still count, oldest first."""
        return {name: list(spent) for name, spent in self._spent.items()}

    def restore(self, state: Mapping[str, Sequence[Any]]) -> None:
        """Go on from there."""
        self._spent = {name: deque(spent, maxlen=self._limit) for name, spent in state.items()}
