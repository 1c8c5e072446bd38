"""Configuration of the hand-over of anomalies to another system.

Belongs here: whether, how and in which words. Does not belong here: who does it (``services/hand_over``).
"""

from typing import Annotated, Literal

from pydantic import Field

from resources.strict_model import StrictModel

Severity = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]
MetricName = Annotated[str, Field(pattern=r"^([^{}]|\{instrument\}|\{feature\})+$")]


class HandOverSettings(StrictModel):
    """The memory interface: anomalies in another system's words, one by one or in batches."""

    enabled: bool = False
    mode: Literal["direct", "batch"] = "batch"
    batch_records: int = Field(default=500, ge=1, le=5_000, description="a batch is full at so many records")
    batch_seconds: float = Field(default=5.0, gt=0, le=3_600, description="no record waits longer for a full batch")
    attempts: int = Field(default=5, ge=1, le=1_000, description="then a record is a dead letter")
    least_severity: Severity = Field(default="MEDIUM", description="what lies below is not handed over")
    metric_names: dict[str, MetricName] = Field(
        default={},
        description="what a series, or all that a pattern (* and ?) fits, is called there; may hold {instrument} and "
        "{feature}. What is not named here has a name of its own",
    )
    severities: dict[Severity, Annotated[str, Field(min_length=1)]] = Field(
        default={}, description="what our severities are called there; default: in small letters"
    )
    environment: str = Field(default="production", min_length=1)
    service: str = Field(default="signal-assets", min_length=1)
    hostname: str | None = Field(default=None, min_length=1, description="null: this machine's")
