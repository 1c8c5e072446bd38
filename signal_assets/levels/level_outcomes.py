"""What became of a level: did price come to it, and did it turn there or go through.

Belongs here: how a level is judged on the path of the mid price. Does not belong here: the levels it is held against
(``matched_levels``), the rows of a window (``outcome_rows``), the score (``outcome_score``).

A level is a zone as it stood at a moment, approached from outside: a support below the mid price, a resistance above.
In the ``horizon`` after its moment it is

* **untouched** – the mid price never reached its near edge;
* **bounced** – touched, and then the mid price was k average ranges before the near edge again;
* **broke** – touched, and then the mid price was k average ranges behind the far edge;
* **undecided** – touched, and neither within the horizon;
* **unseen** – for more than a minute in which it was still open no price is known.

The path is the mid price at the points of the features grid; what happened between two of them is not seen. The average
range is the mean true range of the minutes before the moment. All in integers, in halves of 1e-8: bid + ask is the mid
price twice.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled
from signal_assets.event_time import MINUTE

Integers = NDArray[np.int64]

OUTCOMES: Final = ("bounced", "broke", "undecided", "unseen", "untouched")
BOUNCED, BROKE, UNDECIDED, UNSEEN, UNTOUCHED = range(5)
OPEN: Final = -1


@dataclass(frozen=True, slots=True)
class OutcomeParameters:
    """Which levels are judged, and how.

    Parameters
    ----------
    interval : int
        Levels are those that stand at multiples of this, µs: from minute to minute they are much the same.
    horizon : int
        How long a level is watched, µs.
    ranges : float
        How many average ranges make a bounce or a break: k.
    average_minutes, minimum_minutes : int
        Minutes in the average range, and the least with a price among them.
    draws : int
        Random levels for each real one.

    Raises
    ------
    ValueError
        If a time is no multiple of a minute, or a number not positive.
    """

    interval: int = 5 * MINUTE
    horizon: int = 30 * MINUTE
    ranges: float = 1.0
    average_minutes: int = 30
    minimum_minutes: int = 5
    draws: int = 3

    def __post_init__(self) -> None:
        for name in ("interval", "horizon"):
            if getattr(self, name) < MINUTE or getattr(self, name) % MINUTE:
                raise ValueError(f"{name} must be whole minutes, not {getattr(self, name)} µs")
        if not self.ranges > 0:
            raise ValueError(f"ranges must be positive, not {self.ranges}")
        if not 1 <= self.minimum_minutes <= self.average_minutes or self.draws < 0:
            raise ValueError("minimum_minutes must lie in 1…average_minutes, and draws must not be negative")

    @property
    def look_back(self) -> int:
        """How far the path reaches behind a window, µs: to the average range of the oldest open level."""
        return self.horizon + self.average_minutes * MINUTE


@compiled(takes="integers, integers, integers, integer, integer", returns="own integers")
def average_ranges(time: Integers, price: Integers, moment: Integers, minutes: int, minimum: int) -> Integers:
    """Mean true range of the ``minutes`` up to each moment, rounded down; 0 where fewer than ``minimum`` have a price.

    A minute is ``(k - 60 s, k]``; one without a price is passed over. True range = greatest of high - low and the
    distances of both from the last price of the minute before; of the first minute high - low (Wilder 1978). The mean
    is a plain one over the look-back, since it must not depend on where a computation began (compiled).
    """
    average = np.zeros(moment.size, np.int64)
    for i in range(moment.size):
        row = np.searchsorted(time, moment[i] - minutes * 60_000_000, side="right")
        total = 0
        count = 0
        before = -1
        while row < time.size and time[row] <= moment[i]:
            end = -(-time[row] // 60_000_000) * 60_000_000
            high = low = close = price[row]
            row += 1
            while row < time.size and time[row] <= end:
                high = max(high, price[row])
                low = min(low, price[row])
                close = price[row]
                row += 1
            if before >= 0:
                high = max(high, before)
                low = min(low, before)
            total += high - low
            count += 1
            before = close
        if count >= minimum:
            average[i] = total // count
    return average


@compiled(
    takes="integers, integers, integers, integers, integers, flags, integers, integer, integer",
    returns="own integers, own integers, own integers",
)
def judge(
    time: Integers,
    price: Integers,
    moment: Integers,
    low: Integers,
    high: Integers,
    is_support: NDArray[np.bool_],
    reach: Integers,
    horizon: int,
    known_until: int,
) -> tuple[Integers, Integers, Integers]:
    """Outcome of each level, when it was touched (-1: it was not) and when the outcome was settled (compiled).

    Parameters
    ----------
    time, price
        The path, ascending: µs UTC and bid + ask.
    moment, low, high, is_support, reach
        Levels: when they stood, their edges (twice the price), their side, and how far a bounce or a break goes.
    horizon : int
        How long each is watched, µs.
    known_until : int
        The path is complete up to here; what is not settled by then is OPEN.
    """
    count = moment.size
    outcome = np.full(count, -1, np.int64)
    touched = np.full(count, -1, np.int64)
    settled = np.full(count, -1, np.int64)
    for i in range(count):
        last = moment[i] + horizon
        row = np.searchsorted(time, moment[i], side="right")
        before = time[row - 1] if row > 0 else moment[i]
        seen = True
        while row < time.size and time[row] <= last and outcome[i] < 0:
            if time[row] - before > 60_000_000:
                seen = False
                break
            before = time[row]
            # Seen from a resistance everything is the other way round.
            now = price[row] if is_support[i] else -price[row]
            near = high[i] if is_support[i] else -low[i]
            far = low[i] if is_support[i] else -high[i]
            if touched[i] < 0 and now <= near:
                touched[i] = before
            if touched[i] >= 0 and now >= near + reach[i]:
                outcome[i] = 0
            elif touched[i] >= 0 and now <= far - reach[i]:
                outcome[i] = 1
            row += 1
        if outcome[i] >= 0:
            settled[i] = before
        elif last <= known_until:
            settled[i] = last
            if not seen or last - before > 60_000_000:
                outcome[i] = 3
            else:
                outcome[i] = 2 if touched[i] >= 0 else 4
    return outcome, touched, settled
