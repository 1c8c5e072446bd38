import json

import pytest

from signal_assets.anomalies.tables import ANOMALIES
from signal_assets.event_time import DAY, MINUTE, SECOND
from signal_assets.learning.tables import RECENT_PERFORMANCE, THRESHOLDS
from signal_assets.machine import decode_state, encode_state
from signal_assets.market.tables import FEATURES
from signal_assets.signals.parameters import SignalParameters, ThresholdBounds
from signal_assets.signals.signal_machine import SignalMachine
from signal_assets.signals.tables import SIGNALS
from tests.signals.material import (
    BTC,
    ETH,
    EUR,
    GROUP,
    NIGHT,
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


def machine(**changes):
    made = SignalMachine(GROUP, SignalParameters(**changes))
    made.begin_day(NIGHT // DAY * DAY, {})
    return made


def events_of(*records):
    events = {}
    for record in records:
        events.setdefault(f"strategies.{record.strategy}", []).append(record)
    return events


def step(made, *records, time=NIGHT, **more):
    return signals_of(made.step(time, events_of(*records) | more))


def reasons(signal):
    return json.loads(signal.reasons)


def test_an_ordinary_sound_signal_passes_an_unknown_market_narrowly():
    [signal] = step(machine(), proposal_record())
    # Technical (0.65 + 1 + 0.5) / 3 = 0.716667; 0.716667 + 0.6 + 0.7 + 0.7 + 0.8 + 0.7 = 4.216667; / 6 = 0.702777833.
    assert signal.status == "validated"
    assert reasons(signal)["mean_score"] == 0.702777833
    # As in test_confidence: 0.55 of an unknown market.
    assert signal.confidence == 0.55
    # 0.55 x 1.5 - 0.45
    assert reasons(signal)["expected_edge"] == pytest.approx(0.375)
    assert reasons(signal)["minimum_quality"] == 0.1
    assert reasons(signal)["against"] == []
    assert len(reasons(signal)["checks"]) == 6
    assert len(reasons(signal)["factors"]) == 7
    assert all(set(score) == {"score", "reason"} for score in reasons(signal)["checks"].values())


def test_a_row_bears_what_was_proposed():
    record = proposal_record(metadata='{"a":1}', quantity=money(2))
    [signal] = step(machine(), record)
    taken_over = set(record._fields) & set(signal._fields)
    assert len(taken_over) == 17
    assert {name: getattr(signal, name) for name in taken_over} == {name: getattr(record, name) for name in taken_over}
    assert (signal.symbol, signal.pair, signal.asset_class) == ("BTCFDUSD", "BTC/FDUSD", "crypto")
    assert (signal.event_time, signal.expires_at) == (NIGHT, NIGHT + 60 * SECOND)
    assert (signal.signal_type, signal.severity) == ("entry", "")
    text = signal.reasons
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def test_a_mean_of_exactly_the_pass_mark_is_rejected():
    [signal] = step(machine(), proposal_record(raw_confidence=0.6))
    assert reasons(signal)["mean_score"] == 0.7
    assert signal.status == "rejected"
    assert reasons(signal)["against"] == ["mean score 0.7000 is not above 0.7"]


def test_an_arbitrage_is_judged_by_its_profit():
    # Technical (0.65 + 1) / 2 = 0.825: mean (0.825 + 0.6 + 0.7 + 0.7 + 0.8 + 0.7) / 6 = 0.720833333.
    [signal] = step(machine(), arbitrage_record(0.001))
    assert (signal.status, signal.signal_type) == ("validated", "arbitrage")
    assert reasons(signal)["mean_score"] == 0.720833333
    assert reasons(signal)["expected_edge"] == pytest.approx(0.1)
    # 0.049 % is below the opportunity threshold of 0.05 %, though the mean still passes.
    [thin] = step(machine(), arbitrage_record(0.00049))
    assert thin.status == "rejected"
    assert reasons(thin)["against"] == ["expected edge 0.0490 is below 0.0500"]


def test_a_failure_stays_a_failure():
    failed = proposal_record(
        action="hold",
        entry_price=0,
        stop_loss=None,
        take_profit=None,
        raw_confidence=0.0,
        failure="ValueError: no bars",
    )
    [signal] = step(machine(), failed)
    assert (signal.status, signal.confidence, signal.action) == ("failed", 0.0, "hold")
    assert reasons(signal) == {"against": ["strategy failed: ValueError: no bars"]}


def test_what_is_not_sound_is_rejected_with_the_reason():
    [signal] = step(machine(), proposal_record(stop_loss=money(101)))
    assert (signal.status, signal.confidence) == ("rejected", 0.0)
    assert reasons(signal) == {"against": ["not sound: stop 101 of a buy at 100"]}
    [stranger] = step(machine(), proposal_record(instrument="DOGEFDUSD.BINANCE"))
    assert (stranger.status, stranger.symbol, stranger.pair) == ("rejected", "DOGEFDUSD", "")
    assert reasons(stranger) == {"against": ["not sound: unknown instrument DOGEFDUSD.BINANCE"]}


@pytest.mark.parametrize(
    ("time", "open_to_all"),
    [
        ("2025-01-04T00:00:00", True),  # midnight sharp closes the Friday
        ("2025-01-04T00:00:01", False),
        ("2025-01-05T15:00:00", False),
        ("2025-01-06T00:00:00", False),
        ("2025-01-06T00:00:01", True),
    ],
)
def test_at_weekends_only_crypto_signals(time, open_to_all):
    time = at(time)
    # Technical (0.9 + 1 + 0.5) / 3 = 0.8; at a weekend (0.8 + 0.6 + 0.7 + 0.65 + 0.8 + 0.7) / 6 = 0.708.
    crypto = proposal_record(time=time, raw_confidence=0.9)
    forex = proposal_record(time=time, instrument=EUR.key, raw_confidence=0.9)
    signals = {signal.instrument: signal for signal in step(machine(), crypto, forex, time=time)}
    assert signals[BTC.key].status == "validated"
    assert signals[EUR.key].status == ("validated" if open_to_all else "rejected")
    if not open_to_all:
        assert reasons(signals[EUR.key]) == {"against": ["market closed: forex at a weekend (UTC)"]}


def test_low_confidence_and_low_edge_are_named():
    demanding = machine(min_signal_quality=ThresholdBounds(0.56, 0.5, 0.6))
    [signal] = step(demanding, proposal_record())
    assert signal.status == "rejected"
    assert reasons(signal)["against"] == ["confidence 0.5500 is below 0.5600"]
    # Exactly the least confidence is enough: at least, not above.
    [enough] = step(machine(min_signal_quality=ThresholdBounds(0.55, 0.5, 0.6)), proposal_record())
    assert enough.status == "validated"
    greedy = machine(opportunity_threshold=ThresholdBounds(0.4, 0.1, 0.6))
    [signal] = step(greedy, proposal_record())
    assert reasons(signal)["against"] == ["expected edge 0.3750 is below 0.4000"]


def test_duplicates_by_hand():
    made, window = machine(), 15 * MINUTE
    first = step(made, proposal_record())[0]
    # The other action is another slot, and so is another timeframe, strategy or pair.
    assert step(made, sell_record(time=NIGHT + SECOND), time=NIGHT + SECOND)[0].status == "validated"
    later = NIGHT + window - SECOND
    second = step(made, proposal_record(time=later), time=later)[0]
    assert (first.status, second.status) == ("validated", "duplicate")
    assert reasons(second)["against"][0].startswith("duplicate: BTC/FDUSD|1m|moving_average_crossover|buy")
    assert second.confidence > 0
    others = [
        proposal_record(time=later, timeframe="5m"),
        proposal_record("momentum_rider", time=later),
        proposal_record(time=later, instrument=ETH.key),
    ]
    assert [signal.status for signal in step(made, *others, time=later)] == ["validated"] * 3
    # At exactly fifteen minutes the slot is free again.
    assert step(made, proposal_record(time=NIGHT + window), time=NIGHT + window)[0].status == "validated"


def test_only_validated_signals_take_the_slot():
    made = machine()
    assert step(made, proposal_record(raw_confidence=0.1))[0].status == "rejected"
    assert step(made, proposal_record(), time=NIGHT + SECOND)[0].status == "validated"
    # What is rejected on its merits is no duplicate, though the slot is held.
    assert step(made, proposal_record(raw_confidence=0.1), time=NIGHT + 2 * SECOND)[0].status == "rejected"


def test_a_slot_is_held_across_save_and_restore():
    made = machine()
    step(made, proposal_record())
    text = encode_state(made.state())
    for after, status in ((15 * MINUTE - SECOND, "duplicate"), (15 * MINUTE, "validated")):
        other = machine()
        other.restore(decode_state(text))
        assert step(other, proposal_record(), time=NIGHT + after)[0].status == status


def test_ties_are_judged_by_strategy_then_instrument_then_id():
    records = [
        proposal_record(instrument=ETH.key, id="b"),
        proposal_record("momentum_rider", instrument=ETH.key),
        proposal_record(instrument=BTC.key, id="z"),
        arbitrage_record(),
        proposal_record(instrument=ETH.key, id="a"),
    ]
    signals = step(machine(), *records)
    assert [(signal.strategy, signal.instrument, signal.id[:1]) for signal in signals] == [
        ("triangular_arbitrage", BTC.key, "t"),
        ("momentum_rider", ETH.key, "m"),
        ("moving_average_crossover", BTC.key, "z"),
        ("moving_average_crossover", ETH.key, "a"),
        ("moving_average_crossover", ETH.key, "b"),
    ]
    # Of two that want one slot the first by id has it.
    assert [signal.status for signal in signals[-2:]] == ["validated", "duplicate"]
    assert signals == step(machine(), *reversed(records))


def test_strategies_of_one_step_support_and_contradict_each_other():
    # One support: 0.7 + 0.3 / 2 = 0.85; one against: 0.55.
    for other, score in ((proposal_record("momentum_rider"), 0.85), (sell_record(strategy="momentum_rider"), 0.55)):
        for signal in step(machine(), proposal_record(), other):
            assert reasons(signal)["checks"]["correlation"]["score"] == score
            assert reasons(signal)["factors"]["correlation"]["score"] == score
    # A failure and an unsound proposal have no say.
    for silent in (
        proposal_record("momentum_rider", failure="ValueError: x"),
        proposal_record("momentum_rider", stop_loss=None),
    ):
        signals = step(machine(), proposal_record(), silent)
        assert reasons(signals[1])["checks"]["correlation"]["score"] == 0.7


def test_severity_is_that_of_anomalies_up_to_a_minute_old():
    made = machine()
    made.step(NIGHT - 60 * SECOND, {ANOMALIES.name: [anomaly(NIGHT - 60 * SECOND, "HIGH")]})
    made.step(NIGHT - 10 * SECOND, {ANOMALIES.name: [anomaly(NIGHT - 10 * SECOND, "CRITICAL", ETH.key)]})
    now = [anomaly(NIGHT, "LOW"), anomaly(NIGHT, "MEDIUM")]
    [arbitrage, btc] = step(made, proposal_record(), arbitrage_record(), **{ANOMALIES.name: now})
    # BTC's own: the HIGH one is exactly 60 s old. The triangle goes through ETH as well.
    assert (btc.severity, arbitrage.severity) == ("HIGH", "CRITICAL")
    # A second later it is too old.
    assert step(made, proposal_record("momentum_rider"), time=NIGHT + SECOND)[0].severity == "MEDIUM"
    assert step(made, proposal_record(timeframe="5m"), time=NIGHT + 61 * SECOND)[0].severity == ""


def test_what_is_in_force_changes_with_the_day():
    made = machine()
    first, second = at("2025-01-08T00:00"), at("2025-01-09T00:00")
    versions = [threshold("min_signal_quality", first, 0.2)]
    records = [recent_performance("moving_average_crossover", first, 0.4)]
    made.begin_day(first, {THRESHOLDS.name: versions, RECENT_PERFORMANCE.name: records})
    [signal] = step(made, proposal_record(), time=NIGHT)
    assert reasons(signal)["minimum_quality"] == 0.2
    # 0.2 x (0.4 - 0.5) less than without a record.
    assert signal.confidence == pytest.approx(0.55 - 0.02)
    versions.append(threshold("min_signal_quality", second, 0.3))
    records.append(recent_performance("moving_average_crossover", second, 0.9))
    records.append(recent_performance("momentum_rider", second, 0.1))
    made.begin_day(second, {THRESHOLDS.name: versions, RECENT_PERFORMANCE.name: records})
    # A quarter past midnight is an Asian hour: the session gives 0.1 x (0.6 - 0.3) more, the record 0.2 x 0.4.
    [signal] = step(made, proposal_record(), time=second + 15 * MINUTE)
    assert reasons(signal)["minimum_quality"] == 0.3
    assert signal.confidence == pytest.approx(0.55 + 0.03 + 0.08)
    # Nothing in force any more: the defaults again.
    made.begin_day(second + DAY, {})
    [signal] = step(made, proposal_record(), time=second + DAY + 15 * MINUTE)
    assert reasons(signal)["minimum_quality"] == 0.1


def test_a_market_that_runs_is_seen():
    made = machine()
    start = NIGHT - 130 * MINUTE
    # An hour and a half that goes nowhere by 0.1 % a minute, then half an hour up by 0.3 % a minute.
    price = 100.0
    for minute in range(131):
        price *= 1.003 if minute > 100 else (1.001 if minute % 2 else 1 / 1.001)
        made.step(start + minute * MINUTE, {FEATURES.name: features(start + minute * MINUTE, BTCFDUSD=price)})
    [signal] = step(made, proposal_record(), time=NIGHT)
    checks = reasons(signal)["checks"]
    # Trend 1: market conditions 0.9, technical (0.65 + 1 + 1) / 3. The newest 20 minutes share the greatest volatility
    # with the 10 windows before (minutes 101…130 hold 11 whole windows of 20): 100 below, 10 equal of 110 or nearly so.
    assert checks["market_conditions"] == {"score": 0.9, "reason": "trending, strength 1.00"}
    assert checks["technical"]["score"] == pytest.approx(2.65 / 3, abs=1e-6)
    assert checks["volatility"]["score"] < 0.6
    # Beyond both marks sensitivity is raised: the least confidence falls below 0.1, but not below 0.1 / 6.
    assert 0.1 / 6 <= reasons(signal)["minimum_quality"] < 0.05
    # Selling into it is no trend-following of worth: (0.65 + 1 + 0) / 3.
    [against] = step(made, sell_record(), time=NIGHT)
    assert reasons(against)["checks"]["technical"]["score"] == pytest.approx(0.55, abs=1e-6)


def test_nothing_proposed_gives_no_rows():
    assert machine().step(NIGHT, {FEATURES.name: features(NIGHT, BTCFDUSD=100.0)}) == {}


def test_rows_fit_the_table():
    rows = machine().step(NIGHT, events_of(proposal_record(), arbitrage_record()))[SIGNALS.name]
    assert all(len(row) == len(SIGNALS.value_columns) for row in rows)
