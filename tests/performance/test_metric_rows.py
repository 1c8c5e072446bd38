import math

import pandas as pd
import pytest

from signal_assets.event_time import DAY, HOUR
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from signal_assets.performance.alert_rows import alert_rows
from signal_assets.performance.derivations import alerts, metrics
from signal_assets.performance.metric_rows import metric_rows
from signal_assets.performance.parameters import AlertRule, PerformanceParameters
from signal_assets.performance.tables import ALERTS, DAILY_EQUITY, METRICS, TRADE_LOG
from signal_assets.window import Window

BTC = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", 1, 1)
ETH = Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", 1, 1)
EURO = Instrument("EUR_USD", "OANDA", "EUR/USD", 1, 1, asset_class="forex", group="forex")
PARAMETERS = PerformanceParameters()
LAST = 20_000
"""The day whose end is looked at."""

WINDOW = Window((LAST - 1) * DAY, LAST * DAY)


def daily(returns, strategy="momentum_rider", exposure=0.5, traded=0, before=100 * SCALE):
    """Daily equity that ends at the last day with these returns."""
    rows, equity = [], before
    for number, value in enumerate(returns):
        equity = round(equity * (1 + value))
        rows.append((strategy, "*.crypto", (LAST - len(returns) + 1 + number) * DAY, equity, value, exposure, traded))
    return pd.DataFrame(rows, columns=list(DAILY_EQUITY.value_columns))


def trades(*net, strategy="momentum_rider", instrument=BTC.key, closed=LAST * DAY):
    frame = pd.DataFrame({"strategy": strategy, "instrument": instrument, "closed": closed, "net": list(net)})
    return frame[["instrument", "strategy", "closed", "net"]]


NO_TRADES = trades()


def measured(daily_equity, trade_log=NO_TRADES, window=WINDOW, instruments=(BTC, ETH), parameters=PARAMETERS):
    frame = metric_rows(window, instruments, daily_equity, trade_log, parameters)
    assert METRICS.conform(frame).equals(frame)
    return {
        (row.scope, row.name_, row.metric): row.value for row in frame.rename(columns={"name": "name_"}).itertuples()
    }


def test_a_strategy_by_hand():
    # +10 %, -20 %, +5 %: mean -5/300, deviations 35/300, -55/300, 20/300, variance (35² + 55² + 20²)/300²/2 = 0.02583.
    found = measured(daily([0.10, -0.20, 0.05], traded=20 * SCALE))

    def of(metric):
        return found["strategy", "momentum_rider", metric]

    assert of("days") == 3
    assert of("day_return") == 0.05
    assert of("total_return") == pytest.approx(1.1 * 0.8 * 1.05 - 1)
    assert of("sharpe_ratio") == pytest.approx(-(0.05 / 3) / math.sqrt(0.0258333333333) * math.sqrt(365))
    assert of("sortino_ratio") == pytest.approx(-(0.05 / 3) / math.sqrt(0.04 / 3) * math.sqrt(365))
    assert of("maximum_drawdown") == pytest.approx(0.20)
    assert of("drawdown") == pytest.approx(1 - 0.8 * 1.05)
    assert of("calmar_ratio") == pytest.approx(((1.1 * 0.8 * 1.05) ** (365 / 3) - 1) / 0.20)
    assert of("exposure") == 0.5
    assert of("turnover") == pytest.approx(60 / (110 + 88 + 92.4))
    assert of("trades") == 0
    assert math.isnan(of("win_rate"))


def test_trades_are_told_by_strategy_instrument_and_portfolio():
    log = pd.concat(
        [
            trades(3 * SCALE, -SCALE),
            trades(2 * SCALE, instrument=ETH.key),
            trades(-5 * SCALE, strategy="triangular_arbitrage", instrument=ETH.key),
        ]
    )
    accounts = pd.concat([daily([0.0, 0.1], name) for name in ("momentum_rider", "triangular_arbitrage", "portfolio")])
    found = measured(accounts, log)
    pnl = {key[:2]: value for key, value in found.items() if key[2] == "net_pnl"}
    assert pnl == {
        ("strategy", "momentum_rider"): 4.0,
        ("strategy", "triangular_arbitrage"): -5.0,
        ("instrument", BTC.key): 2.0,
        ("instrument", ETH.key): -3.0,
        ("portfolio", "portfolio"): -1.0,
    }
    assert found["portfolio", "portfolio", "win_rate"] == 0.5
    assert found["portfolio", "portfolio", "profit_factor"] == 5 / 6
    assert found["portfolio", "portfolio", "expectancy"] == -0.25
    assert ("instrument", BTC.key, "sharpe_ratio") not in found


def test_one_strategy_is_one_trial_and_several_deflate_each_other():
    good, bad = [0.01, 0.02, -0.005, 0.01] * 10, [-0.01, 0.005, 0.0, -0.002] * 10
    alone = measured(daily(good))
    assert (
        alone["strategy", "momentum_rider", "deflated_sharpe_ratio"]
        == (alone["strategy", "momentum_rider", "probabilistic_sharpe_ratio"])
    )
    # A strategy that never traded has no Sharpe ratio and is no trial.
    idle = daily([0.0] * 40, "moving_average_crossover")
    with_idle = measured(pd.concat([daily(good), idle]))
    assert (
        with_idle["strategy", "momentum_rider", "deflated_sharpe_ratio"]
        == (alone["strategy", "momentum_rider", "deflated_sharpe_ratio"])
    )
    both = measured(pd.concat([daily(good), daily(bad, "triangular_arbitrage")]))
    deflated = both["strategy", "momentum_rider", "deflated_sharpe_ratio"]
    assert deflated < both["strategy", "momentum_rider", "probabilistic_sharpe_ratio"]


