import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.learning_settings import LearningSettings, ThresholdSettings
from signal_assets.event_time import DAY
from signal_assets.learning.derivations import learning_parameters
from signal_assets.learning.parameters import DynamicThreshold, LearningParameters
from signal_assets.learning.tables import THRESHOLDS
from signal_assets.learning.thresholds import threshold_rows

PARAMETERS = LearningParameters()
END = 20_000 * DAY
NO_VERSIONS = THRESHOLDS.empty()


def signals(*confidences, status="validated", time=END):
    return pd.DataFrame({"event_time": time, "status": status, "confidence": list(confidences)}).astype(
        {"confidence": "float64", "status": "str"}
    )


def version(name, value, valid_from, source="learned", group="crypto"):
    row = (f"*.{group}", name, valid_from, valid_from - DAY, value, value, 0.5, 1, source)
    return pd.DataFrame([row], columns=list(THRESHOLDS.value_columns))


def learned(day_signals, versions=NO_VERSIONS, day_end=END, parameters=PARAMETERS):
    frame = threshold_rows(day_end, "crypto", day_signals, versions, parameters)
    assert THRESHOLDS.conform(frame).equals(frame)
    return {row.name_: row for row in frame.rename(columns={"name": "name_"}).itertuples()}


def values(rows):
    return {name: row.value for name, row in rows.items()}


def test_a_day_of_good_signals_loosens_what_is_demanded():
    # 9 of 10 above 0.7 (exactly 0.7 is not): 0.9 > 0.8, so 0.1 · 0.95 and 0.05 · 0.95; multipliers stay.
    rows = learned(signals(*[0.9] * 9, 0.7))
    assert values(rows) == {
        "min_signal_quality": 0.1 * 0.95,
        "opportunity_threshold": 0.05 * 0.95,
        "volatility_multiplier": 3.0,
        "trend_multiplier": 2.0,
    }
    row = rows["min_signal_quality"]
    assert (row.instrument, row.valid_from, row.learned_from, row.source) == ("*.crypto", END + DAY, END, "learned")
    assert (row.before, row.share, row.signals) == (0.1, 0.9, 10)


def test_a_day_of_poor_signals_tightens_it():
    rows = learned(signals(0.9, 0.6, 0.6))
    assert rows["min_signal_quality"].value == 0.1 * 1.05
    assert rows["opportunity_threshold"].value == 0.05 * 1.05


@pytest.mark.parametrize("confident", [4, 3, 5])  # of 5, of 6, of 10: shares 0.8 and 0.5 themselves do not step
def test_in_between_nothing_moves(confident):
    count = {4: 5, 3: 6, 5: 10}[confident]
    rows = learned(signals(*[0.9] * confident, *[0.1] * (count - confident)))
    assert rows["min_signal_quality"].value == 0.1


def test_a_day_without_signals_gets_an_unchanged_version():
    others = pd.concat(
        [
            signals(0.9, status="rejected"),
            signals(0.9, status="duplicate"),
            signals(0.9, time=END + 1),
            signals(0.9, time=END - DAY),
        ]
    )
    rows = learned(others, version("min_signal_quality", 0.3, END))
    assert (rows["min_signal_quality"].value, rows["min_signal_quality"].signals) == (0.3, 0)
    assert math.isnan(rows["min_signal_quality"].share)


def test_bounds_hold():
    near = pd.concat([version("min_signal_quality", 0.0205, END), version("opportunity_threshold", 0.249, END)])
    assert learned(signals(0.9), near)["min_signal_quality"].value == 0.02
    assert learned(signals(0.1), near)["opportunity_threshold"].value == 0.25
    beyond = version("volatility_multiplier", 99.0, END, "rollback by hand")
    assert learned(signals(0.9), beyond)["volatility_multiplier"].value == 6.0


def test_steps_follow_the_version_before():
    # Learned from the day before, hence valid from this day's end on: 0.095, and again 0.95.
    rows = learned(signals(0.9), version("min_signal_quality", 0.1 * 0.95, END))
    assert rows["min_signal_quality"].value == 0.1 * 0.95 * 0.95
    # Other names and other groups are not followed.
    others = pd.concat(
        [version("opportunity_threshold", 0.2, END), version("min_signal_quality", 0.4, END, group="forex")]
    )
    assert learned(signals(0.9), others)["min_signal_quality"].value == 0.1 * 0.95


def test_a_rollback_by_hand_is_gone_on_from():
    history = pd.concat(
        [
            version("min_signal_quality", 0.2, END - 2 * DAY),
            version("min_signal_quality", 0.21, END),
            version("min_signal_quality", 0.1, END, "rollback by hand"),
        ]
    )
    for order in (history, history.iloc[::-1]):
        assert learned(signals(0.9), order)["min_signal_quality"].value == 0.1 * 0.95
    # One that begins together with the new version is gone on from as well, one that begins later is not.
    with_it = pd.concat([history, version("min_signal_quality", 0.3, END + DAY, "rollback by hand")])
    assert learned(signals(0.9), with_it)["min_signal_quality"].before == 0.3
    after = pd.concat([history, version("min_signal_quality", 0.3, END + DAY + 1, "rollback by hand")])
    assert learned(signals(0.9), after)["min_signal_quality"].before == 0.1
    # And an older rollback does not outlive what has been learned since.
    older = pd.concat([history, version("min_signal_quality", 0.4, END + DAY - 1)])
    assert learned(signals(0.9), older)["min_signal_quality"].before == 0.4


def test_learning_a_day_again_gives_the_same_version():
    once = threshold_rows(END, "crypto", signals(0.9), NO_VERSIONS, PARAMETERS)
    again = threshold_rows(END, "crypto", signals(0.9), once, PARAMETERS)
    pd.testing.assert_frame_equal(once, again)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.1, 0.9]), max_size=4), min_size=1, max_size=8))
def test_every_step_is_one_factor_within_bounds(days):
    versions = NO_VERSIONS
    for number, confidences in enumerate(days):
        end = END + number * DAY
        rows = threshold_rows(end, "crypto", signals(*confidences, time=end), versions, PARAMETERS)
        for row in rows.itertuples():
            bounds = PARAMETERS.thresholds[row.name]
            assert bounds.low <= row.value <= bounds.high
            stepped = row.value in (row.before, row.before * 0.95, row.before * 1.05)
            assert stepped or row.value in (bounds.low, bounds.high)
        versions = pd.concat([versions, rows])


def test_a_day_ends_at_midnight():
    with pytest.raises(ValueError, match="a day ends at a midnight"):
        threshold_rows(END + 1, "crypto", signals(0.9), NO_VERSIONS, PARAMETERS)


def test_the_configuration_becomes_the_default_parameters():
    assert learning_parameters(LearningSettings()) == PARAMETERS


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: DynamicThreshold(0.1, 0.2, 0.5, demands=True),
        lambda: LearningParameters(low_share=0.9),
        lambda: LearningParameters(loosen=1.1),
        lambda: LearningParameters(recent=0),
        lambda: ThresholdSettings(default=9, low=1, high=2),
        lambda: LearningSettings(low_share=0.9),
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must|hold"):
        wrong()
