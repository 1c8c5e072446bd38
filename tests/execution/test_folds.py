"""From settings and frames: what the lake hands over goes through the machine as the tests' plain numbers do."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from resources.execution_settings import ExecutionSettings
from signal_assets.event_time import MILLISECOND, MINUTE, SECOND
from signal_assets.execution.folds import BOOK, ORDERED, execution, execution_parameters
from signal_assets.execution.parameters import ExecutionParameters
from signal_assets.execution.tables import FILLS, TABLES
from signal_assets.fixed_point import SCALE
from signal_assets.fold import Stepper, frame_of, group_by_time
from tests.execution.paper_session import BTC, GROUP, NOON, RIDER, book, signal, units


def test_the_defaults_say_the_same_in_both_units():
    assert execution_parameters(ExecutionSettings()) == ExecutionParameters()


def test_settings_become_integers_without_a_float():
    settings = ExecutionSettings.model_validate(
        {
            "starting_balance": "2500.00000001",
            "latency_milliseconds": 35,
            "slippage_cap": 0.1,
            "safety_stop": "0.07",
            "maximum_holding_hours": 0.5,
            "killed": ["b"],
            "weights": {"a": "0.3", "b": 1},
        }
    )
    parameters = execution_parameters(settings)
    assert parameters.starting_balance == 250_000_000_001
    assert parameters.latency == 35 * MILLISECOND
    assert (parameters.slippage_cap, parameters.safety_stop) == (SCALE // 10, 7 * SCALE // 100)
    assert parameters.maximum_holding == 30 * MINUTE
    assert parameters.weights == (("a", 30_000_000), ("b", SCALE))
    # 0.3 of 1.3 parts: 2,500.00000001 x 3 / 13 = 576.92307692...
    assert parameters.capital("a") == 57_692_307_692
    assert execution_parameters(ExecutionSettings(maximum_holding_hours=None)).maximum_holding is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"starting_balance": "-1"},
        {"safety_stop": "1.5"},
        {"position_size": 0},
        {"slippage_cap": "0.000000001"},
        {"account_currency": "fdusd"},
        {"weights": {}},
        {"weights": {"a": 0}},
        {"weights": {"a": 1}, "killed": ["b"]},
        {"leverage": 3},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        ExecutionSettings.model_validate(wrong)


def test_settings_survive_json():
    settings = ExecutionSettings(weights={RIDER: Decimal("0.25")})
    assert ExecutionSettings.model_validate_json(settings.model_dump_json()) == settings


def test_frames_go_through_and_rows_fit_their_tables():
    fold = execution(ExecutionParameters(weights=((RIDER, 1),)))
    assert [item.table for item in fold.inputs] == [BOOK.table, ORDERED.table]
    asked = book(BTC, "61737.62x1", "61737.63x0.01 61737.70x1")
    rows = []
    for second in (0, 1):
        row = dict(asked, time=NOON + second * SECOND)
        rows.append({name: np.array(v, dtype=np.int64) if isinstance(v, list) else v for name, v in row.items()})
    features = pd.DataFrame(rows)[list(BOOK.columns)]
    wanted = signal(BTC, "buy", "61737.63", quantity="0.02", stop_loss="60000")
    wanted |= {"event_time": NOON, "expires_at": NOON + MINUTE, "take_profit": None}
    signals = pd.DataFrame([wanted])[list(ORDERED.columns)].astype({"stop_loss": "Int64", "take_profit": "Int64"})

    stepper = Stepper(fold.machine(GROUP))
    made = {table.name: [] for table in TABLES}
    for time, events in group_by_time({BOOK.table: features, ORDERED.table: signals}):
        for name, new in stepper.step(time, events).items():
            made[name] += new
    frames = {table.name: table.conform(frame_of(table, made[table.name])) for table in TABLES}
    # 0.01 x 61,737.63 = 617.3763 and 0.01 x 61,737.70 = 617.377
    assert frames[FILLS.name]["notional"].tolist() == [units("617.3763"), units("617.377")]
    assert [len(frame) for frame in frames.values()] == [2, 2, 1, 4]
