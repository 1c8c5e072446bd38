"""What every strategy owes: no look-ahead, and rows that do not depend on how the work was cut.

A strategy is handed over as a function of the frame it may see, so that one that has read ahead can be told from one
that has not.
"""

from collections.abc import Callable, Iterable

import pandas as pd

from signal_assets.fold import frame_of, group_by_time
from signal_assets.machine import decode_state, encode_state
from signal_assets.market.tables import FEATURES
from signal_assets.strategies.evaluation import evaluate
from signal_assets.strategies.strategy import Strategy
from signal_assets.strategies.strategy_machine import StrategyMachine
from signal_assets.strategies.tables import strategy_table

Make = Callable[[pd.DataFrame], Strategy]


def check_prefix(make: Make, features: pd.DataFrame, whole: pd.DataFrame, cut: int) -> None:
    """Whoever knows the market only up to the cut says the same up to there."""
    known = features[features["time"] <= cut]
    rows = evaluate(make(known), known)
    expected = whole[whole["event_time"] <= cut].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, expected, check_exact=True)


def check_cuts(make: Make, features: pd.DataFrame, whole: pd.DataFrame, cuts: Iterable[int]) -> None:
    """Window by window, every state written out as text and read by a new machine, gives the rows of one go."""
    table = strategy_table(make(features).name)
    rows, state = [], None
    start = 0
    for end in [*sorted(cuts), int(features["time"].max())]:
        machine = StrategyMachine(make(features))
        if state is not None:
            machine.restore(decode_state(state))
        window = features[(features["time"] > start) & (features["time"] <= end)]
        for time, events in group_by_time({FEATURES: window}):
            rows.extend(machine.step(time, events).get(table.name, ()))
        state = encode_state(machine.state())
        start = end
    pd.testing.assert_frame_equal(frame_of(table, rows), whole, check_exact=True)
