"""Whole stories, calculated by hand; prices are small and fees 0.1 %, so that every figure can be checked by eye."""

import json
from dataclasses import replace

import pytest

from signal_assets.event_time import HOUR
from signal_assets.execution.parameters import ExecutionParameters
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from tests.execution.paper_session import (
    ALONE,
    BTC,
    CROSSOVER,
    ETH,
    ETHBTC,
    RIDER,
    TRIANGLE,
    Session,
    book,
    signal,
    units,
)

HOURS_TO_MIDNIGHT = 12


def at(price: str, size: str = "1000"):
    """A book of one level a side without spread to speak of: bid = price, ask = price + 0.01."""
    ask = units(price) + units("0.01")
    columns = book(BTC, f"{price}x{size}", f"{price}x{size}")
    return columns | {"best_ask": ask, "ask_price_20": [ask]}


def long_ten(session: Session, **more):
    """Buy 10 at 100.00 flat: cost 1,000, fee 1."""
    session.step(0, signal(BTC, "buy", "100", quantity="10", **more))
    session.step(1, book(BTC, "99.9x99", "100x99"))
    assert session.positions[-1][3:] == (units("10"), units("1000"), 0, units("1"))


# Entries


def test_a_signal_never_fills_at_its_own_grid_point():
    session = Session()
    rows = session.step(0, book(BTC, "99x9", "100x9"), signal(BTC, "buy", quantity="1"))
    assert rows["execution.fills"] == []
    assert [row.status for row in rows["execution.orders"]] == ["placed"]
    session.step(0.1, book(BTC, "99x9", "100x9"))  # 100 ms later, the latency is 200
    assert session.fills == []
    session.step(0.2, book(BTC, "99x9", "101x9"))
    assert [(fill.price, fill.time - session.orders[0].time) for fill in session.fills] == [(units("101"), 200_000)]


def test_even_without_latency_it_waits_for_the_next_grid_point():
    session = Session(replace(ALONE, latency=0))
    session.step(0, book(BTC, "99x9", "100x9"), signal(BTC, "buy", quantity="1"))
    assert session.fills == []
    session.step(1, book(BTC, "99x9", "100x9"))
    assert len(session.fills) == 1


def test_a_partial_fill_over_three_levels():
    session = Session()
    session.step(0, signal(BTC, "buy", quantity="7"))
    session.step(1, book(BTC, "99x9", "100x1 100.2x2 100.4x3"))
    # 1 x 100 + 2 x 100.2 + 3 x 100.4 = 100 + 200.4 + 301.2 = 601.6; fee 0.1 + 0.2004 + 0.3012 = 0.6016
    assert [(fill.number, fill.quantity) for fill in session.fills] == [
        (0, units("1")),
        (1, units("2")),
        (2, units("3")),
    ]
    assert session.positions[-1][3:] == (units("6"), units("601.6"), 0, units("0.6016"))
    assert session.statuses("entry") == ["placed", "partially_filled", "canceled"]
    session.step(2, book(BTC, "99x9", "100x9"))
    assert len(session.fills) == 3


def test_the_size_is_a_share_of_the_capital_in_whole_lots():
    session = Session()
    session.step(0, signal(BTC, "buy", "61737.63"))
    # 10 % of 10,000 / 61,737.63 = 0.016197579...; lots of 0.00001
    assert session.orders[0].quantity == units("0.01619")


