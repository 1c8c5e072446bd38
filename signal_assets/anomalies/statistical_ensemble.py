"""The ensemble of the four statistical detectors, the specification's "statistical_detector".

Belongs here: what it is, for one series and for many side by side. Does not belong here: its members
(``statistical_detectors``), the compiled steps (``statistical_steps``).

The distance is the median of the members' distances. The ensemble votes where at least ``votes`` members find the value
off on the same side, and more than on the other one. Its expected band is where that cannot be: from the ``votes``-th
highest of the members' lower ends to the ``votes``-th lowest of their upper ends (with two votes the second of each).
Members that say nothing are left out; where fewer than ``votes`` say something there is no band.

The members judge as their own classes do, so each says here what it says alone, to the bit; but the three with a window
share one.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from signal_assets.anomalies.detector import Detection, Scores, scores_of, series_values
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.statistical_detectors import InterQuartileRange
from signal_assets.anomalies.statistical_steps import (
    AVERAGE,
    Reals,
    empty_window,
    ensemble_steps,
    ensemble_steps_across,
    refill,
    window_values,
)

MEMBERS: Final = ("z_score", "iqr", "mad", "ema")
"""Names of the members, in the order in which they are reported."""


class StatisticalPanel:
    """The ensembles of several series, stepped together.

    Parameters
    ----------
    series : int
        How many.
    parameters : AnomalyParameters
        Window, thresholds and votes, the same for all of them.

    Examples
    --------
    >>> panel = StatisticalPanel(2, AnomalyParameters(minimum_points=2))
    >>> for values in ([1.0, 5.0], [2.0, 5.0], [1.0, 5.0], [2.0, 5.0]):
    ...     judgements = panel.update(np.array(values))
    >>> panel.update(np.array([9.0, np.nan]))[:, 4, 3]
    array([1., 0.])
    """

    def __init__(self, series: int, parameters: AnomalyParameters) -> None:
        self._memories = np.tile(np.concatenate((np.zeros(AVERAGE), empty_window(parameters.window))), (series, 1))
        self._parameters = np.array(
            [
                parameters.votes,
                parameters.minimum_points,
                parameters.ema_alpha,
                parameters.z_score_threshold,
                InterQuartileRange.limit(parameters.iqr_threshold),
                parameters.mad_threshold,
                parameters.ema_threshold,
            ],
            dtype=np.float64,
        )

    def update(self, values: Reals) -> Reals:
        """Judge one value of each series, then remember it; NaN: the series has none.

        Returns
        -------
        ndarray of float64, shape (series, 5, 4)
            The fields of ``Detection`` of the four members and of the ensemble.
        """
        return ensemble_steps_across(self._memories, self._parameters, values).reshape(-1, 5, 4)

    def score(self, series: int, values: Reals) -> Reals:
        """Judge one value after the other of the series of that number; shape (values, 5, 4)."""
        return ensemble_steps(self._memories[series], self._parameters, values).reshape(-1, 5, 4)

    def state(self, series: int) -> dict[str, Any]:
        """All it remembers of the series of that number."""
        memory = self._memories[series]
        return {"average": memory[:AVERAGE].tolist(), "window": window_values(memory[AVERAGE:])}

    def restore(self, series: int, state: Mapping[str, Any]) -> None:
        """Go on with the series of that number from there."""
        self._memories[series, :AVERAGE] = state["average"]
        refill(self._memories[series, AVERAGE:], state["window"])


class StatisticalEnsemble:
    """The ensemble of one series; a :class:`~signal_assets.anomalies.detector.Detector`.

    Parameters
    ----------
    parameters : AnomalyParameters
        Window, thresholds and votes.

    Examples
    --------
    1, 3, 2, 4 have mean 2.5 and deviation 1.291, quartiles 1.75 and 3.25, MAD 1, EMA 1.552 and V = 4.037. So 7 is off
    by 3.486, 4.047, 3.035 and 2.711, median 3.260; the upper ends are 6.373, 5.5, 6.948 and 7.580.

    >>> ensemble = StatisticalEnsemble(AnomalyParameters(minimum_points=4))
    >>> _ = ensemble.score(range(4), [1, 3, 2, 4])
    >>> [round(number, 3) for number in ensemble.update(4, 7)]
    [3.26, -1.373, 6.373, 1]
    """

    name = "ensemble"

    def __init__(self, parameters: AnomalyParameters) -> None:
        self.threshold = float(parameters.votes)
        self._panel = StatisticalPanel(1, parameters)

    def update(self, time: int, value: float) -> Detection:
        """Judge the value, then remember it."""
        sigma, low, high, vote = self._panel.update(np.array([value], dtype=np.float64))[0, 4].tolist()
        return Detection(sigma, low, high, int(vote))

    def score(self, times: ArrayLike, values: ArrayLike) -> Scores:
        """:meth:`update` for one value after the other, in one compiled loop."""
        return scores_of(self._panel.score(0, series_values(times, values))[:, 4])

    def state(self) -> dict[str, Any]:
        """The average and the values in the window, oldest first."""
        return self._panel.state(0)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._panel.restore(0, state)
