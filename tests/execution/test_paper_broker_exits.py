"""Whole stories, calculated by hand; prices are small and fees 0.1 %, so that every figure can be checked by eye.

Exits: stops, targets, opposite signals, age.
"""

from dataclasses import replace

from signal_assets.event_time import HOUR
from signal_assets.fixed_point import SCALE
from tests.execution.paper_session import ALONE, BTC, ETH, Session, at, book, long_ten, signal, units


def test_a_stop_fills_at_the_market_beyond_it():
    session = Session()
    long_ten(session, stop_loss="98", take_profit="106")
    session.step(2, at("98.01"))
    assert session.statuses("stop") == []
    session.step(3, at("97"))  # through the stop; seen here, so sold at the next grid point
    session.step(4, at("96"))
    # 10 x 96 = 960 against a cost of 1,000; fees 1 + 0.96
    assert session.fills[-1][6:10] == ("stop", "sell", units("96"), units("10"))
    assert session.positions[-1][3:] == (0, 0, -units("40"), units("1.96"))
    assert session.statuses("target") == ["placed", "canceled"]


def test_a_target_fills_at_its_own_price():
    session = Session()
    long_ten(session, stop_loss="98", take_profit="103")
    session.step(2, at("102.99"))
    session.step(3, at("105"))
    # 10 x 103 = 1,030: 30 earned; fees 1 + 1.03
    assert (session.fills[-1].price, session.fills[-1].liquidity) == (units("103"), "maker")
    assert session.positions[-1][3:] == (0, 0, units("30"), units("2.03"))
    assert session.statuses("target") == ["placed", "filled"]
    session.step(4, at("90"))
    assert session.statuses("stop") == []


def test_a_short_earns_when_prices_fall_and_its_stop_lies_above():
    session = Session()
    session.step(0, signal(BTC, "sell", quantity="10", stop_loss="102", take_profit="97"))
    session.step(1, book(BTC, "100x99", "100.1x99"))
    assert session.positions[-1][3:] == (-units("10"), -units("1000"), 0, units("1"))
    session.step(2, book(BTC, "96x99", "97.01x99"))
    assert len(session.fills) == 1
    session.step(3, book(BTC, "96x99", "96.5x99"))
    # Bought back at 97: 1,000 - 970 = 30; fees 1 + 0.97
    assert session.positions[-1][3:] == (0, 0, units("30"), units("1.97"))

    session.step(4, signal(BTC, "sell", quantity="10", stop_loss="102", id="again"))
    session.step(5, book(BTC, "100x99", "101.99x99"))
    session.step(6, book(BTC, "100x99", "102x99"))
    session.step(7, book(BTC, "103x99", "104x99"))
    # 1,000 - 1,040 = -40; together -10, fees 1.97 + 1 + 1.04
    assert session.positions[-1][3:] == (0, 0, -units("10"), units("4.01"))


def test_short_selling_may_be_off():
    session = Session(replace(ALONE, allow_short=False))
    session.step(0, signal(BTC, "sell", quantity="10"))
    assert session.orders[-1].reason == "short selling is off"
    long_ten(session)
    session.step(2, signal(BTC, "sell", quantity="10", id="out"))
    session.step(3, at("99"))
    assert session.positions[-1].quantity == 0
    assert session.orders[-1].purpose == "exit"


def test_an_opposite_signal_closes_and_then_opens():
    session = Session()
    long_ten(session, stop_loss="98", take_profit="110")
    session.step(2, signal(BTC, "sell", "105", quantity="4", stop_loss="107"))
    session.step(3, book(BTC, "105x12 104.9x99", "105.1x99"))
    # 10 close at 105 (1,050 - 1,000 = 50), then 2 open at 105 and 2 at 104.9: 210 + 209.8 = 419.8.
    assert [(fill.purpose, fill.price, fill.quantity) for fill in session.fills[1:]] == [
        ("exit", units("105"), units("10")),
        ("entry", units("105"), units("2")),
        ("entry", units("104.9"), units("2")),
    ]
    assert session.positions[-1][3:6] == (-units("4"), -units("419.8"), units("50"))
    # The stop is the new signal's now: 98 means nothing any more, 107 does.
    session.step(4, at("97"))
    assert session.statuses("stop") == []
    session.step(5, at("107"))
    assert session.statuses("stop") == ["placed"]