def test_a_proposed_size_is_cut_to_the_largest_position_and_to_the_free_capital():
    session = Session(replace(ALONE, largest_position=SCALE * 6 // 10))
    session.step(0, signal(BTC, "buy", quantity="70"), signal(ETH, "buy", quantity="50", id="eth"))
    # 60 % of 10,000 are 60 at 100 each; that binds 6,000, so 4,000 are left: 40.
    assert [order.quantity for order in session.orders] == [units("60"), units("40")]
    session.step(0.1, signal(BTC, "buy", strategy="nobody", quantity="1"))
    session.step(0.2, signal(ETHBTC, "buy", "0.05", quantity="1"))
    assert [order.reason for order in session.orders[2:]] == [
        "the strategy is not deployed",
        "no rate from BTC to FDUSD is known",
    ]


def test_bound_capital_is_free_again_when_the_order_has_gone():
    session = Session(replace(ALONE, largest_position=SCALE))
    session.step(0, signal(BTC, "buy", order_type="limit", quantity="100"), signal(ETH, "buy", quantity="1", id="no"))
    assert session.orders[-1].reason == "the limits leave less than a lot"
    session.step(60)  # the limit order expires
    session.step(61, signal(ETH, "buy", quantity="1", id="yes"))
    assert session.orders[-1].status == "placed"


def test_a_market_order_without_a_market_expires_with_its_signal():
    session = Session()
    session.step(0, signal(BTC, "buy", quantity="1"))
    session.step(30, book(ETH, "99x9", "100x9"))  # only another instrument's book
    session.step(60, book(BTC, "99x9", "100x9"))
    assert session.statuses("entry") == ["placed", "expired"]


def test_a_limit_that_is_not_reached_expires():
    session = Session()
    session.step(0, signal(BTC, "buy", "98", order_type="limit", quantity="1"))
    for second in range(1, 62):
        session.step(second, book(BTC, "98x9", "98.01x9"))
    assert session.statuses("entry") == ["placed", "expired"]
    assert session.fills == []
    assert session.orders[-1].time - session.orders[0].time == 60_000_000


def test_a_limit_that_is_reached_fills_at_its_own_price():
    session = Session()
    session.step(0, signal(BTC, "buy", "98", order_type="limit", quantity="1"))
    session.step(1, book(BTC, "99x9", "100x9"))
    session.step(2, book(BTC, "97x9", "97.5x9"))
    (fill,) = session.fills
    assert (fill.price, fill.liquidity, fill.fee) == (units("98"), "maker", units("0.098"))


def test_slippage_cap():
    session = Session(replace(ALONE, slippage_cap=SCALE // 100))
    session.step(0, signal(BTC, "buy", quantity="3"))
    session.step(1, book(BTC, "99x9", "100x1 101x1 101.01x9"))  # 1 % beyond 100 is 101
    assert [fill.price for fill in session.fills] == [units("100"), units("101")]
    assert session.orders[-1].reason == "no level within the slippage cap is left"


def test_two_strategies_do_not_share_what_is_offered_once():
    session = Session(ExecutionParameters(weights=((RIDER, 1), (CROSSOVER, 1))))
    both = [signal(BTC, "buy", quantity="5", strategy=strategy) for strategy in (RIDER, CROSSOVER)]
    session.step(0, *both)
    session.step(1, book(BTC, "99x9", "100x7"))
    first, second = (row.id for row in sorted(session.orders[:2], key=lambda row: row.id))
    assert {fill.order_id: fill.quantity for fill in session.fills} == {first: units("5"), second: units("2")}


def test_what_closes_goes_before_what_opens_though_it_was_placed_later():
    session = Session(replace(ALONE, weights=((RIDER, 1), (CROSSOVER, 1))))
    long_ten(session, stop_loss="98")
    session.step(1.5, signal(BTC, "sell", "97", strategy=CROSSOVER, order_type="limit", quantity="5"))
    session.step(2, book(BTC, "96.9x9", "97.1x9"))  # reaches the stop, not the other strategy's limit
    session.step(3, book(BTC, "97x12", "97.1x9"))
    assert [(fill.purpose, fill.quantity) for fill in session.fills[1:]] == [
        ("stop", units("10")),
        ("entry", units("2")),
    ]


def test_other_statuses_and_hold_are_not_acted_on():
    session = Session()
    session.step(0, *(signal(BTC, "buy", id=s, status=s) for s in ("rejected", "duplicate", "failed")))
    session.step(1, signal(BTC, "hold"))
    assert session.orders == []


def test_a_payment_in_btc_is_converted_at_the_middle_of_btc():
    session = Session()
    session.step(0, book(BTC, "59990x9", "60010x9"), signal(ETHBTC, "buy", "0.05", quantity="0.3"))
    session.step(1, book(ETHBTC, "0.0499x9", "0.05x9"), book(BTC, "60990x9", "61010x9"))
    # 0.05 x 0.3 = 0.015 BTC; BTC is at (60,990 + 61,010) / 2 = 61,000 when it is filled: 915 FDUSD, fee 0.915.
    (fill,) = session.fills
    assert (fill.account_rate, fill.notional, fill.fee) == (units("61000"), units("915"), units("0.915"))


def test_a_conversion_uses_the_newest_rate_if_that_book_pauses():
    session = Session()
    session.step(0, book(BTC, "59990x9", "60010x9"), signal(ETHBTC, "buy", "0.05", quantity="0.3"))
    session.step(1, book(ETHBTC, "0.0499x9", "0.05x9"))
    assert [fill.account_rate for fill in session.fills] == [units("60000")]


def test_a_signal_in_the_direction_of_the_position_is_refused():
    session = Session()
    session.step(0, signal(BTC, "buy", quantity="1"))
    session.step(0.1, signal(BTC, "buy", quantity="1", id="while it is under way"))
    session.step(1, book(BTC, "99x9", "100x9"))
    session.step(2, signal(BTC, "buy", quantity="1", id="while it is held"))
    refused = [(row.change, row.reason) for row in session.orders if row.status == "rejected"]
    assert refused == [
        (0, "an order that opens a position is under way already"),
        (0, "a position in this direction is open already"),
    ]


# Exits


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


# Limits


def test_a_day_s_loss_pauses_and_the_next_day_resumes():
    session = Session()
    session.step(0, signal(BTC, "buy", quantity="25"))
    session.step(1, book(BTC, "99.9x99", "100x99"))  # 25 x 100 = 2,500, fee 2.5
    session.step(2, signal(ETH, "buy", "90", order_type="limit", quantity="1", id="resting", lasts=3_600))
    # Limit 5 % of 10,000 = 500. At a middle of 80.105: 25 x 80.105 = 2,002.625, loss 497.375 + 2.5 = 499.875.
    session.step(3, at("80.10"))
    assert session.deployments[-1].state == "active"
    session.step(4, at("80.09"))  # middle 80.095: 2,002.375, loss 500.125
    assert session.deployments[-1][1:] == (
        "*.crypto",
        session.orders[-1].time,
        4,
        "paused",
        units("10000"),
        "daily loss limit",
    )
    assert session.orders[-1][6:] == (
        *("entry", "buy", "limit", units("90"), units("1"), 0),
        *("canceled", "the strategy is paused: daily loss limit"),
    )
    session.step(5, at("80"), signal(ETH, "buy", quantity="1", id="refused"))
    assert session.orders[-1].reason == "the strategy is paused: daily loss limit"
    # It keeps what it has: the pause sells nothing.
    assert session.positions[-1].quantity == units("25")
    midnight = HOURS_TO_MIDNIGHT * 3_600
    session.step(midnight, at("80"))
    assert session.deployments[-1].state == "paused"
    session.step(midnight + 1, at("80"), signal(ETH, "buy", quantity="1", id="welcome"))
    assert session.deployments[-1][3:] == (5, "active", units("10000"), "a new day")
    assert session.orders[-1].status == "placed"
    # The new day counts from the middle it found, 80.005: another 500 down would be 60.005, where the safety stop is.
    session.step(midnight + 2, at("61"))
    assert session.deployments[-1].state == "active"


def test_the_safety_stop_flags_for_good_and_liquidates():
    session = Session(replace(ALONE, daily_loss_limit=SCALE))
    session.step(0, signal(BTC, "buy", quantity="25", take_profit="200"))
    session.step(1, book(BTC, "99.9x99", "100x99"))
    # 10 % of 10,000 = 1,000. At a middle of 60.105: 25 x 60.105 = 1,502.625, loss 997.375 + 2.5 = 999.875.
    session.step(2, at("60.10"))
    assert session.deployments[-1].state == "active"
    session.step(3, at("60.09"))
    assert session.deployments[-1][3:] == (4, "flagged", units("10000"), "safety stop")
    session.step(4, at("60"))
    # 25 x 60 = 1,500: -1,000; fees 2.5 + 1.5
    assert session.positions[-1][3:] == (0, 0, -units("1000"), units("4"))
    assert session.statuses("target") == ["placed", "canceled"]
    assert session.statuses("liquidation") == ["placed", "filled"]
    session.step(24 * 3_600, signal(BTC, "buy", quantity="1", id="never"))
    assert session.orders[-1].reason == "the strategy is flagged: safety stop"


def test_the_kill_switch_cancels_liquidates_and_lets_go():
    session = Session()
    long_ten(session, take_profit="110")
    session.step(2, at("100"), signal(ETH, "buy", "90", order_type="limit", quantity="1", id="resting", lasts=3_600))
    session.change(kill_switch=True)
    session.step(3, at("100"), signal(ETH, "sell", id="refused"))
    assert session.deployments[-1][3:5] == (4, "flagged")
    ends = {(row.purpose, row.status) for row in session.orders if row.time == session.orders[-1].time}
    assert ends == {("target", "canceled"), ("entry", "canceled"), ("liquidation", "placed"), ("entry", "rejected")}
    session.step(4, at("99"))
    assert session.positions[-1][3:6] == (0, 0, -units("10"))
    assert not session.machine.state()["orders"]
    session.change(kill_switch=False)
    session.step(5, signal(ETH, "buy", quantity="1", id="again"))
    assert session.deployments[-1][3:5] == (5, "active")
    assert session.orders[-1].status == "placed"


def test_a_single_strategy_can_be_killed():
    session = Session(ExecutionParameters(weights=((RIDER, 1), (CROSSOVER, 1)), killed=(CROSSOVER,)))
    session.step(0, signal(BTC, "buy", quantity="1"), signal(BTC, "buy", quantity="1", strategy=CROSSOVER))
    assert [(row.strategy, row.status) for row in session.orders] == [(RIDER, "placed"), (CROSSOVER, "rejected")]


# Legs

ARBITRAGEUR = replace(ALONE, weights=((TRIANGLE, 1),), largest_position=SCALE)
BOOKS = (
    book(BTC, "49990x9", "50000x9"),
    book(ETH, "2520x9", "2521x9"),
    book(ETHBTC, "0.0499x9", "0.05x9"),
)


def triangle(**more):
    """FDUSD -> 0.02 BTC -> 0.4 ETH -> FDUSD: pays 0.02 x 50,000 = 1,000, gets 0.4 x 2,520 = 1,008."""
    legs = [
        {"instrument": BTC.key, "side": "buy", "quantity": "0.02", "limit_price": "50000"},
        {"instrument": ETHBTC.key, "side": "buy", "quantity": "0.4", "limit_price": "0.05"},
        {"instrument": ETH.key, "side": "sell", "quantity": "0.4", "limit_price": "2520"},
    ]
    return signal(None, "buy", "50000", strategy=TRIANGLE, legs=json.dumps(legs), **more)


def test_a_cycle_that_completes_is_settled_to_its_profit():
    session = Session(ARBITRAGEUR)
    session.step(0, *BOOKS, triangle())
    session.step(1, *BOOKS)
    legs = [fill for fill in session.fills if fill.purpose == "leg"]
    # BTC: 0.02 x 50,000 = 1,000. ETHBTC: 0.4 x 0.05 = 0.02 BTC at 49,995 = 999.9. ETH: 0.4 x 2,520 = 1,008.
    assert {fill.instrument: fill.notional for fill in legs} == {
        BTC.key: units("1000"),
        ETHBTC.key: units("999.9"),
        ETH.key: units("1008"),
    }
    settled = {fill.instrument: fill for fill in session.fills if fill.purpose == "settlement"}
    # One value per currency: BTC 49,995, ETH (2,520 + 2,521) / 2 = 2,520.5, hence ETH/BTC 2,520.5 / 49,995.
    assert settled[BTC.key].price == units("49995")
    assert settled[ETH.key].price == units("2520.5")
    assert settled[ETHBTC.key].price == round(2520.5 / 49995 * SCALE) == 5_041_504
    assert {fill.fee for fill in settled.values()} == {0}
    # Flat everywhere; 1,008 - 1,000 = 8 earned but for the rounding of that price: half a unit of 1e-8 x 0.4 x 49,995.
    final = {row.instrument: row for row in session.positions}
    assert {row.quantity for row in final.values()} == {0}
    assert abs(sum(row.realized for row in final.values()) - units("8")) <= units("0.0001")
    # Fees are those of the three real orders: 1 + 0.9999 + 1.008.
    assert sum(row.fees for row in final.values()) == units("3.0079")
    assert session.statuses("liquidation") == []
    # And it may go round again.
    session.step(2, *BOOKS, triangle(id="again"))
    session.step(3, *BOOKS)
    assert len([fill for fill in session.fills if fill.purpose == "leg"]) == 6


def test_what_is_left_when_a_leg_fails_is_liquidated():
    session = Session(ARBITRAGEUR)
    session.step(0, *BOOKS, triangle())
    gone = book(ETHBTC, "0.0499x9", "0.0501x9")  # dearer than the limit of 0.05
    session.step(1, BOOKS[0], BOOKS[1], gone)
    assert [row.reason for row in session.orders if row.status == "canceled"] == ["no level within its limit"]
    assert session.statuses("liquidation") == ["placed", "placed"]
    session.step(2, BOOKS[0], BOOKS[1], gone)
    # BTC: bought at 50,000, sold at 49,990: -0.2. ETH: sold at 2,520, bought at 2,521: -0.4.
    final = {row.instrument: (row.quantity, row.realized) for row in session.positions}
    assert final == {BTC.key: (0, -units("0.2")), ETH.key: (0, -units("0.4"))}
    assert session.statuses("settlement") == []


def test_what_all_legs_have_in_common_is_settled_and_the_rest_liquidated():
    session = Session(ARBITRAGEUR)
    session.step(0, *BOOKS, triangle())
    session.step(1, BOOKS[0], BOOKS[1], book(ETHBTC, "0.0499x9", "0.05x0.1"))  # a quarter of the 0.4
    exits = {fill.instrument: fill.quantity for fill in session.fills if fill.purpose == "settlement"}
    assert exits == {BTC.key: units("0.005"), ETHBTC.key: units("0.1"), ETH.key: units("0.1")}
    rest = {row.instrument: row.quantity for row in session.orders if row.purpose == "liquidation"}
    assert rest == {BTC.key: units("0.015"), ETH.key: units("0.3")}


def test_a_cycle_waits_for_a_leg_whose_book_pauses_until_it_expires():
    session = Session(ARBITRAGEUR)
    session.step(0, *BOOKS, triangle())
    session.step(1, *BOOKS[:2])
    assert session.statuses("liquidation") == session.statuses("settlement") == []
    session.step(60, *BOOKS[:2])  # the leg expires; without its book nothing has a value yet
    assert "expired" in session.statuses("leg")
    assert session.statuses("liquidation") == []
    session.step(61, *BOOKS)
    assert session.statuses("liquidation") == ["placed", "placed"]


def test_a_cycle_through_a_currency_without_a_value_is_liquidated():
    bnb = [Instrument(f"BNB{q}", "BINANCE", f"BNB/{q}", tick_size=1_000, lot_size=10_000) for q in ("ETH", "BTC")]
    session = Session(ARBITRAGEUR, (BTC, ETH, ETHBTC, *bnb))
    # BTC -> ETH -> BNB -> BTC: nothing converts BNB into FDUSD.
    legs = [
        {"instrument": ETHBTC.key, "side": "buy", "quantity": "0.4", "limit_price": "0.05"},
        {"instrument": "BNBETH.BINANCE", "side": "buy", "quantity": "2", "limit_price": "0.2"},
        {"instrument": "BNBBTC.BINANCE", "side": "sell", "quantity": "2", "limit_price": "0.01"},
    ]
    books = (*BOOKS, book(bnb[0], "0.19x9", "0.2x9"), book(bnb[1], "0.01x9", "0.011x9"))
    session.step(0, *books, signal(None, "buy", strategy=TRIANGLE, legs=json.dumps(legs)))
    session.step(1, *books)
    session.step(2, *books)
    assert session.statuses("leg") == ["placed"] * 3 + ["filled"] * 3
    assert session.statuses("liquidation") == ["placed"] * 3 + ["filled"] * 3
    assert session.statuses("settlement") == []


def test_legs_are_cut_to_the_limits_together():
    session = Session(replace(ARBITRAGEUR, largest_position=SCALE // 20))
    session.step(0, *BOOKS, triangle())
    # 5 % of 10,000 = 500; the largest leg is 0.4 x 2,520 = 1,008: all become 500/1008 of what they were.
    # 0.02 -> 0.00992, 0.4 -> 0.1984126... -> 0.1984
    assert [row.quantity for row in session.orders] == [units("0.00992"), units("0.1984"), units("0.1984")]


def test_two_legs_are_a_spread_and_are_held():
    session = Session(ARBITRAGEUR)
    legs = [
        {"instrument": BTC.key, "side": "buy", "quantity": "0.02", "limit_price": "50000"},
        {"instrument": ETH.key, "side": "sell", "quantity": "0.4", "limit_price": "2520"},
    ]
    spread = signal(None, "buy", strategy=TRIANGLE, legs=json.dumps(legs))
    session.step(0, *BOOKS, spread)
    session.step(1, *BOOKS)
    session.step(2, *BOOKS, spread | {"id": "again"})
    assert [row.quantity for row in session.positions] == [units("0.02"), -units("0.4")]
    assert "a position or an order of the strategy is open already" in session.orders[-1].reason
    assert session.statuses("leg")[-2:] == ["rejected", "rejected"]


@pytest.mark.parametrize(
    ("legs", "reason"),
    [
        ("nonsense", "legs cannot be read: JSONDecodeError"),
        (
            '[{"instrument": "DOGEFDUSD.BINANCE", "side": "buy", "quantity": "0.00000001", "limit_price": "1"}]',
            "DOGEFDUSD.BINANCE: the instrument is not in the group",
        ),
        (
            '[{"instrument": "BTCFDUSD.BINANCE", "side": "sell", "quantity": "0.00001000", "limit_price": "1"}]',
            "short selling is off",
        ),
        (
            '[{"instrument": "BTCFDUSD.BINANCE", "side": "buy", "quantity": "0.00000001", "limit_price": "1"}]',
            "the limits leave less than a lot",
        ),
    ],
)
def test_legs_that_cannot_be_placed_are_rejected_with_the_reason(legs, reason):
    session = Session(replace(ARBITRAGEUR, allow_short=False))
    session.step(0, *BOOKS, signal(None, "buy", strategy=TRIANGLE, legs=legs))
    (row,) = session.orders
    assert row.status == "rejected"
    assert row.reason.startswith(reason)


def test_a_killed_strategy_s_legs_are_withdrawn_and_what_was_filled_is_liquidated():
    session = Session(ARBITRAGEUR)
    session.step(0, *BOOKS, triangle())
    session.step(1, BOOKS[0])
    session.change(kill_switch=True)
    session.step(2, *BOOKS)  # the other two legs would fill here
    assert [fill.instrument for fill in session.fills] == [BTC.key]
    session.step(3, *BOOKS)
    # Bought at 50,000, sold at 49,990: 0.02 x -10
    assert session.positions[-1][3:6] == (0, 0, -units("0.2"))
    assert not session.machine.state()["orders"]
    assert not session.machine.state()["leg_sets"]


def test_what_a_kill_has_liquidated_is_not_settled_as_well():
    session = Session(ARBITRAGEUR)
    session.step(0, *BOOKS, triangle())
    session.step(1, *BOOKS[:2])
    half = book(ETHBTC, "0.0499x9", "0.05x0.2")
    session.step(2, half)  # all legs are done, but two books are missing
    session.change(kill_switch=True)
    session.step(3, half)
    assert session.statuses("liquidation") == ["placed"] * 3
    session.step(4, *BOOKS)
    assert session.statuses("settlement") == []
    final = {row.instrument: row.quantity for row in session.positions}
    assert final == {BTC.key: 0, ETHBTC.key: 0, ETH.key: 0}


# Configuration that changes


def test_a_position_of_an_instrument_that_is_not_configured_any_more_stands_still():
    session = Session()
    long_ten(session, stop_loss="98")
    session.instruments = (ETH,)
    session.change()
    session.step(2, book(ETH, "99x9", "100x9"), signal(ETH, "buy", quantity="1", id="eth"))
    session.step(3, book(ETH, "99x9", "100x9"))
    assert session.positions[-1][:2] == (RIDER, ETH.key)
