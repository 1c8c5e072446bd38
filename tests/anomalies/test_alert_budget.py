from hypothesis import given
from hypothesis import strategies as st

from signal_assets.anomalies.alert_budget import AlertBudget
from signal_assets.event_time import DAY, HOUR
from signal_assets.machine import decode_state, encode_state


def test_a_day_slides():
    # Three a day: 0, 1 h, 2 h are given; the fourth has to wait until the first is 24 h old, to the microsecond.
    budget = AlertBudget(3)
    assert budget.newest("a") is None
    for time in (0, HOUR, 2 * HOUR):
        assert budget.allows("a", time)
        budget.spend("a", time)
    assert not budget.allows("a", 2 * HOUR)
    assert not budget.allows("a", DAY - 1)
    assert budget.allows("a", DAY)
    budget.spend("a", DAY)
    assert not budget.allows("a", DAY + HOUR - 1)
    assert budget.allows("a", DAY + HOUR)
    assert budget.newest("a") == DAY
    assert budget.allows("b", 0)


@given(
    waits=st.lists(st.integers(0, DAY // 2), max_size=60),
    limit=st.integers(1, 5),
    restarts=st.sets(st.integers(0, 60)),
)
def test_never_more_in_any_day_and_never_fewer_than_allowed(waits, limit, restarts):
    budget, time, given_at = AlertBudget(limit), 0, []
    for number, wait in enumerate(waits):
        time += wait
        if number in restarts:
            text = encode_state(budget.state())
            budget = AlertBudget(limit)
            budget.restore(decode_state(text))
        counting = [alert for alert in given_at if time - DAY < alert <= time]
        assert budget.allows("a", time) == (len(counting) < limit)
        if budget.allows("a", time):
            budget.spend("a", time)
            given_at.append(time)
    for first in given_at:
        assert sum(first <= alert < first + DAY for alert in given_at) <= limit
