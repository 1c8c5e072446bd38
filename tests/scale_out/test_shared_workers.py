"""``signals worker`` refuses in one line what cannot work."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from resources.addresses import Addresses
from services.platform.embedded_redis import EmbeddedRedis, broker_url_of
from tests.scale_out.generated_days import write_settings


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("bus")
    server = EmbeddedRedis(folder / "redis", folder, folder / "log")
    yield server.start()
    server.stop()


@pytest.fixture
def worker(
    addresses: Addresses, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """``signals worker`` with addresses of which one may be another."""
    good = {
        "SIGNAL_CONFIG": str(write_settings(tmp_path)),
        "SIGNAL_POSTGRES_URL": addresses.postgres_url,
        "SIGNAL_REDIS_URL": redis_url,
        "SIGNAL_BROKER_URL": broker_url_of(redis_url),
        "SIGNAL_LAKE_PATH": addresses.lake_path,
    }
    monkeypatch.setenv("SIGNAL_HOME", str(tmp_path / "home"))

    def call(*words: str, **other: str) -> Result:
        for name, value in (good | other).items():
            monkeypatch.setenv(name, value)
        return CliRunner().invoke(app, ["worker", "--home", str(tmp_path / "home"), *words], catch_exceptions=False)

    return call


def one_line(result: Result) -> str:
    assert result.exit_code != 0
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return str(result.stderr)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--queues", "backfil"], "there is no queue 'backfil'; there are tactical, backfill, maintenance"),
        (["--queues", "backfill,maintenance"], "2 queues need as many processes"),
        (["--queues", " , "], "--queues names no queue"),
        (["--processes", "0"], "--processes"),
    ],
)
def test_options(worker: Callable[..., Result], words: list[str], message: str) -> None:
    assert message in one_line(worker(*words))


def test_a_missing_address_is_named(worker: Callable[..., Result]) -> None:
    message = one_line(worker(SIGNAL_BROKER_URL="", SIGNAL_LAKE_PATH=""))
    assert "set SIGNAL_BROKER_URL, SIGNAL_LAKE_PATH (there, `signals env` shows them)" in message


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SIGNAL_POSTGRES_URL", "postgresql+psycopg2://u:word@127.0.0.1:1/x", "PostgreSQL at 127.0.0.1 cannot be"),
        ("SIGNAL_REDIS_URL", "redis://127.0.0.1:1/0", "Redis at 127.0.0.1 cannot be reached"),
        ("SIGNAL_BROKER_URL", "redis://127.0.0.1:1/1", "the broker (SIGNAL_BROKER_URL) cannot be reached"),
        ("SIGNAL_LAKE_PATH", "/no/such/lake", "the lake's folder /no/such/lake is not there"),
    ],
)
def test_an_address_that_does_not_answer_is_named(
    worker: Callable[..., Result], name: str, value: str, message: str
) -> None:
    line = one_line(worker(**{name: value}))
    assert message in line
    assert "word@" not in line
