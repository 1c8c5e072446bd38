import math

import pandas as pd
import pytest

from signal_assets.event_time import DAY
from signal_assets.learning.parameters import LearningParameters
from signal_assets.learning.recent_performance import recent_performance_rows
from signal_assets.learning.tables import RECENT_PERFORMANCE
from signal_assets.strategies.tables import STRATEGIES

END = 20_000 * DAY


def trades(strategy, *net, closed=END):
    return pd.DataFrame({"strategy": strategy, "closed": closed, "net": list(net)})


def rows_of(*frames):
    frame = recent_performance_rows(END, "crypto", pd.concat(frames), LearningParameters())
    assert RECENT_PERFORMANCE.conform(frame).equals(frame)
    assert set(frame["valid_from"]) == {END + DAY}
    assert set(frame["learned_from"]) == {END}
    assert set(frame["instrument"]) == {"*.crypto"}
    return {row.strategy: (row.trades, row.win_rate, row.score) for row in frame.itertuples()}


def test_wins_are_profits_after_fees():
    # 2 of 4 won (a trade at zero is none): score (2 + 5)/(4 + 10).
    found = rows_of(trades("momentum_rider", 5, -1, 0, 3), trades("a stranger", -1))
    assert found["momentum_rider"] == (4, 0.5, 0.5)
    assert found["a stranger"] == (1, 0.0, 5 / 11)
    assert list(found) == [*STRATEGIES, "a stranger"]


def test_three_wins_are_not_certainty():
    assert rows_of(trades("momentum_rider", 1, 1, 1))["momentum_rider"] == (3, 1.0, 8 / 13)


def test_without_trades_the_score_is_one_half():
    trades_, rate, score = rows_of(trades("momentum_rider"))["triangular_arbitrage"]
    assert (trades_, score) == (0, 0.5)
    assert math.isnan(rate)


def test_thirty_days_count_and_the_future_does_not():
    found = rows_of(
        trades("momentum_rider", 1, closed=END - 30 * DAY),
        trades("momentum_rider", -1, closed=END - 30 * DAY + 1),
        trades("momentum_rider", 1, 1, closed=END),
        trades("momentum_rider", -1, closed=END + 1),
    )
    assert found["momentum_rider"] == (3, 2 / 3, 7 / 13)


def test_a_day_ends_at_midnight():
    with pytest.raises(ValueError, match="a day ends at a midnight"):
        recent_performance_rows(END - 1, "crypto", trades("momentum_rider"), LearningParameters())
