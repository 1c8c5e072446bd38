"""The four statistical detectors: z-score, inter-quartile range, median absolute deviation, EMA residual.

Belongs here: what they are, one class each. Does not belong here: their compiled steps (``statistical_steps``), how
they vote (``statistical_ensemble``).

All four judge alike. The past gives a centre and a scale; the distance is σ = (value - centre) / scale, and the
detector votes where the value lies outside centre ± limit · scale. Only then does the value join the past.

| detector | centre | scale | limit |
| --- | --- | --- | --- |
| z_score | mean | standard deviation, n - 1 | 3 |
| iqr | (Q1 + Q3) / 2 | (Q3 - Q1) / 1.349 | (1.5 + 1/2) · 1.349 = 2.698 |
| mad | median | median of abs(value - median) / 0.6745 | 3 |
| ema | EMA of the values | √(EMA of the squared residuals) | 3 |

The past of the first three is a window of the newest 100 values; sums run over them in order of size, so what is
said is a function of the window's content alone. The divisors make a scale the standard deviation of normal values, so
that Tukey's fences Q3 + 1.5 IQR and Q1 - 1.5 IQR lie at ± 2.698 σ and everything between is linear.

Defined behaviour:

* **warming up**: with fewer than ``minimum_points`` in the past nothing is said (σ NaN), the value is remembered;
* **NaN, ±∞**: nothing is said, the value is not remembered;
* **gaps**: the past counts values, not time; times are not looked at;
* **quantized series**: where half of the values are equal, quartiles and MAD collapse to (nearly) nothing. A scale
  below a thousandth of the window's range counts as collapsed, and the standard deviation takes its place;
* **constant series**: a value equal to the constant is 0 σ off. One that differs cannot be measured, as there is no
  scale; it is as far off as can be, ± 100 σ, and votes;
* distances are cut at ± 100 σ: beyond that the number says nothing more.

Sources: Tukey (1977), Exploratory Data Analysis, fences; Iglewicz and Hoaglin (1993), How to Detect and Handle
Outliers, modified z-score.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from signal_assets.anomalies.detector import Detection, Scores, scores_of, series_values
from signal_assets.anomalies.statistical_steps import (
    AVERAGE,
    MEAN,
    MEDIAN,
    NORMAL_QUARTILE,
    QUARTILES,
    Judgement,
    Reals,
    average_step,
    average_steps,
    empty_window,
    refill,
    window_step,
    window_steps,
    window_values,
)


class _StatisticalDetector:
    """A compiled step with its memory and three numbers: limit in σ, minimum points, and what or how it averages."""

    name: ClassVar[str]

    def __init__(
        self,
        threshold: float,
        step: Callable[[Reals, float, float, float, float], Judgement],
        steps: Callable[[Reals, Reals, float, float, float], Reals],
        memory: Reals,
        parameters: tuple[float, float, float],
    ) -> None:
        self.threshold = threshold
        self._step = step
        self._steps = steps
        self._memory = memory
        self._parameters = tuple(map(float, parameters))

    def update(self, time: int, value: float) -> Detection:
        """Judge the value, then remember it; see :class:`~signal_assets.anomalies.detector.Detector`."""
        return Detection(*self._step(self._memory, value, *self._parameters))

    def score(self, times: ArrayLike, values: ArrayLike) -> Scores:
        """:meth:`update` for one value after the other, in one compiled loop.

        Raises
        ------
        ValueError
            If ``times`` and ``values`` are not of one length.
        """
        return scores_of(self._steps(self._memory, series_values(times, values), *self._parameters))


class _WindowDetector(_StatisticalDetector):
    """Judges by the newest values."""

    def __init__(self, threshold: float, limit: float, window: int, minimum_points: int, method: int) -> None:
        super().__init__(threshold, window_step, window_steps, empty_window(window), (limit, minimum_points, method))

    def state(self) -> dict[str, Any]:
        """The values in the window, oldest first."""
        return {"window": window_values(self._memory)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Fill the window again."""
        refill(self._memory, state["window"])


