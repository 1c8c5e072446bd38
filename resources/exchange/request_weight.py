"""The budget of REST requests an exchange grants per minute.

Belongs here: waiting before a request that would overdraw the budget. Does not belong here: sending anything.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

WINDOW_SECONDS: Final = 60.0


class RequestWeightBudget:
    """Sliding-minute budget of request weight, shared by all requests of one address.

    Parameters
    ----------
    limit : int
        Weight granted per minute.
    clock : callable
        Monotonic seconds; replaceable in tests.

    Examples
    --------
    >>> budget = RequestWeightBudget(500, clock=lambda: 0.0)
    >>> budget.delay(250), budget.spend(500), budget.delay(250)
    (0.0, None, 60.0)
    """

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._spent: deque[tuple[float, int]] = deque()
        self._used = 0
        self._turn = asyncio.Lock()

    @property
    def used(self) -> int:
        """Weight spent within the last minute."""
        self._forget()
        return self._used

    def delay(self, weight: int) -> float:
        """Seconds until ``weight`` fits; 0 when it fits now. A weight above the limit waits for an empty window."""
        self._forget()
        excess = self._used + weight - self.limit
        if excess <= 0 or not self._spent:
            return 0.0
        for moment, amount in self._spent:
            excess -= amount
            if excess <= 0:
                return max(0.0, moment + WINDOW_SECONDS - self._clock())
        return max(0.0, self._spent[-1][0] + WINDOW_SECONDS - self._clock())

    def spend(self, weight: int) -> None:
        """Book ``weight`` as used now."""
        self._spent.append((self._clock(), weight))
        self._used += weight

    def observe(self, used: int) -> None:
        """Take over the exchange's own count where it is higher (other processes share the address)."""
        missing = used - self.used
        if missing > 0:
            self.spend(missing)

    async def acquire(self, weight: int) -> None:
        """Wait until ``weight`` fits and book it; first come, first served."""
        async with self._turn:
            while (seconds := self.delay(weight)) > 0:
                await asyncio.sleep(seconds)
            self.spend(weight)

    def _forget(self) -> None:
        horizon = self._clock() - WINDOW_SECONDS
        while self._spent and self._spent[0][0] <= horizon:
            self._used -= self._spent.popleft()[1]
