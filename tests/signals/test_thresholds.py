from dataclasses import replace

import pytest

from signal_assets.event_time import DAY
from signal_assets.signals.market_conditions import Conditions
from signal_assets.signals.parameters import SignalParameters, ThresholdBounds
from signal_assets.signals.thresholds import Thresholds, expected_edge, thresholds_in_force
from tests.signals.material import NAN, UNKNOWN, arbitrage_record, proposal_record, sound, threshold

PARAMETERS = SignalParameters()
DEFAULTS = Thresholds(0.1, 0.05, 3.0, 2.0)


def test_defaults_are_those_of_the_specification():
    assert thresholds_in_force((), PARAMETERS) == DEFAULTS


def test_the_newest_version_of_each_counts_whatever_their_order():
    versions = [
        threshold("min_signal_quality", 3 * DAY, 0.12),
        threshold("min_signal_quality", 2 * DAY, 0.3),
        threshold("opportunity_threshold", 2 * DAY, 0.06),
    ]
    expected = replace(DEFAULTS, min_signal_quality=0.12, opportunity_threshold=0.06)
    assert thresholds_in_force(versions, PARAMETERS) == expected
    assert thresholds_in_force(reversed(versions), PARAMETERS) == expected


def test_a_rollback_wins_where_both_begin_together_and_only_there():
    learned, by_hand = (
        threshold("trend_multiplier", 2 * DAY, 2.5),
        threshold("trend_multiplier", 2 * DAY, 1.5, "rollback"),
    )
    later = threshold("trend_multiplier", 3 * DAY, 3.0)
    for versions, value in (((learned, by_hand), 1.5), ((by_hand, learned), 1.5), ((later, by_hand, learned), 3.0)):
        assert thresholds_in_force(versions, PARAMETERS).trend_multiplier == value


def test_values_stay_within_bounds_and_nonsense_is_passed_over():
    versions = [
        threshold("min_signal_quality", DAY, 0.9),
        threshold("opportunity_threshold", DAY, 0.0),
        threshold("volatility_multiplier", DAY, NAN),
        threshold("something_else", DAY, 7.0),
    ]
    assert thresholds_in_force(versions, PARAMETERS) == replace(
        DEFAULTS, min_signal_quality=0.5, opportunity_threshold=0.01
    )


@pytest.mark.parametrize(
    ("volatility", "trend", "sensitivity"),
    [
        (0.5, 0.0, 1.0),
        (0.8, 0.7, 1.0),  # at the marks nothing is beyond them
        (0.9, 0.0, 2.0),  # half way from 0.8 to 1: 1 + (3 - 1) / 2
        (1.0, 0.0, 3.0),
        (0.5, -0.85, 1.5),  # half way from 0.7 to 1: 1 + (2 - 1) / 2; a falling market trends as well
        (1.0, 1.0, 6.0),
        (NAN, NAN, 1.0),
    ],
)
def test_sensitivity_by_hand(volatility, trend, sensitivity):
    least = DEFAULTS.minimum_quality(Conditions(volatility, trend, NAN), PARAMETERS)
    assert least == pytest.approx(0.1 / sensitivity)


def test_multipliers_of_one_make_no_difference():
    level = replace(DEFAULTS, volatility_multiplier=1.0, trend_multiplier=1.0)
    for conditions in (UNKNOWN, Conditions(1.0, 1.0, 1.0)):
        assert level.minimum_quality(conditions, PARAMETERS) == 0.1


def test_expected_edge_by_hand():
    # 1.5 to win against 1: at 0.42 0.42 x 1.5 - 0.58 = 0.05.
    assert expected_edge(sound(proposal_record()), 0.42) == pytest.approx(0.05)
    assert expected_edge(sound(proposal_record()), 1.0) == 1.5
    assert expected_edge(sound(proposal_record()), 0.0) == -1.0
    # An arbitrage: a thousandth is 0.1 %, whatever the confidence.
    assert expected_edge(sound(arbitrage_record(0.001)), 0.0) == pytest.approx(0.1)
    legs = '[{"instrument":"BTCFDUSD.BINANCE","side":"buy","quantity":"1"}]'
    assert expected_edge(sound(proposal_record(legs=legs)), 0.9) is None


def test_parameters_refuse_what_makes_no_sense():
    for wrong in (
        {"expiry": 0},
        {"minimum_mean_score": 1.0},
        {"volatile": -0.1},
        {"minimum_reward_to_risk": 0.0},
        {"volatility_multiplier": ThresholdBounds(2.0, 0.5, 3.0)},
        {"least_history": 20},
        {"trend_window": 241},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            replace(PARAMETERS, **wrong)
    for bounds in ((0.1, 0.2, 0.3), (0.4, 0.2, 0.3), (0.1, 0.0, 0.3), (NAN, 0.1, 0.3)):
        with pytest.raises(ValueError, match="bounds"):
            ThresholdBounds(*bounds)
