"""The doctor's checks where something is wrong; where all is well they run in ``tests/cli/test_on_platform``."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from resources.addresses import Addresses
from services import health_checks
from services.health_checks import examine, simulated_venue_url
from tests.exchange.futures_venue import FuturesVenue

ROOT = Path(__file__).parents[2]


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SIGNAL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SIGNAL_CONFIG", str(ROOT / "config" / "signals.yaml"))
    with socket.socket() as probe:  # a port on which nobody listens
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("SIGNAL_VENUE__REST_URL", f"http://127.0.0.1:{probe.getsockname()[1]}")


@pytest.fixture
def venue() -> Iterator[str]:
    """Address of a simulated venue."""
    words = [sys.executable, "-m", "services.simulated_venue", "--port", "0", "--sparse", "--at-once", "--start", "now"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield str(json.loads(process.stdout.readline())["rest_url"])
        process.terminate()


def found(home: Path) -> dict[str, tuple[bool, str]]:
    return {check.name: (check.good, check.detail) for check in examine(home)}


def test_nothing_runs_and_the_exchange_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_checks, "EXCHANGE_PATIENCE_SECONDS", 0.3)
    checks = found(tmp_path / "home")
    assert {name: good for name, (good, _) in checks.items()} == {
        "configuration": True,
        "platform": False,
        "disk": True,
        "clock": False,
        "exchange": False,
    }
    assert "start one with `signals up`" in checks["platform"][1]
    assert checks["clock"][1].startswith("not compared: ")
    assert all("\n" not in detail for _, detail in checks.values())


@pytest.mark.slow
def test_services_that_do_not_answer_are_a_line_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_checks, "EXCHANGE_PATIENCE_SECONDS", 0.1)
    folder = f"{tmp_path}/none"
    Addresses(
        f"postgresql+psycopg2://u@/db?host={folder}",
        f"unix://{folder}/redis.sock",
        f"redis+socket://{folder}/redis.sock",
        f"{tmp_path}/lake",
        tmp_path,
    ).write()
    (tmp_path / "processes.json").write_text(json.dumps([{"name": "daemon", "state": "waiting", "pid": None}]))
    checks = found(tmp_path)
    assert {name for name, (good, _) in checks.items() if good} == {"configuration", "platform", "disk"}
    assert checks["processes"][1] == f"daemon is waiting: see {tmp_path / 'logs'}"
    assert all("\n" not in detail for _, detail in checks.values())


@pytest.mark.slow
def test_a_damaged_process_list_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_checks, "EXCHANGE_PATIENCE_SECONDS", 0.1)
    Addresses("postgresql+psycopg2:///", "unix:///none", "redis+socket:///none", "/none", tmp_path).write()
    (tmp_path / "processes.json").write_text("{")
    assert found(tmp_path)["processes"] == (False, f"{tmp_path / 'processes.json'} cannot be read")
    assert simulated_venue_url(tmp_path) is None


def test_a_full_disk_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_checks, "EXCHANGE_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(health_checks.shutil, "disk_usage", lambda _: Usage(10**12, 10**12 - 10**9, 10**9))
    assert found(tmp_path)["disk"] == (False, f"only 0.9 GiB free at {tmp_path}: 2 GiB are the least")


@pytest.mark.slow
def test_an_exchange_that_answers(tmp_path: Path, venue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNAL_VENUE__REST_URL", venue)
    checks = found(tmp_path)
    assert checks["exchange"][0], checks["exchange"]
    assert "filters agree" in checks["exchange"][1]
    assert checks["clock"][0], checks["clock"]


@pytest.mark.slow
def test_filters_that_differ_are_named(tmp_path: Path, venue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "signals.yaml"
    text = (ROOT / "config" / "signals.yaml").read_text("utf-8")
    other.write_text(text.replace('lot_size: "0.00001"', 'lot_size: "0.00005"'), "utf-8")
    monkeypatch.setenv("SIGNAL_CONFIG", str(other))
    monkeypatch.setenv("SIGNAL_VENUE__REST_URL", venue)
    assert found(tmp_path)["exchange"] == (False, "BTCFDUSD.BINANCE: the exchange says tick 0.01, lot 1e-05")


@pytest.mark.slow
def test_a_wrong_clock_is_noticed(tmp_path: Path, venue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNAL_VENUE__REST_URL", venue)
    real = health_checks.time.time_ns
    monkeypatch.setattr(health_checks.time, "time_ns", lambda: real() + 5_000_000_000)
    good, detail = found(tmp_path)["clock"]
    assert not good
    assert "synchronize this machine's clock" in detail


async def test_perpetuals_are_asked_for_where_they_are_traded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "perpetual.yaml"
    words = "symbol: BTCUSDT-PERP, venue: BINANCE, pair: BTC/USDT, trade_stream: aggTrade"
    file.write_text(f"instruments:\n  - {{{words}, tick_size: '0.1', lot_size: '0.002'}}\n")
    monkeypatch.setenv("SIGNAL_CONFIG", str(file))
    async with FuturesVenue(seed=1, messages=1).served() as url:
        monkeypatch.setenv("SIGNAL_VENUE__FUTURES_REST_URL", url)
        checks = await asyncio.to_thread(found, tmp_path)
    assert checks["futures exchange"] == (
        False,
        "BTCUSDT-PERP.BINANCE: the exchange says tick 0.1, lot 0.001",
    )
    assert not checks["futures clock"][0]  # that venue's stands still in 2023
    assert "exchange" not in checks  # there is no spot instrument
