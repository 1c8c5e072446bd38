"""What the machine itself was doing, as assets: the samples, and what the detectors find in them.

Belongs here: load → call → write → report. Does not belong here: the machine (``system_machine``), sampling (the live
lane).

The detectors' rows stand in the tables of all anomalies, under ``SYSTEM.PLATFORM`` and the group ``system``, which has
a progress of its own; in the graph they are one asset, ``anomalies/system``.
"""

from collections.abc import Mapping
from typing import Any, Final

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    Failure,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    multi_asset,
)

from resources.lake import Lake, LakeError, LakeSource
from resources.redis_keys import SYSTEM_METRICS
from resources.redis_streams import StreamError
from resources.settings import Settings
from signal_assets.anomalies.day_pictures import anomaly_pictures
from signal_assets.anomalies.folds import system_fold
from signal_assets.anomalies.system_series import SYSTEM, SYSTEM_GROUP
from signal_assets.anomalies.tables import METRICS, SYSTEM_SAMPLES, TABLES
from signal_assets.derivation import WorkDone, asset_name
from signal_assets.fold import forward_fold, recompute_day_fold
from signal_assets.market.assets import StreamsSource, count_days
from signal_assets.market.stream_intake import RawTable, take_in
from signal_assets.materialization import (
    BY_DAY,
    SINGLE_RUN,
    SettingsSource,
    asset_key,
    picture_metadata,
    report,
    table_spec,
)
from signal_assets.partitions import Days, Forward, coverage, daily_partitions, the_day_before
from signal_assets.table import Table

SYSTEM_RAW: Final = RawTable(SYSTEM_SAMPLES, {SYSTEM.key: SYSTEM_METRICS})
SYSTEM_KEY: Final = AssetKey(["anomalies", SYSTEM_GROUP])
SYSTEM_ASSETS: Final = (SYSTEM_RAW.asset, *(asset_name(table) for table in TABLES))
"""Whose progress of the group ``system`` says how far runs have come."""


def system_assets() -> list[AssetsDefinition]:
    """``anomalies/system_samples`` and ``anomalies/system``."""
    return [_samples_asset(), _system_asset()]


def _samples_asset() -> AssetsDefinition:
    @multi_asset(
        name="anomalies_system_samples",
        specs=[table_spec(SYSTEM_SAMPLES, inputs=[], kinds=("redis", "duckdb", "parquet"))],
        backfill_policy=SINGLE_RUN,
    )
    def take_in_samples(
        context: AssetExecutionContext, lake: ResourceParam[LakeSource], streams: ResourceParam[StreamsSource]
    ) -> MaterializeResult[None]:
        opened = lake.open()
        opened.ensure([SYSTEM_SAMPLES])
        covers = coverage(context)
        try:
            if isinstance(covers, Days):
                return report(SYSTEM_SAMPLES, [count_days(opened, SYSTEM_SAMPLES, covers)])
            run_id = context.run.run_id
            work = take_in(opened, streams.open(), SYSTEM_RAW, SYSTEM_GROUP, end=covers.end, run_id=run_id)
        except (LakeError, StreamError) as error:
            raise Failure(description=str(error), allow_retries=False) from error
        return report(SYSTEM_SAMPLES, [work])

    return take_in_samples


def _system_asset() -> AssetsDefinition:
    spec = AssetSpec(
        key=SYSTEM_KEY,
        deps=[
            AssetDep(asset_key(SYSTEM_SAMPLES)),
            AssetDep(SYSTEM_KEY, partition_mapping=the_day_before()),
        ],
        description=f"Rows of {', '.join(table.name for table in TABLES)} that concern the machine that we run on.",
        group_name="anomalies",
        owners=["team:signals"],
        kinds={"duckdb", "parquet"},
        code_version="1",
        tags={"signals/lane": "tactical", "signals/table_kind": "fold"},
        partitions_def=daily_partitions,
    )

    @multi_asset(name="anomalies_system", specs=[spec], backfill_policy=BY_DAY)
    def step_system(
        context: AssetExecutionContext, lake: ResourceParam[LakeSource], settings: ResourceParam[SettingsSource]
    ) -> MaterializeResult[None]:
        current = settings.load()
        fold = system_fold(current)
        covers, run_id = coverage(context), context.run.run_id
        pictures: Mapping[str, Any] = {}
        try:
            opened = lake.open()
            opened.ensure([*fold.tables, SYSTEM_SAMPLES, *fold.in_force])
            if isinstance(covers, Forward):
                done = [forward_fold(opened, fold, SYSTEM_GROUP, [SYSTEM], end=covers.end, run_id=run_id)]
            else:
                done = [
                    recompute_day_fold(opened, fold, SYSTEM_GROUP, [SYSTEM], day=day, run_id=run_id)
                    for day in covers.days
                ]
                pictures = _pictures(opened, current, covers)
        except LakeError as error:
            raise Failure(description=str(error), allow_retries=False) from error
        return _report(done, pictures)

    return step_system


def _report(done: list[dict[Table, WorkDone]], pictures: Mapping[str, Any]) -> MaterializeResult[None]:
    made = report(METRICS, [work[METRICS] for work in done], pictures)
    rows = {f"{table.short_name}_rows": sum(work[table].rows for work in done) for table in TABLES}
    return MaterializeResult(asset_key=SYSTEM_KEY, metadata={**(made.metadata or {}), **rows})


def _pictures(lake: Lake, settings: Settings, covers: Days) -> Mapping[str, MetadataValue]:
    """The newest day's most eventful system series."""
    return picture_metadata(anomaly_pictures(lake, settings, covers.days[-1], 1, [SYSTEM.key]))
