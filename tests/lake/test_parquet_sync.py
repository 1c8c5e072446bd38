"""Whatever the catalog names has been synced before the commit that names it."""

import os
import time
from pathlib import Path

import pytest

from resources import parquet_sync
from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.duck_lake_sql import CATALOG
from resources.lake import LakeError
from signal_assets.event_time import DAY, SECOND
from signal_assets.market.tables import TRADES
from signal_assets.window import Window
from tests.lake_rows import frame_of

START = 19_943 * DAY
ROWS = 3_000
"""More than a transaction keeps inside the catalog."""


def trades(day: int) -> list[dict[str, object]]:
    time_of = START + day * DAY
    return [
        {"instrument": "A.B", "trade_id": day * ROWS + n, "event_time": time_of + (n + 1) * SECOND} for n in range(ROWS)
    ]


def test_files_of_a_transaction_are_synced_before_its_commit(
    addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, happened = DuckLake(addresses), list[str]()
    sync, execute = parquet_sync._sync, lake.execute
    monkeypatch.setattr(parquet_sync, "_sync", lambda path: (happened.append(str(path)), sync(path)))
    monkeypatch.setattr(lake, "execute", lambda sql, values=None: (happened.append(sql), execute(sql, values))[1])
    lake.ensure([TRADES])
    try:
        with lake.transaction(asset="market/trades", run_id="one") as unit:
            unit.append(TRADES, frame_of(TRADES, [*trades(0), *trades(1)]))
        with lake.transaction(asset="market/trades", run_id="two") as unit:
            unit.replace(TRADES, frame_of(TRADES, trades(0)[:ROWS]), Window(START, START + DAY), ["A.B"])
        folder = Path(addresses.lake_path) / "market" / "trades"
        files = sorted(str(path) for path in folder.rglob("*.parquet"))
        assert len(files) >= 3
        assert set(files) <= set(happened)
        assert {str(Path(path).parent) for path in files} <= set(happened)  # their names, too
        commits = [place for place, what in enumerate(happened) if what == "COMMIT"]
        assert max(happened.index(path) for path in files) < commits[-1]
        first = [path for path in files if happened.index(path) < commits[-2]]
        assert len(first) == 2  # one for each day
    finally:
        lake.close()


def test_what_is_flushed_is_synced_before_the_rows_in_the_catalog_go(
    addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, happened = DuckLake(addresses), list[str]()
    sync, execute = parquet_sync._sync, lake.execute
    lake.ensure([TRADES])
    try:
        with lake.transaction(asset="market/trades", run_id="one") as unit:
            unit.append(TRADES, frame_of(TRADES, trades(0)[:100]))
        monkeypatch.setattr(parquet_sync, "_sync", lambda path: (happened.append(str(path)), sync(path)))
        monkeypatch.setattr(lake, "execute", lambda sql, values=None: (happened.append(sql), execute(sql, values))[1])
        assert lake.rewrite(f"CALL ducklake_flush_inlined_data('{CATALOG}')") > 0
        (file,) = (str(path) for path in (Path(addresses.lake_path) / "market" / "trades").rglob("*.parquet"))
        assert happened.index(file) < happened.index("COMMIT")
        assert len(lake.read(TRADES)) == 100
    finally:
        lake.close()


def test_a_disk_that_does_not_take_them_lets_nothing_be_committed(
    addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = DuckLake(addresses)
    lake.ensure([TRADES])

    def full(path: object) -> None:
        raise OSError(28, os.strerror(28))

    try:
        monkeypatch.setattr(parquet_sync, "_sync", full)
        with (
            pytest.raises(LakeError, match=r"market/trades cannot be written: No space left on device$"),
            lake.transaction(asset="market/trades", run_id="one") as unit,
        ):
            unit.append(TRADES, frame_of(TRADES, trades(0)))
        assert lake.read(TRADES).empty
    finally:
        lake.close()


def test_only_what_is_new_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "day=1").mkdir()
    old = tmp_path / "day=1" / "old.parquet"
    old.write_bytes(b"x")
    os.utime(old, (1, 1))
    os.utime(tmp_path / "day=1", (1, 1))
    (tmp_path / "day=2").mkdir()
    (tmp_path / "day=2" / "new.parquet").write_bytes(b"x")
    seen: list[str] = []
    monkeypatch.setattr(parquet_sync, "_sync", lambda path: seen.append(Path(path).name))
    assert parquet_sync.sync_new_files(tmp_path, time.time_ns()) == 1
    assert seen == ["new.parquet", "day=2", tmp_path.name]
    assert parquet_sync.sync_new_files(tmp_path / "none", time.time_ns()) == 0
