import math
from collections import defaultdict
from fractions import Fraction

import pytest
from hypothesis import given

from signal_assets.event_time import DAY, HOUR, MINUTE, SECOND
from signal_assets.execution.tables import FILLS
from signal_assets.fixed_point import SCALE
from signal_assets.machine import record_class
from signal_assets.market.tables import FEATURES
from signal_assets.performance.equity import EquityMachine
from signal_assets.performance.tables import DAILY_EQUITY, EQUITY
from tests.performance.account_events import (
    BTC,
    CROSS,
    INSTRUMENTS,
    MIDNIGHT,
    PARAMETERS,
    fill,
    histories,
    light,
    quote,
    run,
)

Equity, Daily = record_class(EQUITY), record_class(DAILY_EQUITY)
RIDER = "momentum_rider"
START = {RIDER: 1_000 * SCALE, "triangular_arbitrage": 1_500 * SCALE, "a stranger": 0, "portfolio": 3_000 * SCALE}


def machine():
    return EquityMachine(INSTRUMENTS, PARAMETERS)


def step(accounts, time, *records):
    """Rows of a step by table and strategy; fills and quotes are told apart."""
    events = {}
    for record in records:
        events.setdefault(FEATURES.name if hasattr(record, "best_bid") else FILLS.name, []).append(record)
    rows = accounts.step(time, events)
    return (
        {row[0]: Equity(*row) for row in rows.get(EQUITY.name, [])},
        {row[0]: Daily(*row) for row in rows.get(DAILY_EQUITY.name, [])},
    )


def test_an_account_by_hand():
    # 2 BTC bought for 200 FDUSD with a fee of 1; best prices 109 and 112, whose middle is 110.5: worth 221.
    accounts, minute = machine(), MIDNIGHT + MINUTE
    bought = fill(minute, "buy", 2 * SCALE, 200 * SCALE, SCALE)
    rows, _ = step(accounts, minute, quote(minute, 109 * SCALE, 112 * SCALE), bought)
    assert rows[RIDER] == Equity(
        RIDER, "*.crypto", minute, 1_020 * SCALE, 0, 21 * SCALE, SCALE, 221 * SCALE, 200 * SCALE
    )
    assert rows["triangular_arbitrage"].equity == 1_500 * SCALE
    # What no strategy was given, 500, is the portfolio's.
    assert rows["portfolio"][3:] == (3_020 * SCALE, 0, 21 * SCALE, SCALE, 221 * SCALE, 200 * SCALE)
    # Half is sold for 120 with a fee of 1: 20 are realized, 100 of cost stay; at 110.5 the rest is worth 10.5 more.
    minute += MINUTE
    rows, _ = step(accounts, minute, fill(minute, "sell", SCALE, 120 * SCALE, SCALE, purpose="exit"))
    realized, unrealized = 20 * SCALE, 10 * SCALE + SCALE // 2
    assert rows[RIDER][3:] == (
        1_000 * SCALE + realized + unrealized - 2 * SCALE,
        realized,
        unrealized,
        2 * SCALE,
        110 * SCALE + SCALE // 2,
        320 * SCALE,
    )


