"""A Redis, a simulated venue and live lanes as processes, and what they leave in the streams.

Belongs here: starting, stopping, reading. Does not belong here: what must hold (``test_shards``, ``test_standby``).
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import redis

from resources.redis_keys import SIGNALS as SIGNALS_STREAM
from resources.redis_keys import lane_holder, market_features, market_stream
from resources.redis_streams import StreamReader
from resources.settings import load_settings
from services.live_lane.engine_start import rows_of
from signal_assets.fold import forward_fold
from signal_assets.market.stream_codec import decode
from signal_assets.market.tables import DEPTH_SNAPSHOTS, FEATURES, FEED_GAPS, TRADES
from signal_assets.signals.tables import SIGNALS
from tests.live_lane.conftest import RedisServer
from tests.live_lane.toy_folds import lake_with
from tests.scale_out.lane_process import lasting_folds

PATIENCE_SECONDS = 240.0
STREAMS = {"trades": TRADES, "depth": DEPTH_SNAPSHOTS, "features": FEATURES, "gaps": FEED_GAPS}
ROOT = Path(__file__).parents[2]

INSTRUMENT = """
  - {{symbol: {symbol}, venue: BINANCE, pair: {pair}, group: {group}, tick_size: "0.01", lot_size: "0.0001",
     bucket_size: "1"}}"""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Ask again and again."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:.0f} s in vain: {what}"
        time.sleep(0.05)


class Lanes:
    """Everything that runs in one test."""

    def __init__(self, folder: Path, groups: dict[str, str]) -> None:
        """``groups``: the group of each symbol against FDUSD."""
        self.folder = folder
        folder.mkdir()
        self.keys = {f"{symbol}FDUSD.BINANCE": group for symbol, group in groups.items()}
        self.configuration = folder / "signals.yaml"
        instruments = "".join(
            INSTRUMENT.format(symbol=f"{symbol}FDUSD", pair=f"{symbol}/FDUSD", group=group)
            for symbol, group in groups.items()
        )
        more = "\nsnapshot_interval_seconds: 10\nlive: {metrics_port: 0, health_port: 0}\n"
        self.configuration.write_text(f"instruments:{instruments}{more}")
        self.redis = RedisServer(folder)
        self.redis.start()
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.environment = {
            **os.environ,
            "SIGNAL_CONFIG": str(self.configuration),
            "SIGNAL_REDIS_URL": self.redis.url,
            "SIGNAL_VENUE__VIRTUAL_CLOCK": "true",
        }

    def __enter__(self) -> "Lanes":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()  # one that is stopped dies of it, too
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()
        self.redis.kill()

    def venue(self, *words: str) -> None:
        """Start the venue; lanes started from now on use it."""
        process = self._start("venue", ["-m", "services.simulated_venue", *words], stdout=subprocess.PIPE)
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())
        self.environment["SIGNAL_VENUE__REST_URL"] = address["rest_url"]
        self.environment["SIGNAL_VENUE__STREAM_URL"] = address["stream_url"]

    def lane(self, name: str, *groups: str) -> None:
        """Start a lane in a folder of its own."""
        log = (self.folder / f"{name}.log").open("w")
        words = ["-m", "tests.scale_out.lane_process", str(self.folder / name)]
        self._start(name, [*words, ",".join(groups)] if groups else words, stderr=log)
        log.close()

    def _start(self, name: str, words: list[str], **files: Any) -> "subprocess.Popen[str]":
        process = subprocess.Popen([sys.executable, *words], env=self.environment, cwd=ROOT, text=True, **files)
        self.processes[name] = process
        return process

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process."""
        self.processes[name].send_signal(number)

    def wait_for_end(self, *names: str) -> None:
        """Wait until lanes have ended by themselves."""
        for name in names:
            assert self.processes[name].wait(PATIENCE_SECONDS) == 0, self.log(name)

    def log(self, name: str) -> str:
        """What a lane has written."""
        return (self.folder / f"{name}.log").read_text()

    def pages(self, name: str) -> tuple[dict[str, Any], dict[str, float]]:
        """Health and metrics of a lane; nothing if it does not serve any."""
        try:
            state = json.loads((self.folder / name / "live_lane.json").read_text())
            health, metrics = _get(state["health"]), _get(state["metrics"]).decode()
        except (OSError, ValueError):
            return {}, {}
        lines = [line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#")]
        return json.loads(health), {key: float(value) for key, value in lines}

    def state(self, name: str, group: str) -> str:
        """What a lane says it is for a group."""
        state: str = self.pages(name)[0].get("groups", {}).get(group, {}).get("state", "")
        return state

    # -- what is in Redis -------------------------------------------------------------------------------------------

    @property
    def client(self) -> redis.Redis:
        """A new client."""
        return self.redis.client()

    def token(self, group: str) -> int:
        """Token of the lane that took the group last; 0 if there was none."""
        value: Any = self.client.get(lane_holder(group))
        return int(value.split()[0]) if value else 0

    def reached(self, key: str) -> int:
        """Watermark of an instrument."""
        return StreamReader(self.client).tail(market_features(key)) or 0

    def rows(self, key: str, stream: str) -> pd.DataFrame:
        """All rows of a stream, repeats included, in its order; operational columns apart."""
        table = STREAMS[stream]
        entries = StreamReader(self.client).read_after(market_stream(key, stream), None, 1_000_000)
        frames = [decode(table, entry.fields["data"]) for entry in entries]
        rows = pd.concat([table.empty(), *frames], ignore_index=True)
        return rows[list(table.value_columns)]

    def emitted(self) -> list[dict[str, Any]]:
        """What left, in order."""
        entries: Any = self.client.xrange(SIGNALS_STREAM)
        return [{name.decode(): orjson.loads(value) for name, value in fields.items()} for _, fields in entries]

    def expected_signals(self, group: str) -> dict[str, int]:
        """Id and event time of the signals that a run over the group's raw rows computes and validates."""
        instruments = load_settings(self.configuration).groups[group]
        reader = StreamReader(self.client)
        rows = {
            instrument.key: [
                row
                for entry in reader.read_after(market_features(instrument.key), None, 1_000_000)
                for row in rows_of(entry.fields["data"])
            ]
            for instrument in instruments
        }
        end = min(self.reached(instrument.key) for instrument in instruments)
        lake = lake_with(rows, end)
        for fold in lasting_folds():
            forward_fold(lake, fold, group, instruments, end=end, run_id="batch")
        computed = lake.read(SIGNALS)
        validated = computed[computed["status"] == "validated"]
        return dict(zip(validated["id"], validated["event_time"].astype(int), strict=True))


def _get(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 – our own page
            answer: bytes = response.read()
    except urllib.error.HTTPError as error:
        answer = error.read()
    return answer
