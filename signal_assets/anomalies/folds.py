"""How the anomaly tables follow from the features.

Belongs here: the fold and its parameters out of the settings. Does not belong here: the machine (``anomaly_machine``).
"""

from resources.anomaly_settings import AnomalySettings
from resources.settings import Settings
from signal_assets.anomalies.anomaly_machine import AnomalyMachine
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.series import FEATURES_COLUMNS
from signal_assets.anomalies.tables import TABLES
from signal_assets.derivation import Input
from signal_assets.event_time import MILLISECOND, SECOND
from signal_assets.fold import Fold
from signal_assets.market.tables import FEATURES


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
        severity_bounds=(
            settings.severity_low,
            settings.severity_medium,
            settings.severity_high,
            settings.severity_critical,
        ),
        alert_severity=settings.alert_severity,
        cool_down=settings.cool_down_seconds * SECOND,
    )


def anomalies(parameters: AnomalyParameters) -> Fold:
    """Metrics, scores, anomalies and incidents, stepped through the features."""
    return Fold(
        name="anomalies",
        tables=TABLES,
        inputs=(Input(FEATURES, columns=FEATURES_COLUMNS),),
        machine=lambda instruments: AnomalyMachine(instruments, parameters),
        version=repr(parameters),
    )


def anomaly_fold(settings: Settings) -> Fold:
    """The fold as configured."""
    return anomalies(anomaly_parameters(settings.anomalies, settings.grid_milliseconds))
