from datetime import date

import numpy as np
import pandas as pd
import pytest

from resources.anomaly_settings import ExcessLimit
from resources.settings import load_settings
from signal_assets.anomalies import day_pictures
from signal_assets.anomalies.day_pictures import anomaly_pictures, most_eventful
from signal_assets.anomalies.folds import anomaly_parameters, novelty
from signal_assets.anomalies.statistical_ensemble import StatisticalEnsemble
from signal_assets.anomalies.tables import ANOMALIES, DRIFTS, INCIDENT_GROUPS, INCIDENTS, METRICS
from signal_assets.event_time import DAY, SECOND
from tests.lake_rows import frame_of, lake_of

BTC, ETH = "BTCFDUSD.BINANCE", "ETHFDUSD.BINANCE"
DAY_DRAWN = date(2024, 10, 4)
MIDNIGHT = 20_000 * DAY
POINTS = MIDNIGHT + np.arange(-2_100, 600, 10) * SECOND


@pytest.fixture(scope="module")
def settings():
    return load_settings()


def rows_of(instrument, series, *seconds):
    return [
        {"instrument": instrument, "series": f"market.{instrument}.{series}", "time": MIDNIGHT + second * SECOND}
        | {"detector": "ensemble", "severity": "HIGH", "value": 5.0}
        for second in seconds
    ]


@pytest.fixture
def lake():
    noise = np.random.default_rng(3).normal(size=len(POINTS))
    metrics = [
        {"instrument": key, "series": f"market.{key}.{series}", "time": time, "value": value}
        for key, series in ((BTC, "return"), (BTC, "spread"), (ETH, "return"))
        for time, value in zip(POINTS.tolist(), noise.tolist(), strict=True)
    ]
    incident = {"opened": MIDNIGHT - 60 * SECOND, "closed": MIDNIGHT + 300 * SECOND}
    incidents = [{"instrument": ETH, "series": f"market.{ETH}.return", "incident_group": "g"} | incident]
    groups = [{"id": "g", "instrument": ETH} | incident, {"id": "h", "instrument": BTC} | incident]
    drift = {"instrument": ETH, "time": MIDNIGHT + 200 * SECOND}
    drifts = [drift | {"series": f"market.{ETH}.{feature}"} for feature in ("return", "spread")]
    anomalies = [
        *rows_of(BTC, "return", 20, 30, 40),
        *rows_of(BTC, "spread", 50),
        *rows_of(ETH, "return", 60),
        *rows_of(BTC, "spread", *range(-100, -10, 10)),  # the day before
    ]
    return lake_of(
        {
            METRICS: frame_of(METRICS, metrics),
            ANOMALIES: frame_of(ANOMALIES, anomalies),
            INCIDENTS: frame_of(INCIDENTS, incidents),
            INCIDENT_GROUPS: frame_of(INCIDENT_GROUPS, groups),
            DRIFTS: frame_of(DRIFTS, drifts),
        }
    )


def named(*names):
    return pd.DataFrame({"instrument": BTC, "series": list(names)}, dtype=object)


def test_incidents_count_before_anomalies_and_names_decide_a_tie():
    incidents, anomalies = named("c", "c", "b", "a"), named("a", "b", "b", "d", "d", "d", "d", "e")
    found = most_eventful(incidents, anomalies, 10)
    assert [series for _, series in found] == ["c", "b", "a", "d", "e"]
    assert most_eventful(named("b", "a"), named(), 2) == [(BTC, "a"), (BTC, "b")]
    assert most_eventful(named(), named(), 3) == []


def test_the_most_eventful_series_of_the_day_are_drawn(lake, settings):
    pictures = anomaly_pictures(lake, settings, DAY_DRAWN, 2)
    assert [picture.name for picture in pictures] == [f"market.{ETH}.return", f"market.{BTC}.return"]
    assert pictures[0].title == f"market.{ETH}.return on 2024-10-04 (anomalies 1, incidents 1)"
    assert pictures[1].title == f"market.{BTC}.return on 2024-10-04 (anomalies 3, incidents 0)"
    assert all(picture.png.startswith(b"\x89PNG") for picture in pictures)


