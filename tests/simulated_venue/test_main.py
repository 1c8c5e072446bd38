"""The venue as a process."""

import asyncio
import gzip
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from resources.exchange.binance import BinanceSpot
from resources.exchange.errors import FeedEndedError
from services.simulated_venue.__main__ import main
from services.simulated_venue.market_plan import FlowSettings
from services.simulated_venue.order_flow import OrderFlow
from signal_assets.instrument import Instrument

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "services.simulated_venue"]


async def listen(address: dict[str, str], instrument: Instrument) -> int:
    heard = 0
    async with BinanceSpot([instrument], **address) as binance:
        try:
            async for _ in binance.stream():
                heard += 1
        except FeedEndedError:
            return heard
    return -1


def test_it_prints_its_address_serves_and_stops(instruments: tuple[Instrument, ...], tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    words = ["--seed", "3", "--days", "0.01", "--speed", "max", "--sparse", "--instruments", "BTCFDUSD"]
    words += ["--levels", "60", "--anomalies-per-day", "400"]
    process = subprocess.Popen([*COMMAND, *words, "--truth", str(truth)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = orjson.loads(process.stdout.readline())
        assert address["rest_url"].startswith("http://127.0.0.1:")
        heard = asyncio.run(listen(address, instruments[0]))
        assert heard > 170  # a diff every five seconds for a quarter of an hour, and trades
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    flow = FlowSettings.sparse(levels_per_side=60, anomalies_per_day=400)
    expected = OrderFlow(instruments[:1], seed=3, days=0.01, settings=flow).truth()
    assert expected["anomalies"]
    assert orjson.loads(truth.read_bytes()) == expected


def test_it_ends_by_itself_when_told(tmp_path: Path) -> None:
    trade = b'1 {"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","t":1,"T":1}}'
    path = tmp_path / "one.gz"
    path.write_bytes(gzip.compress(trade))
    words = ["--recording", str(path), "--at-once", "--stop-at-end", "--speed", "max"]
    done = subprocess.run([*COMMAND, *words], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(b"1 {}", mtime=0)[:-4], "cut off"),
        (b"", "is empty"),
        (gzip.compress(b"1 {", mtime=0), "line 1: not JSON"),
    ],
    ids=["truncated", "empty", "malformed"],
)
def test_a_broken_recording_ends_it_with_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "bad.gz"
    path.write_bytes(content)
    words = ["--recording", str(path), "--at-once", "--speed", "max"]
    done = subprocess.run([*COMMAND, *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"simulated venue: {path}")
    assert reason in line


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--instruments", "XYZ"], "instrument 'XYZ' is not in the configuration"),
        (["--days", "-1"], "days must be positive"),
        (["--levels", "1"], "levels_per_side"),
    ],
)
def test_bad_arguments_get_one_line(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(words) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert reason in line


@pytest.mark.parametrize("words", [["--speed", "0"], ["--speed", "fast"], ["--start", "then"], ["--unknown"]])
def test_unreadable_arguments_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert words[0] in capsys.readouterr().err
