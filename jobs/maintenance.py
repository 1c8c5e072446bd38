"""Keeping lake, event log and runs bounded.

Belongs here: the maintenance job, and which rows retention removes. Does not belong here: how the lake does it
(``resources/lake_maintenance``), which runs go (``resources/run_retention``), for how long what is kept (settings).
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from dagster import Failure, JobDefinition, OpExecutionContext, ResourceParam, in_process_executor, job, op

from jobs.asset_jobs import MAX_RUNTIME_TAG, STRATEGIC, SYSTEM
from resources.duck_lake import DuckLake
from resources.lake import Lake, LakeError, LakeSource, Progress
from resources.lake_maintenance import Keep, maintain
from resources.platform_tables import RAW_STAGE
from resources.retention_settings import RetentionSettings
from resources.run_queues import MAINTENANCE, QUEUE_TAG, TACTICAL
from resources.run_retention import remove_reports, remove_runs
from signal_assets.anomalies.system_series import SYSTEM_GROUP
from signal_assets.anomalies.tables import SYSTEM_SAMPLES
from signal_assets.derivation import asset_name
from signal_assets.event_time import DAY, floor_to
from signal_assets.materialization import SettingsSource
from signal_assets.stage_tables import TABLES
from signal_assets.table import Table

FREQUENT_JOBS: Final = (TACTICAL, STRATEGIC, SYSTEM, MAINTENANCE)
DERIVED_STAGES: Final = ("aggregates", "levels", "anomalies", "strategies")
"""What follows from signals is small, and accounts are checked from their beginning: it stays."""


@op
def remove_old_rows(
    context: OpExecutionContext, lake: ResourceParam[LakeSource], settings: ResourceParam[SettingsSource]
) -> None:
    """Remove whole days of raw and derived rows that the settings do not keep; by default all are kept."""
    current = settings.load()
    try:
        removed = apply_retention(lake.open(), current.retention, current.groups, run_id=context.run.run_id)
    except LakeError as error:
        raise Failure(description=str(error), allow_retries=False) from error
    context.add_output_metadata({"tables_shortened": removed})


@op(pool="lake_maintenance")
def tidy_lake(
    context: OpExecutionContext, lake: ResourceParam[LakeSource], settings: ResourceParam[SettingsSource]
) -> None:
    """Flush inlined rows to Parquet, merge small files, thin old snapshots, remove files that nobody needs."""
    opened, retention = lake.open(), settings.load().retention
    if not isinstance(opened, DuckLake):
        context.log.info("this lake keeps no files: nothing to tidy")
        return
    keep = Keep(timedelta(days=retention.snapshot_days), timedelta(hours=retention.every_snapshot_hours))
    try:
        done = maintain(opened, keep)
    except LakeError as error:
        raise Failure(description=str(error), allow_retries=False) from error
    context.add_output_metadata({name: count for name, count in done.items()})


@op
def remove_old_runs(context: OpExecutionContext, settings: ResourceParam[SettingsSource]) -> None:
    """Delete finished runs, their events and output; a run whose materialization is a day's newest stays."""
    retention, now = settings.load().retention, datetime.now(UTC)
    frequent = remove_runs(context.instance, now - timedelta(hours=retention.forward_run_hours), jobs=FREQUENT_JOBS)
    other = remove_runs(context.instance, now - timedelta(days=retention.run_days), other_than=FREQUENT_JOBS)
    reports = remove_reports(context.instance, now - timedelta(hours=retention.feed_report_hours))
    context.add_output_metadata({"frequent_runs": frequent, "other_runs": other, "reports": reports})


def apply_retention(lake: Lake, retention: RetentionSettings, groups: Iterable[str], *, run_id: str) -> int:
    """Remove rows of days that are not kept any more; returns from how many tables.

    Days are counted back from the one in which the group that lies furthest behind works, so that what is still to be
    computed always finds its inputs, however long nothing ran. The group ``system`` counts while it has samples to
    judge: where nobody samples any more it holds nobody up. A day's end is kept for as long as the day after it can be
    computed; for that, the system's samples go with the raw rows.
    """
    known = _standings(lake, groups)
    horizons = {
        stage: horizon
        for stages, days in (((RAW_STAGE,), retention.raw_days), (DERIVED_STAGES, retention.derived_days))
        if days is not None and (horizon := _horizon(known, days)) is not None
        for stage in stages
    }
    if not horizons:
        return 0
    removed = lake.removed()
    due = [
        table
        for table in (*TABLES, SYSTEM_SAMPLES)
        if table.time is not None
        and (horizon := horizons.get(_kept_like(table))) is not None
        and removed.get(table.name, horizon - 1) < horizon
    ]
    lake.ensure(due)  # one that nothing was ever written to may not be there
    for table in due:
        with lake.transaction(asset=MAINTENANCE, run_id=run_id) as unit:
            unit.remove(table, horizons[_kept_like(table)])
            if table.stage == RAW_STAGE:
                unit.remove_day_ends(horizons[RAW_STAGE])
    return len(due)


def _kept_like(table: Table) -> str:
    """The stage whose rows it is kept as long as: samples of the system are as raw as what venues say."""
    return RAW_STAGE if table is SYSTEM_SAMPLES else table.stage


def _standings(lake: Lake, groups: Iterable[str]) -> list[Progress]:
    """How far everything has come that may still be computing."""
    names = {asset_name(table) for table in TABLES}
    known = [progress for group in groups for asset, progress in lake.progresses(group).items() if asset in names]
    system = lake.progresses(SYSTEM_GROUP)
    samples = system.get(asset_name(SYSTEM_SAMPLES))
    if samples is not None:
        judged = [progress for asset, progress in system.items() if asset in names]
        known += [progress for progress in judged if progress.progress < samples.progress]
    return known


def _horizon(known: Sequence[Progress], days: int) -> int | None:
    """Midnight up to which rows go; None while history is shorter."""
    if not known:
        return None
    horizon = floor_to(min(progress.progress for progress in known), DAY) - days * DAY
    return horizon if horizon > min(progress.origin for progress in known) else None


def maintenance_job() -> JobDefinition:
    """All of it, on a queue of its own so that live runs never wait for it; one step that fails stops no other."""

    @job(
        name=MAINTENANCE,
        tags={QUEUE_TAG: MAINTENANCE, MAX_RUNTIME_TAG: "3600"},
        executor_def=in_process_executor,
        description="Remove what is not kept any more, tidy the lake.",
    )
    def maintenance() -> None:
        remove_old_rows()
        tidy_lake()
        remove_old_runs()

    return maintenance
