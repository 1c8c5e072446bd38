import pytest

from signal_assets.event_time import DAY, HOUR, SECOND
from signal_assets.execution.deployments import Deployments
from signal_assets.execution.parameters import ExecutionParameters
from signal_assets.execution.tables import DEPLOYMENTS
from signal_assets.fixed_point import SCALE
from signal_assets.machine import record_class

MORNING = 20_000 * DAY + 9 * HOUR
TWO = (("first", 1), ("second", 3))


def begun(time=MORNING, **parameters):
    deployments = Deployments(ExecutionParameters(weights=TWO, **parameters), "crypto")
    deployments.begin_step(time, lambda strategy: pytest.fail("no day has ended"))
    return deployments


def told(deployments):
    rows = [record_class(DEPLOYMENTS)._make(row) for row in deployments.rows]
    deployments.rows = []
    return rows


def states(deployments):
    return [(row.strategy, row.change, row.state, row.reason) for row in told(deployments)]


def test_the_first_step_takes_every_strategy_from_candidate_to_active():
    rows = told(begun())
    assert [(row.strategy, row.change, row.state, row.capital // SCALE) for row in rows] == [
        ("first", 0, "candidate", 0),
        ("first", 1, "validated", 0),
        ("first", 2, "allocated", 2_500),  # one of four shares of 10,000
        ("first", 3, "active", 2_500),
        ("second", 0, "candidate", 0),
        ("second", 1, "validated", 0),
        ("second", 2, "allocated", 7_500),
        ("second", 3, "active", 7_500),
    ]
    assert {row.instrument for row in rows} == {"*.crypto"}
    assert {row.time for row in rows} == {MORNING}


def test_a_day_s_loss_pauses_until_the_next_utc_day_whose_first_step_is_later_than_midnight():
    deployments = begun()
    told(deployments)
    # 5 % of 2,500 is 125.
    deployments.judge(MORNING, "first", 2_375 * SCALE + 1)
    assert states(deployments) == []
    deployments.judge(MORNING, "first", 2_375 * SCALE)
    assert states(deployments) == [("first", 4, "paused", "daily loss limit")]
    assert deployments.refusal("first") == "the strategy is paused: daily loss limit"
    assert deployments.refusal("second") == ""
    assert deployments.liquidates("first") == ""
    midnight = 20_001 * DAY
    deployments.begin_step(midnight, lambda strategy: 0)  # midnight sharp is the old day
    assert states(deployments) == []
    deployments.begin_step(midnight + SECOND, lambda strategy: 2_375 * SCALE)
    assert states(deployments) == [("first", 5, "active", "a new day")]
    # The new day counts from the equity it found: 2,375 - 125 = 2,250. But 10 % below the capital is 2,250, too.
    deployments.judge(midnight + SECOND, "first", 2_250 * SCALE + 1)
    assert states(deployments) == []


def test_the_safety_stop_measures_from_the_highest_equity_and_is_for_good():
    deployments = begun(daily_loss_limit=SCALE)
    told(deployments)
    deployments.judge(MORNING, "first", 3_000 * SCALE)
    deployments.judge(MORNING, "first", 2_701 * SCALE)
    assert states(deployments) == []
    deployments.judge(MORNING, "first", 2_700 * SCALE)  # 10 % below 3,000, though above the capital
    assert states(deployments) == [("first", 4, "flagged", "safety stop")]
    assert deployments.liquidates("first") == "the strategy is flagged: safety stop"
    deployments.begin_step(MORNING + DAY, lambda strategy: 2_700 * SCALE)
    deployments.judge(MORNING + DAY, "first", 3_000 * SCALE)
    assert states(deployments) == []
    assert deployments.refusal("first") != ""


def test_a_paused_strategy_that_loses_on_is_flagged():
    deployments = begun()
    deployments.judge(MORNING, "first", 2_300 * SCALE)
    deployments.judge(MORNING, "first", 2_200 * SCALE)
    assert [row.state for row in told(deployments)][-2:] == ["paused", "flagged"]


def test_the_kill_switch_flags_all_or_one_and_lets_go_again():
    deployments = begun(kill_switch=True)
    assert [row[2] for row in states(deployments)].count("flagged") == 2
    freed = Deployments(ExecutionParameters(weights=TWO, killed=("second",)), "crypto")
    freed.restore(deployments.state())
    freed.begin_step(MORNING + SECOND, lambda strategy: 0)
    assert states(freed) == [("first", 5, "active", "no longer: kill switch")]
    assert freed.refusal("second") == "the strategy is flagged: kill switch"


def test_the_kill_switch_does_not_undo_the_safety_stop():
    deployments = begun(daily_loss_limit=SCALE)
    deployments.judge(MORNING, "first", 0)
    killed = Deployments(ExecutionParameters(weights=TWO, kill_switch=True), "crypto")
    killed.restore(deployments.state())
    killed.begin_step(MORNING + SECOND, lambda strategy: 0)
    freed = Deployments(ExecutionParameters(weights=TWO), "crypto")
    freed.restore(killed.state())
    freed.begin_step(MORNING + 2 * SECOND, lambda strategy: 0)
    assert [row[:1] + row[2:] for row in states(freed)] == [("second", "active", "no longer: kill switch")]


def test_a_strategy_that_is_configured_later_joins_and_one_that_is_not_any_more_is_flagged():
    changed = Deployments(ExecutionParameters(weights=(("second", 3), ("third", 1))), "crypto")
    changed.restore(begun().state())
    changed.begin_step(MORNING + SECOND, lambda strategy: 0)
    assert [row[:3] for row in states(changed)] == [
        ("third", 0, "candidate"),
        ("third", 1, "validated"),
        ("third", 2, "allocated"),
        ("third", 3, "active"),
        ("first", 4, "flagged"),
    ]
    assert changed.refusal("first") == "the strategy is flagged: not configured"
    assert changed.refusal("nobody") == "the strategy is not deployed"


@pytest.mark.parametrize(
    "wrong",
    [
        {"starting_balance": 0},
        {"latency": -1},
        {"slippage_cap": SCALE},
        {"position_size": 0},
        {"largest_position": SCALE + 1},
        {"daily_loss_limit": 0},
        {"safety_stop": -1},
        {"maximum_holding": 0},
        {"weights": (("first", 1), ("first", 1))},
        {"weights": (("first", 0),)},
        {"killed": ("misspelt",)},
    ],
)
def test_parameters_out_of_bounds_are_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        ExecutionParameters(**wrong)
