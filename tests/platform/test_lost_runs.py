import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
import sqlalchemy
import yaml
from dagster import DagsterInstance, DagsterRunStatus, Definitions, asset, define_asset_job
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.test_utils import create_run_for_test
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import pack_value
from dagster._utils.hosted_user_process import recon_job_from_origin

from resources import lost_runs
from resources.lost_runs import fail_lost_runs
from resources.run_lease import RunLease, broker_client, lease_key
from services import worker
from services.platform.embedded_redis import EmbeddedRedis, broker_url_of
from tests.platform.test_worker import packed

NOBODY = 2**22 - 1
"""A process id that is never given."""


@pytest.fixture(scope="module")
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("bus")
    server = EmbeddedRedis(folder / "redis", folder, folder / "log")
    yield broker_url_of(server.start())
    server.stop()


@pytest.fixture
def client(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    monkeypatch.setenv("SIGNAL_BROKER_URL", broker_url)
    monkeypatch.setattr(worker.app.conf, "broker_url", broker_url)
    with broker_client(broker_url) as connection:
        connection.flushdb()
        yield connection


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterInstance]:
    """A throw-away one that is found through the environment, as a worker finds its own."""
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"run_monitoring": {"enabled": True}}), "utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with DagsterInstance.get() as found:
        yield found


def status(instance: DagsterInstance, run_id: str) -> DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_only_runs_that_somebody_waits_for_are_failed(instance: DagsterInstance) -> None:
    before = {
        each: create_run_for_test(instance, status=each).run_id
        for each in (DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.SUCCESS)
    }
    assert fail_lost_runs([*before.values(), "unknown"]) == 2
    after = {each: status(instance, run_id) for each, run_id in before.items()}
    assert after == {
        DagsterRunStatus.STARTING: DagsterRunStatus.FAILURE,
        DagsterRunStatus.STARTED: DagsterRunStatus.FAILURE,
        DagsterRunStatus.SUCCESS: DagsterRunStatus.SUCCESS,
    }


def test_a_database_that_is_coming_back_is_waited_for(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_run_for_test(instance, status=DagsterRunStatus.STARTING)
    away, real = iter(range(2)), lost_runs._fail

    def fail(run_ids: list[str]) -> int:
        if next(away, None) is not None:
            raise sqlalchemy.exc.OperationalError("SELECT 1", {}, OSError("no such file"))
        return real(run_ids)

    monkeypatch.setattr(lost_runs, "_fail", fail)
    monkeypatch.setattr(lost_runs, "PAUSE_SECONDS", 0.01)
    assert fail_lost_runs([run.run_id]) == 1
    assert status(instance, run.run_id) is DagsterRunStatus.FAILURE


def test_without_a_database_they_are_left_to_the_monitoring(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(run_ids: list[str]) -> int:
        raise sqlalchemy.exc.OperationalError("SELECT 1", {}, OSError("no such file"))

    monkeypatch.setattr(lost_runs, "_fail", fail)
    assert fail_lost_runs(["one"], patience=0.0) == 0


def test_a_run_taken_and_not_begun_is_failed_by_the_next_worker(
    client: redis.Redis, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_run_for_test(instance, status=DagsterRunStatus.STARTING)
    monkeypatch.setenv("SIGNAL_DEFINITIONS_MODULE", "tests.platform.tiny_definitions")
    worker.note_taken(request=SimpleNamespace(kwargs=packed(run.run_id)))
    worker.load_before_fork()  # its taker lives
    assert status(instance, run.run_id) is DagsterRunStatus.STARTING
    assert client.get(lease_key(run.run_id)).decode() == f"{socket.gethostname()}:{os.getpid()}"
    client.set(lease_key(run.run_id), f"{socket.gethostname()}:{NOBODY}")  # it was killed
    worker.load_before_fork()
    assert status(instance, run.run_id) is DagsterRunStatus.FAILURE


def test_the_lease_of_the_one_who_begins_stands_against_the_note_of_the_one_who_took(client: redis.Redis) -> None:
    client.set(lease_key("run"), "another-host:7")
    worker.note_taken(request=SimpleNamespace(kwargs=packed("run")))
    assert client.get(lease_key("run")) == b"another-host:7"
    worker.note_taken(request=SimpleNamespace(kwargs={}))  # no run at all


def test_a_lease_that_another_process_has_taken_over_is_not_given_back(client: redis.Redis) -> None:
    with RunLease(client, "run", renew_every=60.0):
        client.set(lease_key("run"), "another-host:7")
    assert client.get(lease_key("run")) == b"another-host:7"


COUNTED = "counted"


@asset
def counted() -> None:
    with (Path(os.environ["DAGSTER_HOME"]) / COUNTED).open("a") as file:
        file.write("once\n")


definitions = Definitions(assets=[counted], jobs=[define_asset_job("job")])


def test_a_run_delivered_twice_is_executed_once(client: redis.Redis, instance: DagsterInstance, tmp_path: Path) -> None:
    """Redis as broker delivers again what was not acknowledged within its visibility time-out."""
    pointer = ModuleCodePointer("tests.platform.test_lost_runs", "definitions", None)
    repository = RepositoryPythonOrigin(sys.executable, pointer, None, None, None)
    origin = JobPythonOrigin("job", repository)
    snapshot = recon_job_from_origin(origin).get_definition().get_job_snapshot()
    run = create_run_for_test(
        instance, job_name="job", status=DagsterRunStatus.STARTING, job_code_origin=origin, job_snapshot=snapshot
    )
    sent = {"execute_job_args_packed": pack_value(ExecuteRunArgs(origin, run.run_id, instance.get_ref(), True))}
    task = worker.app.tasks["execute_job"]
    for _ in range(2):
        task.apply(kwargs=sent).get()
    assert (tmp_path / COUNTED).read_text() == "once\n"
    assert status(instance, run.run_id) is DagsterRunStatus.SUCCESS
