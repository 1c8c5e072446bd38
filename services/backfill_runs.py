"""Runs of back-fills as Dagster knows them.

Belongs here: putting them into Dagster's queue, looking at them, taking them out again. Does not belong here: which are
wanted, and when (``backfills``).
"""

import sys
from collections.abc import Sequence
from typing import Any, Final

import redis
from dagster import AssetKey, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from resources.addresses import Addresses
from resources.run_lease import broker_client
from resources.run_queues import BACKFILL, QUEUE_TAG
from resources.worker_register import WorkerEntry, registered_workers
from services.backfill_plan import Piece
from services.platform.home import socket_folder

BACKFILL_TAG: Final = "signals/backfill"
PIECE_TAG: Final = "signals/backfill_piece"

INTERRUPTED: Final = "DagsterExecutionInterruptedError"
"""What a step says when its worker was told to end."""


class BackfillRuns:
    """Runs of back-fills on one instance.

    Parameters
    ----------
    definitions
        The code location whose job ``backfill`` is run.
    module : str
        Where it stands; a worker of another machine imports it by this name.
    """

    def __init__(self, instance: DagsterInstance, definitions: Any, module: str, addresses: Addresses) -> None:
        self._instance = instance
        self._job: Any = definitions.resolve_job_def(BACKFILL)
        self._subsets: dict[frozenset[AssetKey], Any] = {}
        self._client = broker_client(addresses.broker_url)
        location = GrpcServerCodeLocationOrigin(
            host="localhost", socket=str(socket_folder(addresses.home) / "code.sock"), location_name=module
        )
        self._shown_as = RemoteRepositoryOrigin(location, definitions.get_repository_def().name)
        self._code = RepositoryPythonOrigin(
            executable_path=sys.executable,  # a worker of another machine uses its own
            code_pointer=ModuleCodePointer(module, "definitions", None),
            container_image=None,
            entry_point=None,
            container_context=None,
        )

    def submit(self, piece: Piece, identifier: str) -> str:
        """Put a run of the piece into Dagster's queue; returns its id."""
        first, last = piece.days[0].isoformat(), piece.days[-1].isoformat()
        partition = (
            {PARTITION_NAME_TAG: first}
            if first == last
            else {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}
        )
        if piece.assets not in self._subsets:
            self._subsets[piece.assets] = self._job.get_subset(asset_selection=piece.assets)
        run = self._instance.create_run_for_job(
            self._subsets[piece.assets],
            tags={QUEUE_TAG: BACKFILL, BACKFILL_TAG: identifier, PIECE_TAG: piece.name, **partition},
            asset_selection=piece.assets,
            status=DagsterRunStatus.NOT_STARTED,
            remote_job_origin=self._shown_as.get_job_origin(BACKFILL),
            job_code_origin=JobPythonOrigin(BACKFILL, self._code),
        )
        workspace: Any = None  # only other coordinators look at it
        return self._instance.submit_run(run.run_id, workspace).run_id

    def of(self, identifier: str) -> list[DagsterRun]:
        """Every run of a back-fill, the newest first."""
        return list(self._instance.get_runs(RunsFilter(tags={BACKFILL_TAG: identifier})))

    def with_ids(self, run_ids: Sequence[str]) -> list[DagsterRun]:
        """The runs as they stand now."""
        return list(self._instance.get_runs(RunsFilter(run_ids=list(run_ids)))) if run_ids else []

    def take_back(self, run_ids: Sequence[str]) -> int:
        """Cancel those that still wait in the queue; returns how many are left on their way."""
        left = 0
        for run in self.with_ids(run_ids):
            if run.status is DagsterRunStatus.QUEUED:
                self._instance.run_coordinator.cancel_run(run.run_id)
            elif not run.is_finished:
                left += 1
        return left

    def failure_of(self, run_id: str) -> str | None:
        """Why a step of the run failed, in one line; None when the run was lost with its worker."""
        for entry in self._instance.all_logs(run_id, of_type=DagsterEventType.STEP_FAILURE):
            data = entry.get_dagster_event().step_failure_data
            if data.error is not None and data.error.cls_name == INTERRUPTED:
                return None
            cause: Any = data.user_failure_data or data.error
            text = str(getattr(cause, "description", None) or getattr(cause, "message", "") or "no reason given")
            return text.strip().splitlines()[0]
        return None

    def workers(self) -> list[WorkerEntry] | None:
        """Every worker that lives; None while Redis does not answer."""
        try:
            return registered_workers(self._client)
        except redis.RedisError:
            return None

    def queue_moves(self) -> bool:
        """Whether any run of the queue is on its way."""
        under_way = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
        return bool(self._instance.get_runs(RunsFilter(tags={QUEUE_TAG: BACKFILL}, statuses=under_way), limit=1))
