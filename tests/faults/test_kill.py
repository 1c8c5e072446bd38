"""``kill -9`` at exact points, during a replay on the whole real platform.

Nothing is lost, nothing comes twice, and everything comes back by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from resources.settings import Settings, load_settings
from services.simulated_venue.recording import read_recording
from services.simulated_venue.venue_message import MessageKind
from signal_assets.derivation import asset_name
from signal_assets.event_time import MINUTE, SECOND
from signal_assets.market.tables import DEPTH_SNAPSHOTS, FEATURES, FEED_GAPS, TRADES
from signal_assets.table import Table
from tests.faults.disturbed_replay import GROUP, Disturbed, lake_of, replay
from tests.faults.fault import Fault, Moment, kill_live_lane, kill_tactical_worker
from tests.lanes.market_run import (
    RawRows,
    assert_equal,
    contents,
    ingest,
    run_days,
    run_days_without_late_rows,
)

pytestmark = pytest.mark.slow

SETTINGS = """
snapshot_interval_seconds: 20
live: {metrics_port: 0, health_port: 0}
instruments:
  - {symbol: BTCUSDT, venue: BINANCE, pair: BTC/USDT, tick_size: '0.01', lot_size: '0.00001'}
"""
DAYS = [date(2024, 8, 8), date(2024, 8, 9)]
FIRST_SECONDS = 2 * MINUTE
"""Market time before the kill: a part of the recording, with several runs behind it."""
RECOVERY_SECONDS = 30.0


@dataclass(frozen=True)
class Market:
    """The recording, and what an undisturbed live lane makes of the same messages, without sockets."""

    recordings: Sequence[Path]
    settings: Settings
    settings_file: Path
    trade_ids: list[int]
    undisturbed: RawRows


@pytest.fixture(scope="module")
def market(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Market:
    file = tmp_path_factory.mktemp("market") / "signals.yaml"
    file.write_text(SETTINGS, "utf-8")
    settings = load_settings(file)
    folder = shared_data / "binance_spot_btcusdt"
    recordings = [folder / "btcusdt_20240808.gz", folder / "btcusdt_20240809.gz"]
    messages = list(read_recording(recordings))
    return Market(
        recordings,
        settings,
        file,
        [message.first_id for message in messages if message.kind == MessageKind.TRADE],
        ingest(iter(messages), settings.groups[GROUP], settings),
    )


def disturbed_replay(market: Market, folder: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> Disturbed:
    monkeypatch.setenv("SIGNAL_CONFIG", str(market.settings_file))
    monkeypatch.setenv("SIGNAL_HOME", str(folder / "home"))
    return replay(folder / "home", market.settings, market.recordings, DAYS, fault)


def raw_of(rows: pd.DataFrame, table: Table) -> pd.DataFrame:
    """What takes part in equalities, in the order of the key."""
    return rows.sort_values(list(table.key))[list(table.value_columns)].reset_index(drop=True)


def outside(rows: pd.DataFrame, table: Table, gaps: pd.DataFrame) -> pd.DataFrame:
    """Rows that lie in none of the recorded gaps ``(start, end]``; a grid point at a gap's end is complete again."""
    times = rows[str(table.time)]
    inside = pd.Series(False, index=rows.index)
    for start, end in zip(gaps["gap_start"], gaps["gap_end"], strict=True):
        inside |= (times > start) & ((times <= end) if table is TRADES else (times < end))
    return rows[~inside].reset_index(drop=True)


def check_raw(market: Market, found: Disturbed) -> None:
    """Every trade once; all raw rows as if nothing had happened, but for the gaps that say so themselves."""
    trades = found.raw[TRADES.name]
    assert sorted(trades["trade_id"]) == market.trade_ids
    assert market.trade_ids == list(range(market.trade_ids[0], market.trade_ids[0] + len(market.trade_ids)))
    gaps = found.raw[FEED_GAPS.name]
    for table in (TRADES, FEATURES, DEPTH_SNAPSHOTS):
        expected = outside(raw_of(market.undisturbed.frame(table), table), table, gaps)
        actual = outside(raw_of(found.raw[table.name], table), table, gaps)
        pd.testing.assert_frame_equal(actual, expected, check_exact=True, obj=table.name)
    # A gap is no excuse for a wrong trade: only whether it came too late for its grid point may be another.
    everything = [name for name in TRADES.value_columns if name != "late"]
    pd.testing.assert_frame_equal(
        raw_of(trades, TRADES)[everything],
        raw_of(market.undisturbed.frame(TRADES), TRADES)[everything],
        check_exact=True,
    )


def check_derived(market: Market, found: Disturbed) -> None:
    """Every derived table is what a day run makes of this run's raw, before and after the platform's own day runs."""
    extent = RawRows(watermark=found.watermark, first=int(found.raw[FEATURES.name]["time"].min()))
    lake = lake_of(found.raw, found.watermark)
    run_days_without_late_rows(lake, market.settings, extent)
    assert_equal(dict(found.forward), contents(lake, market.settings))
    lake = lake_of(found.raw, found.watermark)
    run_days(lake, market.settings, extent)
    days = contents(lake, market.settings)
    assert_equal(dict(found.recomputed), days)
    # Not empty; how much more depends on how long the restart takes, during which the replay goes on at its speed.
    assert all(len(rows) >= 4 for rows in days.values())


@pytest.mark.parametrize("moment", ["before", "after"])
def test_live_lane_killed_at_the_flush(
    market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: Moment
) -> None:
    fault = kill_live_lane(moment, market.undisturbed.first + FIRST_SECONDS, tmp_path / "killed")
    found = disturbed_replay(market, tmp_path, monkeypatch, fault)
    assert {name: count for name, count in found.restarts.items() if count} == {"live_lane": 1}
    check_raw(market, found)
    (gap,) = found.raw[FEED_GAPS.name].to_dict("records")
    assert (gap["feed"], gap["reason"]) == ("depth", "restart")
    # What had reached Redis is no gap, what had not is; and the gap ends long before the recording does.
    assert (gap["gap_start"] < found.death.reached) == (moment == "before")
    assert gap["gap_start"] >= found.death.reached - 30 * SECOND
    assert found.raw[FEATURES.name]["time"].max() > gap["gap_end"] + MINUTE
    check_derived(market, found)
    assert found.recovery_seconds < RECOVERY_SECONDS


@pytest.mark.parametrize("moment", ["before", "after"])
def test_worker_killed_at_the_commit(
    market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: Moment
) -> None:
    at = market.undisturbed.first + FIRST_SECONDS
    fault = kill_tactical_worker(moment, at, tmp_path / "killed", asset_name(TRADES))
    found = disturbed_replay(market, tmp_path, monkeypatch, fault)
    assert {name: count for name, count in found.restarts.items() if count} == {"worker_tactical": 1}
    assert found.raw[FEED_GAPS.name].empty
    check_raw(market, found)
    check_derived(market, found)
    assert found.recovery_seconds < RECOVERY_SECONDS
