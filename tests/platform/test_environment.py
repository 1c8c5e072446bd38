import socket
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from resources.addresses import Addresses
from services.platform import after_socket, environment
from services.platform.environment import exports, prepare_dagster_home, write_workspace
from services.platform.errors import PlatformError

ROOT = Path(__file__).resolve().parents[2]


def test_exports_are_all_a_shell_needs(tmp_path: Path) -> None:
    addresses = Addresses(
        postgres_url="postgresql+psycopg2://postgres:@/signals?host=/s",
        redis_url="unix:///s/redis.sock?db=0",
        broker_url="redis+socket:///s/redis.sock?virtual_host=1",
        lake_path="/s/lake",
        home=tmp_path,
    )
    assert exports(addresses) == {
        "SIGNAL_HOME": str(tmp_path),
        "SIGNAL_POSTGRES_URL": "postgresql+psycopg2://postgres:@/signals?host=/s",
        "SIGNAL_REDIS_URL": "unix:///s/redis.sock?db=0",
        "SIGNAL_BROKER_URL": "redis+socket:///s/redis.sock?virtual_host=1",
        "SIGNAL_LAKE_PATH": "/s/lake",
        "DAGSTER_HOME": str(tmp_path / "dagster"),
    }
    assert (tmp_path / "dagster" / "dagster.yaml").read_text() == (ROOT / "dagster.yaml").read_text()


def test_the_configuration_of_an_older_version_is_replaced(tmp_path: Path) -> None:
    folder = prepare_dagster_home(tmp_path)
    (folder / "dagster.yaml").write_text("old: true\n")
    prepare_dagster_home(tmp_path)
    assert (folder / "dagster.yaml").read_text() == (ROOT / "dagster.yaml").read_text()


def test_an_incomplete_installation_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "services" / "platform").mkdir(parents=True)
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "services" / "platform" / "environment.py"))
    with pytest.raises(PlatformError, match="the installation is incomplete"):
        prepare_dagster_home(tmp_path / "home")


def test_the_code_location_has_one_name_everywhere(tmp_path: Path) -> None:
    prepare_dagster_home(tmp_path)
    written = yaml.safe_load(write_workspace(tmp_path, Path("/s/code.sock")).read_text())
    by_hand = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    assert written["load_from"][0]["grpc_server"]["socket"] == "/s/code.sock"
    # Dagster remembers what a sensor has seen under this name.
    name = by_hand["load_from"][0]["python_module"]["location_name"]
    assert written["load_from"][0]["grpc_server"]["location_name"] == name


def test_a_program_is_run_when_the_socket_answers_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "late_program.py").write_text(
        "import sys, time\n"
        "if __name__ == '__main__':\n"
        f"    open({str(tmp_path / 'ran')!r}, 'w').write(f'{{time.monotonic()}} {{sys.argv[1:]}}')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["pytest"])
    path = tmp_path / "code.sock"
    bound: list[float] = []

    def serve() -> None:
        time.sleep(0.3)
        bound.append(time.monotonic())
        server.bind(str(path))
        server.listen()

    with socket.socket(socket.AF_UNIX) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        after_socket.main([str(path), "late_program", "run", "--workspace", "w.yaml"])
        thread.join()
    when, arguments = (tmp_path / "ran").read_text().split(" ", 1)
    assert float(when) > bound[0]
    assert arguments == "['run', '--workspace', 'w.yaml']"
