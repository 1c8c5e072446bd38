"""The dollar aggregates as assets."""

from dagster import AssetsDefinition

from resources.settings import Settings
from signal_assets.aggregates.derivations import dollar_depth, dollar_trades
from signal_assets.materialization import window_asset


def aggregate_assets(settings: Settings) -> list[AssetsDefinition]:
    """``aggregates/dollar_depth`` and ``aggregates/dollar_trades``."""
    return [window_asset(dollar_depth, settings), window_asset(dollar_trades, settings)]
