"""The anomalies of one group: features rows in; metrics, scores, anomalies and incidents out.

Belongs here: who is asked when, and the rows that come of it. Does not belong here: series, detectors, incidents – each
has a file of its own.

Only steps with features rows count. Between the points of the metrics grid such a step costs a few integer additions
per instrument and one comparison for the incidents. At a point the statistical ensembles of all series are stepped in
one call; what else watches a series is asked value by value.

An anomaly is what the ensemble votes for and what is far enough off to have a severity. (Two votes less than 1 σ off
are possible, where the detectors contradict each other; they are none.)

A detector that raises says nothing of that value (σ NaN); the others go on.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from signal_assets.anomalies.detector import Detector, DetectorFactory
from signal_assets.anomalies.incidents import Incidents
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.series import MARKET_FEATURES, MarketSeries, series_name
from signal_assets.anomalies.severity import SEVERITIES, severity_of, tail_probability
from signal_assets.anomalies.statistical_ensemble import MEMBERS, StatisticalEnsemble, StatisticalPanel
from signal_assets.anomalies.statistical_steps import Reals
from signal_assets.anomalies.tables import ANOMALIES, INCIDENTS, METRICS, SCORES
from signal_assets.content_id import content_id
from signal_assets.event_time import ceil_to
from signal_assets.instrument import Instrument
from signal_assets.machine import Events, Rows
from signal_assets.market.tables import FEATURES

Row = tuple[Any, ...]

ENSEMBLE: Final = StatisticalEnsemble.name
REPORTED: Final = (*MEMBERS, ENSEMBLE)
PER_INSTRUMENT: Final = len(MARKET_FEATURES)


class AnomalyMachine:
    """Watches the market series of every instrument of a group; see :class:`signal_assets.machine.Machine`.

    Parameters
    ----------
    instruments : sequence of Instrument
        The group.
    parameters : AnomalyParameters
        The same for all of them.
    detectors : sequence of DetectorFactory
        Further detectors; each watches every series and has its distances stored.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        parameters: AnomalyParameters,
        detectors: Sequence[DetectorFactory] = (),
    ) -> None:
        self._parameters = parameters
        self._market = {instrument.key: MarketSeries(parameters) for instrument in instruments}
        self._series = [(key, series_name(key, feature)) for key in self._market for feature in MARKET_FEATURES]
        self._first = {key: i * PER_INSTRUMENT for i, key in enumerate(self._market)}
        self._panel = StatisticalPanel(len(self._series), parameters)
        self._detectors = [[make(parameters) for make in detectors] for _ in self._series]
        self._incidents = Incidents(parameters.cool_down)
        self._alerting = SEVERITIES[SEVERITIES.index(parameters.alert_severity) :]
        self.failures: dict[str, int] = {}
        """How often each detector raised; not part of the state."""
        self.last_failure: dict[str, str] = {}
        """What it raised last."""

    def begin_day(self, start: int, in_force: Mapping[str, Sequence[Any]]) -> None:
        """Nothing that is learned is in force here."""

    def step(self, time: int, events: Events) -> Rows:
        """Take in the features rows of ``time``; rows of METRICS, SCORES, ANOMALIES and INCIDENTS."""
        records = events.get(FEATURES.name, ())
        if not records:
            return {}
        end = ceil_to(time, self._parameters.metrics_interval)
        for record in records:
            self._market[record.instrument].add(end, record)
        rows: dict[str, list[Row]] = {}
        if time >= self._incidents.due and (closed := self._incidents.close(time)):
            rows[INCIDENTS.name] = closed
        if time == end:
            values = np.full(len(self._series), np.nan)
            for record in records:
                first = self._first[record.instrument]
                values[first : first + PER_INSTRUMENT] = self._market[record.instrument].values(record)
            self._judge(time, values, rows)
        return rows

    def _judge(self, time: int, values: Reals, rows: dict[str, list[Row]]) -> None:
        """Rows of one point of the metrics grid; series without a value have none."""
        judgements = self._panel.update(values)
        metrics: list[Row] = []
        scores: list[Row] = []
        for (instrument, series), value, sigmas, detectors in zip(
            self._series, values.tolist(), judgements[:, :, 0].tolist(), self._detectors, strict=True
        ):
            if value == value:  # not NaN
                metrics.append((instrument, series, time, value))
                for name, sigma in zip(REPORTED, sigmas, strict=True):
                    scores.append((instrument, series, time, name, sigma))
                for detector in detectors:
                    scores.append((instrument, series, time, detector.name, self._ask(detector, time, value)))
        anomalies = []
        for number in np.flatnonzero(judgements[:, 4, 3]).tolist():
            if (row := self._anomaly(time, number, float(values[number]), judgements[number].tolist())) is not None:
                anomalies.append(row)
        rows |= {METRICS.name: metrics, SCORES.name: scores, ANOMALIES.name: anomalies}

    def _anomaly(self, time: int, number: int, value: float, judgement: list[list[float]]) -> Row | None:
        """Row of a value that the ensemble votes for; None if it is not far enough off."""
        instrument, series = self._series[number]
        sigma, low, high, vote = judgement[4]
        severity = severity_of(sigma, self._parameters.severity_bounds)
        if severity is None:
            return None
        direction = "above" if vote > 0 else "below"
        incident, alert = "", False
        if severity in self._alerting:
            incident, alert = self._incidents.take(time, instrument, series, sigma, severity, direction)
        reasons = {name: said[0] for name, said in zip(MEMBERS, judgement, strict=False) if said[3] == vote}
        return (
            content_id(series, time, ENSEMBLE),
            instrument,
            series,
            time,
            value,
            ENSEMBLE,
            sigma,
            tail_probability(sigma),
            severity,
            low,
            high,
            direction,
            len(reasons),
            json.dumps(reasons),
            incident,
            alert,
        )

    def _ask(self, detector: Detector, time: int, value: float) -> float:
        try:
            return float(detector.update(time, value).sigma)
        except Exception as error:  # whatever a plug-in raises must not stop the others
            self.failures[detector.name] = self.failures.get(detector.name, 0) + 1
            self.last_failure[detector.name] = " ".join(f"{type(error).__name__}: {error}".split())
            return float("nan")

    def state(self) -> dict[str, Any]:
        """Sums of all instruments, windows and averages of all series, and the open incidents."""
        return {
            "market": {key: market.state() for key, market in self._market.items()},
            "series": {
                name: {ENSEMBLE: self._panel.state(number)}
                | {detector.name: detector.state() for detector in self._detectors[number]}
                for number, (_, name) in enumerate(self._series)
            },
            "incidents": self._incidents.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there; an instrument or a detector that the state does not know begins cold."""
        for key, market in self._market.items():
            if key in state["market"]:
                market.restore(state["market"][key])
        for number, (_, name) in enumerate(self._series):
            known = state["series"].get(name, {})
            if ENSEMBLE in known:
                self._panel.restore(number, known[ENSEMBLE])
            for detector in self._detectors[number]:
                if detector.name in known:
                    detector.restore(known[detector.name])
        self._incidents.restore(state["incidents"])
