import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery.worker import state
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import pack_value

from resources.run_lease import broker_client, lease_is_held, lease_key
from services import worker
from services.platform.embedded_redis import EmbeddedRedis, broker_url_of


def packed(run_id: str) -> dict[str, object]:
    """What the launcher sends."""
    pointer = ModuleCodePointer("tests.platform.tiny_definitions", "definitions", None)
    repository = RepositoryPythonOrigin(executable_path=sys.executable, code_pointer=pointer, container_image=None,
                                        entry_point=None, container_context=None)  # fmt: skip
    arguments = ExecuteRunArgs(
        job_origin=JobPythonOrigin("job", repository), run_id=run_id, instance_ref=None, set_exit_code_on_failure=True
    )
    return {"execute_job_args_packed": pack_value(arguments)}


@pytest.fixture(scope="module")
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("bus")
    server = EmbeddedRedis(folder / "redis", folder, folder / "log")
    yield broker_url_of(server.start())
    server.stop()


@pytest.fixture
def client(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    monkeypatch.setenv("SIGNAL_BROKER_URL", broker_url)
    worker.app.conf.broker_url = broker_url
    with broker_client(broker_url) as connection:
        yield connection


def test_the_lease_lasts_as_long_as_the_task(client: redis.Redis) -> None:
    worker.take_lease(task_id="task-1", kwargs=packed("run-1"))
    assert lease_is_held(client, "run-1")
    assert client.get(lease_key("run-1")).decode().endswith(f":{os.getpid()}")
    worker.give_lease_back(task_id="another")
    assert lease_is_held(client, "run-1")
    worker.give_lease_back(task_id="task-1")
    assert not lease_is_held(client, "run-1")


def test_other_tasks_take_no_lease(client: redis.Redis) -> None:
    worker.take_lease(task_id="task-2", kwargs={"execute_step_args_packed": {}})
    assert not list(client.scan_iter(match=lease_key("*")))


def test_it_knows_dagsters_tasks_takes_json_only_and_acknowledges_early() -> None:
    assert {"execute_job", "resume_job", "execute_plan"} <= set(worker.app.tasks)
    configuration = worker.app.conf
    assert configuration.accept_content == ["json"]
    assert (configuration.task_acks_late, configuration.worker_prefetch_multiplier) == (False, 1)


def test_without_a_broker_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGNAL_BROKER_URL", raising=False)
    with pytest.raises(SystemExit, match="set SIGNAL_BROKER_URL"):
        worker.load_before_fork()


def test_definitions_are_imported_before_the_fork_and_warmed_after(
    client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "heavy_definitions.py").write_text("called = []\ndef warm_up():\n    called.append(1)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SIGNAL_DEFINITIONS_MODULE", "heavy_definitions")
    monkeypatch.delitem(sys.modules, "heavy_definitions", raising=False)
    worker.warm_up()  # nothing imported yet: nothing to warm
    worker.load_before_fork()
    assert sys.modules["heavy_definitions"].called == []
    worker.warm_up()
    assert sys.modules["heavy_definitions"].called == [1]


def test_broken_definitions_are_logged_and_the_worker_lives(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SIGNAL_DEFINITIONS_MODULE", "no_such_definitions")
    worker.load_before_fork()
    assert "no_such_definitions cannot be imported" in caplog.text

    def broken() -> None:
        raise RuntimeError("no cache")

    module = types.ModuleType("no_such_definitions")
    module.warm_up = broken  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "no_such_definitions", module)
    worker.warm_up()
    assert "no cache" in caplog.text


def test_it_says_when_it_takes_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ready"
    monkeypatch.setenv("SIGNAL_READY_FILE", str(path))
    worker.report_ready()
    assert path.read_text() == str(os.getpid())


def test_only_an_idle_worker_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(worker.os, "_exit", left.append)
    monkeypatch.setattr(state, "reserved_requests", {"a run"})
    worker.leave_at_once_when_idle()
    assert left == []
    monkeypatch.setattr(state, "reserved_requests", set())
    worker.leave_at_once_when_idle()
    assert left == [0]
