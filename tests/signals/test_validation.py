import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.signals.market_conditions import Conditions
from signal_assets.signals.market_hours import time_of_day
from signal_assets.signals.other_signals import Agreement
from signal_assets.signals.parameters import SignalParameters
from signal_assets.signals.score import Score
from signal_assets.signals.validation import market_state, technical, usual_volatility, validation
from tests.signals.material import NAN, NIGHT, UNKNOWN, arbitrage_record, at, proposal_record, sell_record, sound

PARAMETERS = SignalParameters()


def validated(record, conditions=UNKNOWN, time=NIGHT, agreement=(0, 0)):
    return validation(sound(record), conditions, time_of_day(time), Agreement(*agreement).score(), 0.05, PARAMETERS)


def test_six_checks_by_hand():
    # Wednesday 10:30 UTC, rank of volatility 0.6, trend +0.4, two others support, one contradicts; buy, raw 0.65, 1.5.
    result = validated(proposal_record(raw_confidence=0.65), Conditions(0.6, 0.4, 1.25), at("2025-01-08T10:30"), (2, 1))
    assert {name: check.score for name, check in result.checks.items()} == {
        "technical": 0.783333,  # (0.65 + min(1.5 / 1.5, 1) + (1 + 0.4) / 2) / 3 = 2.35 / 3
        "market_conditions": 0.6,  # neither trending nor volatile
        "volatility": 0.9,  # 1 - |0.6 - 0.5|
        "time_of_day": 0.8,  # Europe trades
        "news": 0.8,  # no source
        "correlation": 0.775,  # 0.7 + 0.3 x (2 - 1) / (2 + 1 + 1)
    }
    # 0.783333 + 0.6 + 0.9 + 0.8 + 0.8 + 0.775 = 4.658333, over 6
    assert result.mean == 0.776388833
    assert result.passed
    assert all(check.reason for check in result.checks.values())


def test_what_knows_nothing_has_exactly_the_pass_mark_and_does_not_pass():
    # Technical (0.6 + 1 + 0.5) / 3 = 0.7; 0.7 + 0.6 + 0.7 + 0.7 + 0.8 + 0.7 = 4.2; 4.2 / 6 = 0.7 is not above 0.7.
    result = validated(proposal_record(raw_confidence=0.6))
    assert result.mean == 0.7
    assert not result.passed
    # A hair more of the strategy's own confidence passes: (0.601 + 1.5) / 3 = 0.700333, mean 0.700055…
    assert validated(proposal_record(raw_confidence=0.601)).passed


@settings(deadline=None)
@given(st.integers(400_000, 1_000_000))
def test_rounding_never_decides(score):
    # Technical 0.7, market 0.6, volatility 0.7, news 0.8 and two that add up to 1.4: 4.2 whatever their decimals.
    others = Score(score / 1e6, ""), Score((1_400_000 - score) / 1e6, "")
    result = validation(sound(proposal_record(raw_confidence=0.6)), UNKNOWN, *others, 0.05, PARAMETERS)
    assert result.mean == 0.7
    assert not result.passed


@pytest.mark.parametrize(
    ("record", "trend", "score"),
    [
        (proposal_record(raw_confidence=0.5), 0.2, (0.5 + 1 + 0.6) / 3),
        (sell_record(raw_confidence=0.5), 0.2, (0.5 + 1 + 0.4) / 3),
        (sell_record(raw_confidence=0.5), -1.0, (0.5 + 1 + 1.0) / 3),
        (proposal_record(raw_confidence=0.5), NAN, (0.5 + 1 + 0.5) / 3),
        # A target at half the distance of the stop: 1 / 2, of the 1.5 that earn full marks a third.
        (proposal_record(raw_confidence=0.5, take_profit=101_00000000), 0.2, (0.5 + 1 / 3 + 0.6) / 3),
        # What does not follow trends is not asked about them.
        (proposal_record(raw_confidence=0.5, family="statistical"), 0.2, (0.5 + 1) / 2),
        # An arbitrage at twice, and at half, the threshold of 0.05 %.
        (arbitrage_record(0.001, raw_confidence=0.8), 0.2, (0.8 + 1) / 2),
        (arbitrage_record(0.00025, raw_confidence=0.8), 0.2, (0.8 + 0.5) / 2),
        (arbitrage_record(-0.00025, raw_confidence=0.8), 0.2, (0.8 + 0) / 2),
    ],
)
def test_technical_criteria_by_hand(record, trend, score):
    made = technical(sound(record), Conditions(NAN, trend, NAN), 0.05, PARAMETERS)
    assert made.score == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize(
    ("family", "volatility", "trend", "score"),
    [
        ("trend_following", 0.5, 0.71, 0.9),
        ("trend_following", 0.5, -0.71, 0.9),
        ("trend_following", 0.5, 0.7, 0.6),  # exactly at the mark is not above it
        ("trend_following", 0.81, 0.71, 0.9),  # the trend is asked first
        ("trend_following", 0.81, 0.5, 0.3),
        ("trend_following", 0.8, 0.5, 0.6),
        ("statistical", 0.5, 0.71, 0.6),
        ("statistical", 0.81, 0.71, 0.3),
        ("trend_following", NAN, NAN, 0.6),
    ],
)
def test_market_conditions_as_specified(family, volatility, trend, score):
    made = market_state(sound(proposal_record(family=family)), Conditions(volatility, trend, NAN), PARAMETERS)
    assert made.score == score


@pytest.mark.parametrize(("rank", "score"), [(0.5, 1.0), (0.8, 0.7), (0.2, 0.7), (1.0, 0.5), (0.0, 0.5), (NAN, 0.7)])
def test_volatility_by_hand(rank, score):
    assert usual_volatility(Conditions(rank, NAN, NAN)).score == pytest.approx(score)
