"""Parameters of what is learned.

Belongs here: their defaults and bounds. Does not belong here: reading configuration (``derivations``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from signal_assets.event_time import DAY


@dataclass(frozen=True, slots=True)
class DynamicThreshold:
    """Where a dynamic threshold begins and how far it may go.

    Parameters
    ----------
    default, low, high : float
        First value and bounds.
    demands : bool
        Whether it says how much is demanded of a signal: then the daily rule steps it.

    Raises
    ------
    ValueError
        If the default lies outside the bounds, or the lower one is not positive.
    """

    default: float
    low: float
    high: float
    demands: bool

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.default <= self.high:
            raise ValueError(f"0 < low <= default <= high does not hold: {self}")

    def within(self, value: float) -> float:
        """The value, brought within the bounds."""
        return min(max(value, self.low), self.high)


def dynamic_thresholds() -> dict[str, DynamicThreshold]:
    """The four thresholds with their defaults, in the order of their rows."""
    return {
        "min_signal_quality": DynamicThreshold(0.1, 0.02, 0.5, demands=True),
        "opportunity_threshold": DynamicThreshold(0.05, 0.01, 0.25, demands=True),
        "volatility_multiplier": DynamicThreshold(3.0, 1.0, 6.0, demands=False),
        "trend_multiplier": DynamicThreshold(2.0, 1.0, 4.0, demands=False),
    }


@dataclass(frozen=True, slots=True)
class LearningParameters:
    """Regimes, the daily threshold rule, recent performance.

    Parameters
    ----------
    volatile_above : float
        A day is volatile when its volatility (standard deviation of log returns per day) is above this.
    trending_above : float
        A day is trending when its efficiency ratio is above this. The default is what the one-minute steps of a random
        walk without drift exceed on one day out of twenty: |Z| √(π/2) / √1440 at |Z| = 1.96.
    thresholds : mapping of str to DynamicThreshold
        Dynamic thresholds by name.
    confident_above : float
        A signal is confident when its confidence is above this.
    high_share, low_share : float
        Shares of confident signals above and below which the rule steps.
    loosen, tighten : float
        Factors of one step.
    recent : int
        How far back recent performance looks, µs.
    prior_wins, prior_trades : int
        What the win rate is shrunk with: (wins + prior_wins) / (trades + prior_trades).

    Raises
    ------
    ValueError
        If shares or factors are out of order, or a look-back is not positive.
    """

    volatile_above: float = 0.03
    trending_above: float = 0.065
    thresholds: Mapping[str, DynamicThreshold] = field(default_factory=dynamic_thresholds)
    confident_above: float = 0.7
    high_share: float = 0.8
    low_share: float = 0.5
    loosen: float = 0.95
    tighten: float = 1.05
    recent: int = 30 * DAY
    prior_wins: int = 5
    prior_trades: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.low_share <= self.high_share <= 1:
            raise ValueError(f"0 <= low_share <= high_share <= 1 does not hold: {self.low_share}, {self.high_share}")
        if not 0 < self.loosen <= 1 <= self.tighten:
            raise ValueError(f"0 < loosen <= 1 <= tighten does not hold: {self.loosen}, {self.tighten}")
        if self.recent <= 0 or not 0 <= self.prior_wins <= self.prior_trades or self.prior_trades == 0:
            raise ValueError("recent and prior_trades must be positive, prior_wins within prior_trades")
