"""What may be configured of the anomalies."""

from itertools import pairwise
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from resources.strict_model import StrictModel

MARKET_FEATURES: Final = (
    "return",
    "volume",
    "spread",
    "imbalance",
    "trade_rate",
    "order_flow_imbalance",
    "vpin",
    "mean_spread",
    "wick",
    "trade_burst",
    "one_sided",
)
"""Those of ``signal_assets/anomalies/series``, which nothing on this floor may import; a test holds them together."""


def _market_feature(name: str) -> str:
    if name not in MARKET_FEATURES:
        raise ValueError(f"{name!r} is no market feature: there are {', '.join(MARKET_FEATURES)}")
    return name


MarketFeature = Annotated[
    str, AfterValidator(_market_feature), WithJsonSchema({"type": "string", "enum": list(MARKET_FEATURES)})
]
"""Its name; one that is misspelt must not be ignored."""


class ExcessLimit(StrictModel):
    """What is too much of a market feature."""

    quantile: float = Field(default=0.9, gt=0, lt=1, description="of its past magnitudes: the usual high")
    times: float = Field(gt=0, le=1_000, description="so many times the usual high is too much, a value a minute")


def _usual_limits() -> dict[str, ExcessLimit]:
    return {
        "return": ExcessLimit(quantile=0.99, times=4.0),
        "mean_spread": ExcessLimit(times=4.0),
        "wick": ExcessLimit(quantile=0.98, times=2.6),
        "trade_burst": ExcessLimit(times=2.65),
        "one_sided": ExcessLimit(times=1.75),
    }


