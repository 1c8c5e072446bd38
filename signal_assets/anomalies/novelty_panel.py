"""Novelty detectors of many series, asked at once.

Belongs here: one call for all of them. Does not belong here: what a detector says (``novelty_detector``), compiled
steps (``novelty_steps``).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from signal_assets.anomalies.detector import Scores
from signal_assets.anomalies.novelty_detector import NoveltyDetector
from signal_assets.anomalies.novelty_steps import novelty_steps_across


class NoveltyPanel:
    """What every detector's :meth:`~NoveltyDetector.update` says, to the bit, but quicker.

    The detectors stay what they are: their state is saved and restored one by one, and they may still be asked alone.

    Parameters
    ----------
    detectors : sequence of NoveltyDetector
        One a series, of equal settings; what they remember moves to one array.

    Raises
    ------
    ValueError
        If their settings differ.
    """

    def __init__(self, detectors: Sequence[NoveltyDetector]) -> None:
        self._parameters, self._memories, self._evidence = NoveltyDetector.remember_together(detectors)

    def update(self, time: int, values: ArrayLike) -> Scores:
        """Judge a value of each series at ``time`` (µs UTC), then remember it, or neither, as they do."""
        numbers = np.asarray(values, dtype=np.float64)
        if numbers.shape != (len(self._memories),):
            raise ValueError(f"values {numbers.shape} must be one of each of {len(self._memories)} series")
        rows, _ = novelty_steps_across(self._memories, self._parameters, time, numbers, self._evidence)
        probability, side, low, high, vote, _ = rows.T
        return Scores(-side * ndtri(probability / 2), low, high, (vote * side).astype(np.int64))
