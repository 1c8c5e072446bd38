import math
from collections import namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_assets.anomalies.feedback import FALSE_ALARM, TRUE_ALARM, threshold_factors
from signal_assets.anomalies.parameters import AnomalyParameters

PARAMETERS = AnomalyParameters()
Label = namedtuple("Label", "series subject verdict given_at")


def labels(verdicts, series="a"):
    return [Label(series, str(number), verdict, number) for number, verdict in enumerate(verdicts)]


def test_false_alarms_raise_and_true_ones_lower():
    # Step 0.25, wanted precision 0.8: exp(0.2) up, exp(-0.05) down.
    assert threshold_factors((), PARAMETERS) == {}
    assert threshold_factors(labels([FALSE_ALARM]), PARAMETERS)["a"] == pytest.approx(1.2214027581601699)
    assert threshold_factors(labels([TRUE_ALARM]), PARAMETERS)["a"] == pytest.approx(0.951229424500714)


def test_at_the_wanted_precision_nothing_moves():
    four_of_five = [TRUE_ALARM, TRUE_ALARM, FALSE_ALARM, TRUE_ALARM, TRUE_ALARM] * 20
    assert threshold_factors(labels(four_of_five), PARAMETERS)["a"] == pytest.approx(1.0)


def test_bounds_hold_and_are_left_at_once():
    assert threshold_factors(labels([FALSE_ALARM] * 50), PARAMETERS)["a"] == pytest.approx(3.0)
    assert threshold_factors(labels([TRUE_ALARM] * 50), PARAMETERS)["a"] == pytest.approx(0.5)
    back = labels([FALSE_ALARM] * 50 + [TRUE_ALARM])
    assert threshold_factors(back, PARAMETERS)["a"] == pytest.approx(3.0 * math.exp(-0.05))


def test_of_one_alarm_the_newest_label_counts():
    said = [Label("a", "i", FALSE_ALARM, 5), Label("a", "i", TRUE_ALARM, 9), Label("b", "j", FALSE_ALARM, 7)]
    found = threshold_factors(said, PARAMETERS)
    assert found == {"a": pytest.approx(math.exp(-0.05)), "b": pytest.approx(math.exp(0.2))}
    assert threshold_factors([Label("a", "i", "perhaps", 5)], PARAMETERS) == {}


@given(
    said=st.lists(
        st.builds(
            Label,
            st.sampled_from("ab"),
            st.sampled_from("ijkl"),
            st.sampled_from([TRUE_ALARM, FALSE_ALARM]),
            st.integers(0, 9),
        )
    ),
    data=st.data(),
)
def test_the_order_in_which_they_are_read_changes_no_bit(said, data):
    shuffled = data.draw(st.permutations(said))
    found = threshold_factors(said, PARAMETERS)
    assert found == threshold_factors(shuffled, PARAMETERS)
    assert all(0.5 <= factor <= 3.0000000000000004 for factor in found.values())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"feedback_step": 0}, "feedback_step must be positive"),
        ({"feedback_precision": 1}, "feedback_precision must lie between 0 and 1"),
        ({"feedback_low": 1.1}, "on either side of 1"),
        ({"feedback_high": 0.9}, "on either side of 1"),
    ],
)
def test_parameters_are_checked(wrong, message):
    with pytest.raises(ValueError, match=message):
        AnomalyParameters(**wrong)
