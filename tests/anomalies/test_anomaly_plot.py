from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from signal_assets.anomalies import anomaly_plot
from signal_assets.anomalies.anomaly_plot import (
    ALONE_COLOUR,
    BAND_COLOUR,
    DRIFT_COLOUR,
    GROUP_COLOUR,
    INCIDENT_COLOUR,
    SEVERITY_COLOURS,
    VALUE_COLOUR,
    anomaly_picture,
    expected_band,
)
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.statistical_ensemble import StatisticalEnsemble
from signal_assets.anomalies.tables import ANOMALIES, DRIFTS, INCIDENT_GROUPS, INCIDENTS, METRICS
from signal_assets.event_time import DAY, MINUTE, SECOND

START = 20_000 * DAY
TIMES = START + np.arange(10, 3_601, 10) * SECOND
METRICS_ROWS = pd.DataFrame({"time": TIMES, "value": np.random.default_rng(2).normal(size=len(TIMES))})
NO_ANOMALIES, NO_INCIDENTS = ANOMALIES.empty(), INCIDENTS.empty()


def share_of(picture, colour, tolerance=0.02):
    pixels = imread(BytesIO(picture))[..., :3]
    wanted = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return float((np.abs(pixels - wanted).max(axis=2) < tolerance).mean())


def test_the_band_holds_what_was_expected():
    band = expected_band(METRICS_ROWS, StatisticalEnsemble(AnomalyParameters()))
    assert band["time"].tolist() == TIMES.tolist()
    assert band["expected_low"].isna().tolist() == [True] * 30 + [False] * (len(TIMES) - 30)
    # Normal noise of mean 0 and deviation 1: bands of three deviations, known to a fifth or so.
    assert band["expected_low"].iloc[100:].median() == pytest.approx(-2.8, abs=0.4)
    assert band["expected_high"].iloc[100:].median() == pytest.approx(2.8, abs=0.4)


def test_the_picture_shows_values_band_anomalies_and_incidents():
    band = expected_band(METRICS_ROWS, StatisticalEnsemble(AnomalyParameters()))
    bare = anomaly_picture(METRICS_ROWS, band, NO_ANOMALIES, NO_INCIDENTS, "market.BTCFDUSD.BINANCE.return")
    assert bare.startswith(b"\x89PNG")
    assert share_of(bare, BAND_COLOUR) > 0.2
    assert share_of(bare, VALUE_COLOUR) > 0.001
    assert share_of(bare, INCIDENT_COLOUR) == 0
    incidents = pd.DataFrame({"opened": [START + 20 * MINUTE], "closed": [START + 30 * MINUTE]})
    shaded = anomaly_picture(METRICS_ROWS, band, NO_ANOMALIES, incidents, "x")
    assert share_of(shaded, INCIDENT_COLOUR) > 0.002  # a strip along the lower edge, ten minutes of an hour
    for severity, colour in SEVERITY_COLOURS.items():
        found = {"time": TIMES[100:103], "value": [4.0, 5.0, 6.0], "severity": severity}
        anomalies = pd.DataFrame(found | {"incident": "i"})
        assert share_of(bare, colour) == 0
        assert share_of(anomaly_picture(METRICS_ROWS, band, anomalies, NO_INCIDENTS, "x"), colour) > 0, severity
        quiet = anomaly_picture(METRICS_ROWS, band, pd.DataFrame(found | {"incident": ""}), NO_INCIDENTS, "x")
        assert share_of(quiet, colour) == 0
        assert share_of(quiet, ALONE_COLOUR) > 0


def test_group_incidents_and_drifts_are_marked():
    band = expected_band(METRICS_ROWS, StatisticalEnsemble(AnomalyParameters()))
    spans = pd.DataFrame({"opened": [START + 20 * MINUTE], "closed": [START + 30 * MINUTE]})
    drifts = pd.DataFrame({"time": [START + 10 * MINUTE, START + 50 * MINUTE]})
    plain = anomaly_picture(METRICS_ROWS, band, NO_ANOMALIES, spans, "x")
    marked = anomaly_picture(METRICS_ROWS, band, NO_ANOMALIES, spans, "x", groups=spans, drifts=drifts)
    assert share_of(plain, GROUP_COLOUR) == share_of(plain, DRIFT_COLOUR) == 0
    assert share_of(marked, INCIDENT_COLOUR) > 0.002
    assert share_of(marked, GROUP_COLOUR) > 0.002
    assert share_of(marked, DRIFT_COLOUR) > 0.0005
    none = {"groups": INCIDENT_GROUPS.empty(), "drifts": DRIFTS.empty()}
    assert share_of(anomaly_picture(METRICS_ROWS, band, NO_ANOMALIES, spans, "x", **none), GROUP_COLOUR) == 0


def test_a_day_without_values_is_said_to_have_none():
    metrics = METRICS.empty()
    band = expected_band(metrics, StatisticalEnsemble(AnomalyParameters()))
    picture = anomaly_picture(metrics, band, NO_ANOMALIES, NO_INCIDENTS, "quiet")
    assert picture.startswith(b"\x89PNG")
    assert share_of(picture, VALUE_COLOUR) == 0


def test_the_legend_says_whose_band_it_is():
    axes = Figure().subplots()
    band = expected_band(METRICS_ROWS, StatisticalEnsemble(AnomalyParameters()))
    anomaly_plot._draw_series(axes, METRICS_ROWS, band, "expected by ensemble")
    assert axes.get_legend_handles_labels()[1] == ["expected by ensemble", "value"]
    pictures = {
        anomaly_picture(METRICS_ROWS, band, NO_ANOMALIES, NO_INCIDENTS, "x", band_of=name)
        for name in ("", "ensemble", "novelty")
    }
    assert len(pictures) == 3
