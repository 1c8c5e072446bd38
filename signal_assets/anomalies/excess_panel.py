"""Excess detectors of many series, asked at once.

Belongs here: one call for all of them. Does not belong here: what a detector says (``excess_detector``), compiled steps
(``excess_steps``).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from signal_assets.anomalies.detector import Scores, scores_of
from signal_assets.anomalies.excess_detector import ExcessDetector
from signal_assets.anomalies.excess_steps import excess_steps_across


class ExcessPanel:
    """What every detector's :meth:`~ExcessDetector.update` says, to the bit, but quicker.

    The detectors stay what they are: their state is saved and restored one by one, and they may still be asked alone.

    Parameters
    ----------
    detectors : sequence of ExcessDetector
        One a series, of one window; what they remember moves to one array.

    Raises
    ------
    ValueError
        If their windows differ.
    """

    def __init__(self, detectors: Sequence[ExcessDetector]) -> None:
        self._parameters, self._memories = ExcessDetector.remember_together(detectors)

    def update(self, time: int, values: ArrayLike) -> Scores:
        """Judge a value of each series, then remember it; NaN and ±∞ are neither. ``time`` does not matter."""
        numbers = np.asarray(values, dtype=np.float64)
        if numbers.shape != (len(self._memories),):
            raise ValueError(f"values {numbers.shape} must be one of each of {len(self._memories)} series")
        return scores_of(excess_steps_across(self._memories, self._parameters, numbers))
