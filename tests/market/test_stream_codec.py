"""Rows through bytes and back."""

import math
from dataclasses import replace

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_assets.fixed_point import MAXIMUM
from signal_assets.market import tables
from signal_assets.market.stream_codec import PayloadError, decode, encode
from signal_assets.table import Column, ColumnType, Table

INTEGERS = st.integers(-MAXIMUM, MAXIMUM)
LISTS = st.lists(INTEGERS, max_size=4)
TRADE = ("A.B", 7, 1, 2, MAXIMUM, 3, True, False, 0)


def depth_row(time: int, prices: list[int], quantities: list[int]) -> tuple[object, ...]:
    return ("A.B", time, 2, 3, tuple(prices), quantities, prices, tuple(quantities), 4, 5)


@given(st.lists(st.tuples(LISTS, LISTS), max_size=5))
def test_list_columns_of_any_lengths(lists: list[tuple[list[int], list[int]]]) -> None:
    rows = [depth_row(time, prices, quantities) for time, (prices, quantities) in enumerate(lists)]
    frame = decode(tables.DEPTH_SNAPSHOTS, encode(tables.DEPTH_SNAPSHOTS, rows))
    assert len(frame) == len(rows)
    for row, (_, kept) in zip(rows, frame.iterrows(), strict=True):
        for name, value in zip(frame.columns, row, strict=True):
            if name in ("bid_price", "bid_quantity", "ask_price", "ask_quantity"):
                assert isinstance(kept[name], np.ndarray)
                assert kept[name].dtype == np.int64
                assert kept[name].tolist() == list(value)  # type: ignore[call-overload]
            else:
                assert kept[name] == value


@given(st.floats(allow_nan=False, allow_infinity=False), st.none() | INTEGERS)
def test_features_keep_floats_to_the_bit_and_nulls(value: float, last_price: int | None) -> None:
    lists = ((1, 2),) * 4
    row = ("A.B", 1, 2, 3, 4, 5, *lists, value, 6, value, value, value, -7, 8, 9, 10, last_price, 11)
    frame = decode(tables.FEATURES, encode(tables.FEATURES, [row, ("A.B", 2, *row[2:])]))
    assert frame["mid_price"].tolist() == [value, value]
    assert frame["last_price"].dtype == "Int64"
    assert frame["last_price"].isna().tolist() == [last_price is None] * 2
    if last_price is not None:
        assert frame["last_price"].tolist() == [last_price] * 2


@pytest.mark.parametrize("table", tables.TABLES, ids=lambda table: table.name)
def test_no_rows_give_an_empty_frame_with_the_dtypes_of_the_table(table: Table) -> None:
    pd.testing.assert_frame_equal(decode(table, encode(table, [])), table.empty())


def test_dtypes() -> None:
    frame = decode(tables.TRADES, encode(tables.TRADES, [TRADE]))
    assert frame["price"].tolist() == [MAXIMUM]
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "instrument": "str",
        "trade_id": "int64",
        "event_time": "int64",
        "received_time": "int64",
        "price": "int64",
        "quantity": "int64",
        "is_buyer_maker": "bool",
        "late": "bool",
        "flags": "int64",
    }


def damaged(**columns: object) -> bytes:
    content = orjson.loads(encode(tables.TRADES, [TRADE]))
    content["columns"].update(columns)
    return orjson.dumps(content)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\x00",
        b"[1, 2]",
        b"{}",
        b'{"n": "many", "columns": {}}',
        b'{"n": 1, "columns": {}}',
        b'{"n": 1, "columns": {"price": 3}}',
        encode(tables.FEED_GAPS, [("A.B", "depth", 1, 2, "restart")]),
        encode(tables.TRADES, [TRADE])[:-9],
        damaged(price=[1, 2]),
        damaged(price=5),
        damaged(price=[1.5]),
        damaged(price=[None]),
        damaged(price=["7"]),
        damaged(price=[2**63]),
        damaged(is_buyer_maker=["no"]),
        damaged(instrument=[None]),
        damaged(price=[[1]]),
        damaged(instrument=[["A.B"]]),
        damaged(is_buyer_maker=[[True]]),
        damaged(other=[1]),
    ],
)
def test_bad_payload_is_named(payload: bytes) -> None:
    with pytest.raises(PayloadError, match=r"market\.trades"):
        decode(tables.TRADES, payload)


