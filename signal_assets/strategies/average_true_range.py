"""How far prices usually move within a bar.

Belongs here: Wilder's average true range. Does not belong here: stops made of it (strategies, ``bracket``).
"""

from collections.abc import Sequence

from signal_assets.strategies.bars import Bar


class AverageTrueRange:
    """Average true range, an endless filter, one closed bar after the other.

    True range = greatest of high - low, abs(high - previous close), abs(low - previous close); of the first bar
    high - low. The average is the mean of the first ``length`` true ranges, then
    ``(previous x (length - 1) + true range) / length``. Source: J. Welles Wilder, "New Concepts in Technical Trading
    Systems" (1978).

    Parameters
    ----------
    length : int
        Bars, at least 1.

    Attributes
    ----------
    value : float
        Units of 1e-8; of fewer than ``length`` bars the mean of those.
    count : int
        Bars taken in.

    Examples
    --------
    >>> average = AverageTrueRange(2)
    >>> for bar in (Bar(1, 10, 14, 10, 12, 0), Bar(2, 12, 13, 12, 13, 0), Bar(3, 20, 22, 19, 20, 0)):
    ...     average.add(bar)
    >>> average.value  # 4, 1, then 22 - 13 = 9: mean 2.5, then (2.5 + 9) / 2
    5.75
    """

    __slots__ = ("_length", "_previous_close", "count", "value")

    def __init__(self, length: int) -> None:
        self._length = length
        self._previous_close = 0
        self.value = 0.0
        self.count = 0

    def add(self, bar: Bar) -> None:
        """Take in a closed bar."""
        high, low = bar.high, bar.low
        if self.count:
            high, low = max(high, self._previous_close), min(low, self._previous_close)
        self.count += 1
        self.value += (high - low - self.value) / min(self.count, self._length)
        self._previous_close = bar.close

    def state(self) -> list[int | float]:
        """Value, previous close and count."""
        return [self.value, self._previous_close, self.count]

    def restore(self, state: Sequence[int | float]) -> None:
        """Go on from what :meth:`state` gave."""
        self.value, self._previous_close, self.count = float(state[0]), int(state[1]), int(state[2])
