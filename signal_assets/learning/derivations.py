"""How regimes follow from the features, and versions from a closed day; the stage's parameters as configured."""

from resources.learning_settings import LearningSettings
from resources.settings import Settings
from signal_assets.derivation import Derivation, Input
from signal_assets.event_time import DAY
from signal_assets.learning.learned import Lesson
from signal_assets.learning.parameters import DynamicThreshold, LearningParameters, dynamic_thresholds
from signal_assets.learning.recent_performance import recent_performance_rows
from signal_assets.learning.regimes import regime_rows
from signal_assets.learning.tables import RECENT_PERFORMANCE, REGIMES, THRESHOLDS
from signal_assets.learning.thresholds import threshold_rows
from signal_assets.market.tables import FEATURES
from signal_assets.performance.tables import TRADE_LOG
from signal_assets.signals.tables import SIGNALS


def learning_parameters(settings: LearningSettings) -> LearningParameters:
    """Parameters of the stage in the kernels' units."""
    demanding = {name: threshold.demands for name, threshold in dynamic_thresholds().items()}
    return LearningParameters(
        volatile_above=settings.volatile_above,
        trending_above=settings.trending_above,
        thresholds={
            name: DynamicThreshold(bounds.default, bounds.low, bounds.high, demands)
            for name, demands in demanding.items()
            for bounds in [getattr(settings, name)]
        },
        confident_above=settings.confident_above,
        high_share=settings.high_share,
        low_share=settings.low_share,
        loosen=settings.loosen,
        tighten=settings.tighten,
        recent=settings.recent_days * DAY,
    )


def regimes(parameters: LearningParameters) -> Derivation:
    """What kind of day it was for each instrument."""
    return Derivation(
        table=REGIMES,
        inputs=(Input(FEATURES, DAY, ("instrument", "time", "best_bid", "best_ask")),),
        kernel=lambda window, instruments, inputs: regime_rows(window, instruments, inputs[FEATURES.name], parameters),
        grid=DAY,
    )


def regime_derivation(settings: Settings) -> Derivation:
    """The regimes as configured."""
    return regimes(learning_parameters(settings.learning))


def threshold_lesson(settings: Settings) -> Lesson:
    """The daily step of the dynamic thresholds as configured."""
    parameters = learning_parameters(settings.learning)
    return Lesson(
        table=THRESHOLDS,
        inputs=(Input(SIGNALS, columns=("instrument", "event_time", "status", "confidence")),),
        rule=lambda day_end, group, inputs, versions: threshold_rows(
            day_end, group, inputs[SIGNALS.name], versions, parameters
        ),
    )


def recent_performance_lesson(settings: Settings) -> Lesson:
    """Every strategy's recent record as configured."""
    parameters = learning_parameters(settings.learning)
    return Lesson(
        table=RECENT_PERFORMANCE,
        inputs=(Input(TRADE_LOG, parameters.recent, ("instrument", "strategy", "closed", "net")),),
        rule=lambda day_end, group, inputs, versions: recent_performance_rows(
            day_end, group, inputs[TRADE_LOG.name], parameters
        ),
    )
