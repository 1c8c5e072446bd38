"""Who registers as a worker, and how wide Dagster's queue becomes by it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from resources.run_coordinator import SignalsRunCoordinator
from resources.run_lease import broker_client
from resources.run_queues import BACKFILL, MAINTENANCE, QUEUE_TAG, TACTICAL
from resources.worker_register import (
    PREFIX,
    WorkerEntry,
    WorkerRegistration,
    configuration_digest,
    registered_workers,
    slots_of,
)
from services.platform.embedded_redis import EmbeddedRedis, broker_url_of
from tests.lanes.market_run import ONE, settings_with

BACKGROUND = WorkerEntry("worker_background@here", (BACKFILL, MAINTENANCE), 2)
OTHER = WorkerEntry("worker_1234@there", (BACKFILL,), 3)


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


def test_an_entry_lasts_as_long_as_it_is_renewed(client: redis.Redis) -> None:
    here = WorkerRegistration(client, lambda: BACKGROUND, seconds=1, every=0.1)
    here.begin()
    dead = WorkerRegistration(client, lambda: OTHER, seconds=1, every=600.0)
    dead.begin()
    assert registered_workers(client) == [OTHER, BACKGROUND]
    deadline = time.monotonic() + 60
    while registered_workers(client) != [BACKGROUND]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    here.withdraw()
    assert registered_workers(client) == []


def test_one_process_stays_for_each_other_queue(client: redis.Redis) -> None:
    workers = [BACKGROUND, OTHER, WorkerEntry("worker_tactical@here", (TACTICAL,), 1)]
    assert [slots_of(workers, queue) for queue in (TACTICAL, BACKFILL, MAINTENANCE)] == [1, 4, 1]


def test_what_cannot_be_read_is_left_out(client: redis.Redis) -> None:
    for number, text in enumerate(("", "null", "[]", '{"name": 1}', "no json")):
        client.set(f"{PREFIX}odd{number}", text)
    assert registered_workers(client) == []


def limits(coordinator: SignalsRunCoordinator) -> tuple[dict[str, int], int]:
    configuration = coordinator.get_run_queue_config()
    assert {limit["key"] for limit in configuration.tag_concurrency_limits} == {QUEUE_TAG}
    found = {limit["value"]: limit["limit"] for limit in configuration.tag_concurrency_limits}
    return found, configuration.max_concurrent_runs


def test_the_queue_is_as_wide_as_there_are_workers(
    client: redis.Redis, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNAL_BROKER_URL", broker_url)
    assert limits(SignalsRunCoordinator(max_concurrent_runs=12)) == ({BACKFILL: 1, MAINTENANCE: 1}, 12)
    WorkerRegistration(client, lambda: BACKGROUND, every=600.0).begin()
    WorkerRegistration(client, lambda: OTHER, every=600.0).begin()
    coordinator = SignalsRunCoordinator(max_concurrent_runs=12)
    assert limits(coordinator) == ({BACKFILL: 4, MAINTENANCE: 1}, 15)
    monkeypatch.setenv("SIGNAL_BROKER_URL", "redis://127.0.0.1:1/1")
    coordinator._client, coordinator._next_look = None, 0.0
    assert limits(coordinator) == ({BACKFILL: 4, MAINTENANCE: 1}, 15)  # Redis is away: what was seen last


def test_the_configuration_is_compared_by_what_it_computes(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        return configuration_digest(settings_with(tmp_path, ONE + text))

    assert digest("live: {flush_milliseconds: 50}\n") == digest("sensor_interval_seconds: 9\n")
    assert digest("levels: {z_score_threshold: 2.0}\n") != digest("")
