"""Workers of two homes share PostgreSQL, Redis and lake: the same rows as one, and killing one loses nothing."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil
import pytest
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from resources.addresses import Addresses
from resources.run_lease import broker_client, lease_key
from resources.run_queues import BACKFILL
from resources.settings import Settings, load_settings
from resources.worker_register import registered_workers, slots_of
from services.backfill_runs import BACKFILL_TAG, PIECE_TAG
from services.backfills import BackfillError, Backfills
from services.platform.environment import exports
from services.platform.platform import Platform
from services.platform.shared_workers import SharedWorkers
from services.process_environment import process_environment
from signal_assets.aggregates.tables import TABLES as AGGREGATE_TABLES
from signal_assets.levels.tables import TABLES as LEVEL_TABLES
from tests.lanes.market_run import assert_equal
from tests.scale_out.generated_days import DAYS, expected, fill, opened, rows_of, write_settings

pytestmark = [pytest.mark.slow, pytest.mark.alone]

PATIENCE = 420.0
WINDOWS = [table.name for table in (*AGGREGATE_TABLES, *LEVEL_TABLES)]


@dataclass
class Head:
    """A platform with one worker, its lake filled with raw days; no market, nobody who computes by himself."""

    addresses: Addresses
    settings: Settings
    settings_file: Path
    variables: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    folder = tmp_path_factory.mktemp("head")
    file = write_settings(folder)
    with process_environment({"SIGNAL_CONFIG": str(file), "SIGNAL_HOME": str(folder / "home")}):
        settings = load_settings()
        platform = Platform(folder / "home", settings, with_ui=False, with_live_lane=False, report=lambda line: None)
        with platform, process_environment(exports(platform.addresses)):
            with opened(platform.addresses) as lake:
                fill(lake, settings)
            yield Head(
                platform.addresses, settings, file, platform.addresses.environment() | {"SIGNAL_CONFIG": str(file)}
            )


def eventually(head: Head, slots: int) -> None:
    """Wait until Dagster's queue knows of so many processes for back-fills."""
    deadline = time.monotonic() + PATIENCE
    with broker_client(head.addresses.broker_url) as client:
        while (found := slots_of(registered_workers(client), BACKFILL)) != slots:
            assert time.monotonic() < deadline, f"{found} instead of {slots} processes for back-fills"
            time.sleep(0.2)


def executed_by(head: Head, identifier: str) -> set[str]:
    """Ids of the processes that executed runs of the back-fill, from Dagster's own log."""
    found = set()
    with DagsterInstance.get() as instance:
        for run in instance.get_runs(RunsFilter(tags={BACKFILL_TAG: identifier})):
            for entry in instance.all_logs(run.run_id):
                if entry.message.startswith("Started process for run (pid: "):
                    found.add(entry.message.partition("pid: ")[2].partition(")")[0])
    return found


def check(found: dict[str, pd.DataFrame], wanted: dict[str, pd.DataFrame], names: list[str]) -> None:
    assert_equal({name: found[name] for name in names}, {name: wanted[name] for name in names})


def worker_process(head: Head, home: Path) -> subprocess.Popen[bytes]:
    """``signals worker`` of another home, as one starts it on another machine."""
    words = ["worker", "--home", str(home), "--queues", "backfill", "--processes", "1"]
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"} | head.variables
    program = "from cli.main import main; main()"
    return subprocess.Popen([sys.executable, "-c", program, *words], env=environment, start_new_session=True)


