"""What a worker's process does while it waits for its first run."""

from pathlib import Path

import pytest
import structlog

from resources.addresses import Addresses
from resources.duck_lake import DuckLake, process_lake
from signal_assets import definitions
from signal_assets.stage_tables import TABLES


@pytest.mark.slow
def test_the_lake_is_open_and_its_tables_are_there(addresses: Addresses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Addresses, "resolve", staticmethod(lambda: addresses))
    definitions.warm_up().join(60)
    lake = process_lake(addresses)
    names = {
        row[0] for row in DuckLake(addresses).query("SELECT schema_name || '.' || table_name FROM duckdb_tables()")
    }
    assert {table.name for table in TABLES} <= names
    lake.close()


def test_a_lake_that_cannot_be_reached_is_said_and_left_to_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Addresses(
        postgres_url=f"postgresql://postgres:@/signals?host={tmp_path}",
        redis_url="",
        broker_url="",
        lake_path=f"{tmp_path}/lake/",
        home=tmp_path,
    )
    monkeypatch.setattr(Addresses, "resolve", staticmethod(lambda: nowhere))
    with structlog.testing.capture_logs() as lines:
        definitions.warm_up().join(60)
    (line,) = [line for line in lines if line["event"] == "warm_up"]
    assert (line["log_level"], str(nowhere.lake_path) in line["error"]) == ("warning", True)
