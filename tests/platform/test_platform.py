import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
import redis
import requests
from dagster import DagsterInstance, RunRecord, RunsFilter

from resources.addresses import Addresses
from resources.run_queues import BACKFILL, MAINTENANCE
from resources.settings import load_settings
from services.platform.environment import exports
from services.platform.errors import HomeInUseError, PlatformError
from services.platform.platform import Platform
from services.platform.probes import libpq_url, without_password

pytestmark = pytest.mark.slow

STAND_IN = """
import os, time
print(os.environ.get("SIGNAL_WEBSERVER_URL"), flush=True)
time.sleep(600)
"""


@dataclass
class Running:
    """A running platform, the folder its sensor watches and Dagster's side of it."""

    platform: Platform
    folder: Path
    instance: DagsterInstance
    lines: list[str] = field(default_factory=list)

    def wish(self, name: str, **how: object) -> None:
        (self.folder / f"{name}.wanted").write_text(json.dumps(how))

    def started(self, name: str, seconds: float = 60) -> dict[str, Any]:
        path = self.folder / f"{name}.started"
        eventually(lambda: path.exists() and path.read_text(), seconds)
        note: dict[str, Any] = json.loads(path.read_text())
        return note

    def record(self, name: str) -> RunRecord | None:
        records = self.instance.get_run_records(RunsFilter(tags={"wish": name}))
        return records[0] if records else None

    def ends_as(self, name: str, status: str, seconds: float = 60) -> RunRecord:
        eventually(lambda: (record := self.record(name)) and record.dagster_run.is_finished, seconds)
        record = self.record(name)
        assert record is not None
        assert record.dagster_run.status.value == status
        return record

    def pid(self, child: str) -> int:
        pid = {status.name: status.pid for status in self.platform.children()}[child]
        assert pid is not None
        return pid


def eventually(question: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    # Not pytest's folder: under root PostgreSQL runs as another user, whom a second pytest would lock out of it.
    with tempfile.TemporaryDirectory(prefix="signals_test_") as folder:
        (Path(folder) / "wishes").mkdir()
        yield Path(folder)


@pytest.fixture(scope="module")
def running(base: Path) -> Iterator[Running]:
    lines: list[str] = []
    platform = Platform(
        base / "home",
        load_settings(),
        ui_port=0,
        definitions_module="tests.platform.tiny_definitions",
        extra_environment={"TINY_FOLDER": str(base / "wishes")},
        commands={"live_lane": [sys.executable, "-c", STAND_IN]},
        report=lines.append,
    )
    with pytest.MonkeyPatch.context() as patch, platform:
        for name, value in exports(platform.addresses).items():
            patch.setenv(name, value)
        with DagsterInstance.get() as instance:
            yield Running(platform, base / "wishes", instance, lines)


def test_it_answers_where_it_says(running: Running, base: Path) -> None:
    platform = running.platform
    assert {child.name: child.state for child in platform.children()} == dict.fromkeys(
        [
            "redis",
            "postgres",
            "code_server",
            "daemon",
            "webserver",
            "worker_tactical",
            "worker_background",
            "live_lane",
        ],
        "running",
    )
    query = {"query": "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }"}
    answer = requests.post(f"{platform.ui_url}/graphql", json=query, timeout=30).json()
    entries = answer["data"]["workspaceOrError"]["locationEntries"]
    assert entries == [{"name": "tests.platform.tiny_definitions", "loadStatus": "LOADED"}]
    with psycopg2.connect(libpq_url(platform.addresses.postgres_url)) as connection:
        assert connection.info.dbname == "signals"
    assert redis.Redis.from_url(platform.addresses.redis_url).ping()
    assert (base / "home" / "addresses.json").stat().st_mode & 0o777 == 0o600
    log = base / "home" / "logs" / "live_lane.log"
    eventually(lambda: log.exists() and platform.ui_url in log.read_text().split())  # where the live lane reports to
    said = "\n".join(running.lines)
    for address in (platform.ui_url, platform.addresses.redis_url, platform.addresses.lake_path):
        assert address
        assert address in said
    assert without_password(platform.addresses.postgres_url) in said


def test_another_process_finds_it_through_its_home(running: Running, base: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from resources.addresses import Addresses; "
        "print(Addresses.resolve(Path(sys.argv[1])).redis_url)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIGNAL_")}
    answer = subprocess.run(
        [sys.executable, "-c", program, str(base / "home")], capture_output=True, text=True, check=True, env=environment
    )
    assert answer.stdout.strip() == running.platform.addresses.redis_url


