"""One set of promises, kept by both lakes: DuckLake on a real PostgreSQL, and the lake in memory."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.lake import Lake, LakeBusyError, LakeError, Offset, Progress, StaleExpectationError, State
from resources.memory_lake import MemoryLake
from signal_assets.aggregates.tables import DOLLAR_TRADES
from signal_assets.event_time import DAY, MINUTE
from signal_assets.market.tables import DEPTH_SNAPSHOTS, FEATURES, TRADES
from signal_assets.table import Column, ColumnType, SchemaError, Table
from signal_assets.window import Window

TABLES = (TRADES, DEPTH_SNAPSHOTS, FEATURES, DOLLAR_TRADES)
MIDNIGHT = 19_943 * DAY  # 2024-08-08


@pytest.fixture(params=[pytest.param("duck", marks=pytest.mark.slow), "memory"])
def lake(request: pytest.FixtureRequest, addresses: Addresses) -> Iterator[Lake]:
    if request.param == "memory":
        yield MemoryLake()
        return
    duck = DuckLake(addresses, lock_timeout=0.3)
    duck.ensure(TABLES)
    yield duck
    duck.close()


def trades(*rows: tuple[int, int], instrument: str = "BTCFDUSD.BINANCE", late: bool = False) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "instrument": instrument,
            "trade_id": [row[0] for row in rows],
            "event_time": [row[1] for row in rows],
            "received_time": [row[1] + 1 for row in rows],
            "price": [6_173_763_000_000 + row[0] for row in rows],
            "quantity": [1 + row[0] for row in rows],
            "is_buyer_maker": [row[0] % 2 == 0 for row in rows],
            "late": late,
            "flags": 0,
        }
    )


def test_append_keeps_the_first_row_of_a_key(lake: Lake) -> None:
    with lake.transaction(asset="market/trades", run_id="a") as unit:
        assert unit.append(TRADES, trades((1, MIDNIGHT + 5), (2, MIDNIGHT + 6), (2, MIDNIGHT + 7))) == 2
    with lake.transaction(asset="market/trades", run_id="b") as unit:
        changed = trades((2, MIDNIGHT + 6), (3, MIDNIGHT + 8))
        changed["price"] = 1
        assert unit.append(TRADES, changed) == 1
    found = lake.read(TRADES)
    assert found["trade_id"].tolist() == [1, 2, 3]
    assert found["price"].tolist() == [6_173_763_000_001, 6_173_763_000_002, 1]
    assert found.dtypes.equals(TRADES.empty().dtypes)


def test_read_is_open_at_the_start_and_closed_at_the_end(lake: Lake) -> None:
    with lake.transaction(asset="market/trades", run_id="a") as unit:
        unit.append(TRADES, trades((1, MIDNIGHT), (2, MIDNIGHT + 1), (3, MIDNIGHT + DAY), (4, MIDNIGHT + DAY + 1)))
    assert lake.read(TRADES, start=MIDNIGHT, end=MIDNIGHT + DAY)["trade_id"].tolist() == [2, 3]
    assert lake.read(TRADES, columns=["trade_id"], end=MIDNIGHT)["trade_id"].tolist() == [1]


def test_late_rows_can_be_left_out_and_instruments_chosen(lake: Lake) -> None:
    with lake.transaction(asset="market/trades", run_id="a") as unit:
        unit.append(TRADES, trades((1, MIDNIGHT + 1)))
        unit.append(TRADES, trades((2, MIDNIGHT + 2), late=True))
        unit.append(TRADES, trades((1, MIDNIGHT + 3), instrument="ETHBTC.BINANCE"))
    assert lake.read(TRADES, late=False)["event_time"].tolist() == [MIDNIGHT + 1, MIDNIGHT + 3]
    assert lake.read(TRADES, instruments=["ETHBTC.BINANCE"])["event_time"].tolist() == [MIDNIGHT + 3]
    assert lake.read(TRADES)["instrument"].tolist() == ["BTCFDUSD.BINANCE"] * 2 + ["ETHBTC.BINANCE"]


def test_replace_touches_its_window_and_instruments_only(lake: Lake) -> None:
    def minutes(*values: int, buy: int = 1, instrument: str = "BTCFDUSD.BINANCE") -> pd.DataFrame:
        return pd.DataFrame(
            {
                "instrument": instrument,
                "minute": [MIDNIGHT + value * MINUTE for value in values],
                "price_bucket": 100_000_000,
                "buy_quantity": buy,
                "sell_quantity": 0,
                "trade_count": 1,
            }
        )

    day = Window(MIDNIGHT, MIDNIGHT + DAY)
    one = Window(MIDNIGHT + MINUTE, MIDNIGHT + 2 * MINUTE)
    with lake.transaction(asset="aggregates/dollar_trades", run_id="a") as unit:
        unit.replace(DOLLAR_TRADES, minutes(1, 2, 3), day, ["BTCFDUSD.BINANCE"])
        unit.replace(DOLLAR_TRADES, minutes(2, instrument="ETHBTC.BINANCE"), day, ["ETHBTC.BINANCE"])
    with lake.transaction(asset="aggregates/dollar_trades", run_id="b") as unit:
        unit.replace(DOLLAR_TRADES, minutes(2, buy=7), one, ["BTCFDUSD.BINANCE"])
    found = lake.read(DOLLAR_TRADES)
    assert found["buy_quantity"].tolist() == [1, 7, 1, 1]
    with lake.transaction(asset="aggregates/dollar_trades", run_id="c") as unit:
        unit.replace(DOLLAR_TRADES, DOLLAR_TRADES.empty(), day, ["BTCFDUSD.BINANCE"])
    assert lake.read(DOLLAR_TRADES)["instrument"].tolist() == ["ETHBTC.BINANCE"]
    with (
        pytest.raises(LakeError, match="outside"),
        lake.transaction(asset="aggregates/dollar_trades", run_id="d") as unit,
    ):
        unit.replace(DOLLAR_TRADES, minutes(3), one, ["BTCFDUSD.BINANCE"])


def test_a_failed_transaction_leaves_nothing(lake: Lake) -> None:
    def die_half_way() -> None:
        with lake.transaction(asset="market/trades", run_id="a") as unit:
            unit.append(TRADES, trades((1, MIDNIGHT + 1)))
            unit.advance("market/trades", "crypto", None, Progress(MIDNIGHT, MIDNIGHT + 1))
            unit.move_offset("s", None, Offset("g", 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        die_half_way()
    assert lake.read(TRADES).empty
    assert lake.progress("market/trades", "crypto") is None
    assert lake.offset("s") is None


def test_progress_and_offsets_move_by_compare_and_set(lake: Lake) -> None:
    first, second = Progress(MIDNIGHT, MIDNIGHT + 1), Progress(MIDNIGHT, MIDNIGHT + 2)
    with lake.transaction(asset="market/trades", run_id="a") as unit:
        unit.advance("market/trades", "crypto", None, first)
        unit.move_offset("s", None, Offset("g", 5))
        assert unit.progress("market/trades", "crypto") == first
    with pytest.raises(StaleExpectationError), lake.transaction(asset="market/trades", run_id="b") as unit:
        unit.advance("market/trades", "crypto", None, second)
    with pytest.raises(StaleExpectationError), lake.transaction(asset="market/trades", run_id="b") as unit:
        unit.move_offset("s", Offset("g", 4), Offset("g", 6))
    with lake.transaction(asset="market/trades", run_id="c") as unit:
        unit.advance("market/trades", "crypto", first, second)
        unit.move_offset("s", Offset("g", 5), Offset("h", 2))
    assert lake.progress("market/trades", "crypto") == second
    assert lake.progress("market/trades", "forex") is None
    assert lake.offset("s") == Offset("h", 2)


def test_progresses_of_a_scope_come_in_one_read(lake: Lake) -> None:
    trades, features = Progress(MIDNIGHT, MIDNIGHT + 1), Progress(MIDNIGHT, MIDNIGHT + 2)
    assert dict(lake.progresses("crypto")) == {}
    with lake.transaction(asset="market/trades", run_id="a") as unit:
        unit.advance("market/trades", "crypto", None, trades)
        unit.advance("market/features", "crypto", None, features)
        unit.advance("market/trades", "forex", None, features)
    assert dict(lake.progresses("crypto")) == {"market/trades": trades, "market/features": features}


def test_lists_and_nullable_money_come_back_exactly(lake: Lake) -> None:
    levels = [np.array([2**62, 5], dtype=np.int64), np.empty(0, dtype=np.int64)]
    frame = pd.DataFrame(
        {
            "instrument": "BTCFDUSD.BINANCE",
            "event_time": [MIDNIGHT + MINUTE, MIDNIGHT + 2 * MINUTE],
            "received_time": 0,
            "last_update_id": [1, 2],
            "bid_price": [np.array([10**17, 1], dtype=np.int64), np.empty(0, dtype=np.int64)],
            "bid_quantity": levels,
            "ask_price": [np.array([3], dtype=np.int64)] * 2,
            "ask_quantity": [np.array([4], dtype=np.int64)] * 2,
            "coverage_low": 1,
            "coverage_high": 10**17,
        }
    )
    with lake.transaction(asset="market/depth_snapshots", run_id="a") as unit:
        unit.append(DEPTH_SNAPSHOTS, frame)
    found = lake.read(DEPTH_SNAPSHOTS)
    assert [item.tolist() for item in found["bid_quantity"]] == [[2**62, 5], []]
    assert found["bid_price"].iloc[0].dtype == np.int64
    assert [item.tolist() for item in found["bid_price"]] == [[10**17, 1], []]

    row = FEATURES.empty()
    values = {name: [1] for name in row.columns}
    values |= {
        "instrument": ["A.B"],
        "time": [MIDNIGHT + 1],
        "mid_price": [0.1],
        "last_price": pd.array([pd.NA], "Int64"),
    }
    values |= {name: [0.5] for name in ("imbalance_1", "imbalance_5", "imbalance_20")}
    values |= {name: [np.array([1])] for name in row.columns if name.endswith("_20") and name != "imbalance_20"}
    with lake.transaction(asset="market/features", run_id="a") as unit:
        unit.append(FEATURES, pd.DataFrame(values))
    assert lake.read(FEATURES)["last_price"].isna().tolist() == [True]
    assert lake.read(FEATURES)["mid_price"].tolist() == [0.1]


def test_a_frame_must_fit_its_table(lake: Lake) -> None:
    with pytest.raises(SchemaError, match="float64"), lake.transaction(asset="x", run_id="a") as unit:
        unit.append(TRADES, trades((1, MIDNIGHT + 1)).astype({"price": float}))


def test_ducklake_partitions_by_day_and_names_the_run(addresses: Addresses) -> None:
    duck = DuckLake(addresses)
    duck.ensure(TABLES)
    with duck.transaction(asset="market/trades", run_id="run-7") as unit:
        unit.append(TRADES, trades((1, MIDNIGHT), (2, MIDNIGHT + 1)))
    days = duck.query("SELECT trade_id, day FROM lake.market.trades ORDER BY 1")
    assert days == [(1, date(2024, 8, 7)), (2, date(2024, 8, 8))]  # midnight sharp closes the old day
    message = duck.query(
        "SELECT commit_message, author FROM lake.snapshots() WHERE snapshot_id = ?", [unit.snapshot_id]
    )
    assert message == [("run-7", "market/trades")]
    before = unit.snapshot_id
    with duck.transaction(asset="market/trades", run_id="run-8") as unit:
        unit.append(TRADES, trades((3, MIDNIGHT + 2)))
    assert len(duck.read(TRADES, snapshot=before)) == 2
    assert len(duck.read(TRADES)) == 3
    duck.close()


def test_ducklake_refuses_a_table_that_changed(addresses: Addresses) -> None:
    duck = DuckLake(addresses)
    duck.ensure(TABLES)
    other = Table("market.trades", "another", (Column("x", ColumnType.COUNT, "x"),), ("x",), "raw")
    again = DuckLake(addresses)
    with pytest.raises(LakeError, match=r"market\.trades has a column instrument \(VARCHAR\) in the lake"):
        again.ensure([other])
    duck.close()
    again.close()


@pytest.mark.slow
def test_the_write_lock_has_a_time_out_and_readers_never_wait(addresses: Addresses) -> None:
    writer, other = DuckLake(addresses), DuckLake(addresses, lock_timeout=0.2)
    writer.ensure(TABLES)
    with writer.transaction(asset="market/trades", run_id="a") as unit:
        unit.append(TRADES, trades((1, MIDNIGHT + 1)))
        assert other.read(TRADES).empty
        with pytest.raises(LakeBusyError, match="write lock"), other.transaction(asset="market/trades", run_id="b"):
            pass
    assert len(other.read(TRADES)) == 1
    writer.close()
    other.close()


def test_the_session_zone_is_utc_whatever_the_machine_says(
    addresses: Addresses, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    duck = DuckLake(addresses)
    duck.ensure(TABLES)
    with duck.transaction(asset="market/trades", run_id="a") as unit:
        unit.append(TRADES, trades((1, MIDNIGHT + 30 * MINUTE)))
    assert duck.query("SELECT CAST(event_time AS VARCHAR), day FROM lake.market.trades") == [
        ("2024-08-08 00:30:00+00", date(2024, 8, 8))
    ]
    duck.close()


@pytest.mark.slow
def test_many_processes_may_open_an_empty_lake_at_once(addresses: Addresses) -> None:
    with ThreadPoolExecutor(6) as pool:
        lakes = list(pool.map(lambda _: DuckLake(addresses), range(6)))
        list(pool.map(lambda lake: lake.ensure(TABLES), lakes))
        assert [lake.read(TRADES).empty for lake in lakes] == [True] * 6
    for lake in lakes:
        lake.close()


def rolling(time: int, text: str) -> State:
    return State("broker", "crypto", "rolling", time, text)


def day_end(time: int, text: str) -> State:
    return State("broker", "crypto", "day_end", time, text)


def test_one_rolling_state_is_kept_and_each_days_end(lake: Lake) -> None:
    assert lake.state("broker", "crypto") is None
    kept = [rolling(MIDNIGHT + 10 * MINUTE, "a"), day_end(MIDNIGHT, "b"), day_end(MIDNIGHT + DAY, "c")]
    for state in [*kept, rolling(MIDNIGHT + 20 * MINUTE, "d"), day_end(MIDNIGHT, "e")]:
        with lake.transaction(asset="execution/orders", run_id="a") as unit:
            unit.keep_state(state)
    assert lake.state("broker", "crypto") == rolling(MIDNIGHT + 20 * MINUTE, "d")
    assert lake.state("broker", "crypto", MIDNIGHT) == day_end(MIDNIGHT, "e")
    assert lake.state("broker", "crypto", MIDNIGHT + DAY) == day_end(MIDNIGHT + DAY, "c")
    assert lake.state("broker", "crypto", MIDNIGHT + 2 * DAY) is None
    assert lake.state("broker", "forex") is None
    assert lake.state("accounts", "crypto") is None


def test_a_state_is_kept_with_the_rows_or_not_at_all(lake: Lake) -> None:
    class StopError(RuntimeError):
        pass

    def write_half() -> None:
        with lake.transaction(asset="execution/orders", run_id="a") as unit:
            unit.keep_state(day_end(MIDNIGHT, "{}"))
            raise StopError

    with pytest.raises(StopError):
        write_half()
    assert lake.state("broker", "crypto", MIDNIGHT) is None


def test_the_snapshot_counts_what_was_committed(lake: Lake) -> None:
    before = lake.snapshot()
    with lake.transaction(asset="market/trades", run_id="a") as unit:
        unit.append(TRADES, trades((1, MIDNIGHT + 5)))
    assert lake.snapshot() == unit.snapshot_id
    assert lake.snapshot() > before


def test_what_moves_twice_in_a_transaction_is_compared_with_what_was_there_before(lake: Lake) -> None:
    with lake.transaction(asset="market/trades", run_id="a") as unit:
        unit.move_offset("s", None, Offset("g", 1))
        unit.move_offset("s", Offset("g", 1), Offset("g", 2))
        unit.move_offset("t", None, Offset("g", 7))
    assert lake.offsets(["s", "t", "u"]) == {"s": Offset("g", 2), "t": Offset("g", 7)}

    def move(*moves: tuple[str, int, int]) -> None:
        with lake.transaction(asset="market/trades", run_id="b") as unit:
            for stream, expected, new in moves:
                unit.move_offset(stream, Offset("g", expected), Offset("g", new))

    with pytest.raises(StaleExpectationError, match="offset of s"):
        move(("s", 2, 3), ("s", 2, 4))
    with pytest.raises(StaleExpectationError, match="offset of t"):
        move(("s", 2, 3), ("t", 6, 8))
    assert lake.offsets(["s", "t"]) == {"s": Offset("g", 2), "t": Offset("g", 7)}


def test_rows_are_only_added_where_there_are_none(lake: Lake) -> None:
    window, rows = Window(MIDNIGHT, MIDNIGHT + 10), trades((1, MIDNIGHT + 1), (2, MIDNIGHT + 2))
    names = sorted(set(rows["instrument"]))
    with lake.transaction(asset="market/trades", run_id="a") as unit:
        assert unit.extend(TRADES, rows, window, names) == 2
    assert lake.read(TRADES)["trade_id"].tolist() == [1, 2]

    def outside() -> None:
        with lake.transaction(asset="market/trades", run_id="b") as unit:
            unit.extend(TRADES, trades((3, MIDNIGHT + 31)), Window(MIDNIGHT + 10, MIDNIGHT + 20), names)

    with pytest.raises(LakeError, match="outside"):
        outside()


def test_a_lake_in_memory_says_when_there_are_some() -> None:
    lake, window, rows = MemoryLake(), Window(MIDNIGHT, MIDNIGHT + 10), trades((1, MIDNIGHT + 1))
    names = sorted(set(rows["instrument"]))

    def extend() -> None:
        with lake.transaction(asset="market/trades", run_id="a") as unit:
            unit.extend(TRADES, rows, window, names)

    extend()
    with pytest.raises(LakeError, match="has 1 rows"):
        extend()


def test_removed_rows_are_gone_and_remembered(lake: Lake) -> None:
    with lake.transaction(asset="market/trades", run_id="a") as unit:
        unit.append(TRADES, trades((1, MIDNIGHT + 5), (2, MIDNIGHT + DAY), (3, MIDNIGHT + DAY + 1)))
        unit.append(TRADES, trades((1, MIDNIGHT + 5), instrument="ETHFDUSD.BINANCE"))
    assert lake.removed() == {}
    with lake.transaction(asset="maintenance", run_id="b") as unit:
        unit.remove(TRADES, MIDNIGHT + DAY)  # midnight sharp belongs to the old day
    assert lake.removed() == {TRADES.name: MIDNIGHT + DAY}
    assert lake.read(TRADES)["trade_id"].tolist() == [3]
    with lake.transaction(asset="maintenance", run_id="c") as unit:
        unit.remove(TRADES, MIDNIGHT + 2 * DAY)
    assert lake.removed() == {TRADES.name: MIDNIGHT + 2 * DAY}
    assert lake.read(TRADES).empty


def test_day_ends_are_removed_before_a_time_and_rolling_states_stay(lake: Lake) -> None:
    ends = [State("fold", "crypto", "day_end", MIDNIGHT + number * DAY, "{}") for number in range(3)]
    rolling = State("fold", "crypto", "rolling", MIDNIGHT, "{}")
    with lake.transaction(asset="a/b", run_id="a") as unit:
        for state in (*ends, rolling):
            unit.keep_state(state)
    with lake.transaction(asset="maintenance", run_id="b") as unit:
        unit.remove_day_ends(ends[1].time)
    assert [lake.state("fold", "crypto", state.time) for state in ends] == [None, ends[1], ends[2]]
    assert lake.state("fold", "crypto") == rolling
