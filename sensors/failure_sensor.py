"""Tells people that a run failed.

Belongs here: one line per failed run, in the log and in a bounded Redis stream. Does not belong here: a retry – the
next tick of the stream sensor continues from progress.
"""

from typing import Final, Protocol

import structlog
from dagster import (
    DefaultSensorStatus,
    ResourceParam,
    RunFailureSensorContext,
    SensorDefinition,
    run_failure_sensor,
)

log = structlog.get_logger(__name__)

MAXIMUM_LINE: Final = 500


class FailureLog(Protocol):
    """Where failures are kept for people and the notifier."""

    def record(self, fields: dict[str, str]) -> None:
        """Keep one failure."""


def failure_sensor() -> SensorDefinition:
    """One line per failed run."""

    @run_failure_sensor(
        name="failure_sensor",
        default_status=DefaultSensorStatus.RUNNING,
        description="Writes one line per failed run to the log and to the stream `platform:failures`.",
    )
    def evaluate(context: RunFailureSensorContext, failures: ResourceParam[FailureLog]) -> None:
        fields = describe_failure(context)
        log.error("run_failed", **fields)
        failures.record(fields)

    return evaluate


def describe_failure(context: RunFailureSensorContext) -> dict[str, str]:
    """What failed, where and why, each in one line."""
    steps = context.get_step_failure_events()
    causes = [
        event.step_failure_data.error.message.strip().splitlines()[0]
        for event in steps
        if event.step_failure_data.error is not None
    ]
    reason = causes[0] if causes else (context.failure_event.message or "no reason given").strip().splitlines()[0]
    return {
        "run_id": context.dagster_run.run_id,
        "job": context.dagster_run.job_name,
        "step": steps[0].step_key or "" if steps else "",
        "partition": context.dagster_run.tags.get("dagster/partition", ""),
        "reason": reason[:MAXIMUM_LINE],
    }