def test_another_quote_currency_is_converted_at_the_middle():
    # 10 ETH short at ETH/BTC 0.05 with BTC at 60,000 FDUSD; now 0.06 and 50,000: worth -10 · 0.06 · 50,000 = -30,000.
    accounts, minute = machine(), MIDNIGHT + MINUTE
    sold = fill(minute, "sell", 10 * SCALE, 30_000 * SCALE, strategy="triangular_arbitrage", instrument=CROSS)
    prices = quote(minute, 49_999 * SCALE, 50_001 * SCALE), quote(minute, SCALE * 6 // 100, SCALE * 6 // 100, CROSS)
    rows, _ = step(accounts, minute, *prices, sold)
    assert (rows["triangular_arbitrage"].unrealized, rows["triangular_arbitrage"].exposure) == (0, 30_000 * SCALE)
    minute += MINUTE
    rows, _ = step(accounts, minute, quote(minute, 50_999 * SCALE, 51_001 * SCALE))
    assert rows["triangular_arbitrage"].unrealized == -600 * SCALE


def test_the_middle_of_an_odd_spread_is_rounded_down():
    accounts, minute = machine(), MIDNIGHT + MINUTE
    rows, _ = step(accounts, minute, quote(minute, 10, 11), fill(minute, "buy", SCALE, 10))
    assert rows[RIDER].unrealized == 0  # (10 + 11) // 2 = 10


def test_rows_exist_on_the_minute_grid_only():
    accounts = machine()
    assert step(accounts, MIDNIGHT + MINUTE - SECOND, quote(MIDNIGHT, SCALE, SCALE)) == ({}, {})
    rows, daily = step(accounts, MIDNIGHT + MINUTE)
    assert [row.time for row in rows.values()] == [MIDNIGHT + MINUTE] * 3
    assert list(rows) == [RIDER, "triangular_arbitrage", "portfolio"]
    assert daily == {}


def test_a_holding_whose_market_was_never_seen_is_an_error():
    accounts = machine()
    with pytest.raises(LookupError, match="is held, but its market has not been seen in FDUSD"):
        step(accounts, MIDNIGHT + MINUTE, fill(MIDNIGHT, "buy", SCALE, SCALE))


def test_a_day_that_ends_at_midnight():
    # Three minutes: flat, then 1 BTC bought for 100 and worth 100, at midnight worth 110: 1,010 over 1,000.
    accounts, noon = machine(), MIDNIGHT + 12 * HOUR
    step(accounts, noon, quote(noon, 100 * SCALE, 100 * SCALE))
    step(accounts, noon + MINUTE, fill(noon, "buy", SCALE, 100 * SCALE))
    end = MIDNIGHT + DAY
    rows, daily = step(accounts, end, quote(end, 110 * SCALE, 110 * SCALE))
    assert rows[RIDER].equity == 1_010 * SCALE
    assert daily[RIDER] == Daily(RIDER, "*.crypto", end, 1_010 * SCALE, 1_010 / 1_000 - 1, 2 / 3, 100 * SCALE)
    assert daily["portfolio"].day_return == 3_010 / 3_000 - 1
    assert daily["triangular_arbitrage"][3:] == (1_500 * SCALE, 0.0, 0.0, 0)
    # The next day begins with 1,010: 121.2 - 110 = 11.2 more, sold for that.
    sold = fill(end + HOUR, "sell", SCALE, 121_2 * SCALE // 10, purpose="exit")
    step(accounts, end + HOUR, sold)
    _, daily = step(accounts, end + DAY)
    assert daily[RIDER][3:] == (10_212 * SCALE // 10, 1_021.2 / 1_010 - 1, 0.0, 121_2 * SCALE // 10)


def test_a_day_whose_midnight_is_missing_is_closed_by_the_first_step_after():
    accounts, noon = machine(), MIDNIGHT + 12 * HOUR
    bought = fill(noon, "buy", SCALE, 100 * SCALE)
    step(accounts, noon, quote(noon, 100 * SCALE, 100 * SCALE), bought)
    step(accounts, noon + SECOND, quote(noon + SECOND, 90 * SCALE, 90 * SCALE))  # no minute: what it does counts later
    late = MIDNIGHT + DAY + 3 * HOUR + SECOND
    rows, daily = step(accounts, late, quote(late, 70 * SCALE, 70 * SCALE))
    assert rows == {}
    assert daily[RIDER] == Daily(RIDER, "*.crypto", late, 1_000 * SCALE, 0.0, 1.0, 100 * SCALE)
    assert step(accounts, late + SECOND)[1] == {}  # once
    _, daily = step(accounts, MIDNIGHT + 2 * DAY)
    assert daily[RIDER][2:] == (MIDNIGHT + 2 * DAY, 970 * SCALE, 970 / 1_000 - 1, 1.0, 0)


def test_a_midnight_after_a_missed_one_closes_both_days_at_once():
    accounts, noon = machine(), MIDNIGHT + 12 * HOUR
    step(accounts, noon, quote(noon, 100 * SCALE, 100 * SCALE), fill(noon, "buy", SCALE, 100 * SCALE))
    end = MIDNIGHT + 2 * DAY
    _, daily = step(accounts, end, quote(end, 120 * SCALE, 120 * SCALE))
    assert daily[RIDER][2:] == (end, 1_020 * SCALE, 1_020 / 1_000 - 1, 1.0, 100 * SCALE)


def test_days_without_data_have_no_row():
    accounts = machine()
    step(accounts, MIDNIGHT + DAY, quote(MIDNIGHT + DAY, SCALE, SCALE))
    assert step(accounts, MIDNIGHT + 3 * DAY + HOUR)[1] == {}
    accounts = machine()
    step(accounts, MIDNIGHT + SECOND, quote(MIDNIGHT, SCALE, SCALE))  # a day without a minute has nothing to say
    assert step(accounts, MIDNIGHT + DAY + MINUTE)[1] == {}


def test_a_strategy_without_capital_has_an_account_and_no_return():
    accounts, end = machine(), MIDNIGHT + DAY
    stranger = fill(end, "buy", SCALE, 90 * SCALE, strategy="a stranger")
    rows, daily = step(accounts, end, quote(end, 100 * SCALE, 100 * SCALE), stranger)
    assert list(rows) == ["a stranger", RIDER, "triangular_arbitrage", "portfolio"]
    assert rows["a stranger"].equity == 10 * SCALE
    assert math.isnan(daily["a stranger"].day_return)
    assert daily["portfolio"].day_return == 3_010 / 3_000 - 1


@light
@given(histories())
def test_equity_is_start_plus_cash_plus_what_is_held(history):
    # The same from first principles: cash flows and holdings, marked in exact fractions and rounded once, half to even.
    middle, held, cash = {}, defaultdict(int), dict(START)
    for (time, events), rows in zip(history, run(machine(), history), strict=True):
        for record in events.get(FEATURES.name, ()):
            middle[record.instrument] = (record.best_bid + record.best_ask) // 2
        for one in events.get(FILLS.name, ()):
            sign = 1 if one.side == "buy" else -1
            held[one.strategy, one.instrument] += sign * one.quantity
            for name in (one.strategy, "portfolio"):
                cash[name] -= sign * one.notional + one.fee
        assert (EQUITY.name in rows) == (time % MINUTE == 0)
        for row in (Equity(*row) for row in rows.get(EQUITY.name, [])):
            values = [
                round(Fraction(middle[key] * quantity * (middle[BTC] if key == CROSS else SCALE), SCALE * SCALE))
                for (strategy, key), quantity in held.items()
                if row.strategy in (strategy, "portfolio")
            ]
            assert row.equity == cash[row.strategy] + sum(values)
            assert row.exposure == sum(abs(value) for value in values)
            assert row.equity == START[row.strategy] + row.realized + row.unrealized - row.fees


@light
@given(histories())
def test_days_join(history):
    growth, traded, last = defaultdict(lambda: 1.0), defaultdict(int), {}
    for (time, _), rows in zip(history, run(machine(), history), strict=True):
        for row in rows.get(DAILY_EQUITY.name, []):
            daily = Daily(*row)
            assert daily.time == time
            assert 0 <= daily.exposure <= 1
            growth[daily.strategy] *= 1 + daily.day_return
            traded[daily.strategy] += daily.traded
            if time % DAY:  # closed late: with the equity of the last minute before
                assert daily.equity == last[daily.strategy].equity
            else:
                last |= {minute[0]: Equity(*minute) for minute in rows[EQUITY.name]}
            assert daily.equity == last[daily.strategy].equity
            assert traded[daily.strategy] == last[daily.strategy].traded
            if daily.strategy != "a stranger" and not math.isnan(growth[daily.strategy]):
                assert growth[daily.strategy] * START[daily.strategy] == pytest.approx(daily.equity, rel=1e-9, abs=10)
        last |= {minute[0]: Equity(*minute) for minute in rows.get(EQUITY.name, [])}