class ZScore(_WindowDetector):
    """Distance from the mean in standard deviations of the window.

    Parameters
    ----------
    threshold : float
        It votes beyond this many standard deviations.
    window, minimum_points : int
        Values judged by, and without how many nothing is said.

    Examples
    --------
    Mean 3 and standard deviation √2.5 of 1…5: 3 + 2 · √2.5 is 2 σ off.

    >>> detector = ZScore(window=5, minimum_points=5)
    >>> _ = detector.score(range(5), [1, 2, 3, 4, 5])
    >>> round(detector.update(5, 3 + 2 * 2.5**0.5).sigma, 12)
    2.0
    """

    name = "z_score"

    def __init__(self, threshold: float = 3.0, window: int = 100, minimum_points: int = 30) -> None:
        super().__init__(threshold, threshold, window, minimum_points, MEAN)


class InterQuartileRange(_WindowDetector):
    """Distance from the middle of the quartiles in inter-quartile ranges of the window.

    Parameters
    ----------
    threshold : float
        It votes beyond the quartiles by this many inter-quartile ranges (Tukey's fences: 1.5).
    window, minimum_points : int
        Values judged by, and without how many nothing is said.

    Examples
    --------
    Quartiles 2 and 4 of 1…5: the fences are 2 - 1.5 · 2 and 4 + 1.5 · 2.

    >>> detector = InterQuartileRange(window=5, minimum_points=5)
    >>> _ = detector.score(range(5), [1, 2, 3, 4, 5])
    >>> detection = detector.update(5, 7)
    >>> [round(number, 3) for number in detection]
    [2.698, -1.0, 7.0, 0]
    """

    name = "iqr"

    def __init__(self, threshold: float = 1.5, window: int = 100, minimum_points: int = 30) -> None:
        super().__init__(threshold, self.limit(threshold), window, minimum_points, QUARTILES)

    @staticmethod
    def limit(threshold: float) -> float:
        """Distance in σ of a fence so many inter-quartile ranges beyond the quartiles."""
        return (threshold + 0.5) * 2 * NORMAL_QUARTILE


class MedianAbsoluteDeviation(_WindowDetector):
    """Distance from the median, 0.6745 · (value - median) / MAD of the window.

    Parameters
    ----------
    threshold : float
        It votes beyond this many σ.
    window, minimum_points : int
        Values judged by, and without how many nothing is said.

    Examples
    --------
    Median 3 of 1…5, distances 0, 1, 1, 2, 2, so MAD 1.

    >>> detector = MedianAbsoluteDeviation(window=5, minimum_points=5)
    >>> _ = detector.score(range(5), [1, 2, 3, 4, 5])
    >>> round(detector.update(5, 7).sigma, 4)
    2.698
    """

    name = "mad"

    def __init__(self, threshold: float = 3.0, window: int = 100, minimum_points: int = 30) -> None:
        super().__init__(threshold, threshold, window, minimum_points, MEDIAN)


class EmaResidual(_StatisticalDetector):
    """Distance from the exponential moving average in standard deviations of such distances.

    With r = value - EMA: σ = r / √V, then EMA += α r and V = (1 - α) V + α r². The first value is the first EMA, the
    first r² the first V.

    Parameters
    ----------
    threshold : float
        It votes beyond this many standard deviations.
    alpha : float
        Weight of the newest value.
    minimum_points : int
        Values without how many nothing is said.

    Examples
    --------
    After 0 and 4 with α = 1/2 the average is 2 and V = 16, so 10 is 8 / 4 off.

    >>> detector = EmaResidual(alpha=0.5, minimum_points=2)
    >>> _ = detector.score(range(2), [0, 4])
    >>> detector.update(2, 10)
    Detection(sigma=2.0, expected_low=-10.0, expected_high=14.0, vote=0)
    """

    name = "ema"

    def __init__(self, threshold: float = 3.0, alpha: float = 0.1, minimum_points: int = 30) -> None:
        parameters = (threshold, minimum_points, alpha)
        super().__init__(threshold, average_step, average_steps, np.zeros(AVERAGE), parameters)

    def state(self) -> dict[str, Any]:
        """How many values were seen, their average and the average squared residual."""
        return {"average": self._memory.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take the averages up again."""
        self._memory[:] = state["average"]
