"""Dagster's storage on a real PostgreSQL."""

from collections.abc import Callable, Iterator

import psycopg2
import pytest
from dagster_postgres import DagsterPostgresStorage

from resources.addresses import Addresses
from resources.dagster_storage import PlatformStorage


@pytest.fixture
def storage(addresses: Addresses, monkeypatch: pytest.MonkeyPatch) -> DagsterPostgresStorage:
    monkeypatch.setenv("SIGNAL_POSTGRES_URL", addresses.postgres_url)
    made: DagsterPostgresStorage = PlatformStorage.from_config_value(None, {})
    return made


@pytest.fixture
def server_says(addresses: Addresses) -> Iterator[Callable[[str], int]]:
    """Ask the database itself about Dagster's connections to it."""
    connection = psycopg2.connect(addresses.postgres_url.replace("+psycopg2", ""))
    connection.autocommit = True

    def ask(what: str) -> int:
        cursor = connection.cursor()
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        cursor.execute(f"SELECT {what} {others}")
        return int(cursor.fetchone()[0])

    yield ask
    connection.close()


def test_a_connection_is_kept_from_one_statement_to_the_next(
    storage: DagsterPostgresStorage, server_says: Callable[[str], int]
) -> None:
    storage.run_storage.get_runs()
    before = server_says("min(pid)")
    for _ in range(5):
        storage.run_storage.get_runs()
    assert server_says("count(*)") == 1
    assert server_says("min(pid)") == before


@pytest.mark.slow
def test_a_database_that_went_away_is_found_again(
    storage: DagsterPostgresStorage, server_says: Callable[[str], int]
) -> None:
    storage.run_storage.get_runs()
    assert server_says("count(pg_terminate_backend(pid, 5000))") == 1
    assert list(storage.run_storage.get_runs()) == []
