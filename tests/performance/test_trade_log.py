from collections import defaultdict

from hypothesis import given

from signal_assets.content_id import content_id
from signal_assets.execution.tables import FILLS
from signal_assets.machine import record_class
from signal_assets.performance.tables import TRADE_LOG
from signal_assets.performance.trade_log import TradeLogMachine
from tests.performance.account_events import BTC, ETH, MIDNIGHT, fill, histories, light

Trade = record_class(TRADE_LOG)


def trades_of(*fills):
    """Rows of one step per fill, in the order given."""
    machine = TradeLogMachine()
    rows = []
    for one in fills:
        rows.extend(machine.step(one.time, {FILLS.name: [one]}).get(TRADE_LOG.name, []))
    return [Trade(*row) for row in rows], machine


def test_a_round_trip():
    # Bought 2 for 200 with a fee of 3, sold for 260 with a fee of 4: 60 before, 53 after fees.
    bought = fill(MIDNIGHT + 1, "buy", 2, 200, 3, order="in", signal="why")
    sold = fill(MIDNIGHT + 9, "sell", 2, 260, 4, order="out", number=5, signal="other", purpose="target")
    trades, machine = trades_of(bought, sold)
    assert trades == [
        Trade(
            id=content_id("in", 0, "out", 5),
            strategy="momentum_rider",
            instrument=BTC,
            signal_id="why",
            side="long",
            quantity=2,
            opened=MIDNIGHT + 1,
            closed=MIDNIGHT + 9,
            entry_price=bought.price,
            exit_price=sold.price,
            gross=60,
            fees=7,
            net=53,
            closed_by="target",
        )
    ]
    assert machine.open_lots() == {}


def test_a_short_trade_earns_when_the_price_falls():
    trades, _ = trades_of(fill(1, "sell", 2, 260, order="in"), fill(2, "buy", 2, 200, order="out", purpose="exit"))
    assert [(trade.side, trade.gross) for trade in trades] == [("short", 60)]


def test_the_oldest_lot_is_closed_first():
    # Lots of 1 at 100 and 1 at 200; 1 is sold for 150: the first one, +50, not the second, -50.
    trades, machine = trades_of(
        fill(1, "buy", 1, 100, order="a"), fill(2, "buy", 1, 200, order="b"), fill(3, "sell", 1, 150, order="c")
    )
    assert [(trade.opened, trade.gross) for trade in trades] == [(1, 50)]
    assert [lot.order_id for lot in machine.open_lots()["momentum_rider", BTC]] == ["b"]


def test_one_fill_closes_several_lots_and_a_part_of_another():
    # Lots 1 @ 100 (fee 1), 2 @ 220 (fee 5); 2 are sold for 301 with a fee of 3. First the whole first lot against half
    # of the sale: 301 · 1 // 2 = 150, fee 3 · 1 // 2 = 1. Then half of the second lot, 220 · 1 // 2 = 110 and
    # 5 · 1 // 2 = 2, against the rest of the sale: 151, fee 2. 110 and a fee of 3 stay open.
    trades, machine = trades_of(
        fill(1, "buy", 1, 100, 1, order="a"),
        fill(2, "buy", 2, 220, 5, order="b"),
        fill(3, "sell", 2, 301, 3, order="c"),
    )
    assert [(trade.quantity, trade.gross, trade.fees, trade.net) for trade in trades] == [
        (1, 150 - 100, 1 + 1, 48),
        (1, 151 - 110, 2 + 2, 37),
    ]
    (left,) = machine.open_lots()["momentum_rider", BTC]
    assert (left.quantity, left.notional, left.fee) == (1, 110, 3)


def test_the_last_part_takes_the_remainder():
    # A lot of 3 for 100 with a fee of 2, closed one by one: 100 // 3 = 33, 67 // 2 = 33, 34; fees 0, 1, 1.
    fills = [fill(n, "sell", 1, 50, order=f"out {n}") for n in (2, 3, 4)]
    trades, _ = trades_of(fill(1, "buy", 3, 100, 2, order="in"), *fills)
    assert [(50 - trade.gross, trade.fees) for trade in trades] == [(33, 0), (33, 1), (34, 1)]


def test_a_fill_that_turns_the_position_opens_the_other_side():
    # Long 1 @ 100; 3 are sold for 330 with a fee of 10: 1 of them closes (110, fee 3), 2 are short at 220 (fee 7).
    turning = fill(2, "sell", 3, 330, 10, order="turn", signal="turned")
    trades, machine = trades_of(fill(1, "buy", 1, 100, order="in"), turning)
    assert [(trade.side, trade.gross, trade.fees) for trade in trades] == [("long", 10, 3)]
    (short,) = machine.open_lots()["momentum_rider", BTC]
    assert short[2:4] == ("turned", "sell")
    assert short[6:] == (2, 220, 7)


def test_strategies_and_instruments_do_not_meet():
    trades, machine = trades_of(
        fill(1, "buy", 1, 100),
        fill(2, "sell", 1, 100, strategy="triangular_arbitrage"),
        fill(3, "sell", 1, 100, instrument=ETH),
    )
    assert trades == []
    assert len(machine.open_lots()) == 3


def test_what_closes_comes_before_what_opens_at_one_time():
    # Short 1; at one time an exit buys 1 for 90 and an entry buys 1 for 95, whose ids sort the other way round.
    machine = TradeLogMachine()
    machine.step(1, {FILLS.name: [fill(1, "sell", 1, 100, order="in")]})
    both = [fill(2, "buy", 1, 95, order="a"), fill(2, "buy", 1, 90, order="z", purpose="exit")]
    (row,) = machine.step(2, {FILLS.name: both})[TRADE_LOG.name]
    assert (Trade(*row).gross, Trade(*row).closed_by) == (10, "exit")


@light
@given(histories())
def test_every_unit_of_every_fill_is_accounted_for_once(history):
    # Closed and open together are the fills: quantities, notionals (as signed cash) and fees, per strategy and market.
    machine = TradeLogMachine()
    sums = defaultdict(lambda: [0, 0, 0])
    found = defaultdict(lambda: [0, 0, 0])
    for time, events in history:
        for one in events.get(FILLS.name, ()):
            sign = 1 if one.side == "buy" else -1
            for place, amount in enumerate((sign * one.quantity, -sign * one.notional, one.fee)):
                sums[one.strategy, one.instrument][place] += amount
        for row in machine.step(time, events).get(TRADE_LOG.name, []):
            trade = Trade(*row)
            assert trade.closed == time >= trade.opened
            assert trade.quantity > 0
            assert trade.net == trade.gross - trade.fees
            found[trade.strategy, trade.instrument][1] += trade.gross
            found[trade.strategy, trade.instrument][2] += trade.fees
    for key, lots in machine.open_lots().items():
        assert len({lot.side for lot in lots}) == 1  # never long and short at once
        for lot in lots:
            sign = 1 if lot.side == "buy" else -1
            for place, amount in enumerate((sign * lot.quantity, -sign * lot.notional, lot.fee)):
                found[key][place] += amount
    assert {key: sums[key] for key in sums} == {key: found[key] for key in sums}
