"""Peaks, zones and value areas as assets."""

from collections.abc import Mapping

from dagster import AssetsDefinition, MetadataValue

from resources.lake import Lake
from resources.settings import Settings
from signal_assets.levels.day_pictures import profile_pictures
from signal_assets.levels.derivations import price_zones, value_area, wave_peaks
from signal_assets.materialization import picture_metadata, window_asset
from signal_assets.partitions import Days


def level_assets(settings: Settings) -> list[AssetsDefinition]:
    """``levels/wave_peaks``, ``levels/price_zones`` (with a picture on day runs) and ``levels/value_area``."""
    return [
        window_asset(wave_peaks, settings),
        window_asset(value_area, settings),
        window_asset(price_zones, settings, extra=_pictures),
    ]


def _pictures(lake: Lake, settings: Settings, covers: Days) -> Mapping[str, MetadataValue]:
    """The newest day's profiles of each group's first instrument: the event log keeps everything for ever."""
    firsts = [instruments[0].key for instruments in settings.groups.values()]
    return picture_metadata(profile_pictures(lake, settings, covers.days[-1], firsts))
