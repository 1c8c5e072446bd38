import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from services.platform import supervisor as supervisor_module
from services.platform.child_process import ChildProcess
from services.platform.errors import PlatformError
from services.platform.stop_request import StopRequest
from services.platform.supervisor import ChildStatus, Supervisor, end_leftovers, rotate

pytestmark = pytest.mark.slow

Make = Callable[..., ChildProcess]


def eventually(question: Callable[[], object], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def child(name: str, program: str, **options: object) -> ChildProcess:
        command = [sys.executable, "-u", "-c", program]
        environment = dict(os.environ)
        return ChildProcess(name, command, environment=environment, log=tmp_path / f"{name}.log", **options)  # type: ignore[arg-type]

    return child


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr(supervisor_module, "FIRST_PAUSE", 0.05)
    watching = Supervisor(tmp_path / "processes.json", lines.append)
    yield watching
    watching.stop([])


def status_of(supervisor: Supervisor, name: str) -> ChildStatus:
    return {child.name: child for child in supervisor.children()}[name]


SLEEPER = "import time\nprint('up')\ntime.sleep(600)"
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid)
time.sleep(600)
"""


def test_a_killed_child_comes_back_and_its_own_children_go(
    supervisor: Supervisor, make: Make, lines: list[str], tmp_path: Path
) -> None:
    child = make("family", FAMILY)
    supervisor.start(child)
    log = tmp_path / "family.log"
    eventually(lambda: log.read_text().strip())
    grandchild, first = int(log.read_text()), child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    eventually(lambda: child.pid != first and status_of(supervisor, "family").state == "running")
    assert gone(grandchild)
    status = status_of(supervisor, "family")
    assert (status.restarts, status.reason) == (1, "killed by SIGKILL")
    assert lines == ["family ended (killed by SIGKILL), starts again in 0.05 s"]
    recorded = json.loads((tmp_path / "processes.json").read_text())
    assert [(entry["name"], entry["pid"], entry["restarts"]) for entry in recorded] == [("family", child.pid, 1)]


def test_a_child_that_keeps_failing_waits_longer_and_longer(
    supervisor: Supervisor, make: Make, lines: list[str]
) -> None:
    supervisor.start(make("broken", "raise SystemExit(3)"))
    eventually(lambda: len(lines) >= 4)
    assert lines[:4] == [
        f"broken ended (exit status 3), starts again in {pause} s" for pause in ("0.05", "0.1", "0.2", "0.4")
    ]


def test_waiting_for_a_child_that_does_not_start_says_why(supervisor: Supervisor, make: Make) -> None:
    supervisor.start(make("broken", "print('first')\nraise SystemExit('no such module')", is_ready=lambda _pid: False))
    with pytest.raises(PlatformError, match=r"^broken does not start \(exit status 1\): no such module \(more in "):
        supervisor.wait_ready(["broken"], 30, StopRequest())


def test_waiting_has_an_end(supervisor: Supervisor, make: Make) -> None:
    supervisor.start(make("slow", SLEEPER, is_ready=lambda _pid: False))
    with pytest.raises(PlatformError, match=r"^slow was not ready within 0 s: "):
        supervisor.wait_ready(["slow"], 0.4, StopRequest())


def test_waiting_is_given_up_when_somebody_stops_the_platform(supervisor: Supervisor, make: Make) -> None:
    supervisor.start(make("slow", SLEEPER, is_ready=lambda _pid: False))
    interrupted = StopRequest()
    threading.Timer(0.2, interrupted.set).start()
    supervisor.wait_ready(["slow"], 30, interrupted)
    assert status_of(supervisor, "slow").state == "starting"


def test_a_child_whose_work_is_done_is_left_alone(supervisor: Supervisor, make: Make, lines: list[str]) -> None:
    supervisor.start(make("replay", "print('all read')", may_finish=True))
    eventually(lambda: status_of(supervisor, "replay").state == "finished")
    time.sleep(0.5)
    assert status_of(supervisor, "replay").restarts == 0
    assert lines == ["replay is done"]


def test_children_are_stopped_in_order_and_the_stubborn_killed(
    supervisor: Supervisor, make: Make, lines: list[str], tmp_path: Path
) -> None:
    polite = (
        "import signal, sys, time, pathlib\n"
        "def end(*_):\n"
        "    pathlib.Path({0!r}).write_text(repr(time.time())); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('up')\ntime.sleep(600)"
    )
    stubborn = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up')\ntime.sleep(600)"
    first = make("first", polite.format(str(tmp_path / "first")))
    second = make("second", polite.format(str(tmp_path / "second")))
    third = make("third", stubborn, grace=0.5)
    for child in (second, first, third):
        supervisor.start(child)
    eventually(lambda: all((tmp_path / f"{name}.log").read_text() == "up\n" for name in ("first", "second", "third")))
    supervisor.stop([("first",), ("third",)])
    assert float((tmp_path / "first").read_text()) + 0.5 <= float((tmp_path / "second").read_text())
    assert all(child.pid is not None and gone(child.pid) for child in (first, second, third))
    assert lines == ["third did not end within 0.5 s and was killed"]


def test_children_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    program = f"""
import os, sys, time
from pathlib import Path
from services.platform.child_process import ChildProcess
from services.platform.stop_request import StopRequest
from services.platform.supervisor import Supervisor
folder = Path({str(tmp_path)!r})
supervisor = Supervisor(folder / "processes.json")
child = ChildProcess("child", [sys.executable, "-c", "import time; time.sleep(600)"], environment=dict(os.environ),
                     log=folder / "log")
