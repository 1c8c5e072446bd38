"""`signals replay` on the shipped recording: the whole command, on real stores, held against an independent replay."""

import gzip
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from resources.duck_lake import DuckLake
from services.platform.platform import Platform
from services.replay import ReplayError, claim_home
from signal_assets.event_time import MINUTE, SECOND
from signal_assets.market.tables import DEPTH_SNAPSHOTS, FEED_GAPS, TRADES
from signal_assets.stage_tables import TABLES

pytestmark = pytest.mark.slow

FILES = ("btcusdt_20240808.gz", "btcusdt_20240809.gz")


@pytest.fixture(scope="module")
def recording(shared_data: Path) -> list[Path]:
    return [shared_data / "binance_spot_btcusdt" / name for name in FILES]


def replay(home: Path, recording: list[Path], *options: str) -> str:
    """Run the command; its output."""
    words = [sys.executable, "-W", "ignore", "-m", "cli", "replay", *map(str, recording), "--home", str(home), *options]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr[-2_000:]
    return ended.stdout


def contents(home: Path, folder: Path) -> dict[str, pd.DataFrame]:
    """Every table of a home, operational columns aside, read by a platform of its own."""
    from tests.lanes.market_run import ONE, settings_with

    platform = Platform(
        home,
        settings_with(folder, ONE),
        with_ui=False,
        with_workers=False,
        with_daemon=False,
        with_live_lane=False,
        report=lambda line: None,
    )
    with platform:
        lake = DuckLake(platform.addresses)
        frames = {table.name: lake.read(table)[list(table.value_columns)] for table in TABLES}
        lake.close()
    return frames


@pytest.fixture(scope="module")
def first(recording: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    home = tmp_path_factory.mktemp("replay") / "home"
    return home, replay(home, recording, "--speed", "max")


def independent_book(recording: list[Path]) -> tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]:
    """The final book by the exchange's own recipe: snapshot, then every later diff; decimals in dictionaries."""
    lines: list[dict[str, Any]] = []
    for path in recording:
        with gzip.open(path, "rt") as file:
            lines += [json.loads(line.partition(" ")[2]) for line in file]
    snapshot = next(line for line in lines if "lastUpdateId" in line)
    bids = {Decimal(price): Decimal(quantity) for price, quantity in snapshot["bids"]}
    asks = {Decimal(price): Decimal(quantity) for price, quantity in snapshot["asks"]}
    for line in lines:
        data = line.get("data", {})
        if data.get("e") != "depthUpdate" or data["u"] <= snapshot["lastUpdateId"]:
            continue
        for side, changes in ((bids, data["b"]), (asks, data["a"])):
            for price, quantity in changes:
                if Decimal(quantity):
                    side[Decimal(price)] = Decimal(quantity)
                else:
                    side.pop(Decimal(price), None)
    return bids, asks


def test_the_recording_comes_out_whole(first: tuple[Path, str], recording: list[Path], tmp_path: Path) -> None:
    home, printed = first
    assert "0 sequence gaps, 0 crossed books" in printed
    state = json.loads((home / "live_lane_end.json").read_text("utf-8"))["BTCUSDT.BINANCE"]
    bids, asks = independent_book(recording)
    assert state["levels"] == len(bids) + len(asks)
    for side, price in ((bids, max(bids)), (asks, min(asks))):
        best = state["best_bid" if side is bids else "best_ask"]
        assert [Decimal(value) / 10**8 for value in best] == [price, side[price]]
    assert (state["sequence_gaps"], state["crossed"], state["duplicates"]) == (0, 0, 0)
    tables = contents(home, tmp_path)
    assert len(tables[TRADES.name]) == 19_904
    assert tables[FEED_GAPS.name].empty
    grid = tables[DEPTH_SNAPSHOTS.name]["event_time"].to_numpy()
    assert (grid % MINUTE == 0).all()
    assert len(grid) == 11  # 23:55 to 00:05
    assert len(tables["levels.wave_peaks"]) > 500


def test_a_second_replay_changes_no_row(first: tuple[Path, str], recording: list[Path], tmp_path: Path) -> None:
    home, _ = first
    before = contents(home, tmp_path)
    replay(home, recording, "--speed", "max")
    after = contents(home, tmp_path)
    for name, frame in before.items():
        pd.testing.assert_frame_equal(frame, after[name], obj=name)


def test_a_slower_replay_gives_the_same_rows(first: tuple[Path, str], recording: list[Path], tmp_path: Path) -> None:
    replay(tmp_path / "slower", recording, "--speed", "20")
    slower = contents(tmp_path / "slower", tmp_path)
    for name, frame in contents(first[0], tmp_path).items():
        pd.testing.assert_frame_equal(frame, slower[name], obj=name)


def test_snapshots_every_second_when_so_configured(recording: list[Path], tmp_path: Path) -> None:
    replay(tmp_path / "fine", recording, "--snapshot-seconds", "1")
    grid = contents(tmp_path / "fine", tmp_path)[DEPTH_SNAPSHOTS.name]["event_time"].to_numpy()
    assert (grid % SECOND == 0).all()
    assert (grid[1:] - grid[:-1] == SECOND).all()
    assert len(grid) > 640


def test_a_home_with_live_data_is_refused(tmp_path: Path) -> None:
    claim_home(tmp_path, "live")
    with pytest.raises(ReplayError, match="holds live data: a replay needs a home of its own"):
        claim_home(tmp_path, "replay")
    (tmp_path / "old" / "lake").mkdir(parents=True)
    with pytest.raises(ReplayError, match="holds live data"):
        claim_home(tmp_path / "old", "replay")
    claim_home(tmp_path / "new", "replay")
    claim_home(tmp_path / "new", "replay")
    with pytest.raises(ReplayError, match="holds replay data"):
        claim_home(tmp_path / "new", "live")
