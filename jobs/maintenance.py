"""Keeping the lake and the event log bounded.

Belongs here: the maintenance job. Does not belong here: how the lake does it (``resources/lake_maintenance``).
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from dagster import (
    DagsterRunStatus,
    Failure,
    JobDefinition,
    OpExecutionContext,
    ResourceParam,
    RunsFilter,
    in_process_executor,
    job,
    op,
)

from jobs.asset_jobs import MAX_RUNTIME_TAG
from resources.duck_lake import DuckLake
from resources.lake import LakeError, LakeSource
from resources.lake_maintenance import maintain
from resources.run_queues import MAINTENANCE, QUEUE_TAG

KEEP_DAYS: Final = 30
RUNS_PER_PASS: Final = 500
FINISHED: Final = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]


@op(pool="lake_maintenance")
def tidy_lake(context: OpExecutionContext, lake: ResourceParam[LakeSource]) -> None:
    """Flush inlined rows to Parquet, merge small files, expire snapshots older than thirty days."""
    opened = lake.open()
    if not isinstance(opened, DuckLake):
        context.log.info("this lake keeps no files: nothing to tidy")
        return
    try:
        done = maintain(opened, keep=timedelta(days=KEEP_DAYS))
    except LakeError as error:
        raise Failure(description=str(error), allow_retries=False) from error
    context.add_output_metadata({name: count for name, count in done.items()})


@op
def purge_old_runs(context: OpExecutionContext) -> None:
    """Delete finished runs, and their events, that are older than thirty days."""
    before = datetime.now(UTC) - timedelta(days=KEEP_DAYS)
    records = context.instance.get_run_records(
        RunsFilter(statuses=FINISHED, created_before=before), limit=RUNS_PER_PASS, ascending=True
    )
    for record in records:
        context.instance.delete_run(record.dagster_run.run_id)
    context.add_output_metadata({"runs_deleted": len(records)})


def maintenance_job() -> JobDefinition:
    """Both, on a queue of their own so that live runs never wait for them."""

    @job(
        name=MAINTENANCE,
        tags={QUEUE_TAG: MAINTENANCE, MAX_RUNTIME_TAG: "3600"},
        executor_def=in_process_executor,
        description="Tidy the lake and purge old runs.",
    )
    def maintenance() -> None:
        tidy_lake()
        purge_old_runs()

    return maintenance
