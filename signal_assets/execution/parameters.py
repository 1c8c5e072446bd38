"""Parameters of the paper execution.

Belongs here: their defaults and bounds, and how the starting balance is shared out. Does not belong here: reading
configuration (``resources/execution_settings``) or what is done with them (the machine).
"""

from dataclasses import dataclass
from typing import Final

from signal_assets.event_time import HOUR, MILLISECOND
from signal_assets.fixed_point import SCALE
from signal_assets.strategies.tables import STRATEGIES

EQUAL_WEIGHTS: Final = tuple((strategy, 1) for strategy in STRATEGIES)


@dataclass(frozen=True, slots=True)
class ExecutionParameters:
    """What the account may do; money and fractions in units of 1e-8, durations in µs.

    Parameters
    ----------
    starting_balance : int
        What the account of each group begins with, in the account's currency.
    account_currency : str
        If it is not the quote of any instrument of the group: the quote that most of them have.
    latency : int
        From a decision to the first market data its order may meet.
    slippage_cap : int
        A market order takes no level further than this fraction from the best price at the moment of the fill.
    position_size, largest_position : int
        What a signal without a size puts at stake, and the most that may be held of one instrument, as fractions of
        the strategy's capital.
    daily_loss_limit : int
        A loss since the day's start of this fraction of the capital pauses the strategy until the next UTC day.
    safety_stop : int
        A drawdown of this fraction from the highest equity so far (at first the capital) flags the strategy for good.
    maximum_holding : int or None
        A position is closed when it is this old; None: never for its age.
    allow_short : bool
        Whether more may be sold than is held.
    kill_switch : bool
        No new orders; all positions are liquidated.
    killed : tuple of str
        The same for single strategies.
    weights : tuple of (str, int)
        The strategies that are deployed, and each one's relative share of the starting balance.

    Raises
    ------
    ValueError
        If a value is out of its bounds, or ``killed`` names a strategy that is not deployed.

    Examples
    --------
    >>> ExecutionParameters(weights=(("momentum_rider", 3), ("triangular_arbitrage", 1))).capital("momentum_rider")
    750000000000
    """

    starting_balance: int = 10_000 * SCALE
    account_currency: str = "FDUSD"
    latency: int = 200 * MILLISECOND
    slippage_cap: int = SCALE // 200
    position_size: int = SCALE // 10
    largest_position: int = SCALE // 4
    daily_loss_limit: int = SCALE // 20
    safety_stop: int = SCALE // 10
    maximum_holding: int | None = 4 * HOUR
    allow_short: bool = True
    kill_switch: bool = False
    killed: tuple[str, ...] = ()
    weights: tuple[tuple[str, int], ...] = EQUAL_WEIGHTS

    def __post_init__(self) -> None:
        if self.starting_balance <= 0:
            raise ValueError(f"starting_balance must be positive, not {self.starting_balance}")
        if self.latency < 0:
            raise ValueError(f"latency must not be negative, not {self.latency} µs")
        if not 0 <= self.slippage_cap < SCALE:
            raise ValueError(f"slippage_cap must lie in 0…1, not {self.slippage_cap / SCALE}")
        for name in ("position_size", "largest_position", "daily_loss_limit", "safety_stop"):
            if not 0 < getattr(self, name) <= SCALE:
                raise ValueError(f"{name} must lie above 0 and not above 1, not {getattr(self, name) / SCALE}")
        if self.maximum_holding is not None and self.maximum_holding <= 0:
            raise ValueError(f"maximum_holding must be positive, not {self.maximum_holding} µs")
        names = self.strategies
        if len(set(names)) < len(names) or any(weight <= 0 for _, weight in self.weights):
            raise ValueError(f"weights must name each strategy once, with a positive weight: {self.weights}")
        if unknown := [name for name in self.killed if name not in names]:
            raise ValueError(f"killed: {unknown[0]} is not deployed")

    @property
    def strategies(self) -> tuple[str, ...]:
        """Names of the strategies that are deployed."""
        return tuple(name for name, _ in self.weights)

    def capital(self, strategy: str) -> int:
        """The strategy's share of the starting balance, rounded down to 1e-8."""
        return self.starting_balance * dict(self.weights)[strategy] // sum(weight for _, weight in self.weights)
