"""The asset jobs: tactical work, day runs, back-fills; each but the day close is named after its queue.

Belongs here: which assets run together, on which queue, for how long at most. Does not belong here: what starts them
(``sensors``).
"""

from collections.abc import Sequence
from typing import Final

from dagster import AssetsDefinition, AssetSelection, define_asset_job, in_process_executor
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from resources.run_queues import BACKFILL, QUEUE_TAG, TACTICAL

MAX_RUNTIME_TAG: Final = "dagster/max_runtime"

DAY_CLOSE: Final = "day_close"

RAW_STAGE: Final = "market"


def asset_jobs(assets: Sequence[AssetsDefinition]) -> list[UnresolvedAssetJobDefinition]:
    """Tactical work without checks; day runs and back-fills of everything derived, with them."""
    everything = AssetSelection.assets(*assets)
    derived = everything - AssetSelection.groups(RAW_STAGE)
    checks = AssetSelection.checks_for_assets(*assets)
    return [
        define_asset_job(
            TACTICAL,
            selection=everything - AssetSelection.all_asset_checks(),
            description="Take in what the streams hold, compute forward to the watermark; the stream sensor starts it.",
            tags={QUEUE_TAG: TACTICAL, MAX_RUNTIME_TAG: "600"},
            executor_def=in_process_executor,
        ),
        define_asset_job(
            DAY_CLOSE,
            selection=derived | checks,
            description="Recompute a closed day from raw, late rows included, and check it.",
            tags={QUEUE_TAG: BACKFILL, MAX_RUNTIME_TAG: "3600"},
            executor_def=in_process_executor,
        ),
        define_asset_job(
            BACKFILL,
            selection=derived | checks,
            description="Recompute any range of closed days in a single run.",
            tags={QUEUE_TAG: BACKFILL, MAX_RUNTIME_TAG: "21600"},
            executor_def=in_process_executor,
        ),
    ]
