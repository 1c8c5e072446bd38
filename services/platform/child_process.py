"""One child of the platform: a command in a process group of its own, with a log file.

Belongs here: starting, asking and stopping a process. Does not belong here: when to do so (``supervisor``).
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

_BOUND_TO_PARENT: Final = Path(__file__).with_name("bound_to_parent.py")


class Child(Protocol):
    """What the supervisor can watch: a process or a service made of several."""

    @property
    def name(self) -> str:
        """One word, used in messages and for the log file."""
        ...

    @property
    def pid(self) -> int | None:
        """The main process, if one was started."""
        ...

    @property
    def log(self) -> Path:
        """Where it writes."""
        ...

    @property
    def grace(self) -> float:
        """Seconds it gets to end by itself when it is stopped."""
        ...

    def start(self) -> object:
        """Launch it; a PlatformError says why that was not possible."""
        ...

    def alive(self) -> bool:
        """Whether its main process lives."""
        ...

    def ready(self) -> bool:
        """Whether it does its work; only asked while it is alive."""
        ...

    def terminate(self) -> None:
        """Ask it to end; returns at once."""
        ...

    def kill(self) -> None:
        """End it and everything it started, now."""
        ...

    def finished(self) -> bool:
        """Whether it ended because its work is done, so that it shall not come back; asked when it is not alive."""
        ...

    def exit_text(self) -> str:
        """How it ended, for people."""
        ...


class ChildProcess:
    """A command, started in a session of its own and bound to the life of this process.

    Parameters
    ----------
    name
        For messages and the log.
    command
        Program and arguments.
    environment
        The whole environment of the child.
    log
        File its output is appended to.
    is_ready
        Asked with the process id; None: ready as soon as it lives.
    stale_files
        Removed before each start: sockets and ready files of a predecessor.
    grace
        Seconds between SIGTERM and SIGKILL.
    may_finish
        Exit status 0 means that the work is done; otherwise a child has no business ending.
    niceness
        0…19: how far it stands back for the others where there are fewer cores than work.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        is_ready: Callable[[int], bool] | None = None,
        stale_files: Sequence[Path] = (),
        grace: float = 10.0,
        may_finish: bool = False,
        niceness: int = 0,
    ) -> None:
        self.name = name
        self.command = tuple(command)
        self.log = log
        self.grace = grace
        self._environment = dict(environment)
        self._is_ready = is_ready
        self._stale_files = tuple(stale_files)
        self._may_finish = may_finish
        self._niceness = niceness
        self._process: subprocess.Popen[bytes] | None = None
        self._reaping = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Process id of the running (or last) process."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Launch the command. Call it from a thread that lives as long as the child shall."""
        for path in self._stale_files:
            path.unlink(missing_ok=True)
        bound = [sys.executable, "-I", "-S", str(_BOUND_TO_PARENT), str(os.getpid()), *self.command]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                bound,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if self._niceness:
            with suppress(ProcessLookupError, PermissionError):  # it says itself why it is gone
                os.setpriority(os.PRIO_PROCESS, self._process.pid, self._niceness)

    def alive(self) -> bool:
        """Whether the process lives. When it has ended, what is left of its group is ended too."""
        process = self._process
        if process is None:
            return False
        with self._reaping:
            if process.returncode is not None:
                return False
            # Looked at without taking it away: while the leader is a zombie its group id cannot be reused, so
            # the kill below can only reach its own orphans (a worker's processes, say).
            try:
                if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    return True
                self._kill_group(process.pid)
            except ChildProcessError:  # somebody else has collected it
                pass
            process.wait()
            return False

    def ready(self) -> bool:
        """Whether it answers."""
        return self._is_ready is None or (self.pid is not None and self._is_ready(self.pid))

    def terminate(self) -> None:
        """Send SIGTERM to the main process; its own children are its business."""
        if self.alive() and self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL to the whole group and collect it."""
        if self.alive() and self._process is not None:
            self._kill_group(self._process.pid)
            self._process.wait()

    @staticmethod
    def _kill_group(leader: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)

    def finished(self) -> bool:
        """Whether it ended with status 0 and may."""
        return self._may_finish and self._process is not None and self._process.returncode == 0

    def exit_text(self) -> str:
        """``exit status 1`` or ``killed by SIGKILL``."""
        code = self._process.returncode if self._process else None
        if code is None:
            return "is running"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
