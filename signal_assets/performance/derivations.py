"""How metrics and alerts follow from daily equity and closed trades, at each day's end."""

from resources.settings import Settings
from signal_assets.derivation import Derivation, Input
from signal_assets.event_time import DAY
from signal_assets.performance.alert_rows import alert_rows
from signal_assets.performance.folds import stage_parameters
from signal_assets.performance.metric_rows import metric_rows
from signal_assets.performance.parameters import PerformanceParameters
from signal_assets.performance.tables import ALERTS, DAILY_EQUITY, METRICS, TRADE_LOG


def metrics(parameters: PerformanceParameters) -> Derivation:
    """What each record is worth."""
    return Derivation(
        table=METRICS,
        inputs=(
            Input(DAILY_EQUITY, parameters.look_back),
            Input(TRADE_LOG, parameters.look_back, ("instrument", "strategy", "closed", "net")),
        ),
        kernel=lambda window, instruments, inputs: metric_rows(
            window, instruments, inputs[DAILY_EQUITY.name], inputs[TRADE_LOG.name], parameters
        ),
        grid=DAY,
    )


def alerts(parameters: PerformanceParameters) -> Derivation:
    """Metrics beyond their thresholds."""
    return Derivation(
        table=ALERTS,
        inputs=(Input(METRICS),),
        kernel=lambda window, instruments, inputs: alert_rows(window, inputs[METRICS.name], parameters),
        grid=DAY,
    )


def metric_derivation(settings: Settings) -> Derivation:
    """The metrics as configured."""
    return metrics(stage_parameters(settings))


def alert_derivation(settings: Settings) -> Derivation:
    """The alerts as configured."""
    return alerts(stage_parameters(settings))