def test_a_second_platform_on_the_home_and_a_taken_port_are_refused(running: Running, base: Path) -> None:
    with pytest.raises(HomeInUseError, match=f"process {os.getpid()}"):
        Platform(base / "home", load_settings(), report=lambda line: None).start()
    assert running.platform.children()[0].state == "running"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PlatformError, match=f"port {port} on 127.0.0.1 is taken: choose another with --port"):
            Platform(base / "other", load_settings(), ui_port=port, report=lambda line: None).start()
    assert not list((base / "other").glob("postgres"))


def test_sensor_runs_execute_in_the_warm_worker_of_their_queue(running: Running) -> None:
    notes = []
    for name in ("first", "second"):
        running.wish(name)
        running.ends_as(name, "SUCCESS")
        notes.append(running.started(name))
    assert notes[0]["pid"] == notes[1]["pid"]
    assert notes[0]["parent"] == running.pid("worker_tactical")
    for queue in (BACKFILL, MAINTENANCE):
        running.wish(queue, queue=queue)
        running.ends_as(queue, "SUCCESS")
        assert running.started(queue)["parent"] == running.pid("worker_background")


def test_a_long_back_fill_holds_up_neither_maintenance_nor_tactical_runs(running: Running) -> None:
    running.wish("long", queue=BACKFILL, seconds=15)
    running.started("long")
    running.wish("next_long", queue=BACKFILL)
    running.wish("upkeep", queue=MAINTENANCE)
    running.wish("quick")
    running.ends_as("upkeep", "SUCCESS", 20)
    running.ends_as("quick", "SUCCESS", 20)
    waiting = running.record("next_long")
    assert waiting is not None
    assert waiting.dagster_run.status.value == "QUEUED"
    running.ends_as("long", "SUCCESS")
    running.ends_as("next_long", "SUCCESS")


def test_a_cancelled_run_ends_and_its_worker_stays_warm(running: Running) -> None:
    running.wish("cancelled", seconds=120)
    note = running.started("cancelled")
    record = running.record("cancelled")
    assert record is not None
    assert running.instance.run_coordinator.cancel_run(record.dagster_run.run_id)
    running.ends_as("cancelled", "CANCELED", 15)
    running.wish("after_cancelled")
    running.ends_as("after_cancelled", "SUCCESS")
    assert running.started("after_cancelled")["pid"] == note["pid"]


@pytest.mark.parametrize("whom", ["parent", "pid"])
def test_a_run_whose_worker_is_killed_fails_soon_and_the_next_one_works(running: Running, whom: str) -> None:
    running.wish(f"killed_{whom}", seconds=300)
    note = running.started(f"killed_{whom}")
    eventually(lambda: (record := running.record(f"killed_{whom}")) and record.dagster_run.status.value == "STARTED")
    killed = time.monotonic()
    os.kill(note[whom], signal.SIGKILL)
    record = running.ends_as(f"killed_{whom}", "FAILURE", 45)
    assert time.monotonic() - killed < 45
    reasons = [entry.message for entry in running.instance.all_logs(record.dagster_run.run_id)]
    # The worker that follows says so, or Dagster's monitoring, whichever looks first.
    gone_worker = ("the worker that had taken it is gone", "the worker that ran it is gone")
    expected = {"parent": gone_worker, "pid": ("Celery task failed.", *gone_worker)}[whom]
    assert any(words in reason for reason in reasons for words in expected)
    assert gone(note["pid"])
    running.wish(f"after_{whom}")
    running.ends_as(f"after_{whom}", "SUCCESS")
    assert running.started(f"after_{whom}")["pid"] != note["pid"]


