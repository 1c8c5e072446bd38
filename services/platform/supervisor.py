"""Keeps children alive: a child that ended is started again after a growing pause.

Belongs here: watching, backoff, rotation of log files, stopping in order, the status file.
Does not belong here: what the children are (``platform``).
"""

import json
import logging
import queue
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil

from services.platform.child_process import Child
from services.platform.errors import PlatformError
from services.platform.stop_request import StopRequest

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 10.0
CALM_AFTER: Final = 60.0
_LOOK_EVERY: Final = 0.2
_LOG_LOOK_EVERY: Final = 15.0
_LOG_LIMIT: Final = 100_000_000
_LOGS_KEPT: Final = 10

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """How a child is doing."""

    name: str
    state: str
    """``starting``, ``running``, ``waiting`` (for its next start), ``finished`` (work done) or ``stopped``."""
    pid: int | None
    restarts: int
    reason: str
    """Why it was started again last; empty if it never was."""


@dataclass(slots=True)
class _Watched:
    child: Child
    started: float
    state: str = "starting"
    restarts: int = 0
    failures: int = 0
    next_start: float = 0.0
    reason: str = ""

    def status(self) -> ChildStatus:
        return ChildStatus(self.child.name, self.state, self.child.pid, self.restarts, self.reason)


def pause_before(failures: int) -> float:
    """Seconds before the next start after ``failures`` ends in a row.

    Examples
    --------
    >>> [pause_before(failures) for failures in (1, 2, 3, 6, 100)]
    [0.5, 1.0, 2.0, 10.0, 10.0]
    """
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))


class Supervisor:
    """Watches children from one thread, which also starts them again.

    Parameters
    ----------
    status_file
        Where the state of all children is written whenever it changes; the processes of a supervisor that was
        killed are found through it.
    report
        Called with one line whenever a child ended or came back.
    """

    def __init__(self, status_file: Path, report: Callable[[str], None] | None = None) -> None:
        self._status_file = status_file
        self._report = report or _logger.warning
        self._watched: list[_Watched] = []
        self._wanted: queue.Queue[tuple[Child, Future[None]]] = queue.Queue()
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._next_log_look = time.monotonic() + _LOG_LOOK_EVERY
        self._written = ""

    def start(self, child: Child) -> None:
        """Launch a child and watch it from now on.

        Raises
        ------
        PlatformError
            If the very first start does not work.
        """
        started: Future[None] = Future()
        self._wanted.put((child, started))
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
            self._thread.start()
        started.result()

    def children(self) -> list[ChildStatus]:
        """The state of all children, in the order they were started."""
        with self._lock:
            return [watched.status() for watched in self._watched]

    def wait_ready(self, names: Sequence[str], timeout: float, interrupted: StopRequest) -> None:
        """Wait until the named children do their work.

        Raises
        ------
        PlatformError
            If one ended three times, or is not ready after ``timeout`` seconds; with the last line of its log.
        """
        deadline = time.monotonic() + timeout
        waiting = [watched for watched in self._watched if watched.child.name in names]
        while waiting := [watched for watched in waiting if not self._is_ready(watched)]:
            if failed := [watched for watched in waiting if watched.failures >= 3]:
                name, reason = failed[0].child.name, failed[0].reason
                raise PlatformError(f"{name} does not start ({reason}): {_last_words(failed[0].child.log)}")
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"{waiting[0].child.name} was not ready within {timeout:.0f} s: {_last_words(waiting[0].child.log)}"
                )
            if interrupted.wait(0.1):
                return

    def _is_ready(self, watched: _Watched) -> bool:
        with self._lock:
            if watched.state == "running":
                return True
        ready = watched.child.alive() and watched.child.ready()
        if ready:
            with self._lock:
                watched.state = "running"
                self._write_status()
        return ready

    def _watch(self) -> None:
        # All children are started by this thread: they are bound to it, so it has to stay until they were stopped.
        while not self._stopping.is_set():
            with suppress(queue.Empty):
                self._start_first(*self._wanted.get(timeout=_LOOK_EVERY))
            for watched in list(self._watched):
                try:
                    self._look_at(watched)
                except Exception:  # the watchman must not fall asleep over one child
                    _logger.exception("watching %s failed", watched.child.name)
            if time.monotonic() >= self._next_log_look:
                self._next_log_look = time.monotonic() + _LOG_LOOK_EVERY
                for watched in list(self._watched):
                    rotate(watched.child.log)
        self._ended.wait()

    def _start_first(self, child: Child, started: "Future[None]") -> None:
        try:
            child.start()
        except Exception as error:
            started.set_exception(error)
            return
        with self._lock:
            self._watched.append(_Watched(child, time.monotonic()))
            self._write_status()
        started.set_result(None)

    def _look_at(self, watched: _Watched) -> None:
        now = time.monotonic()
        child = watched.child
        if watched.state == "finished":
            return
        if watched.state == "waiting":
            if now >= watched.next_start and not self._stopping.is_set():
                self._start_again(watched)
        elif not child.alive():
            self._has_ended(watched, now)
        elif watched.state == "starting":
            self._is_ready(watched)
        elif watched.failures and now - watched.started > CALM_AFTER:
            watched.failures = 0

    def _has_ended(self, watched: _Watched, now: float) -> None:
        if self._stopping.is_set():
            return
        if watched.child.finished():
            with self._lock:
                watched.state = "finished"
                self._write_status()
            self._report(f"{watched.child.name} is done")
        else:
            self._failed(watched, watched.child.exit_text(), now)

    def _failed(self, watched: _Watched, reason: str, now: float) -> None:
        if now - watched.started > CALM_AFTER:
            watched.failures = 0
        watched.failures += 1
        pause = pause_before(watched.failures)
        with self._lock:
            watched.state, watched.reason, watched.next_start = "waiting", reason, now + pause
            self._write_status()
        self._report(f"{watched.child.name} ended ({reason}), starts again in {pause:g} s")

    def _start_again(self, watched: _Watched) -> None:
        watched.started = time.monotonic()
        watched.restarts += 1
        try:
            watched.child.start()
        except (PlatformError, OSError) as error:
            self._failed(watched, str(error), time.monotonic())
            return
        with self._lock:
            watched.state = "starting"
            self._write_status()

    def stop(self, order: Sequence[Sequence[str]]) -> None:
        """Stop all children: wave by wave as named in ``order``, whoever is not named last."""
        self._stopping.set()
        with self._lock:
            left = {watched.child.name: watched for watched in self._watched}
        for wave in [*order, list(left)]:
            self._stop_wave([left.pop(name) for name in list(wave) if name in left])
        with self._lock:
            self._write_status()
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _stop_wave(self, wave: list[_Watched]) -> None:
        asked = time.monotonic()
        for watched in wave:
            watched.child.terminate()
        while any(w.child.alive() and time.monotonic() - asked < w.child.grace for w in wave):
            time.sleep(0.02)
        for watched in wave:
            if watched.child.alive():
                self._report(f"{watched.child.name} did not end within {watched.child.grace:g} s and was killed")
                watched.child.kill()
            with self._lock:
                watched.state = "stopped"

    def _write_status(self) -> None:
        content = json.dumps([asdict(watched.status()) | {"created": _created(watched)} for watched in self._watched])
        if content != self._written:
            temporary = self._status_file.with_suffix(".new")
            temporary.touch(mode=0o600)
            temporary.write_text(content + "\n", "utf-8")
            temporary.replace(self._status_file)
            self._written = content


