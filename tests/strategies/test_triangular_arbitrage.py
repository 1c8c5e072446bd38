import json
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.event_time import DAY, SECOND
from signal_assets.fixed_point import SCALE, format_fixed
from signal_assets.instrument import Instrument
from signal_assets.strategies.arbitrage.triangular_arbitrage import (
    TriangularArbitrage,
    TriangularArbitrageParameters,
    cycles,
)
from signal_assets.strategies.book_walk import buy_for, sell
from signal_assets.strategies.strategy_machine import StrategyMachine
from tests.strategies.market import features_row

MIDNIGHT = 20_000 * DAY
BTC = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", tick_size=1_000_000, lot_size=1_000_000)
ETH = Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", tick_size=1_000_000, lot_size=10_000_000)
ETHBTC = Instrument("ETHBTC", "BINANCE", "ETH/BTC", tick_size=1_000_000, lot_size=10_000_000)
TRIANGLE = (BTC, ETH, ETHBTC)


def book(instrument, time, bids, asks):
    """A features row of these levels, (price, quantity) in whole units."""
    scaled = [[(round(price * SCALE), round(there * SCALE)) for price, there in side] for side in (bids, asks)]
    return raw_book(instrument, time, *scaled)


def raw_book(instrument, time, bids, asks):
    prices = {f"{side}_price_20": [price for price, _ in levels] for side, levels in (("bid", bids), ("ask", asks))}
    there = {f"{side}_quantity_20": [size for _, size in levels] for side, levels in (("bid", bids), ("ask", asks))}
    return features_row(instrument, time, best_bid=bids[0][0], best_ask=asks[0][0], **prices, **there)


def profitable(time, btc_depth=10):
    """FDUSD → BTC → ETH → FDUSD leaves about 1.5 %."""
    return {
        BTC.key: book(BTC, time, [(99, 50)], [(100, 4), (101, 3), (102, btc_depth)]),
        ETHBTC.key: book(ETHBTC, time, [(0.49, 50)], [(0.5, 8), (0.51, 6), (0.52, 50)]),
        ETH.key: book(ETH, time, [(53, 10), (52.5, 5), (52, 100)], [(54, 50)]),
    }


def parity(time):
    return {
        BTC.key: book(BTC, time, [(99, 50)], [(100, 50)]),
        ETHBTC.key: book(ETHBTC, time, [(0.49, 50)], [(0.5, 50)]),
        ETH.key: book(ETH, time, [(49, 50)], [(50, 50)]),
    }


def test_a_triangle_by_hand():
    """Three levels, lots of 0.01 and 0.1, 0.1 % per leg, 1,000 FDUSD.

    Buy BTC: 4 x 100 + 3 x 101 = 703, the other 297 buy 2.9117… at 102: 9.9117…, lots make it 9.91.
        Paid 703 + 2.91 x 102 = 999.82. Fee 0.1 % of 9.91: received 9.90009 BTC.
    Buy ETH: 8 x 0.50 + 6 x 0.51 = 7.06, the other 2.84009 buy 5.4617… at 0.52: 19.4617…, lots make it 19.4.
        Paid 7.06 + 5.4 x 0.52 = 9.868 (0.03209 BTC stay behind). Fee 0.0194: received 19.3806 ETH.
    Sell ETH: 19.3806 in lots is 19.3: 10 x 53 + 5 x 52.5 + 4.3 x 52 = 530 + 262.5 + 223.6 = 1,016.1.
        Fee 1.0161: received 1,015.0839 FDUSD.
    Profit 15.2639 of 999.82 = 1.52666 %, more than 1.8 thresholds: confidence 0.9.
    """
    strategy = TriangularArbitrage(TRIANGLE, TriangularArbitrageParameters())
    (candidate,) = strategy.step(MIDNIGHT, profitable(MIDNIGHT))
    assert candidate.metadata == {
        "profit_fraction": float(Fraction(152639, 9998200)),
        "direction": "FDUSD>BTC>ETH>FDUSD",
        "start_currency": "FDUSD",
        "amounts": ["999.82000000", "9.90009000", "19.38060000", "1015.08390000"],
    }
    assert [(leg.instrument, leg.side, leg.quantity, leg.limit_price) for leg in candidate.legs] == [
        (BTC.key, "buy", 9_91000000, 102_00000000),
        (ETHBTC.key, "buy", 19_40000000, 52000000),
        (ETH.key, "sell", 19_30000000, 52_00000000),
    ]
    assert (candidate.instrument, candidate.action, candidate.quantity) == (BTC.key, "buy", 9_91000000)
    assert (candidate.entry_price, candidate.stop_loss, candidate.take_profit) == (102_00000000, None, None)
    assert (candidate.timeframe, candidate.order_type, candidate.raw_confidence) == ("grid", "limit", 0.9)


