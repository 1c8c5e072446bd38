from signal_assets.execution.account_rates import AccountRates, account_currency
from signal_assets.execution.paper_broker_machine import Quote
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from tests.execution.paper_session import BTC, ETH, ETHBTC, GROUP, units


def test_the_account_is_kept_in_the_wanted_currency_or_in_the_commonest():
    assert account_currency(GROUP, "FDUSD") == "FDUSD"
    assert account_currency(GROUP, "") == "FDUSD"  # two of three
    assert account_currency(GROUP, "USDT") == "FDUSD"
    assert account_currency((ETHBTC, BTC), "") == "BTC"  # one each: the first by name


def test_a_quote_converts_at_the_middle_of_the_instrument_that_leads_to_the_account():
    rates = AccountRates(GROUP, "FDUSD")
    prices = {BTC.key: Quote(units("61737.62"), units("61737.65"))}
    assert rates.rate("FDUSD", {}) == SCALE
    # (61,737.62 + 61,737.65) / 2 = 61,737.635
    assert rates.rate("BTC", prices) == units("61737.635")
    assert rates.rate("ETH", prices) is None
    assert rates.rate("BTC", {ETH.key: Quote(1, 1)}) is None


def test_an_instrument_the_other_way_round_converts_too():
    pair = Instrument("FDUSDUSDT", "BINANCE", "FDUSD/USDT", tick_size=10_000, lot_size=SCALE)
    # One FDUSD costs 0.8 USDT, so one USDT is 1.25 FDUSD.
    assert AccountRates((pair, BTC), "FDUSD").rate("USDT", {pair.key: Quote(units("0.79"), units("0.81"))}) == units(
        "1.25"
    )
