import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.event_time import MINUTE, SECOND
from signal_assets.signals.minute_closes import MinuteCloses
from signal_assets.signals.other_signals import Agreement, OtherSignals, correlation, returns_of, voices_elsewhere
from signal_assets.signals.parameters import SignalParameters
from tests.signals.material import (
    BTC,
    ETH,
    ETHBTC,
    EUR,
    NAN,
    NIGHT,
    arbitrage_record,
    features,
    proposal_record,
    sell_record,
    sound,
)

WINDOW = 5 * MINUTE


def market(seed=1):
    """An hour in which ETH follows BTC, ETH/BTC mirrors it, and EUR goes its own way."""
    random = np.random.default_rng(seed)
    closes = MinuteCloses((BTC.key, ETH.key, ETHBTC.key, EUR.key), 242)
    path = np.cumsum(random.normal(0, 1e-3, 62))
    own = np.cumsum(random.normal(0, 1e-3, 62))
    for minute in range(62):
        time = NIGHT - (61 - minute) * MINUTE
        prices = {
            "BTCFDUSD": np.exp(path[minute]),
            "ETHFDUSD": np.exp(2 * path[minute]),
            "ETHBTC": np.exp(-path[minute]),
            "EUR_USD": np.exp(own[minute]),
        }
        closes.take(time, features(time, **prices))
    return closes


def heard(*proposals, time=NIGHT, closes=None):
    others = OtherSignals(market() if closes is None else closes, SignalParameters())
    others.take(time, [sound(record) for record in proposals])
    return others


@pytest.mark.parametrize(
    ("agreement", "score"),
    # 0.7 + 0.3 (s - c) / (s + c + 1)
    [((0, 0), 0.7), ((1, 0), 0.85), ((2, 0), 0.9), ((0, 1), 0.55), ((1, 1), 0.7), ((2, 1), 0.775), ((0, 9), 0.43)],
)
def test_agreement_by_hand(agreement, score):
    assert Agreement(*agreement).score().score == pytest.approx(score)


def test_alone_nobody_supports_or_contradicts():
    record = proposal_record()
    assert heard(record).agreement(sound(record)) == (0, 0)


def test_other_strategies_on_the_same_instrument_count_and_its_own_do_not():
    crossover, rider = proposal_record(), proposal_record("momentum_rider")
    others = heard(crossover, rider)
    assert others.agreement(sound(crossover)) == (1, 0)
    # The rider turns round: it contradicts now, and what it said before counts no more.
    against = sell_record(strategy="momentum_rider")
    others.take(NIGHT, [sound(against)])
    assert others.agreement(sound(crossover)) == (0, 1)
    assert others.agreement(sound(against)) == (0, 1)


def test_a_strategy_that_says_both_at_once_contradicts_itself_in_neither():
    # Two timeframes of one strategy in one step: its last word by id is its opinion, and is nobody else's.
    buy, sell = proposal_record(timeframe="1m"), sell_record(timeframe="5m")
    for others in (heard(buy, sell), heard(sell, buy)):
        assert others.agreement(sound(buy)) == others.agreement(sound(sell)) == (0, 0)


def test_instruments_that_move_together_support_and_mirrored_ones_the_other_way_round():
    btc, eth = proposal_record(), proposal_record(instrument=ETH.key)
    mirrored, own_way = proposal_record(instrument=ETHBTC.key), proposal_record(instrument=EUR.key)
    others = heard(btc, eth, mirrored, own_way)
    # ETH buys as well: support; ETH/BTC buys, which falls when BTC rises: contradiction; EUR is not correlated.
    assert others.agreement(sound(btc)) == (1, 1)
    assert others.agreement(sound(mirrored)) == (0, 2)
    assert others.agreement(sound(own_way)) == (0, 0)


def test_the_order_of_a_step_does_not_matter():
    records = [proposal_record(), proposal_record(instrument=ETH.key), sell_record(instrument=ETHBTC.key)]
    answers = [
        [others.agreement(sound(record)) for record in records]
        for others in (heard(*records), heard(*reversed(records)))
    ]
    assert answers[0] == answers[1] == [(2, 0), (2, 0), (2, 0)]


def test_opinions_count_for_less_than_five_minutes():
    old, new = proposal_record("momentum_rider"), proposal_record()
    for after, expected in ((WINDOW - SECOND, (1, 0)), (WINDOW, (0, 0))):
        others = heard(old)
        others.take(NIGHT + after, [sound(new)])
        assert others.agreement(sound(new)) == expected


def test_arbitrages_have_no_opinion_and_ask_for_none():
    others = heard(arbitrage_record(), proposal_record())
    assert others.agreement(sound(arbitrage_record())) == (0, 0)
    assert others.agreement(sound(proposal_record())) == (0, 0)


def test_without_history_only_the_same_instrument_counts():
    cold = MinuteCloses((BTC.key, ETH.key, ETHBTC.key, EUR.key), 242)
    others = heard(proposal_record(), proposal_record(instrument=ETH.key), closes=cold)
    assert others.agreement(sound(proposal_record())) == (0, 0)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 15))
def test_correlation_agrees_with_numpy(seed, unknown):
    one, other = np.random.default_rng(seed).normal(size=(2, 60)) * 1e-4
    other += 0.5 * one
    assert correlation(one, other) == pytest.approx(np.corrcoef(one, other)[0, 1])
    one[:unknown] = NAN
    assert correlation(one, other) == pytest.approx(np.corrcoef(one[unknown:], other[unknown:])[0, 1])


def test_correlation_says_nothing_of_too_little():
    one, other = np.random.default_rng(1).normal(size=(2, 60))
    one[:16] = NAN
    assert np.isnan(correlation(one, other))
    assert np.isnan(correlation(np.zeros(60), other))


def test_interpreted_and_compiled_voices_agree():
    closes = market()
    arguments = (
        closes.closes,
        np.array(closes.newest, np.int64),
        np.array([True, True, True, False]),
        NIGHT // MINUTE,
        60,
    )
    returns = returns_of(*arguments)
    np.testing.assert_allclose(returns, returns_of.py_func(*arguments), rtol=1e-12)
    assert np.isnan(returns).all(axis=1).tolist() == [False, False, False, True]
    buys, sells = np.array([1, 2, 3, 4]), np.array([4, 3, 2, 1])
    # ETH's two buys and the mirrored ETH/BTC's two sells support, its three sells and the three buys contradict.
    heard_there = (returns, 0, buys, sells, 0.5)
    assert voices_elsewhere(*heard_there) == voices_elsewhere.py_func(*heard_there) == (4, 6)
