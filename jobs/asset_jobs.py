"""The asset jobs: tactical and strategic work, day runs, learning, back-fills.

Belongs here: which assets run together, on which queue, for how long at most. Does not belong here: what starts them
(``sensors``).
"""

from collections.abc import Sequence
from typing import Final

from dagster import AssetsDefinition, AssetSelection, define_asset_job, in_process_executor
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from resources.platform_tables import RAW_STAGE
from resources.run_queues import BACKFILL, MAINTENANCE, QUEUE_TAG, TACTICAL

MAX_RUNTIME_TAG: Final = "dagster/max_runtime"

STRATEGIC: Final = "strategic"
DAY_CLOSE: Final = "day_close"
LEARNING: Final = "learning"
SYSTEM: Final = "system"

STRATEGIC_STAGE: Final = "performance"
LEARNING_STAGE: Final = "learning"


def asset_jobs(assets: Sequence[AssetsDefinition]) -> list[UnresolvedAssetJobDefinition]:
    """Forward work without checks; day runs, learning and back-fills with them."""
    everything = AssetSelection.assets(*assets)
    strategic = AssetSelection.groups(STRATEGIC_STAGE) & everything
    learning = AssetSelection.groups(LEARNING_STAGE) & everything
    derived = everything - AssetSelection.groups(RAW_STAGE)
    checks = AssetSelection.checks_for_assets(*assets)
    no_checks = AssetSelection.all_asset_checks()
    return [
        define_asset_job(
            TACTICAL,
            selection=everything - strategic - learning - no_checks,
            description="Take in what the streams hold, compute forward to the watermark; the stream sensor starts it.",
            tags={QUEUE_TAG: TACTICAL, MAX_RUNTIME_TAG: "600"},
            executor_def=in_process_executor,
        ),
        define_asset_job(
            STRATEGIC,
            selection=strategic - no_checks,
            description="Keep score of what was executed; the strategic sensor starts it.",
            tags={QUEUE_TAG: TACTICAL, MAX_RUNTIME_TAG: "600"},
            executor_def=in_process_executor,
        ),
        define_asset_job(
            DAY_CLOSE,
            selection=(derived - learning) | checks,
            description="Recompute a closed day from raw, late rows included, and check it.",
            tags={QUEUE_TAG: BACKFILL, MAX_RUNTIME_TAG: "3600"},
            executor_def=in_process_executor,
        ),
        define_asset_job(
            LEARNING,
            selection=learning - no_checks,
            description="Learn from a closed day; what comes of it is in force from the day after next on.",
            tags={QUEUE_TAG: BACKFILL, MAX_RUNTIME_TAG: "3600"},
            executor_def=in_process_executor,
        ),
        define_asset_job(
            BACKFILL,
            selection=derived | checks,
            description="Recompute closed days; days whose folds follow from each other in order.",
            tags={QUEUE_TAG: BACKFILL, MAX_RUNTIME_TAG: "21600"},
            executor_def=in_process_executor,
        ),
    ]


def system_job(assets: Sequence[AssetsDefinition]) -> UnresolvedAssetJobDefinition:
    """What the machine itself does: apart from all others, so that no market data waits for it."""
    return define_asset_job(
        SYSTEM,
        selection=AssetSelection.assets(*assets) - AssetSelection.all_asset_checks(),
        description="Take in the samples of the machine and find what is odd about them; the system sensor starts it.",
        tags={QUEUE_TAG: MAINTENANCE, MAX_RUNTIME_TAG: "600"},
        executor_def=in_process_executor,
    )
