"""Parameters of the accounts and of what is said about them.

Belongs here: their defaults and bounds. Does not belong here: reading configuration (``folds``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from signal_assets.event_time import DAY
from signal_assets.execution.parameters import ExecutionParameters

PORTFOLIO: Final = "portfolio"
"""Name of the account of all strategies together."""

_ACCOUNT: Final = ExecutionParameters()


@dataclass(frozen=True, slots=True)
class AlertRule:
    """A metric beyond a threshold.

    Parameters
    ----------
    name : str
        Name of the rule.
    metric : str
        What it looks at.
    beyond : str
        ``above`` or ``below`` the threshold is an alert; the threshold itself is not.
    scopes : tuple of str
        For which scopes of ``performance.metrics`` it holds.
    minimum_days, minimum_trades : int
        A record that is shorter is not judged.
    """

    name: str
    metric: str
    beyond: Literal["above", "below"]
    threshold: float
    severity: Literal["warning", "critical"]
    scopes: tuple[str, ...] = ("strategy", "portfolio")
    minimum_days: int = 0
    minimum_trades: int = 0


def alert_rules(
    *,
    maximum_drawdown: float = 0.10,
    maximum_daily_loss: float = 0.05,
    minimum_sharpe_ratio: float = 0.0,
    minimum_win_rate: float = 0.35,
    minimum_profit_factor: float = 1.0,
    underperformer_probability: float = 0.05,
    minimum_days: int = 30,
    minimum_trades: int = 30,
) -> tuple[AlertRule, ...]:
    """Rules in the order in which they are reported: breached limits, thresholds, underperformers.

    Parameters
    ----------
    maximum_drawdown, maximum_daily_loss : float
        Limits, fractions of the equity; the drawdown is the present one.
    underperformer_probability : float
        A strategy is an underperformer when the probability that its true Sharpe ratio is above zero is below this.
    """
    everything = ("strategy", "instrument", "portfolio")

    def by_trades(name: str, metric: str, threshold: float) -> AlertRule:
        return AlertRule(name, metric, "below", threshold, "warning", everything, minimum_trades=minimum_trades)

    return (
        AlertRule("drawdown_limit", "drawdown", "above", maximum_drawdown, "critical"),
        AlertRule("daily_loss_limit", "day_return", "below", -maximum_daily_loss, "critical"),
        AlertRule(
            "low_sharpe_ratio", "sharpe_ratio", "below", minimum_sharpe_ratio, "warning", minimum_days=minimum_days
        ),
        by_trades("low_win_rate", "win_rate", minimum_win_rate),
        by_trades("low_profit_factor", "profit_factor", minimum_profit_factor),
        AlertRule(
            "underperformer",
            "probabilistic_sharpe_ratio",
            "below",
            underperformer_probability,
            "warning",
            ("strategy",),
            minimum_days,
        ),
    )


def start_capital(execution: ExecutionParameters) -> dict[str, int]:
    """What each deployed strategy begins with.

    Examples
    --------
    >>> set(start_capital(ExecutionParameters(starting_balance=300)).values())
    {100}
    """
    return {strategy: execution.capital(strategy) for strategy in execution.strategies}


@dataclass(frozen=True, slots=True)
class PerformanceParameters:
    """What the accounts begin with, and how far back they are judged; money in units of 1e-8.

    Parameters
    ----------
    account_currency : str
        What all money of the performance tables is in, if an instrument of the group is quoted in it.
    starting_balance : int
        What the portfolio begins with; what no strategy was given lies idle.
    start_capital : mapping of str to int
        What each strategy begins with: starting balance x weight. A strategy that is not named begins with nothing.
    look_back : int
        How far back metrics look, µs.
    rules : tuple of AlertRule
        What is alerted.

    Raises
    ------
    ValueError
        If a capital is negative, the strategies are given more than there is, or the look-back is shorter than a day.
    """

    account_currency: str = _ACCOUNT.account_currency
    starting_balance: int = _ACCOUNT.starting_balance
    start_capital: Mapping[str, int] = field(default_factory=lambda: start_capital(_ACCOUNT))
    look_back: int = 365 * DAY
    rules: tuple[AlertRule, ...] = field(default_factory=alert_rules)

    def __post_init__(self) -> None:
        if min(self.start_capital.values(), default=0) < 0:
            raise ValueError(f"start_capital must not be negative: {dict(self.start_capital)}")
        if sum(self.start_capital.values()) > self.starting_balance:
            raise ValueError(f"start_capital is more than the starting balance: {dict(self.start_capital)}")
        if self.look_back < DAY:
            raise ValueError(f"look_back must be at least a day, not {self.look_back} µs")
