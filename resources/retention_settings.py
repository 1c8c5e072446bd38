"""Configuration of how long what is kept: rows, snapshots of the lake, runs and their events.

Belongs here: the spans. Does not belong here: what removes (``jobs/maintenance``, ``resources/lake_maintenance``,
``resources/run_retention``).
"""

from typing import Self

from pydantic import Field, model_validator

from resources.strict_model import StrictModel


class RetentionSettings(StrictModel):
    """How long what is kept. Rows are counted by event time, everything else by the clock."""

    raw_days: int | None = Field(
        default=None,
        ge=2,
        le=36_500,
        description="whole days of `market.*` and the system's samples behind the work of all groups; null: for good",
    )
    derived_days: int | None = Field(
        default=None,
        ge=2,
        le=36_500,
        description="likewise aggregates, levels, anomalies and strategies; null: for good",
    )
    snapshot_days: int = Field(
        default=30, ge=1, le=3_650, description="how far back the lake can be read as it stood, at one point an hour"
    )
    every_snapshot_hours: int = Field(
        default=6, ge=1, le=24 * 30, description="how far back it can be read as every single commit left it"
    )
    forward_run_hours: int = Field(
        default=12,
        ge=1,
        le=24 * 365,
        description="frequent runs, failed or not: those that moved forward, and maintenance",
    )
    run_days: int = Field(default=30, ge=3, le=3_650, description="all other runs")
    feed_report_hours: int = Field(
        default=24, ge=1, le=24 * 365, description="what the live lane reports of its feeds, every ten seconds"
    )
    anomaly_event_days: int = Field(
        default=7, ge=1, le=3_650, description="anomalies in Redis, and what was handed over; in the lake: derived_days"
    )
    anomaly_minute_hours: int = Field(default=48, ge=1, le=24 * 365, description="counts of anomalies by minute")
    anomaly_hour_days: int = Field(default=30, ge=1, le=3_650, description="counts of anomalies by hour")
    anomaly_day_days: int = Field(default=400, ge=1, le=36_500, description="counts of anomalies by day")
    anomaly_health_seconds: int = Field(
        default=60, ge=10, le=86_400, description="a detector of which nothing was heard for so long has no health"
    )

    @model_validator(mode="after")
    def _derived_outlast_raw(self) -> Self:
        if self.derived_days is not None and (self.raw_days is None or self.derived_days < self.raw_days):
            raise ValueError(
                "derived_days must not be less than raw_days: a day run would bring back what retention has removed"
            )
        return self
