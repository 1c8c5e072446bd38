"""What may be configured of the strategies.

Belongs here: fields with their bounds, in the units a person writes. Does not belong here: what strategies make of them
(``signal_assets/strategies/folds``).
"""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from resources.strict_model import StrictModel

ExactFraction = Annotated[Decimal, Field(gt=0, lt=1, decimal_places=8)]
ExactAmount = Annotated[Decimal, Field(gt=0, le=10**10, decimal_places=8)]
Timeframe = Literal["1m", "5m", "15m", "1h", "4h"]


class TriangularArbitrageSettings(StrictModel):
    """Three trades that end in the currency they began with."""

    start_currencies: tuple[str, ...] = Field(
        default=("FDUSD", "USDT", "USDC", "USD", "EUR"),
        min_length=1,
        description="a cycle begins with the first of these that is in it; one without any is left alone",
    )
    start_amount: ExactAmount = Field(default=Decimal(1_000), description="what a cycle begins with, in that currency")
    profit_threshold: ExactFraction = Field(
        default=Decimal("0.0005"), description="profit after fees that must be exceeded, fraction of what was put in"
    )

    @model_validator(mode="after")
    def _each_currency_once(self) -> Self:
        if len(set(self.start_currencies)) < len(self.start_currencies):
            raise ValueError(f"a start currency stands there twice: {', '.join(self.start_currencies)}")
        return self


class MomentumRiderSettings(StrictModel):
    """Goes with a move that is large against what the last bars would make one expect."""

    return_bars: int = Field(default=20, ge=1, le=1_440, description="minute bars of the return that is scored")
    volatility_bars: int = Field(default=100, ge=2, le=1_440, description="minute bars of volatility and mean volume")
    threshold: float = Field(default=1.5, gt=0, description="least absolute score that fires")
    stop: ExactFraction = Field(
        default=Decimal("0.02"), description="distance of the stop, fraction of the entry price"
    )
    target: ExactFraction = Field(
        default=Decimal("0.03"), description="distance of the target, fraction of the entry price"
    )
    volume_multiple: float = Field(default=1.5, gt=0, description="volume confirms from this multiple of its mean on")
    unconfirmed_factor: float = Field(
        default=0.8, ge=0, le=1, description="the confidence is multiplied with this where volume does not confirm"
    )

    @model_validator(mode="after")
    def _the_return_fits_the_window(self) -> Self:
        if self.return_bars > self.volatility_bars:
            raise ValueError(
                f"return_bars ({self.return_bars}) must not exceed volatility_bars ({self.volatility_bars})"
            )
        return self


class MovingAverageCrossoverSettings(StrictModel):
    """Goes with the fast average when it crosses the slow one."""

    average: Literal["sma", "ema", "wma"] = Field(default="sma", description="simple, exponential or linearly weighted")
    fast_bars: int = Field(default=9, ge=1, le=10_000, description="bars of the fast average")
    slow_bars: int = Field(default=21, ge=2, le=10_000, description="bars of the slow average")
    timeframes: tuple[Timeframe, ...] = Field(default=("1m", "5m", "15m", "1h", "4h"), min_length=1)
    atr_bars: int = Field(default=14, ge=1, le=10_000, description="bars of the average true range (Wilder)")
    stop_ranges: float = Field(default=1.5, gt=0, description="distance of the stop, average true ranges")
    target_ranges: float = Field(default=3.0, gt=0, description="distance of the target, average true ranges")

    @model_validator(mode="after")
    def _averages_and_timeframes_differ(self) -> Self:
        if self.fast_bars >= self.slow_bars:
            raise ValueError(f"fast_bars ({self.fast_bars}) must be less than slow_bars ({self.slow_bars})")
        if len(set(self.timeframes)) < len(self.timeframes):
            raise ValueError(f"a timeframe stands there twice: {', '.join(self.timeframes)}")
        return self


class StrategySettings(StrictModel):
    """One section per strategy."""

    triangular_arbitrage: TriangularArbitrageSettings = TriangularArbitrageSettings()
    momentum_rider: MomentumRiderSettings = MomentumRiderSettings()
    moving_average_crossover: MovingAverageCrossoverSettings = MovingAverageCrossoverSettings()