class AnomalySettings(StrictModel):
    """Market series, detectors, severities and incidents."""

    metrics_interval_seconds: int = Field(
        default=10, ge=1, le=3_600, description="distance of two points of a series; a multiple of the features grid"
    )
    vpin_intervals: int = Field(default=50, ge=1, le=1_000, description="intervals that VPIN is taken over")
    window: int = Field(default=100, ge=4, le=10_000, description="past points that z-score, IQR and MAD look at")
    minimum_points: int = Field(default=30, ge=2, le=10_000, description="fewer are warming up; at most the window")
    z_score_threshold: float = Field(default=3.0, gt=0, le=100, description="standard deviations")
    iqr_threshold: float = Field(default=1.5, gt=0, le=100, description="inter-quartile ranges beyond the quartiles")
    mad_threshold: float = Field(default=3.0, gt=0, le=100, description="median absolute deviations / 0.6745")
    ema_threshold: float = Field(default=3.0, gt=0, le=100, description="standard deviations of the residuals")
    ema_alpha: float = Field(default=0.1, gt=0, le=1, description="weight of the newest value")
    votes: int = Field(default=2, ge=1, le=4, description="detectors that must agree")
    novelty_threshold: float = Field(
        default=2.5, gt=0, le=12, description="evidence from which the novelty detector votes, -log10 of a probability"
    )
    novelty_window: int = Field(default=720, ge=20, le=20_000, description="past points that its sources look at")
    novelty_minimum_points: int = Field(
        default=90, ge=20, le=20_000, description="fewer in a source's past: it is warming up; at most its window"
    )
    excess: dict[MarketFeature, ExcessLimit] = Field(
        default_factory=_usual_limits, description="market features that the excess detector watches"
    )
    excess_window: int = Field(default=1_440, ge=60, le=100_000, description="past points that it looks at")
    raising: tuple[str, ...] = Field(
        default=("ensemble", "novelty", "excess"),
        description="detectors whose votes are anomalies; a plug-in may be among them",
    )
    alerting: tuple[str, ...] = Field(
        default=("novelty", "excess"),
        description="those of them whose anomalies make incidents, of which people are told",
    )
    silent: tuple[MarketFeature, ...] = Field(
        default=("volume", "spread", "imbalance", "trade_rate", "order_flow_imbalance", "vpin"),
        description="market features whose anomalies are recorded, but make no incidents",
    )
    plug_ins: tuple[str, ...] | None = Field(
        default=None,
        description="detectors of other packages to ask, each of which must be installed; null: whichever are",
    )
    severity_low: float = Field(default=1.0, gt=0, le=100, description="least distance of LOW, in σ")
    severity_medium: float = Field(default=2.0, gt=0, le=100, description="least distance of MEDIUM, in σ")
    severity_high: float = Field(default=2.5, gt=0, le=100, description="least distance of HIGH, in σ")
    severity_critical: float = Field(default=3.0, gt=0, le=100, description="CRITICAL lies beyond this distance, in σ")
    alert_severity: Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"] = Field(
        default="MEDIUM", description="from here on people are told"
    )
    pending_seconds: int = Field(
        default=0, ge=0, le=86_400, description="people are told of an incident that has lasted so long"
    )
    keep_firing_seconds: int = Field(
        default=300, ge=1, le=86_400, description="a series quiet for so long has its incident closed"
    )
    cool_down_seconds: int = Field(
        default=300, ge=0, le=86_400, description="least distance of two alerts of one series"
    )
    group_by: Literal["instrument", "group"] = Field(
        default="instrument", description="what incidents are grouped over; people are told once of each group incident"
    )
    group_tolerance_seconds: int = Field(
        default=30, ge=0, le=86_400, description="opened so soon after another was over, an incident belongs to it"
    )
    group_longest_seconds: int = Field(
        default=3_600, ge=1, le=86_400, description="a group incident takes in further incidents for so long"
    )
    alerts_per_series: int = Field(default=24, ge=1, le=10_000, description="at most so many alerts in 24 hours")
    alerts_per_group: int = Field(
        default=200, ge=1, le=100_000, description="at most so many alerts of a group of instruments in 24 hours"
    )
    drift_reference_points: int = Field(
        default=720, ge=2, le=20_000, description="points that say what a series was like"
    )
    drift_recent_points: int = Field(
        default=180, ge=2, le=20_000, description="newest points, compared with them; at most as many"
    )
    drift_every_points: int = Field(
        default=30, ge=1, le=10_000, description="they are compared at every so many points"
    )
    drift_probability: float = Field(
        default=1e-6, gt=0, lt=1, description="a difference that is less probable without drift is a drift"
    )
    correlation_window_points: int = Field(
        default=60, ge=4, le=10_000, description="points before a group incident over which series are correlated"
    )
    correlation_least: float = Field(default=0.5, ge=0, le=1, description="correlations nearer to zero are left out")
    feedback_step: float = Field(
        default=0.25, gt=0, le=1, description="by how much a label moves a series' threshold, as a logarithm"
    )
    feedback_precision: float = Field(default=0.8, gt=0, lt=1, description="share of alarms that shall be true")
    feedback_low: float = Field(default=0.5, gt=0, le=1, description="least factor of a series' threshold")
    feedback_high: float = Field(default=3.0, ge=1, le=100, description="greatest factor of a series' threshold")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        bounds = (self.severity_low, self.severity_medium, self.severity_high, self.severity_critical)
        if not all(low < high for low, high in pairwise(bounds)):
            raise ValueError("severity_low, severity_medium, severity_high and severity_critical must ascend")
        if self.drift_recent_points > self.drift_reference_points:
            raise ValueError(
                f"drift_recent_points ({self.drift_recent_points}) must not exceed drift_reference_points "
                f"({self.drift_reference_points})"
            )
        if self.minimum_points > self.window:
            raise ValueError(f"minimum_points ({self.minimum_points}) must not exceed window ({self.window})")
        if self.novelty_minimum_points > self.novelty_window:
            raise ValueError(
                f"novelty_minimum_points ({self.novelty_minimum_points}) must not exceed novelty_window "
                f"({self.novelty_window})"
            )
        if silent := set(self.alerting) - set(self.raising):
            raise ValueError(f"alerting names {min(silent)!r}, which raising does not")
        return self
