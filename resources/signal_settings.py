"""Configuration of the signals: what passes, how long it lives, how market conditions are measured.

The dynamic thresholds' defaults and bounds stand with learning (``learning_settings``), which moves them.
"""

import math
from typing import Self

from pydantic import Field, model_validator

from resources.strict_model import StrictModel


class ConfidenceWeightSettings(StrictModel):
    """How much each factor of a signal's confidence counts; together 1."""

    risk_reward: float = Field(default=0.25, ge=0, le=1)
    recent_performance: float = Field(default=0.20, ge=0, le=1)
    atr_environment: float = Field(default=0.15, ge=0, le=1)
    volatility_regime: float = Field(default=0.15, ge=0, le=1)
    time_of_day: float = Field(default=0.10, ge=0, le=1)
    market_session: float = Field(default=0.10, ge=0, le=1)
    correlation: float = Field(default=0.05, ge=0, le=1)

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        total = math.fsum(self.model_dump().values())
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            raise ValueError(f"the weights add up to {total:g}, not to 1")
        return self


class SignalSettings(StrictModel):
    """Validation, confidence and de-duplication of signals."""

    expiry_seconds: int = Field(default=60, ge=1, le=86_400, description="nobody should act on a signal after this")
    minimum_mean_score: float = Field(
        default=0.7, ge=0, lt=1, description="the mean of the six checks must lie above this"
    )
    duplicate_minutes: int = Field(
        default=15, ge=1, le=1_440, description="one signal per pair, timeframe, strategy and action in this time"
    )
    anomaly_seconds: int = Field(
        default=60, ge=1, le=3_600, description="an anomaly up to this old lends a signal its severity"
    )
    other_signals_minutes: int = Field(
        default=5, ge=1, le=1_440, description="other signals younger than this support or contradict"
    )
    weights: ConfidenceWeightSettings = ConfidenceWeightSettings()
    minimum_reward_to_risk: float = Field(
        default=1.5, gt=0, le=100, description="distance to the target over distance to the stop for full marks"
    )
    trending: float = Field(default=0.7, ge=0, lt=1, description="trend strength above which a market is trending")
    volatile: float = Field(default=0.8, ge=0, lt=1, description="rank of volatility above which a market is volatile")
    correlated: float = Field(
        default=0.5, ge=0, lt=1, description="absolute correlation from which signals on another instrument count"
    )
    volatility_minutes: int = Field(default=20, ge=2, le=1_440, description="window of the current volatility")
    volatility_history_minutes: int = Field(default=240, ge=3, le=10_080, description="what it is ranked in")
    least_history_minutes: int = Field(
        default=60, ge=3, le=10_080, description="known minutes without which volatility is unknown"
    )
    trend_minutes: int = Field(default=30, ge=2, le=1_440, description="window of the efficiency ratio")
    range_minutes: int = Field(default=14, ge=2, le=1_440, description="window of the average range")
    correlation_minutes: int = Field(default=60, ge=3, le=1_440, description="window of correlations")

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        if not max(self.volatility_minutes, self.range_minutes) < self.least_history_minutes:
            raise ValueError("least_history_minutes must exceed volatility_minutes and range_minutes")
        if max(self.least_history_minutes, self.trend_minutes) > self.volatility_history_minutes:
            raise ValueError("volatility_history_minutes must hold least_history_minutes and trend_minutes")
        return self
