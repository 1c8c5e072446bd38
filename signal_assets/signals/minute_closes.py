"""The last minutes' closing mid prices of a group: all that market conditions and correlations are made from.

Belongs here: keeping them, and returns of any stretch of minutes. Does not belong here: what is made of the returns.

The close of a minute is the last mid price seen in it; it takes part once the minute is over. Minute ``m`` is the
interval ``(m - 1, m]`` in minutes since 1970, so a features row on the full minute is the close.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled
from signal_assets.event_time import MINUTE

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]


@compiled(takes="reals, integer, integer, integer", returns="own reals")
def minute_returns(closes: Reals, newest: int, minute: int, count: int) -> Reals:
    """Log returns of the ``count`` minutes up to ``minute``, oldest first; NaN without both closes (compiled).

    Parameters
    ----------
    closes : ndarray of float64, shape (n,)
        Ring in which minute ``m`` stands at ``m % n``, up to minute ``newest``; ``n >= count + 2``.
    """
    returns = np.full(count, np.nan)
    size = closes.size
    for k in range(count):
        later = minute - count + 1 + k
        if later <= newest:
            before = closes[(later - 1) % size]
            after = closes[later % size]
            if before > 0 and after > 0:
                returns[k] = np.log(after / before)
    return returns


class MinuteCloses:
    """A ring of minute closes per instrument.

    Parameters
    ----------
    keys : sequence of str
        The group's instruments.
    size : int
        Minutes kept, the running one included.
    """

    def __init__(self, keys: Sequence[str], size: int) -> None:
        self.place = {key: place for place, key in enumerate(keys)}
        self.closes: Reals = np.full((len(keys), size), np.nan)
        self.newest = [0] * len(keys)

    def take(self, time: int, rows: Sequence[Any]) -> None:
        """Take in the features rows of ``time``: a price replaces what its minute held before."""
        minute = -(-time // MINUTE)
        slot = minute % self.closes.shape[1]
        for row in rows:
            place = self.place[row.instrument]
            if self.newest[place] != minute:
                self._begin(place, minute)
            self.closes[place, slot] = row.mid_price

    def returns(self, time: int, key: str, count: int) -> Reals:
        """Log returns of the last ``count`` minutes that are over at ``time``, oldest first; NaN where unknown."""
        place = self.place[key]
        return minute_returns(self.closes[place], self.newest[place], time // MINUTE, count)

    def state(self) -> dict[str, Any]:
        """By instrument: its newest minute, and the closes up to it in the order of time."""
        size = self.closes.shape[1]
        held = {}
        for key, place in self.place.items():
            minutes = np.arange(self.newest[place] - size + 1, self.newest[place] + 1)
            held[key] = {"newest": self.newest[place], "closes": self.closes[place, minutes % size]}
        return held

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; instruments it does not know begin cold, minutes that no longer fit are left out."""
        size = self.closes.shape[1]
        for key, held in state.items():
            if key in self.place:
                place, newest, closes = self.place[key], held["newest"], held["closes"][-size:]
                self.newest[place] = newest
                self.closes[place] = np.nan
                self.closes[place, np.arange(newest - len(closes) + 1, newest + 1) % size] = closes

    def _begin(self, place: int, minute: int) -> None:
        """Forget the closes whose places the minutes up to ``minute`` take."""
        size = self.closes.shape[1]
        for later in range(max(self.newest[place], minute - size) + 1, minute + 1):
            self.closes[place, later % size] = np.nan
        self.newest[place] = minute
