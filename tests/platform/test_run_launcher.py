import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    Definitions,
    SubmitRunContext,
    asset,
    define_asset_job,
)
from dagster._core.launcher import WorkerStatus
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG, DAGSTER_CELERY_TASK_ID_TAG

from resources import run_launcher
from resources.run_launcher import SignalsRunLauncher
from resources.run_lease import RunLease, broker_client, lease_is_held, lease_key, release_leases_of_the_dead
from resources.run_queues import QUEUE_TAG
from services.platform.embedded_redis import EmbeddedRedis, broker_url_of

RUN = DagsterRun(job_name="job", run_id="run-1", tags={DAGSTER_CELERY_TASK_ID_TAG: "task-1"})


@pytest.fixture(scope="module")
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("bus")
    server = EmbeddedRedis(folder / "redis", folder, folder / "log")
    yield broker_url_of(server.start())
    server.stop()


@pytest.fixture
def client(broker_url: str) -> Iterator[redis.Redis]:
    with broker_client(broker_url) as connection:
        connection.flushdb()
        yield connection


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [1_000.0]
    monkeypatch.setattr(run_launcher.time, "monotonic", lambda: now[0])

    def forward(seconds: float) -> None:
        now[0] += seconds

    return forward


@pytest.fixture
def launcher(broker_url: str) -> SignalsRunLauncher:
    return SignalsRunLauncher(default_queue="backfill", broker=broker_url, backend=broker_url)


def set_state(launcher: SignalsRunLauncher, state: str) -> None:
    launcher.celery.backend.store_result("task-1", None, state)


def health(launcher: SignalsRunLauncher, run: DagsterRun = RUN) -> tuple[WorkerStatus, str | None]:
    result = launcher.check_run_worker_health(run)
    return result.status, result.msg


def test_the_tag_of_the_queue_is_dagsters() -> None:
    assert QUEUE_TAG == DAGSTER_CELERY_QUEUE_TAG


def test_a_started_task_with_a_lease_is_alive_however_long(
    launcher: SignalsRunLauncher, client: redis.Redis, clock: Callable[[float], None]
) -> None:
    set_state(launcher, "STARTED")
    with RunLease(client, "run-1", renew_every=0.05):
        for _ in range(3):
            assert health(launcher)[0] == WorkerStatus.RUNNING
            clock(1_000)


@pytest.mark.parametrize("state", ["STARTED", "PENDING"])
def test_without_a_lease_it_is_dead_once_that_is_confirmed(
    launcher: SignalsRunLauncher, client: redis.Redis, clock: Callable[[float], None], state: str
) -> None:
    set_state(launcher, state)
    assert health(launcher)[0] == WorkerStatus.RUNNING
    clock(2.0)
    assert health(launcher)[0] == WorkerStatus.RUNNING
    clock(1.0)
    assert health(launcher) == (WorkerStatus.FAILED, "the worker that ran it is gone")


def test_a_lease_that_returns_after_a_restart_of_redis_begins_the_count_anew(
    launcher: SignalsRunLauncher, client: redis.Redis, clock: Callable[[float], None]
) -> None:
    set_state(launcher, "STARTED")
    assert health(launcher)[0] == WorkerStatus.RUNNING
    clock(2.0)
    with RunLease(client, "run-1"):
        assert health(launcher)[0] == WorkerStatus.RUNNING
    clock(2.0)
    assert health(launcher)[0] == WorkerStatus.RUNNING


def test_an_ended_task_without_an_end_of_the_run_is_a_failure(
    launcher: SignalsRunLauncher, client: redis.Redis, clock: Callable[[float], None]
) -> None:
    set_state(launcher, "SUCCESS")
    assert health(launcher)[0] == WorkerStatus.RUNNING
    clock(3.0)
    assert health(launcher) == (WorkerStatus.FAILED, "the worker ended without recording the end of the run")


def test_a_failed_task_is_a_failure_at_once(launcher: SignalsRunLauncher, client: redis.Redis) -> None:
    launcher.celery.backend.store_result("task-1", RuntimeError("lost"), "FAILURE")
    assert health(launcher)[0] == WorkerStatus.FAILED


def test_a_run_that_started_before_its_task_was_noted_is_judged_by_its_lease(
    launcher: SignalsRunLauncher, client: redis.Redis, clock: Callable[[float], None]
) -> None:
    unnoted = DagsterRun(job_name="job", run_id="run-1")
    with RunLease(client, "run-1"):
        assert health(launcher, unnoted)[0] == WorkerStatus.RUNNING
    assert health(launcher, unnoted)[0] == WorkerStatus.RUNNING
    clock(3.0)
    assert health(launcher, unnoted)[0] == WorkerStatus.FAILED


