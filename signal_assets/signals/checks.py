"""Checks of the signal tables: what left the system is what the computed truth says."""

from dagster import AssetChecksDefinition, AssetCheckSeverity

from resources.lake import Lake
from resources.settings import Settings
from signal_assets.signals.tables import EMITTED, SIGNALS
from signal_assets.table_checks import Finding, table_check
from signal_assets.window import Window

EMITTED_TIERS = ("fast", "tactical")


def signal_checks() -> list[AssetChecksDefinition]:
    """All checks of the stage beyond the schema."""
    return [
        table_check(
            EMITTED,
            "computed_truth",
            "Every emitted signal is a validated one of the computed truth; those that were not emitted are counted.",
            emitted_is_computed,
            severity=AssetCheckSeverity.WARN,
        )
    ]


def emitted_is_computed(lake: Lake, settings: Settings, window: Window) -> Finding:
    """Compare the ids of the day, both ways; a signal that had expired before it could leave is no difference."""
    del settings
    lake.ensure([SIGNALS])
    computed = lake.read(SIGNALS, start=window.start, end=window.end, columns=["id", "tier", "status"])
    emitted = set(lake.read(EMITTED, start=window.start, end=window.end, columns=["id"])["id"])
    due = (computed["status"] == "validated") & computed["tier"].isin(EMITTED_TIERS)
    truth = set(computed.loc[due, "id"])
    wrong, unsent = len(emitted - truth), len(truth - emitted)
    line = f"{len(emitted)} emitted, {wrong} of them not in the computed truth; {unsent} computed ones never left"
    return Finding(wrong == 0, line, {"emitted": len(emitted), "not_computed": wrong, "not_emitted": unsent})
