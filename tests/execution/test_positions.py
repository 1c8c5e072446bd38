from hypothesis import given
from hypothesis import strategies as st

from signal_assets.execution.paper_broker_machine import Quote
from signal_assets.execution.positions import Position
from signal_assets.fixed_point import SCALE


def held(*fills: tuple[int, int, int]) -> Position:
    position = Position("momentum_rider", "BTCFDUSD.BINANCE")
    for side, quantity, amount in fills:
        position.book(side, quantity, amount, 1)
    return position


def figures(position: Position) -> tuple[int, int, int, int]:
    return position.quantity, position.cost, position.realized, position.fees


def test_a_long_is_reduced_at_average_cost():
    # Bought 3 for 300 and 1 for 140: 4 cost 440, one 110. Sold 1 for 150: 150 - 110 = 40 earned, 330 left for 3.
    assert figures(held((1, 3, 300), (1, 1, 140), (-1, 1, 150))) == (3, 330, 40, 3)


def test_a_short_has_negative_cost_and_earns_when_bought_back_cheaper():
    # Sold 2 for 200; bought 1 for 80: 100 - 80 = 20 earned, 100 of the proceeds still stand against 1.
    assert figures(held((-1, 2, 200), (1, 1, 80))) == (-1, -100, 20, 2)


def test_a_fill_that_turns_the_position_is_cut_in_two():
    # Long 1 for 100; sold 3 for 360: one third (120) closes with 20 earned, 240 stand against 2 sold short.
    assert figures(held((1, 1, 100), (-1, 3, 360))) == (-2, -240, 20, 2)


def test_shares_of_the_cost_are_rounded_half_to_even_and_nothing_is_lost():
    # 2 cost 5. Half of 5 is 2.5: to 2. Sold for 3: 1 earned; the other then leaves with all that is left, 3.
    assert figures(held((1, 2, 5), (-1, 1, 3))) == (1, 3, 1, 2)
    assert figures(held((1, 2, 5), (-1, 1, 3), (-1, 1, 3))) == (0, 0, 1, 3)


@given(st.lists(st.tuples(st.sampled_from((1, -1)), st.integers(1, 50), st.integers(0, 10**6)), max_size=40))
def test_cash_is_realized_less_cost_and_quantities_add_up(fills):
    position = held(*fills)
    assert position.quantity == sum(side * quantity for side, quantity, _ in fills)
    assert sum(-side * amount for side, _, amount in fills) == position.realized - position.cost
    assert position.fees == len(fills)
    if not position.quantity:
        assert position.cost == 0


def test_stops_look_at_the_price_the_position_could_be_closed_at():
    long, short = held((1, 1, 100)), held((-1, 1, 100))
    long.stop_loss, short.stop_loss = 98, 102
    assert [long.is_stopped(Quote(bid, 200)) for bid in (99, 98, 90)] == [False, True, True]
    assert [short.is_stopped(Quote(1, ask)) for ask in (101, 102, 110)] == [False, True, True]
    assert not held((1, 1, 100)).is_stopped(Quote(1, 2))


def test_unrealized_is_value_at_the_middle_less_cost():
    # 2 at (109 + 111) / 2 = 110 are worth 220, bought for 200; sold short they owe 220 against 200 received.
    quote = Quote(109 * SCALE, 111 * SCALE)
    assert held((1, 2 * SCALE, 200 * SCALE)).unrealized(quote, SCALE) == 20 * SCALE
    assert held((-1, 2 * SCALE, 200 * SCALE)).unrealized(quote, SCALE) == -20 * SCALE