def test_a_silent_redis_proves_nothing(launcher: SignalsRunLauncher) -> None:
    gone = SignalsRunLauncher(default_queue="backfill", broker="redis://127.0.0.1:1/1", backend="redis://127.0.0.1:1/1")
    with pytest.raises((redis.RedisError, OSError)):
        gone.check_run_worker_health(DagsterRun(job_name="job", run_id="run-1"))


def test_the_lease_is_renewed_while_held_and_given_back(client: redis.Redis) -> None:
    with RunLease(client, "run-1", seconds=1, renew_every=0.1):
        assert 0 < client.pttl(lease_key("run-1")) <= 1_000
        client.persist(lease_key("run-1"))
        end = run_launcher.time.monotonic() + 5
        while client.pttl(lease_key("run-1")) == -1:  # without an expiry, until the thread sets it again
            assert run_launcher.time.monotonic() < end
        assert lease_is_held(client, "run-1")
    assert not lease_is_held(client, "run-1")


def test_a_starting_worker_releases_the_leases_of_its_dead_predecessor_only(client: redis.Redis) -> None:
    leases = {
        "dead": f"{socket.gethostname()}:{2**22 - 1}",
        "alive": f"{socket.gethostname()}:{os.getpid()}",
        "elsewhere": f"another-host:{2**22 - 1}",
        "odd": "nonsense",
    }
    for run_id, owner in leases.items():
        client.set(lease_key(run_id), owner)
    assert release_leases_of_the_dead(client) == ["dead"]
    assert {run_id for run_id in leases if lease_is_held(client, run_id)} == {"alive", "elsewhere", "odd"}


@asset
def nothing() -> None:
    pass


@pytest.fixture
def instance(tmp_path: Path, broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterInstance]:
    """Our launcher and coordinator on a throw-away instance."""
    monkeypatch.setenv("SIGNAL_BROKER_URL", broker_url)
    configuration = {
        "run_launcher": {
            "module": "resources.run_launcher",
            "class": "SignalsRunLauncher",
            "config": {"default_queue": "backfill"},
        },
        "run_coordinator": {"module": "resources.run_coordinator", "class": "SignalsRunCoordinator", "config": {}},
    }
    with DagsterInstance.local_temp(str(tmp_path), overrides=configuration) as made:
        yield made


def submitted(instance: DagsterInstance, tags: dict[str, str]) -> DagsterRun:
    job = Definitions(assets=[nothing], jobs=[define_asset_job("job")]).resolve_job_def("job")
    origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("location"), "repository").get_job_origin("job")
    run = instance.create_run_for_job(
        job, tags=tags, status=DagsterRunStatus.NOT_STARTED, remote_job_origin=origin, job_code_origin=None
    )
    context: Any = SubmitRunContext(run, workspace=None)  # type: ignore[arg-type]
    return instance.run_coordinator.submit_run(context)


def test_the_address_of_the_broker_comes_from_the_environment(instance: DagsterInstance, broker_url: str) -> None:
    launcher = instance.run_launcher
    assert isinstance(launcher, SignalsRunLauncher)
    assert launcher.celery.conf.broker_url == broker_url
    assert launcher.celery.conf.result_backend == broker_url
    assert launcher.celery.conf.accept_content == ["json"]


def test_a_run_without_a_queue_gets_one_and_others_keep_theirs(instance: DagsterInstance) -> None:
    assert submitted(instance, {}).tags[QUEUE_TAG] == "backfill"
    assert submitted(instance, {QUEUE_TAG: "tactical"}).tags[QUEUE_TAG] == "tactical"


def test_cancelling_interrupts_the_run_not_the_process(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = submitted(instance, {DAGSTER_CELERY_TASK_ID_TAG: "task-7"})
    revoked: list[tuple[str, dict[str, object]]] = []
    launcher = instance.run_launcher
    assert isinstance(launcher, SignalsRunLauncher)
    monkeypatch.setattr(launcher.celery.control, "revoke", lambda task, **how: revoked.append((task, how)))
    assert launcher.terminate(run.run_id)
    assert revoked == [("task-7", {"terminate": True, "signal": "SIGINT"})]
    after = instance.get_run_by_id(run.run_id)
    assert after is not None
    assert after.status == DagsterRunStatus.CANCELING
    assert not launcher.terminate("unknown")


def test_without_a_broker_only_validation_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGNAL_BROKER_URL", raising=False)
    monkeypatch.delenv("DAGSTER_IS_DEFS_VALIDATION_CLI", raising=False)
    settings: Any = {"default_queue": "backfill", "broker": None, "backend": "rpc://"}
    no_data: Any = None
    with pytest.raises(RuntimeError, match="SIGNAL_BROKER_URL is not set"):
        SignalsRunLauncher.from_config_value(no_data, settings)
    monkeypatch.setenv("DAGSTER_IS_DEFS_VALIDATION_CLI", "1")
    made = SignalsRunLauncher.from_config_value(no_data, settings)
    assert made.celery.conf.broker_url == "memory://"