def _created(watched: _Watched) -> float | None:
    if watched.child.pid is None or watched.state in {"waiting", "finished", "stopped"}:
        return None
    try:
        return psutil.Process(watched.child.pid).create_time()
    except psutil.Error:
        return None


def _last_words(log: Path) -> str:
    """The last line of a log, the message alone where the line is JSON."""
    try:
        with log.open("rb") as content:
            content.seek(max(0, log.stat().st_size - 4_000))
            lines = [line.strip() for line in content.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    if not lines:
        return f"see {log}"
    with suppress(ValueError, TypeError, KeyError):
        return f"{json.loads(lines[-1])['event']} (more in {log})"
    return f"{lines[-1][:300]} (more in {log})"


def end_leftovers(status_file: Path, spared: Sequence[str] = ()) -> list[str]:
    """End processes of a supervisor that was killed and could not do it; returns their names.

    A process is only touched if its id and its time of creation are the ones written down. Those named in
    ``spared`` have gentler ways to be taken over.
    """
    try:
        recorded = json.loads(status_file.read_text("utf-8"))
        candidates = [(str(entry["name"]), entry["pid"], entry.get("created")) for entry in recorded]
    except (OSError, ValueError, TypeError, KeyError):
        return []
    ended: list[str] = []
    for name, pid, created in candidates:
        if name in spared or not isinstance(pid, int) or not isinstance(created, int | float):
            continue
        try:
            process = psutil.Process(pid)
            if abs(process.create_time() - created) > 0.05:
                continue
            family = [process, *process.children(recursive=True)]
        except psutil.Error:
            continue
        for member in family:
            try:
                member.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(family, timeout=5)
        ended.append(name)
    status_file.unlink(missing_ok=True)
    return ended


def rotate(log: Path, limit: int = _LOG_LIMIT, keep: int = _LOGS_KEPT) -> bool:
    """Copy a log that has grown beyond ``limit`` bytes to ``<log>.1`` (older ones move on) and empty it.

    The writer keeps its file open in append mode, so it goes on at the start of the emptied file.
    """
    try:
        if log.stat().st_size < limit:
            return False
        log.with_name(f"{log.name}.{keep}").unlink(missing_ok=True)
        for number in range(keep - 1, 0, -1):
            older = log.with_name(f"{log.name}.{number}")
            if older.exists():
                older.replace(log.with_name(f"{log.name}.{number + 1}"))
        shutil.copyfile(log, log.with_name(f"{log.name}.1"))
        with log.open("r+b") as emptied:
            emptied.truncate(0)
    except OSError as error:
        _logger.warning("%s cannot be rotated: %s", log, error)
        return False
    return True
