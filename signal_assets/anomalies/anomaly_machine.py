"""The anomalies of one group: features rows in; metrics, scores, anomalies and incidents out.

Belongs here: who is asked when, and the rows that come of it. Does not belong here: series, detectors, incidents – each
has a file of its own.

Only steps with features rows count. Between the points of the metrics grid such a step costs a few integer additions
per instrument and one comparison for the incidents. At a point the statistical ensembles of all series are stepped in
one call, so are the novelty and the excess detectors; plug-ins are asked value by value. The thousands of rows of a
point that say nothing but a number are made column by column.

Who may say what an anomaly is, is configured: an anomaly is what a detector that ``parameters.raising`` names votes for
and what is far enough off to have a severity. (Two votes less than 1 σ off are possible, where the members of the
ensemble contradict each other; they are none.) So one value may be an anomaly by several detectors, a row each. Those
of the detectors that ``parameters.alerting`` names belong to the series' incident, of which there is one, whoever
opened it; the others are rows that nobody is told of. So are those of features that ``parameters.silent`` names, and of
features with an excess detector that may alert, those of all others.

A plug-in that fails says nothing of that value (σ NaN); the others go on.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from operator import itemgetter
from typing import Any, Final, NamedTuple

import numpy as np

from signal_assets.anomalies.alerting import Alerting
from signal_assets.anomalies.detector import UNKNOWN, Detection, Detector, DetectorFactory, Explaining
from signal_assets.anomalies.drift import DriftPanel, drift_row
from signal_assets.anomalies.excess_detector import ExcessDetector
from signal_assets.anomalies.excess_panel import ExcessPanel
from signal_assets.anomalies.feedback import threshold_factors
from signal_assets.anomalies.incident_rows import group_row, incident_row, scopes
from signal_assets.anomalies.moved_together import NewestPoints
from signal_assets.anomalies.novelty_detector import NoveltyDetector
from signal_assets.anomalies.novelty_panel import NoveltyPanel
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.series import MARKET_FEATURES, MarketSeries, series_name
from signal_assets.anomalies.severity import SEVERITIES, severity_of, tail_probability
from signal_assets.anomalies.statistical_ensemble import MEMBERS, StatisticalEnsemble, StatisticalPanel
from signal_assets.anomalies.statistical_steps import Reals
from signal_assets.anomalies.tables import ANOMALIES, DRIFTS, INCIDENT_GROUPS, INCIDENTS, LABELS, METRICS, SCORES
from signal_assets.content_id import content_id
from signal_assets.event_time import ceil_to
from signal_assets.instrument import Instrument
from signal_assets.machine import Events, Rows
from signal_assets.market.tables import FEATURES

Row = tuple[Any, ...]

ENSEMBLE: Final = StatisticalEnsemble.name
REPORTED: Final = (*MEMBERS, ENSEMBLE)
NOT_FILED: Final = ("", False, "", False, "")
"""Incident, opened, group incident, alert, suppressed of an anomaly that is not severe enough for an incident."""


class _Watch(NamedTuple):
    """Detectors of one name, each of the series of that number."""

    name: str
    numbers: list[int]
    detectors: list[Detector]
    panel: NoveltyPanel | ExcessPanel | None


class _Finding(NamedTuple):
    """A value that a detector votes for."""

    instrument: str
    series: str
    value: float
    detector: str
    said: Detection
    votes: int
    reasons: Mapping[str, float]


class AnomalyMachine:
    """Watches the market series of every instrument of a group; see :class:`signal_assets.machine.Machine`.

    A machine that watches other series says which (:attr:`features`, :meth:`series_of`) and where their values come
    from (:meth:`step`).

    Parameters
    ----------
    instruments : sequence of Instrument
        The group.
    parameters : AnomalyParameters
        The same for all of them.
    detectors : sequence of DetectorFactory
        Further detectors; each watches every series and has its distances stored. Their names differ from each other
        and from those of REPORTED.
    of_features : mapping of str to sequence of DetectorFactory
        The same for the series of one feature.
    """

    features: tuple[str, ...] = MARKET_FEATURES
    """What is watched of each instrument."""

    @staticmethod
    def series_of(instrument: str, feature: str) -> str:
        """Name of the series of a feature."""
        return series_name(instrument, feature)

    def __init__(
        self,
        instruments: Sequence[Instrument],
        parameters: AnomalyParameters,
        detectors: Sequence[DetectorFactory] = (),
        of_features: Mapping[str, Sequence[DetectorFactory]] | None = None,
    ) -> None:
        self._parameters = parameters
        self._market = {instrument.key: MarketSeries(parameters) for instrument in instruments}
        self._series = [(key, self.series_of(key, feature)) for key in self._market for feature in self.features]
        self._first = {key: i * len(self.features) for i, key in enumerate(self._market)}
        self._panel = StatisticalPanel(len(self._series), parameters)
        self._drift = DriftPanel([series for _, series in self._series], parameters)
        self._points = NewestPoints(
            len(self._series),
            window=parameters.correlation_window,
            minimum=parameters.correlation_window // 2,
            least=parameters.correlation_least,
        )
        factories = [(*(of_features or {}).get(feature, ()), *detectors) for feature in self.features]
        self._detectors = [[make(parameters) for make in of_series] for _ in self._market for of_series in factories]
        self._watches = list(_watches(self._detectors))
        judged = np.zeros((len(self._series), len(REPORTED) + len(self._watches)), dtype=bool)
        judged[:, : len(REPORTED)] = True
        for place, watch in enumerate(self._watches, len(REPORTED)):
            judged[watch.numbers, place] = True
        self._judged = judged
        names = (*REPORTED, *(watch.name for watch in self._watches))
        self._scored = [(*self._series[number], names[place]) for number, place in np.argwhere(judged).tolist()]
        self._by_excess = frozenset(
            self._series[number][1]
            for watch in self._watches
            if watch.name == ExcessDetector.name and watch.name in parameters.alerting
            for number in watch.numbers
        )
        self._silent = frozenset(self.series_of(key, name) for key in self._market for name in parameters.silent)
        scope_of_instrument = scopes(instruments, parameters.group_by)
        self._scopes = frozenset(scope_of_instrument.values())
        self._filing = Alerting(parameters, scope_of_instrument)
        self._alerting = SEVERITIES[SEVERITIES.index(parameters.alert_severity) :]
        self._factors: dict[str, float] = {}
        self.failures: dict[str, int] = {}
        """How often each detector raised; not part of the state."""
        self.last_failure: dict[str, str] = {}
        """What it raised last."""

    def begin_day(self, start: int, in_force: Mapping[str, Sequence[Any]]) -> None:
        """Take the thresholds that follow from what people said of earlier alarms."""
        self._factors = threshold_factors(in_force.get(LABELS.name, ()), self._parameters)

    def step(self, time: int, events: Events) -> Rows:
        """Take in the features rows of ``time``; rows of all tables of the stage."""
        records = events.get(FEATURES.name, ())
        if not records:
            return {}
        end = ceil_to(time, self._parameters.metrics_interval)
        for record in records:
            self._market[record.instrument].add(end, record)
        rows: dict[str, list[Row]] = {}
        if time >= self._filing.due:
            self._close(time, rows)
        if time == end:
            values = np.full(len(self._series), np.nan)
            for record in records:
                first = self._first[record.instrument]
                values[first : first + len(self.features)] = self._market[record.instrument].values(record)
            self._judge(time, values, rows)
        return rows

    def _close(self, time: int, rows: dict[str, list[Row]], over_by: int | None = None) -> None:
        """Rows, closed at ``time``, of what is over by then, or by ``over_by`` if nothing more can come.

        What an instrument that has left the group had open ends without one.
        """
        incidents, groups = self._filing.close(time if over_by is None else over_by)
        incidents = [incident for incident in incidents if incident.instrument in self._market]
        groups = [group for group in groups if group.scope in self._scopes]
        if incidents:
            rows[INCIDENTS.name] = [incident_row(incident, time) for incident in incidents]
        if groups:
            rows[INCIDENT_GROUPS.name] = [group_row(group, time) for group in groups]

    def _judge(self, time: int, values: Reals, rows: dict[str, list[Row]]) -> None:
        """Rows of one point of the metrics grid; series without a value have none."""
        self._points.push(values)
        judgements = self._panel.update(values)
        sigmas = np.full(self._judged.shape, np.nan)
        sigmas[:, : len(REPORTED)] = judgements[:, :, 0]
        findings = list(self._ensemble_findings(values, judgements))
        for place, watch in enumerate(self._watches, len(REPORTED)):
            numbers = np.array(watch.numbers)
            sigmas[numbers, place], said = self._ask(watch, time, values[numbers])
            if watch.name in self._parameters.raising:
                findings += self._findings(watch, values, said)
        findings.sort(key=itemgetter(0))
        known = ~np.isnan(values)
        scored = (known[:, np.newaxis] & self._judged)[self._judged].tolist()
        rows |= {
            METRICS.name: [
                (instrument, series, time, value)
                for (instrument, series), value in compress(
                    zip(self._series, values.tolist(), strict=True), known.tolist()
                )
            ],
            SCORES.name: [
                (instrument, series, time, name, sigma)
                for (instrument, series, name), sigma in compress(
                    zip(self._scored, sigmas[self._judged].tolist(), strict=True), scored
                )
            ],
            ANOMALIES.name: [row for _, finding in findings if (row := self._anomaly(time, finding)) is not None],
        }
        if drifts := self._drift.update(values):
            rows[DRIFTS.name] = [drift_row(*self._series[drift.number], time, drift) for drift in drifts]

    def _anomaly(self, time: int, finding: _Finding) -> Row | None:
        """Row of a finding; None if it is not far enough off."""
        instrument, series, value, detector, (sigma, low, high, vote), votes, reasons = finding
        severity = severity_of(sigma, self._parameters.severity_bounds)
        if severity is None:
            return None
        direction = "above" if vote > 0 else "below"
        filed: tuple[Any, ...] = NOT_FILED
        factor = self._factors.get(series, 1.0)
        alarming = severity_of(sigma / factor, self._parameters.severity_bounds)
        if alarming in self._alerting and self._is_told(series, detector):
            taken = self._filing.take(time, instrument, series, sigma, severity, direction)
            if taken.opened_group:
                taken.group.moved_together = self._moved_together(instrument, series)
            filed = (taken.incident.id, taken.opened, taken.group.id, taken.alert, taken.suppressed)
        return (
            content_id(series, time, detector),
            instrument,
            series,
            time,
            value,
            detector,
            sigma,
            tail_probability(sigma),
            severity,
            low,
            high,
            direction,
            votes,
            json.dumps(reasons),
            *filed,
            factor,
        )

    def _is_told(self, series: str, detector: str) -> bool:
        """Whether what the detector finds there makes incidents; the excess detector is asked before all others."""
        if series in self._silent:
            return False
        return detector == ExcessDetector.name if series in self._by_excess else detector in self._parameters.alerting

    def _moved_together(self, instrument: str, series: str) -> str:
        """Correlations of a series with the others of its instrument and with its like of other instruments, JSON."""
        count = len(self.features)
        own = range(self._first[instrument], self._first[instrument] + count)
        leading = next(number for number in own if self._series[number][1] == series)
        alike = range(leading % count, len(self._series), count)
        found = self._points.correlated(leading, sorted({*own, *alike} - {leading}))
        return json.dumps({self._series[number][1]: correlation for number, correlation in found.items()})

    def _ask(self, watch: _Watch, time: int, values: Reals) -> tuple[Reals, list[tuple[int, Detection]]]:
        """Distances by the detectors of a watch, NaN where there is no value; by place, what the voting ones say."""
        if watch.panel is not None:
            scores = watch.panel.update(time, values)
            return scores.sigma, [(at, scores.at(at)) for at in np.flatnonzero(scores.vote).tolist()]
        said = [
            UNKNOWN if value != value else self._ask_one(detector, time, value)
            for detector, value in zip(watch.detectors, values.tolist(), strict=True)
        ]
        return np.array([one.sigma for one in said]), [(at, one) for at, one in enumerate(said) if one.vote]

    def _ask_one(self, detector: Detector, time: int, value: float) -> Detection:
        try:
            sigma, low, high, vote = detector.update(time, value)
            return Detection(float(sigma), float(low), float(high), int(vote))
        except Exception as error:  # whatever a plug-in raises must not stop the others
            self._note(detector, error)
            return UNKNOWN

    def _ensemble_findings(self, values: Reals, judgements: Reals) -> Iterator[tuple[int, _Finding]]:
        """What the ensemble votes for, by number of the series; its reasons are the members that agree with it."""
        if ENSEMBLE not in self._parameters.raising:
            return
        for number in np.flatnonzero(judgements[:, 4, 3]).tolist():
            judgement = judgements[number].tolist()
            sigma, low, high, vote = judgement[4]
            reasons = {name: said[0] for name, said in zip(MEMBERS, judgement, strict=False) if said[3] == vote}
            said = Detection(sigma, low, high, int(vote))
            yield number, _Finding(*self._series[number], values[number].item(), ENSEMBLE, said, len(reasons), reasons)

    def _findings(
        self, watch: _Watch, values: Reals, said: Sequence[tuple[int, Detection]]
    ) -> Iterator[tuple[int, _Finding]]:
        """The same of a watch; its reasons are its detector's."""
        for at, detection in said:
            number, reasons = watch.numbers[at], self._reasons(watch.detectors[at], detection)
            value = values[number].item()
            yield number, _Finding(*self._series[number], value, watch.name, detection, 1, reasons)

    def _reasons(self, detector: Detector, said: Detection) -> dict[str, float]:
        """What a detector gives as reasons; its distance, if it explains nothing or fails to."""
        if isinstance(detector, Explaining):
            try:
                return {str(name): float(weight) for name, weight in detector.reasons().items()}
            except Exception as error:
                self._note(detector, error)
        return {detector.name: said.sigma}

    def _note(self, detector: Detector, error: Exception) -> None:
        self.failures[detector.name] = self.failures.get(detector.name, 0) + 1
        self.last_failure[detector.name] = " ".join(f"{type(error).__name__}: {error}".split())

    def state(self) -> dict[str, Any]:
        """Sums of all instruments, windows and averages of all series, open incidents and alerts."""
        return {
            "market": {key: market.state() for key, market in self._market.items()},
            "series": {
                name: {ENSEMBLE: self._panel.state(number)}
                | {detector.name: detector.state() for detector in self._detectors[number]}
                for number, (_, name) in enumerate(self._series)
            },
            "points": {name: self._points.state(number) for number, (_, name) in enumerate(self._series)},
            "drift": {name: self._drift.state(number) for number, (_, name) in enumerate(self._series)},
            "alerting": self._filing.state(),
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
            if name in state["points"]:
                self._points.restore(number, state["points"][name])
            if name in state["drift"]:
                self._drift.restore(number, state["drift"][name])
            for detector in self._detectors[number]:
                if detector.name in known:
                    detector.restore(known[detector.name])
        self._filing.restore(state["alerting"])


def _watches(detectors: Sequence[Sequence[Detector]]) -> Iterator[_Watch]:
    """The detectors of each series, by name."""
    by_name: dict[str, list[tuple[int, Detector]]] = {}
    for number, of_series in enumerate(detectors):
        for detector in of_series:
            by_name.setdefault(detector.name, []).append((number, detector))
    for name, numbered in by_name.items():
        asked = [detector for _, detector in numbered]
        yield _Watch(name, [number for number, _ in numbered], asked, _panel(asked))


def _panel(detectors: Sequence[Detector]) -> NoveltyPanel | ExcessPanel | None:
    """One for detectors that can be asked at once; subclasses may say something else."""
    novelty = [detector for detector in detectors if type(detector) is NoveltyDetector]
    excess = [detector for detector in detectors if type(detector) is ExcessDetector]
    if len(novelty) == len(detectors):
        return NoveltyPanel(novelty)
    return ExcessPanel(excess) if len(excess) == len(detectors) else None