def test_the_threshold_must_be_exceeded():
    # By hand 152,639 / 9,998,200 = 1.526664…%; in units of 1e-8: 1,526,664.8.
    below, above = (
        TriangularArbitrage(TRIANGLE, TriangularArbitrageParameters(threshold=threshold))
        for threshold in (1_526_664, 1_526_665)
    )
    (candidate,) = below.step(MIDNIGHT, profitable(MIDNIGHT))
    assert candidate.raw_confidence == pytest.approx(0.5, abs=1e-6)
    assert above.step(MIDNIGHT, profitable(MIDNIGHT)) == []


def test_a_profit_at_the_threshold_exactly_does_not_fire():
    # No fees: 1,000 FDUSD buy 10 BTC at 100, those 20 ETH at 0.5, those bring 10 x 50.05 + 10 x 50 = 1,000.5: 0.0005
    # exactly, where the best prices alone (50.05) promise more.
    free = [replace(instrument, taker_fee=0) for instrument in TRIANGLE]
    features = parity(MIDNIGHT) | {ETH.key: book(ETH, MIDNIGHT, [(50.05, 10), (50, 50)], [(51, 50)])}
    exactly = TriangularArbitrage(free, TriangularArbitrageParameters())
    assert exactly.step(MIDNIGHT, features) == []
    a_bit_less = TriangularArbitrage(free, TriangularArbitrageParameters(threshold=49_999))
    assert len(a_bit_less.step(MIDNIGHT, features)) == 1


def test_a_book_too_thin_for_the_size_is_no_opportunity():
    # Down to the third level there are 9.91 BTC to be had for 999.82, a cent's worth less than there is money.
    strategy = TriangularArbitrage(TRIANGLE, TriangularArbitrageParameters())
    assert strategy.step(MIDNIGHT, profitable(MIDNIGHT, btc_depth=2.91)) == []
    assert len(strategy.step(MIDNIGHT + SECOND, profitable(MIDNIGHT + SECOND, btc_depth=2.92))) == 1


def test_it_fires_when_an_opportunity_appears_and_again_only_after_it_has_gone():
    strategy = TriangularArbitrage(TRIANGLE, TriangularArbitrageParameters())
    fired = []
    for second, market in enumerate([parity, profitable, profitable, None, profitable, parity, profitable]):
        features = (market or profitable)(MIDNIGHT + second * SECOND)
        if market is None:
            del features[ETHBTC.key]  # one leg is not seen: neither there nor gone
        fired.append(len(strategy.step(MIDNIGHT + second * SECOND, features)))
    assert fired == [0, 1, 0, 0, 0, 0, 1]


def test_a_book_too_thin_ends_the_opportunity():
    strategy = TriangularArbitrage(TRIANGLE, TriangularArbitrageParameters())
    depths = (10, 2.91, 10)
    steps = [profitable(MIDNIGHT + second * SECOND, depth) for second, depth in enumerate(depths)]
    assert [len(strategy.step(step[BTC.key].time, step)) for step in steps] == [1, 0, 1]


