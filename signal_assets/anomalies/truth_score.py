"""How well alerts find what is known to have happened.

Belongs here: matching alerts to planted anomalies and the figures that follow. Does not belong here: planting (the
simulated venue) or alerting.

An alert **hits** a planted anomaly of its instrument when its time lies in ``[start, end + tolerance]``; which series
raised it does not matter, nor does it if several anomalies are hit at once.

* recall = planted anomalies hit by an alert / planted anomalies;
* precision = alerts that hit a planted anomaly / alerts;
* delay = time of the first alert that hits - start; a planted anomaly nobody hit has none.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from signal_assets.event_time import SECOND


@dataclass(frozen=True, slots=True)
class TruthScore:
    """How well alerts find planted anomalies; NaN where there is nothing to count.

    Parameters
    ----------
    planted, found : int
        Planted anomalies, and those hit by an alert.
    alerts, right : int
        Alerts, and those that hit a planted anomaly.
    median_delay : float
        Seconds from the start of the found ones to their first alert.
    """

    planted: int
    found: int
    alerts: int
    right: int
    median_delay: float

    @property
    def recall(self) -> float:
        """Share of planted anomalies that were found."""
        return self.found / self.planted if self.planted else float("nan")

    @property
    def precision(self) -> float:
        """Share of alerts that were right."""
        return self.right / self.alerts if self.alerts else float("nan")


def alert_delays(planted: pd.DataFrame, alerts: pd.DataFrame, tolerance: int) -> pd.Series:
    """Seconds from each planted anomaly's start to the first alert that hits it, NaN: missed; indexed like ``planted``.

    Group it by ``planted["kind"]`` to see which kinds are found.

    Parameters
    ----------
    planted : DataFrame
        Columns ``instrument``, ``start`` and ``end`` (µs UTC), as in the simulated venue's truth.
    alerts : DataFrame
        Columns ``instrument`` and ``time`` (µs UTC), in any order.
    tolerance : int
        How long after its end an anomaly may still be reported, µs.
    """
    times = {key: np.sort(rows.to_numpy(np.int64)) for key, rows in alerts.groupby("instrument")["time"]}
    nothing = np.empty(0, np.int64)
    delays = []
    for instrument, start, end in zip(planted["instrument"], planted["start"], planted["end"], strict=True):
        of_instrument = times.get(instrument, nothing)
        first = int(np.searchsorted(of_instrument, start))
        hit = first < len(of_instrument) and of_instrument[first] <= end + tolerance
        delays.append((of_instrument[first] - start) / SECOND if hit else np.nan)
    return pd.Series(delays, index=planted.index, dtype=np.float64)


def score_alerts(planted: pd.DataFrame, anomalies: pd.DataFrame, tolerance: int) -> TruthScore:
    """Recall, precision and delay of the alerts in rows of ``anomalies.anomalies``.

    Parameters
    ----------
    planted : DataFrame
        Columns ``instrument``, ``start`` and ``end`` (µs UTC).
    anomalies : DataFrame
        Columns ``instrument``, ``time`` and ``alert``; only rows with ``alert`` count. (Of ``anomalies.incidents`` the
        columns ``instrument`` and ``opened`` say the same, as soon as they are closed.)
    tolerance : int
        How long after its end an anomaly may still be reported, µs.

    Examples
    --------
    >>> planted = pd.DataFrame({"instrument": ["BTC"], "start": [60_000_000], "end": [90_000_000]})
    >>> anomalies = pd.DataFrame({"instrument": "BTC", "time": [10, 70_000_000], "alert": True})
    >>> score = score_alerts(planted, anomalies, tolerance=0)
    >>> score.recall, score.precision, score.median_delay
    (1.0, 0.5, 10.0)
    """
    alerts = anomalies[anomalies["alert"].astype(bool)]
    delays = alert_delays(planted, alerts, tolerance)
    right = np.zeros(len(alerts), dtype=np.bool_)
    times, instruments = alerts["time"].to_numpy(np.int64), alerts["instrument"].to_numpy()
    for instrument, start, end in zip(planted["instrument"], planted["start"], planted["end"], strict=True):
        right |= (instruments == instrument) & (times >= start) & (times <= end + tolerance)
    return TruthScore(
        planted=len(planted),
        found=int(delays.notna().sum()),
        alerts=len(alerts),
        right=int(right.sum()),
        median_delay=float(delays.median()),
    )
