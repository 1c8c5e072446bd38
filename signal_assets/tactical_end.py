"""How far the next run of a group should compute.

Belongs here: the decision, from a few numbers. Does not belong here: who asks – the sensors, or a replay.
"""

from collections.abc import Sequence

from resources import redis_keys
from resources.lake import Lake
from resources.settings import Settings
from signal_assets.event_time import day_end, iso
from signal_assets.market.stream_intake import MarketStreams, first_closed, stream_watermark


def next_end(lake: Lake, streams: MarketStreams, settings: Settings, group: str, assets: Sequence[str]) -> int | str:
    """Event time up to which the group's next run should compute, or why there is none to start.

    The end is the watermark, but at most the first midnight behind the slowest asset: a run lies inside one day.
    """
    keys = [redis_keys.market_features(instrument.key) for instrument in settings.groups[group]]
    return stream_end(lake, streams, keys, group, assets)


def stream_end(lake: Lake, streams: MarketStreams, keys: Sequence[str], group: str, assets: Sequence[str]) -> int | str:
    """The same for a group whose grid points are closed by these streams."""
    watermark = stream_watermark(streams, keys)
    if watermark is not None and (lost := _lost(lake, streams, keys)):
        return f"{lost} is not in Redis, which has lost it: the live lane has not come to it again yet"
    if watermark is None:
        return "no grid point has closed yet: is the live lane running?"
    first = first_closed(streams, keys)
    return _reach(lake, group, assets, watermark, first if first is not None else watermark)


def _lost(lake: Lake, streams: MarketStreams, keys: Sequence[str]) -> str | None:
    """A stream that was taken in earlier and is not there now: its instrument must not be overtaken by the others."""
    missing = [key for key in keys if streams.tail(key) is None]
    known = lake.offsets(missing)
    return next((key for key in missing if key in known), None)


def next_end_behind(lake: Lake, group: str, sources: Sequence[str], assets: Sequence[str]) -> int | str:
    """The same for assets that follow what other jobs have computed: the end is the slowest source's progress."""
    progresses = lake.progresses(group)
    reached = [progresses.get(source) for source in sources]
    if any(progress is None for progress in reached):
        return f"{sources[[progress is None for progress in reached].index(True)]} has not been computed yet"
    known = [progress for progress in reached if progress is not None]
    first = min(progress.origin for progress in known) + 1
    return _reach(lake, group, assets, min(progress.progress for progress in known), first)


def _reach(lake: Lake, group: str, assets: Sequence[str], watermark: int, first: int) -> int | str:
    progresses = lake.progresses(group)
    positions = [progresses.get(asset) for asset in assets]
    known = [position.progress for position in positions if position is not None]
    if len(known) < len(positions):
        origins = [position.origin for position in positions if position is not None]
        known.append(min(origins) if origins else first - 1)
    slowest = min(known)
    if watermark <= slowest:
        return f"nothing new: everything is computed up to {iso(slowest)}"
    return min(watermark, day_end(slowest + 1))
