"""Runs of a back-fill as Dagster stores them, and a real worker's entry; a queue that nobody empties is enough."""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from resources.addresses import Addresses
from resources.run_lease import broker_client
from resources.run_queues import BACKFILL, MAINTENANCE, QUEUE_TAG
from resources.settings import load_settings
from resources.worker_register import configuration_digest, registered_workers
from services.backfill_runs import BACKFILL_TAG, PIECE_TAG
from services.backfills import BackfillError, Backfills
from services.platform.embedded_redis import EmbeddedRedis, broker_url_of
from services.platform.environment import exports
from services.platform.run_worker import worker_command, worker_options
from services.process_environment import process_environment
from tests.scale_out.generated_days import DAYS, fill, opened, write_settings

pytestmark = pytest.mark.slow

PATIENCE = 300.0


@pytest.fixture
def shared(addresses: Addresses, tmp_path: Path) -> Iterator[Addresses]:
    """Stores without a platform: PostgreSQL, Redis, four raw days."""
    file = write_settings(tmp_path)
    sockets = tmp_path / "run"
    sockets.mkdir()
    server = EmbeddedRedis(tmp_path / "redis", sockets, tmp_path / "log")
    url = server.start()
    made = replace(addresses, redis_url=url, broker_url=broker_url_of(url))
    try:
        with process_environment({"SIGNAL_CONFIG": str(file)}), process_environment(exports(made)):
            with opened(made) as lake:
                fill(lake, load_settings())
            yield made
    finally:
        server.stop()


def test_runs_wait_in_the_queue_with_their_days_and_are_taken_back(shared: Addresses) -> None:
    with Backfills(shared) as backfills, DagsterInstance.get() as instance:
        with pytest.raises(BackfillError, match=r"--assets levels/none: there are .*aggregates/dollar_depth, "):
            backfills.prepare(DAYS[0], DAYS[-1], ["levels/none"])
        after = DAYS[-1].replace(day=DAYS[-1].day + 1)
        with pytest.raises(BackfillError, match=f"{after} is not over in the data: crypto is complete up to "):
            backfills.prepare(DAYS[0], after, [])
        running = backfills.prepare(DAYS[0], DAYS[-1], ["aggregates", "performance/equity"])
        # What is written together is computed together.
        assert set(running.assets) == {
            *("aggregates/dollar_depth", "aggregates/dollar_trades", "performance/equity", "performance/daily_equity")
        }
        following = running.follow()
        next(following)
        runs = instance.get_runs(RunsFilter(tags={BACKFILL_TAG: running.identifier}))
        assert {run.status for run in runs} == {DagsterRunStatus.QUEUED}
        assert {run.tags[PIECE_TAG] for run in runs} == {f"windows 1 of {day}" for day in DAYS[:2]}
        for run in runs:
            assert run.tags[QUEUE_TAG] == BACKFILL
            assert run.tags["dagster/partition"] in run.tags[PIECE_TAG]
            assert run.remote_job_origin is not None
            assert run.remote_job_origin.location_name == "signal_assets.definitions"
            assert {"/".join(key.path) for key in run.asset_selection or ()} == {
                *("aggregates/dollar_depth", "aggregates/dollar_trades")
            }
        following.close()  # type: ignore[attr-defined]
        runs = instance.get_runs(RunsFilter(tags={BACKFILL_TAG: running.identifier}))
        assert {run.status for run in runs} == {DagsterRunStatus.CANCELED}


def test_a_worker_registers_and_withdraws(shared: Addresses, tmp_path: Path) -> None:
    options = worker_options(tmp_path, "worker_here", niceness=0)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **options["environment"]}
    command = worker_command("worker_here", (BACKFILL, MAINTENANCE), 2)
    with (tmp_path / "worker.log").open("wb") as log, broker_client(shared.broker_url) as client:
        worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + PATIENCE
            while not (found := registered_workers(client)):
                assert worker.poll() is None, (tmp_path / "worker.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            (entry,) = found
            assert entry.name.startswith("worker_here@")
            assert (set(entry.queues), entry.processes) == ({BACKFILL, MAINTENANCE}, 2)
            assert (entry.slots(BACKFILL), entry.slots(MAINTENANCE)) == (1, 1)
            assert entry.configuration == configuration_digest(load_settings())
            worker.terminate()
            worker.wait(PATIENCE)
            assert registered_workers(client) == []
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
