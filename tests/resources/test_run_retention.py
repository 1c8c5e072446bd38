"""What goes of Dagster's runs and events, and what stays, on a real PostgreSQL."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from dagster import (
    AssetKey,
    AssetObservation,
    AssetsDefinition,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DailyPartitionsDefinition,
    Definitions,
    RunsFilter,
    asset,
    define_asset_job,
)

from resources.addresses import Addresses
from resources.run_retention import remove_reports, remove_runs

pytestmark = pytest.mark.slow

DAYS = ("2025-01-06", "2025-01-07")
INSTANCE = """
storage: {custom: {module: resources.dagster_storage, class: PlatformStorage, config: {}}}
telemetry: {enabled: false}
"""


@pytest.fixture
def instance(addresses: Addresses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterInstance]:
    monkeypatch.setenv("SIGNAL_POSTGRES_URL", addresses.postgres_url)
    folder = tmp_path / "dagster"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(INSTANCE)
    with DagsterInstance.from_config(str(folder)) as made:
        yield made


@pytest.fixture
def count(addresses: Addresses) -> Iterator[Any]:
    """Rows of Dagster's own tables."""
    connection = psycopg2.connect(addresses.postgres_url.replace("+psycopg2", ""))
    connection.autocommit = True

    def rows(*tables: str) -> list[int]:
        cursor = connection.cursor()
        found = []
        for table in tables:
            cursor.execute(f'SELECT count(*) FROM "{table}"')
            found.append(int(cursor.fetchone()[0]))
        return found

    yield rows
    connection.close()


def location() -> Definitions:
    days = DailyPartitionsDefinition(start_date=DAYS[0])

    def daily(name: str) -> AssetsDefinition:
        @asset(name=name, partitions_def=days)
        def made() -> None: ...

        return made

    assets = [daily("trades"), daily("levels")]
    return Definitions(
        assets=assets,
        jobs=[
            define_asset_job("tactical", selection=["trades", "levels"]),
            define_asset_job("day_close", selection=["levels"]),
        ],
    )


def run(instance: DagsterInstance, job: str, day: str) -> str:
    definition: Any = location().resolve_job_def(job)
    result = definition.execute_in_process(instance=instance, partition_key=day)
    assert result.success
    return str(result.run_id)


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=1)


def known(instance: DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def test_what_a_day_leaves_does_not_grow_with_its_runs(instance: DagsterInstance, count: Any) -> None:
    tables = ("runs", "run_tags", "event_logs", "asset_event_tags")
    left = []
    for _ in range(3):
        for _ in range(3):
            last = run(instance, "tactical", DAYS[0])
        before = count(*tables)
        assert remove_runs(instance, soon(), jobs=["tactical"]) >= 2
        left.append(count(*tables))
        assert known(instance) == {last}
        assert all(after < held for after, held in zip(left[-1], before, strict=True))
    assert left[0] == left[1] == left[2]


def test_the_newest_materialization_of_each_partition_stays_visible(instance: DagsterInstance) -> None:
    run(instance, "tactical", DAYS[0])
    tactical = run(instance, "tactical", DAYS[0])
    next_day = run(instance, "tactical", DAYS[1])
    day_close = run(instance, "day_close", DAYS[0])
    assert remove_runs(instance, soon()) == 1  # the first one is superseded in everything
    assert known(instance) == {tactical, next_day, day_close}  # trades of the first day are those of its last run
    for name in ("trades", "levels"):
        assert instance.get_materialized_partitions(AssetKey(name)) == set(DAYS)
    newest = instance.get_latest_materialization_event(AssetKey("levels"))
    assert newest is not None
    assert newest.run_id == day_close
    assert remove_runs(instance, soon()) == 0


def test_unfinished_young_and_other_jobs_runs_stay(instance: DagsterInstance) -> None:
    working = DagsterRun(job_name="tactical", status=DagsterRunStatus.STARTED)
    failed = DagsterRun(job_name="tactical", status=DagsterRunStatus.FAILURE)
    learning = DagsterRun(job_name="learning", status=DagsterRunStatus.FAILURE)
    for made in (working, failed, learning):
        instance.run_storage.add_run(made)
    assert remove_runs(instance, datetime.now(UTC) - timedelta(hours=1)) == 0
    assert remove_runs(instance, soon(), jobs=["tactical"]) == 1
    assert known(instance) == {working.run_id, learning.run_id}
    assert remove_runs(instance, soon(), other_than=["tactical"]) == 1
    assert known(instance) == {working.run_id}
    assert instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED]))


def test_the_output_of_a_run_goes_with_it(instance: DagsterInstance) -> None:
    first, second = run(instance, "tactical", DAYS[0]), run(instance, "tactical", DAYS[0])
    folders = []
    for run_id in (first, second):
        manager: Any = instance.compute_log_manager
        path = Path(manager.get_captured_local_path([run_id, "compute_logs", "step"], "err"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("what the run said\n")
        folders.append(path.parent.parent)
    remove_runs(instance, soon())
    assert [os.path.exists(folder) for folder in folders] == [False, True]


def test_a_pass_that_was_killed_is_repeated(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch, count: Any
) -> None:
    for _ in range(3):
        last = run(instance, "tactical", DAYS[0])

    def killed(run_id: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(instance.run_storage, "delete_run", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_runs(instance, soon())
    assert remove_runs(instance, soon()) == 2
    assert known(instance) == {last}
    events = instance.all_logs(last)
    assert count("event_logs") == [len(events)]  # none that belongs to a run that is gone


def test_of_what_feeds_report_the_newest_stays(instance: DagsterInstance, count: Any) -> None:
    for number in range(5):
        for venue in ("binance", "oanda"):
            instance.report_runless_asset_event(
                AssetObservation(asset_key=["feeds", venue], metadata={"number": number}, tags={"state": "live"})
            )
    run(instance, "tactical", DAYS[0])
    materializations = count("event_logs")[0] - 10
    assert remove_reports(instance, datetime.now(UTC) - timedelta(hours=1)) == 0
    assert remove_reports(instance, soon()) == 8
    assert count("event_logs") == [materializations + 2]
    for venue in ("binance", "oanda"):
        (record,) = instance.fetch_observations(AssetKey(["feeds", venue]), limit=10).records
        assert record.asset_observation is not None
        assert record.asset_observation.metadata["number"].value == 4
    assert len(instance.get_records_for_run(run_id="", of_type=DagsterEventType.ASSET_OBSERVATION).records) == 2
