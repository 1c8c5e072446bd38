"""Maintenance on a real DuckLake: what is written all day stays bounded, what is needed stays, no row changes."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg2
import pytest

from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.duck_lake_connection import INLINED_ROWS, catalog_dsn
from resources.lake import Offset, Progress, State
from resources.lake_maintenance import Keep, maintain
from signal_assets.event_time import DAY, SECOND
from signal_assets.market.tables import TRADES
from tests.lake.test_lake import MIDNIGHT, trades

pytestmark = pytest.mark.slow

NOTHING = timedelta(0)
EVERYTHING = Keep(timedelta(days=30), timedelta(days=30))
ONLY_NOW = Keep(NOTHING, NOTHING, unneeded_files=NOTHING)
GROWING = ("ducklake_snapshot", "ducklake_snapshot_changes", "ducklake_data_file", "ducklake_delete_file")


@pytest.fixture
def lake(addresses: Addresses) -> Iterator[DuckLake]:
    made = DuckLake(addresses)
    made.ensure([TRADES])
    yield made
    made.close()


@pytest.fixture
def catalog(addresses: Addresses) -> Iterator[Any]:
    """DuckLake's own tables, as PostgreSQL has them."""
    connection = psycopg2.connect(catalog_dsn(addresses))
    connection.autocommit = True
    yield connection.cursor()
    connection.close()


def rows_of(catalog: Any, table: str) -> int:
    catalog.execute(f'SELECT count(*) FROM lake."{table}"')
    return int(catalog.fetchone()[0])


def inlined_rows(catalog: Any) -> int:
    catalog.execute(
        "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE n.nspname = 'lake' AND relkind = 'r' AND relname ~ '^ducklake_inlined_(data|delete)_[0-9]'"
    )
    return sum(rows_of(catalog, name) for (name,) in catalog.fetchall())


def parquet_files(addresses: Addresses) -> list[Path]:
    return sorted(Path(addresses.lake_path).rglob("*.parquet"))


class Writer:
    """Commits as a tactical run does: rows, progress, an offset and a rolling state in one transaction."""

    def __init__(self, lake: DuckLake) -> None:
        self._lake = lake
        self._count = 0
        self.progress: Progress | None = None
        self.offset: Offset | None = None

    def commit(self, times: int = 1) -> None:
        for _ in range(times):
            first, self._count = self._count * 10, self._count + 1
            progress, offset = Progress(MIDNIGHT, MIDNIGHT + self._count * SECOND), Offset("life", self._count)
            with self._lake.transaction(asset="market/trades", run_id=f"run-{self._count}") as unit:
                unit.append(TRADES, trades(*((first + n, MIDNIGHT + 1 + first + n) for n in range(10))))
                unit.advance("market/trades", "crypto", self.progress, progress)
                unit.move_offset("stream", self.offset, offset)
                unit.keep_state(State("fold", "crypto", "rolling", progress.progress, "{}"))
            self.progress, self.offset = progress, offset


def test_rows_survive_and_files_shrink(addresses: Addresses, lake: DuckLake) -> None:
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

    kept = maintain(lake, EVERYTHING)
    assert kept["tables_flushed"] >= 1
    assert kept["snapshots_expired"] == 0
    pd.testing.assert_frame_equal(lake.read(TRADES), before)
    assert len(lake.query("SELECT 1 FROM lake.snapshots()")) >= snapshots

    gone = maintain(lake, ONLY_NOW)
    assert gone["snapshots_expired"] > 0
    pd.testing.assert_frame_equal(lake.read(TRADES), before)
    assert len(parquet_files(addresses)) < 4  # three large files and the flushed one were merged
    with lake.transaction(asset="market/trades", run_id="after") as unit:
        assert unit.append(TRADES, trades((1, MIDNIGHT + 2), (2_000_000, MIDNIGHT + 2_000_001))) == 1


