import math

import pytest

from resources.settings import load_settings
from services.outcome import (
    ExecutionCounts,
    FailureCount,
    KindFound,
    ThresholdChange,
    anomaly_outcome,
    execution_counts,
    failure_counts,
    records,
    signal_counts,
    threshold_changes,
)
from signal_assets.anomalies.tables import ANOMALIES, INCIDENT_GROUPS, INCIDENTS
from signal_assets.anomalies.tables import METRICS as SERIES
from signal_assets.event_time import DAY, HOUR, SECOND
from signal_assets.execution.tables import FILLS, ORDERS
from signal_assets.fixed_point import SCALE
from signal_assets.learning.tables import THRESHOLDS
from signal_assets.performance.tables import METRICS
from signal_assets.signals.tables import EMITTED, SIGNALS
from tests.lake_rows import frame_of, lake_of

BTC, ETH = "BTCFDUSD.BINANCE", "ETHFDUSD.BINANCE"
MIDNIGHT = 20_000 * DAY


@pytest.fixture(scope="module")
def settings():
    return load_settings()


def anomaly(second, severity, opened, alert=None, instrument=BTC, series="return"):
    return {
        "instrument": instrument,
        "series": f"market.{instrument}.{series}",
        "time": second * SECOND,
        "detector": "ensemble",
        "severity": severity,
        "opened": opened,
        "alert": opened if alert is None else alert,
    }


def planted(kind, start, end, instrument=BTC):
    return {"instrument": instrument, "kind": kind, "start": start * SECOND, "end": end * SECOND, "direction": 1}


@pytest.fixture
def anomalies():
    found = [
        anomaly(100, "CRITICAL", True),
        anomaly(110, "CRITICAL", False),
        anomaly(310, "MEDIUM", True),
        anomaly(505, "MEDIUM", True, alert=False, series="spread"),
        anomaly(900, "CRITICAL", True),
        anomaly(1_000, "LOW", False),
    ]
    points = [{"instrument": BTC, "series": "s", "time": second * SECOND} for second in range(10, 1_001, 10)]
    incidents = [
        {"instrument": BTC, "series": "s", "opened": 1, "closed": 2, "suppressed": ""},
        {"instrument": BTC, "series": "t", "opened": 1, "closed": 2, "suppressed": "grouped"},
    ]
    groups = [{"instrument": BTC, "opened": 1, "closed": 2}]
    return lake_of(
        {
            ANOMALIES: frame_of(ANOMALIES, found),
            SERIES: frame_of(SERIES, points),
            INCIDENTS: frame_of(INCIDENTS, incidents),
            INCIDENT_GROUPS: frame_of(INCIDENT_GROUPS, groups),
        }
    )


def test_without_a_truth_alerts_are_only_counted(anomalies, settings):
    outcome = anomaly_outcome(anomalies, settings)
    assert (outcome.anomalies, outcome.incidents, outcome.score) == (6, 2, None)
    assert (outcome.groups, outcome.suppressed) == (1, {"grouped": 1})
    assert list(outcome.alerts.items()) == [("CRITICAL", 2), ("MEDIUM", 1)]


def test_alerts_are_held_against_what_was_planted(anomalies, settings):
    # Hit after 4 s; hit 10 s after its end, the last moment that counts; hit after 5 s, but people were not told; seen
    # only by the point that follows its end, and missed; ETH was never looked at, nor was BTC after 1,000 s: neither is
    # counted.
    truth = [
        planted("price_spike", 96, 130),
        planted("volume_burst", 280, 300),
        planted("volume_burst", 500, 560),
        planted("volume_burst", 1, 4),
        planted("price_spike", 96, 130, ETH),
        planted("price_spike", 1_500, 1_560),
    ]
    outcome = anomaly_outcome(anomalies, settings, truth)
    score = outcome.score
    assert (score.planted, score.found, score.alerts, score.right) == (4, 3, 4, 3)
    assert score.median_delay == 5
    assert outcome.kinds == [KindFound("price_spike", 1, 1, 4.0), KindFound("volume_burst", 3, 2, (30 + 5) / 2)]


def test_nothing_planted_is_no_error(anomalies, settings):
    outcome = anomaly_outcome(anomalies, settings, [])
    assert (outcome.score.planted, outcome.score.alerts) == (0, 4)
    assert math.isnan(outcome.score.recall)
    assert outcome.kinds == []


def signal(number, strategy, status, **fields):
    return {"id": str(number), "instrument": BTC, "strategy": strategy, "status": status, "event_time": number} | fields


def test_every_strategy_has_its_line_of_signals():
    rows = [
        signal(1, "momentum_rider", "validated"),
        signal(2, "momentum_rider", "rejected"),
        signal(3, "momentum_rider", "rejected"),
        signal(4, "moving_average_crossover", "duplicate"),
    ]
    left = [{"id": "1", "instrument": BTC, "strategy": "momentum_rider"}]
    counts = signal_counts(lake_of({SIGNALS: frame_of(SIGNALS, rows), EMITTED: frame_of(EMITTED, left)}))
    assert [(count.strategy, count.emitted) for count in counts] == [
        ("triangular_arbitrage", 0),
        ("momentum_rider", 1),
        ("moving_average_crossover", 0),
    ]
    assert counts[0].by_status == {"validated": 0, "rejected": 0, "duplicate": 0, "failed": 0}
    assert counts[1].by_status == {"validated": 1, "rejected": 2, "duplicate": 0, "failed": 0}
    assert counts[2].by_status["duplicate"] == 1


