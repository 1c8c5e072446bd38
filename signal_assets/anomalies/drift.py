"""Drift: the recent values of a series are distributed differently from those it began with.

Belongs here: when a series has drifted, and how far. Does not belong here: single values that are off (the detectors),
the compiled steps (``drift_steps``).

The first ``reference`` values are what the series was like; they are compared with the newest ``recent`` ones by the
test of Kolmogorov and Smirnov [1]_: it sees a change of place, of width and of form, and asks neither for a scale nor
for a distribution. Values that follow each other resemble each other, and the test would take that for a change; so
each sample counts for as many values as it is worth if it were an autoregressive process of order one [2]_,

    n (1 - ρ) / (1 + ρ), ρ the autocorrelation of its ranks.

Where the probability of so great a distance falls below ``probability`` the series has drifted, a row is written, and
the recent values become the beginning of the next reference. So a lasting change is told of once.

Nobody is alerted: markets drift every day. Detectors go by the newest values alone and adapt by themselves.

References
----------
.. [1] N. Smirnov (1948), Table for estimating the goodness of fit of empirical distributions, Annals of Mathematical
   Statistics 19(2), 279-281.
.. [2] G. V. Bayley and J. M. Hammersley (1946), The "effective" number of independent observations in an
   autocorrelated time series, Supplement to the Journal of the Royal Statistical Society 8(2), 184-197.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from signal_assets.anomalies.drift_steps import (
    REFERENCE_AT,
    SEEN,
    Reals,
    complete_reference,
    drift_steps_across,
    recent_values,
)
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.content_id import content_id


class Drift(NamedTuple):
    """A series that has drifted.

    Parameters
    ----------
    number : int
        Its place in the panel.
    statistic, probability : float
        Kolmogorov's and Smirnov's D, and the probability of one so great without drift.
    median_before, median_after : float
        Of the reference and of the recent values.
    width_before, width_after : float
        Their inter-quartile ranges.
    """

    number: int
    statistic: float
    probability: float
    median_before: float
    median_after: float
    width_before: float
    width_after: float


def drift_row(instrument: str, series: str, time: int, drift: Drift) -> tuple[Any, ...]:
    """Row of ``anomalies.drifts``."""
    return (content_id("drift", series, time), instrument, series, time, *drift[1:])


class DriftPanel:
    """Watches several series.

    Parameters
    ----------
    names : sequence of str
        Names of the series. When within ``drift_every`` values a series is compared follows from its name, so that not
        all of them are in the same step.
    parameters : AnomalyParameters
        Sizes of the samples and the probability.

    Examples
    --------
    Ten values over and over, then the same plus ten. It is seen when 17 of the 20 recent ones are new: D = 17 / 20.

    >>> parameters = AnomalyParameters(drift_reference=40, drift_recent=20, drift_every=1, drift_probability=1e-5)
    >>> panel = DriftPanel(["a"], parameters)
    >>> values = [10 * (i // 60) + i * 7 % 10 for i in range(80)]
    >>> found = [(at, drift) for at, value in enumerate(values) for drift in panel.update(np.array([value * 1.0]))]
    >>> [(at, drift.statistic, drift.median_before, drift.median_after) for at, drift in found]
    [(76, 0.85, 4.5, 13.5)]
    """

    def __init__(self, names: Sequence[str], parameters: AnomalyParameters) -> None:
        self._size = parameters.drift_reference
        self._every = parameters.drift_every
        self._probability = parameters.drift_probability
        self._begin = REFERENCE_AT + 2 * parameters.drift_reference
        self._room = parameters.drift_recent
        self._memories = np.zeros((len(names), self._begin + self._room))
        self._phases = np.array([int(content_id(name)[:8], 16) % self._every for name in names], dtype=np.int64)

    def update(self, values: Reals) -> list[Drift]:
        """Take in one value of each series (NaN: it has none); those that have drifted, in order."""
        compared = drift_steps_across(self._memories, self._size, self._every, self._phases, values)
        drifted = np.flatnonzero(compared[:, 1] < self._probability).tolist()
        return [self._drift(number, *compared[number].tolist()) for number in drifted]

    def _drift(self, number: int, statistic: float, probability: float) -> Drift:
        """What has changed; the recent values begin the next reference."""
        before = self._memories[number, REFERENCE_AT : REFERENCE_AT + self._size].copy()
        after = recent_values(self._memories[number], self._size)
        first, median_before, third = np.quantile(before, (0.25, 0.5, 0.75)).tolist()
        low, median_after, high = np.quantile(after, (0.25, 0.5, 0.75)).tolist()
        self._refill(number, after)
        return Drift(number, statistic, probability, median_before, median_after, third - first, high - low)

    def _refill(self, number: int, values: Reals) -> None:
        self._memories[number] = 0
        self._memories[number, SEEN] = len(values)
        self._memories[number, REFERENCE_AT : REFERENCE_AT + len(values)] = values
        if len(values) == self._size:
            complete_reference(self._memories[number], self._size)

    def state(self, number: int) -> dict[str, Any]:
        """All it remembers of the series of that number."""
        memory = self._memories[number]
        seen = int(memory[SEEN])
        reference = memory[REFERENCE_AT : REFERENCE_AT + min(seen, self._size)]
        return {"seen": seen, "values": np.concatenate((reference, recent_values(memory, self._size)))}

    def restore(self, number: int, state: Mapping[str, Any]) -> None:
        """Go on with the series of that number from there; samples of other sizes begin anew."""
        values, seen = state["values"], int(state["seen"])
        if len(values) != min(seen, self._size + self._room):
            return
        self._refill(number, values[: self._size])
        self._memories[number, SEEN] = seen
        recent = values[self._size :]
        places = (seen - self._size - len(recent) + np.arange(len(recent))) % self._room
        self._memories[number, self._begin + places] = recent
