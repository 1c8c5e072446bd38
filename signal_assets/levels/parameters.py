"""Parameters of the levels, per instrument.

Belongs here: their defaults and bounds. Does not belong here: reading configuration (``resources/settings``).
"""

from dataclasses import dataclass

from signal_assets.event_time import HOUR, MINUTE


@dataclass(frozen=True, slots=True)
class LevelParameters:
    """What counts as a peak and a zone; volumes in base units.

    Parameters
    ----------
    look_back : int
        How far back the trade profile reaches, µs.
    min_peak_volume, z_score_threshold, min_peak_confidence : float
        Statistical peaks: least volume, least (v - mean) / standard deviation, least confidence.
    min_relative_volume, min_absolute_volume : float
        Volume peaks: least multiple of the neighbours' mean, least volume.
    false_discovery_rate, min_scale_space_confidence : float
        Scale-space peaks: share of profiles of pure noise with any find, least probability of being real.
    zone_tolerance_buckets : int
        Peaks not further apart than this belong to one zone.
    min_order_volume_threshold, support_resistance_threshold : float
        Levels in legacy form: least quantity of an order, base units, and least share of its side's largest.

    Raises
    ------
    ValueError
        If the look-back is shorter than a minute, a threshold negative, or a confidence or rate outside 0…1.
    """

    look_back: int = 48 * HOUR
    min_peak_volume: float = 5.0
    z_score_threshold: float = 1.5
    min_peak_confidence: float = 0.3
    min_relative_volume: float = 2.0
    min_absolute_volume: float = 10.0
    false_discovery_rate: float = 0.05
    min_scale_space_confidence: float = 0.7
    zone_tolerance_buckets: int = 5
    min_order_volume_threshold: float = 0.01
    support_resistance_threshold: float = 0.1

    def __post_init__(self) -> None:
        if self.look_back < MINUTE:
            raise ValueError(f"look_back must be at least a minute, not {self.look_back} µs")
        for name in (
            *("min_peak_volume", "min_relative_volume", "min_absolute_volume", "zone_tolerance_buckets"),
            *("min_order_volume_threshold", "support_resistance_threshold"),
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        for name in ("min_peak_confidence", "false_discovery_rate", "min_scale_space_confidence"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0…1, not {getattr(self, name)}")
