"""What holds for any market and any signals."""

import json
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.event_time import HOUR, SECOND
from signal_assets.execution.broker import SETTLEMENT, Order
from signal_assets.execution.paper_broker_machine import PaperBrokerMachine
from signal_assets.execution.parameters import ExecutionParameters
from signal_assets.execution.tables import FILLS, ORDERS, POSITIONS, TABLES
from signal_assets.fixed_point import SCALE, format_fixed
from signal_assets.fold import Stepper, frame_of
from signal_assets.machine import decode_state, encode_state, record_class
from signal_assets.market.tables import FEATURES
from signal_assets.signals.tables import SIGNALS
from tests.execution.paper_session import BTC, ETH, ETHBTC, GROUP, NOON, RIDER, TRIANGLE, record

PARAMETERS = ExecutionParameters(
    weights=((RIDER, 2), (TRIANGLE, 1)),
    slippage_cap=SCALE // 50,
    largest_position=SCALE // 2,
    daily_loss_limit=SCALE // 100,
    safety_stop=SCALE // 40,
    maximum_holding=2 * HOUR,
)
"""Limits so tight that every one of them is met."""

MIDDLE = {BTC.key: 50_000 * SCALE, ETH.key: 2_500 * SCALE, ETHBTC.key: SCALE // 20}
ONE = {BTC.key: SCALE // 50, ETH.key: SCALE * 2 // 5, ETHBTC.key: SCALE * 2 // 5}
"""About 1,000 FDUSD of each."""

percent = st.integers(-12, 12)
books = st.fixed_dictionaries(
    {},
    optional={
        instrument.key: st.tuples(percent, st.lists(st.integers(0, 7), min_size=1, max_size=4)) for instrument in GROUP
    },
)
singles = st.tuples(
    st.sampled_from([instrument.key for instrument in GROUP]),
    st.sampled_from(("buy", "sell")),
    st.sampled_from(("market", "limit")),
    percent,
    st.integers(0, 3),
)
cycles = st.tuples(st.sampled_from((1, -1)), percent)
steps = st.lists(
    st.tuples(
        st.sampled_from((1, 1, 1, 1, 5, 61, 3_700, 30_000)),
        books,
        st.lists(singles, max_size=2),
        st.lists(cycles, max_size=1),
    ),
    min_size=4,
    max_size=20,
)


def moved(key, percentage):
    return MIDDLE[key] * (100 + percentage) // 100


def features(time, key, percentage, sizes):
    """A spread of 0.2 % around the moved price, levels 0.4 % apart, sizes in quarters of about 1,000 FDUSD."""
    middle = moved(key, percentage)
    quantities = [size * ONE[key] // 4 for size in sizes]
    quantities[0] += 1
    bids = [middle * (999 - 4 * place) // 1_000 for place in range(len(sizes))]
    asks = [middle * (1_001 + 4 * place) // 1_000 for place in range(len(sizes))]
    columns = {
        "instrument": key,
        "time": time,
        "best_bid": bids[0],
        "best_ask": asks[0],
        "bid_price_20": bids,
        "bid_quantity_20": quantities,
        "ask_price_20": asks,
        "ask_quantity_20": quantities,
    }
    return record(FEATURES, columns)


def single(time, number, key, action, order_type, percentage, size):
    price = moved(key, percentage)
    up, down = price * 103 // 100, price * 97 // 100
    columns = {
        "id": f"{time} {number}",
        "strategy": RIDER,
        "instrument": key,
        "action": action,
        "order_type": order_type,
        "legs": "[]",
        "entry_price": price,
        "stop_loss": down if action == "buy" else up,
        "take_profit": up if action == "buy" else down,
        "quantity": size * ONE[key],
    }
    return record(SIGNALS, columns | {"expires_at": time + 60 * SECOND, "status": "validated"})


def cycle(time, number, direction, percentage):
    sides = {BTC.key: direction, ETHBTC.key: direction, ETH.key: -direction}
    legs = [
        {
            "instrument": key,
            "side": "buy" if side > 0 else "sell",
            "quantity": format_fixed(ONE[key]),
            "limit_price": format_fixed(moved(key, side * percentage)),
        }
        for key, side in sides.items()
    ]
    columns = {
        "id": f"{time} cycle {number}",
        "strategy": TRIANGLE,
        "instrument": "*.crypto",
        "action": "buy",
        "order_type": "limit",
        "legs": json.dumps(legs),
        "entry_price": MIDDLE[BTC.key],
        "quantity": 0,
    }
    return record(SIGNALS, columns | {"expires_at": time + 60 * SECOND, "status": "validated"})


def events_of(drawn):
    """(time, events) of the drawn steps; the first one has every book, so that rates are known."""
    time, made = NOON, []
    for place, (seconds, market, signals, legs) in enumerate(drawn):
        time += seconds * SECOND
        market = dict.fromkeys(MIDDLE, (0, [4, 4])) if place == 0 else market
        events = {FEATURES.name: [features(time, key, *market[key]) for key in sorted(market)]}
        acts = [single(time, number, *fields) for number, fields in enumerate(signals)]
        acts += [cycle(time, number, *fields) for number, fields in enumerate(legs)]
        events[SIGNALS.name] = acts
        made.append((time, {name: rows for name, rows in events.items() if rows}))
    return made


def run(events, cuts=()):
    """Rows of every step and the last state; at the cuts a new machine goes on from the text of the old one's state."""
    machine = PaperBrokerMachine(GROUP, PARAMETERS)
    stepper = Stepper(machine)
    rows = []
    for place, (time, happened) in enumerate(events):
        if place in cuts:
            text = encode_state(machine.state())
            machine = PaperBrokerMachine(GROUP, PARAMETERS)
            machine.restore(decode_state(text))
            stepper = Stepper(machine)
        rows.append({name: list(made) for name, made in stepper.step(time, happened).items()})
    return rows, encode_state(machine.state())


def records(rows, table):
    return [record_class(table)._make(row) for step in rows for row in step.get(table.name, ())]


@settings(max_examples=40, deadline=None)
@given(steps, st.sets(st.integers(0, 19)))
def test_stopping_anywhere_changes_nothing(drawn, cuts):
    events = events_of(drawn)
    whole, state = run(events)
    restored, restored_state = run(events, cuts)
    assert restored == whole
    assert restored_state == state


@settings(max_examples=25, deadline=None)
@given(steps, steps, st.integers(1, 19))
def test_the_future_does_not_change_the_past(drawn, other, cut):
    cut = min(cut, len(drawn))
    one, two = (run(events_of([*drawn[:cut], *future]))[0] for future in (drawn[cut:], other))
    assert one[:cut] == two[:cut]


@settings(max_examples=60, deadline=None)
@given(steps)
def test_fills_add_up_to_positions_and_cash_to_the_last_unit(drawn):
    rows, _ = run(events_of(drawn))
    quantity, cash, fees = defaultdict(int), defaultdict(int), defaultdict(int)
    for step in rows:
        for fill in records([step], FILLS):
            key, side = (fill.strategy, fill.instrument), 1 if fill.side == "buy" else -1
            quantity[key] += side * fill.quantity
            cash[key] -= side * fill.notional
            fees[key] += fill.fee
        filled = {(fill.strategy, fill.instrument) for fill in records([step], FILLS)}
        told = records([step], POSITIONS)
        assert {(row.strategy, row.instrument) for row in told} == filled
        for row in told:
            key = row.strategy, row.instrument
            assert (row.quantity, row.realized - row.cost, row.fees) == (quantity[key], cash[key], fees[key])


@settings(max_examples=60, deadline=None)
@given(steps)
def test_nothing_is_filled_beyond_what_is_offered_nor_beyond_an_order_s_price(drawn):
    events = events_of(drawn)
    rows, _ = run(events)
    placed = {}
    for row in records(rows, ORDERS):
        placed.setdefault(row.id, row)
    taken, offered = defaultdict(int), {}
    for time, happened in events:
        for row in happened.get(FEATURES.name, ()):
            offered[row.instrument, "buy", time] = sum(row.ask_quantity_20)
            offered[row.instrument, "sell", time] = sum(row.bid_quantity_20)
    for fill in records(rows, FILLS):
        order = placed[fill.order_id]
        if fill.purpose == SETTLEMENT:
            continue
        assert fill.time > order.time
        taken[fill.instrument, fill.side, fill.time] += fill.quantity
        if order.limit_price is not None:
            assert fill.price <= order.limit_price if fill.side == "buy" else fill.price >= order.limit_price
    assert all(taken[key] <= offered[key] for key in taken)


@settings(max_examples=40, deadline=None)
@given(steps)
def test_every_order_tells_one_consistent_life(drawn):
    rows, text = run(events_of(drawn))
    lives, sums = defaultdict(list), defaultdict(int)
    for row in records(rows, ORDERS):
        lives[row.id].append(row)
    for fill in records(rows, FILLS):
        sums[fill.order_id] += fill.quantity
    live = {Order(*fields).id for fields in decode_state(text)["orders"]}
    for order_id, life in lives.items():
        assert [row.change for row in life] == list(range(len(life)))
        assert life[0].status in ("placed", "rejected")
        assert sum(row.status in ("filled", "canceled", "expired", "rejected") for row in life) == (
            order_id not in live
        )
        assert life[-1].filled == sums[order_id] <= life[-1].quantity
        if life[-1].status != "rejected":
            assert (life[-1].filled == life[-1].quantity) == (life[-1].status == "filled")


@settings(max_examples=30, deadline=None)
@given(steps)
def test_rows_fit_their_tables(drawn):
    rows, _ = run(events_of(drawn))
    for table in TABLES:
        made = [row for step in rows for row in step.get(table.name, ())]
        assert len(table.conform(frame_of(table, made))) == len(made)
