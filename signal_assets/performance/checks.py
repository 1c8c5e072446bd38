"""Checks of the performance tables: every unit of profit is accounted for."""

from dagster import AssetChecksDefinition

from resources.lake import Lake
from resources.settings import Settings
from signal_assets.derivation import scope_of
from signal_assets.event_time import DAY
from signal_assets.execution.tables import FILLS
from signal_assets.fold import records_of
from signal_assets.market.tables import FEATURES
from signal_assets.performance.folds import stage_parameters
from signal_assets.performance.marks import marks_of
from signal_assets.performance.pnl_identity import pnl_identities
from signal_assets.performance.tables import EQUITY, TRADE_LOG
from signal_assets.table_checks import Finding, table_check
from signal_assets.window import Window

BEST = ("best_bid", "best_ask")


def performance_checks() -> list[AssetChecksDefinition]:
    """All checks of the stage beyond the schema."""
    return [
        table_check(
            EQUITY,
            "pnl_identity",
            "Closed trades + open positions - their fees = change of equity, to the last 1e-8, for every account.",
            pnl_is_accounted_for,
        )
    ]


def pnl_is_accounted_for(lake: Lake, settings: Settings, window: Window) -> Finding:
    """Hold the last equity of the day against the trade log and the fills, per account."""
    lake.ensure([FILLS, TRADE_LOG, FEATURES])
    parameters = stage_parameters(settings)
    lines, accounts = [], 0
    for group, instruments in settings.groups.items():
        keys = scope_of(instruments)
        equity = lake.read(EQUITY, start=window.start, end=window.end, instruments=keys)
        if equity.empty:
            continue
        time = int(equity["time"].max())
        prices = lake.read(
            FEATURES, start=window.start - DAY, end=time, instruments=keys, columns=("instrument", "time", *BEST)
        )
        marks = marks_of(instruments, parameters.account_currency, prices)
        fills = records_of(FILLS, lake.read(FILLS, end=time, instruments=keys))
        identities = pnl_identities(
            fills,
            lake.read(TRADE_LOG, end=time, instruments=keys),
            equity[equity["time"] == time],
            marks,
            parameters.start_capital,
            parameters.starting_balance,
        )
        accounts += len(identities)
        lines += [f"{group} {item.name} is off by {item.difference}" for item in identities if item.difference]
    return Finding(
        not lines,
        "; ".join(lines) if lines else f"{accounts} accounts agree exactly",
        {"accounts": accounts, "accounts_off": len(lines)},
    )
