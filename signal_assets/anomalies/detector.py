"""What a detector is: it says of each value how far it is off, judging by the values before it alone.

Belongs here: the interface, what it takes and what it gives. Does not belong here: any detector.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from signal_assets.anomalies.parameters import AnomalyParameters


class Detection(NamedTuple):
    """What a detector says of one value.

    Parameters
    ----------
    sigma : float
        Signed distance from the expected value as a normal deviate; NaN: warming up, or the value is no number.
    expected_low, expected_high : float
        The band outside which the detector votes; NaN where there is none.
    vote : int
        1 above the band, -1 below, 0 inside or warming up.
    """

    sigma: float
    expected_low: float
    expected_high: float
    vote: int


class Scores(NamedTuple):
    """What a detector says of many values: the fields of :class:`Detection` as arrays of one length."""

    sigma: NDArray[np.float64]
    expected_low: NDArray[np.float64]
    expected_high: NDArray[np.float64]
    vote: NDArray[np.int64]

    def at(self, place: int) -> Detection:
        """What is said of one value."""
        return Detection(*(field[place].item() for field in self))


UNKNOWN: Final = Detection(math.nan, math.nan, math.nan, 0)
"""Nothing can be said."""


class Detector(Protocol):
    """Watches one series.

    A value is judged before it joins the past, so it never looks at itself. What is said depends on the values so far
    and nothing else: not on how they were cut into calls, not on what comes later, to the bit.
    """

    @property
    def name(self) -> str:
        """Under which its distances are stored."""

    @property
    def threshold(self) -> float:
        """Beyond which it votes, in its own unit."""

    def update(self, time: int, value: float) -> Detection:
        """Judge the series' value at ``time`` (µs UTC), then remember it; NaN and ±∞ are neither."""

    def score(self, times: ArrayLike, values: ArrayLike) -> Scores:
        """:meth:`update` for one value after the other, in one call; the detector goes on from there."""

    def state(self) -> dict[str, Any]:
        """All it remembers, in what ``signal_assets.machine.encode_state`` takes."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`state` gave; what follows is the same to the bit."""


@runtime_checkable
class Explaining(Protocol):
    """A detector that says why."""

    def reasons(self) -> Mapping[str, float]:
        """What the newest judgement rests on, by name, with how much each says; of a vote it is kept as JSON."""


def series_values(times: ArrayLike, values: ArrayLike) -> NDArray[np.float64]:
    """The values of a series as float64.

    Raises
    ------
    ValueError
        If ``times`` and ``values`` are not of one length.
    """
    moments, numbers = np.asarray(times), np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or moments.shape != numbers.shape:
        raise ValueError(f"times {moments.shape} and values {numbers.shape} must be of one length")
    return numbers


def scores_of(judgements: NDArray[np.float64]) -> Scores:
    """Rows of four numbers as what they mean."""
    sigma, low, high, vote = judgements.T
    return Scores(sigma, low, high, vote.astype(np.int64))


DetectorFactory = Callable[[AnomalyParameters], Detector]
"""Makes a detector for one series, cold."""
