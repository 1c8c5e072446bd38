"""The raw market tables as assets, and the feeds they come from.

Belongs here: load → call → write → report. Does not belong here: books, grids, codecs (their own modules).
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    Failure,
    MaterializeResult,
    ResourceParam,
    multi_asset,
)

from resources import redis_keys
from resources.lake import Lake, LakeError, LakeSource
from resources.redis_streams import StreamError
from resources.settings import Settings
from signal_assets.derivation import WorkDone, asset_name
from signal_assets.market.stream_intake import MarketStreams, RawTable, take_in
from signal_assets.market.tables import DEPTH_SNAPSHOTS, FEATURES, FEED_GAPS, TRADES
from signal_assets.materialization import OWNERS, SINGLE_RUN, SettingsSource, report, table_spec
from signal_assets.partitions import Days, coverage
from signal_assets.removed_rows import require_kept
from signal_assets.table import Table
from signal_assets.window import Window

STREAM_KEYS: Final[Mapping[str, Callable[[str], str]]] = {
    FEATURES.name: redis_keys.market_features,
    TRADES.name: redis_keys.market_trades,
    DEPTH_SNAPSHOTS.name: redis_keys.market_depth,
    FEED_GAPS.name: redis_keys.market_gaps,
}


class StreamsSource(Protocol):
    """Opens the process-wide reader of the Redis streams lazily."""

    def open(self) -> MarketStreams:
        """The reader of this process."""


def feed_key(venue: str) -> AssetKey:
    """Key of the external asset that stands for a venue's live feed."""
    return AssetKey(["feeds", venue.lower()])


def feed_specs(settings: Settings) -> list[AssetSpec]:
    """One external asset per venue; the live lane reports its lag and latency."""
    venues = sorted({instrument.venue for instrument in settings.instruments_by_key.values()})
    return [
        AssetSpec(
            key=feed_key(venue),
            description=f"Live feed of {venue}: order-book diffs and trades, kept by the live lane outside Dagster.",
            group_name="feeds",
            owners=OWNERS,
            kinds={"redis"},
            tags={"signals/lane": "live"},
        )
        for venue in venues
    ]


def raw_table(table: Table, settings: Settings, group: str) -> RawTable:
    """Where the entries of ``table`` come from, for the instruments of one group."""
    keys = {instrument.key: STREAM_KEYS[table.name](instrument.key) for instrument in settings.groups[group]}
    return RawTable(table, keys)


def raw_assets(settings: Settings) -> list[AssetsDefinition]:
    """One asset per raw table, each appending what its streams hold."""
    feeds = [spec.key for spec in feed_specs(settings)]
    return [_raw_asset(table, feeds) for table in (FEATURES, TRADES, DEPTH_SNAPSHOTS, FEED_GAPS)]


def _raw_asset(table: Table, feeds: list[AssetKey]) -> AssetsDefinition:
    @multi_asset(
        name=f"market_{table.short_name}",
        specs=[table_spec(table, inputs=feeds, kinds=("redis", "duckdb", "parquet"))],
        backfill_policy=SINGLE_RUN,
    )
    def take_in_streams(
        context: AssetExecutionContext,
        lake: ResourceParam[LakeSource],
        streams: ResourceParam[StreamsSource],
        settings: ResourceParam[SettingsSource],
    ) -> MaterializeResult[None]:
        opened = lake.open()
        opened.ensure([table])
        covers = coverage(context)
        try:
            if isinstance(covers, Days):
                return report(table, [count_days(opened, table, covers)])
            raw = raw_table(table, settings.load(), covers.group)
            work = take_in(opened, streams.open(), raw, covers.group, end=covers.end, run_id=context.run.run_id)
        except (LakeError, StreamError) as error:
            raise Failure(description=str(error), allow_retries=False) from error
        return report(table, [work])

    return take_in_streams


def count_days(lake: Lake, table: Table, covers: Days) -> WorkDone:
    """Raw rows are never recomputed: a day run only says what is there.

    Raises
    ------
    RemovedRowsError
        If retention has removed the day: nothing there is not the same as nothing happened.
    """
    done = WorkDone()
    for day in covers.days:
        window = Window.of_day(day)
        require_kept(lake, asset_name(table), [(table, 0)], window.start)
        rows = lake.read(table, start=window.start, end=window.end, columns=["instrument", str(table.time)])
        done.add(table, rows, len(rows))
        done.start = window.start if done.start is None else done.start
        done.end = window.end
    return done
