import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy

from services.platform.embedded_postgres import EmbeddedPostgres, check_postgres, psycopg2_url
from services.platform.errors import PlatformError
from services.platform.probes import libpq_url

pytestmark = pytest.mark.slow


@pytest.fixture
def home() -> Iterator[Path]:
    # Not pytest's folder: under root the server runs as another user, whom a second pytest would lock out of it.
    with tempfile.TemporaryDirectory(prefix="signals test ") as folder:  # with spaces
        yield Path(folder)


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedPostgres]:
    embedded = EmbeddedPostgres(home / "postgres", home / "postgres")
    yield embedded
    embedded.stop()


def ask(url: str, statement: str) -> object:
    connection = psycopg2.connect(libpq_url(url))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
    finally:
        connection.close()


def kill(server: EmbeddedPostgres) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while server.alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not server.alive()


def start_with_patience(server: EmbeddedPostgres) -> str:
    """As the supervisor does: a killed server's processes may need a moment to end."""
    for _ in range(20):
        try:
            return server.start()
        except PlatformError:
            time.sleep(0.5)
    return server.start()


def test_data_survives_a_kill_and_leftovers_of_every_kind(server: EmbeddedPostgres, home: Path) -> None:
    url = server.start()
    with sqlalchemy.create_engine(url).connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT current_database()")).scalar() == "signals"
    assert ask(url, "SHOW listen_addresses") == ""
    assert ask(url, "SHOW unix_socket_permissions") == "0700"
    assert ask(url, "SHOW timezone") == "UTC"
    ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    kill(server)
    assert not server.ready()
    # The pid of the dead server belongs to somebody else by now, the library's list of users was cut off.
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        pid_file = home / "postgres" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        (home / "postgres" / ".handle_pids.json").write_text("[12, ")
        assert start_with_patience(server) == url
        assert ask(url, "SELECT answer FROM kept") == 42
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_that_outlived_its_platform_is_taken_over(server: EmbeddedPostgres, home: Path) -> None:
    url = server.start()
    second = EmbeddedPostgres(home / "postgres", home / "postgres")
    assert second.start() == url
    assert second.pid == server.pid
    second.stop()
    assert not server.alive()


def test_it_stays_until_it_is_stopped(server: EmbeddedPostgres, home: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from services.platform.embedded_postgres import EmbeddedPostgres\n"
        "folder = Path(sys.argv[1]); server = EmbeddedPostgres(folder, folder); server.start(); print(server.pid)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(home / "postgres")], capture_output=True, text=True, check=True, timeout=60
    )
    server.start()
    assert str(server.pid) == ended.stdout.strip()


def test_an_initialization_that_was_cut_off_is_begun_again(server: EmbeddedPostgres, home: Path) -> None:
    folder = home / "postgres"
    folder.mkdir()
    (folder / "PG_VERSION").write_text("18\n")
    (folder / "base").mkdir()
    assert ask(server.start(), "SELECT 1") == 1
    [aside] = home.glob("postgres.incomplete-*")
    assert (aside / "base").is_dir()


def test_addresses_name_the_driver_and_nothing_else_is_taken_for_one() -> None:
    assert (
        psycopg2_url("postgresql://u:p%40@db/x?sslmode=require") == "postgresql+psycopg2://u:p%40@db/x?sslmode=require"
    )
    for wrong in ("mysql://db/x", "db/x", ""):
        with pytest.raises(PlatformError, match="SIGNAL_POSTGRES_URL should look like"):
            psycopg2_url(wrong)


def test_an_unreachable_server_is_one_line_without_the_password() -> None:
    with pytest.raises(PlatformError) as refused:
        check_postgres("postgresql+psycopg2://user:secret@127.0.0.1:1/x", timeout=2)
    assert "PostgreSQL at 127.0.0.1 cannot be reached" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
