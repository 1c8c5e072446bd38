"""Workers of another home, on this machine or another: they take runs of a platform that lives elsewhere.

Belongs here: what such a home needs – addresses that answer, Dagster's configuration, one supervised Celery worker.
Does not belong here: the platform itself (``platform``), the command line.
"""

import hashlib
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, Self

import redis

from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.lake import LakeError
from resources.object_store import in_object_store
from resources.run_lease import broker_client
from resources.run_queues import RUN_QUEUES, TACTICAL
from resources.settings import load_settings
from resources.worker_register import WorkerEntry, configuration_digest, disagreement, registered_workers
from services.platform.child_process import ChildProcess
from services.platform.embedded_postgres import check_postgres, psycopg2_url
from services.platform.embedded_redis import check_redis
from services.platform.environment import DEFAULT_DEFINITIONS, exports, prepare_dagster_home
from services.platform.errors import PlatformError
from services.platform.home import HomeLock, prepare_home
from services.platform.run_worker import worker_command, worker_options
from services.platform.stop_request import StopRequest
from services.platform.supervisor import ChildStatus, Supervisor, end_leftovers
from signal_assets.market.tables import FEATURES

STATUS_FILE: Final = "processes.json"
READY_SECONDS: Final = 120.0
VARIABLES: Final = ("SIGNAL_POSTGRES_URL", "SIGNAL_REDIS_URL", "SIGNAL_BROKER_URL", "SIGNAL_LAKE_PATH")


class SharedWorkers:
    """Starts, watches and stops a worker that shares a platform's PostgreSQL, Redis and lake; a context manager.

    Parameters
    ----------
    home
        Of this worker alone: its logs and Dagster's files; one worker per home.
    queues
        Which runs it takes.
    processes
        How many at once; one stays for each of its queues.
    environment
        Where the shared addresses stand; default: this process' environment.
    extra_environment
        Variables for the worker.
    report
        Called with every line that is for the user.

    Raises
    ------
    PlatformError
        One line: an address is missing or does not answer, the home is in use, there are more queues than processes.
    """

    def __init__(
        self,
        home: Path,
        queues: Sequence[str],
        processes: int,
        *,
        environment: Mapping[str, str] | None = None,
        extra_environment: Mapping[str, str] | None = None,
        report: Callable[[str], None] = print,
    ) -> None:
        if unknown := [queue for queue in queues if queue not in RUN_QUEUES]:
            raise PlatformError(f"there is no queue {unknown[0]!r}; there are {', '.join(RUN_QUEUES)}")
        if processes < len(queues):
            raise PlatformError(f"{len(queues)} queues need as many processes, or one holds up the other: --processes")
        self.home = home.expanduser().absolute()
        self._queues = tuple(dict.fromkeys(queues))
        self._processes = processes
        self._environment = dict(os.environ if environment is None else environment)
        self._extra_environment = dict(extra_environment or {})
        self._report = report
        self._lock: HomeLock | None = None
        self._supervisor: Supervisor | None = None
        self._stop_requested = StopRequest()
        self._former_handlers: dict[int, Any] = {}
        self.name = f"worker_{hashlib.sha256(os.fsencode(self.home)).hexdigest()[:8]}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def children(self) -> list[ChildStatus]:
        """The state of the worker."""
        return self._supervisor.children() if self._supervisor is not None else []

    def start(self) -> None:
        """Try the addresses, start the worker and wait until it takes runs; SIGINT and SIGTERM mean to stop."""
        addresses = self._addresses()
        _check(addresses)
        prepare_home(self.home)
        lock = HomeLock(self.home)
        lock.acquire()
        self._lock = lock
        try:
            if threading.current_thread() is threading.main_thread():
                for number in (signal.SIGINT, signal.SIGTERM):
                    self._former_handlers[number] = signal.signal(number, self._signalled)
            end_leftovers(self.home / STATUS_FILE)
            prepare_dagster_home(self.home)
            supervisor = self._supervisor = Supervisor(self.home / STATUS_FILE, self._report)
            supervisor.start(self._child(addresses))
            supervisor.wait_ready([self.name], READY_SECONDS, self._stop_requested)
        except BaseException:
            self.stop()
            raise

    def _addresses(self) -> Addresses:
        if missing := [name for name in VARIABLES if not self._environment.get(name)]:
            raise PlatformError(
                f"a worker shares a platform's addresses: set {', '.join(missing)} (there, `signals env` shows them)"
            )
        postgres, bus, broker, lake = (self._environment[name] for name in VARIABLES)
        return Addresses(psycopg2_url(postgres), bus, broker, lake, self.home)

    def _child(self, addresses: Addresses) -> ChildProcess:
        niceness = 0 if TACTICAL in self._queues else 10  # as on the platform's own machine: what is live goes first
        options = dict(worker_options(self.home, self.name, niceness))
        environment = {
            **self._environment,
            **exports(addresses),
            "SIGNAL_DEFINITIONS_MODULE": self._environment.get("SIGNAL_DEFINITIONS_MODULE", DEFAULT_DEFINITIONS),
            "PYTHONUNBUFFERED": "1",
            "MALLOC_ARENA_MAX": "2",
            **self._extra_environment,
            **options.pop("environment"),
        }
        return ChildProcess(
            self.name,
            worker_command(self.name, self._queues, self._processes),
            environment=environment,
            log=self.home / "logs" / f"{self.name}.log",
            **options,
        )

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until somebody wants the worker to stop; True if so, False after ``timeout`` seconds."""
        return self._stop_requested.wait(timeout)

    def stop(self) -> None:
        """Stop the worker, a run in progress may end, and release the home. Harmless when nothing runs."""
        if self._supervisor is not None:
            self._supervisor.stop([])
            self._supervisor = None
            (self.home / STATUS_FILE).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        for number, handler in self._former_handlers.items():
            signal.signal(number, handler)
        self._former_handlers.clear()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._stop_requested.set()


def _check(addresses: Addresses) -> None:
    """Ask each address once."""
    check_postgres(addresses.postgres_url)
    check_redis(addresses.redis_url)
    try:
        with broker_client(addresses.broker_url) as client:
            workers = registered_workers(client)
    except (redis.RedisError, ValueError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PlatformError(f"the broker (SIGNAL_BROKER_URL) cannot be reached: {reason}") from None
    own = WorkerEntry("this one", (), 1, configuration_digest(load_settings()))
    if differ := disagreement([*workers, own]):
        raise PlatformError(differ)
    if not in_object_store(addresses.lake_path) and not Path(addresses.lake_path).is_dir():
        raise PlatformError(f"the lake's folder {addresses.lake_path} is not there: it has to be the platform's own")
    lake = DuckLake(addresses)
    try:
        lake.ensure([FEATURES])
        lake.query(f"SELECT count(best_bid) FROM (FROM lake.{FEATURES.name} LIMIT 1)")  # noqa: S608 – opens a file
    except LakeError as error:
        raise PlatformError(f"the lake (SIGNAL_LAKE_PATH) cannot be read: {error}") from None
    finally:
        lake.close()
