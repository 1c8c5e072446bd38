from hypothesis import given
from hypothesis import strategies as st

from signal_assets.event_time import MINUTE
from signal_assets.execution.positions import Position
from signal_assets.execution.tables import FILLS
from signal_assets.fixed_point import SCALE
from signal_assets.fold import frame_of
from signal_assets.machine import record_class
from signal_assets.market.tables import FEATURES
from signal_assets.performance.equity import EquityMachine
from signal_assets.performance.marks import marks_of
from signal_assets.performance.pnl_identity import open_lots, pnl_identities
from signal_assets.performance.tables import EQUITY, TRADE_LOG
from signal_assets.performance.trade_log import TradeLogMachine
from tests.performance.account_events import (
    BTC,
    INSTRUMENTS,
    MIDNIGHT,
    PARAMETERS,
    best_prices,
    fill,
    histories,
    light,
    of_table,
    quote,
    run,
)

Trade = record_class(TRADE_LOG)


def identities(history, tamper=0):
    """The identity of every account at the history's last whole minute; None without one."""
    ends = [number for number, (time, _) in enumerate(history) if time % MINUTE == 0]
    if not ends:
        return None
    history = history[: ends[-1] + 1]
    trades = [row for rows in run(TradeLogMachine(), history) for row in rows.get(TRADE_LOG.name, [])]
    worth = run(EquityMachine(INSTRUMENTS, PARAMETERS), history)[-1][EQUITY.name]
    log = frame_of(TRADE_LOG, trades)
    log["net"] += tamper
    return pnl_identities(
        of_table(history, FILLS),
        log,
        frame_of(EQUITY, worth),
        marks_of(INSTRUMENTS, "FDUSD", best_prices(history)),
        PARAMETERS.start_capital,
        PARAMETERS.starting_balance,
    )


def test_by_hand():
    # Bought 2 for 200 with a fee of 10, sold 1 for 130 with a fee of 3; the other is worth 120. First in, first out:
    # closed 130 - 100 - 5 - 3 = 22, open 120 - 100 = 20 less a fee of 5: 37. Cash: -210 + 127, and 120 held: 37.
    minute = MIDNIGHT + MINUTE
    history = [
        (minute - 1, {FEATURES.name: [quote(minute - 1, 120 * SCALE, 120 * SCALE)]}),
        (minute, {FILLS.name: [fill(minute, "buy", 2 * SCALE, 200 * SCALE, 10 * SCALE, order="a")]}),
        (minute + MINUTE, {FILLS.name: [fill(minute + MINUTE, "sell", SCALE, 130 * SCALE, 3 * SCALE, order="b")]}),
    ]
    rider = next(one for one in identities(history) if one.name == "momentum_rider")
    assert (rider.closed, rider.unrealized, rider.open_fees) == (22 * SCALE, 20 * SCALE, 5 * SCALE)
    assert rider.equity_change == 37 * SCALE
    assert rider.difference == 0
    assert [one.difference for one in identities(history, tamper=1)] == [-1, 0, -1]  # a unit too much is noticed


@light
@given(histories())
def test_closed_trades_and_what_is_open_are_the_change_of_equity(history):
    found = identities(history)
    assert found is None or [one.difference for one in found] == [0] * len(found)


@light
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(1, 10**6), st.integers(1, 10**9), st.integers(0, 10**5)),
        min_size=1,
        max_size=30,
    ),
    st.integers(-(10**9), 10**9),
)
def test_first_in_first_out_and_average_cost_tell_of_the_same_profit(fills, value):
    """Whatever the fills and whatever the holding is worth, and although both round every part."""
    machine, position, realized = TradeLogMachine(), Position("momentum_rider", BTC), 0
    records = []
    for number, (buys, quantity, notional, fee) in enumerate(fills):
        one = fill(number + 1, "buy" if buys else "sell", quantity, notional, fee, order=f"order {number}")
        records.append(one)
        for row in machine.step(one.time, {FILLS.name: [one]}).get(TRADE_LOG.name, []):
            realized += Trade(*row).gross
        position.book(1 if buys else -1, quantity, notional, fee)
    lots = machine.open_lots().get(("momentum_rider", BTC), ())
    signs = [1 if lot.side == "buy" else -1 for lot in lots]
    assert sum(sign * lot.quantity for sign, lot in zip(signs, lots, strict=True)) == position.quantity
    cost = sum(sign * lot.notional for sign, lot in zip(signs, lots, strict=True))
    assert realized + (value - cost) == position.realized + (value - position.cost)
    assert tuple(open_lots(reversed(records))["momentum_rider", BTC]) == lots
