"""An anomaly in the stream's fields, and in another system's words."""

import json
import math

import pytest

from signal_assets.anomalies.anomaly_record import AnomalyRecordError, anomaly_fields, parse_anomaly
from signal_assets.anomalies.memory_record import RecordMapping, memory_record
from tests.hand_over.material import ORIGIN, anomaly


def test_fields_are_json_and_come_back() -> None:
    sent = anomaly(3)
    fields = anomaly_fields(sent)
    assert fields["series"] == '"market.BTCFDUSD.BINANCE.volume"'
    assert fields["time"] == "1736208030000000"
    assert fields["expected_low"] == "null"
    assert fields["alert"] == "true"
    assert json.loads(fields["reasons"]) == {"z_score": 3.5, "mad": 4.25}
    back = parse_anomaly({name: text.encode() for name, text in fields.items()} | {"unknown": b"1"})
    assert math.isnan(back.expected_low)
    assert back._replace(expected_low=0.0) == sent._replace(expected_low=0.0)


@pytest.mark.parametrize(
    ("field", "text", "says"),
    [
        ("id", None, "without the field id"),
        ("sigma", "no", "sigma is no JSON"),
        ("time", '"x"', "time is no time"),
        ("votes", "true", "votes is no count"),
        ("votes", "1.5", "votes is no count"),
        ("alert", "1", "alert is no flag"),
        ("series", "null", "series is no text"),
    ],
)
def test_what_is_no_anomaly_is_named(field: str, text: str | None, says: str) -> None:
    fields = anomaly_fields(anomaly())
    if text is None:
        del fields[field]
    else:
        fields[field] = text
    with pytest.raises(AnomalyRecordError, match=says):
        parse_anomaly(fields)


def test_a_record_is_in_the_receivers_words() -> None:
    mapping = RecordMapping(
        {"market.*.volume": "{instrument}/{feature}"}, {"LOW": "1", "MEDIUM": "2", "HIGH": "3", "CRITICAL": "4"}
    )
    made = memory_record(anomaly(), mapping, ORIGIN)
    assert json.loads(made.as_json()) == {
        "id": "0" * 32,
        "timestamp": "2025-01-07T00:00:00Z",
        "metric_name": "BTCFDUSD.BINANCE/volume",
        "value": 12.5,
        "severity": "3",
        "sigma": 2.75,
        "tail_probability": 0.006,
        "expected_low": None,
        "expected_high": 7.5,
        "metadata": {
            "hostname": "host-1",
            "environment": "test",
            "service": "signals",
            "series": "market.BTCFDUSD.BINANCE.volume",
            "instrument": "BTCFDUSD.BINANCE",
            "detector": "ensemble",
            "direction": "above",
            "incident": "ab",
            "incident_group": "cd",
            "alert": "true",
        },
    }


def test_default_names() -> None:
    mapping = RecordMapping()
    named = {
        series: mapping.metric_name(series)
        for series in ("market.BTCUSDT-PERP.BINANCE.trade_rate", "system.cpu.usage", "system.disk.io", "macro.rates.us")
    }
    assert named == {
        "market.BTCUSDT-PERP.BINANCE.trade_rate": "market_trade_rate",
        "system.cpu.usage": "cpu_usage",
        "system.disk.io": "disk_io",
        "macro.rates.us": "macro_rates_us",
    }


def test_an_exact_name_goes_before_a_pattern_and_the_first_pattern_before_the_next() -> None:
    mapping = RecordMapping({"market.*": "any", "market.*.volume": "late", "market.A.B.volume": "exact"})
    assert mapping.metric_name("market.A.B.volume") == "exact"
    assert mapping.metric_name("market.A.C.volume") == "any"


def test_only_what_is_severe_enough_is_wanted() -> None:
    mapping = RecordMapping(least_severity="HIGH")
    wanted = [name for name in ("LOW", "MEDIUM", "HIGH", "CRITICAL") if mapping.wants(anomaly(severity=name))]
    assert wanted == ["HIGH", "CRITICAL"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"severities": {"LOW": "low"}}, "severities must name LOW, MEDIUM, HIGH, CRITICAL"),
        ({"least_severity": "BAD"}, "least_severity must be one of"),
        ({"metric_names": {"market.*": "{symbol}"}}, "no part of a series"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        RecordMapping(**changes)  # type: ignore[arg-type]
