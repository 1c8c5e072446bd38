"""How orders, fills, positions and deployments follow from signals and features.

Belongs here: the fold of this stage and the reading of its settings. Does not belong here: the machine.
"""

from typing import Final

from resources.execution_settings import ExecutionSettings
from resources.settings import Settings
from signal_assets.derivation import Input
from signal_assets.event_time import HOUR, MILLISECOND
from signal_assets.execution.paper_broker_machine import PaperBrokerMachine
from signal_assets.execution.parameters import EQUAL_WEIGHTS, ExecutionParameters
from signal_assets.execution.tables import TABLES
from signal_assets.fixed_point import SCALE
from signal_assets.fold import Fold
from signal_assets.market.tables import FEATURES
from signal_assets.signals.tables import SIGNALS

BOOK: Final = Input(
    FEATURES,
    columns=(
        "instrument",
        "time",
        "best_bid",
        "best_ask",
        "bid_price_20",
        "bid_quantity_20",
        "ask_price_20",
        "ask_quantity_20",
    ),
)
"""The twenty best levels of both sides."""

ORDERED: Final = Input(
    SIGNALS,
    columns=(
        "id",
        "strategy",
        "instrument",
        "action",
        "order_type",
        "legs",
        "entry_price",
        "stop_loss",
        "take_profit",
        "quantity",
        "event_time",
        "expires_at",
        "status",
    ),
)
"""What a signal asks for."""


def execution_parameters(settings: ExecutionSettings) -> ExecutionParameters:
    """Parameters in the kernel's units: 1e-8 and microseconds."""
    weights = EQUAL_WEIGHTS
    if settings.weights is not None:
        weights = tuple((strategy, int(weight * SCALE)) for strategy, weight in settings.weights.items())
    return ExecutionParameters(
        starting_balance=int(settings.starting_balance * SCALE),
        account_currency=settings.account_currency,
        latency=settings.latency_milliseconds * MILLISECOND,
        slippage_cap=int(settings.slippage_cap * SCALE),
        position_size=int(settings.position_size * SCALE),
        largest_position=int(settings.largest_position * SCALE),
        daily_loss_limit=int(settings.daily_loss_limit * SCALE),
        safety_stop=int(settings.safety_stop * SCALE),
        maximum_holding=None if settings.maximum_holding_hours is None else int(settings.maximum_holding_hours * HOUR),
        allow_short=settings.allow_short,
        kill_switch=settings.kill_switch,
        killed=settings.killed,
        weights=weights,
    )


def execution(parameters: ExecutionParameters) -> Fold:
    """Paper execution of a group."""
    return Fold(
        name="execution",
        tables=TABLES,
        inputs=(BOOK, ORDERED),
        machine=lambda instruments: PaperBrokerMachine(instruments, parameters),
        version=repr(parameters),
    )


def execution_fold(settings: Settings) -> Fold:
    """The fold as configured."""
    return execution(execution_parameters(settings.execution))