def test_failures_are_named_with_what_they_said_last():
    def failed(number, strategy, text):
        return signal(number, strategy, "failed", reasons=f'{{"against":["strategy failed: {text}"]}}')

    rows = [
        failed(3, "momentum_rider", "ValueError: newest"),
        failed(2, "momentum_rider", "ValueError: older"),
        failed(1, "triangular_arbitrage", "KeyError: 'ETH'"),
        signal(4, "momentum_rider", "validated"),
    ]
    assert failure_counts(lake_of({SIGNALS: frame_of(SIGNALS, rows)})) == [
        FailureCount("momentum_rider", 2, "strategy failed: ValueError: newest"),
        FailureCount("triangular_arbitrage", 1, "strategy failed: KeyError: 'ETH'"),
    ]
    assert failure_counts(lake_of({})) == []


def test_orders_count_by_the_status_they_ended_in():
    changes = [("a", 0, "placed"), ("a", 1, "partially_filled"), ("a", 2, "filled"), ("b", 0, "placed")]
    orders = [
        {"id": name, "change": number, "instrument": BTC, "strategy": "momentum_rider", "status": status}
        for name, number, status in reversed(changes)
    ]
    fills = [
        {"order_id": "a", "number": number, "instrument": BTC, "strategy": "momentum_rider"}
        | {"notional": 50 * SCALE, "fee": SCALE // 20}
        for number in (0, 1)
    ]
    lake = lake_of({ORDERS: frame_of(ORDERS, orders), FILLS: frame_of(FILLS, fills)})
    assert execution_counts(lake) == [
        ExecutionCounts("momentum_rider", {"filled": 1, "placed": 1}, fills=2, notional=100.0, fees=0.1)
    ]
    assert execution_counts(lake_of({})) == []


def measured(time, scope, name, **values):
    every = {"net_pnl": 0.0, "trades": 0.0, "win_rate": math.nan, "maximum_drawdown": 0.0, "sharpe_ratio": math.nan}
    return [
        {"instrument": "*.crypto", "scope": scope, "name": name, "time": time, "metric": metric, "value": value}
        for metric, value in (every | values).items()
    ]


def test_the_record_is_the_newest_days_strategies_before_the_portfolio(settings):
    rows = [
        *measured(MIDNIGHT, "strategy", "momentum_rider", net_pnl=99.0),
        *measured(MIDNIGHT + DAY, "portfolio", "portfolio", net_pnl=-3.5, trades=2.0, sharpe_ratio=-1.25),
        *measured(MIDNIGHT + DAY, "instrument", BTC, net_pnl=-3.5),
        *measured(MIDNIGHT + DAY, "strategy", "triangular_arbitrage"),
        *measured(MIDNIGHT + DAY, "strategy", "momentum_rider", net_pnl=-3.5, trades=2.0, win_rate=0.5),
    ]
    found = records(lake_of({METRICS: frame_of(METRICS, rows)}), settings)
    assert [(record.group, record.name) for record in found] == [
        ("crypto", "momentum_rider"),
        ("crypto", "triangular_arbitrage"),
        ("crypto", "portfolio"),
    ]
    assert (found[0].net_pnl, found[0].trades, found[0].win_rate) == (-3.5, 2, 0.5)
    assert math.isnan(found[1].win_rate)
    assert (found[2].net_pnl, found[2].sharpe_ratio) == (-3.5, -1.25)
    assert records(lake_of({}), settings) == []


def version(name, valid_from, value, **fields):
    return {
        "instrument": "*.crypto",
        "name": name,
        "valid_from": valid_from,
        "value": value,
        "source": "learned",
    } | fields


def test_thresholds_go_from_the_first_day_to_the_newest_version(settings):
    rows = [
        version("min_signal_quality", MIDNIGHT, 0.2, signals=1, share=0.9),
        version("min_signal_quality", MIDNIGHT + 2 * DAY, 0.21, signals=8, share=0.125),
        version("min_signal_quality", MIDNIGHT + DAY, 0.205, signals=9, share=0.3),
    ]
    lake = lake_of({THRESHOLDS: frame_of(THRESHOLDS, rows)}, origin=MIDNIGHT + 22 * HOUR)
    changes = threshold_changes(lake, settings)
    assert changes[0] == ThresholdChange(
        "crypto", "min_signal_quality", 0.2, 0.21, MIDNIGHT + 2 * DAY, share=0.125, signals=8
    )
    # Never learned: the default, before and after.
    assert (changes[1].name, changes[1].before, changes[1].after) == ("opportunity_threshold", 0.05, 0.05)
    assert (changes[1].valid_from, changes[1].signals) == (None, 0)
    assert math.isnan(changes[1].share)
    assert [change.name for change in changes[2:]] == ["volatility_multiplier", "trend_multiplier"]


def test_a_group_without_history_has_no_thresholds_yet(settings):
    assert threshold_changes(lake_of({}), settings) == []