def test_cycles_are_found_by_currency_and_venue():
    def instrument(symbol, pair, venue="BINANCE"):
        return Instrument(symbol, venue, pair, 1, 1)

    group = [
        instrument("BTCFDUSD", "BTC/FDUSD"),
        instrument("ETHFDUSD", "ETH/FDUSD"),
        instrument("ETHBTC", "ETH/BTC"),
        instrument("SOLFDUSD", "SOL/FDUSD"),  # nothing closes its cycle
        instrument("BTCUSDT", "BTC/USDT"),
        instrument("FDUSDUSDT", "FDUSD/USDT"),
        instrument("BNBBTC", "BNB/BTC"),
        instrument("BNBETH", "BNB/ETH"),  # with ETHBTC a cycle without any account currency
        instrument("ETHBTC", "ETH/BTC", "KRAKEN"),  # money does not cross venues in a second
        instrument("ETHFDUSD", "ETH/FDUSD", "KRAKEN"),
        instrument("ETHBTC-PERP", "ETH/BTC"),
    ]
    parameters = TriangularArbitrageParameters(("USDT", "FDUSD"))
    paths = sorted(cycle.path for cycle in cycles(group, parameters))
    assert paths == [
        "FDUSD>BTC>ETH>FDUSD",
        "FDUSD>ETH>BTC>FDUSD",
        "USDT>BTC>FDUSD>USDT",
        "USDT>FDUSD>BTC>USDT",
    ]
    assert all(trade.key.endswith(".BINANCE") for cycle in cycles(group, parameters) for trade in cycle.trades)
    assert not any("PERP" in cycle.key for cycle in cycles(group, parameters))


def test_a_cycle_may_begin_with_a_sale_and_go_round_in_bases():
    # FDUSD is the base of one pair and the quote of the other: sell FDUSD for USDT, buy BTC, sell BTC for FDUSD.
    stable = Instrument("FDUSDUSDT", "BINANCE", "FDUSD/USDT", 10_000, 100_000_000, taker_fee=0)
    usdt = Instrument("BTCUSDT", "BINANCE", "BTC/USDT", 1_000_000, 1_000_000, taker_fee=0)
    fdusd = replace(BTC, taker_fee=0)
    features = {
        stable.key: book(stable, MIDNIGHT, [(1.01, 5_000)], [(1.02, 5_000)]),
        usdt.key: book(usdt, MIDNIGHT, [(99, 50)], [(100, 50)]),
        fdusd.key: book(fdusd, MIDNIGHT, [(100, 50)], [(101, 50)]),
    }
    parameters = TriangularArbitrageParameters(("FDUSD",), start_amount=1_000_50000000)
    (candidate,) = TriangularArbitrage([stable, usdt, fdusd], parameters).step(MIDNIGHT, features)
    # 1,000.5 in lots of 1 is 1,000 sold for 1,010 USDT: 10.1 BTC, sold for 1,010 FDUSD. The half never went in.
    assert candidate.metadata["amounts"] == ["1000.00000000", "1010.00000000", "10.10000000", "1010.00000000"]
    assert candidate.metadata["profit_fraction"] == 0.01
    assert (candidate.instrument, candidate.action) == (stable.key, "sell")


