"""How the anomaly tables follow from the features, and from what the machine itself is doing.

Belongs here: the folds, its parameters out of the settings, which detectors watch. Does not belong here: the machines
(``anomaly_machine``, ``system_machine``), finding plug-ins (``plug_ins``).
"""

from collections.abc import Sequence
from typing import Any

import structlog

from resources.anomaly_settings import AnomalySettings
from resources.settings import Settings
from signal_assets.anomalies.anomaly_machine import AnomalyMachine
from signal_assets.anomalies.detector import DetectorFactory
from signal_assets.anomalies.excess_detector import ExcessDetector
from signal_assets.anomalies.novelty_detector import NoveltyDetector
from signal_assets.anomalies.parameters import EXCESS_MINIMUM_POINTS, AnomalyParameters
from signal_assets.anomalies.plug_ins import PlugIn, detector_plug_ins
from signal_assets.anomalies.series import FEATURES_COLUMNS, MARKET_FEATURES, POINT_FEATURES
from signal_assets.anomalies.system_machine import SystemMachine
from signal_assets.anomalies.tables import LABELS, SYSTEM_SAMPLES, TABLES
from signal_assets.derivation import Input
from signal_assets.event_time import MILLISECOND, SECOND
from signal_assets.fold import Fold
from signal_assets.market.tables import FEATURES

log: Any = structlog.get_logger(__name__)


def anomaly_parameters(settings: AnomalySettings, grid_milliseconds: int = 1_000) -> AnomalyParameters:
    """Parameters in the machine's units.

    Parameters
    ----------
    settings : AnomalySettings
        As configured.
    grid_milliseconds : int
        The features grid, ``Settings.grid_milliseconds``.

    Raises
    ------
    ValueError
        If the metrics interval is no multiple of the features grid.
    """
    return AnomalyParameters(
        features_grid=grid_milliseconds * MILLISECOND,
        metrics_interval=settings.metrics_interval_seconds * SECOND,
        vpin_intervals=settings.vpin_intervals,
        window=settings.window,
        minimum_points=settings.minimum_points,
        z_score_threshold=settings.z_score_threshold,
        iqr_threshold=settings.iqr_threshold,
        mad_threshold=settings.mad_threshold,
        ema_threshold=settings.ema_threshold,
        ema_alpha=settings.ema_alpha,
        votes=settings.votes,
        novelty_threshold=settings.novelty_threshold,
        novelty_window=settings.novelty_window,
        novelty_minimum_points=settings.novelty_minimum_points,
        excess=tuple((name, limit.quantile, limit.times) for name, limit in settings.excess.items()),
        excess_window=settings.excess_window,
        raising=settings.raising,
        alerting=settings.alerting,
        silent=settings.silent,
        severity_bounds=(
            settings.severity_low,
            settings.severity_medium,
            settings.severity_high,
            settings.severity_critical,
        ),
        alert_severity=settings.alert_severity,
        pending=settings.pending_seconds * SECOND,
        keep_firing=settings.keep_firing_seconds * SECOND,
        cool_down=settings.cool_down_seconds * SECOND,
        group_by=settings.group_by,
        group_tolerance=settings.group_tolerance_seconds * SECOND,
        group_longest=settings.group_longest_seconds * SECOND,
        alerts_per_series=settings.alerts_per_series,
        alerts_per_group=settings.alerts_per_group,
        drift_reference=settings.drift_reference_points,
        drift_recent=settings.drift_recent_points,
        drift_every=settings.drift_every_points,
        drift_probability=settings.drift_probability,
        correlation_window=settings.correlation_window_points,
        correlation_least=settings.correlation_least,
        feedback_step=settings.feedback_step,
        feedback_precision=settings.feedback_precision,
        feedback_low=settings.feedback_low,
        feedback_high=settings.feedback_high,
    )


