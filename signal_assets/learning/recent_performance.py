"""Versions of every strategy's recent record, learned once per closed day.

Belongs here: counting. Does not belong here: the trades (``performance.trade_log``), what the record is used for
(the confidence of signals).
"""

import math

import pandas as pd

from signal_assets.event_time import DAY, iso
from signal_assets.instrument import whole_group
from signal_assets.learning.parameters import LearningParameters
from signal_assets.learning.tables import RECENT_PERFORMANCE
from signal_assets.strategies.tables import STRATEGIES


def recent_performance_rows(
    day_end: int, group: str, trade_log: pd.DataFrame, parameters: LearningParameters
) -> pd.DataFrame:
    """Record of each strategy over its trades closed in ``(day_end - recent, day_end]``, valid from D+2.

    The score is the win rate shrunk to one half, (wins + 5) / (trades + 10): the mean of the posterior when the prior
    is Beta(5, 5). A trade without profit or loss after fees is no win.

    Parameters
    ----------
    day_end : int
        A midnight, µs UTC.
    trade_log : DataFrame
        ``performance.trade_log`` of the group: strategy, closed, net.

    Returns
    -------
    DataFrame
        Rows of ``learning.recent_performance``: all strategies there are in their order, then others by name.

    Raises
    ------
    ValueError
        If ``day_end`` is no midnight.
    """
    if day_end % DAY:
        raise ValueError(f"a day ends at a midnight, not at {iso(day_end)}")
    closed = trade_log["closed"].to_numpy()
    recent = trade_log[(closed > day_end - parameters.recent) & (closed <= day_end)]
    rows = []
    for strategy in (*STRATEGIES, *sorted(set(recent["strategy"]) - set(STRATEGIES))):
        net = recent.loc[(recent["strategy"] == strategy).to_numpy(), "net"].tolist()
        trades, wins = len(net), sum(value > 0 for value in net)
        rows.append(
            (
                whole_group(group),
                strategy,
                day_end + DAY,
                day_end,
                trades,
                wins / trades if trades else math.nan,
                (wins + parameters.prior_wins) / (trades + parameters.prior_trades),
            )
        )
    return RECENT_PERFORMANCE.conform(pd.DataFrame(rows, columns=list(RECENT_PERFORMANCE.value_columns)))