def test_a_day_on_which_nothing_happened_has_no_picture(lake, settings):
    assert anomaly_pictures(lake, settings, date(2024, 10, 6), 2) == []


def test_only_the_day_is_drawn_in_a_band_that_was_warm_before_it(lake, settings, monkeypatch):
    drawn = {}

    def keep(metrics, band, anomalies, incidents, title, *, groups, drifts, band_of):
        drawn.update(metrics=metrics, band=band, anomalies=anomalies, incidents=incidents)
        drawn.update(groups=groups, drifts=drifts)
        return b""

    monkeypatch.setattr(day_pictures, "anomaly_picture", keep)
    anomaly_pictures(lake, settings, DAY_DRAWN, 1)
    assert drawn["metrics"]["time"].tolist() == POINTS[POINTS > MIDNIGHT].tolist()
    assert drawn["band"]["time"].tolist() == drawn["metrics"]["time"].tolist()
    assert drawn["band"]["expected_low"].notna().all()
    assert set(drawn["anomalies"]["series"]) == {f"market.{ETH}.return"}
    assert drawn["incidents"]["opened"].tolist() == [MIDNIGHT]  # it opened the day before
    assert drawn["groups"][["id", "opened"]].to_numpy().tolist() == [["g", MIDNIGHT]]
    assert drawn["drifts"]["series"].tolist() == [f"market.{ETH}.return"]


@pytest.mark.parametrize(
    ("alerting", "minimum", "whose"),
    [
        (("novelty",), 90, "novelty"),
        (("ensemble",), 90, "ensemble"),
        (("novelty", "ensemble"), 90, "novelty"),
        (("novelty",), 700, "ensemble"),  # more than there are points: novelty knows no band yet
    ],
)
def test_the_band_is_that_of_the_detector_people_are_told_by(lake, settings, monkeypatch, alerting, minimum, whose):
    drawn = {}

    def keep(metrics, band, *_, band_of, **__):
        drawn.update(band=band, band_of=band_of)
        return b""

    monkeypatch.setattr(day_pictures, "anomaly_picture", keep)
    changes = {"alerting": alerting, "novelty_minimum_points": minimum}
    changed = settings.model_copy(update={"anomalies": settings.anomalies.model_copy(update=changes)})
    anomaly_pictures(lake, changed, DAY_DRAWN, 1)
    assert drawn["band_of"] == whose
    parameters = anomaly_parameters(changed.anomalies, changed.grid_milliseconds)
    detector = StatisticalEnsemble(parameters) if whose == "ensemble" else novelty(parameters)
    values = lake.read(METRICS, instruments=[ETH])
    said = [detector.update(row.time, row.value) for row in values.itertuples() if row.time <= POINTS[-1]]
    assert drawn["band"]["expected_high"].iloc[-1] == said[-1].expected_high


def test_where_the_excess_detector_tells_people_the_band_is_its(lake, settings, monkeypatch):
    drawn = {}

    def keep(metrics, band, *_, band_of, **__):
        drawn.update(band=band, band_of=band_of)
        return b""

    monkeypatch.setattr(day_pictures, "anomaly_picture", keep)
    limits = {"excess": {"return": ExcessLimit(quantile=0.9, times=2.0)}}
    changed = settings.model_copy(update={"anomalies": settings.anomalies.model_copy(update=limits)})
    anomaly_pictures(lake, changed, DAY_DRAWN, 1)
    assert drawn["band_of"] == "excess"
    # Of n magnitudes before, the one with n - 1 - ⌊0.9 (n - 1)⌋ above it, times 2 (1 + 0.25 log10 6): six a minute.
    before = np.sort(lake.read(METRICS, instruments=[ETH])["value"].abs().to_numpy()[:-1])
    high = before[int(0.9 * (len(before) - 1))] * 2.0 * (1 + 0.25 * np.log10(6))
    assert drawn["band"]["expected_high"].iloc[-1] == pytest.approx(high)
    assert drawn["band"]["expected_low"].iloc[-1] == pytest.approx(-high)
