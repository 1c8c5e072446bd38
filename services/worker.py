"""The Celery application whose workers execute Dagster runs: ``celery -A services.worker worker -Q tactical``.

Belongs here: tasks, what a worker loads before its first run, and the sign of life it gives while running one.
Does not belong here: what a run computes.
"""

import importlib
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import redis
from celery import Celery, signals
from celery.worker import state
from dagster._grpc.types import ExecuteRunArgs, ResumeRunArgs
from dagster._serdes import unpack_value
from dagster_celery import make_app, tasks

from resources.dagster_resources import SettingsResource
from resources.lost_runs import fail_lost_runs
from resources.run_lease import RunLease, broker_client, mark_taken, release_leases_of_the_dead
from resources.run_queues import CELERY_CONFIGURATION, celery_queues
from resources.settings import SettingsError
from resources.worker_register import WorkerEntry, WorkerRegistration, configuration_digest

DEFINITIONS_VARIABLE: Final = "SIGNAL_DEFINITIONS_MODULE"
DEFAULT_DEFINITIONS: Final = "signal_assets.definitions"
READY_FILE_VARIABLE: Final = "SIGNAL_READY_FILE"
_LARGEST_PROCESS_KILOBYTES: Final = 2_000_000

# Celery and what Dagster builds on it come without types.
_make_app: Any = make_app
_tasks: Any = tasks
_signals: Any = signals

_logger = logging.getLogger(__name__)
_leases: dict[str, RunLease] = {}
_registrations: list[WorkerRegistration] = []


def create_app(broker_url: str) -> Celery:
    """The application for one broker, which also keeps the results. Connects nothing."""
    configuration = CELERY_CONFIGURATION | {
        # Dagster captures the output of a run at the file descriptors; Celery must not stand in front of them.
        "worker_redirect_stdouts": False,
        # A process that has grown this large is replaced after its run.
        "worker_max_memory_per_child": _LARGEST_PROCESS_KILOBYTES,
    }
    application: Celery = _make_app.make_app(
        {"broker": broker_url, "backend": broker_url, "config_source": configuration}
    )
    application.conf.task_queues = celery_queues()
    _tasks.create_task(application)
    _tasks.create_execute_job_task(application)
    _tasks.create_resume_job_task(application)
    return application


app = create_app(os.environ.get("SIGNAL_BROKER_URL", ""))


def run_id_of(arguments: Mapping[str, Any]) -> str | None:
    """The Dagster run a task executes, from its keyword arguments; None for other tasks."""
    packed = arguments.get("execute_job_args_packed")
    if packed is None:
        return None
    unpacked = unpack_value(packed)
    return unpacked.run_id if isinstance(unpacked, ExecuteRunArgs | ResumeRunArgs) else None


def load_before_fork(**_: object) -> None:
    """Import everything heavy once, before the worker's processes are forked: imported, not connected."""
    broker_url = os.environ.get("SIGNAL_BROKER_URL")
    if not broker_url:
        sys.exit('the worker does not know its broker: set SIGNAL_BROKER_URL, or eval "$(signals env)"')
    lost: list[str] = []
    with suppress(redis.RedisError), broker_client(broker_url) as client:  # closed again before the fork
        lost = release_leases_of_the_dead(client)
    name = os.environ.get(DEFINITIONS_VARIABLE) or DEFAULT_DEFINITIONS
    try:
        importlib.import_module(name)
    except Exception:
        # Every run will say the same; a worker that does not start would leave them waiting without a word.
        _logger.exception("%s cannot be imported; runs will fail", name)
    fail_lost_runs(lost)


def warm_up(**_: object) -> None:
    """Call ``warm_up()`` of the definitions module, if it has one, in each forked process before its first run."""
    module = sys.modules.get(os.environ.get(DEFINITIONS_VARIABLE) or DEFAULT_DEFINITIONS)
    prepare = getattr(module, "warm_up", None)
    if not callable(prepare):
        return
    try:
        prepare()
    except Exception:
        _logger.exception("warm_up() failed; the first run will be slower")


def report_ready(**_: object) -> None:
    """Tell the platform that this worker takes runs, by writing its process id into ``SIGNAL_READY_FILE``."""
    if path := os.environ.get(READY_FILE_VARIABLE):
        with suppress(OSError):
            Path(path).write_text(str(os.getpid()), "ascii")


def register(sender: Any = None, **_: object) -> None:
    """Tell Dagster's queue, on whichever machine, how many runs of which queues this worker takes at once."""
    worker = sender.controller

    def describe() -> WorkerEntry:
        try:
            configuration = configuration_digest(SettingsResource().load())
        except SettingsError:
            configuration = ""  # runs will say what is wrong with it
        queues = tuple(worker.app.amqp.queues.consume_from)
        return WorkerEntry(worker.hostname, queues, int(worker.concurrency), configuration)

    registration = WorkerRegistration(broker_client(app.conf.broker_url), describe)
    registration.begin()
    _registrations.append(registration)


def withdraw(**_: object) -> None:
    """No further run is for this worker."""
    while _registrations:
        _registrations.pop().withdraw()


def leave_at_once_when_idle(**_: object) -> None:
    """Celery takes two seconds to take its pool apart; without a run in it nothing is lost by not waiting."""
    if not state.reserved_requests:
        os._exit(0)


def note_taken(request: Any, **_: object) -> None:
    """A run was taken off the queue; a moment later a process of the pool begins it and takes its lease."""
    if run_id := run_id_of(request.kwargs or {}):
        with suppress(redis.RedisError), broker_client(app.conf.broker_url) as client:
            mark_taken(client, run_id)


def take_lease(task_id: str, kwargs: Mapping[str, Any] | None = None, **_: object) -> None:
    """Begin to renew the lease of the run this task executes."""
    if run_id := run_id_of(kwargs or {}):
        lease = RunLease(broker_client(app.conf.broker_url), run_id)
        _leases[task_id] = lease.__enter__()


def give_lease_back(task_id: str, **_: object) -> None:
    """The task is over, in whichever way."""
    if lease := _leases.pop(task_id, None):
        lease.__exit__(None, None, None)


_signals.worker_init.connect(load_before_fork)
_signals.worker_process_init.connect(warm_up)
_signals.worker_ready.connect(report_ready)
_signals.worker_ready.connect(register)
_signals.worker_shutting_down.connect(withdraw)
_signals.worker_shutting_down.connect(leave_at_once_when_idle)
_signals.task_received.connect(note_taken)
_signals.task_prerun.connect(take_lease)
_signals.task_postrun.connect(give_lease_back)
