"""Pictures of a day: the series in which most happened, with the band they were expected in.

Belongs here: choosing the series and reading what a picture needs. Does not belong here: drawing (``anomaly_plot``).
"""

from collections.abc import Mapping, Sequence
from datetime import date

import pandas as pd
import structlog

from resources.lake import Lake
from resources.settings import Settings
from signal_assets.anomalies.anomaly_plot import anomaly_picture, expected_band
from signal_assets.anomalies.detector import DetectorFactory
from signal_assets.anomalies.excess_detector import ExcessDetector
from signal_assets.anomalies.folds import anomaly_parameters, detectors_of_features, excess, novelty
from signal_assets.anomalies.novelty_detector import NoveltyDetector
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.plug_ins import detector_plug_ins
from signal_assets.anomalies.statistical_ensemble import StatisticalEnsemble
from signal_assets.anomalies.tables import ANOMALIES, DRIFTS, INCIDENT_GROUPS, INCIDENTS, METRICS
from signal_assets.picture import Picture
from signal_assets.window import Window

log = structlog.get_logger("anomalies")


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
    warm_up = (
        2 * max(parameters.window, parameters.novelty_window, parameters.excess_window) * parameters.metrics_interval
    )
    makers = _band_makers(settings, parameters)
    pictures = []
    for key, series in most_eventful(incidents, anomalies, count):
        metrics = lake.read(METRICS, start=window.start - warm_up, end=window.end, instruments=[key])
        metrics = metrics[metrics["series"] == series]
        band_of, band = _band(metrics, parameters, _makers_of(series, parameters, makers))
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
            band_of=band_of,
        )
        pictures.append(Picture(series, title, png))
    return pictures


def _band_makers(settings: Settings, parameters: AnomalyParameters) -> dict[str, DetectorFactory]:
    """By name, the detectors that people are told by, and the ensemble as the last resort."""
    plug_ins, _ = detector_plug_ins(settings.anomalies.plug_ins)
    known: dict[str, DetectorFactory] = {NoveltyDetector.name: novelty, StatisticalEnsemble.name: StatisticalEnsemble}
    known |= {plug_in.name: plug_in.factory for plug_in in plug_ins}
    return {name: known[name] for name in (*parameters.alerting, StatisticalEnsemble.name) if name in known}


def _makers_of(
    series: str, parameters: AnomalyParameters, makers: Mapping[str, DetectorFactory]
) -> dict[str, DetectorFactory]:
    """Those of a series: first the excess detector, where it tells people of it; novelty only where it watches."""
    feature = series.rpartition(".")[2]
    own = excess(parameters).get(feature)
    first = {ExcessDetector.name: own} if own is not None and ExcessDetector.name in parameters.alerting else {}
    asked = detectors_of_features(parameters).get(feature, [novelty])  # of no market feature: a system series
    return first | {name: maker for name, maker in makers.items() if maker is not novelty or novelty in asked}


def _band(
    metrics: pd.DataFrame, parameters: AnomalyParameters, makers: Mapping[str, DetectorFactory]
) -> tuple[str, pd.DataFrame]:
    """The band of the first detector that has one here, and whose it is; of the last, if none has."""
    *others, last = makers
    for name in others:
        try:
            band = expected_band(metrics, makers[name](parameters))
        except Exception as error:  # whatever a plug-in raises must not keep a day from its picture
            log.warning("a detector gives no band", detector=name, error=repr(error))
            continue
        if band["expected_low"].notna().any():
            return name, band
    return last, expected_band(metrics, makers[last](parameters))


def _from(start: int, spans: pd.DataFrame) -> pd.DataFrame:
    """Incidents of either kind, as if those that opened before had opened at ``start``."""
    return spans.assign(opened=spans["opened"].clip(lower=start))
