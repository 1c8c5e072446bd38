"""Strategies as assets: one each."""

from dagster import AssetsDefinition

from resources.settings import Settings
from signal_assets.fold import Fold
from signal_assets.materialization import fold_asset
from signal_assets.strategies.folds import strategy_folds


def strategy_assets(settings: Settings) -> list[AssetsDefinition]:
    """``strategies/<strategy>``, one asset each."""
    return [_strategy_asset(fold.name, settings) for fold in strategy_folds(settings.strategies)]


def _strategy_asset(name: str, settings: Settings) -> AssetsDefinition:
    def declare(current: Settings) -> Fold:
        return next(fold for fold in strategy_folds(current.strategies) if fold.name == name)

    return fold_asset(declare, settings)
