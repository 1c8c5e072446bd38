"""The run launcher: runs become Celery tasks, and a run whose worker died is noticed.

Belongs here: what Dagster's ``dagster.yaml`` names as ``run_launcher``.
Does not belong here: the worker (``services/worker``), relaunching (``sensors``).
"""

import os
import time
from collections.abc import Mapping
from typing import Any, Final

import redis
from dagster import DagsterRun
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._serdes import ConfigurableClassData
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from resources.dagster_storage import VALIDATION_VARIABLE
from resources.run_lease import broker_client, lease_is_held
from resources.run_queues import CELERY_CONFIGURATION, celery_queues

BROKER_VARIABLE: Final = "SIGNAL_BROKER_URL"

CONFIRM_SECONDS: Final = 2.5
"""A lease must be missing this long (more than one renewal) before the worker is declared dead: after a restart of
Redis a living worker needs a moment to renew."""


class SignalsRunLauncher(CeleryRunLauncher):
    """``CeleryRunLauncher`` that asks for a sign of life.

    Celery's state ``STARTED`` stays when the worker is killed, so Dagster would believe in the run until its maximum
    run time. Here the worker renews a lease in Redis while it executes the run (:mod:`resources.run_lease`);
    ``STARTED`` without a lease is a dead worker. Cancelling interrupts the run, not the warm worker process.

    Parameters
    ----------
    default_queue
        Queue of runs without the tag ``dagster-celery/queue``.
    broker, backend
        Celery addresses; made from ``dagster.yaml``, both default to ``SIGNAL_BROKER_URL``.
    """

    def __init__(
        self,
        default_queue: str,
        broker: str | None = None,
        backend: str | None = None,
        include: list[str] | None = None,
        config_source: dict[str, Any] | None = None,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        super().__init__(
            default_queue=default_queue,
            broker=broker,
            backend=backend,
            include=include,
            config_source=CELERY_CONFIGURATION | (config_source or {}),
            inst_data=inst_data,
        )
        self.celery.conf.task_queues = celery_queues()
        self._lease_client: redis.Redis | None = None
        self._missing_since: dict[str, float] = {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> "SignalsRunLauncher":
        """Made by Dagster from ``dagster.yaml``, also by commands that launch nothing.

        Raises
        ------
        RuntimeError
            If there is no broker and Dagster does more than validate.
        """
        configured = {name: value for name, value in config_value.items() if value is not None}
        broker = configured.get("broker") or os.environ.get(BROKER_VARIABLE)
        if not broker:
            if not os.environ.get(VALIDATION_VARIABLE):
                raise RuntimeError(f'{BROKER_VARIABLE} is not set: start `signals up`, then eval "$(signals env)"')
            broker = "memory://"
        # Dagster's own default for the backend asks for RabbitMQ.
        backend = configured.get("backend")
        configured |= {"broker": broker, "backend": broker if backend in {None, "rpc://"} else backend}
        return cls(inst_data=inst_data, **configured)

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Ask Celery and the lease; called by Dagster's run monitoring for runs that have started.

        Raises
        ------
        redis.RedisError
            If Redis does not answer; the monitoring logs it and asks again.
        """
        if DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            # The tag is written after the task was sent: a quick worker can be ahead of it.
            return self._confirmed(run, self._lease_held(run.run_id), "the run has no worker")
        found = super().check_run_worker_health(run)
        if found.status == WorkerStatus.FAILED:
            self._missing_since.pop(run.run_id, None)
            return found
        if found.status == WorkerStatus.SUCCESS:
            # The task has ended but Dagster has no end of the run: PostgreSQL was away when it was to be written.
            return self._confirmed(run, False, "the worker ended without recording the end of the run")
        return self._confirmed(run, self._lease_held(run.run_id), "the worker that ran it is gone")

    def _lease_held(self, run_id: str) -> bool:
        if self._lease_client is None:
            self._lease_client = broker_client(self.celery.conf.broker_url)
        return lease_is_held(self._lease_client, run_id)

    def _confirmed(self, run: DagsterRun, alive: bool, reason: str) -> CheckRunHealthResult:
        if alive:
            self._missing_since.pop(run.run_id, None)
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        now = time.monotonic()
        since = self._missing_since.setdefault(run.run_id, now)
        if now - since < CONFIRM_SECONDS:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"{reason}; asking once more")
        self._missing_since.pop(run.run_id, None)
        return CheckRunHealthResult(WorkerStatus.FAILED, reason)

    def terminate(self, run_id: str) -> bool:
        """Cancel a run: mark it, drop it from the queue, or interrupt it where it executes."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        if task_id := run.tags.get(DAGSTER_CELERY_TASK_ID_TAG):
            # SIGINT is what Dagster's execution listens to; outside a run the worker process ignores it and stays warm.
            self.celery.control.revoke(task_id, terminate=True, signal="SIGINT")
        return True
