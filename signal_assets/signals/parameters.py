"""Parameters of the signals: how long they live, what passes, how conditions are measured.

Belongs here: defaults and bounds, in the kernels' units. Does not belong here: reading configuration
(``resources/signal_settings``), or numbers that nobody may change (beside the check that uses them).
"""

import math
from dataclasses import astuple, dataclass, fields

from signal_assets.event_time import MINUTE, SECOND


@dataclass(frozen=True, slots=True)
class ThresholdBounds:
    """A dynamic threshold: what it is until something has been learned, and between what it may be learned.

    Raises
    ------
    ValueError
        Unless ``0 < low <= default <= high``.
    """

    default: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.default <= self.high < math.inf:
            raise ValueError(f"a threshold's bounds must be positive and hold its default: {self}")


@dataclass(frozen=True, slots=True)
class ConfidenceWeights:
    """How much each of the seven factors counts.

    Raises
    ------
    ValueError
        If one is negative or they do not add up to 1.
    """

    risk_reward: float = 0.25
    recent_performance: float = 0.20
    atr_environment: float = 0.15
    volatility_regime: float = 0.15
    time_of_day: float = 0.10
    market_session: float = 0.10
    correlation: float = 0.05

    def __post_init__(self) -> None:
        weights = astuple(self)
        if not (min(weights) >= 0 and math.isclose(math.fsum(weights), 1.0, abs_tol=1e-9)):
            raise ValueError(f"confidence weights must not be negative and add up to 1, not {weights}")


@dataclass(frozen=True, slots=True)
class SignalParameters:
    """What a proposal must be worth to become a signal; durations in µs, windows of conditions in minutes.

    Parameters
    ----------
    expiry : int
        A signal may be acted on for so long after its event time.
    minimum_mean_score : float
        The mean of the six checks must lie above it.
    duplicate_window : int
        A validated signal holds its slot for so long.
    anomaly_window : int
        An anomaly up to this old lends a signal its severity.
    other_signals_window : int
        Other signals younger than this support or contradict.
    min_signal_quality : ThresholdBounds
        Least confidence in a calm market, see :meth:`signal_assets.signals.thresholds.Thresholds.minimum_quality`.
    opportunity_threshold : ThresholdBounds
        Least expected edge, see :func:`signal_assets.signals.thresholds.expected_edge`.
    volatility_multiplier, trend_multiplier : ThresholdBounds
        Sensitivity in the most volatile and in a perfectly trending market; 1 in a calm one, so never below 1.
    weights : ConfidenceWeights
        Of the seven factors.
    minimum_reward_to_risk : float
        Distance to the target over distance to the stop that earns full marks.
    trending, volatile : float
        Trend strength and volatility above which a market is called so.
    correlated : float
        Least absolute correlation at which a signal on another instrument has a say.
    volatility_window, volatility_history, least_history : int
        Minutes of the current volatility, of what it is ranked in, and known minutes without which nothing is said.
    trend_window, range_window, correlation_window : int
        Minutes of the efficiency ratio, of the average range, of correlations.

    Raises
    ------
    ValueError
        If a duration is not positive, a score or mark lies outside its range, or windows do not fit into each other.
    """

    expiry: int = 60 * SECOND
    minimum_mean_score: float = 0.7
    duplicate_window: int = 15 * MINUTE
    anomaly_window: int = 60 * SECOND
    other_signals_window: int = 5 * MINUTE
    min_signal_quality: ThresholdBounds = ThresholdBounds(0.1, 0.02, 0.5)
    opportunity_threshold: ThresholdBounds = ThresholdBounds(0.05, 0.01, 0.25)
    volatility_multiplier: ThresholdBounds = ThresholdBounds(3.0, 1.0, 6.0)
    trend_multiplier: ThresholdBounds = ThresholdBounds(2.0, 1.0, 4.0)
    weights: ConfidenceWeights = ConfidenceWeights()
    minimum_reward_to_risk: float = 1.5
    trending: float = 0.7
    volatile: float = 0.8
    correlated: float = 0.5
    volatility_window: int = 20
    volatility_history: int = 240
    least_history: int = 60
    trend_window: int = 30
    range_window: int = 14
    correlation_window: int = 60

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type is int and getattr(self, field.name) < 2:
                raise ValueError(f"{field.name} must be at least 2, not {getattr(self, field.name)}")
        for name in ("minimum_mean_score", "trending", "volatile", "correlated"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), not {getattr(self, name)}")
        if not 0 < self.minimum_reward_to_risk < math.inf:
            raise ValueError(f"minimum_reward_to_risk must be positive, not {self.minimum_reward_to_risk}")
        for name in ("volatility_multiplier", "trend_multiplier"):
            if getattr(self, name).low < 1:
                raise ValueError(f"{name} must not fall below 1, its lower bound is {getattr(self, name).low}")
        if not max(self.volatility_window, self.range_window) < self.least_history <= self.volatility_history:
            raise ValueError("least_history must exceed volatility_window and range_window, not volatility_history")
        if self.trend_window > self.volatility_history:
            raise ValueError("trend_window must not exceed volatility_history")

    @property
    def minutes_kept(self) -> int:
        """Minute closes an instrument needs: one before the longest window, and the minute that is not over."""
        return max(self.volatility_history, self.correlation_window) + 2
