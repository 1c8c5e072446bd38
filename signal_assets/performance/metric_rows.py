"""Rows of ``performance.metrics``: what each record is worth as of a day's end.

Belongs here: which record is measured, and over which rows. Does not belong here: formulas (``metrics``), judgement
(``alert_rows``).

Strategies and the portfolio are measured by their daily equity and their closed trades of the look-back, instruments by
their closed trades. Ratios are annualized with 365 days where the group holds crypto, which trades every day, and 252
otherwise. The deflated Sharpe ratio takes every strategy whose Sharpe ratio is defined as one trial.
"""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from signal_assets.event_time import DAY
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument, whole_group
from signal_assets.performance import metrics
from signal_assets.performance.parameters import PORTFOLIO, PerformanceParameters
from signal_assets.performance.tables import METRICS
from signal_assets.window import Window


def periods_per_year(instruments: Sequence[Instrument]) -> float:
    """Trading days of a year: 365 where there is crypto, 252 elsewhere."""
    return 365.0 if any(instrument.asset_class == "crypto" for instrument in instruments) else 252.0


def equity_metrics(days: pd.DataFrame, periods: float) -> dict[str, float]:
    """Metrics of one account's daily equity.

    Parameters
    ----------
    days : DataFrame
        Its rows of ``performance.daily_equity``, ascending in time.
    periods : float
        Days of a year.
    """
    returns = days["day_return"].tolist()
    per_day = metrics.sharpe_ratio(returns)
    skew, kurt = metrics.skewness(returns), metrics.kurtosis(returns)
    return {
        "days": float(len(returns)),
        "day_return": returns[-1] if returns else math.nan,
        "total_return": metrics.total_return(returns),
        "sharpe_ratio": metrics.sharpe_ratio(returns, periods),
        "sortino_ratio": metrics.sortino_ratio(returns, periods),
        "drawdown": metrics.current_drawdown(returns),
        "maximum_drawdown": metrics.maximum_drawdown(returns),
        "calmar_ratio": metrics.calmar_ratio(returns, periods),
        "exposure": metrics.mean(days["exposure"].tolist()),
        "turnover": metrics.turnover(days["traded"].tolist(), days["equity"].tolist()),
        "probabilistic_sharpe_ratio": metrics.probabilistic_sharpe_ratio(per_day, len(returns), skew, kurt),
    }


def trade_metrics(net: Sequence[int]) -> dict[str, float]:
    """Metrics of closed trades, from their profits after fees (units of 1e-8); money in units of one."""
    return {
        "trades": float(len(net)),
        "net_pnl": sum(net) / SCALE,
        "win_rate": metrics.win_rate(net),
        "profit_factor": metrics.profit_factor(net),
        "expectancy": metrics.expectancy(net) / SCALE,
    }


def deflated_sharpe_ratios(returns: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Deflated Sharpe ratio of each strategy, every defined Sharpe ratio being a trial.

    Parameters
    ----------
    returns : mapping of str to sequence of float
        Daily returns of each strategy.
    """
    sharpe = {name: metrics.sharpe_ratio(values) for name, values in returns.items()}
    defined = [value for value in sharpe.values() if not math.isnan(value)]
    variance = metrics.standard_deviation(defined) ** 2
    return {
        name: metrics.deflated_sharpe_ratio(
            sharpe[name],
            len(values),
            metrics.skewness(values),
            metrics.kurtosis(values),
            trials=len(defined),
            variance=variance,
        )
        for name, values in returns.items()
    }


def metric_rows(
    window: Window,
    instruments: Sequence[Instrument],
    daily_equity: pd.DataFrame,
    trade_log: pd.DataFrame,
    parameters: PerformanceParameters,
) -> pd.DataFrame:
    """Rows of ``performance.metrics`` at the day's end, if the window holds it and the accounts have begun.

    Parameters
    ----------
    daily_equity, trade_log : DataFrame
        ``performance.daily_equity`` and ``performance.trade_log`` over at least the look-back before ``window.end``.
    """
    if not window.holds(DAY):
        return METRICS.empty()
    days = _since(daily_equity, "time", window.end, parameters.look_back)
    trades = _since(trade_log, "closed", window.end, parameters.look_back)
    if days.empty:
        return METRICS.empty()
    periods = periods_per_year(instruments)
    accounts = {str(name): rows for name, rows in days.groupby("strategy", sort=True)}
    strategies = [name for name in accounts if name != PORTFOLIO]
    deflated = deflated_sharpe_ratios({name: accounts[name]["day_return"].tolist() for name in strategies})
    found: list[tuple[str, str, dict[str, float]]] = []
    for name in strategies:
        measured = equity_metrics(accounts[name], periods) | {"deflated_sharpe_ratio": deflated[name]}
        own = trades.loc[(trades["strategy"] == name).to_numpy(), "net"]
        found.append(("strategy", name, measured | trade_metrics(own.tolist())))
    for key in sorted(instrument.key for instrument in instruments):
        own = trades.loc[(trades["instrument"] == key).to_numpy(), "net"]
        found.append(("instrument", key, trade_metrics(own.tolist())))
    if PORTFOLIO in accounts:
        measured = equity_metrics(accounts[PORTFOLIO], periods)
        found.append((PORTFOLIO, PORTFOLIO, measured | trade_metrics(trades["net"].tolist())))
    group = whole_group(instruments[0].group)
    rows = [
        (group, scope, name, window.end, metric, value)
        for scope, name, values in found
        for metric, value in values.items()
    ]
    return METRICS.conform(pd.DataFrame(rows, columns=list(METRICS.value_columns)))


def _since(frame: pd.DataFrame, time: str, end: int, look_back: int) -> pd.DataFrame:
    """Rows in ``(end - look_back, end]``, ascending in time."""
    times = frame[time].to_numpy()
    return frame[(times > end - look_back) & (times <= end)].sort_values(time, kind="stable")
