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

Reals = NDArray[np.float64]


def rank_correlation(first: Reals, second: Reals) -> float:
    """Spearman's ρ of two samples of one length, no NaN among them; NaN if one of them is constant.

    Examples
    --------
    >>> rank_correlation(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 10.0, 5.0, 20.0]))
    0.8
    """
    one, two = _doubled_ranks(first), _doubled_ranks(second)
    together, squares, others = int((one * two).sum()), int((one * one).sum()), int((two * two).sum())
    if squares == 0 or others == 0:
        return math.nan
    return together / math.sqrt(squares * others)


def _doubled_ranks(sample: Reals) -> NDArray[np.int64]:
    """Twice the deviation of each value's mean rank from the mean of all ranks."""
    ordered = np.sort(sample)
    low, high = np.searchsorted(ordered, sample, "left"), np.searchsorted(ordered, sample, "right")
    return (low + high - len(sample)).astype(np.int64)


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
        chosen = self._values[:, [leading, *others]]
        known = np.isfinite(chosen)
        found = []
        for place, number in enumerate(others, start=1):
            both = known[:, 0] & known[:, place]
            if int(both.sum()) >= self._minimum:
                correlation = rank_correlation(chosen[both, 0], chosen[both, place])
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
