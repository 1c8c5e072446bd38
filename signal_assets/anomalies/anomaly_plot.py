"""A picture of one series over a day: its values, the band they were expected in, anomalies, incidents, drift.

Belongs here: drawing, and the band for it. Does not belong here: anything that is computed for a table.
"""

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from signal_assets.anomalies.detector import Detector
from signal_assets.anomalies.severity import SEVERITIES
from signal_assets.canvas import Canvas, day_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VALUE_COLOUR: Final = "#3b5b7a"
BAND_COLOUR: Final = "#cfd9e2"
INCIDENT_COLOUR: Final = "#dfa24d"
INCIDENT_HEIGHT: Final = 0.03
GROUP_COLOUR: Final = "#8c5a86"
DRIFT_COLOUR: Final = "#2e7d6b"
ALONE_COLOUR: Final = "#d29a95"
SEVERITY_COLOURS: Final = {"LOW": "#9bbf85", "MEDIUM": "#e0b10b", "HIGH": "#e0700b", "CRITICAL": "#b3261e"}


def expected_band(metrics: pd.DataFrame, detector: Detector) -> pd.DataFrame:
    """A detector's expected band at each point of one series, by its own step.

    Parameters
    ----------
    metrics : DataFrame
        Rows ``time`` and ``value`` of one series of ``anomalies.metrics``, ascending. Hand in two of the detector's
        windows more than is drawn, and the band is the one the anomalies were judged by (but for the last digits of
        the EMA, which never forgets).
    detector : Detector
        Cold; it begins with the first row.

    Returns
    -------
    DataFrame
        Columns ``time``, ``expected_low`` and ``expected_high``; NaN while warming up, or if it has no band.
    """
    scores = detector.score(metrics["time"], metrics["value"])
    return pd.DataFrame(
        {
            "time": metrics["time"].to_numpy(),
            "expected_low": scores.expected_low,
            "expected_high": scores.expected_high,
        }
    )


def anomaly_picture(
    metrics: pd.DataFrame,
    band: pd.DataFrame,
    anomalies: pd.DataFrame,
    incidents: pd.DataFrame,
    title: str,
    *,
    groups: pd.DataFrame | None = None,
    drifts: pd.DataFrame | None = None,
    band_of: str = "",
) -> bytes:
    """One series over a day as PNG bytes.

    Parameters
    ----------
    metrics, anomalies, incidents : DataFrame
        Rows of the anomaly tables of one series; any of them may be empty.
    band : DataFrame
        Of :func:`expected_band`, cut to what is drawn.
    groups, drifts : DataFrame, optional
        Group incidents that its incidents belong to, and its drifts.
    band_of : str
        Name of the detector whose band it is, for the legend.

    Returns
    -------
    bytes
        A PNG file.
    """
    canvas = Canvas(title, (11, 4.5))
    axes = canvas.axes[0]
    if metrics.empty:
        canvas.say("no values on this day")
        return canvas.png()
    _draw_series(axes, metrics, band, f"expected by {band_of}" if band_of else "expected")
    _draw_strip(axes, incidents, 0.0, INCIDENT_COLOUR, "incident")
    if groups is not None:
        _draw_strip(axes, groups, INCIDENT_HEIGHT, GROUP_COLOUR, "group incident")
    if drifts is not None:
        _draw_drifts(axes, drifts)
    _draw_anomalies(axes, anomalies)
    canvas.show_time(metrics["time"].to_numpy(dtype=np.int64))
    return canvas.png()


def _draw_series(axes: "Axes", metrics: pd.DataFrame, band: pd.DataFrame, band_label: str) -> None:
    axes.fill_between(
        day_number(band["time"].to_numpy()),
        band["expected_low"].to_numpy(),
        band["expected_high"].to_numpy(),
        color=BAND_COLOUR,
        linewidth=0,
        label=band_label,
    )
    times = day_number(metrics["time"].to_numpy())
    axes.plot(times, metrics["value"].to_numpy(), color=VALUE_COLOUR, linewidth=0.6, label="value")


def _draw_strip(axes: "Axes", spans: pd.DataFrame, bottom: float, colour: str, label: str) -> None:
    """A strip near the lower edge, so that what happened in the spans can still be read."""
    opened, closed = (day_number(spans[name].to_numpy()) for name in ("opened", "closed"))
    axes.broken_barh(
        list(zip(opened, closed - opened, strict=True)),
        (bottom, INCIDENT_HEIGHT),
        transform=axes.get_xaxis_transform(),
        color=colour,
        linewidth=0,
        label=label if len(spans) else None,
    )


def _draw_drifts(axes: "Axes", drifts: pd.DataFrame) -> None:
    for number, time in enumerate(day_number(drifts["time"].to_numpy())):
        axes.axvline(time, color=DRIFT_COLOUR, linewidth=1.5, label=None if number else "drift")


def _draw_anomalies(axes: "Axes", anomalies: pd.DataFrame) -> None:
    """Those of incidents by severity; the others small, for nobody is told of them."""
    alone = anomalies[anomalies["incident"] == ""]
    if len(alone):
        times, values = day_number(alone["time"].to_numpy()), alone["value"].to_numpy()
        axes.scatter(times, values, s=5, color=ALONE_COLOUR, linewidth=0, zorder=2, label="in no incident")
    of_incidents = anomalies[anomalies["incident"] != ""]
    for severity in SEVERITIES:
        chosen = of_incidents[of_incidents["severity"] == severity]
        if len(chosen):
            axes.scatter(
                day_number(chosen["time"].to_numpy()),
                chosen["value"].to_numpy(),
                s=14,
                color=SEVERITY_COLOURS[severity],
                zorder=3,
                label=severity,
            )
