from decimal import Decimal

import pandas as pd
import pytest
from pydantic import ValidationError

from resources.strategy_settings import (
    MomentumRiderSettings,
    MovingAverageCrossoverSettings,
    StrategySettings,
    TriangularArbitrageSettings,
)
from signal_assets.event_time import SECOND
from signal_assets.fold import frame_of, group_by_time
from signal_assets.market.tables import FEATURES
from signal_assets.strategies.arbitrage.triangular_arbitrage import TriangularArbitrageParameters
from signal_assets.strategies.evaluation import evaluate
from signal_assets.strategies.folds import strategy_folds, strategy_parameters
from signal_assets.strategies.registry import STRATEGY_CLASSES
from signal_assets.strategies.tables import STRATEGIES, TABLES
from signal_assets.strategies.trend_following.momentum_rider import MomentumRiderParameters
from signal_assets.strategies.trend_following.moving_average_crossover import MovingAverageCrossoverParameters
from tests.strategies.market import TRIANGLE, random_market


def test_unchanged_settings_are_the_default_parameters():
    assert strategy_parameters(StrategySettings()) == {
        "triangular_arbitrage": TriangularArbitrageParameters(),
        "momentum_rider": MomentumRiderParameters(),
        "moving_average_crossover": MovingAverageCrossoverParameters(),
    }


def test_what_is_set_arrives_in_the_kernels_units():
    settings = StrategySettings.model_validate(
        {
            "triangular_arbitrage": {"start_currencies": ["EUR"], "start_amount": "250.5", "profit_threshold": 0.001},
            "momentum_rider": {
                "return_bars": 10,
                "volatility_bars": 50,
                "threshold": 2,
                "stop": 0.015,
                "target": "0.025",
                "volume_multiple": 2,
                "unconfirmed_factor": 0.5,
            },
            "moving_average_crossover": {
                "average": "ema",
                "fast_bars": 5,
                "slow_bars": 8,
                "timeframes": ["1h"],
                "atr_bars": 10,
                "stop_ranges": 1,
                "target_ranges": 2,
            },
        }
    )
    assert strategy_parameters(settings) == {
        "triangular_arbitrage": TriangularArbitrageParameters(("EUR",), 250_50000000, 100_000),
        "momentum_rider": MomentumRiderParameters(10, 50, 2.0, 1_500_000, 2_500_000, 2.0, 0.5),
        "moving_average_crossover": MovingAverageCrossoverParameters("ema", 5, 8, ("1h",), 10, 1.0, 2.0),
    }


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (TriangularArbitrageSettings, {"start_currencies": []}),
        (TriangularArbitrageSettings, {"start_currencies": ["USD", "USD"]}),
        (TriangularArbitrageSettings, {"start_amount": 0}),
        (TriangularArbitrageSettings, {"profit_threshold": Decimal("0.000000001")}),
        (MomentumRiderSettings, {"return_bars": 101}),
        (MomentumRiderSettings, {"stop": 1}),
        (MomentumRiderSettings, {"unknown": 1}),
        (MovingAverageCrossoverSettings, {"fast_bars": 21}),
        (MovingAverageCrossoverSettings, {"timeframes": ["1m", "1m"]}),
        (MovingAverageCrossoverSettings, {"timeframes": ["2m"]}),
        (MovingAverageCrossoverSettings, {"average": "hull"}),
    ],
)
def test_settings_outside_the_bounds_are_refused(section, values):
    with pytest.raises(ValidationError):
        section.model_validate(values)


def test_one_fold_per_strategy_in_their_order():
    folds = strategy_folds(StrategySettings())
    assert [fold.name for fold in folds] == [f"strategies_{name}" for name in STRATEGIES]
    assert [fold.tables for fold in folds] == [(table,) for table in TABLES]


def test_a_fold_reads_what_its_strategy_needs():
    features = random_market(1)
    for fold, name in zip(strategy_folds(StrategySettings()), STRATEGIES, strict=True):
        (source,) = fold.inputs
        assert source.table is FEATURES
        assert source.columns is not None
        machine = fold.machine(TRIANGLE)
        rows = []
        for time, events in group_by_time({FEATURES: features[list(source.columns)]}):
            for made in machine.step(time, events).values():
                rows += made
        (table,) = fold.tables
        whole = evaluate(STRATEGY_CLASSES[name](TRIANGLE, strategy_parameters(StrategySettings())[name]), features)
        pd.testing.assert_frame_equal(frame_of(table, rows), whole)
        assert len(rows) >= 9


def test_rows_fit_the_table():
    for fold in strategy_folds(StrategySettings()):
        features = random_market(2)
        machine = fold.machine(TRIANGLE)
        (table,) = fold.tables
        rows = [
            row
            for time, events in group_by_time({FEATURES: features})
            for row in machine.step(time, events).get(table.name, ())
        ]
        frame = table.conform(frame_of(table, rows))
        assert len(frame) == len(rows) > 0
        assert (frame["event_time"] % (10 * SECOND) == 0).all()
