"""The run coordinator: Dagster's queue, with a place in it for every run.

Belongs here: what Dagster's ``dagster.yaml`` names as ``run_coordinator``.
Does not belong here: limits (they stand in ``dagster.yaml``).
"""

from dagster import DagsterRun, SubmitRunContext
from dagster._core.instance import DagsterInstance
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator

from resources.run_queues import BACKFILL, QUEUE_TAG


class SignalsRunCoordinator(QueuedRunCoordinator[DagsterInstance]):
    """``QueuedRunCoordinator`` that sends runs without a queue of their own to the queue ``backfill``.

    Somebody's "Materialize all" in the UI has no queue tag; without one the limits per queue would not hold it back,
    it would wait in Celery instead of in Dagster's queue and be failed by the start time-out.
    """

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Put a run into Dagster's queue."""
        run = context.dagster_run
        if QUEUE_TAG not in run.tags:
            self._instance.add_run_tags(run.run_id, {QUEUE_TAG: BACKFILL})
        return super().submit_run(context)
