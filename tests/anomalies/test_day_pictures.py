from datetime import date

import numpy as np
import pandas as pd
import pytest

from resources.anomaly_settings import ExcessLimit
from resources.settings import load_settings
from signal_assets.anomalies import day_pictures
from signal_assets.anomalies.anomaly_plot import expected_band
from signal_assets.anomalies.day_pictures import anomaly_pictures, most_eventful
from signal_assets.anomalies.detector import Scores
from signal_assets.anomalies.folds import anomaly_parameters, novelty
from signal_assets.anomalies.plug_ins import PlugIn
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
        {"instrument": key, "series": f"market.{key}.{series}", "time": time, "value": value + level}
        for key, series, level in ((BTC, "return", 0), (BTC, "spread", 0), (ETH, "return", 0), (ETH, "spread", 100))
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


def values_of(lake, series):
    rows = lake.read(METRICS, instruments=[ETH])
    return rows[rows["series"] == f"market.{ETH}.{series}"]


def changed_to(settings, **changes):
    return settings.model_copy(update={"anomalies": settings.anomalies.model_copy(update=changes)})


@pytest.fixture
def drawn(monkeypatch):
    """What the newest picture was drawn of."""
    kept = {}

    def keep(metrics, band, anomalies, incidents, title, **others):
        kept.update(metrics=metrics, band=band, anomalies=anomalies, incidents=incidents, **others)
        return b""

    monkeypatch.setattr(day_pictures, "anomaly_picture", keep)
    return kept


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


def test_only_the_day_is_drawn_in_a_band_that_was_warm_before_it(lake, settings, drawn):
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
def test_the_band_is_that_of_the_detector_people_are_told_by(lake, settings, drawn, alerting, minimum, whose):
    changed = changed_to(settings, alerting=alerting, novelty_minimum_points=minimum)
    anomaly_pictures(lake, changed, DAY_DRAWN, 1)
    assert drawn["band_of"] == whose
    parameters = anomaly_parameters(changed.anomalies, changed.grid_milliseconds)
    detector = StatisticalEnsemble(parameters) if whose == "ensemble" else novelty(parameters)
    values = values_of(lake, "return")
    said = [detector.update(row.time, row.value) for row in values.itertuples() if row.time <= POINTS[-1]]
    assert drawn["band"]["expected_high"].iloc[-1] == said[-1].expected_high


RETURN_WATCHED = {"return": ExcessLimit(quantile=0.9, times=2.0)}


def test_where_the_excess_detector_tells_people_the_band_is_its(lake, settings, drawn):
    anomaly_pictures(lake, changed_to(settings, excess=RETURN_WATCHED, excess_window=200), DAY_DRAWN, 1)
    assert drawn["band_of"] == "excess"
    # Of the 200 magnitudes before, that of rank ⌊0.9 · 199⌋ from below, times 2 (1 + 0.25 log10 6): six a minute.
    before = np.sort(values_of(lake, "return")["value"].abs().to_numpy()[-201:-1])
    high = pytest.approx(before[179] * 2.0 * (1 + 0.25 * np.log10(6)))
    assert drawn["band"]["expected_high"].iloc[-1] == high == -drawn["band"]["expected_low"].iloc[-1]


@pytest.mark.parametrize(
    "changes",
    [
        {"excess": RETURN_WATCHED, "alerting": ("novelty",)},
        {"excess": {"spread": ExcessLimit(quantile=0.9, times=2.0)}, "alerting": ("excess", "novelty")},
    ],
)
def test_where_it_tells_nobody_the_band_is_another_ones(lake, settings, drawn, changes):
    anomaly_pictures(lake, changed_to(settings, **changes), DAY_DRAWN, 1)
    assert drawn["band_of"] == "novelty"


@pytest.mark.parametrize("longest", ["window", "novelty_window", "excess_window"])
def test_a_band_is_warmed_up_over_two_of_the_longest_window(lake, settings, monkeypatch, longest):
    handed_in = []

    def keep(metrics, detector):
        handed_in.append(metrics)
        return expected_band(metrics, detector)

    monkeypatch.setattr(day_pictures, "expected_band", keep)
    windows = {"window": 60, "novelty_window": 60, "excess_window": 60, "novelty_minimum_points": 60} | {longest: 100}
    anomaly_pictures(lake, changed_to(settings, **windows), DAY_DRAWN, 1)
    assert {rows["time"].iloc[0] for rows in handed_in} == {MIDNIGHT - 2 * 100 * 10 * SECOND + 10 * SECOND}


class Banded:
    """A detector of another package; of its methods a picture needs but one."""

    def __init__(self, high):
        self._high = high

    def score(self, times, values):
        if self._high is None:
            raise RuntimeError("no band today")
        level = np.full(len(times), self._high)
        return Scores(level, -level, level, np.zeros(len(times), np.int64))


@pytest.mark.parametrize("alerting", [("banded",), ("broken", "banded", "novelty")])
def test_a_plug_in_has_its_band_and_a_broken_one_keeps_no_day_from_its_picture(
    lake, settings, monkeypatch, drawn, alerting
):
    plug_ins = [
        PlugIn(name, "x 1", lambda _, high=high: Banded(high)) for name, high in (("banded", 7.0), ("broken", None))
    ]
    monkeypatch.setattr(day_pictures, "detector_plug_ins", lambda wanted: (plug_ins, []))
    anomaly_pictures(lake, changed_to(settings, alerting=alerting, raising=alerting), DAY_DRAWN, 1)
    assert drawn["band_of"] == "banded"
    assert set(drawn["band"]["expected_high"]) == {7.0}


@pytest.mark.parametrize(
    ("series", "alerting", "whose"),
    [
        ("market.X.wick", ("novelty", "excess"), ["excess", "ensemble"]),
        ("market.X.wick", ("novelty",), ["ensemble"]),  # novelty does not watch it
        ("market.X.volume", ("novelty", "excess"), ["novelty", "ensemble"]),
        ("system.cpu.usage", ("novelty", "excess"), ["novelty", "ensemble"]),
    ],
)
def test_only_who_watches_a_series_has_a_band_of_it(settings, series, alerting, whose):
    changed = changed_to(settings, alerting=alerting)
    parameters = anomaly_parameters(changed.anomalies, changed.grid_milliseconds)
    makers = day_pictures._band_makers(changed, parameters)
    assert list(day_pictures._makers_of(series, parameters, makers)) == whose
