"""How signals follow from proposals, anomalies and features, and their parameters from the configuration."""

from typing import Final

from resources.learning_settings import LearningSettings
from resources.settings import Settings
from resources.signal_settings import SignalSettings
from signal_assets.anomalies.tables import ANOMALIES
from signal_assets.derivation import Input
from signal_assets.event_time import MINUTE, SECOND
from signal_assets.fold import Fold
from signal_assets.learning.tables import RECENT_PERFORMANCE, THRESHOLDS
from signal_assets.market.tables import FEATURES
from signal_assets.signals.parameters import ConfidenceWeights, SignalParameters, ThresholdBounds
from signal_assets.signals.signal_machine import SignalMachine
from signal_assets.signals.tables import SIGNALS
from signal_assets.signals.thresholds import NAMES
from signal_assets.strategies.tables import TABLES as STRATEGY_TABLES

INPUTS: Final = (
    *(Input(table) for table in STRATEGY_TABLES),
    Input(ANOMALIES, columns=("instrument", "series", "time", "detector", "severity")),
    Input(FEATURES, columns=("instrument", "time", "mid_price")),
)


def signal_parameters(settings: SignalSettings, learning: LearningSettings) -> SignalParameters:
    """Parameters in the kernels' units; the thresholds' defaults and bounds are those that learning keeps to."""
    bounds = {name: getattr(learning, name) for name in NAMES}
    return SignalParameters(
        expiry=settings.expiry_seconds * SECOND,
        minimum_mean_score=settings.minimum_mean_score,
        duplicate_window=settings.duplicate_minutes * MINUTE,
        anomaly_window=settings.anomaly_seconds * SECOND,
        other_signals_window=settings.other_signals_minutes * MINUTE,
        weights=ConfidenceWeights(**settings.weights.model_dump()),
        minimum_reward_to_risk=settings.minimum_reward_to_risk,
        trending=settings.trending,
        volatile=settings.volatile,
        correlated=settings.correlated,
        volatility_window=settings.volatility_minutes,
        volatility_history=settings.volatility_history_minutes,
        least_history=settings.least_history_minutes,
        trend_window=settings.trend_minutes,
        range_window=settings.range_minutes,
        correlation_window=settings.correlation_minutes,
        **{name: ThresholdBounds(item.default, item.low, item.high) for name, item in bounds.items()},
    )


def signals(parameters: SignalParameters) -> Fold:
    """Every proposal with its verdict."""
    return Fold(
        name="signals",
        tables=(SIGNALS,),
        inputs=INPUTS,
        machine=lambda instruments: SignalMachine(instruments, parameters),
        in_force=(THRESHOLDS, RECENT_PERFORMANCE),
        version=repr(parameters),
    )


def signal_fold(settings: Settings) -> Fold:
    """The fold as configured."""
    return signals(signal_parameters(settings.signals, settings.learning))
