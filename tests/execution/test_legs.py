import json
from dataclasses import replace
from fractions import Fraction

import pytest

from signal_assets.execution.legs import Leg, LegSet, is_cycle, read_legs, scaled
from signal_assets.execution.parameters import ExecutionParameters
from signal_assets.execution.sizing import entry_quantity, legs_share
from signal_assets.fixed_point import SCALE
from tests.execution.paper_session import BTC, ETH, ETHBTC, GROUP

INSTRUMENTS = {instrument.key: instrument for instrument in GROUP}
FORTH = [Leg(BTC.key, 1, 5, 7), Leg(ETHBTC.key, 1, 5, 7), Leg(ETH.key, -1, 5, 7)]


def leg(**other):
    return {"instrument": "A.X", "side": "buy", "quantity": "0.5", "limit_price": "61737.63"} | other


def test_legs_are_read_as_a_strategy_writes_them():
    # strategies/strategy_machine writes money as decimal text.
    assert read_legs(json.dumps([leg()])) == [Leg("A.X", 1, 50_000_000, 6_173_763_000_000)]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "7",
        "[7]",
        '[{"instrument": "A.X"}]',
        *(
            json.dumps([leg(**wrong)])
            for wrong in (
                {"side": "hold"},
                {"quantity": "0"},
                {"quantity": 5.0},
                {"quantity": "0.000000001"},
                {"limit_price": "-7"},
                {"limit_price": None},
            )
        ),
        json.dumps([leg(side=side) for side in ("buy", "sell")]),
    ],
)
def test_anything_else_is_refused_with_one_kind_of_error(text):
    with pytest.raises(ValueError, match="legs cannot be read"):
        read_legs(text)


def test_a_cycle_receives_every_currency_it_pays_with():
    # FDUSD -> BTC -> ETH -> FDUSD, and the other way round.
    assert is_cycle(FORTH, INSTRUMENTS)
    assert is_cycle([leg._replace(side=-leg.side) for leg in FORTH], INSTRUMENTS)
    # FDUSD -> BTC, BTC -> ETH, FDUSD -> ETH comes back to nothing.
    assert not is_cycle([*FORTH[:2], FORTH[2]._replace(side=1)], INSTRUMENTS)
    # A spread of two legs is held, and so is a round trip over two venues.
    assert not is_cycle([FORTH[0], FORTH[2]], INSTRUMENTS)
    perpetual = replace(BTC, symbol="BTCFDUSD-PERP")
    hedge = [FORTH[0], Leg(perpetual.key, -1, 5, 7)]
    assert not is_cycle(hedge, INSTRUMENTS | {perpetual.key: perpetual})
    elsewhere = INSTRUMENTS | {BTC.key: replace(BTC, venue="OTHER")}
    assert not is_cycle(FORTH, elsewhere)


def test_scaling_rounds_down_to_lots():
    # 0.00333 BTC in lots of 0.00001 at two thirds: 0.00222; 0.0005 ETH in lots of 0.0001: 0.000333 -> 0.0003.
    legs = [Leg(BTC.key, 1, 333_000, 1), Leg(ETH.key, -1, 50_000, 1)]
    assert [leg.quantity for leg in scaled(legs, Fraction(2, 3), INSTRUMENTS)] == [222_000, 30_000]


def test_a_set_counts_its_own_fills_and_knows_the_least_share():
    leg_set = LegSet("s", "triangular_arbitrage", [Leg("A", 1, 4, 1), Leg("B", 1, 8, 1)], ["a", "b"], [0, 0])
    leg_set.book("a", 4)
    leg_set.book("somebody else's", 8)
    leg_set.book("b", 2)
    assert leg_set.share == Fraction(1, 4)
    assert not leg_set.is_complete
    leg_set.book("b", 6)
    assert leg_set.is_complete
    assert LegSet.restored(json.loads(json.dumps(leg_set.state()))) == leg_set


def test_sizes_by_hand():
    parameters = ExecutionParameters()  # 10 % a signal, 25 % an instrument
    money, price = 10_000 * SCALE, 50 * SCALE

    def size(proposed=0, free=money, rate=SCALE):
        return entry_quantity(parameters, money, free, proposed=proposed, price=price, account_rate=rate)

    assert size() == 20 * SCALE  # 1,000 / 50
    assert size(rate=2 * SCALE) == 10 * SCALE  # at 100 in the account's currency
    assert size(proposed=30 * SCALE) == 30 * SCALE
    assert size(proposed=60 * SCALE) == 50 * SCALE  # 2,500 / 50
    assert size(free=100 * SCALE) == 2 * SCALE
    assert size(free=-SCALE) == 0


def test_legs_are_cut_by_the_largest_of_them_or_by_all_together():
    parameters = ExecutionParameters()
    assert legs_share(parameters, 1_000, 1_000, [250, 250]) == 1
    assert legs_share(parameters, 1_000, 1_000, [100, 500]) == Fraction(1, 2)
    assert legs_share(parameters, 1_000, 100, [200, 200]) == Fraction(1, 4)
    assert legs_share(parameters, 1_000, -5, [200, 200]) == 0
    assert legs_share(parameters, 1_000, 1_000, [0, 0]) == 1
