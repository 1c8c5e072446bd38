"""Asset checks that follow from a table's schema, and the frame every other check is written in.

Belongs here: the factory. Does not belong here: checks of one stage's meaning (``<stage>/checks.py``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    ResourceParam,
    asset_check,
)

from resources.lake import Lake, LakeError, LakeSource
from resources.settings import Settings
from signal_assets.derivation import watermark_of
from signal_assets.event_time import date_of
from signal_assets.materialization import SettingsSource, asset_key
from signal_assets.table import SchemaError, Table
from signal_assets.window import Window


@dataclass(frozen=True)
class Finding:
    """What a check found in one day: whether it passed, one line, and figures."""

    passed: bool
    line: str
    figures: Mapping[str, int | float | str] = field(default_factory=dict)


Verify = Callable[[Lake, Settings, Window], Finding]


def table_check(
    table: Table,
    name: str,
    description: str,
    verify: Verify,
    *,
    severity: AssetCheckSeverity = AssetCheckSeverity.ERROR,
) -> AssetChecksDefinition:
    """An asset check that looks at each day its run covers; the first day that fails names the failure."""

    @asset_check(asset=asset_key(table), name=name, description=description)
    def check(
        context: AssetCheckExecutionContext,
        lake: ResourceParam[LakeSource],
        settings: ResourceParam[SettingsSource],
    ) -> AssetCheckResult:
        opened, current = lake.open(), settings.load()
        opened.ensure([table])
        days = days_covered(context, opened, current)
        findings = [(day, verify(opened, current, Window.of_day(day))) for day in days]
        failed = [(day, finding) for day, finding in findings if not finding.passed]
        shown = failed or findings[-1:]
        metadata: dict[str, Any] = {"days": len(findings), "days_failed": len(failed)}
        for _, finding in shown[:1]:
            metadata |= finding.figures
        return AssetCheckResult(
            passed=not failed,
            severity=severity,
            description=f"{shown[0][0]}: {shown[0][1].line}" if shown else "there is no day to look at yet",
            metadata=metadata,
        )

    return check


def days_covered(context: AssetCheckExecutionContext, lake: Lake, settings: Settings) -> Sequence[date]:
    """The run's partitions; without any, the day up to which raw data is complete."""
    tags = context.run.tags
    if "dagster/partition" in tags:
        return [date.fromisoformat(tags["dagster/partition"])]
    first, last = tags.get("dagster/asset_partition_range_start"), tags.get("dagster/asset_partition_range_end")
    if first and last:
        start, end = date.fromisoformat(first), date.fromisoformat(last)
        return [date.fromordinal(number) for number in range(start.toordinal(), end.toordinal() + 1)]
    known = [mark for group in settings.groups if (mark := watermark_of(lake, group)) is not None]
    return [date_of(min(known))] if known else []


def schema_check(table: Table) -> AssetChecksDefinition:
    """The lake's columns are the declared ones, the key is unique and nothing is null that may not be."""

    def verify(lake: Lake, settings: Settings, window: Window) -> Finding:
        del settings
        try:
            lake.ensure([table])
            rows = lake.read(table, start=window.start, end=window.end)
            table.conform(rows)
        except (SchemaError, LakeError) as error:
            return Finding(False, str(error))
        return Finding(True, f"{len(rows)} rows fit the schema", {"rows": len(rows)})

    return table_check(table, "schema", "Columns, nulls and the natural key are as declared.", verify)
