"""The run coordinator: Dagster's queue, with a place in it for every run, as wide as there are workers.

Belongs here: what Dagster's ``dagster.yaml`` names as ``run_coordinator``.
Does not belong here: who registers as a worker (``worker_register``).
"""

import logging
import os
import time
from typing import Any, Final

import redis
from dagster import DagsterRun, SubmitRunContext
from dagster._core.instance import DagsterInstance
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator, RunQueueConfig

from resources.run_lease import broker_client
from resources.run_queues import BACKFILL, MAINTENANCE, QUEUE_TAG
from resources.worker_register import registered_workers, slots_of

BROKER_VARIABLE: Final = "SIGNAL_BROKER_URL"
LOOK_EVERY: Final = 2.0
DEQUEUE_INTERVAL: Final = 0.5
"""Seconds between two looks into the queue: the step in which Dagster's daemon waits, so the least that makes it wait.
The configuration takes whole seconds only, which would leave a worker idle for about as long as a short run takes."""

_logger = logging.getLogger(__name__)


class SignalsRunCoordinator(QueuedRunCoordinator[DagsterInstance]):
    """``QueuedRunCoordinator`` that knows how many workers there are, and gives every run a queue.

    What is over waits in Dagster's queue, visibly, not inside Celery, where the start time-out would fail it: of the
    queues ``backfill`` and ``maintenance`` as many runs are on their way as the registered workers have processes for
    them (one while nobody has registered). Tactical and strategic runs need none, their sensors start one per group.

    Somebody's "Materialize all" in the UI has no queue tag; it goes to the queue ``backfill``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._client: redis.Redis | None = None
        self._slots = {BACKFILL: 1, MAINTENANCE: 1}
        self._next_look = 0.0

    @property
    def dequeue_interval_seconds(self) -> float:  # type: ignore[override]
        """Asked for once, when the daemon starts; it accepts any number."""
        return DEQUEUE_INTERVAL

    def get_run_queue_config(self) -> RunQueueConfig:
        """The limits of the moment; Dagster's daemon asks before each round."""
        slots = self._current_slots()
        limits = [{"key": QUEUE_TAG, "value": queue, "limit": limit} for queue, limit in slots.items()]
        configured = super().get_run_queue_config()
        return configured._replace(
            tag_concurrency_limits=[*configured.tag_concurrency_limits, *limits],
            # Other machines' workers do not take away what this one's need.
            max_concurrent_runs=configured.max_concurrent_runs + sum(slots.values()) - len(slots),
        )

    def _current_slots(self) -> dict[str, int]:
        """What was seen last, when Redis does not answer."""
        address = os.environ.get(BROKER_VARIABLE)
        if address and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_EVERY
            try:
                if self._client is None:
                    self._client = broker_client(address)
                workers = registered_workers(self._client)
            except redis.RedisError as error:
                _logger.warning("the workers cannot be counted, staying with %s: %s", self._slots, error)
            else:
                self._slots = {queue: max(1, slots_of(workers, queue)) for queue in self._slots}
        return self._slots

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Put a run into Dagster's queue."""
        run = context.dagster_run
        if QUEUE_TAG not in run.tags:
            self._instance.add_run_tags(run.run_id, {QUEUE_TAG: BACKFILL})
        return super().submit_run(context)