def test_an_opposite_limit_order_outlives_the_position_it_helps_to_close():
    session = Session(replace(ALONE, slippage_cap=0))
    long_ten(session, stop_loss="98")
    session.step(2, signal(BTC, "sell", "104", order_type="limit", quantity="9", stop_loss="107"))
    session.step(3, book(BTC, "105x3 104.9x4 103x99", "106x99"))
    # The exit takes 3 at the best bid; the new order 4 at 104.9, which leaves 3 of the old position, still closing.
    assert session.positions[-1].quantity == units("3")
    session.step(4, book(BTC, "103x99", "103.1x99"))
    # The exit sells them at 103; of the new order 5 still rest at 104.
    assert session.positions[-1].quantity == 0
    session.step(5, book(BTC, "104x99", "104.1x99"))
    assert session.positions[-1][3:5] == (-units("5"), -units("520"))
    session.step(6, at("107"))
    assert session.statuses("stop") == ["placed"]


def test_a_position_that_is_being_closed_binds_no_capital():
    session = Session(replace(ALONE, largest_position=SCALE))
    session.step(0, signal(BTC, "buy", quantity="100"))
    session.step(1, book(BTC, "99.9x999", "100x999"))
    session.step(2, signal(BTC, "sell", quantity="100"))
    assert (session.orders[-1].status, session.orders[-1].quantity) == ("placed", units("100"))


def test_an_opposite_signal_withdraws_an_entry_that_still_rests():
    session = Session()
    session.step(0, signal(BTC, "buy", "98", order_type="limit", quantity="1"))
    session.step(1, book(BTC, "99x9", "100x9"), signal(BTC, "sell", quantity="2"))
    session.step(2, book(BTC, "97x9", "97.5x9"))
    assert [(fill.side, fill.quantity) for fill in session.fills] == [("sell", units("2"))]
    assert [row.reason for row in session.orders if row.status == "canceled"] == ["an opposite signal"]


def test_an_exit_goes_on_until_nothing_is_left():
    session = Session(replace(ALONE, slippage_cap=0))
    long_ten(session, stop_loss="98")
    session.step(2, book(BTC, "97x3 96x9", "98x9"))
    session.step(3, book(BTC, "97x3 96x9", "98x9"))
    session.step(4, book(BTC, "96x4 95x9", "98x9"))
    session.step(5, book(BTC, "95x9", "98x9"))
    assert [(fill.price, fill.quantity) for fill in session.fills[1:]] == [
        (units("97"), units("3")),
        (units("96"), units("4")),
        (units("95"), units("3")),
    ]
    # 291 + 384 + 285 = 960
    assert session.positions[-1][3:6] == (0, 0, -units("40"))
    assert len({fill.order_id for fill in session.fills[1:]}) == 3


def test_a_target_grows_with_an_entry_that_fills_bit_by_bit_and_its_end_withdraws_the_rest():
    session = Session()
    session.step(0, signal(BTC, "buy", "98", order_type="limit", quantity="5", take_profit="103", lasts=3_600))
    session.step(1, book(BTC, "97x9", "98x2"))
    session.step(2, book(BTC, "97x9", "98x1"))
    assert [(row.status, row.quantity) for row in session.orders if row.purpose == "target"] == [
        ("placed", units("2")),
        ("modified", units("3")),
    ]
    session.step(3, book(BTC, "103x9", "103.1x9"))
    assert session.positions[-1].quantity == 0
    assert session.orders[-1][6:] == (
        *("entry", "buy", "limit", units("98"), units("5"), units("3")),
        *("canceled", "the position is closed"),
    )


def test_a_position_is_closed_for_its_age():
    session = Session(replace(ALONE, maximum_holding=4 * HOUR))
    long_ten(session)
    session.step(4 * 3_600, at("100"))  # opened at 1 s: a second short of four hours
    assert session.statuses("exit") == []
    session.step(4 * 3_600 + 1, at("100"))
    session.step(4 * 3_600 + 2, at("100"))
    assert session.statuses("exit") == ["placed", "filled"]


def test_age_counts_from_the_first_fill():
    session = Session(replace(ALONE, maximum_holding=10_000_000))
    session.step(0, signal(BTC, "buy", "98", order_type="limit", quantity="5"))
    session.step(1, book(BTC, "97x9", "98x1"))
    session.step(9, book(BTC, "97x9", "98x1"))
    session.step(10, at("97"))
    assert session.statuses("exit") == []
    session.step(11, at("97"))
    assert session.statuses("exit") == ["placed"]


def test_a_position_waits_for_its_own_book():
    session = Session()
    long_ten(session, stop_loss="98")
    session.step(2, at("97"))
    session.step(3, book(ETH, "99x9", "100x9"))
    assert session.statuses("stop") == ["placed"]
    session.step(9, at("91"))
    assert session.fills[-1].price == units("91")
