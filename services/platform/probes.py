"""Questions to a starting platform: does it answer, is the port free, whose address is this.

Belongs here: short checks without side effects. Does not belong here: waiting and deciding (``supervisor``,
``platform``).
"""

import errno
import http.client
import socket
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

import psutil
import psycopg2

from services.platform.errors import PlatformError

LOOPBACK: Final = "127.0.0.1"
_PATIENCE: Final = 2.0


def free_port(wanted: int, option: str) -> int:
    """``wanted`` if nobody listens there; any free one for 0.

    Raises
    ------
    PlatformError
        If it is taken; names the option that chooses another.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError as error:
            taken = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise PlatformError(f"port {wanted} on {LOOPBACK} {taken}: choose another with {option}") from None
        return int(probe.getsockname()[1])


def port_answers(port: int) -> bool:
    """Whether something accepts connections on the loopback port."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=_PATIENCE).close()
    except OSError:
        return False
    return True


def socket_answers(path: Path) -> bool:
    """Whether something accepts connections on the unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PATIENCE)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def http_answers(port: int, path: str) -> bool:
    """Whether the loopback port answers ``GET path`` with 200."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def ready_file_names(path: Path, pid: int) -> bool:
    """Whether the process has written its id into its ready file."""
    try:
        return path.read_text("ascii").strip() == str(pid)
    except OSError:
        return False


def daemon_beats(postgres_url: str, pid: int) -> bool:
    """Whether Dagster's daemon has written a heartbeat since the process ``pid`` began."""
    try:
        born = psutil.Process(pid).create_time()
        connection = psycopg2.connect(libpq_url(postgres_url), connect_timeout=2)
    except (psutil.Error, psycopg2.Error):
        return False
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('daemon_heartbeats') IS NOT NULL")
            if cursor.fetchone() != (True,):  # before the very first start has made the table
                return False
            cursor.execute(
                "SELECT count(*) > 0 FROM daemon_heartbeats "
                "WHERE daemon_type = 'SENSOR' AND timestamp AT TIME ZONE 'UTC' >= to_timestamp(%s)",
                (born,),
            )
            return cursor.fetchone() == (True,)
    except psycopg2.Error:
        return False
    finally:
        connection.close()


def libpq_url(postgres_url: str) -> str:
    """The address as libpq takes it, without SQLAlchemy's driver.

    Examples
    --------
    >>> libpq_url("postgresql+psycopg2://postgres:@/signals?host=/tmp/home/postgres")
    'postgresql://postgres:@/signals?host=/tmp/home/postgres'
    """
    scheme, separator, rest = postgres_url.partition("://")
    return f"{scheme.partition('+')[0]}{separator}{rest}"


def points_into(url: str, folder: Path) -> bool:
    """Whether an address names a socket in ``folder``.

    Examples
    --------
    >>> points_into("redis+socket:///tmp/my%20home/run/redis.sock?virtual_host=1", Path("/tmp/my home/run"))
    True
    >>> points_into("redis://bus.example/0", Path("/tmp/my home/run"))
    False
    """
    parts = urlsplit(url)
    return str(folder) in unquote(parts.path) or str(folder) in unquote(parts.query)


def without_password(url: str) -> str:
    """An address that may be shown.

    Examples
    --------
    >>> without_password("redis://user:secret@bus.example:6379/0")
    'redis://user:***@bus.example:6379/0'
    """
    parts = urlsplit(url)
    if not parts.password:
        return url
    credentials, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials.partition(':')[0]}:***@{host}"))
