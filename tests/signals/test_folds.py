from datetime import date

import pandas as pd
import pytest
from pydantic import ValidationError

from resources.lake import Progress
from resources.learning_settings import LearningSettings
from resources.memory_lake import MemoryLake
from resources.signal_settings import SignalSettings
from signal_assets.derivation import asset_name
from signal_assets.event_time import DAY, MINUTE, SECOND, day_start
from signal_assets.fold import forward_fold, frame_of, recompute_day_fold
from signal_assets.signals.folds import INPUTS, signal_parameters, signals
from signal_assets.signals.parameters import SignalParameters, ThresholdBounds
from signal_assets.signals.tables import SIGNALS
from tests.signals.material import GROUP, at
from tests.signals.test_signal_machine_properties import PARAMETERS, made_events

DAY_RUN = date(2025, 1, 3)


def test_settings_mean_the_specified_defaults():
    assert signal_parameters(SignalSettings(), LearningSettings()) == SignalParameters()


def test_settings_are_in_the_units_a_person_writes():
    learning = LearningSettings.model_validate({"min_signal_quality": {"default": 0.2, "low": 0.1, "high": 0.3}})
    parameters = signal_parameters(
        SignalSettings(expiry_seconds=90, duplicate_minutes=10, anomaly_seconds=30, other_signals_minutes=2), learning
    )
    assert parameters.expiry == 90 * SECOND
    assert parameters.duplicate_window == 10 * MINUTE
    assert parameters.anomaly_window == 30 * SECOND
    assert parameters.other_signals_window == 2 * MINUTE
    assert parameters.min_signal_quality == ThresholdBounds(0.2, 0.1, 0.3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"expiry_seconds": 0},
        {"minimum_mean_score": 1.0},
        {"weights": {"risk_reward": 0.5}},
        {"least_history_minutes": 20},
        {"volatility_history_minutes": 50},
        {"unknown": 1},
    ],
)
def test_settings_refuse_what_the_parameters_would(wrong):
    with pytest.raises(ValidationError):
        SignalSettings.model_validate(wrong)


def lake_with(events):
    """A lake that holds the inputs of these steps, complete to the day's end."""
    lake = MemoryLake()
    for item in INPUTS:
        rows = [record for _, now in events for record in now.get(item.table.name, ())]
        if item.table.stage == "strategies":
            frame = frame_of(item.table, rows)
        else:
            columns = {name: [getattr(row, name) for row in rows] for name in item.columns}
            frame = complete(item.table, columns)
        asset = asset_name(item.table)
        with lake.transaction(asset=asset, run_id="inputs") as unit:
            unit.append(item.table, frame)
            unit.advance(asset, "crypto", None, Progress(day_start(events[0][0]), day_start(events[0][0]) + DAY))
    return lake


def complete(table, columns):
    """All columns of the table; those that signals do not read hold nothing of interest."""
    frame = table.empty().reindex(range(len(next(iter(columns.values())))))
    for column in table.columns:
        nothing = {"str": "", "bool": False, "int64": 0, "float64": 0.0, "object": ()}[column.type.dtype]
        frame[column.name] = columns.get(column.name, [nothing] * len(frame))
    return table.conform(frame)


def test_forward_windows_are_the_day_run():
    events = [(time, now) for time, now in made_events(3) if time <= at("2025-01-04T00:00")]
    fold = signals(PARAMETERS)
    day, forward = lake_with(events), lake_with(events)
    recompute_day_fold(day, fold, "crypto", GROUP, day=DAY_RUN, run_id="day")
    for end in (at("2025-01-03T23:07:13"), at("2025-01-03T23:40"), at("2025-01-03T23:40:01"), at("2025-01-04T00:00")):
        forward_fold(forward, fold, "crypto", GROUP, end=end, run_id="forward")
    columns = list(SIGNALS.value_columns)
    expected, found = (lake.read(SIGNALS)[columns].sort_values("id", ignore_index=True) for lake in (day, forward))
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert {"validated", "rejected", "duplicate", "failed"} <= set(expected["status"])
