"""Maintenance on a real DuckLake: inlined rows become Parquet, small files one, old snapshots go; no row changes."""

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from resources.duck_lake import DuckLake
from resources.duck_lake_connection import INLINED_ROWS
from resources.lake_maintenance import maintain
from resources.settings import Addresses
from signal_assets.market.tables import TRADES
from tests.lake.test_lake import MIDNIGHT, trades


def parquet_files(addresses: Addresses) -> list[Path]:
    return sorted(Path(addresses.lake_path).rglob("*.parquet"))


@pytest.mark.slow
def test_rows_survive_and_files_shrink(addresses: Addresses) -> None:
    lake = DuckLake(addresses)
    lake.ensure([TRADES])
    for block in range(3):
        first = block * 10
        with lake.transaction(asset="market/trades", run_id=f"small-{block}") as unit:
            unit.append(TRADES, trades(*((first + n, MIDNIGHT + 1 + first + n) for n in range(10))))
    assert parquet_files(addresses) == []  # small writes stay in the catalog
    for block in range(3):
        first = 1_000_000 + block * 10_000
        many = [(first + n, MIDNIGHT + 1 + first + n) for n in range(INLINED_ROWS + 1)]
        with lake.transaction(asset="market/trades", run_id=f"large-{block}") as unit:
            unit.append(TRADES, trades(*many))
    before = lake.read(TRADES)
    snapshots = len(lake.query("SELECT 1 FROM lake.snapshots()"))
    assert len(parquet_files(addresses)) == 3

    kept = maintain(lake, keep=timedelta(days=30))
    assert kept["tables_flushed"] >= 1
    assert kept["snapshots_expired"] == 0
    pd.testing.assert_frame_equal(lake.read(TRADES), before)
    assert len(lake.query("SELECT 1 FROM lake.snapshots()")) >= snapshots

    gone = maintain(lake, keep=timedelta(seconds=0))
    assert gone["snapshots_expired"] > 0
    pd.testing.assert_frame_equal(lake.read(TRADES), before)
    assert len(parquet_files(addresses)) < 4  # three large files and the flushed one were merged
    with lake.transaction(asset="market/trades", run_id="after") as unit:
        assert unit.append(TRADES, trades((1, MIDNIGHT + 2), (2_000_000, MIDNIGHT + 2_000_001))) == 1
    lake.close()
