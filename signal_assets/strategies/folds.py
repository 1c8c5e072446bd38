"""How the strategies' tables follow from the features: one fold per strategy.

Belongs here: folds, and how the configuration becomes parameters. Does not belong here: strategies, running folds.
"""

from typing import Any

from resources.strategy_settings import StrategySettings
from signal_assets.derivation import Input
from signal_assets.fixed_point import SCALE
from signal_assets.fold import Fold
from signal_assets.market.tables import FEATURES
from signal_assets.strategies.arbitrage.triangular_arbitrage import TriangularArbitrageParameters
from signal_assets.strategies.registry import STRATEGY_CLASSES
from signal_assets.strategies.strategy_machine import StrategyMachine
from signal_assets.strategies.tables import STRATEGIES, strategy_table
from signal_assets.strategies.trend_following.momentum_rider import MomentumRiderParameters
from signal_assets.strategies.trend_following.moving_average_crossover import MovingAverageCrossoverParameters


def strategy_parameters(settings: StrategySettings) -> dict[str, Any]:
    """Parameters of every strategy, by its name; fractions and amounts become integers in units of 1e-8."""
    triangle, rider = settings.triangular_arbitrage, settings.momentum_rider
    crossover = settings.moving_average_crossover
    return {
        "triangular_arbitrage": TriangularArbitrageParameters(
            start_currencies=triangle.start_currencies,
            start_amount=int(triangle.start_amount * SCALE),
            threshold=int(triangle.profit_threshold * SCALE),
        ),
        "momentum_rider": MomentumRiderParameters(
            return_bars=rider.return_bars,
            volatility_bars=rider.volatility_bars,
            threshold=rider.threshold,
            stop=int(rider.stop * SCALE),
            target=int(rider.target * SCALE),
            volume_multiple=rider.volume_multiple,
            unconfirmed_factor=rider.unconfirmed_factor,
        ),
        "moving_average_crossover": MovingAverageCrossoverParameters(
            average=crossover.average,
            fast_bars=crossover.fast_bars,
            slow_bars=crossover.slow_bars,
            timeframes=crossover.timeframes,
            atr_bars=crossover.atr_bars,
            stop_ranges=crossover.stop_ranges,
            target_ranges=crossover.target_ranges,
        ),
    }


def strategy_fold(name: str, parameters: Any) -> Fold:
    """The fold of one strategy.

    Parameters
    ----------
    name : str
        One of ``STRATEGIES``.
    parameters : dataclass
        Of that strategy.
    """
    strategy = STRATEGY_CLASSES[name]
    return Fold(
        name=f"strategies_{name}",
        tables=(strategy_table(name),),
        inputs=(Input(FEATURES, columns=("instrument", "time", *strategy.inputs)),),
        machine=lambda instruments: StrategyMachine(strategy(instruments, parameters)),
        version=repr(parameters),
    )


def strategy_folds(settings: StrategySettings) -> list[Fold]:
    """All folds, in the order of ``STRATEGIES``."""
    parameters = strategy_parameters(settings)
    return [strategy_fold(name, parameters[name]) for name in STRATEGIES]
