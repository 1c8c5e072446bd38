"""Orders, fills, positions and deployments as assets."""

from dagster import AssetsDefinition

from resources.settings import Settings
from signal_assets.execution.folds import execution_fold
from signal_assets.materialization import fold_asset


def execution_assets(settings: Settings) -> list[AssetsDefinition]:
    """``execution/orders``, ``execution/fills``, ``execution/positions`` and ``execution/deployments``."""
    return [fold_asset(execution_fold, settings)]