@pytest.mark.parametrize("item", [b"[2.5]", b"2", b"[[2]]", b"null"])
def test_bad_lists_are_named(item: bytes) -> None:
    payload = encode(tables.DEPTH_SNAPSHOTS, [depth_row(1, [1], [2])]).replace(b"[[2]]", b"[" + item + b"]")
    with pytest.raises(PayloadError, match=r"market\.depth_snapshots"):
        decode(tables.DEPTH_SNAPSHOTS, payload)


@pytest.mark.parametrize("claimed", [0, 1, 3, -2])
def test_a_claimed_number_of_rows_that_are_not_there_is_refused(claimed: int) -> None:
    payload = encode(tables.TRADES, [TRADE, (TRADE[0], 8, *TRADE[2:])])
    assert len(decode(tables.TRADES, payload)) == 2
    with pytest.raises(PayloadError, match="columns or their lengths"):
        decode(tables.TRADES, payload.replace(b'"n":2', b'"n":%d' % claimed))


def test_rows_of_nothing_but_defaults_are_refused() -> None:
    """Whatever their number: nothing vouches for it."""
    older = tuple(
        replace(column, default="" if column.type is ColumnType.TEXT else 0) for column in tables.FEED_GAPS.columns
    )
    for claimed in (1, 4_000_000_000):
        with pytest.raises(PayloadError, match="columns or their lengths"):
            decode(replace(tables.FEED_GAPS, columns=older), orjson.dumps({"n": claimed, "columns": {}}))


def test_repeated_key_is_named() -> None:
    with pytest.raises(PayloadError, match="two rows"):
        decode(tables.TRADES, encode(tables.TRADES, [TRADE, TRADE]))


@pytest.mark.parametrize("row", [TRADE[:-1], (*TRADE[:-1], 2**64)])
def test_rows_that_do_not_fit_are_refused(row: tuple[object, ...]) -> None:
    with pytest.raises(PayloadError, match=r"market\.trades"):
        encode(tables.TRADES, [row])


def test_entries_of_an_older_version_hold_the_default_of_columns_added_since() -> None:
    added = (
        Column("fee", ColumnType.PRICE, "", default=-5),
        Column("venue", ColumnType.TEXT, "", default="unknown"),
        Column("maker", ColumnType.FLAG, "", default=True),
        Column("slope", ColumnType.REAL, "", default=math.nan),
        Column("level", ColumnType.COUNT, "", nullable=True),
    )
    newer = replace(tables.TRADES, columns=(added[0], *tables.TRADES.columns, *added[1:]))
    row = decode(newer, encode(tables.TRADES, [TRADE])).iloc[0]
    assert (row["fee"], row["venue"], row["maker"]) == (-5, "unknown", True)
    assert math.isnan(row["slope"])
    assert row["level"] is pd.NA
    assert decode(newer, encode(tables.TRADES, [])).empty
    for claimed in (b"4000000000", b"99999999999999999999"):  # refused before so many defaults are made
        with pytest.raises(PayloadError, match="columns or their lengths"):
            decode(newer, encode(tables.TRADES, [TRADE]).replace(b'"n":1', b'"n":' + claimed))
    required = replace(tables.TRADES, columns=(*tables.TRADES.columns, Column("x", ColumnType.REAL, "")))
    with pytest.raises(PayloadError, match="columns or their lengths"):
        decode(required, encode(tables.TRADES, [TRADE]))
