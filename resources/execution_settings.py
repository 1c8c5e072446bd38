"""Configuration of the paper execution.

Belongs here: its fields, bounds and what they mean to a reader. Does not belong here: the kernel's units
(``signal_assets/execution/folds``).
"""

from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, model_validator

from resources.strict_model import StrictModel

Share = Annotated[Decimal, Field(gt=0, le=1, decimal_places=8)]
"""A fraction above 0 and at most 1."""


class ExecutionSettings(StrictModel):
    """The paper broker and the limits of the strategies it trades for; fractions, not percent."""

    starting_balance: Decimal = Field(
        default=Decimal(10_000), gt=0, le=Decimal(10) ** 10, decimal_places=8, description="of each group's account"
    )
    account_currency: str = Field(
        default="FDUSD",
        pattern=r"^[A-Z0-9]*$",
        description="what the account is kept in; if nothing is quoted in it, the commonest quote of the group",
    )
    latency_milliseconds: int = Field(
        default=200, ge=0, le=60_000, description="from a decision to the first market data its order may meet"
    )
    slippage_cap: Decimal = Field(
        default=Decimal("0.005"),
        ge=0,
        lt=1,
        decimal_places=8,
        description="how far from the best price a market order may go; the rest is canceled",
    )
    position_size: Share = Field(
        default=Decimal("0.1"), description="share of the strategy's capital that a signal without a size puts at stake"
    )
    largest_position: Share = Field(
        default=Decimal("0.25"), description="largest holding of one instrument, as a share of the strategy's capital"
    )
    daily_loss_limit: Share = Field(
        default=Decimal("0.05"), description="loss of the capital that pauses a strategy until the next UTC day"
    )
    safety_stop: Share = Field(
        default=Decimal("0.1"), description="drawdown that flags a strategy for good and liquidates its positions"
    )
    maximum_holding_hours: float | None = Field(
        default=4.0, gt=0, le=24 * 365, description="age at which a position is closed; null: never for its age"
    )
    allow_short: bool = Field(default=True, description="more may be sold than is held")
    kill_switch: bool = Field(default=False, description="no new orders, all positions are liquidated")
    killed: tuple[str, ...] = Field(default=(), description="the kill switch for single strategies")
    weights: dict[str, Annotated[Decimal, Field(gt=0, le=1_000_000, decimal_places=8)]] | None = Field(
        default=None,
        min_length=1,
        description="strategies and their relative shares of the balance; null: all, equally",
    )

    @model_validator(mode="after")
    def _killed_are_deployed(self) -> Self:
        if self.weights is not None and (unknown := [name for name in self.killed if name not in self.weights]):
            raise ValueError(f"killed: {unknown[0]} is not among the weights")
        return self
