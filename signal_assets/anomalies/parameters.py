"""Parameters of the anomalies.

Belongs here: their defaults and bounds. Does not belong here: reading configuration (``resources/anomaly_settings``).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from signal_assets.anomalies.severity import SEVERITIES
from signal_assets.event_time import HOUR, MINUTE, SECOND

POSITIVE: Final = (
    "vpin_intervals",
    "keep_firing",
    "group_longest",
    "alerts_per_series",
    "alerts_per_group",
    "drift_every",
    "feedback_step",
    "z_score_threshold",
    "iqr_threshold",
    "mad_threshold",
    "novelty_threshold",
)
NOT_NEGATIVE: Final = ("pending", "cool_down", "group_tolerance")
EXCESS_MINIMUM_POINTS: Final = 60
USUALLY_SILENT: Final = ("volume", "spread", "imbalance", "trade_rate", "order_flow_imbalance", "vpin")
USUAL_EXCESS: Final = (
    ("return", 0.99, 4.0),
    ("mean_spread", 0.9, 4.0),
    ("wick", 0.98, 2.6),
    ("trade_burst", 0.9, 2.65),
    ("one_sided", 0.9, 1.75),
)
GROUPINGS: Final = ("instrument", "group")


@dataclass(frozen=True, slots=True)
class AnomalyParameters:
    """What is measured how often, when it is off, and what belongs together; times in µs.

    Parameters
    ----------
    features_grid : int
        Distance of two features rows: an interval without a gap holds ``metrics_interval / features_grid`` of them.
    metrics_interval : int
        Distance of two points of a series, a multiple of the features grid.
    vpin_intervals : int
        Intervals that VPIN is taken over.
    window : int
        Past values that z-score, IQR and MAD look at.
    minimum_points : int
        Past values without which a detector is still warming up.
    z_score_threshold, mad_threshold, ema_threshold : float
        A value votes beyond this many (robust) standard deviations.
    iqr_threshold : float
        A value votes beyond the quartiles by this many inter-quartile ranges.
    ema_alpha : float
        Weight of the newest value.
    votes : int
        Detectors that must find a value off on the same side.
    novelty_threshold : float
        Evidence from which the novelty detector votes.
    novelty_window : int
        Past values that each of its sources looks at.
    novelty_minimum_points : int
        Past values without which a source says nothing.
    excess : tuple of (str, float, float)
        Market features that the excess detector watches: quantile of the past magnitudes that is the usual high, and
        how many times as much it takes to vote.
    excess_window : int
        Past values it looks at.
    raising : tuple of str
        Names of the detectors whose votes are anomalies.
    alerting : tuple of str
        Those of them whose anomalies make incidents. Where the excess detector watches a series and is among them, no
        other makes any there.
    silent : tuple of str
        Market features whose anomalies make none, whoever finds them.
    severity_bounds : tuple of float
        Least distance in σ of LOW, MEDIUM and HIGH, and the distance beyond which it is CRITICAL.
    alert_severity : str
        From here on an anomaly of an alerting detector belongs to an incident and people are told of it.
    pending : int
        People are told of an incident that has lasted so long; 0: at once.
    keep_firing : int
        A series that was quiet for so long has its incident closed.
    cool_down : int
        Between two alerts of one series lies at least so much.
    group_by : str
        What incidents are grouped over: ``instrument``, or the ``group`` of instruments.
    group_tolerance : int
        Incidents that open less than this after another one of the scope was over belong to its group incident.
    group_longest : int
        A group incident takes in new members for so long.
    alerts_per_series, alerts_per_group : int
        At most so many alerts in 24 hours.
    drift_reference, drift_recent : int
        Values of a series that say what it was like, and those that are compared with them.
    drift_every : int
        They are compared at every so many values.
    drift_probability : float
        A distance that is less probable is a drift.
    correlation_window : int
        Points before a group incident over which series are correlated; half of them both must have.
    correlation_least : float
        Correlations nearer to zero are not reported.
    feedback_step, feedback_precision : float
        By how much a label moves a series' threshold, as a logarithm, and the share of alarms that shall be true.
    feedback_low, feedback_high : float
        Bounds of the factor by which a series' threshold is moved.

    Raises
    ------
    ValueError
        If a number leaves its range or two contradict each other.
    """

    features_grid: int = SECOND
    metrics_interval: int = 10 * SECOND
    vpin_intervals: int = 50
    window: int = 100
    minimum_points: int = 30
    z_score_threshold: float = 3.0
    iqr_threshold: float = 1.5
    mad_threshold: float = 3.0
    ema_threshold: float = 3.0
    ema_alpha: float = 0.1
    votes: int = 2
    novelty_threshold: float = 2.5
    novelty_window: int = 720
    novelty_minimum_points: int = 90
    excess: tuple[tuple[str, float, float], ...] = USUAL_EXCESS
    excess_window: int = 1_440
    raising: tuple[str, ...] = ("ensemble", "novelty", "excess")
    alerting: tuple[str, ...] = ("novelty", "excess")
    silent: tuple[str, ...] = USUALLY_SILENT
    severity_bounds: tuple[float, float, float, float] = (1.0, 2.0, 2.5, 3.0)
    alert_severity: str = "MEDIUM"
    pending: int = 0
    keep_firing: int = 5 * MINUTE
    cool_down: int = 5 * MINUTE
    group_by: str = "instrument"
    group_tolerance: int = 30 * SECOND
    group_longest: int = HOUR
    alerts_per_series: int = 24
    alerts_per_group: int = 200
    drift_reference: int = 720
    drift_recent: int = 180
    drift_every: int = 30
    drift_probability: float = 1e-6
    correlation_window: int = 60
    correlation_least: float = 0.5
    feedback_step: float = 0.25
    feedback_precision: float = 0.8
    feedback_low: float = 0.5
    feedback_high: float = 3.0

    def __post_init__(self) -> None:
        if self.features_grid <= 0 or self.metrics_interval <= 0 or self.metrics_interval % self.features_grid:
            raise ValueError(
                f"metrics_interval must be a multiple of the features grid, not {self.metrics_interval} µs "
                f"of {self.features_grid} µs"
            )
        for name in POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if not self.ema_threshold > 0 or not 0 < self.ema_alpha <= 1:
            raise ValueError(f"ema_threshold {self.ema_threshold} must be positive, ema_alpha {self.ema_alpha} in 0…1")
        if not 1 <= self.votes <= 4:
            raise ValueError(f"votes must lie in 1…4, not {self.votes}")
        if not 2 <= self.minimum_points <= self.window:
            raise ValueError(f"minimum_points must lie in 2…window ({self.window}), not {self.minimum_points}")
        if not 20 <= self.novelty_minimum_points <= self.novelty_window:
            raise ValueError(
                f"novelty_minimum_points must lie in 20…novelty_window ({self.novelty_window}), "
                f"not {self.novelty_minimum_points}"
            )
        if self.excess_window < EXCESS_MINIMUM_POINTS:
            raise ValueError(f"excess_window must be {EXCESS_MINIMUM_POINTS} or more, not {self.excess_window}")
        self._check_context()
        self._check_alerts()

    def _check_context(self) -> None:
        if not 2 <= self.drift_recent <= self.drift_reference:
            raise ValueError(
                f"drift_recent must lie in 2…drift_reference ({self.drift_reference}), not {self.drift_recent}"
            )
        for name in ("drift_probability", "feedback_precision"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must lie between 0 and 1, not at {getattr(self, name)}")
        if self.correlation_window < 4 or not 0 <= self.correlation_least <= 1:
            raise ValueError(
                f"correlation_window ({self.correlation_window}) must be 4 or more, correlation_least "
                f"({self.correlation_least}) in 0…1"
            )
        if not 0 < self.feedback_low <= 1 <= self.feedback_high:
            raise ValueError(
                f"feedback_low and feedback_high must lie on either side of 1, not at {self.feedback_low} and "
                f"{self.feedback_high}"
            )

    def _check_alerts(self) -> None:
        for name in NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")
        if silent := set(self.alerting) - set(self.raising):
            raise ValueError(f"alerting names {min(silent)!r}, whose votes are no anomalies: raising must name it too")
        if len(self.severity_bounds) != 4 or not all(low < high for low, high in pairwise((0, *self.severity_bounds))):
            raise ValueError(f"severity_bounds must be four positive ascending distances, not {self.severity_bounds}")
        if self.group_by not in GROUPINGS:
            raise ValueError(f"group_by must be one of {', '.join(GROUPINGS)}, not {self.group_by!r}")
        if self.alert_severity not in SEVERITIES:
            raise ValueError(f"alert_severity must be one of {', '.join(SEVERITIES)}, not {self.alert_severity!r}")
