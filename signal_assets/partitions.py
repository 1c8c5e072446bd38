"""The one partitioning of all market-time assets: UTC days.

Belongs here: the daily partitions and what a run's tags say it covers. Does not belong here: instruments – they are a
column, never a partition.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from dagster import AssetExecutionContext, BetaWarning, DailyPartitionsDefinition, TimeWindowPartitionMapping

FIRST_DAY: Final = "2023-01-01"

daily_partitions: Final = DailyPartitionsDefinition(start_date=FIRST_DAY, timezone="UTC", end_offset=1)
"""From :data:`FIRST_DAY` up to and including today: live windows begin a day, the day run closes it."""

GROUP_TAG: Final = "signals/group"
END_TAG: Final = "signals/end"
ATTEMPT_TAG: Final = "signals/attempt"


def looking_back(days: int) -> TimeWindowPartitionMapping:
    """A day depends on itself and the ``days`` before it; missing ones are no error at the beginning of history."""
    with warnings.catch_warnings(action="ignore", category=BetaWarning):
        return TimeWindowPartitionMapping(start_offset=-days, allow_nonexistent_upstream_partitions=True)


def the_day_before() -> TimeWindowPartitionMapping:
    """A day depends on the one before it: what a fold remembers at its end."""
    with warnings.catch_warnings(action="ignore", category=BetaWarning):
        return TimeWindowPartitionMapping(start_offset=-1, end_offset=-1, allow_nonexistent_upstream_partitions=True)


@dataclass(frozen=True, slots=True)
class Forward:
    """Tactical work: one group, from each asset's own progress to ``end`` (microseconds UTC)."""

    group: str
    end: int


@dataclass(frozen=True, slots=True)
class Days:
    """Day runs and back-fills: whole days, all groups, in order."""

    days: Sequence[date]


def coverage(context: AssetExecutionContext) -> Forward | Days:
    """What the run covers: forward work when its tags name a group and an end, otherwise its partitions."""
    forward = forward_tags(context.run.tags)
    if forward is not None:
        return forward
    return Days([date.fromisoformat(key) for key in sorted(context.partition_keys)])


def forward_tags(tags: Mapping[str, str]) -> Forward | None:
    """Group and end of a tactical run; None for other runs."""
    if GROUP_TAG in tags and END_TAG in tags:
        return Forward(tags[GROUP_TAG], int(tags[END_TAG]))
    return None
