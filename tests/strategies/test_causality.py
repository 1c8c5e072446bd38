from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.fold import group_by_time
from signal_assets.machine import encode_state
from signal_assets.market.tables import FEATURES
from signal_assets.strategies.arbitrage.triangular_arbitrage import TriangularArbitrage, TriangularArbitrageParameters
from signal_assets.strategies.evaluation import evaluate
from signal_assets.strategies.registry import STRATEGY_CLASSES
from signal_assets.strategies.strategy import Candidate, Strategy
from signal_assets.strategies.strategy_machine import StrategyMachine
from signal_assets.strategies.tables import STRATEGIES
from signal_assets.strategies.trend_following.momentum_rider import MomentumRider, MomentumRiderParameters
from signal_assets.strategies.trend_following.moving_average_crossover import (
    MovingAverageCrossover,
    MovingAverageCrossoverParameters,
)
from tests.strategies.causality import check_cuts, check_prefix
from tests.strategies.market import GRID, START, STEPS, TRIANGLE, random_market

MARKETS = (1, 2)
CASES = {
    "triangular_arbitrage": lambda _: TriangularArbitrage(TRIANGLE, TriangularArbitrageParameters()),
    "momentum_rider": lambda _: MomentumRider(TRIANGLE, MomentumRiderParameters()),
    **{
        f"moving_average_crossover {average}": lambda _, average=average: MovingAverageCrossover(
            TRIANGLE, MovingAverageCrossoverParameters(average)
        )
        for average in ("sma", "ema", "wma")
    },
}
# Any microsecond, on the grid or beside it.
MOMENTS = st.integers(START, START + STEPS * GRID)


@cache
def whole(case, seed):
    features = random_market(seed)
    return evaluate(CASES[case](features), features)


def test_every_strategy_is_among_the_cases():
    assert {case.split()[0] for case in CASES} == set(STRATEGIES) == set(STRATEGY_CLASSES)


@pytest.mark.parametrize("seed", MARKETS)
@pytest.mark.parametrize(("case", "least"), list(zip(CASES, (50, 9, 30, 30, 30), strict=True)))
def test_the_market_gives_every_strategy_something_to_say(case, least, seed):
    rows = whole(case, seed)
    assert len(rows) >= least
    assert (rows["failure"] == "").all()
    assert set(rows["action"]) == ({"buy"} if case == "triangular_arbitrage" else {"buy", "sell"})
    assert rows["id"].is_unique
    assert len(set(rows["instrument"])) >= 2
    if case.startswith("moving"):
        assert {"1m", "5m"} <= set(rows["timeframe"])


@pytest.mark.parametrize("case", CASES)
@given(seed=st.sampled_from(MARKETS), cut=MOMENTS)
@settings(max_examples=10, deadline=None)
def test_what_is_still_to_come_changes_no_row(case, seed, cut):
    check_prefix(CASES[case], random_market(seed), whole(case, seed), cut)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@given(seed=st.sampled_from(MARKETS), cuts=st.lists(MOMENTS, min_size=1, max_size=6))
@settings(max_examples=10, deadline=None)
def test_cuts_and_restarts_change_no_row(case, seed, cuts):
    check_cuts(CASES[case], random_market(seed), whole(case, seed), cuts)


@pytest.mark.parametrize("case", CASES)
def test_a_restart_after_every_tenth_step_changes_no_row(case):
    features = random_market(1)
    features = features[features["time"] <= START + 800 * GRID]
    cuts = range(START + 300 * GRID, START + 800 * GRID, 10 * GRID)
    check_cuts(CASES[case], features, evaluate(CASES[case](features), features), cuts)


@pytest.mark.parametrize("case", CASES)
def test_a_state_can_be_kept_while_its_machine_goes_on(case):
    features = random_market(1)
    machine = StrategyMachine(CASES[case](features))
    steps = list(group_by_time({FEATURES: features}))
    for time, events in steps[:900]:
        machine.step(time, events)
    kept = machine.state()
    text = encode_state(kept)
    for time, events in steps[900:1_400]:
        machine.step(time, events)
    assert encode_state(kept) == text
    assert encode_state(machine.state()) != text


def test_evaluating_leaves_the_strategy_as_it_was():
    features = random_market(1)
    strategy = CASES["momentum_rider"](features)
    before = encode_state(strategy.state())
    evaluate(strategy, features)
    assert encode_state(strategy.state()) == before


@dataclass(frozen=True)
class NoParameters:
    pass


def reads_ahead(features):
    """Cheats as a vectorized back-test does: ``shift(-1)``, buys what the next row will find dearer."""

    class Clairvoyant(Strategy[NoParameters]):
        name = "clairvoyant"
        family = "fraud"
        tier = "fast"
        look_back = 0
        inputs = ("best_ask",)
        following: ClassVar = {
            (row.instrument, row.time): row.next_ask
            for row in features.assign(next_ask=features.groupby("instrument")["best_ask"].shift(-1)).itertuples()
        }

        def step(self, time, features):
            return [
                Candidate(key, "grid", "buy", row.best_ask, 0.9)
                for key, row in features.items()
                if self.following[key, time] > row.best_ask
            ]

        def state(self):
            return {}

        def restore(self, state):
            pass

    return Clairvoyant(TRIANGLE, NoParameters())


class Forgetful(MomentumRider):
    """Keeps everything but the side on which the score was."""

    name = "forgetful"

    def state(self):
        return {key: kept | {"direction": 0} for key, kept in super().state().items()}


class Restless(MomentumRider):
    """Decides by how often it was called in this process."""

    name = "restless"
    calls = 0

    def step(self, time, features):
        self.calls += 1
        return super().step(time, features) if self.calls % 1_000 else []


@pytest.mark.slow
def test_the_properties_catch_a_strategy_that_reads_ahead():
    features = random_market(1)
    rows = evaluate(reads_ahead(features), features)
    assert len(rows) > 1_000
    caught = 0
    for cut in range(START + 100 * GRID, START + STEPS * GRID, 100 * GRID):
        try:
            check_prefix(reads_ahead, features, rows, cut)
        except AssertionError:
            caught += 1
    # The price of one instrument at least rises after most cuts.
    assert caught >= 10


@pytest.mark.parametrize("cheat", [Forgetful, Restless])
def test_the_properties_catch_a_state_that_leaves_something_out(cheat):
    features = random_market(1)
    rows = evaluate(cheat(TRIANGLE, MomentumRiderParameters()), features)
    with pytest.raises(AssertionError):
        check_cuts(
            lambda _: cheat(TRIANGLE, MomentumRiderParameters()),
            features,
            rows,
            range(START + 650 * GRID, START + 1_800 * GRID, 50 * GRID),
        )


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_instruments_and_rows_does_not_matter(case):
    features = random_market(2)
    strategy = CASES[case](features)
    turned = type(strategy)(TRIANGLE[::-1], strategy.parameters)
    rows = evaluate(turned, features.iloc[::-1])
    assert rows.equals(whole(case, 2))
