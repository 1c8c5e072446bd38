"""All lanes of one venue, seen as one feed: what pages and reports show.

Belongs here: how the states of several groups' connections to a venue become one. Does not belong here: receiving
(``venue_lane``), showing (``metrics_server``, ``asset_reports``).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from services.live_lane.venue_lane import LaneSettings, LaneState, VenueLane


class VenueFeed:
    """The lanes of one venue; where they differ, the one that is worst off is shown.

    Parameters
    ----------
    lanes : sequence of VenueLane
        One per group, at least one.
    """

    def __init__(self, lanes: Sequence[VenueLane]) -> None:
        self._lanes = lanes
        self._worst = next((lane for lane in lanes if lane.state not in ("running", "ended")), lanes[0])

    @property
    def settings(self) -> LaneSettings:
        """Of the venue."""
        return self._lanes[0].settings

    @property
    def state(self) -> LaneState:
        """State of the lane that is worst off."""
        return self._worst.state

    @property
    def error(self) -> str:
        """Why it is not running."""
        return self._worst.error

    @property
    def lag_seconds(self) -> float | None:
        """The longest of all lanes."""
        return max((lane.lag_seconds for lane in self._lanes if lane.lag_seconds is not None), default=None)

    @property
    def latency_seconds(self) -> float | None:
        """The longest of all lanes."""
        return max((lane.latency_seconds for lane in self._lanes if lane.latency_seconds is not None), default=None)

    @property
    def instruments(self) -> tuple[str, ...]:
        """Instruments of all lanes."""
        return tuple(instrument for lane in self._lanes for instrument in lane.instruments)

    def instrument_state(self, instrument: str) -> dict[str, Any]:
        """What ingest knows about an instrument."""
        return next(lane.instrument_state(instrument) for lane in self._lanes if instrument in lane.instruments)

    async def ping(self) -> float:
        """Seconds the venue takes to answer."""
        return await self._lanes[0].feed.ping()


def feeds_of(lanes: Iterable[VenueLane]) -> list[VenueFeed]:
    """One feed per venue, in the order in which venues first appear."""
    by_venue: dict[str, list[VenueLane]] = {}
    for lane in lanes:
        by_venue.setdefault(lane.settings.venue, []).append(lane)
    return [VenueFeed(mine) for mine in by_venue.values()]
