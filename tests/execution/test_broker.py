"""The broker by itself: what an order meets, and what is told of it."""

from dataclasses import replace

import pytest

from signal_assets.event_time import MILLISECOND, SECOND
from signal_assets.execution.broker import Offers, Order, PaperBroker
from signal_assets.execution.tables import FILLS, ORDERS
from signal_assets.fixed_point import SCALE
from signal_assets.machine import record_class
from signal_assets.market.tables import FEATURES
from tests.execution.paper_session import BTC, book, record, units

CHEAP_MAKER = replace(BTC, maker_fee=20_000, taker_fee=100_000)  # 0.02 %, 0.1 %


@pytest.fixture
def broker():
    return PaperBroker({BTC.key: CHEAP_MAKER}, latency=200 * MILLISECOND, slippage_cap=SCALE // 100)


def order(side=1, quantity="1", limit=None, purpose="entry", signal="s", **more):
    limit_price = None if limit is None else units(limit)
    return Order(signal, "momentum_rider", BTC.key, purpose, side, units(quantity), limit_price, **more)


def offers(bids="99x9", asks="100x9"):
    return Offers({BTC.key: record(FEATURES, book(BTC, bids, asks))})


def meet(broker, time, market, held=0):
    """All orders that are due meet the market."""
    return [fill for item in broker.due(time, market) for fill in broker.execute(time, item, market, SCALE, held)]


def told(broker):
    return [(row.status, row.filled, row.reason) for row in map(record_class(ORDERS)._make, broker.order_rows)]


def filled(broker):
    fills = map(record_class(FILLS)._make, broker.fill_rows)
    return [(row.price, row.quantity, row.notional, row.fee, row.liquidity) for row in fills]


def test_an_order_is_due_after_the_latency_and_not_before(broker):
    broker.place(10 * SECOND, order())
    assert broker.due(10 * SECOND + 199 * MILLISECOND, offers()) == []
    assert len(broker.due(10 * SECOND + 200 * MILLISECOND, offers())) == 1
    assert broker.due(11 * SECOND, Offers({})) == []  # no book of the instrument in this step


def test_a_market_order_takes_level_by_level(broker):
    broker.place(0, order(quantity="4.5"))
    meet(broker, SECOND, offers(asks="100x1 100.2x2 100.4x3"))
    # 1 x 100 = 100, 2 x 100.2 = 200.4, 1.5 x 100.4 = 150.6; 0.1 % of each.
    assert filled(broker) == [
        (units("100"), units("1"), units("100"), units("0.1"), "taker"),
        (units("100.2"), units("2"), units("200.4"), units("0.2004"), "taker"),
        (units("100.4"), units("1.5"), units("150.6"), units("0.1506"), "taker"),
    ]
    assert told(broker) == [("placed", 0, ""), ("filled", units("4.5"), "")]


def test_a_fee_is_rounded_up(broker):
    broker.place(0, order(quantity="0.00001"))
    meet(broker, SECOND, offers(bids="61737.62x1", asks="61737.63x1"))
    # 61,737.63 x 0.00001 = 0.6173763; 0.1 % of it is 0.0006173763, in whole units 61,737.63 -> 61,738.
    assert filled(broker) == [(units("61737.63"), 1_000, units("0.6173763"), 61_738, "taker")]


def test_what_the_book_does_not_hold_is_canceled(broker):
    broker.place(0, order(quantity="7"))
    meet(broker, SECOND, offers(asks="100x1 100.2x2 100.4x3"))
    assert told(broker)[1:] == [
        ("partially_filled", units("6"), ""),
        ("canceled", units("6"), "the visible book is used up"),
    ]
    assert broker.orders == {}


def test_the_slippage_cap_counts_from_the_best_price_at_the_fill(broker):
    broker.place(0, order(quantity="3"))
    # 1 % beyond 200 is 202; that level itself is within.
    meet(broker, SECOND, offers(asks="200x1 202x1 202.01x9"))
    assert [price for price, *_ in filled(broker)] == [units("200"), units("202")]
    assert told(broker)[-1] == ("canceled", units("2"), "no level within the slippage cap is left")


def test_the_cap_of_a_seller_lies_below(broker):
    broker.place(0, order(-1, quantity="3"))
    meet(broker, SECOND, offers(bids="200x1 198x1 197.99x9", asks="201x1"))
    assert [price for price, *_ in filled(broker)] == [units("200"), units("198")]


def test_a_limit_order_that_is_marketable_on_arrival_takes(broker):
    broker.place(0, order(quantity="3", limit="100.2"))
    meet(broker, SECOND, offers(asks="100x1 100.2x1 100.4x3"))
    assert [(price, liquidity) for price, *_, liquidity in filled(broker)] == [
        (units("100"), "taker"),
        (units("100.2"), "taker"),
    ]
    assert told(broker)[-1] == ("partially_filled", units("2"), "")
    # What is left rests at 100.2 and is filled there, as maker, though the ask has come down to 99.
    meet(broker, 2 * SECOND, offers(bids="98x1", asks="99x5"))
    # 1 x 100.2 = 100.2; 0.02 % of it = 0.02004
    assert filled(broker)[-1] == (units("100.2"), units("1"), units("100.2"), units("0.02004"), "maker")


def test_a_resting_order_gets_no_more_than_crosses_its_price(broker):
    broker.place(0, order(quantity="5", limit="99.5"))
    meet(broker, SECOND, offers(asks="100x9"))
    assert filled(broker) == []
    meet(broker, 2 * SECOND, offers(bids="99x1", asks="99.4x1 99.5x2 99.6x9"))
    assert filled(broker) == [(units("99.5"), units("3"), units("298.5"), units("0.0597"), "maker")]
    assert told(broker)[-1] == ("partially_filled", units("3"), "")


def test_an_immediate_limit_order_does_not_rest(broker):
    broker.place(0, order(quantity="3", limit="100.2", immediate=True))
    meet(broker, SECOND, offers(asks="100x1 100.3x9"))
    assert told(broker)[-1] == ("canceled", units("1"), "no level within its limit")


def test_nothing_is_offered_twice_and_the_older_order_goes_first(broker):
    late = broker.place(2 * SECOND, order(signal="late", quantity="2"))
    early = broker.place(SECOND, order(signal="early", quantity="2"))
    fills = meet(broker, 3 * SECOND, offers(asks="100x3 100.5x9"))
    assert [(fill.order.id, fill.quantity) for fill in fills] == [
        (early.id, units("2")),
        (late.id, units("1")),
        (late.id, units("1")),
    ]
    assert [price for price, *_ in filled(broker)] == [units("100"), units("100"), units("100.5")]


def test_those_that_close_go_first_then_the_oldest_then_the_least_id(broker):
    entries = [broker.place(0, order(signal=signal)) for signal in ("one", "another")]
    older = broker.place(-1, order(signal="older"))
    stop = broker.place(1, order(purpose="stop"))
    in_turn = [stop.id, older.id, *sorted(item.id for item in entries)]
    assert [item.id for item in broker.due(SECOND, offers())] == in_turn


def test_a_closing_order_never_turns_a_position(broker):
    broker.place(0, order(-1, quantity="2", purpose="exit"))
    (fill,) = meet(broker, SECOND, offers(bids="99x9"), held=units("0.5"))
    assert fill.quantity == units("0.5")
    assert told(broker)[-1] == ("canceled", units("0.5"), "nothing is left to close")
    broker.place(SECOND, order(-1, quantity="2", purpose="exit"))
    assert meet(broker, 2 * SECOND, offers(bids="99x9"), held=-units("1")) == []


def test_modifying_replaces_size_and_price_after_another_latency(broker):
    placed = broker.place(0, order(quantity="1", limit="98"))
    meet(broker, SECOND, offers())
    broker.modify(SECOND, placed.id, quantity=units("2"), limit_price=units("100"))
    assert broker.due(SECOND + 199 * MILLISECOND, offers()) == []
    meet(broker, 2 * SECOND, offers(asks="100x9"))
    # It arrives anew and is marketable, so it takes.
    assert filled(broker) == [(units("100"), units("2"), units("200"), units("0.2"), "taker")]
    assert [status for status, *_ in told(broker)] == ["placed", "modified", "filled"]
    assert [row[1] for row in broker.order_rows] == [0, 1, 2]


def test_what_cannot_be_modified_or_canceled_is_refused(broker):
    market = broker.place(0, order())
    with pytest.raises(ValueError, match="takes no limit price"):
        broker.modify(0, market.id, limit_price=1)
    partly = broker.place(0, order(signal="other", quantity="9", limit="100"))
    broker.cancel(0, market.id, "no more")
    meet(broker, SECOND, offers(asks="100x3"))
    with pytest.raises(ValueError, match="are filled, so it cannot become"):
        broker.modify(SECOND, partly.id, quantity=units("3"))
    with pytest.raises(KeyError):
        broker.cancel(SECOND, market.id, "again")


def test_a_canceled_or_expired_order_meets_nothing(broker):
    gone = broker.place(0, order(limit="100"))
    broker.place(0, order(signal="brief", limit="100", expires_at=SECOND))
    broker.cancel(0, gone.id, "no more")
    broker.expire(SECOND - 1)
    assert len(broker.orders) == 1
    broker.expire(SECOND)
    assert meet(broker, SECOND, offers()) == []
    assert told(broker)[2:] == [("canceled", 0, "no more"), ("expired", 0, "")]
    assert broker.working("momentum_rider", BTC.key) == []
