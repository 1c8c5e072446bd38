"""How the trade log and the equity follow from fills and features; parameters of the stage from the configuration."""

from resources.performance_settings import PerformanceSettings
from resources.settings import Settings
from signal_assets.derivation import Input
from signal_assets.event_time import DAY
from signal_assets.execution.folds import execution_parameters
from signal_assets.execution.parameters import ExecutionParameters
from signal_assets.execution.tables import FILLS
from signal_assets.fold import Fold
from signal_assets.market.tables import FEATURES
from signal_assets.performance.equity import EquityMachine
from signal_assets.performance.parameters import PerformanceParameters, alert_rules, start_capital
from signal_assets.performance.tables import DAILY_EQUITY, EQUITY, TRADE_LOG
from signal_assets.performance.trade_log import TradeLogMachine


def performance_parameters(settings: PerformanceSettings, execution: ExecutionParameters) -> PerformanceParameters:
    """Parameters of the stage in the kernels' units; the account is that of the paper execution."""
    return PerformanceParameters(
        account_currency=execution.account_currency,
        starting_balance=execution.starting_balance,
        start_capital=start_capital(execution),
        look_back=settings.look_back_days * DAY,
        rules=alert_rules(**settings.alerts.model_dump()),
    )


def trade_log() -> Fold:
    """Closed trades, first in, first out."""
    return Fold("trade_log", (TRADE_LOG,), (Input(FILLS),), lambda instruments: TradeLogMachine())


def equity(parameters: PerformanceParameters) -> Fold:
    """Account values on the minute grid and at each day's end."""
    return Fold(
        "equity",
        (EQUITY, DAILY_EQUITY),
        (Input(FILLS), Input(FEATURES, columns=("instrument", "time", "best_bid", "best_ask"))),
        lambda instruments: EquityMachine(instruments, parameters),
        version=repr(parameters),
    )


def stage_parameters(settings: Settings) -> PerformanceParameters:
    """Parameters of the stage as configured."""
    return performance_parameters(settings.performance, execution_parameters(settings.execution))


def equity_fold(settings: Settings) -> Fold:
    """The fold of the equity as configured."""
    return equity(stage_parameters(settings))


def trade_log_fold(settings: Settings) -> Fold:
    """The fold of the trade log; nothing of it is configured."""
    del settings
    return trade_log()
