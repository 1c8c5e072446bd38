"""The excess detector: a value is off when it is so many times as great as its series' usual high.

Belongs here: what it is. Does not belong here: its compiled steps (``excess_steps``), the series it is meant for
(``interval_measures``), how many times (``AnomalyParameters.excess``).

The usual high is a quantile of the newest ``window`` values' magnitudes; a value whose magnitude is above ``times`` as
much votes, for its own side. It is for series whose quiet fluctuates by a factor, not by a distance, and whose great
values mean something: sizes, spreads, bursts, changes. What happens several times a day does not hide what happens
next, as a quantile does not care how far off it was – which is where a measure of novelty must fail.

σ is a scale, not a probability: proportional to the value, and ``AT_LIMIT`` at the limit, which is where MEDIUM
begins by the usual bounds. So whatever votes is told of, 1.25 times the limit is HIGH, 1.5 times CRITICAL, and a
series' threshold factor of f moves its limit f times as high.

Values that come f times as fast as one a minute need ``1 + 0.25 log10 f`` times as much, as a day has as many more.

The band reaches below zero as far as above once a negative value is remembered; the first one may lie below a band that
begins at zero, and does not vote for that.

Defined behaviour: NaN and ±∞ are neither judged nor remembered; below ``minimum_points``, or where the usual high is
not positive, nothing is said; time does not matter, so neither do gaps and clocks that jump.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import ArrayLike

from signal_assets.anomalies.detector import Detection, Scores, scores_of, series_values
from signal_assets.anomalies.excess_steps import (
    Reals,
    empty_memory,
    excess_step,
    excess_steps,
    newest_values,
    remember,
)
from signal_assets.event_time import MINUTE

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
        self._memory = empty_memory(window)
        self._parameters = np.array([quantile, self.threshold, minimum_points])

    @staticmethod
    def remember_together(detectors: Sequence["ExcessDetector"]) -> tuple[Reals, Reals]:
        """Move what detectors remember to one array; returns their settings and the memories, a row each.

        Raises
        ------
        ValueError
            If their windows differ.
        """
        if len({len(detector._memory) for detector in detectors}) > 1:
            raise ValueError("excess detectors of different windows cannot be asked together")
        memories = np.stack([detector._memory for detector in detectors])
        for detector, memory in zip(detectors, memories, strict=True):
            detector._memory = memory
        return np.stack([detector._parameters for detector in detectors]), memories

    def update(self, time: int, value: float) -> Detection:
        """Judge the value, then remember it."""
        return Detection(*excess_step(self._memory, self._parameters, value))

    def score(self, times: ArrayLike, values: ArrayLike) -> Scores:
        """:meth:`update` for one value after the other, in one compiled loop."""
        return scores_of(excess_steps(self._memory, self._parameters, series_values(times, values)))

    def state(self) -> dict[str, Any]:
        """The newest values, oldest first."""
        return {"newest": newest_values(self._memory)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there; of more than it can hold from the newest."""
        self._memory[:] = 0
        for value in np.asarray(state["newest"], dtype=np.float64).tolist():
            remember(self._memory, value)
