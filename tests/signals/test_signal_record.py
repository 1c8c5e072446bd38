import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.machine import record_class
from signal_assets.signals.parameters import SignalParameters
from signal_assets.signals.signal_machine import SignalMachine
from signal_assets.signals.signal_record import EmittedSignal, SignalRecordError, emitted_row, parse, signal_fields
from signal_assets.signals.tables import EMITTED, SIGNALS
from signal_assets.table import ColumnType
from tests.signals.material import GROUP, NIGHT, arbitrage_record, proposal_record, signals_of

VALUES = {
    ColumnType.TEXT: st.text(),
    ColumnType.TIME: st.integers(0, 2**62),
    ColumnType.PRICE: st.integers(-(2**62), 2**62),
    ColumnType.QUANTITY: st.integers(-(2**62), 2**62),
    ColumnType.REAL: st.floats(allow_nan=False, allow_infinity=False),
}
DOCUMENTS = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4).map(json.dumps)


def values_of(name):
    column = SIGNALS.column(name)
    values = DOCUMENTS if name in ("legs", "reasons", "metadata") else VALUES[column.type]
    return st.none() | values if column.nullable else values


SIGNAL = st.tuples(*(values_of(name) for name in SIGNALS.value_columns)).map(record_class(SIGNALS)._make)


def made(record):
    [signal] = signals_of(
        SignalMachine(GROUP, SignalParameters()).step(NIGHT, {f"strategies.{record.strategy}": [record]})
    )
    return EmittedSignal(signal, NIGHT + 12_345, "live")


def test_fields_by_hand():
    fields = signal_fields(made(proposal_record(metadata='{"fast":1.5}')))
    assert list(fields) == [*SIGNALS.value_columns, "emitted_at", "lane"]
    assert fields["entry_price"] == '"100.00000000"'
    assert fields["take_profit"] == '"103.00000000"'
    assert fields["quantity"] == '"0.00000000"'
    assert fields["instrument"] == '"BTCFDUSD.BINANCE"'
    assert fields["confidence"] == "0.55"
    # 2025-01-08 23:30 UTC
    assert fields["event_time"] == "1736379000000000"
    assert fields["expires_at"] == "1736379060000000"
    assert fields["emitted_at"] == "1736379000012345"
    assert fields["lane"] == '"live"'
    # JSON columns are not written as texts of texts.
    assert fields["metadata"] == '{"fast":1.5}'
    assert json.loads(fields["reasons"])["mean_score"] == 0.702777833
    arbitrage = signal_fields(made(arbitrage_record()))
    assert arbitrage["stop_loss"] == "null"
    assert json.loads(arbitrage["legs"])[0]["limit_price"] == "100.00000000"


@settings(max_examples=40, deadline=None)
@given(SIGNAL, st.integers(0, 2**62), st.sampled_from(["live", "tactical"]))
def test_there_and_back(signal, emitted_at, lane):
    emitted = EmittedSignal(signal, emitted_at, lane)
    fields = signal_fields(emitted)
    for text in fields.values():
        json.loads(text)
    assert parse(fields) == emitted
    # Redis gives bytes, and may hold fields of a newer version.
    assert parse({name: text.encode() for name, text in fields.items()} | {"new": b"1"}) == emitted


def test_what_is_no_number_is_null_and_comes_back_as_such():
    signal = made(proposal_record()).signal._replace(raw_confidence=math.nan)
    fields = signal_fields(EmittedSignal(signal, NIGHT, "live"))
    assert fields["raw_confidence"] == "null"
    assert math.isnan(parse(fields).signal.raw_confidence)


def test_the_row_of_what_left_the_system():
    emitted = made(proposal_record())
    fields = {name: text.encode() for name, text in signal_fields(emitted).items()}
    row = dict(zip([column.name for column in EMITTED.columns], emitted_row(fields), strict=True))
    payload = json.loads(row.pop("payload"))
    assert row == {
        "id": emitted.signal.id,
        "instrument": "BTCFDUSD.BINANCE",
        "strategy": "moving_average_crossover",
        "action": "buy",
        "event_time": NIGHT,
        "expires_at": NIGHT + 60_000_000,
        "emitted_at": NIGHT + 12_345,
        "lane": "live",
        "confidence": 0.55,
    }
    assert payload == {name: json.loads(text) for name, text in fields.items()}
    assert payload["entry_price"] == "100.00000000"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"entry_price": None}, "without the field entry_price"),
        ({"lane": None}, "without the field lane"),
        ({"entry_price": "100.0"}, "field entry_price is no price: 100.0"),
        ({"entry_price": '"1e5"'}, "field entry_price is no price"),
        ({"entry_price": "null"}, "field entry_price is no price"),
        ({"event_time": '"2025-01-08"'}, "field event_time is no time"),
        ({"event_time": "1.5"}, "field event_time is no time"),
        ({"action": "1"}, "field action is no text"),
        ({"confidence": "true"}, "field confidence is no real"),
        ({"legs": "[{]"}, "field legs is no JSON"),
        ({"id": "abc"}, "field id is no JSON"),
    ],
)
def test_what_is_no_signal_says_why(changes, reason):
    fields = signal_fields(made(proposal_record())) | changes
    with pytest.raises(SignalRecordError, match=reason):
        parse({name: text for name, text in fields.items() if text is not None})
