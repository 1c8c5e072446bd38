"""Peaks, zones and value areas as assets."""

from collections.abc import Mapping

from dagster import AssetsDefinition, MetadataValue

from resources.lake import Lake
from resources.settings import Settings
from signal_assets.levels.day_pictures import heat_map_pictures, profile_pictures
from signal_assets.levels.derivations import level_outcomes, price_zones, value_area, wave_peaks
from signal_assets.materialization import picture_metadata, window_asset
from signal_assets.partitions import Days


def level_assets(settings: Settings) -> list[AssetsDefinition]:
    """``levels/wave_peaks``, ``…/value_area``, ``…/price_zones`` (with pictures on day runs), ``…/level_outcomes``."""
    return [
        window_asset(wave_peaks, settings),
        window_asset(value_area, settings),
        window_asset(price_zones, settings, extra=_pictures),
        window_asset(level_outcomes, settings),
    ]


def _pictures(lake: Lake, settings: Settings, covers: Days) -> Mapping[str, MetadataValue]:
    """The newest day's profiles and heat maps of each group's first instrument: the event log keeps everything."""
    firsts, day = [instruments[0].key for instruments in settings.groups.values()], covers.days[-1]
    drawn = [*profile_pictures(lake, settings, day, firsts), *heat_map_pictures(lake, settings, day, firsts)]
    return picture_metadata(drawn)