def novelty(parameters: AnomalyParameters) -> NoveltyDetector:
    """The novelty detector of one market series; a ``DetectorFactory``.

    What a group keeps of it every ten minutes is 14 pasts of ``novelty_window`` numbers a series: at 720 numbers and
    five instruments with seven series each and what else is remembered, the whole state is 3 to 4 MB of text.
    """
    return NoveltyDetector(
        threshold=parameters.novelty_threshold,
        window=parameters.novelty_window,
        minimum_points=parameters.novelty_minimum_points,
    )


def excess(parameters: AnomalyParameters) -> dict[str, DetectorFactory]:
    """The excess detectors by market feature."""

    def factory(quantile: float, times: float) -> DetectorFactory:
        return lambda own: ExcessDetector(
            quantile, times, own.excess_window, EXCESS_MINIMUM_POINTS, own.metrics_interval
        )

    return {feature: factory(quantile, times) for feature, quantile, times in parameters.excess}


def detectors_of_features(parameters: AnomalyParameters) -> dict[str, list[DetectorFactory]]:
    """Our own detectors by market feature, besides the statistical ones.

    Novelty is not asked of what is measured between the points where the excess detector is: it would say of a rare
    event less, and of the common ones nothing.
    """
    of_excess = excess(parameters)
    asked: dict[str, list[DetectorFactory]] = {
        feature: [novelty] for feature in MARKET_FEATURES if feature in POINT_FEATURES or feature not in of_excess
    }
    for feature, factory in of_excess.items():
        asked.setdefault(feature, []).append(factory)
    return asked


def anomalies(parameters: AnomalyParameters, plug_ins: Sequence[PlugIn] = ()) -> Fold:
    """Metrics, scores, anomalies and incidents, stepped through the features.

    Parameters
    ----------
    parameters : AnomalyParameters
        The same for every group.
    plug_ins : sequence of PlugIn
        Detectors that are asked besides our own.
    """
    others, own = [plug_in.factory for plug_in in plug_ins], detectors_of_features(parameters)
    return Fold(
        name="anomalies",
        tables=TABLES,
        inputs=(Input(FEATURES, columns=FEATURES_COLUMNS),),
        machine=lambda instruments: AnomalyMachine(instruments, parameters, others, own),
        in_force=(LABELS,),
        version=" ".join([repr(parameters), *(plug_in.version for plug_in in plug_ins)]),
    )


def system_anomalies(parameters: AnomalyParameters, plug_ins: Sequence[PlugIn] = ()) -> Fold:
    """The same of the system series, stepped through the samples of :data:`SYSTEM_GROUP`."""
    detectors = (novelty, *(plug_in.factory for plug_in in plug_ins))
    return Fold(
        name="system_anomalies",
        tables=TABLES,
        inputs=(Input(SYSTEM_SAMPLES),),
        machine=lambda instruments: SystemMachine(instruments, parameters, detectors),
        in_force=(LABELS,),
        version=" ".join([repr(parameters), *(plug_in.version for plug_in in plug_ins)]),
    )


def anomaly_fold(settings: Settings) -> Fold:
    """The fold as configured, with the plug-ins that are installed.

    Raises
    ------
    PlugInError
        If a plug-in that the configuration names is not there or is no detector. One that it does not name is left out
        and logged instead.
    """
    return anomalies(anomaly_parameters(settings.anomalies, settings.grid_milliseconds), _installed(settings))


def system_fold(settings: Settings) -> Fold:
    """The system's fold as configured, with the plug-ins that are installed.

    Raises
    ------
    PlugInError
        As of :func:`anomaly_fold`.
    """
    parameters = anomaly_parameters(settings.anomalies, settings.grid_milliseconds)
    return system_anomalies(parameters, _installed(settings))


def _installed(settings: Settings) -> Sequence[PlugIn]:
    plug_ins, refused = detector_plug_ins(settings.anomalies.plug_ins)
    for reason in refused:
        log.warning("a detector plug-in is left out", reason=reason)
    return plug_ins