def test_everything_killed_at_once_comes_back(running: Running) -> None:
    before = {child.name: child for child in running.platform.children()}
    for child in before.values():
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)

    def all_back() -> bool:
        now = running.platform.children()
        return all(child.state == "running" and child.pid != before[child.name].pid for child in now)

    eventually(all_back, 60)
    assert [child.restarts > before[child.name].restarts for child in running.platform.children()] == [True] * 8
    running.wish("after_all")
    running.ends_as("after_all", "SUCCESS")


def test_ctrl_c_stops_it_cleanly_and_our_own_addresses_in_the_shell_do_not_matter(base: Path) -> None:
    home = base / "interrupted"
    # As after eval "$(signals env)" against this home's platform of yesterday.
    yesterday = Addresses(
        postgres_url=f"postgresql+psycopg2://postgres:@/signals?host={home}/postgres",
        redis_url=f"unix://{home}/run/redis.sock?db=0",
        broker_url=f"redis+socket://{home}/run/redis.sock?virtual_host=1",
        lake_path=str(home / "lake"),
        home=home,
    )
    with start_another(home, base / "wishes", yesterday.environment()) as process:
        children = json.loads((home / "processes.json").read_text())
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stdout is not None
        assert process.stdout.read().splitlines()[-1] == "stopped"
    assert {child["name"] for child in children} >= {"redis", "postgres", "worker_tactical"}
    assert all(gone(child["pid"]) for child in children)
    assert all(gone(member.pid) for member in family)
    assert not (home / "addresses.json").exists()
    assert not (home / "processes.json").exists()


def test_a_killed_platform_can_be_started_again_with_all_it_knew(base: Path) -> None:
    home = base / "killed"
    with start_another(home, base / "wishes") as process:
        addresses = json.loads((home / "addresses.json").read_text())
        with psycopg2.connect(libpq_url(addresses["postgres_url"])) as connection:
            connection.cursor().execute("CREATE TABLE kept AS SELECT 42 AS answer")
        connection.close()
        redis.Redis.from_url(addresses["redis_url"]).set("kept", "42")
        time.sleep(1.5)  # Redis writes every second
        first = {child["name"]: child["pid"] for child in json.loads((home / "processes.json").read_text())}
        process.kill()
        process.wait()
    with start_another(home, base / "wishes") as process:
        assert all(gone(pid) for name, pid in first.items() if name != "postgres")
        addresses = json.loads((home / "addresses.json").read_text())
        with psycopg2.connect(libpq_url(addresses["postgres_url"])) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT answer FROM kept")
            assert cursor.fetchone() == (42,)
        connection.close()
        assert redis.Redis.from_url(addresses["redis_url"]).get("kept") == b"42"
        process.terminate()
        assert process.wait(30) == 0


def test_definitions_that_cannot_be_imported_are_one_line(base: Path) -> None:
    platform = Platform(
        base / "broken",
        load_settings(),
        with_ui=False,
        with_workers=False,
        with_live_lane=False,
        definitions_module="tests.platform.no_such_module",
        report=lambda line: None,
    )
    with pytest.raises(PlatformError, match=r"^code_server does not start") as refused:
        platform.start()
    assert "no_such_module" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert platform.children() == []


class start_another:  # noqa: N801 – used like a function
    """``tests.platform.up`` in a process of its own, started; killed at the end if it still runs."""

    def __init__(self, home: Path, wishes: Path, environment: dict[str, str] | None = None) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("SIGNAL_", "DAGSTER_HOME"))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.platform.up", str(home), str(wishes)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=clean | (environment or {}),
        )

    def __enter__(self) -> subprocess.Popen[str]:
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if line == "started\n":
                return self.process
        raise AssertionError("".join(said))

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
