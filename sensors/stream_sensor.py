"""Starts tactical runs as data arrives, and strategic ones behind them.

Belongs here: deciding whether, for which group and up to which event time a run is due. A tick reads a few numbers and
never computes. Does not belong here: what the run does (``signal_assets``).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    ResourceParam,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from jobs.asset_jobs import STRATEGIC, SYSTEM
from resources.lake import LakeError, LakeSource
from resources.redis_keys import SYSTEM_METRICS
from resources.redis_streams import StreamError
from resources.run_queues import TACTICAL
from signal_assets.anomalies.system_series import SYSTEM_GROUP
from signal_assets.event_time import date_of, iso
from signal_assets.market.assets import StreamsSource
from signal_assets.materialization import SettingsSource
from signal_assets.partitions import ATTEMPT_TAG, END_TAG, GROUP_TAG
from signal_assets.tactical_end import next_end, next_end_behind, stream_end

SYSTEM_INTERVAL_SECONDS: Final = 60
"""The live lane judges samples at once; what runs make of them is for the record."""

IN_FLIGHT: Final = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True, slots=True)
class Requested:
    """The last run asked for: its end, and how often that end has been tried."""

    end: int
    attempt: int


def stream_sensor(assets: Sequence[str], interval_seconds: int) -> SensorDefinition:
    """Tactical runs of all groups; at most one in flight per group."""

    @sensor(
        name="stream_sensor",
        job_name=TACTICAL,
        # Dagster's daemon comes round every 5 s and counts from the tick's start, a moment after its own: with the very
        # same 5 s every other round, by chance, would be too early by milliseconds.
        minimum_interval_seconds=max(1, interval_seconds - 1),
        default_status=DefaultSensorStatus.RUNNING,
        description="Starts a tactical run for each group whose watermark has moved and that has none in flight.",
    )
    def evaluate(
        context: SensorEvaluationContext,
        lake: ResourceParam[LakeSource],
        streams: ResourceParam[StreamsSource],
        settings: ResourceParam[SettingsSource],
    ) -> SensorResult:
        current, opened, reader = settings.load(), lake.open(), streams.open()
        return tick(context, TACTICAL, current.groups, lambda group: next_end(opened, reader, current, group, assets))

    return evaluate


def strategic_sensor(sources: Sequence[str], assets: Sequence[str], interval_seconds: int) -> SensorDefinition:
    """Strategic runs of all groups, as far as tactical work has come; at most one in flight per group."""

    @sensor(
        name="strategic_sensor",
        job_name=STRATEGIC,
        minimum_interval_seconds=max(1, interval_seconds - 1),
        default_status=DefaultSensorStatus.RUNNING,
        description="Starts a strategic run for each group whose execution has moved on and that has none in flight.",
    )
    def evaluate(
        context: SensorEvaluationContext,
        lake: ResourceParam[LakeSource],
        settings: ResourceParam[SettingsSource],
    ) -> SensorResult:
        opened = lake.open()
        groups = settings.load().groups
        return tick(context, STRATEGIC, groups, lambda group: next_end_behind(opened, group, sources, assets))

    return evaluate


def system_sensor(assets: Sequence[str]) -> SensorDefinition:
    """Runs that take in what the machine was doing; one in flight."""

    @sensor(
        name="system_sensor",
        job_name=SYSTEM,
        minimum_interval_seconds=SYSTEM_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description="Starts a run when the live lane has left samples of the machine that no run has taken in.",
    )
    def evaluate(
        context: SensorEvaluationContext,
        lake: ResourceParam[LakeSource],
        streams: ResourceParam[StreamsSource],
    ) -> SensorResult:
        opened, reader = lake.open(), streams.open()
        return tick(
            context, SYSTEM, [SYSTEM_GROUP], lambda group: stream_end(opened, reader, [SYSTEM_METRICS], group, assets)
        )

    return evaluate


def tick(
    context: SensorEvaluationContext, job: str, groups: Iterable[str], end_of: Callable[[str], int | str]
) -> SensorResult:
    """One run request per group that has something to do, or why there is none."""
    cursor = read_cursor(context.cursor)
    requests, skipped = [], []
    for group in groups:
        if busy := run_in_flight(context.instance, job, group):
            skipped.append(f"{group}: run {busy[:8]} is in flight")
            continue
        try:
            end = end_of(group)
        except (LakeError, StreamError) as error:  # away: a line, and the next tick asks again
            end = str(error)
        if isinstance(end, str):
            skipped.append(f"{group}: {end}")
            continue
        last = cursor.get(group)
        attempt = last.attempt + 1 if last is not None and last.end == end else 1
        cursor[group] = Requested(end, attempt)
        requests.append(request(group, end, attempt))
    return SensorResult(
        run_requests=requests,
        skip_reason=None if requests else SkipReason("; ".join(skipped)),
        cursor=write_cursor(cursor),
    )


def request(group: str, end: int, attempt: int) -> RunRequest:
    """Run up to ``end``; its key carries the watermark and the attempt, so that a retry is never taken for a repeat."""
    return RunRequest(
        run_key=f"{group}:{end}:{attempt}",
        partition_key=date_of(end).isoformat(),
        tags={GROUP_TAG: group, END_TAG: str(end), ATTEMPT_TAG: str(attempt), "signals/end_time": iso(end)},
    )


def run_in_flight(instance: DagsterInstance, job: str, group: str) -> str | None:
    """Id of a run of the job and group that has not ended, if there is one."""
    runs = instance.get_runs(RunsFilter(job_name=job, tags={GROUP_TAG: group}, statuses=IN_FLIGHT), limit=1)
    return runs[0].run_id if runs else None


def read_cursor(text: str | None) -> dict[str, Requested]:
    """The cursor; an unreadable one starts anew, which costs nothing: progress is kept in the lake."""
    try:
        return {group: Requested(**value) for group, value in json.loads(text or "{}").items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def write_cursor(cursor: Mapping[str, Requested]) -> str:
    """The cursor as JSON."""
    return json.dumps({group: asdict(value) for group, value in cursor.items()}, sort_keys=True)