def test_rows_stand_at_the_days_end_and_need_it_in_the_window():
    frame = metric_rows(WINDOW, [BTC], daily([0.1]), NO_TRADES, PARAMETERS)
    assert set(frame["time"]) == {LAST * DAY}
    assert set(frame["instrument"]) == {"*.crypto"}
    assert metric_rows(Window(WINDOW.start, WINDOW.end - 1), [BTC], daily([0.1]), NO_TRADES, PARAMETERS).empty
    assert metric_rows(WINDOW, [BTC], DAILY_EQUITY.empty(), trades(5), PARAMETERS).empty


def test_neither_the_future_nor_what_lies_behind_the_look_back_counts():
    parameters = PerformanceParameters(look_back=2 * DAY)
    equity = daily([0.5, 0.1, 0.2])
    log = pd.concat([trades(7, closed=LAST * DAY - 2 * DAY), trades(8, closed=LAST * DAY - 2 * DAY + 1)])
    later = pd.concat([equity, daily([0.9]).assign(time=LAST * DAY + HOUR)])
    for days, closed in ((equity, log), (later, pd.concat([log, trades(9, closed=LAST * DAY + 1)]))):
        found = measured(days, closed, parameters=parameters)
        assert found["strategy", "momentum_rider", "days"] == 2
        assert found["strategy", "momentum_rider", "total_return"] == pytest.approx(0.32)
        assert found["instrument", BTC.key, "net_pnl"] == 8 / SCALE


def test_a_window_of_the_last_second_gives_the_rows_of_the_day_run():
    accounts = daily([0.1, 0.2, -0.1])
    derivation = metrics(PARAMETERS)
    inputs = {DAILY_EQUITY.name: accounts, TRADE_LOG.name: NO_TRADES}
    last_second = Window(WINDOW.end - 1_000_000, WINDOW.end)
    pd.testing.assert_frame_equal(
        derivation.kernel(last_second, [BTC], inputs), derivation.kernel(WINDOW, [BTC], inputs)
    )
    assert all(item.look_back >= PARAMETERS.look_back for item in derivation.inputs)


def test_markets_with_a_weekend_have_252_days():
    returns = [0.01, -0.02, 0.03]
    crypto, forex = measured(daily(returns)), measured(daily(returns), instruments=(EURO,))
    ratio = crypto["strategy", "momentum_rider", "sharpe_ratio"] / forex["strategy", "momentum_rider", "sharpe_ratio"]
    assert ratio == pytest.approx(math.sqrt(365 / 252))


def alerted(*measured_values, parameters=PARAMETERS, window=WINDOW):
    rows = [("*.crypto", scope, name, LAST * DAY, metric, value) for scope, name, metric, value in measured_values]
    frame = alert_rows(window, pd.DataFrame(rows, columns=list(METRICS.value_columns)), parameters)
    assert ALERTS.conform(frame).equals(frame)
    return [
        tuple(row) for row in frame[["scope", "name", "rule", "severity", "value", "threshold"]].itertuples(index=False)
    ]


def test_a_drawdown_beyond_ten_percent_is_a_breached_limit():
    beyond = ("strategy", "momentum_rider", "drawdown", 0.11)
    assert alerted(beyond, ("strategy", "other", "drawdown", 0.10)) == [
        ("strategy", "momentum_rider", "drawdown_limit", "critical", 0.11, 0.10)
    ]
    assert alerted(("portfolio", "portfolio", "day_return", -0.06)) == [
        ("portfolio", "portfolio", "daily_loss_limit", "critical", -0.06, -0.05)
    ]
    assert alerted(beyond, window=Window(WINDOW.start, WINDOW.end - 1)) == []


def test_short_records_and_undefined_metrics_are_not_judged():
    poor = [("sharpe_ratio", -1.0), ("win_rate", 0.1), ("profit_factor", 0.5), ("probabilistic_sharpe_ratio", 0.01)]

    def of(days, number, values=poor):
        return [("strategy", "momentum_rider", *pair) for pair in [*values, ("days", days), ("trades", number)]]

    assert alerted(*of(29, 29)) == []
    assert [alert[2] for alert in alerted(*of(30, 0))] == ["low_sharpe_ratio", "underperformer"]
    assert [alert[2] for alert in alerted(*of(0, 30))] == ["low_win_rate", "low_profit_factor"]
    assert alerted(*of(365, 999, [(metric, math.nan) for metric, _ in poor])) == []


def test_the_portfolio_is_no_underperformer():
    record = [("probabilistic_sharpe_ratio", 0.01), ("days", 40)]
    assert alerted(*[("portfolio", "portfolio", *pair) for pair in record]) == []
    assert len(alerted(*[("strategy", "rider", *pair) for pair in record])) == 1


def test_rules_are_parameters():
    rule = AlertRule("busy", "turnover", "above", 3.0, "warning", ("strategy",))
    parameters = PerformanceParameters(rules=(rule,))
    value = ("strategy", "rider", "turnover", 3.5)
    assert alerted(value, ("strategy", "rider", "drawdown", 0.9), parameters=parameters) == [
        ("strategy", "rider", "busy", "warning", 3.5, 3.0)
    ]
    assert alerts(parameters).kernel(WINDOW, [BTC], {METRICS.name: METRICS.empty()}).empty
