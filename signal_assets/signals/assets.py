"""Signals as assets: the computed truth, and what really left the system."""

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    Failure,
    MaterializeResult,
    ResourceParam,
    multi_asset,
)

from resources.lake import LakeError, LakeSource
from resources.settings import Settings
from signal_assets.market.assets import StreamsSource, count_days, feed_specs
from signal_assets.materialization import SINGLE_RUN, SettingsSource, fold_asset, report, table_spec
from signal_assets.partitions import Days, coverage
from signal_assets.signals.emission_intake import take_in_emitted
from signal_assets.signals.folds import signal_fold
from signal_assets.signals.tables import EMITTED


def signal_stage_assets(settings: Settings) -> list[AssetsDefinition]:
    """``signals/signals`` and ``signals/emitted``."""
    return [fold_asset(signal_fold, settings), _emitted_asset([spec.key for spec in feed_specs(settings)])]


def _emitted_asset(feeds: list[AssetKey]) -> AssetsDefinition:
    @multi_asset(
        name="signals_emitted",
        specs=[table_spec(EMITTED, inputs=feeds, kinds=("redis", "duckdb", "parquet"), lane="live")],
        backfill_policy=SINGLE_RUN,
    )
    def take_in(
        context: AssetExecutionContext,
        lake: ResourceParam[LakeSource],
        streams: ResourceParam[StreamsSource],
        settings: ResourceParam[SettingsSource],
    ) -> MaterializeResult[None]:
        opened = lake.open()
        opened.ensure([EMITTED])
        covers = coverage(context)
        if isinstance(covers, Days):
            return report(EMITTED, [count_days(opened, EMITTED, covers)])
        instruments = [instrument.key for instrument in settings.load().groups[covers.group]]
        run_id = context.run.run_id
        try:
            work = take_in_emitted(opened, streams.open(), covers.group, instruments, end=covers.end, run_id=run_id)
        except LakeError as error:
            raise Failure(description=str(error), allow_retries=False) from error
        return report(EMITTED, [work])

    return take_in
