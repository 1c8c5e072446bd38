"""Features rows against values worked out by hand."""

import pytest

from signal_assets.event_time import SECOND
from signal_assets.fixed_point import MAXIMUM, SCALE
from signal_assets.market import tables
from signal_assets.market.feature_grid import FeatureGrid
from signal_assets.market.messages import DepthSnapshot, DepthUpdate, Trade
from signal_assets.market.order_book import OrderBook
from tests.market.market_model import named


def book_of(bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> OrderBook:
    book = OrderBook()
    book.apply_snapshot(DepthSnapshot("X", 10, bids, asks))
    return book


def trade(number: int, time: int, quantity: int, *, maker: bool, price: int = 100) -> Trade:
    return Trade("X", number, time, 0, price, quantity, maker, time)


def change(book: OrderBook, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
    number = book.last_update_id + 1
    book.apply_update(DepthUpdate("X", 0, 0, number, number, bids, asks))


def test_row_of_a_small_book() -> None:
    grid = FeatureGrid("X", SECOND)
    book = book_of([(99 * SCALE, 30), (98 * SCALE, 10)], [(102 * SCALE, 10), (103 * SCALE, 30)])
    grid.rebase(book)
    grid.add_trade(trade(1, 1, 4, maker=True))
    grid.add_trade(trade(2, SECOND, 5, maker=False, price=101))
    grid.add_trade(trade(3, SECOND + 1, 7, maker=False, price=102))
    grid.capture(SECOND, book, complete=True)
    (row,) = named(tables.FEATURES, grid.close(SECOND))
    assert row == {
        "instrument": "X",
        "time": SECOND,
        "best_bid": 99 * SCALE,
        "best_ask": 102 * SCALE,
        "bid_quantity": 30,
        "ask_quantity": 10,
        "bid_price_20": (99 * SCALE, 98 * SCALE),
        "bid_quantity_20": (30, 10),
        "ask_price_20": (102 * SCALE, 103 * SCALE),
        "ask_quantity_20": (10, 30),
        "mid_price": 100.5,
        "spread": 3 * SCALE,
        "imbalance_1": 0.5,
        "imbalance_5": 0.0,
        "imbalance_20": 0.0,
        "order_flow_imbalance": 0,
        "trade_count": 2,
        "buy_quantity": 5,
        "sell_quantity": 4,
        "last_price": 101,
        "last_update_id": 10,
    }


@pytest.mark.parametrize(
    ("bids", "asks", "flow"),
    [
        ([(99, 8)], [], 3),  # more at the best bid
        ([(99, 1)], [], -4),
        ([(100, 2)], [], 2),  # a better bid counts whole
        ([(99, 0)], [], -5),  # the best bid taken away
        ([], [(101, 9)], -2),  # more at the best ask
        ([], [(101, 0)], 7),
        ([], [(100, 3)], -3),
        ([(100, 2)], [(101, 0)], 9),  # the price goes up: both sides say so
        ([(98, 3)], [(102, 3)], 0),  # nothing at the best levels
    ],
)
def test_order_flow_imbalance(bids: list[tuple[int, int]], asks: list[tuple[int, int]], flow: int) -> None:
    grid = FeatureGrid("X", SECOND)
    book = book_of([(99, 5), (98, 1)], [(101, 7), (102, 1)])
    grid.rebase(book)
    change(book, bids, asks)
    grid.add_flow(book)
    grid.capture(SECOND, book, complete=True)
    grid.capture(2 * SECOND, book, complete=True)
    rows = named(tables.FEATURES, grid.close(2 * SECOND))
    assert [row["order_flow_imbalance"] for row in rows] == [flow, 0]


def test_incomplete_interval_gives_no_row_but_begins_the_next_one() -> None:
    grid = FeatureGrid("X", SECOND)
    book = book_of([(99, 5)], [(101, 7)])
    grid.rebase(book)
    change(book, [(99, 50)], [])
    grid.add_flow(book)
    grid.capture(SECOND, book, complete=False)
    change(book, [(99, 51)], [])
    grid.add_flow(book)
    grid.capture(2 * SECOND, book, complete=True)
    rows = named(tables.FEATURES, grid.close(2 * SECOND))
    assert [(row["time"], row["order_flow_imbalance"]) for row in rows] == [(2 * SECOND, 1)]


def test_rows_of_an_unchanged_book_share_their_lists() -> None:
    grid = FeatureGrid("X", SECOND)
    book = book_of([(99, 5)], [(101, 7)])
    for point in (SECOND, 2 * SECOND):
        grid.capture(point, book, complete=True)
        change(book, [(99, 5)], [])
    first, second = grid.close(2 * SECOND)
    assert first[6] == (99,)
    assert all(first[column] is second[column] for column in range(6, 10))


def test_last_price_is_carried_on_and_unknown_before_the_first_trade() -> None:
    grid = FeatureGrid("X", SECOND)
    book = book_of([(99, 5)], [(101, 7)])
    for point in range(1, 6):
        grid.capture(point * SECOND, book, complete=point != 3)
    grid.add_trade(trade(1, 2 * SECOND, 1, maker=True, price=7))
    grid.add_trade(trade(2, 3 * SECOND, 1, maker=True, price=8))
    rows = named(tables.FEATURES, grid.close(5 * SECOND))
    assert [(row["time"] // SECOND, row["last_price"]) for row in rows] == [(1, None), (2, 7), (4, 8), (5, 8)]


def test_close_leaves_what_is_behind_the_target() -> None:
    grid = FeatureGrid("X", SECOND)
    book = book_of([(99, 5)], [(101, 7)])
    grid.capture(SECOND, book, complete=True)
    grid.capture(2 * SECOND, book, complete=True)
    grid.add_trade(trade(1, 2 * SECOND, 9, maker=True))
    assert [row[1] for row in grid.close(SECOND)] == [SECOND]
    (row,) = named(tables.FEATURES, grid.close(2 * SECOND))
    assert (row["time"], row["sell_quantity"]) == (2 * SECOND, 9)
    assert grid.close(9 * SECOND) == []


def test_absurd_quantities_saturate_instead_of_leaving_int64() -> None:
    grid = FeatureGrid("X", SECOND)
    book = book_of([(99, MAXIMUM)], [(101, 1)])
    grid.rebase(book)
    for price in (100, 99, 98):
        change(book, [(100, MAXIMUM if price == 100 else 0)], [])
        grid.add_flow(book)
    for number in (1, 2):
        grid.add_trade(trade(number, 1, MAXIMUM, maker=True))
    grid.capture(SECOND, book, complete=True)
    (row,) = named(tables.FEATURES, grid.close(SECOND))
    assert row["sell_quantity"] == MAXIMUM
    assert -MAXIMUM <= row["order_flow_imbalance"] <= MAXIMUM