def random_features(seed):
    """Three books around parity, with their instruments: lots, fees, depths and distances of all sizes."""
    random = np.random.default_rng(seed)
    stray = float(random.normal(0, 0.01))
    fee = int(random.choice([0, 7_500, 100_000]))
    made = []
    for symbol, pair, price in (
        ("BTCFDUSD", "BTC/FDUSD", 61_234.56),
        ("ETHFDUSD", "ETH/FDUSD", 2_612.34),
        ("ETHBTC", "ETH/BTC", 2_612.34 / 61_234.56 * (1 + stray)),
    ):
        tick = 1_000_000 if "FDUSD" in symbol else 1_000
        lot = int(random.choice([1, 1_000, 10_000, 123_456]))
        instrument = Instrument(symbol, "BINANCE", pair, tick, lot, taker_fee=fee + int(random.integers(0, 10)))
        middle = round(price * SCALE) // tick * tick
        typical = 500 * SCALE / (61_234.56 if symbol.startswith("BTC") else 2_612.34)
        sides = []
        for sign in (-1, 1):
            steps = random.integers(1, max(middle // tick // 2_000, 2), 20) * tick
            sizes = (random.exponential(typical, 20)).astype(np.int64) + 1
            sides.append(list(zip((middle + sign * np.cumsum(steps)).tolist(), sizes.tolist(), strict=True)))
        made.append((instrument, raw_book(instrument, MIDNIGHT, *sides)))
    return made


def exact_leg(amount, levels, buys, lot, fee):
    """What a leg pays and receives, in fractions of whole units; None if it cannot be done. By bisection over lots."""

    def value(quantity):
        total, left = Fraction(0), quantity
        for price, there in levels:
            total += price * min(there, left)
            left -= min(there, left)
        return total + levels[-1][0] * left  # the last level as if it never ended

    unit = Fraction(1, SCALE)
    if buys:
        low, high = 0, floor(amount / levels[0][0] / unit) + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if value(middle * unit) <= amount else (low, middle)
        wanted = low * unit
    else:
        wanted = amount
    quantity = floor(wanted / lot) * lot
    if quantity == 0 or (wanted if buys else quantity) > sum(there for _, there in levels):
        return None
    paid = Fraction(ceil(value(quantity) / unit)) * unit if buys else quantity
    gross = quantity if buys else Fraction(floor(value(quantity) / unit)) * unit
    received = gross - Fraction(ceil(gross * fee / unit)) * unit
    needed = next(price for i, (price, _) in enumerate(levels) if sum(t for _, t in levels[: i + 1]) >= quantity)
    return quantity, needed, paid, received


def exact_candidates(made, parameters):
    """Direction → (profit, legs, amounts) by fractions, without any bound."""
    by_pair = {instrument.pair: (instrument, row) for instrument, row in made}
    ways = {
        "FDUSD>BTC>ETH>FDUSD": [("BTC/FDUSD", True), ("ETH/BTC", True), ("ETH/FDUSD", False)],
        "FDUSD>ETH>BTC>FDUSD": [("ETH/FDUSD", True), ("ETH/BTC", False), ("BTC/FDUSD", False)],
    }
    found = {}
    for name, way in ways.items():
        amount = Fraction(parameters.start_amount, SCALE)
        legs, amounts = [], []
        for pair, buys in way:
            instrument, row = by_pair[pair]
            side = "ask" if buys else "bid"
            levels = [
                (Fraction(price, SCALE), Fraction(there, SCALE))
                for price, there in zip(
                    getattr(row, f"{side}_price_20"), getattr(row, f"{side}_quantity_20"), strict=True
                )
            ]
            lot, fee = Fraction(instrument.lot_size, SCALE), Fraction(instrument.taker_fee, SCALE)
            leg = exact_leg(amount, levels, buys, lot, fee)
            if leg is None:
                break
            quantity, needed, paid, amount = leg
            amounts = amounts or [paid]
            amounts.append(amount)
            legs.append((instrument.key, "buy" if buys else "sell", quantity * SCALE, needed * SCALE))
        else:
            profit = (amount - amounts[0]) / amounts[0]
            if profit > Fraction(parameters.threshold, SCALE):
                found[name] = profit, legs, [format_fixed(int(amount * SCALE)) for amount in amounts]
    return found


def check_against_fractions(seed, parameters):
    made = random_features(seed)
    strategy = TriangularArbitrage([instrument for instrument, _ in made], parameters)
    candidates = strategy.step(MIDNIGHT, {instrument.key: row for instrument, row in made})
    expected = exact_candidates(made, parameters)
    assert {candidate.metadata["direction"] for candidate in candidates} == set(expected)
    for candidate in candidates:
        profit, legs, amounts = expected[candidate.metadata["direction"]]
        assert [(leg.instrument, leg.side, leg.quantity, leg.limit_price) for leg in candidate.legs] == legs
        assert candidate.metadata["amounts"] == amounts
        assert candidate.metadata["profit_fraction"] == float(profit)
        threshold = Fraction(parameters.threshold, SCALE)
        assert candidate.raw_confidence == pytest.approx(float(min(Fraction(9, 10), profit / threshold / 2)), rel=1e-12)
    return len(candidates)


@given(seed=st.integers(0, 2**32 - 1), amount=st.integers(1, 5_000 * SCALE), threshold=st.sampled_from([1, 50_000]))
@settings(max_examples=40, deadline=None)
def test_random_books_give_what_fractions_say(seed, amount, threshold):
    check_against_fractions(seed, TriangularArbitrageParameters(start_amount=amount, threshold=threshold))


def test_the_random_books_hold_opportunities_and_none():
    parameters = TriangularArbitrageParameters()
    counts = [check_against_fractions(seed, parameters) for seed in range(60)]
    assert 15 <= sum(counts) <= 45


def test_levels_may_be_arrays_whose_products_leave_int64():
    # 60,000 x 50 in units of 1e-16 is 3e22; numpy's integers would wrap around without a word.
    prices, sizes = np.array([60_000 * SCALE]), np.array([50 * SCALE])
    assert buy_for(1_200_000 * SCALE, prices, sizes, 1, 0) == (
        20 * SCALE,
        60_000 * SCALE,
        1_200_000 * SCALE,
        20 * SCALE,
    )
    assert sell(20 * SCALE, prices, sizes, 1, 0) == (20 * SCALE, 60_000 * SCALE, 20 * SCALE, 1_200_000 * SCALE)


def test_an_order_that_takes_all_there_is_by_hand():
    # 2 x 100 + 1 x 110 = 310 pays for all of it; one unit of 1e-8 more at 110 costs 0.0000011.
    prices, sizes = [100 * SCALE, 110 * SCALE], [2 * SCALE, SCALE]
    assert buy_for(310 * SCALE, prices, sizes, SCALE, 0) == (3 * SCALE, 110 * SCALE, 310 * SCALE, 3 * SCALE)
    assert buy_for(310 * SCALE + 109, prices, sizes, SCALE, 0) is not None
    assert buy_for(310 * SCALE + 110, prices, sizes, SCALE, 0) is None
    assert buy_for(99 * SCALE, prices, sizes, SCALE, 0) is None  # not one lot
    bids = [110 * SCALE, 100 * SCALE]
    assert sell(3 * SCALE, bids, [SCALE, 2 * SCALE], SCALE, 0) == (3 * SCALE, 100 * SCALE, 3 * SCALE, 310 * SCALE)
    assert sell(4 * SCALE, bids, [SCALE, 2 * SCALE], SCALE, 0) is None
    assert sell(SCALE - 1, bids, [SCALE, 2 * SCALE], SCALE, 0) is None


def test_rounding_is_against_us():
    # 3 units of 1e-8 at 0.5 cost 1.5 units: 2 are paid, 1 is received; a fee of 0.1 % of 3 units is a whole one.
    prices, sizes = [SCALE // 2], [10]
    assert buy_for(2, prices, sizes, 3, 100_000) == (3, SCALE // 2, 2, 2)
    assert sell(3, prices, sizes, 3, 0) == (3, SCALE // 2, 3, 1)
    assert sell(3, prices, sizes, 3, 1) == (3, SCALE // 2, 3, 0)


def test_the_row_carries_the_legs_as_text_and_is_known_by_them():
    machine = StrategyMachine(TriangularArbitrage(TRIANGLE, TriangularArbitrageParameters()))
    ((row,),) = machine.step(MIDNIGHT, {"market.features": list(profitable(MIDNIGHT).values())}).values()
    assert json.loads(row.legs)[0] == {
        "instrument": BTC.key,
        "side": "buy",
        "quantity": "9.91000000",
        "limit_price": "102.00000000",
    }


@pytest.mark.parametrize(
    "wrong", [{"start_currencies": ()}, {"start_currencies": ("USD", "USD")}, {"start_amount": 0}, {"threshold": 0}]
)
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TriangularArbitrageParameters(**wrong)
