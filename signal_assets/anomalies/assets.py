"""Metrics, scores, anomalies and incidents as assets, with a picture on day runs."""

from collections.abc import Mapping

from dagster import AssetsDefinition, MetadataValue

from resources.lake import Lake
from resources.settings import Settings
from signal_assets.anomalies.day_pictures import anomaly_pictures
from signal_assets.anomalies.folds import anomaly_fold
from signal_assets.materialization import fold_asset, picture_metadata
from signal_assets.partitions import Days


def anomaly_assets(settings: Settings) -> list[AssetsDefinition]:
    """``anomalies/metrics``, ``anomalies/scores``, ``anomalies/anomalies`` and ``anomalies/incidents``."""
    return [fold_asset(anomaly_fold, settings, extra=_pictures)]


def _pictures(lake: Lake, settings: Settings, covers: Days) -> Mapping[str, MetadataValue]:
    """The newest day's most eventful series of each group: the event log keeps everything for ever."""
    return picture_metadata(anomaly_pictures(lake, settings, covers.days[-1], count=len(settings.groups)))
