"""Keeping Dagster's storage bounded: runs with their events and output, and events that belong to no run.

Dagster's event log has no retention of its own. What the graph shows of a day is the newest materialization of its
partition, wherever that is logged: the run it belongs to stays, however old.

Belongs here: which of them go, in which order. Does not belong here: how long they are kept (``retention_settings``),
ticks (``dagster.yaml``), the lake (``lake_maintenance``).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import sqlalchemy as sql
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.instance import RUNLESS_RUN_ID
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import AssetEventTagsTable, SqlEventLogStorageTable

FINISHED: Final = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
RUNS_AT_ONCE: Final = 500
RUNS_PER_PASS: Final = 5_000
"""A day makes seventeen thousand and has forty-eight passes; what a pause has left over is caught up with."""

EVENTS_AT_ONCE: Final = 5_000
REPORTS: Final = (DagsterEventType.ASSET_OBSERVATION.value, DagsterEventType.FRESHNESS_STATE_CHANGE.value)
"""What is said of assets again and again without a run: by the live lane of its feeds, by Dagster of freshness."""


def remove_runs(
    instance: DagsterInstance, before: datetime, *, jobs: Sequence[str] = (), other_than: Sequence[str] = ()
) -> int:
    """Delete finished runs created before then, with events and output; returns how many.

    A run that holds the newest materialization of an asset's partition stays. Runs are unfinished for as long as
    somebody may still write events for them, so those stay too. The run itself goes last: a killed pass is repeated.

    Parameters
    ----------
    jobs, other_than : sequence of str
        Only runs of these jobs; only runs of other jobs.
    """
    gone: list[str] = []
    cursor = None
    finished = RunsFilter(statuses=FINISHED, created_before=before)
    # All pages first: the run that is the cursor has to be there when the next page is asked for.
    while len(gone) < RUNS_PER_PASS:
        records = instance.get_run_records(finished, limit=RUNS_AT_ONCE, ascending=True, cursor=cursor)
        if not records:
            break
        runs = [record.dagster_run for record in records]
        cursor = runs[-1].run_id
        wanted = [run.run_id for run in runs if run.job_name not in other_than and (not jobs or run.job_name in jobs)]
        shown = runs_shown(instance, wanted)
        gone += [run_id for run_id in wanted if run_id not in shown]
    for run_id in gone:
        _remove(instance, run_id)
    return len(gone)


def _remove(instance: DagsterInstance, run_id: str) -> None:
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.event_log_storage.delete_events(run_id)
    instance.run_storage.delete_run(run_id)


def runs_shown(instance: DagsterInstance, run_ids: Sequence[str]) -> set[str]:
    """Those of the runs that hold the newest materialization of a partition (or of an asset without partitions)."""
    if not run_ids:
        return set()
    event, later = SqlEventLogStorageTable.alias("event"), SqlEventLogStorageTable.alias("later")
    newer = sql.exists().where(
        later.c.asset_key == event.c.asset_key,
        later.c.dagster_event_type == event.c.dagster_event_type,
        sql.or_(
            later.c.partition == event.c.partition,
            sql.and_(later.c.partition.is_(None), event.c.partition.is_(None)),
        ),
        later.c.id > event.c.id,
    )
    newest = (
        sql.select(event.c.run_id)
        .distinct()
        .where(
            event.c.run_id.in_(run_ids),
            event.c.dagster_event_type == DagsterEventType.ASSET_MATERIALIZATION.value,
            ~newer,
        )
    )
    with _events(instance).index_connection() as connection:
        return {str(row[0]) for row in connection.execute(newest)}


def remove_reports(instance: DagsterInstance, before: datetime) -> int:
    """Delete what was said of assets without a run before then, but for the newest of each kind and asset."""
    event, later = SqlEventLogStorageTable.alias("event"), SqlEventLogStorageTable.alias("later")
    superseded = (
        sql.select(event.c.id)
        .where(
            event.c.run_id == RUNLESS_RUN_ID,
            event.c.dagster_event_type.in_(REPORTS),
            event.c.timestamp < before.replace(tzinfo=None),  # Dagster stores UTC without saying so
            sql.exists().where(
                later.c.asset_key == event.c.asset_key,
                later.c.dagster_event_type == event.c.dagster_event_type,
                later.c.id > event.c.id,
            ),
        )
        .limit(EVENTS_AT_ONCE)
    )
    removed = 0
    with _events(instance).index_connection() as connection:
        while found := [row[0] for row in connection.execute(superseded)]:
            connection.execute(sql.delete(AssetEventTagsTable).where(AssetEventTagsTable.c.event_id.in_(found)))
            connection.execute(sql.delete(SqlEventLogStorageTable).where(SqlEventLogStorageTable.c.id.in_(found)))
            removed += len(found)
    return removed


def _events(instance: DagsterInstance) -> SqlEventLogStorage:
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise TypeError(f"{type(storage).__name__} is no SQL storage: what it keeps cannot be asked for")
    return storage
