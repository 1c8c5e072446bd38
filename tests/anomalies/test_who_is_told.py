"""Of which anomalies people are told: by feature, by detector, and after what they said of earlier ones."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from signal_assets.anomalies.anomaly_machine import AnomalyMachine
from signal_assets.anomalies.folds import detectors_of_features
from signal_assets.anomalies.series import MARKET_FEATURES
from signal_assets.anomalies.tables import LABELS
from signal_assets.event_time import SECOND
from tests.anomalies.features_rows import BTC, features_row
from tests.anomalies.test_anomaly_machine import SMALL, frames, of_seconds, run

USUAL = 1.1
"""Mean of 1.0, 1.1 and 1.2."""
LIMIT = 4.0 * (1 + 0.25 * math.log10(20)) * USUAL
"""Four times as much, a value in three seconds instead of a minute."""


def busy_market(silent=(), alerting=("novelty", "excess"), wide=10 * LIMIT, false_alarms=0, fall=0.0):
    """Anomalies of ten minutes in which spreads are as usual, but for three seconds from which prices stay lower."""
    rows = [
        features_row(
            second,
            bid=60_000.0 + 0.5 * (second // 3 % 2) - fall * (second > 402),
            spread=wide if 403 <= second <= 405 else 1.0 + 0.1 * (second % 3),
        )
        for second in range(1, 601)
    ]
    parameters = replace(SMALL, raising=("ensemble", "novelty", "excess"), alerting=alerting, silent=silent)
    machine = AnomalyMachine([BTC], parameters, (), detectors_of_features(parameters))
    said = [
        SimpleNamespace(series=f"market.{BTC.key}.mean_spread", subject=f"{i}", verdict="false_alarm", given_at=i)
        for i in range(false_alarms)
    ]
    machine.begin_day(0, {LABELS.name: said})
    return frames(run(machine, of_seconds(rows)))["anomalies"]


def of_feature(anomalies, feature):
    return anomalies[anomalies["series"].str.endswith(f".{feature}")]


def test_a_series_with_an_excess_detector_is_told_of_by_that_one():
    found = of_feature(busy_market(alerting=("ensemble", "novelty", "excess")), "mean_spread")
    assert set(found["detector"]) == {"ensemble", "excess"}
    opened = found[found["opened"]]
    assert opened["detector"].tolist() == ["excess"]
    assert opened["time"].tolist() == [405 * SECOND]


def test_a_price_that_falls_and_stays_is_told_of_by_its_return():
    # The mid moves by 0.5 a point, of 60,000: 8.3e-6. A fall of 50 is a hundred times as much, below.
    found = of_feature(busy_market(wide=1.0, fall=50.0), "return")
    opened = found[found["opened"]]
    assert opened[["detector", "direction", "time"]].to_numpy().tolist() == [["excess", "below", 405 * SECOND]]
    assert opened["expected_low"].item() == -opened["expected_high"].item() < 0
    assert opened["sigma"].item() < -2


def test_a_silent_feature_is_recorded_and_nobody_is_told():
    found = of_feature(busy_market(silent=("mean_spread",)), "mean_spread")
    assert "excess" in set(found["detector"])
    assert not found["opened"].any()
    assert set(found["incident"]) == {""}


def test_others_tell_where_the_excess_detector_may_not():
    found = of_feature(busy_market(alerting=("ensemble",)), "mean_spread")
    assert set(found.loc[found["opened"], "detector"]) == {"ensemble"}


@pytest.mark.parametrize(
    ("times", "severity"), [(1.01, "MEDIUM"), (1.24, "MEDIUM"), (1.26, "HIGH"), (1.49, "HIGH"), (1.51, "CRITICAL")]
)
def test_how_far_beyond_its_limit_a_value_lies_makes_its_severity(times, severity):
    found = of_feature(busy_market(wide=times * LIMIT), "mean_spread")
    assert found.loc[found["opened"], "severity"].tolist() == [severity]


@pytest.mark.parametrize(("times", "told"), [(1.45, False), (1.53, True)])
def test_false_alarms_raise_the_limit(times, told):
    # Two of them: a factor of exp(2 x 0.25 x 0.8) = 1.4918.
    found = of_feature(busy_market(wide=times * LIMIT, false_alarms=2), "mean_spread")
    own = found[found["detector"] == "excess"]
    assert own["threshold_factor"].tolist() == [pytest.approx(1.4918, abs=1e-4)]
    assert own["opened"].tolist() == [told]
    assert of_feature(busy_market(wide=times * LIMIT), "mean_spread")["opened"].any()


def test_anomalies_of_one_time_stand_in_the_order_of_the_series():
    found = busy_market(fall=50.0)
    at = found[found["time"] == 405 * SECOND]
    places = [MARKET_FEATURES.index(series.rpartition(".")[2]) for series in at["series"]]
    assert places == sorted(places)
    assert len(set(places)) > 1 < at["detector"].nunique()
