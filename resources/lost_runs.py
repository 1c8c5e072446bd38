"""Ends the runs that a dead worker had taken.

Belongs here: what a worker that starts does about the runs of its predecessor. Does not belong here: how one knows that
it is dead (``run_lease``), what becomes of runs whose worker nobody follows (``run_launcher``).
"""

import logging
import time
from collections.abc import Sequence
from typing import Final

import sqlalchemy
from dagster import DagsterInstance, DagsterRunStatus

from resources.dagster_storage import close_connections

PATIENCE_SECONDS: Final = 30.0
"""PostgreSQL may be coming back too: after a crash of everything the worker is often the quicker one."""
PAUSE_SECONDS: Final = 0.5
_TAKEN: Final = (DagsterRunStatus.STARTING, DagsterRunStatus.STARTED)

_logger = logging.getLogger(__name__)


def fail_lost_runs(run_ids: Sequence[str], patience: float = PATIENCE_SECONDS) -> int:
    """Mark the runs failed that are still taken for alive; returns how many.

    Dagster itself finds out about a run that its worker had taken but not begun only by its start time-out, and never
    asks the launcher about it. Whoever wanted the run asks for another one.

    Parameters
    ----------
    run_ids
        Runs whose worker is known to be dead.
    patience
        Seconds to wait for PostgreSQL; after that the runs are left to Dagster's monitoring.
    """
    deadline = time.monotonic() + patience
    while run_ids:
        try:
            return _fail(run_ids)
        except (sqlalchemy.exc.SQLAlchemyError, OSError) as error:
            if time.monotonic() > deadline:
                _logger.warning("%d lost runs could not be ended: %s", len(run_ids), str(error).splitlines()[0])
                return 0
            time.sleep(PAUSE_SECONDS)
    return 0


def _fail(run_ids: Sequence[str]) -> int:
    ended = 0
    try:
        with DagsterInstance.get() as instance:
            for run_id in run_ids:
                run = instance.get_run_by_id(run_id)
                if run is not None and run.status in _TAKEN:
                    instance.report_run_failed(run, "the worker that had taken it is gone")
                    ended += 1
    finally:
        close_connections()  # a process forked from this one must not find them
    return ended
