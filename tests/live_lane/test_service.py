"""The process itself: configuration, ports, secrets."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.live_lane.__main__ import mask_secrets
from services.live_lane.measurements import Latency

pytestmark = pytest.mark.slow

CONFIGURATION = """
instruments:
  - {{symbol: {symbol}, venue: {venue}, pair: BTC/USDT, tick_size: "0.01", lot_size: "0.00001", bucket_size: "1"}}
venue: {{rest_url: "http://127.0.0.1:9", stream_url: "ws://127.0.0.1:9", virtual_clock: true}}
live: {{metrics_port: {port}, health_port: 0}}
"""


@pytest.fixture
def start(redis_server: Any, tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []

    def start(*, symbol: str = "BTCUSDT", venue: str = "BINANCE", port: int = 0) -> "subprocess.Popen[str]":
        path = tmp_path / "signals.yaml"
        path.write_text(CONFIGURATION.format(symbol=symbol, venue=venue, port=port))
        surroundings = {"SIGNAL_HOME": str(tmp_path), "SIGNAL_CONFIG": str(path), "SIGNAL_REDIS_URL": redis_server.url}
        process = subprocess.Popen(
            [sys.executable, "-m", "services.live_lane"],
            env={**os.environ, **surroundings},
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(10)
        assert process.stderr is not None
        process.stderr.close()


def instruments(home: Path) -> list[str]:
    """What /health lists; nothing while the service is between two lives."""
    try:
        url = json.loads((home / "live_lane.json").read_text())["health"]
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 – our own page
            body = response.read()
    except urllib.error.HTTPError as error:
        body = error.read()
    except OSError:
        return []
    feeds = json.loads(body)["feeds"]
    return [instrument for feed in feeds.values() for instrument in feed["instruments"]]


def wait_for(home: Path, wanted: list[str]) -> None:
    deadline = time.monotonic() + 120
    while instruments(home) != wanted:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_changed_configuration_comes_into_force_and_a_wrong_one_does_not(
    start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    process = start()
    wait_for(tmp_path, ["BTCUSDT.BINANCE"])
    path = tmp_path / "signals.yaml"
    path.write_text(CONFIGURATION.format(symbol="ETHUSDT", venue="BINANCE", port=0))
    wait_for(tmp_path, ["ETHUSDT.BINANCE"])
    path.write_text("instruments: []")
    time.sleep(1.5)
    assert instruments(tmp_path) == ["ETHUSDT.BINANCE"]
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=120)
    assert process.returncode == 0
    events = [json.loads(line) for line in log.splitlines()]
    refused = [event for event in events if event["event"] == "configuration refused, the old one stays in force"]
    assert len(refused) == 1
    assert str(path) in refused[0]["error"]


def test_taken_port_is_one_clear_line(start: Callable[..., "subprocess.Popen[str]"]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = start(port=taken.getsockname()[1])
        _, log = process.communicate(timeout=120)
    assert process.returncode == 1
    assert log.splitlines()[-1].startswith("live lane: metrics or health port is taken: ")


def test_venue_without_adapter_is_one_clear_line(start: Callable[..., "subprocess.Popen[str]"]) -> None:
    process = start(venue="NOWHERE")
    _, log = process.communicate(timeout=120)
    assert process.returncode == 1
    assert log.splitlines()[-1] == "live lane: no adapter for venue NOWHERE; there are BINANCE"


def test_secrets_do_not_reach_the_log() -> None:
    event = {
        "event": "cannot reach redis://user:geheim@host:1/0 now",
        "redis_password": "geheim",
        "url": "unix:///a@b/r.sock?password=geheim",
        "count": 3,
    }
    masked = dict(mask_secrets(None, "info", dict(event)))
    assert "geheim" not in json.dumps(masked)
    assert masked["count"] == 3
    assert masked["event"] == "cannot reach redis://user:***@host:1/0 now"


def test_quantiles_are_those_of_the_newest_values() -> None:
    latency = Latency("seconds", "for this test")
    assert latency.quantile(0.5) is None
    for value in range(5_000):
        latency.observe(float(value))
    assert latency.quantile(0.0) == 3_000.0
    assert latency.quantile(0.5) == 4_000.0
    assert latency.quantile(0.99) == 4_980.0
    assert latency.quantile(1.0) == 4_999.0
