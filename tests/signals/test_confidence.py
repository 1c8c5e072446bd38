from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.signals.confidence import (
    confidence,
    range_environment,
    record_so_far,
    risk_reward,
    volatility_regime,
)
from signal_assets.signals.market_conditions import Conditions
from signal_assets.signals.market_hours import market_session, time_of_day
from signal_assets.signals.other_signals import Agreement
from signal_assets.signals.parameters import ConfidenceWeights, SignalParameters
from signal_assets.signals.score import Score
from tests.signals.material import NAN, UNKNOWN, arbitrage_record, at, proposal_record, sound

PARAMETERS = SignalParameters()


def test_seven_factors_by_hand():
    time = at("2025-01-08T10:30")
    result = confidence(
        sound(proposal_record()),
        Conditions(0.6, 0.4, 1.25),
        0.55,
        time_of_day(time),
        market_session(time),
        Agreement(2, 1).score(),
        0.05,
        PARAMETERS,
    )
    assert {name: factor.score for name, factor in result.factors.items()} == {
        "risk_reward": 0.6,  # 1.5 / (1 + 1.5)
        "recent_performance": 0.55,  # as learned
        "atr_environment": 0.8,  # 1 / 1.25
        "volatility_regime": 0.9,  # usual
        "time_of_day": 0.8,  # Europe trades
        "market_session": 0.6,  # Europe alone
        "correlation": 0.775,  # 0.7 + 0.3 x (2 - 1) / 4
    }
    # 0.25 x 0.6 + 0.20 x 0.55 + 0.15 x 0.8 + 0.15 x 0.9 + 0.10 x 0.8 + 0.10 x 0.6 + 0.05 x 0.775
    # = 0.15 + 0.11 + 0.12 + 0.135 + 0.08 + 0.06 + 0.03875
    assert result.value == 0.69375


def test_a_market_of_which_nothing_is_known():
    result = confidence(
        sound(proposal_record()), UNKNOWN, None, Score(0.7, ""), Score(0.3, ""), Score(0.7, ""), 0.05, PARAMETERS
    )
    # 0.25 x 0.6 + 0.20 x 0.5 + 0.15 x 0.5 + 0.15 x 0.6 + 0.10 x 0.7 + 0.10 x 0.3 + 0.05 x 0.7 = 0.55
    assert result.value == 0.55


@pytest.mark.parametrize(
    ("made", "score"),
    [
        (risk_reward(sound(proposal_record(take_profit=106_00000000)), 0.05), 0.75),  # 3 / 4
        (risk_reward(sound(arbitrage_record(0.0005)), 0.05), 0.5),  # exactly the threshold
        (risk_reward(sound(arbitrage_record(0.0015)), 0.05), 0.75),  # three times
        (risk_reward(sound(arbitrage_record(-0.001)), 0.05), 0.0),
        (
            risk_reward(
                sound(proposal_record(legs='[{"instrument":"BTCFDUSD.BINANCE","side":"buy","quantity":"1"}]')), 0.05
            ),
            0.5,
        ),
        (record_so_far(0.3), 0.3),
        (record_so_far(None), 0.5),
        (record_so_far(NAN), 0.5),
        (record_so_far(1.5), 1.0),
        (range_environment(Conditions(NAN, NAN, 2.0)), 0.5),
        (range_environment(Conditions(NAN, NAN, 0.5)), 0.5),
        (range_environment(Conditions(NAN, NAN, 1.0)), 1.0),
        (range_environment(Conditions(NAN, NAN, 0.0)), 0.0),
        (range_environment(UNKNOWN), 0.5),
        (volatility_regime(Conditions(0.81, NAN, NAN), PARAMETERS), 0.3),
        (volatility_regime(Conditions(0.8, NAN, NAN), PARAMETERS), 0.9),
        (volatility_regime(Conditions(0.1, NAN, NAN), PARAMETERS), 0.6),
        (volatility_regime(UNKNOWN, PARAMETERS), 0.6),
    ],
)
def test_factors_by_hand(made, score):
    assert made.score == pytest.approx(score)
    assert made.reason


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(0, 1), st.floats(0.001, 50))
def test_confidence_stays_within_bounds_whatever_the_factors(scores, performance, ratio):
    given_scores = [Score(score, "") for score in scores]
    result = confidence(
        sound(proposal_record()), Conditions(0.5, 0.0, ratio), performance, *given_scores, 0.05, PARAMETERS
    )
    assert 0 <= result.value <= 1
    assert min(factor.score for factor in result.factors.values()) - 1e-9 <= result.value
    assert result.value <= max(factor.score for factor in result.factors.values()) + 1e-9


def test_weights_are_those_of_the_specification_and_add_up():
    weights = ConfidenceWeights()
    assert [getattr(weights, name) for name in weights.__slots__] == [0.25, 0.20, 0.15, 0.15, 0.10, 0.10, 0.05]
    for wrong in ({"risk_reward": 0.3}, {"risk_reward": -0.05, "correlation": 0.35}):
        with pytest.raises(ValueError, match="weights"):
            replace(weights, **wrong)
