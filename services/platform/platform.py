"""The platform: everything ``signals up`` starts, in one object.

Belongs here: which processes there are, with which commands and addresses, in which order they start and stop.
Does not belong here: how a process is kept alive (``supervisor``), the command line.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, Self

from resources.addresses import ADDRESSES_FILE, Addresses
from resources.run_queues import BACKFILL, MAINTENANCE, TACTICAL
from resources.settings import Settings
from services.platform import probes
from services.platform.child_process import Child, ChildProcess
from services.platform.embedded_postgres import EmbeddedPostgres, check_postgres, psycopg2_url
from services.platform.embedded_redis import EmbeddedRedis, broker_url_of, check_redis
from services.platform.environment import DEFAULT_DEFINITIONS, exports, prepare_dagster_home, write_workspace
from services.platform.errors import PlatformError, StartInterruptedError
from services.platform.home import HomeLock, prepare_home, socket_folder
from services.platform.run_worker import worker_command, worker_options
from services.platform.stop_request import StopRequest
from services.platform.supervisor import ChildStatus, Supervisor, end_leftovers

READY_SECONDS: Final = 120.0
STATUS_FILE: Final = "processes.json"
"""In the home: name, state, process id and restarts of every child."""

_LOG_FORMAT: Final = ("--log-format", "json")

_STOP_ORDER: Final = (
    ("live_lane", "simulated_venue", "daemon", "webserver"),
    ("worker_tactical", "worker_background", "code_server"),
    ("redis", "postgres"),
)


class Platform:
    """Starts, watches and stops the platform of one home.

    What ``SIGNAL_POSTGRES_URL`` and ``SIGNAL_REDIS_URL`` name is used as it is; what they leave open is started here.

    Parameters
    ----------
    home
        Everything is kept under it; one platform per home.
    settings
        Ports and the like.
    with_ui, with_workers, with_daemon, with_live_lane
        Which children there are.
    venue
        Arguments of ``python -m services.simulated_venue`` (``--port`` is added); the live lane is pointed at it.
    ui_port
        Default: ``settings.up.port``; 0: any free port.
    definitions_module
        Module with Dagster's definitions.
    extra_environment
        Variables for all children.
    commands
        Other commands for children, by name (used by tests).
    report
        Called with every line that is for the user.

    Examples
    --------
    >>> from resources.settings import load_settings
    >>> platform = Platform(Path(".signal"), load_settings(), with_live_lane=False)
    >>> platform.children()     # nothing runs before start()
    []
    """

    def __init__(
        self,
        home: Path,
        settings: Settings,
        *,
        with_ui: bool = True,
        with_workers: bool = True,
        with_daemon: bool = True,
        with_live_lane: bool = True,
        venue: Sequence[str] | None = None,
        ui_port: int | None = None,
        definitions_module: str = DEFAULT_DEFINITIONS,
        extra_environment: Mapping[str, str] | None = None,
        commands: Mapping[str, Sequence[str]] | None = None,
        report: Callable[[str], None] = print,
    ) -> None:
        self.home = home.expanduser().absolute()
        self._settings = settings
        self._with_ui = with_ui
        self._with_workers = with_workers
        self._with_daemon = with_daemon
        self._with_live_lane = with_live_lane
        self._venue = venue
        self._ui_port = settings.up.port if ui_port is None else ui_port
        self._definitions_module = definitions_module
        self._extra_environment = dict(extra_environment or {})
        self._commands = dict(commands or {})
        self._report = report
        self._lock: HomeLock | None = None
        self._supervisor: Supervisor | None = None
        self._addresses: Addresses | None = None
        self._stop_requested = StopRequest()
        self._former_handlers: dict[int, Any] = {}
        self.ui_url: str | None = None
        self.venue_url: str | None = None

    @property
    def addresses(self) -> Addresses:
        """Where the parts answer; known once :meth:`start` has come that far."""
        if self._addresses is None:
            raise PlatformError("the platform is not running")
        return self._addresses

    def children(self) -> list[ChildStatus]:
        """The state of every child."""
        return self._supervisor.children() if self._supervisor is not None else []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # -- start ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start everything and wait until it answers; on failure stop what was started.

        SIGINT and SIGTERM from now on mean :meth:`request_stop` (in the main thread).

        Raises
        ------
        PlatformError
            One line: the home is in use, a port is taken, a part does not start, an instrument that the simulated
            venue does not have.
        """
        perpetuals = [item.symbol for item in self._settings.instruments if item.symbol.endswith("-PERP")]
        if self._venue is not None and perpetuals:
            raise PlatformError(f"the simulated venue has no perpetuals: leave out {', '.join(perpetuals)}")
        prepare_home(self.home)
        lock = HomeLock(self.home)
        lock.acquire()
        self._lock = lock
        try:
            self._catch_signals()
            self._start_all()
        except BaseException:
            self.stop()
            raise

    def _start_all(self) -> None:
        ui_port = probes.free_port(self._ui_port, "--port") if self._with_ui else None
        for name in end_leftovers(self.home / STATUS_FILE, spared=("postgres", "redis")):
            self._report(f"ended {name} of a platform that was killed")
        supervisor = self._supervisor = Supervisor(self.home / STATUS_FILE, self._report)
        self._addresses = self._start_stores(supervisor)
        self._addresses.write()
        prepare_dagster_home(self.home)
        children = self._dagster_children(ui_port) + self._worker_children() + self._market_children()
        for child in children:
            supervisor.start(child)
            self._go_on()
        supervisor.wait_ready([child.name for child in children], READY_SECONDS, self._stop_requested)
        self._go_on()
        for line in self.address_lines():
            self._report(line)

    def _go_on(self) -> None:
        if self._stop_requested.is_set():
            raise StartInterruptedError("stopped while starting")

    def _start_stores(self, supervisor: Supervisor) -> Addresses:
        sockets, postgres_sockets = socket_folder(self.home), socket_folder(self.home, "postgres")
        given_redis = self._given("SIGNAL_REDIS_URL", sockets)
        if given_redis is None:
            redis = EmbeddedRedis(self.home / "redis", sockets, self._log("redis"))
            supervisor.start(redis)
            redis_url = redis.url
        else:
            check_redis(given_redis)
            redis_url = given_redis
        self._go_on()
        given_postgres = self._given("SIGNAL_POSTGRES_URL", postgres_sockets)
        if given_postgres is None:
            postgres = EmbeddedPostgres(self.home / "postgres", postgres_sockets)
            supervisor.start(postgres)
            postgres_url = postgres.url
        else:
            postgres_url = psycopg2_url(given_postgres)
            check_postgres(postgres_url)
        self._go_on()
        return Addresses(
            postgres_url=postgres_url,
            redis_url=redis_url,
            broker_url=self._given("SIGNAL_BROKER_URL", sockets) or broker_url_of(redis_url),
            lake_path=os.environ.get("SIGNAL_LAKE_PATH") or str(self.home / "lake"),
            home=self.home,
        )

    @staticmethod
    def _given(variable: str, own_sockets: Path) -> str | None:
        """An address from the environment, unless it is our own of an earlier ``eval "$(signals env)"``."""
        url = os.environ.get(variable)
        return None if not url or probes.points_into(url, own_sockets) else url

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **exports(self.addresses),
            "SIGNAL_DEFINITIONS_MODULE": self._definitions_module,
            "PYTHONUNBUFFERED": "1",
            "MALLOC_ARENA_MAX": "2",  # threads' arenas double the memory of Dagster's processes
            **self._extra_environment,
        }

    def _child(self, name: str, command: Sequence[str], **options: Any) -> ChildProcess:
        environment = self._environment() | options.pop("environment", {})
        command = self._commands.get(name, command)
        return ChildProcess(name, command, environment=environment, log=self._log(name), **options)

    def _dagster_children(self, ui_port: int | None) -> list[Child]:
        if not self._with_daemon and ui_port is None:
            return []  # nobody would ask the code server
        module = self._definitions_module
        code_socket = socket_folder(self.home) / "code.sock"
        workspace = str(write_workspace(self.home, code_socket, module))
        after = [sys.executable, "-m", "services.platform.after_socket", str(code_socket)]
        code_server = [sys.executable, "-m", "dagster", "api", "grpc", "--socket", str(code_socket)]
        code_server += ["--module-name", module, "--location-name", module, *_LOG_FORMAT]
        children: list[Child] = [
            self._child(
                "code_server",
                [*code_server, "--use-python-environment-entry-point"],
                is_ready=lambda _pid: probes.socket_answers(code_socket),
                stale_files=(code_socket,),
                grace=3.0,  # it keeps nothing, and would wait a minute for calls of clients that are gone
            )
        ]
        if self._with_daemon:
            command = [*after, "dagster._daemon", "run", "--workspace", workspace, *_LOG_FORMAT]
            children.append(self._child("daemon", command, is_ready=self._daemon_ready))
        if ui_port is not None:
            port = ui_port
            self.ui_url = f"http://{probes.LOOPBACK}:{port}"
            command = [*after, "dagster_webserver", "--host", probes.LOOPBACK, "--port", str(port)]
            command += ["--workspace", workspace, *_LOG_FORMAT]
            children.append(
                self._child(
                    "webserver",
                    command,
                    is_ready=lambda _pid: probes.http_answers(port, "/server_info"),
                    grace=5.0,
                )
            )
        return children

    def _daemon_ready(self, pid: int) -> bool:
        return probes.daemon_beats(self.addresses.postgres_url, pid)

    def _worker_children(self) -> list[Child]:
        if not self._with_workers:
            return []
        return [
            self._worker("worker_tactical", (TACTICAL,), processes=1),
            # A process for each queue, so that maintenance does not wait for a back-fill; what is live goes first.
            self._worker("worker_background", (BACKFILL, MAINTENANCE), processes=2, niceness=10),
        ]

    def _worker(self, name: str, queues: Sequence[str], processes: int, niceness: int = 0) -> Child:
        command = worker_command(name, queues, processes)
        return self._child(name, command, **worker_options(self.home, name, niceness))

    def _market_children(self) -> list[Child]:
        children: list[Child] = []
        venue_environment: dict[str, str] = {}
        if self._venue is not None:
            port = probes.free_port(0, "")
            self.venue_url = f"http://{probes.LOOPBACK}:{port}"
            venue_environment = {
                "SIGNAL_VENUE__REST_URL": self.venue_url,
                "SIGNAL_VENUE__STREAM_URL": f"ws://{probes.LOOPBACK}:{port}",
            }
            children.append(
                self._child(
                    "simulated_venue",
                    [sys.executable, "-m", "services.simulated_venue", *self._venue, "--port", str(port)],
                    is_ready=lambda _pid: probes.port_answers(port),
                    may_finish=True,
                )
            )
        if self._with_live_lane:
            reports_to = {"SIGNAL_WEBSERVER_URL": self.ui_url} if self.ui_url else {}
            children.append(
                self._child(
                    "live_lane",
                    [sys.executable, "-m", "services.live_lane"],
                    environment=venue_environment | reports_to,
                    may_finish=True,
                )
            )
        return children

    def address_lines(self) -> list[str]:
        """What answers where, a line each, without passwords."""
        addresses, live = self.addresses, self._settings.live
        lines = [("Dagster UI", self.ui_url)] if self.ui_url else []
        lines += [
            ("PostgreSQL", probes.without_password(addresses.postgres_url)),
            ("Redis", probes.without_password(addresses.redis_url)),
            ("broker", probes.without_password(addresses.broker_url)),
            ("lake", addresses.lake_path),
            ("home", str(self.home)),
        ]
        if self.venue_url:
            lines.append(("venue", self.venue_url))
        if self._with_live_lane:
            for name, port in (("metrics", live.metrics_port), ("health", live.health_port)):
                if port:
                    lines.append((name, f"http://{probes.LOOPBACK}:{port}/{name}"))
        return [f"{name:<11} {value}" for name, value in lines]

    # -- stop ----------------------------------------------------------------------------------------------------

    def request_stop(self) -> None:
        """Let :meth:`wait` return; may be called from anywhere."""
        self._stop_requested.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until somebody wants the platform to stop; True if so, False after ``timeout`` seconds."""
        return self._stop_requested.wait(timeout)

    def stop(self) -> None:
        """Stop everything in order and release the home. Harmless when nothing runs."""
        if self._supervisor is not None:
            self._supervisor.stop(_STOP_ORDER)
            self._supervisor = None
            self._addresses = None
            (self.home / ADDRESSES_FILE).unlink(missing_ok=True)
            (self.home / STATUS_FILE).unlink(missing_ok=True)
            self._remove_temporary_sockets()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        self._leave_signals()

    def _remove_temporary_sockets(self) -> None:
        for name in ("run", "postgres"):
            folder = socket_folder(self.home, name)
            if self.home not in folder.parents:
                with suppress(OSError):
                    folder.rmdir()

    def _catch_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._former_handlers[number] = signal.signal(number, self._signalled)

    def _leave_signals(self) -> None:
        for number, handler in self._former_handlers.items():
            signal.signal(number, handler)
        self._former_handlers.clear()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self.request_stop()
