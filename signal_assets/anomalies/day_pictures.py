"""Pictures of a day: the series in which most happened, with the band they were expected in.

Belongs here: choosing the series and reading what a picture needs. Does not belong here: drawing (``anomaly_plot``).
"""

from collections.abc import Sequence
from datetime import date

import pandas as pd

from resources.lake import Lake
from resources.settings import Settings
from signal_assets.anomalies.anomaly_plot import anomaly_picture, expected_band
from signal_assets.anomalies.folds import anomaly_parameters
from signal_assets.anomalies.tables import ANOMALIES, DRIFTS, INCIDENT_GROUPS, INCIDENTS, METRICS
from signal_assets.picture import Picture
from signal_assets.window import Window


def most_eventful(incidents: pd.DataFrame, anomalies: pd.DataFrame, count: int) -> list[tuple[str, str]]:
    """Instrument and series of the ``count`` series with the most incidents, then anomalies; ties by name.

    Parameters
    ----------
    incidents, anomalies : DataFrame
        Columns ``instrument`` and ``series`` of the rows of ``anomalies.incidents`` and ``anomalies.anomalies``.

    Examples
    --------
    >>> rows = lambda *names: pd.DataFrame({"instrument": "BTC", "series": list(names)})
    >>> most_eventful(rows("b"), rows("a", "a", "b", "c"), 2)
    [('BTC', 'b'), ('BTC', 'a')]
    """
    names = ["instrument", "series"]
    counted = pd.DataFrame({"incidents": incidents.value_counts(names), "anomalies": anomalies.value_counts(names)})
    ordered = (
        counted.fillna(0)
        .reset_index()
        .sort_values(["incidents", "anomalies", "series"], ascending=[False, False, True], kind="stable")
    )
    return [(str(key), str(series)) for key, series in ordered[names].head(count).itertuples(index=False)]


def anomaly_pictures(
    lake: Lake, settings: Settings, day: date, count: int, instruments: Sequence[str] | None = None
) -> list[Picture]:
    """The ``count`` most eventful series of ``day`` with all that happened to them; none where nothing happened.

    ``instruments``: whose series; default: all, the system's among them.
    """
    lake.ensure([METRICS, ANOMALIES, INCIDENTS, INCIDENT_GROUPS, DRIFTS])
    window = Window.of_day(day)
    anomalies = lake.read(ANOMALIES, start=window.start, end=window.end, instruments=instruments)
    incidents = lake.read(INCIDENTS, start=window.start, end=window.end, instruments=instruments)
    groups = lake.read(INCIDENT_GROUPS, start=window.start, end=window.end)
    drifts = lake.read(DRIFTS, start=window.start, end=window.end, instruments=instruments)
    parameters = anomaly_parameters(settings.anomalies, settings.grid_milliseconds)
    warm_up = 2 * parameters.window * parameters.metrics_interval
    pictures = []
    for key, series in most_eventful(incidents, anomalies, count):
        metrics = lake.read(METRICS, start=window.start - warm_up, end=window.end, instruments=[key])
        metrics = metrics[metrics["series"] == series]
        band = expected_band(metrics, parameters)
        own = anomalies[anomalies["series"] == series]
        of_series = incidents[incidents["series"] == series]
        title = f"{series} on {day} (anomalies {len(own)}, incidents {len(of_series)})"
        png = anomaly_picture(
            metrics[metrics["time"] > window.start],
            band[band["time"] > window.start],
            own,
            _from(window.start, of_series),
            title,
            groups=_from(window.start, groups[groups["id"].isin(of_series["incident_group"])]),
            drifts=drifts[drifts["series"] == series],
        )
        pictures.append(Picture(series, title, png))
    return pictures


def _from(start: int, spans: pd.DataFrame) -> pd.DataFrame:
    """Incidents of either kind, as if those that opened before had opened at ``start``."""
    return spans.assign(opened=spans["opened"].clip(lower=start))
