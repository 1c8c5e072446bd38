"""Makes the faults of a plan happen to a running platform.

Belongs here: signals, cuts, disk and clock, and when each began and ended. Does not belong here: what must hold
afterwards (``checks``).
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import psutil
import psycopg2
import redis

from resources.addresses import Addresses
from services.platform.platform import Platform
from services.platform.probes import libpq_url
from tests.faults.fault import EVERYTHING, PROCESSES, Fault, Kind, Plan
from tests.faults.small_disk import SmallDisk
from tests.faults.switches import Moment, Switches, Write
from tests.faults.venue_proxy import VenueProxy

WRITE_OF: Final[dict[str, Write]] = {"live_lane": "flush", "worker_tactical": "commit"}
WORD_OF: Final = {"live_lane": "services.live_lane", "worker_tactical": "worker_tactical@"}
"""A word of the command line."""
LONGEST_WAIT: Final = 90.0
"""For a write to come by, or a process to be there: it may be recovering from the fault before."""
LOOK_SECONDS: Final = 0.05


class TargetOverError(RuntimeError):
    """What was to be disturbed has done its work and is gone: the recording is over."""


@dataclass(frozen=True)
class Happened:
    """A fault that took place; times in seconds UTC, by the real clock."""

    fault: Fault
    began: float
    ended: float


class Injector:
    """Runs a plan in a thread of its own, so that a server that hangs does not hold it up.

    Parameters
    ----------
    platform, proxy, switches, disk
        What it disturbs; without ``disk`` there is no full one.
    """

    def __init__(
        self, platform: Platform, proxy: VenueProxy, switches: Switches, disk: SmallDisk | None, plan: Plan
    ) -> None:
        self._platform = platform
        self._addresses: Addresses = platform.addresses
        self._proxy = proxy
        self._switches = switches
        self._disk = disk
        self._plan = plan
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faults", daemon=True)
        self.happened: list[Happened] = []
        self.skipped: list[Fault] = []
        self.error: BaseException | None = None

    def start(self) -> None:
        """The plan's time begins now."""
        self._began = time.monotonic()
        self._thread.start()

    def over(self) -> bool:
        """Whether everything has happened.

        Raises
        ------
        RuntimeError
            If a fault could not be made to happen.
        """
        if self.error is not None:
            raise RuntimeError(f"the fault could not be made to happen: {self.error}") from self.error
        return not self._thread.is_alive()

    def stop(self) -> None:
        """No more faults; whatever is under way ends first."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=60)

    def _run(self) -> None:
        try:
            for fault in self._plan.faults:
                if self._stopped.wait(max(0.0, self._began + fault.at - time.monotonic())):
                    return
                try:
                    self.happened.append(self._happen(fault))
                except TargetOverError:
                    self.skipped.append(fault)
        except Exception as error:  # told by over(), in the thread that waits
            self.error = error

    def _happen(self, fault: Fault) -> Happened:
        began = time.time()
        if fault.kind is Kind.KILL:
            self._kill(fault.target)
        elif fault.kind in (Kind.KILL_BEFORE_WRITE, Kind.KILL_AFTER_WRITE):
            began = self._signal_at_write(fault, signal.SIGKILL)
        elif fault.kind is Kind.PAUSE:
            self._pause(self._families(fault.target), fault.seconds)
        elif fault.kind is Kind.PAUSE_IN_WRITE:
            stopped = self._families(fault.target)
            began = self._signal_at_write(fault, signal.SIGSTOP)
            self._pause(stopped, fault.seconds)
        elif fault.kind is Kind.CUT:
            self._cut(fault.target, fault.seconds)
        elif fault.kind is Kind.FULL_DISK:
            assert self._disk is not None
            self._disk.fill()
            time.sleep(fault.seconds)
            self._disk.free()
        elif fault.kind is Kind.SLOW_DISK:
            self._switches.set_number("slow_disk", 1.0)
            time.sleep(fault.seconds)
            self._switches.set_number("slow_disk", 0.0)
        else:
            self._switches.set_number("clock", fault.seconds)
        return Happened(fault, began, time.time())

    # -- processes -----------------------------------------------------------------------------------------------

    def _targets(self, target: str) -> Sequence[str]:
        return PROCESSES if target == EVERYTHING else (target,)

    def _is_over(self, name: str) -> bool:
        return any(child.name == name and child.state == "finished" for child in self._platform.children())

    def _main(self, name: str) -> psutil.Process:
        """The main process of a child; waited for, if it is just being started again."""
        deadline = time.monotonic() + LONGEST_WAIT
        while True:
            if self._is_over(name):
                raise TargetOverError(name)
            for child in self._platform.children():
                if child.name == name and child.pid is not None:
                    with contextlib.suppress(psutil.Error):
                        process = psutil.Process(child.pid)
                        if process.status() != psutil.STATUS_ZOMBIE:
                            return process
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} is not there")
            time.sleep(LOOK_SECONDS)

    def _families(self, target: str) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for name in self._targets(target):
            if target == EVERYTHING and self._is_over(name):
                continue
            main = self._main(name)
            with contextlib.suppress(psutil.Error):
                found += [main, *main.children(recursive=True)]
        return found

    def _kill(self, target: str) -> None:
        # Of PostgreSQL the postmaster alone, unless everything goes: its own processes have to notice by themselves.
        doomed = [self._main("postgres")] if target == "postgres" else self._families(target)
        _send(doomed, signal.SIGKILL)

    def _pause(self, processes: Sequence[psutil.Process], seconds: float) -> None:
        _send(processes, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            _send(processes, signal.SIGCONT)

    def _signal_at_write(self, fault: Fault, number: signal.Signals) -> float:
        write = WRITE_OF[fault.target]
        moment: Moment = "after" if fault.kind is Kind.KILL_AFTER_WRITE else "before"
        self._switches.order(write, WORD_OF[fault.target], moment, number)
        _within(LONGEST_WAIT, lambda: self._switches.taken(write) or self._is_over(fault.target))
        if not self._switches.taken(write):
            self._switches.withdraw(write)
            raise TargetOverError(f"{fault.target} has nothing to write any more")
        return time.time()

    # -- connections ---------------------------------------------------------------------------------------------

    def _cut(self, target: str, seconds: float) -> None:
        if target == "redis":
            with redis.Redis.from_url(self._addresses.redis_url, socket_timeout=5) as client:
                for kind in ("normal", "pubsub"):
                    client.client_kill_filter(_type=kind, skipme=True)
        elif target == "postgres":
            connection = psycopg2.connect(libpq_url(self._addresses.postgres_url), connect_timeout=5)
            try:
                connection.cursor().execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
            finally:
                connection.close()
        else:
            self._proxy.cut_for(seconds)


def _send(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if process.is_running():
                os.kill(process.pid, number)


def _within(seconds: float, true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True
