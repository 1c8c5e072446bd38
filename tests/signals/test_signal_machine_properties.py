"""The machine under random markets: stepped one by one, restored anywhere, cut anywhere."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.anomalies.tables import ANOMALIES
from signal_assets.event_time import DAY, MINUTE, SECOND, day_start
from signal_assets.fold import Stepper
from signal_assets.learning.tables import RECENT_PERFORMANCE, THRESHOLDS
from signal_assets.machine import decode_state, encode_state
from signal_assets.market.tables import FEATURES
from signal_assets.signals.fresh_anomalies import SEVERITIES
from signal_assets.signals.parameters import SignalParameters
from signal_assets.signals.signal_machine import SignalMachine
from signal_assets.strategies.tables import STRATEGIES, strategy_table
from tests.signals.material import (
    BTC,
    ETH,
    EUR,
    GROUP,
    anomaly,
    arbitrage_record,
    at,
    features,
    money,
    proposal_record,
    recent_performance,
    sell_record,
    signals_of,
    threshold,
)

START = at("2025-01-03T23:00")
"""A Friday night: the weekend and a midnight lie inside."""
PARAMETERS = SignalParameters(
    volatility_window=3, volatility_history=12, least_history=6, trend_window=4, range_window=3, correlation_window=5
)
"""Windows short enough for minutes to leave them."""
STEPS = 120
STATUSES = {"validated", "rejected", "duplicate", "failed"}


def in_force(start):
    """Thresholds that change with the day."""
    days = range(day_start(START) // DAY, start // DAY + 1)
    return {
        THRESHOLDS.name: [threshold("min_signal_quality", day * DAY, 0.05 + 0.1 * (day % 5)) for day in days],
        RECENT_PERFORMANCE.name: [recent_performance("momentum_rider", day * DAY, 0.1 * (day % 10)) for day in days],
    }


def made_events(seed):
    """Steps: prices most of the time, pauses, anomalies, proposals good and bad."""
    random = np.random.default_rng(seed)
    prices = {instrument.symbol: 100.0 for instrument in GROUP}
    events, time = [], START
    while len(events) < STEPS:
        time += int(random.choice([SECOND, 20 * SECOND, MINUTE, 20 * MINUTE], p=[0.2, 0.4, 0.38, 0.02]))
        common = random.normal(0, 1e-3)
        for symbol in prices:
            prices[symbol] *= float(np.exp(common + random.normal(0, 5e-4)))
        alive = {symbol: price for symbol, price in prices.items() if random.random() < 0.8}
        now = {FEATURES.name: features(time, **alive)} if alive else {}
        if random.random() < 0.2:
            keys = random.permutation([BTC.key, ETH.key])[: random.integers(1, 3)]
            now[ANOMALIES.name] = [anomaly(time, str(random.choice(SEVERITIES)), str(key)) for key in sorted(keys)]
        for strategy in STRATEGIES:
            records = [proposed(random, strategy, time, number) for number in range(random.integers(0, 4))]
            if records and random.random() < 0.5:
                now[strategy_table(strategy).name] = sorted(records, key=lambda record: (record.instrument, record.id))
        if now:
            events.append((time, now))
    return events


def proposed(random, strategy, time, number):
    changes = {
        "time": time,
        "instrument": str(random.choice([BTC.key, ETH.key, EUR.key])),
        "raw_confidence": float(random.choice([0.4, 0.6, 0.7, 0.9])),
        "timeframe": str(random.choice(["1m", "5m"])),
        "id": f"{strategy} {time} {number}",
        "failure": "ValueError: x" if random.random() < 0.05 else "",
    }
    if random.random() < 0.1:
        changes["stop_loss"] = money(250)
    if strategy == "triangular_arbitrage":
        return arbitrage_record(float(random.choice([0.0002, 0.001])), **changes)
    return (proposal_record if random.random() < 0.5 else sell_record)(strategy=strategy, **changes)


def run(events, restored_after=(), machine=None):
    """Rows by time, and the last state as text; the machine is saved and made anew after these steps."""
    stepper = Stepper(machine or SignalMachine(GROUP, PARAMETERS), in_force)
    rows = []
    for number, (time, now) in enumerate(events):
        rows.append((time, stepper.step(time, now)))
        if number in restored_after:
            text = encode_state(stepper.machine.state())
            other = SignalMachine(GROUP[::-1], PARAMETERS)
            other.restore(decode_state(text))
            assert encode_state(other.state()).encode() == encode_state(reordered(stepper.machine).state()).encode()
            stepper = Stepper(other, in_force)
    return rows, encode_state(reordered(stepper.machine).state())


def reordered(machine):
    """The same machine, its instruments in the order of the group turned round."""
    other = SignalMachine(GROUP[::-1], PARAMETERS)
    other.restore(decode_state(encode_state(machine.state())))
    return other


def test_the_markets_hold_everything_there_is_to_see():
    signals = [signal for seed in range(3) for _, made in run(made_events(seed))[0] for signal in signals_of(made)]
    assert {signal.status for signal in signals} == STATUSES
    assert {signal.severity for signal in signals} == {"", *SEVERITIES}
    assert {
        text for signal in signals for text in ("closed", "support", "trending", "volatile") if text in signal.reasons
    }
    assert len({signal.confidence for signal in signals}) > 100
    for seed in range(3):
        for time, made in run(made_events(seed))[0]:
            assert all(signal.event_time == time for signal in signals_of(made))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.sets(st.integers(0, STEPS - 1), max_size=6))
def test_saved_and_restored_anywhere_nothing_changes(seed, cuts):
    events = made_events(seed)
    rows, state = run(events)
    restored, restored_state = run(events, cuts)
    assert restored == rows
    assert restored_state == state


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, STEPS - 1))
def test_what_comes_later_changes_nothing_before(seed, cut):
    events = made_events(seed)
    rows, _ = run(events)
    assert run(events[:cut])[0] == rows[:cut]
    changed = [
        (time, {name: [turned(record) for record in records] for name, records in now.items()})
        for time, now in events[cut:]
    ]
    assert run(events[:cut] + changed)[0][:cut] == rows[:cut]


def turned(record):
    """Another future: other prices, other confidence."""
    if hasattr(record, "mid_price"):
        return record._replace(mid_price=record.mid_price * 1.1)
    return record._replace(raw_confidence=0.99) if hasattr(record, "raw_confidence") else record


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_the_order_of_instruments_in_the_group_changes_nothing(seed):
    events = made_events(seed)
    assert run(events, machine=SignalMachine(GROUP[::-1], PARAMETERS))[0] == run(events)[0]


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_steps_between_proposals_may_be_left_out_when_they_hold_no_prices(seed):
    # What is not proposed, priced or anomalous does not exist for the machine: an empty step is no step.
    events = made_events(seed)
    padded = [pair for time, now in events for pair in ((time, now), (time + 1, {}))]
    assert [row for row in run(padded)[0] if row[1]] == [row for row in run(events)[0] if row[1]]


def test_an_instrument_that_is_new_begins_cold_and_one_that_is_gone_is_left_out():
    events = made_events(7)
    before = SignalMachine((BTC, ETH), PARAMETERS)
    for time, now in events[:100]:
        known = {
            name: [record for record in records if record.instrument in (BTC.key, ETH.key)]
            for name, records in now.items()
        }
        before.step(time, known)
    after = SignalMachine((ETH, EUR), PARAMETERS)
    after.restore(decode_state(encode_state(before.state())))
    kept = after.state()
    assert set(kept["closes"]) == {ETH.key, EUR.key}
    np.testing.assert_array_equal(kept["closes"][ETH.key]["closes"], before.state()["closes"][ETH.key]["closes"])
    assert np.isnan(kept["closes"][EUR.key]["closes"]).all()
    assert {key for key, *_ in kept["opinions"]} <= {ETH.key}
    time = events[100][0]
    rows = after.step(time, {FEATURES.name: features(time, ETHFDUSD=100.0, EUR_USD=1.0)})
    assert rows == {}


def test_parameters_are_what_makes_the_difference():
    # The properties above would hold for a machine that does nothing: another pass mark gives other rows.
    events = made_events(3)
    strict = SignalMachine(GROUP, replace(PARAMETERS, minimum_mean_score=0.8))
    assert run(events, machine=strict)[0] != run(events)[0]
