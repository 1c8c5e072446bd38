"""What the lanes rest on: rows depend on the events alone, not on cuts, restarts or the order within a time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.performance_settings import PerformanceSettings
from signal_assets.execution.parameters import ExecutionParameters
from signal_assets.execution.tables import FILLS
from signal_assets.fold import frame_of, group_by_time
from signal_assets.market.tables import FEATURES
from signal_assets.performance.folds import equity, performance_parameters, trade_log
from signal_assets.performance.parameters import PerformanceParameters
from tests.performance.account_events import INSTRUMENTS, PARAMETERS, best_prices, histories, light, of_table, run

lightest = settings(light, max_examples=20)
FOLDS = {"trade_log": trade_log(), "equity": equity(PARAMETERS)}
both = pytest.mark.parametrize("fold", FOLDS.values(), ids=FOLDS.keys())


def make(fold):
    return fold.machine(INSTRUMENTS)


def same(one, other):
    return repr(one) == repr(other)  # NaN is NaN, and every bit of a float shows


@pytest.mark.slow
@both
@light
@given(history=histories(), cuts=st.sets(st.integers(0, 14)))
def test_restarts_from_the_state_change_nothing(fold, history, cuts):
    assert same(run(make(fold), history), run(make(fold), history, cuts, lambda: make(fold)))


@both
@light
@given(history=histories(), length=st.integers(0, 14))
def test_the_future_changes_nothing(fold, history, length):
    assert same(run(make(fold), history)[:length], run(make(fold), history[:length]))


@both
@light
@given(history=histories(), random=st.randoms(use_true_random=False))
def test_the_order_within_a_time_changes_nothing(fold, history, random):
    shuffled = []
    for time, events in history:
        mixed = {name: random.sample(records, len(records)) for name, records in events.items()}
        shuffled.append((time, mixed))
    assert same(run(make(fold), history), run(make(fold), shuffled))


@both
@lightest
@given(history=histories())
def test_rows_bear_the_time_of_their_step_and_fit_their_table(fold, history):
    for (time, _), rows in zip(history, run(make(fold), history), strict=True):
        for table in fold.tables:
            frame = frame_of(table, rows.get(table.name, []))
            assert set(frame[table.time]) <= {time}
            table.conform(frame)
        assert set(rows) <= {table.name for table in fold.tables}


@both
@lightest
@given(history=histories())
def test_stepping_what_the_lake_holds_gives_the_same_rows(fold, history):
    held = {FILLS: frame_of(FILLS, of_table(history, FILLS)), FEATURES: best_prices(history)}
    inputs = {item.table: held[item.table] for item in fold.inputs}
    from_lake = [rows for rows in run(make(fold), list(group_by_time(inputs))) if rows]
    # A step without events is none in a run; it gives rows here only where the grid has a point that no table has.
    wanted = [(time, events) for time, events in history if any(item.table.name in events for item in fold.inputs)]
    assert same(from_lake, [rows for rows in run(make(fold), wanted) if rows])


def test_the_configuration_becomes_the_default_parameters():
    assert performance_parameters(PerformanceSettings(), ExecutionParameters()) == PerformanceParameters()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"start_capital": {"momentum_rider": -1}}, "must not be negative"),
        ({"start_capital": {"momentum_rider": 2}, "starting_balance": 1}, "more than the starting balance"),
        ({"look_back": 5}, "at least a day"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        PerformanceParameters(**wrong)
