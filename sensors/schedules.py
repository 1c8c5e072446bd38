"""What starts by the clock: the day close at 00:10 UTC, learning after it, and maintenance.

Belongs here: schedules. Does not belong here: event time decides more than the clock – a day is closed only when the
watermark has passed it.
"""

from collections.abc import Sequence
from datetime import date, timedelta

from dagster import (
    DagsterRunStatus,
    DefaultScheduleStatus,
    ResourceParam,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)

from jobs.asset_jobs import DAY_CLOSE, LEARNING
from resources.lake import Lake, LakeSource
from resources.run_queues import MAINTENANCE
from sensors.stream_sensor import IN_FLIGHT
from signal_assets.derivation import watermark_of
from signal_assets.event_time import DAY, date_of, day_start, iso, start_of_date
from signal_assets.materialization import SettingsSource


def day_close_schedule() -> ScheduleDefinition:
    """Yesterday's day run, once its raw data is complete; tried every ten minutes between 00:10 and 03:50 UTC."""

    @schedule(
        name="day_close_schedule",
        job_name=DAY_CLOSE,
        cron_schedule="10,20,30,40,50 0-3 * * *",
        execution_timezone="UTC",
        default_status=DefaultScheduleStatus.RUNNING,
        description="Recomputes yesterday from raw as soon as its raw data is complete.",
    )
    def evaluate(
        context: ScheduleEvaluationContext,
        lake: ResourceParam[LakeSource],
        settings: ResourceParam[SettingsSource],
    ) -> RunRequest | SkipReason:
        yesterday = (context.scheduled_execution_time - timedelta(days=1)).date()
        end = start_of_date(yesterday) + DAY
        opened = lake.open()
        waiting = [
            f"{group} is complete up to {iso(watermark) if watermark is not None else 'nothing yet'}"
            for group in settings.load().groups
            if (watermark := watermark_of(opened, group)) is None or watermark < end
        ]
        if waiting:
            return SkipReason(f"{yesterday} is not over in the data: {'; '.join(waiting)}")
        if earlier := context.instance.get_runs(_run_of(yesterday), limit=1):
            return SkipReason(f"{yesterday} has its day run already: {earlier[0].run_id[:8]}")
        return RunRequest(run_key=f"day-close:{yesterday}", partition_key=yesterday.isoformat())

    return evaluate


def _run_of(day: date) -> RunsFilter:
    """Day runs of ``day`` that succeeded or may still do so; a failed one is tried again at the next tick."""
    return RunsFilter(
        job_name=DAY_CLOSE, tags={"dagster/partition": day.isoformat()}, statuses=[*IN_FLIGHT, DagsterRunStatus.SUCCESS]
    )


def learning_schedule(sources: Sequence[str], assets: Sequence[str]) -> ScheduleDefinition:
    """Learns from the oldest closed day that has not been learned from; tried every ten minutes."""

    @schedule(
        name="learning_schedule",
        job_name=LEARNING,
        cron_schedule="5,15,25,35,45,55 * * * *",
        execution_timezone="UTC",
        default_status=DefaultScheduleStatus.RUNNING,
        description="Learns from each closed day, in order, as soon as its record is complete.",
    )
    def evaluate(
        context: ScheduleEvaluationContext,
        lake: ResourceParam[LakeSource],
        settings: ResourceParam[SettingsSource],
    ) -> RunRequest | SkipReason:
        opened = lake.open()
        days = [next_lesson(opened, group, sources, assets) for group in settings.load().groups]
        due = [day for day in days if isinstance(day, date)]
        if not due:
            return SkipReason("; ".join(str(day) for day in days))
        day = min(due)
        if context.instance.get_runs(RunsFilter(job_name=LEARNING, statuses=IN_FLIGHT), limit=1):
            return SkipReason("a learning run is in flight")
        return RunRequest(run_key=f"learning:{day}:{context.scheduled_execution_time}", partition_key=day.isoformat())

    return evaluate


def next_lesson(lake: Lake, group: str, sources: Sequence[str], assets: Sequence[str]) -> date | str:
    """The oldest closed day a group has not learned from, or why there is none."""
    progresses = lake.progresses(group)
    reached = [progresses.get(source) for source in sources]
    known = [progress for progress in reached if progress is not None]
    if len(known) < len(reached):
        return f"{group}: nothing has been recorded yet"
    learned = [progresses[asset].progress for asset in assets if asset in progresses]
    begin = min(learned) if len(learned) == len(assets) else day_start(min(progress.origin for progress in known) + 1)
    if min(progress.progress for progress in known) < begin + DAY:
        return f"{group}: everything up to {iso(begin)} has been learned from, the day after is not over in the record"
    return date_of(begin + DAY)


def maintenance_schedule() -> ScheduleDefinition:
    """Every half hour: inlined rows become Parquet, small files are merged, what is not kept any more goes."""
    return ScheduleDefinition(
        name="maintenance_schedule",
        job_name=MAINTENANCE,
        cron_schedule="*/30 * * * *",
        execution_timezone="UTC",
        default_status=DefaultScheduleStatus.RUNNING,
        description="Removes what is not kept any more and tidies the lake.",
    )
