"""Series of the machine that we run on, and what stands where rows name an instrument and a group.

Belongs here: names. Does not belong here: sampling (``services/live_lane/system_metrics``), judging
(``system_machine``).
"""

from typing import Final

from signal_assets.instrument import Instrument

SYSTEM_GROUP: Final = "system"
SYSTEM: Final = Instrument(
    symbol="SYSTEM", venue="PLATFORM", pair="SYSTEM/PLATFORM", tick_size=1, lot_size=1, group=SYSTEM_GROUP
)
"""Stands where rows name an instrument; it is none and is in no group of the configuration."""

SYSTEM_FEATURES: Final = ("cpu.usage", "memory.usage", "network.io", "disk.io")


def system_series(feature: str) -> str:
    """Name of the series of a feature.

    Examples
    --------
    >>> [system_series(feature) for feature in SYSTEM_FEATURES]
    ['system.cpu.usage', 'system.memory.usage', 'system.network.io', 'system.disk.io']
    """
    return f"system.{feature}"
