"""Trade log, equity, metrics and alerts as assets, with pictures and the table of performance on day runs."""

import json
import math
from collections.abc import Mapping
from typing import Final, Protocol

import pandas as pd
from dagster import (
    AssetsDefinition,
    AssetSpec,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    multi_asset,
)

from resources.lake import Lake, LakeSource
from resources.redis_keys import performance_history
from resources.settings import Settings
from signal_assets.event_time import iso
from signal_assets.materialization import (
    OWNERS,
    SINGLE_RUN,
    asset_key,
    fold_asset,
    picture_metadata,
    window_asset,
)
from signal_assets.partitions import Days, daily_partitions
from signal_assets.performance.day_pictures import equity_pictures, price_pictures
from signal_assets.performance.derivations import alert_derivation, metric_derivation
from signal_assets.performance.folds import equity_fold, trade_log_fold
from signal_assets.performance.tables import METRICS
from signal_assets.window import Window

SCOPES: Final = ("strategy", "portfolio", "instrument")
SHOWN: Final = {
    "net_pnl": ",.2f",
    "trades": ",.0f",
    "win_rate": ".1%",
    "profit_factor": ".2f",
    "day_return": ".3%",
    "maximum_drawdown": ".2%",
    "sharpe_ratio": ".2f",
    "exposure": ".0%",
}
"""Metrics that the UI shows of a day, and how they are written."""


def performance_assets(settings: Settings) -> list[AssetsDefinition]:
    """``performance/trade_log``, ``…/equity`` with ``…/daily_equity``, ``…/metrics`` and ``…/alerts``."""
    return [
        fold_asset(trade_log_fold, settings, extra=_prices),
        fold_asset(equity_fold, settings, extra=_equity),
        window_asset(metric_derivation, settings, extra=_table),
        window_asset(alert_derivation, settings),
        _history_asset(),
    ]


def _prices(lake: Lake, settings: Settings, covers: Days) -> Mapping[str, MetadataValue]:
    firsts = [instruments[0].key for instruments in settings.groups.values()]
    return picture_metadata(price_pictures(lake, settings, covers.days[-1], firsts))


def _equity(lake: Lake, settings: Settings, covers: Days) -> Mapping[str, MetadataValue]:
    return picture_metadata(equity_pictures(lake, settings, covers.days[-1]))


def _table(lake: Lake, settings: Settings, covers: Days) -> Mapping[str, MetadataValue]:
    """What each record is worth, one line per strategy, instrument and portfolio."""
    del settings
    window = Window.of_day(covers.days[-1])
    rows = lake.read(METRICS, start=window.end - 1, end=window.end)
    return {"performance": MetadataValue.md(performance_table(rows))} if len(rows) else {}


def performance_table(rows: pd.DataFrame) -> str:
    """Rows of ``performance.metrics`` of one day as a markdown table, as wide as Dagster's dialog.

    A line per record: strategies, then portfolio, then instruments; a dash where a metric is not defined.
    """
    lines = [f"| record | {' | '.join(SHOWN)} |", f"| --- |{' ---: |' * len(SHOWN)}"]
    for scope in SCOPES:
        for (_, name), own in rows[rows["scope"] == scope].groupby(["instrument", "name"]):
            values = dict(zip(own["metric"], own["value"], strict=True))
            found = [(values.get(metric, math.nan), style) for metric, style in SHOWN.items()]
            texts = ["–" if math.isnan(value) else format(value, style) for value, style in found]
            lines.append(f"| {name} | {' | '.join(texts)} |")
    return "\n".join(lines)


class Keys(Protocol):
    """Where other systems read single values."""

    def put(self, values: Mapping[str, str]) -> None:
        """Set all of them."""


def _history_asset() -> AssetsDefinition:
    """The sink of this stage; it depends on the metrics and nothing depends on it, so its failure is only its own."""
    spec = AssetSpec(
        key=["performance", "history"],
        deps=[asset_key(METRICS)],
        description="Metrics of each strategy by day, in Redis as `strategy_engine:performance_history:{strategy}`.",
        group_name="performance",
        owners=OWNERS,
        kinds={"redis"},
        tags={"signals/lane": "tactical"},
        partitions_def=daily_partitions,
    )

    @multi_asset(name="performance_history", specs=[spec], backfill_policy=SINGLE_RUN)
    def publish(lake: ResourceParam[LakeSource], keys: ResourceParam[Keys]) -> MaterializeResult[None]:
        opened = lake.open()
        opened.ensure([METRICS])
        values = histories(opened.read(METRICS))
        keys.put(values)
        return MaterializeResult(asset_key=spec.key, metadata={"keys": len(values)})

    return publish


def histories(rows: pd.DataFrame) -> dict[str, str]:
    """Redis keys and their JSON: per strategy a list of days, oldest first, each with its metrics; NaN becomes null."""
    values: dict[str, str] = {}
    for name, own in rows[rows["scope"] == "strategy"].groupby("name"):
        days = [
            {"time": iso(int(day["time"].iloc[0]))}
            | {
                metric: None if math.isnan(value) else value
                for metric, value in zip(day["metric"], day["value"], strict=True)
            }
            for _, day in own.groupby("time", sort=True)
        ]
        values[performance_history(str(name))] = json.dumps(days, separators=(",", ":"))
    return values
