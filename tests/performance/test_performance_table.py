from signal_assets.performance.assets import performance_table
from signal_assets.performance.tables import METRICS
from tests.lake_rows import frame_of


def measured(scope, name, **values):
    return [
        {"instrument": "*.crypto", "scope": scope, "name": name, "metric": metric, "value": value}
        for metric, value in values.items()
    ]


def test_strategies_come_before_portfolio_and_instruments_and_what_is_not_defined_is_a_dash():
    rows = [
        *measured("instrument", "BTCFDUSD.BINANCE", net_pnl=-1_234.567, trades=2.0),
        *measured("portfolio", "portfolio", net_pnl=-1_234.567, sharpe_ratio=float("nan"), days=1.0),
        *measured("strategy", "b", net_pnl=0.0, trades=0.0, win_rate=float("nan")),
        *measured("strategy", "a", win_rate=0.125, profit_factor=1.5, day_return=-0.00123, maximum_drawdown=0.00321),
    ]
    head, *lines = performance_table(frame_of(METRICS, rows)).splitlines()
    shown = ["net_pnl", "trades", "win_rate", "profit_factor", "day_return", "maximum_drawdown", "sharpe_ratio"]
    assert head == f"| record | {' | '.join(shown)} | exposure |"
    assert lines == [
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| a | – | – | 12.5% | 1.50 | -0.123% | 0.32% | – | – |",
        "| b | 0.00 | 0 | – | – | – | – | – | – |",
        "| portfolio | -1,234.57 | – | – | – | – | – | – | – |",
        "| BTCFDUSD.BINANCE | -1,234.57 | 2 | – | – | – | – | – | – |",
    ]
