"""Whole stories, calculated by hand; prices are small and fees 0.1 %, so that every figure can be checked by eye.

Signals of several legs.
"""

import json
from dataclasses import replace

import pytest

from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from tests.execution.paper_session import ALONE, BTC, ETH, ETHBTC, TRIANGLE, Session, book, signal, units

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
