"""The whole lane: simulated venue over sockets, real Redis, processes started the way the platform starts them."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from resources.redis_keys import (
    MARKET_DEAD,
    MARKET_STREAMS,
    market_depth,
    market_features,
    market_gaps,
    market_stream,
    market_trades,
)
from resources.redis_streams import StreamReader
from signal_assets.event_time import DAY, SECOND
from signal_assets.market import tables
from signal_assets.market.stream_codec import decode
from signal_assets.table import Table

pytestmark = pytest.mark.slow

KEY = "BTCUSDT.BINANCE"
CONFIGURATION = """
instruments:
  - {symbol: BTCUSDT, venue: BINANCE, pair: BTC/USDT, tick_size: "0.01", lot_size: "0.00001", bucket_size: "1"}
"""
FIRST_TRADE, LAST_TRADE = 3735683259, 3735703162
"""Ids of the first and the last trade line of the recording."""


def first_line(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the process ended with {process.wait(10)}"
    answer: dict[str, Any] = json.loads(line)
    return answer


@pytest.fixture
def spawn() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    processes: list[subprocess.Popen[str]] = []

    def start(module: str, *words: str, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if module == "services.live_lane" else None,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait(60)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


class Stage:
    """A home, a Redis, and the venue of the moment."""

    def __init__(self, spawn: Callable[..., "subprocess.Popen[str]"], redis_server: Any, home: Path) -> None:
        self.spawn = spawn
        self.home = home
        self.redis = redis_server
        self.reader = StreamReader(redis_server.client())
        home.mkdir()
        configuration = home / "signals.yaml"
        configuration.write_text(CONFIGURATION)
        self.environment = {
            "SIGNAL_HOME": str(home),
            "SIGNAL_CONFIG": str(configuration),
            "SIGNAL_REDIS_URL": redis_server.url,
            "SIGNAL_LIVE__METRICS_PORT": "0",
            "SIGNAL_LIVE__HEALTH_PORT": "0",
            "SIGNAL_VENUE__VIRTUAL_CLOCK": "true",
        }

    def venue(self, *words: str) -> dict[str, str]:
        address = first_line(
            self.spawn("services.simulated_venue", *words, SIGNAL_CONFIG=self.environment["SIGNAL_CONFIG"])
        )
        return {"SIGNAL_VENUE__REST_URL": address["rest_url"], "SIGNAL_VENUE__STREAM_URL": address["stream_url"]}

    def lane(self, venue: dict[str, str], *words: str) -> "subprocess.Popen[str]":
        return self.spawn("services.live_lane", *words, **{**self.environment, **venue})

    def pages(self) -> dict[str, Any]:
        path = self.home / "live_lane.json"
        deadline = time.monotonic() + 120
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        pages: dict[str, Any] = json.loads(path.read_text())
        return pages

    def rows(self, key: str, table: Table) -> pd.DataFrame:
        frames = [decode(table, entry.fields["data"]) for entry in self.reader.read_after(key, None, 1_000_000)]
        return pd.concat([table.empty(), *frames], ignore_index=True)

    def lengths(self) -> dict[str, tuple[int, int | None]]:
        client = self.redis.client()
        keys = [market_stream(KEY, stream) for stream in MARKET_STREAMS]
        return {key: (client.xlen(key), self.reader.tail(key)) for key in keys}


@pytest.fixture
def stage(spawn: Callable[..., "subprocess.Popen[str]"], redis_server: Any, tmp_path: Path) -> Stage:
    return Stage(spawn, redis_server, tmp_path / "home")


@pytest.fixture
def recording(shared_data: Path) -> list[str]:
    folder = shared_data / "binance_spot_btcusdt"
    return ["--recording", str(folder / "btcusdt_20240808.gz"), str(folder / "btcusdt_20240809.gz"), "--speed", "max"]


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 – our own page
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def metrics(pages: dict[str, Any]) -> dict[str, float]:
    _, body = get(pages["metrics"])
    lines = [line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_recording_ends_in_the_streams_once(stage: Stage, recording: list[str]) -> None:
    lane = stage.lane(stage.venue(*recording), "--exit-at-end")
    _, log = lane.communicate(timeout=120)
    assert lane.returncode == 0, log

    trades = stage.rows(market_trades(KEY), tables.TRADES)
    assert trades["trade_id"].tolist() == list(range(FIRST_TRADE, LAST_TRADE + 1))
    assert len(trades) == 19_904
    assert stage.rows(market_gaps(KEY), tables.FEED_GAPS).empty
    features = stage.rows(market_features(KEY), tables.FEATURES)
    assert features["time"].diff().dropna().eq(SECOND).all()
    assert len(features) > 600
    assert (features["best_bid"] < features["best_ask"]).all()
    assert features["trade_count"].sum() == (~trades["late"]).sum() - _outside(trades, features)
    assert len(stage.rows(market_depth(KEY), tables.DEPTH_SNAPSHOTS)) >= 10
    assert stage.reader.tail(market_features(KEY)) == 19_945 * DAY  # midnight after 2024-08-09
    newest = stage.reader.read_after(market_features(KEY), 19_945 * DAY - 1, 1)[0]
    assert newest.fields["reason"] == b"end_of_recording"
    assert stage.redis.client().xlen(MARKET_DEAD) == 0

    before = stage.lengths()
    again = stage.lane(stage.venue(*recording), "--exit-at-end")
    _, log = again.communicate(timeout=120)
    assert again.returncode == 0, log
    assert stage.lengths() == before


def _outside(trades: pd.DataFrame, features: pd.DataFrame) -> int:
    """Trades in time whose grid second has no features row."""
    second = -(-trades["event_time"] // SECOND) * SECOND
    return int((~second.isin(features["time"]) & ~trades["late"]).sum())


def test_health_and_metrics_answer_after_the_end(stage: Stage, recording: list[str]) -> None:
    lane = stage.lane(stage.venue(*recording))
    pages = stage.pages()
    assert pages["pid"] == lane.pid
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and stage.reader.tail(market_features(KEY)) != 19_945 * DAY:
        time.sleep(0.1)
    status, body = get(pages["health"])
    health = json.loads(body)
    assert status == 200
    assert health["status"] == "degraded"  # nobody has said where a lake is: no signals, but the data flows
    assert health["engines"]["crypto"]["state"] == "starting"
    assert health["engines"]["crypto"]["error"].startswith("AddressesError: no platform is running in")
    assert health["emitter"]["connected"]
    assert health["feeds"]["BINANCE"]["state"] == "ended"
    assert health["dependencies"]["redis"]["healthy"]
    assert health["dependencies"]["venue BINANCE"]["status"] == "up"
    assert health["feeds"]["BINANCE"]["instruments"][KEY]["sequence_gaps"] == 0

    values = metrics(pages)
    assert values["live_lane_trades_total"] == 19_904
    assert values["live_lane_depth_updates_total"] == 6_495
    assert values["live_lane_dead_letters_total"] == 0
    assert values[f'market_sequence_gaps_total{{instrument="{KEY}"}}'] == 0
    assert values[f'market_crossed_total{{instrument="{KEY}"}}'] == 0
    # 2,437 trades come behind the newest exchange time, by 213 ms at most: within the lateness of 500 ms.
    assert values[f'market_late_trades_total{{instrument="{KEY}"}}'] == 0
    assert values["redis_up"] == 1
    assert values["live_lane_flush_seconds_count"] == values["live_lane_flushes_total"] > 0

    stage.redis.kill()
    status, body = get(pages["health"])
    assert status == 503
    assert json.loads(body)["dependencies"]["redis"]["status"] == "down"
    stage.redis.start()
    assert get(pages["health"])[0] == 200

    lane.send_signal(signal.SIGTERM)
    assert lane.wait(15) == 0
    assert not (stage.home / "live_lane.json").exists()


def test_kill_9_of_the_lane_loses_and_doubles_no_trade(stage: Stage, recording: list[str]) -> None:
    kills = 2
    speed = [*recording[:-1], "60"]
    venue = stage.venue(*speed)
    for number in range(kills):
        lane = stage.lane(venue)
        wanted = FIRST_TRADE + (number + 1) * 3_000
        deadline = time.monotonic() + 60
        while (stage.reader.tail(market_trades(KEY)) or 0) < wanted and time.monotonic() < deadline:
            time.sleep(0.005)
        lane.send_signal(signal.SIGKILL)
        lane.wait(60)
    last = stage.lane(venue, "--exit-at-end")
    _, log = last.communicate(timeout=120)
    assert last.returncode == 0, log
    trades = stage.rows(market_trades(KEY), tables.TRADES)
    assert sorted(trades["trade_id"]) == list(range(FIRST_TRADE, LAST_TRADE + 1))
    features = stage.rows(market_features(KEY), tables.FEATURES)
    gaps = stage.rows(market_gaps(KEY), tables.FEED_GAPS)
    assert features["time"].is_unique
    assert 1 <= len(gaps[gaps["feed"] == "depth"]) <= kills
    # Every second is either in a row or inside a recorded gap.
    newest = trades["event_time"].max() // SECOND * SECOND
    missing = set(range(features["time"].min(), newest, SECOND)) - set(features["time"])
    assert missing
    stretches = list(zip(gaps["gap_start"], gaps["gap_end"], strict=True))
    assert all(any(start < point <= end for start, end in stretches) for point in missing)


def test_lane_killed_and_back_only_after_the_recording_has_ended(stage: Stage, recording: list[str]) -> None:
    venue = stage.venue(*recording)
    lane = stage.lane(venue)
    deadline = time.monotonic() + 30
    while (stage.reader.tail(market_trades(KEY)) or 0) < FIRST_TRADE + 2_000 and time.monotonic() < deadline:
        time.sleep(0.001)
    lane.send_signal(signal.SIGKILL)
    lane.wait(60)
    before = stage.reader.tail(market_trades(KEY))
    assert before is not None
    assert before < LAST_TRADE
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        status = json.loads(get(f"{venue['SIGNAL_VENUE__REST_URL']}/simulated/status")[1])
        if status["finished"]:
            break
        time.sleep(0.05)
    last = stage.lane(venue, "--exit-at-end")
    _, log = last.communicate(timeout=180)
    assert last.returncode == 0, log
    trades = stage.rows(market_trades(KEY), tables.TRADES)
    assert trades["trade_id"].tolist() == list(range(FIRST_TRADE, LAST_TRADE + 1))
    assert not trades["late"].any()
    gaps = stage.rows(market_gaps(KEY), tables.FEED_GAPS)
    assert gaps["feed"].tolist() == ["depth"]
    assert stage.reader.tail(market_features(KEY)) == 19_945 * DAY


def test_redis_killed_while_the_lane_works(stage: Stage, recording: list[str]) -> None:
    speed = [*recording[:-1], "120"]
    lane = stage.lane(stage.venue(*speed), "--exit-at-end")
    for number in range(3):
        deadline = time.monotonic() + 60
        while (stage.reader.tail(market_trades(KEY)) or 0) < FIRST_TRADE + number * 4_000 + 100:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        stage.redis.kill()
        time.sleep(1.0)
        stage.redis.start()
        stage.reader = StreamReader(stage.redis.client())
    _, log = lane.communicate(timeout=120)
    assert lane.returncode == 0, log
    trades = stage.rows(market_trades(KEY), tables.TRADES)
    assert trades["trade_id"].tolist() == list(range(FIRST_TRADE, LAST_TRADE + 1))
    assert stage.rows(market_gaps(KEY), tables.FEED_GAPS).empty


def test_one_lane_per_home(stage: Stage, recording: list[str]) -> None:
    venue = stage.venue(*recording)
    stage.lane(venue)
    stage.pages()
    second = stage.lane(venue)
    _, log = second.communicate(timeout=120)
    assert second.returncode == 1
    assert f"live lane: another live lane runs in {stage.home}" in log.splitlines()[-1]


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"SIGNAL_REDIS_URL": "http://nowhere"}, "must begin with redis://"),
        ({"SIGNAL_CONFIG": "/nowhere/signals.yaml"}, "/nowhere/signals.yaml: cannot be read"),
        ({"SIGNAL_REDIS_URL": ""}, "no platform is running in"),
    ],
)
def test_wrong_surroundings_are_one_clear_line(stage: Stage, changed: dict[str, str], line: str) -> None:
    lane = stage.lane(changed)
    _, log = lane.communicate(timeout=120)
    assert lane.returncode == 1
    assert line in log.splitlines()[-1]


def test_waits_for_redis_and_for_the_venue(stage: Stage, recording: list[str]) -> None:
    stage.redis.kill()
    lane = stage.lane(stage.venue(*recording), "--exit-at-end")
    pages = stage.pages()
    assert get(pages["health"])[0] == 503
    stage.redis.start()
    _, log = lane.communicate(timeout=180)
    assert lane.returncode == 0, log
    assert stage.reader.tail(market_trades(KEY)) == LAST_TRADE
