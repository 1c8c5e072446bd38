import json

import pytest

from signal_assets.signals.sanity import SanityError, sound_proposal
from tests.signals.material import (
    BTC,
    BY_KEY,
    ETH,
    ETHBTC,
    NAN,
    arbitrage_record,
    money,
    proposal_record,
    sell_record,
    sound,
)


def legs(**changes):
    return json.dumps([{"instrument": BTC.key, "side": "buy", "quantity": "1.0", "limit_price": "100.00"} | changes])


def test_a_sound_buy_and_a_sound_sell():
    # Buy at 100, stop 98, target 103: 3 / 2. Sell: stop 102, target 97: the same.
    for record, direction in ((proposal_record(), 1), (sell_record(), -1)):
        proposal = sound(record)
        assert proposal.direction == direction
        assert proposal.reward_to_risk == 1.5
        assert proposal.profit_percent is None
        assert proposal.involved == (BTC.key,)
        assert proposal.follows_trend


def test_a_sound_arbitrage_needs_neither_stop_nor_target():
    proposal = sound(arbitrage_record(0.001))
    assert proposal.profit_percent == pytest.approx(0.1)
    assert proposal.reward_to_risk is None
    assert proposal.direction == 0
    assert proposal.involved == (BTC.key, ETHBTC.key, ETH.key)
    assert not proposal.follows_trend


def test_legs_of_no_arbitrage_need_neither_as_well():
    proposal = sound(proposal_record(legs=legs(), action="hold", stop_loss=None, take_profit=None))
    assert (proposal.direction, proposal.reward_to_risk, proposal.profit_percent) == (0, None, None)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (proposal_record(stop_loss=money(101)), "stop 101 of a buy at 100"),
        (proposal_record(stop_loss=money(100)), "stop 100 of a buy at 100"),  # no risk is no positive risk
        (proposal_record(take_profit=money(99)), "target 99 of a buy at 100"),
        (proposal_record(take_profit=money(100)), "target 100 of a buy at 100"),
        (sell_record(stop_loss=money(99)), "stop 99 of a sell at 100"),
        (sell_record(take_profit=money(101)), "target 101 of a sell at 100"),
        (proposal_record(stop_loss=None), "a single order needs a stop and a target"),
        (proposal_record(take_profit=None), "a single order needs a stop and a target"),
        (proposal_record(entry_price=money(100.005)), r"entry_price 100.005 is off the tick 0.01"),
        (proposal_record(stop_loss=money(98.001)), r"stop_loss 98.001 is off the tick 0.01"),
        (proposal_record(take_profit=money(103.0001)), r"take_profit 103.0001 is off the tick 0.01"),
        (proposal_record(entry_price=0), "entry_price 0 is not positive"),
        (proposal_record(stop_loss=-money(1)), "stop_loss -1 is not positive"),
        (proposal_record(quantity=1_001), r"quantity 0.00001001 is off the lot 0.00001"),
        (proposal_record(quantity=-1_000), r"quantity -0.00001 is negative"),
        (proposal_record(action="hold"), "action hold without legs"),
        (proposal_record(raw_confidence=1.01), "raw confidence 1.01"),
        (proposal_record(raw_confidence=NAN), "raw confidence nan"),
        (proposal_record(instrument="DOGE.BINANCE"), "unknown instrument DOGE.BINANCE"),
        (proposal_record(legs="[{]"), "legs is no JSON list"),
        (proposal_record(legs="{}"), "legs is no JSON list"),
        (proposal_record(legs="[1]"), "leg 1 is no mapping"),
        (proposal_record(legs=legs(instrument="DOGE.BINANCE")), "unknown instrument DOGE.BINANCE"),
        (proposal_record(legs=legs(instrument=None)), "unknown instrument None"),
        (proposal_record(legs=legs(side="hold")), "side hold of the leg BTCFDUSD.BINANCE"),
        (proposal_record(legs=legs(quantity="0.000000001")), "more than 8 decimals"),
        (proposal_record(legs=legs(quantity="0.00000001")), "quantity of the leg BTCFDUSD.BINANCE .* off the lot"),
        (proposal_record(legs=legs(quantity=None)), "not a decimal text"),
        (proposal_record(legs=legs(limit_price="100.001")), "limit price of the leg BTCFDUSD.BINANCE .* off the tick"),
        (arbitrage_record(metadata="{}"), "profit_fraction"),
        (arbitrage_record(metadata="nothing"), "metadata is no JSON object"),
        (arbitrage_record(metadata='{"profit_fraction": true}'), "profit_fraction"),
        (arbitrage_record(metadata='{"profit_fraction": NaN}'), "profit_fraction"),
    ],
)
def test_what_is_not_sound_says_why(record, reason):
    with pytest.raises(SanityError, match=reason):
        sound_proposal(record, BY_KEY)