def test_what_each_pass_leaves_does_not_grow_with_the_commits(
    addresses: Addresses, lake: DuckLake, catalog: Any
) -> None:
    writer, left = Writer(lake), []
    for _ in range(4):
        writer.commit(15)
        assert rows_of(catalog, "ducklake_snapshot") >= 15
        assert inlined_rows(catalog) >= 15 * 13  # rows, and progress, offset and state of every commit
        maintain(lake, ONLY_NOW)
        assert inlined_rows(catalog) == 0
        left.append([*(rows_of(catalog, table) for table in GROWING), len(parquet_files(addresses))])
    assert left[1] == left[2] == left[3]
    # Progress, offset and state are a row in a file each: nothing of what was replaced is looked at again.
    assert lake.query(
        "SELECT count(*), max(progress) = make_timestamptz(?) FROM platform.progress", [MIDNIGHT + 60 * SECOND]
    ) == [(1, True)]
    assert rows_of(catalog, "ducklake_delete_file") == 0
    assert lake.offset("stream") == writer.offset
    assert lake.read(TRADES)["trade_id"].tolist() == list(range(600))
    writer.commit()  # and work goes on from there
    assert lake.progress("market/trades", "crypto") == writer.progress


def test_old_snapshots_are_thinned_to_one_an_hour(lake: DuckLake, catalog: Any) -> None:
    writer = Writer(lake)
    writer.commit(12)
    catalog.execute("SELECT snapshot_id FROM lake.ducklake_snapshot ORDER BY snapshot_id DESC LIMIT 12")
    ids = [int(row[0]) for row in catalog.fetchall()][::-1]
    # By hand: two of a day long gone, then 10:10, 10:50, 11:20, 11:30, 11:59 yesterday, the rest just now.
    catalog.execute("SELECT date_trunc('hour', now()) - INTERVAL '24 hours'")
    (hour,) = catalog.fetchone()
    ages = [timedelta(days=-60), timedelta(days=-59)]
    ages += [timedelta(minutes=minute) for minute in (10, 50, 80, 90, 119)]
    for snapshot, age in zip(ids, ages, strict=False):
        catalog.execute(
            "UPDATE lake.ducklake_snapshot SET snapshot_time = %s WHERE snapshot_id = %s", (hour + age, snapshot)
        )
    catalog.execute(
        "UPDATE lake.ducklake_snapshot SET snapshot_time = %s WHERE snapshot_id < %s",
        (hour - timedelta(days=60), ids[0]),
    )
    lake.close()  # the next connection has not seen them
    maintain(lake, Keep(timedelta(days=30), timedelta(hours=6)))
    catalog.execute("SELECT snapshot_id FROM lake.ducklake_snapshot WHERE snapshot_id <= %s ORDER BY 1", (ids[-1],))
    assert [int(row[0]) for row in catalog.fetchall()] == [ids[3], ids[6], *ids[7:]]
    # What a kept snapshot shows is what was there then: four commits of ten trades up to the 10:50 one.
    assert lake.read(TRADES, snapshot=ids[3])["trade_id"].tolist() == list(range(40))
    assert lake.read(TRADES)["trade_id"].tolist() == list(range(120))


def test_files_of_a_killed_writer_go_when_they_are_old(addresses: Addresses, lake: DuckLake) -> None:
    Writer(lake).commit(2)
    maintain(lake, EVERYTHING)
    (known, *_) = parquet_files(addresses)
    left_over = known.with_name("ducklake-left-over.parquet")
    left_over.write_bytes(known.read_bytes())
    assert maintain(lake, EVERYTHING)["unknown_files_removed"] == 0
    assert left_over.exists()  # it may be a writer's that has not committed yet
    young = Keep(timedelta(days=30), timedelta(days=30), unknown_files=NOTHING)
    assert maintain(lake, young)["unknown_files_removed"] == 1
    assert not left_over.exists()
    assert known.exists()
    assert lake.read(TRADES)["trade_id"].tolist() == list(range(20))


def test_removed_days_leave_no_file_behind(addresses: Addresses, lake: DuckLake) -> None:
    for day in range(3):
        first = day * 10_000
        many = [(first + n, MIDNIGHT + day * DAY + 1 + n) for n in range(INLINED_ROWS + 1)]
        with lake.transaction(asset="market/trades", run_id=f"day-{day}") as unit:
            unit.append(TRADES, trades(*many))
    with lake.transaction(asset="maintenance", run_id="retention") as unit:
        unit.remove(TRADES, MIDNIGHT + 2 * DAY)
    maintain(lake, ONLY_NOW)
    files = [path for path in parquet_files(addresses) if "trades" in path.parts]
    assert {path.parent.name for path in files} == {"day=2024-08-10"}
    assert lake.read(TRADES)["trade_id"].tolist() == list(range(20_000, 20_000 + INLINED_ROWS + 1))
    assert lake.removed() == {TRADES.name: MIDNIGHT + 2 * DAY}
