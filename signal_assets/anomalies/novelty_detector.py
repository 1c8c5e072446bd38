"""The novelty detector: a value is off when it, or a mean up to it, is further from all it has been than is usual.

Belongs here: what it is and why. Does not belong here: its compiled steps (``novelty_steps``), many
series in one call (``novelty_panel``).

Seven sources look at each value x:

| source | distance |
| --- | --- |
| value | of x from the nearest of the past |
| residual | of x - EMA from the nearest such residual of the past; the EMA has α = 0.02 |
| mean_5, mean_10, mean_50 | of the mean up to x from the nearest such mean of the past |
| step | of x from the value before |
| earlier_days | of x from the nearest mean of the same half hour, or a neighbour of it, on the 14 days before |

1. **Novelty.** The past of a source is its newest ``window`` values. A distance from the nearest of them does not
   care where the value lies: a gap between two levels counts like the space outside all of them, and a spike that
   comes every day becomes less new each time.
2. **Rarity.** Each distance becomes -log10 of the probability of one so great or greater, by the distances of the
   same source in the past: the share above it in the bulk; beyond the 95 % quantile a generalized Pareto tail fitted
   by moments, its shape within 0…0.9, with five exceedances of an exponential tail assumed before any was seen.
3. **Evidence** is the cubic mean of the seven, (Σ e³ / 7)^(1/3), so that what one source finds very rare is heard
   though the others are silent; a source that knows nothing adds 0. It is smoothed with weight 1/2: what lasts counts
   more than what is gone with the next value.
4. **Vote.** The evidence votes where it is ≥ threshold · (1 + habit).
5. **Jump.** By itself votes a value that jumps: its distance from the mean of the five before it is -log10 p ≥
   ``jump_threshold`` · (1 + 0.15 burden) by the jumps of the past. Their tail is a generalized Pareto tail through the
   90, 98 and 99.6 % quantiles, its shape drawn towards an exponential by 20 pseudo-exceedances. So that what was off
   does not hide what is off next, a jump with -log10 p ≥ 2.75 is not remembered, unless 300 such come with hardly
   another between them, or jumps voted often: each vote after a pause adds 1 to the burden, which falls by half in
   1,440 values, and above 3 everything is remembered as it is.
6. **Alert.** A vote after ``cool_down`` values without one of its kind, and without an alert, is an alert. It raises
   the habit by ``strain``, and the habit falls by half in ``half_life`` values: a series that keeps raising alerts has
   to do more for the next one.
7. **Alike a day.** The thresholds are those of a value in five minutes (evidence) or a minute (jumps). Where values
   come f times as fast, log10 f (2 at most) is added to them, so that a day has as many chance alerts as before.

σ is the normal deviate of the probability of what was seen: of the evidence, by the evidence of the past, or of the
jump, whichever is rarer, doubled as there are two; signed by the side of the EMA on which x lies, or by the jump. The
expected band is the EMA plus the inner 99 % of past residuals: a picture of what is usual, not the vote's boundary.

Defined behaviour: NaN, ±∞ and what lies beyond ±1e100 are neither judged nor remembered; with fewer than
``minimum_points`` in a past its source says nothing, and σ is NaN until as many evidences are known, but for jumps that
vote; gaps matter to earlier days only, and count as four values at most where the pace of the series is taken; a
constant series makes any other value as rare as can be; a clock that jumps back finds the days it knows, and those
before them are not remembered. No use is made of a series' future, extremes or length.

Sources: Angiulli and Pizzuti (2002), Fast Outlier Detection in High Dimensional Spaces; Pickands (1975), generalized
Pareto tails, and quantiles that give their shape; Hosking and Wallis (1987), their moments; Fisher (1925), adding
logarithms of probabilities.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from signal_assets.anomalies.detector import Detection, Scores, series_values
from signal_assets.anomalies.novelty_steps import (
    JUDGED,
    POOLS,
    POOLS_AT,
    Reals,
    empty_memory,
    novelty_step,
    novelty_steps,
    pool_values,
    refill_pool,
)

SOURCE_NAMES: Final = ("value", "residual", "mean_5", "mean_10", "mean_50", "step", "earlier_days", "jump")
"""In the order in which their evidence is reported."""


class NoveltyScores(NamedTuple):
    """What the detector says of many values.

    Parameters
    ----------
    scores : Scores
        As every detector gives them.
    alerts : ndarray of float64
        Strength of the alert at each value, 0 where there is none: threshold times how many times over what it takes.
    evidence : ndarray of float64, shape (values, 8)
        -log10 of each source's probability, and of the jump's, in the order of SOURCE_NAMES.
    """

    scores: Scores
    alerts: NDArray[np.float64]
    evidence: NDArray[np.float64]


class NoveltyDetector:
    """Distance from everything the series has been; a :class:`~signal_assets.anomalies.detector.Detector`.

    Parameters
    ----------
    threshold : float
        Evidence, -log10 of a probability, from which it votes.
    window : int
        Newest values that each past holds; memory is 28 numbers a value. For windows of a day or less take a threshold
        of 2.5: a short past knows less of what is rare.
    minimum_points : int
        Without how many a past says nothing.
    cool_down : int
        Values without a vote of its kind, and without an alert, after which a vote is an alert.
    strain, half_life : float
        What an alert adds to the habit, and after how many values half of a habit is left.
    jump_threshold : float
        Evidence from which a jump votes by itself.

    Raises
    ------
    ValueError
        If a number leaves its range.

    Examples
    --------
    A series that swings between two levels; what lies between them is as new to it as what lies beyond.

    >>> detector = NoveltyDetector(window=500, minimum_points=50)
    >>> swings = np.where(np.arange(400) % 20 < 10, 1.0, 9.0) + np.random.default_rng(1).normal(0, 0.1, 400)
    >>> judged = detector.judge(np.arange(400) * 300_000_000, swings)
    >>> int((judged.alerts[100:] > 0).sum())
    0
    >>> detector.update(400 * 300_000_000, 5.0).vote
    -1
    """

    name: ClassVar[str] = "novelty"

    def __init__(
        self,
        threshold: float = 1.25,
        window: int = 5_000,
        minimum_points: int = 150,
        cool_down: int = 120,
        strain: float = 0.1,
        half_life: float = 4_000.0,
        jump_threshold: float = 6.0,
    ) -> None:
        if not 20 <= minimum_points <= window:
            raise ValueError(f"minimum_points must lie in 20…window ({window}), not {minimum_points}")
        if not (threshold > 0 and jump_threshold > 0 and cool_down >= 0 and strain >= 0 and half_life > 0):
            raise ValueError(
                f"threshold {threshold}, jump_threshold {jump_threshold} and half_life {half_life} must be positive, "
                f"cool_down {cool_down} and strain {strain} not negative"
            )
        self.threshold = threshold
        self._memory = empty_memory(window)
        self._parameters = np.array(
            [minimum_points, threshold, cool_down, strain, 0.5 ** (1 / half_life), jump_threshold]
        )
        self.evidence: Reals = np.zeros(len(SOURCE_NAMES))
        """Of the newest value: -log10 of each source's probability, in the order of SOURCE_NAMES."""

    @staticmethod
    def remember_together(detectors: Sequence["NoveltyDetector"]) -> tuple[Reals, Reals, Reals]:
        """Move what detectors remember to one array; returns their settings, the memories and the evidence, a row each.

        Raises
        ------
        ValueError
            If their settings differ.
        """
        parameters = detectors[0]._parameters
        memories = np.stack([detector._memory for detector in detectors])
        evidence = np.stack([detector.evidence for detector in detectors])
        for detector, memory, own in zip(detectors, memories, evidence, strict=True):
            if not np.array_equal(detector._parameters, parameters):
                raise ValueError("novelty detectors of different settings cannot be asked together")
            detector._memory, detector.evidence = memory, own
        return parameters, memories, evidence

    def update(self, time: int, value: float) -> Detection:
        """Judge the value, then remember it; NaN, ±∞ and what lies beyond ±1e100 are neither."""
        said = novelty_step(self._memory, self._parameters, time, value, self.evidence)
        probability, side, low, high, vote, _ = said
        return Detection(-side * float(ndtri(probability / 2)), low, high, int(vote * side))

    def score(self, times: ArrayLike, values: ArrayLike) -> Scores:
        """:meth:`update` for one value after the other, in one compiled loop."""
        return self.judge(times, values).scores

    def judge(self, times: ArrayLike, values: ArrayLike) -> NoveltyScores:
        """:meth:`score` with what stands behind it.

        Raises
        ------
        ValueError
            If ``times`` and ``values`` are not of one length.
        """
        numbers = series_values(times, values)
        rows = novelty_steps(self._memory, self._parameters, np.asarray(times, dtype=np.int64), numbers)
        probability, side, low, high, vote, alerts = rows[:, :JUDGED].T
        scores = Scores(-side * ndtri(probability / 2), low, high, (vote * side).astype(np.int64))
        if len(rows):
            self.evidence[:] = rows[-1, JUDGED:]
        return NoveltyScores(scores, alerts, rows[:, JUDGED:])

    def state(self) -> dict[str, Any]:
        """Averages, habit, the newest values, earlier days, and every past, oldest first."""
        return {
            "rest": self._memory[:POOLS_AT].copy(),
            "pools": [pool_values(self._memory, number) for number in range(POOLS)],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._memory[:POOLS_AT] = state["rest"]
        for number, values in enumerate(state["pools"]):
            refill_pool(self._memory, number, values)

    def reasons(self) -> dict[str, float]:
        """Evidence of each source that says anything of the newest value; see ``Explaining``."""
        return {name: said for name, said in zip(SOURCE_NAMES, self.evidence.tolist(), strict=True) if said > 0}
