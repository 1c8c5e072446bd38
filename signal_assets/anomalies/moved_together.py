"""Which series moved together before something happened: rank correlation over the points before.

Belongs here: remembering the newest points of all series, correlating them. Does not belong here: when to ask
(``anomaly_machine``).

Spearman's ρ [1]_ is the correlation of ranks, equal values sharing their mean rank. Doubled ranks are integers, so all
sums are exact and ρ is the same to the bit wherever it is computed. Points at which one of the two has no value are
left out.

References
----------
.. [1] C. Spearman (1904), The proof and measurement of association between two things, American Journal of Psychology
   15(1), 72-101.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled

Reals = NDArray[np.float64]


@compiled(takes="reals, reals, integer", returns="real")
def rank_correlation(first: Reals, second: Reals, minimum: int) -> float:
    """Spearman's ρ of two samples of one length (compiled); NaN: too few pairs of numbers, or one of them is constant.

    Examples
    --------
    >>> rank_correlation(np.array([1.0, 2.0, np.nan, 3.0, 4.0]), np.array([1.0, 10.0, 9.0, 5.0, 20.0]), 4)
    0.8
    """
    known = np.isfinite(first) & np.isfinite(second)
    one, two = first[known], second[known]
    count = one.size
    if count < minimum:
        return math.nan
    ordered, others_ordered = np.sort(one), np.sort(two)
    together = squares = others = 0
    for i in range(count):
        # Twice the deviation of the mean rank from the mean of all ranks.
        a = np.searchsorted(ordered, one[i], side="left") + np.searchsorted(ordered, one[i], side="right") - count
        b = (
            np.searchsorted(others_ordered, two[i], side="left")
            + np.searchsorted(others_ordered, two[i], side="right")
            - count
        )
        together += a * b
        squares += a * a
        others += b * b
    if squares == 0 or others == 0:
        return math.nan
    return together / math.sqrt(float(squares) * float(others))


class NewestPoints:
    """The newest points of several series.

    Parameters
    ----------
    series : int
        How many.
    window : int
        How many points; the newest of them is the one at which is asked.
    minimum : int
        Points that both series must have for a correlation.
    least : float
        Correlations nearer to zero are not reported.

    Examples
    --------
    >>> points = NewestPoints(3, window=8, minimum=4, least=0.5)
    >>> for value in range(10):
    ...     points.push(np.array([value, -value, value % 3], dtype=np.float64))
    >>> points.correlated(0, [1, 2])
    {1: -1.0}
    """

    def __init__(self, series: int, *, window: int, minimum: int, least: float) -> None:
        self._values = np.full((window, series), np.nan)
        self._next = 0
        self._minimum = minimum
        self._least = least

    def push(self, values: Reals) -> None:
        """Take in a point; NaN: the series has no value."""
        self._values[self._next] = values
        self._next = (self._next + 1) % len(self._values)

    def correlated(self, leading: int, others: Sequence[int]) -> dict[int, float]:
        """By number, the correlation with the leading series, strongest first; ties by number.

        Rounded to four digits.
        """
        found = []
        for number in others:
            correlation = rank_correlation(self._values[:, leading], self._values[:, number], self._minimum)
            if abs(correlation) >= self._least:
                found.append((number, round(correlation, 4)))
        return dict(sorted(found, key=lambda item: (-abs(item[1]), item[0])))

    def state(self, number: int) -> Reals:
        """The points of one series, oldest first."""
        return np.roll(self._values[:, number], -self._next)

    def restore(self, number: int, values: Reals) -> None:
        """Take back the points of one series, oldest first; of more than there is room for the newest."""
        window = len(self._values)
        kept = np.full(window, np.nan)
        newest = values[-window:]
        kept[window - len(newest) :] = newest
        self._values[:, number] = np.roll(kept, self._next)
