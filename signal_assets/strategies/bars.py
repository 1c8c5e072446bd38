"""Bars: open, high, low, close and volume of equal stretches of event time, from features rows.

Belongs here: when a bar begins and closes, and the newest values of what closed. Does not belong here: what is made of
them (averages, scores).

A bar of timeframe T covers ``(k·T - T, k·T]``, aligned to the epoch. Its prices are the ``last_price`` of its
instrument's rows, its volume what takers bought and sold. It closes at the instrument's first row at or after its end:
with a row at the end itself exactly then, else at the next one, and what follows from it bears that row's time. Rows
before the first trade was seen have no price and are passed over. A stretch without any row has no bar: after a gap the
sequence goes on with the bars there are.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from signal_assets.event_time import HOUR, MINUTE
from signal_assets.fixed_point import MAXIMUM

Integers = NDArray[np.int64]

TIMEFRAMES: Final[Mapping[str, int]] = {
    "1m": MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "1h": HOUR,
    "4h": 4 * HOUR,
}
"""Lengths of the bars there are, µs."""


class Bar(NamedTuple):
    """A closed bar: its end (µs UTC), prices and volume in units of 1e-8; a volume beyond int64 saturates."""

    end: int
    open: int
    high: int
    low: int
    close: int
    volume: int


class Bars:
    """Bars of one instrument and timeframe, one row after the other.

    Parameters
    ----------
    timeframe : int
        Length of a bar, µs.

    Examples
    --------
    >>> bars = Bars(TIMEFRAMES["1m"])
    >>> [len(bars.add(second * 1_000_000, price, 5)) for second, price in ((1, 100), (59, 90), (60, 95), (61, 96))]
    [0, 0, 1, 0]
    >>> bars.add(185_000_000, 97, 5)
    (Bar(end=120000000, open=96, high=96, low=96, close=96, volume=5),)
    """

    __slots__ = ("_close", "_end", "_high", "_low", "_open", "_timeframe", "_volume")

    def __init__(self, timeframe: int) -> None:
        self._timeframe = timeframe
        self._end = self._open = self._high = self._low = self._close = self._volume = 0

    def add(self, time: int, price: int | None, volume: int) -> tuple[Bar, ...]:
        """Take in a row; the bars that it closes, oldest first.

        Two of them, if the bar before ended without a row and this row ends its own.
        """
        if price is None:
            return ()
        closed: tuple[Bar, ...] = ()
        if time > self._end:
            if self._end:
                closed = (self._bar(),)
            self._end = -(-time // self._timeframe) * self._timeframe
            self._open = self._high = self._low = price
            self._volume = 0
        elif price > self._high:
            self._high = price
        elif price < self._low:
            self._low = price
        self._close = price
        self._volume += volume
        if time == self._end:
            closed = (*closed, self._bar())
            self._end = 0
        return closed

    def _bar(self) -> Bar:
        return Bar(self._end, self._open, self._high, self._low, self._close, min(self._volume, MAXIMUM))

    def state(self) -> list[int]:
        """The bar that is open; an end of 0 if none is."""
        return [self._end, self._open, self._high, self._low, self._close, self._volume]

    def restore(self, state: Sequence[int]) -> None:
        """Go on from what :meth:`state` gave."""
        self._end, self._open, self._high, self._low, self._close, self._volume = state


class NewestValues:
    """The newest ``length`` integers, oldest first, in one array.

    Examples
    --------
    >>> closes = NewestValues(2)
    >>> for close in (5, 6, 7):
    ...     closes.add(close)
    >>> closes.values.tolist(), closes.full
    ([6, 7], True)
    """

    __slots__ = ("_array", "_count")

    def __init__(self, length: int) -> None:
        self._array: Integers = np.zeros(length, np.int64)
        self._count = 0

    def add(self, value: int) -> None:
        """Take in one; the oldest leaves once there are more than ``length``."""
        self._array[:-1] = self._array[1:]
        self._array[-1] = value
        self._count = min(self._count + 1, self._array.size)

    @property
    def values(self) -> Integers:
        """Those there are, int64, shape (up to ``length``,); changes with the next :meth:`add`."""
        return self._array[self._array.size - self._count :]

    @property
    def full(self) -> bool:
        """Whether there are ``length`` of them."""
        return self._count == self._array.size

    def state(self) -> Integers:
        """A copy of the values."""
        return self.values.copy()

    def restore(self, state: Integers) -> None:
        """Go on from what :meth:`state` gave; from a longer one, its newest are taken."""
        self._count = min(state.size, self._array.size)
        self._array[self._array.size - self._count :] = state[state.size - self._count :]
