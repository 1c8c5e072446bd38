"""Which class a strategy's name stands for.

Belongs here: the register, in the order of ``tables.STRATEGIES``. Does not belong here: parameters (``folds``).
"""

from typing import Any, Final

from signal_assets.strategies.arbitrage.triangular_arbitrage import TriangularArbitrage
from signal_assets.strategies.strategy import Strategy
from signal_assets.strategies.tables import STRATEGIES
from signal_assets.strategies.trend_following.momentum_rider import MomentumRider
from signal_assets.strategies.trend_following.moving_average_crossover import MovingAverageCrossover

_CLASSES: Final[tuple[type[Strategy[Any]], ...]] = (TriangularArbitrage, MomentumRider, MovingAverageCrossover)

STRATEGY_CLASSES: Final[dict[str, type[Strategy[Any]]]] = {
    name: {strategy.name: strategy for strategy in _CLASSES}[name] for name in STRATEGIES
}
"""Class of every strategy there is, by its name."""
