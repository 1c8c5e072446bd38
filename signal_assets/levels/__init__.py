"""Wave peaks, price zones, point of control and value area: where the market keeps returning to.

The names below are the public interface. They are imported when first used, so that reading a table's schema does not
load the compiled kernels.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from signal_assets.aggregates.dollar_depth import aggregate_depth
    from signal_assets.levels.analysis_input import BookSnapshot, MinuteTrades
    from signal_assets.levels.market_analysis import EnhancedAnalysis, LegacyAnalysis, analyze_market
    from signal_assets.levels.parameters import LevelParameters
    from signal_assets.levels.price_zones import Clusters, cluster_peaks
    from signal_assets.levels.profile import Profile, depth_profile, trade_profile
    from signal_assets.levels.scale_space_peaks import detect_scale_space_peaks
    from signal_assets.levels.value_area import ValueArea, find_value_area
    from signal_assets.levels.wave_peaks import (
        WavePeak,
        detect_combined_peaks,
        detect_normal_distribution_peaks,
        detect_volume_peaks,
    )

__all__ = [
    "BookSnapshot",
    "Clusters",
    "EnhancedAnalysis",
    "LegacyAnalysis",
    "LevelParameters",
    "MinuteTrades",
    "Profile",
    "ValueArea",
    "WavePeak",
    "aggregate_depth",
    "analyze_market",
    "cluster_peaks",
    "depth_profile",
    "detect_combined_peaks",
    "detect_normal_distribution_peaks",
    "detect_scale_space_peaks",
    "detect_volume_peaks",
    "find_value_area",
    "trade_profile",
]

_HOME = {
    "BookSnapshot": "levels.analysis_input",
    "EnhancedAnalysis": "levels.market_analysis",
    "LegacyAnalysis": "levels.market_analysis",
    "MinuteTrades": "levels.analysis_input",
    "analyze_market": "levels.market_analysis",
    "Clusters": "levels.price_zones",
    "LevelParameters": "levels.parameters",
    "Profile": "levels.profile",
    "ValueArea": "levels.value_area",
    "aggregate_depth": "aggregates.dollar_depth",
    "cluster_peaks": "levels.price_zones",
    "depth_profile": "levels.profile",
    "detect_scale_space_peaks": "levels.scale_space_peaks",
    "find_value_area": "levels.value_area",
    "trade_profile": "levels.profile",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"signal_assets.{_HOME.get(name, 'levels.wave_peaks')}"), name)
    globals()[name] = value
    return value
