"""Whole stories, calculated by hand; prices are small and fees 0.1 %, so that every figure can be checked by eye.

Entries, limits and a configuration that changes.
"""

from dataclasses import replace

from signal_assets.execution.parameters import ExecutionParameters
from signal_assets.fixed_point import SCALE
from tests.execution.paper_session import (
    ALONE,
    BTC,
    CROSSOVER,
    ETH,
    ETHBTC,
    RIDER,
    Session,
    at,
    book,
    long_ten,
    signal,
    units,
)

HOURS_TO_MIDNIGHT = 12


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


# Configuration that changes


def test_a_position_of_an_instrument_that_is_not_configured_any_more_stands_still():
    session = Session()
    long_ten(session, stop_loss="98")
    session.instruments = (ETH,)
    session.change()
    session.step(2, book(ETH, "99x9", "100x9"), signal(ETH, "buy", quantity="1", id="eth"))
    session.step(3, book(ETH, "99x9", "100x9"))
    assert session.positions[-1][:2] == (RIDER, ETH.key)
