"""The research view of a strategy: a whole frame of features at once, through the very same step.

Belongs here: ``signals(view) -> frame`` for notebooks, tests and walk-forward. Does not belong here: the lanes
(``fold``).
"""

from typing import Any

import pandas as pd

from signal_assets.fold import frame_of, group_by_time
from signal_assets.market.tables import FEATURES
from signal_assets.strategies.strategy import Strategy
from signal_assets.strategies.strategy_machine import StrategyMachine
from signal_assets.strategies.tables import strategy_table


def evaluate(strategy: Strategy[Any], features: pd.DataFrame) -> pd.DataFrame:
    """All rows that a strategy, beginning cold, proposes over a stretch of the market.

    Parameters
    ----------
    strategy : Strategy
        Left as it is: a new one of its class, instruments and parameters is stepped.
    features : DataFrame
        Rows of ``market.features`` in any order; columns that the strategy does not read may be absent.

    Returns
    -------
    DataFrame
        Rows of ``strategies.<name>`` in ascending time; failures are among them.

    Examples
    --------
    >>> from signal_assets.strategies.trend_following.momentum_rider import MomentumRider, MomentumRiderParameters
    >>> len(evaluate(MomentumRider([], MomentumRiderParameters()), FEATURES.empty()))
    0
    """
    table = strategy_table(strategy.name)
    machine = StrategyMachine(type(strategy)(strategy.instruments, strategy.parameters))
    rows: list[tuple[Any, ...]] = []
    for time, events in group_by_time({FEATURES: features}):
        rows.extend(machine.step(time, events).get(table.name, ()))
    return frame_of(table, rows)
