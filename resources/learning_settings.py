"""Configuration of what is learned: regimes, the daily threshold rule, recent performance."""

from typing import Self

from pydantic import Field, model_validator

from resources.strict_model import StrictModel


class ThresholdSettings(StrictModel):
    """First value of a dynamic threshold, and the bounds it stays within."""

    default: float = Field(gt=0)
    low: float = Field(gt=0)
    high: float = Field(gt=0)

    @model_validator(mode="after")
    def _default_lies_within(self) -> Self:
        if not self.low <= self.default <= self.high:
            raise ValueError("low <= default <= high must hold")
        return self


class LearningSettings(StrictModel):
    """What kind of day it was, and how the thresholds follow the signals, one step per closed day."""

    volatile_above: float = Field(
        default=0.03, gt=0, description="a day is volatile above this standard deviation of log returns per day"
    )
    trending_above: float = Field(
        default=0.065, gt=0, lt=1, description="a day is trending above this efficiency ratio"
    )
    min_signal_quality: ThresholdSettings = ThresholdSettings(default=0.1, low=0.02, high=0.5)
    opportunity_threshold: ThresholdSettings = ThresholdSettings(default=0.05, low=0.01, high=0.25)
    volatility_multiplier: ThresholdSettings = ThresholdSettings(default=3.0, low=1.0, high=6.0)
    trend_multiplier: ThresholdSettings = ThresholdSettings(default=2.0, low=1.0, high=4.0)
    confident_above: float = Field(default=0.7, ge=0, le=1, description="a signal is confident above this")
    high_share: float = Field(default=0.8, ge=0, le=1, description="share of confident signals above which to loosen")
    low_share: float = Field(default=0.5, ge=0, le=1, description="share of confident signals below which to tighten")
    loosen: float = Field(default=0.95, gt=0, le=1, description="factor of one loosening step")
    tighten: float = Field(default=1.05, ge=1, le=2, description="factor of one tightening step")
    recent_days: int = Field(default=30, ge=1, le=365, description="days that recent performance looks back")

    @model_validator(mode="after")
    def _shares_are_in_order(self) -> Self:
        if self.low_share > self.high_share:
            raise ValueError("low_share must not be above high_share")
        return self
