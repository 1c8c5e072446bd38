"""The excess detector: a value is off when it is so many times as great as its series' usual high.

Belongs here: what it is. Does not belong here: the series it is meant for (``interval_measures``), how many times
(``AnomalyParameters.excess``).

The usual high is a quantile of the newest ``window`` values' magnitudes; a value whose magnitude is above ``times`` as
much votes, for its own side. It is for series whose quiet fluctuates by a factor, not by a distance, and whose great
values mean something: sizes, spreads, bursts, changes. What happens several times a day does not hide what happens
next, as a quantile does not care how far off it was – which is where a measure of novelty must fail.

σ is a scale, not a probability: proportional to the magnitude, and ``AT_LIMIT`` at the limit, which is where MEDIUM
begins by the usual bounds. So whatever votes is told of, 1.25 times the limit is HIGH, 1.5 times CRITICAL, and a
series' threshold factor of f moves its limit f times as high.

Values that come f times as fast as one a minute need ``1 + 0.25 log10 f`` times as much, as a day has as many more.

Defined behaviour: NaN and ±∞ are neither judged nor remembered; below ``minimum_points``, or where the usual high is
not positive, nothing is said; time does not matter, so neither do gaps and clocks that jump.
"""

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import ArrayLike

from signal_assets.anomalies.detector import UNKNOWN, Detection, Scores, scores_of, series_values
from signal_assets.event_time import MINUTE

AT_LIMIT: Final = 2.0
FASTER: Final = 0.25


class ExcessDetector:
    """How many times its usual high a value's magnitude is; a :class:`~signal_assets.anomalies.detector.Detector`.

    Parameters
    ----------
    quantile : float
        Which of the newest magnitudes is the usual high, 0…1.
    times : float
        A value votes if its magnitude is above so many times as much.
    window, minimum_points : int
        Newest values that are remembered, and how many it takes.
    interval : int
        Distance of two values, µs.

    Raises
    ------
    ValueError
        If a number leaves its range.

    Examples
    --------
    >>> detector = ExcessDetector(quantile=0.9, times=3.0, window=100, minimum_points=10)
    >>> [detector.update(0, value).vote for value in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)][-1]
    0
    >>> detector.update(0, 26.9).vote, detector.update(0, 28.0).vote  # the usual high is 9 of ten, 10 of eleven
    (0, 0)
    >>> detector.update(0, 90.0).vote
    1
    """

    name: ClassVar[str] = "excess"

    def __init__(
        self, quantile: float, times: float, window: int = 1_440, minimum_points: int = 60, interval: int = MINUTE
    ) -> None:
        if not 0 < quantile < 1 or not times > 0:
            raise ValueError(f"quantile {quantile} must lie between 0 and 1, times {times} be positive")
        if not 1 <= minimum_points <= window or interval <= 0:
            raise ValueError(f"minimum_points must lie in 1…window ({window}), not {minimum_points}")
        self.threshold = times * (1 + FASTER * max(math.log10(MINUTE / interval), 0.0))
        self._quantile = quantile
        self._minimum = minimum_points
        self._newest: deque[float] = deque(maxlen=window)
        self._ordered: list[float] = []
        self._negative = 0

    def update(self, time: int, value: float) -> Detection:
        """Judge the value, then remember it."""
        if not math.isfinite(value):
            return UNKNOWN
        said, count, magnitude = UNKNOWN, len(self._ordered), abs(value)
        if count >= self._minimum:
            limit = self.threshold * self._ordered[int(self._quantile * (count - 1))]
            if limit > 0:
                vote = 0 if magnitude <= limit else 1 if value > 0 else -1
                said = Detection(AT_LIMIT * magnitude / limit, -limit if self._negative else 0.0, limit, vote)
        if count == self._newest.maxlen:
            oldest = self._newest[0]
            del self._ordered[bisect_left(self._ordered, abs(oldest))]
            self._negative -= oldest < 0
        self._newest.append(value)
        self._negative += value < 0
        insort(self._ordered, magnitude)
        return said

    def score(self, times: ArrayLike, values: ArrayLike) -> Scores:
        """:meth:`update` for one value after the other."""
        numbers = series_values(times, values)
        return scores_of(np.array([self.update(0, value) for value in numbers.tolist()]).reshape(-1, 4))

    def state(self) -> dict[str, Any]:
        """The newest values, oldest first."""
        return {"newest": np.array(self._newest, dtype=np.float64)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there; of more than it can hold from the newest."""
        self._newest.clear()
        self._newest.extend(np.asarray(state["newest"], dtype=np.float64).tolist())
        self._ordered = sorted(map(abs, self._newest))
        self._negative = sum(value < 0 for value in self._newest)