def family_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The process and everything it started."""
    return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]


def kill_all_of(process: subprocess.Popen[bytes]) -> None:
    """As if the machine had lost its power."""
    for member in family_of(process):
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def kill_in_the_middle(head: Head, other: subprocess.Popen[bytes], run_ids: list[str]) -> str | None:
    """Kill the other worker if it executes one of the runs, whose end nobody has recorded; returns that run."""
    with broker_client(head.addresses.broker_url) as client, DagsterInstance.get() as instance:
        family = family_of(other)
        theirs = {str(member.pid) for member in family}
        for run_id in run_ids:
            owner = client.get(lease_key(run_id))
            if not isinstance(owner, bytes) or owner.decode().rpartition(":")[2] not in theirs:
                continue
            for member in family:  # first stopped, so that it cannot end between the look and the kill
                member.suspend()
            run = instance.get_run_by_id(run_id)
            if run is not None and run.status is DagsterRunStatus.STARTED:
                kill_all_of(other)
                return run_id
            for member in family:
                member.resume()
    return None


def test_one_of_two_is_killed_in_the_middle(head: Head, tmp_path: Path) -> None:
    other = worker_process(head, tmp_path / "other")
    killed_in: str | None = None
    try:
        eventually(head, 2)
        deadline = time.monotonic() + PATIENCE
        with Backfills(head.addresses) as backfills:
            running = backfills.prepare(DAYS[0], DAYS[-1], [])
            lines = []
            for step in running.follow():
                assert time.monotonic() < deadline, f"the back-fill did not end; so far: {lines}"
                if step.line:
                    lines.append(step.line)
                if killed_in is None and step.done >= 1:
                    killed_in = kill_in_the_middle(head, other, running.under_way)
        assert killed_in, "the other worker never had a run"
        with DagsterInstance.get() as instance:
            runs = instance.get_runs(RunsFilter(tags={BACKFILL_TAG: running.identifier}))
            failed = {run.run_id for run in runs if run.status is DagsterRunStatus.FAILURE}
            lost = instance.get_run_by_id(killed_in)
        assert failed == {killed_in}
        assert lost is not None
        again = [run for run in runs if run.tags[PIECE_TAG] == lost.tags[PIECE_TAG] and run.run_id != killed_in]
        assert [run.status for run in again] == [DagsterRunStatus.SUCCESS]
        assert sum("was lost with its worker, starting again" in line for line in lines) == 1
    finally:
        if other.poll() is None:
            kill_all_of(other)
    with opened(head.addresses) as lake:
        found = rows_of(lake, head.settings)
    wanted = expected(head.settings_file)
    check(found, wanted, list(wanted))


def test_two_share_the_window_tables(head: Head, tmp_path: Path) -> None:
    wanted = expected(head.settings_file)
    with opened(head.addresses) as lake:
        for name in WINDOWS:  # so that what is there afterwards was computed now
            lake.execute(f"DELETE FROM lake.{name}")
    eventually(head, 1)
    environment = {**os.environ, **head.variables}
    with SharedWorkers(tmp_path / "third", ["backfill"], 1, environment=environment, report=print) as workers:
        eventually(head, 2)
        (worker,) = workers.children()
        assert worker.pid is not None
        theirs = {str(child.pid) for child in psutil.Process(worker.pid).children(recursive=True)}
        with Backfills(head.addresses) as backfills:
            running = backfills.prepare(DAYS[0], DAYS[-1], ["aggregates", "levels"])
            steps = list(running.follow())
            with pytest.raises(BackfillError, match="was of other days or assets"):
                backfills.prepare(DAYS[0], DAYS[1], ["aggregates"], running.identifier)
            again = backfills.prepare(DAYS[0], DAYS[-1], ["aggregates", "levels"], running.identifier)
            assert (again.done, again.pieces) == (12, 12)
            assert steps[-1].share == 1.0
            everybody = executed_by(head, running.identifier)
            for _ in range(4):  # who takes a run is up to Redis; it would have to choose the same one every time
                if everybody & theirs and everybody - theirs:
                    break
                more = backfills.prepare(DAYS[0], DAYS[-1], ["aggregates"])
                list(more.follow())
                everybody |= executed_by(head, more.identifier)
        assert everybody & theirs
        assert everybody - theirs
    eventually(head, 1)
    with opened(head.addresses) as lake:
        check(rows_of(lake, head.settings), wanted, WINDOWS)