supervisor.start(child)
print(child.pid, flush=True)
time.sleep(600)
"""
    killed = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    child = int(killed.stdout.readline())
    eventually(lambda: psutil.Process(child).cmdline()[1:] == ["-c", "import time; time.sleep(600)"], 60)
    killed.kill()
    killed.wait()
    if sys.platform == "linux":
        eventually(lambda: gone(child), 60)
    end_leftovers(tmp_path / "processes.json")
    assert gone(child)


def test_leftovers_are_ended_only_if_they_are_the_very_processes(tmp_path: Path) -> None:
    ours, stranger, spared = (subprocess.Popen(["sleep", "60"]) for _ in range(3))
    try:
        born = psutil.Process(ours.pid).create_time()
        entries = [
            {"name": "ours", "pid": ours.pid, "created": born},
            {"name": "reused", "pid": stranger.pid, "created": psutil.Process(stranger.pid).create_time() - 100},
            {"name": "redis", "pid": spared.pid, "created": psutil.Process(spared.pid).create_time()},
            {"name": "dead", "pid": 2**22 - 1, "created": born},
        ]
        (tmp_path / "processes.json").write_text(json.dumps(entries))
        assert end_leftovers(tmp_path / "processes.json", spared=("redis",)) == ["ours"]
        assert gone(ours.pid)
        assert stranger.poll() is None
        assert spared.poll() is None
    finally:
        for process in (ours, stranger, spared):
            process.kill()
            process.wait()


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 1}', '[{"name": "x"}]', '[{"name": "x", "pid": "1"}]'])
def test_an_unreadable_status_file_is_no_obstacle(tmp_path: Path, content: str) -> None:
    (tmp_path / "processes.json").write_text(content)
    assert end_leftovers(tmp_path / "processes.json") == []


def test_a_full_log_is_moved_on_while_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with log.open("ab", buffering=0) as writer:
        for round_number in range(4):
            writer.write(f"{round_number}".encode() * 10)
            assert rotate(log, limit=10, keep=2)
        writer.write(b"now")
    assert log.read_bytes() == b"now"
    assert not rotate(log, limit=10, keep=2)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path != log} == {
        "x.log.1": b"3" * 10,
        "x.log.2": b"2" * 10,
    }


def test_a_child_may_stand_back_for_the_others(make: Make) -> None:
    family = "import os, subprocess, sys\nprint(os.nice(0))\nsubprocess.run(['nice'])\n"
    nice, plain = make("nice", f"import time; time.sleep(0.5)\n{family}", niceness=7), make("plain", family)
    for child in (nice, plain):
        child.start()
        assert child.pid is not None
        psutil.wait_procs([psutil.Process(child.pid)], timeout=20)
        assert not child.alive()
    own = os.nice(0)
    assert nice.log.read_text().split() == [str(own + 7)] * 2  # itself and what it starts
    assert plain.log.read_text().split() == [str(own)] * 2
