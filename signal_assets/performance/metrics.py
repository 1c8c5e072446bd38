"""What a record of returns and trades is worth: one function per statistic, NaN where it is not defined.

Belongs here: formulas over arrays. Does not belong here: which rows they are taken over (``metric_rows``), thresholds
(``alert_rows``).

A *return* is the simple return of one period (equity over that of the period before, less one); wealth starts at 1.
Sums are ``math.fsum`` – the exact sum, rounded once – so that neither order nor machine changes a bit.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64] | Sequence[float]
Integers = NDArray[np.int64] | Sequence[int]

EULER_MASCHERONI: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()


def mean(values: Reals) -> float:
    """Arithmetic mean Σx / n; NaN of nothing."""
    return math.fsum(values) / len(values) if len(values) else math.nan


def standard_deviation(returns: Reals) -> float:
    """Sample standard deviation √(Σ(r - r̄)² / (n - 1)); exactly 0 where all are equal, NaN below two."""
    if len(returns) < 2:
        return math.nan
    if min(returns) == max(returns):
        return 0.0  # the rounding of the mean must not look like dispersion
    centre = mean(returns)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in returns) / (len(returns) - 1))


def skewness(returns: Reals) -> float:
    """Third standardized moment m₃ / m₂^(3/2) of the population; NaN without dispersion."""
    second, third = _central_moment(returns, 2), _central_moment(returns, 3)
    return third / second**1.5 if second > 0 else math.nan


def kurtosis(returns: Reals) -> float:
    """Fourth standardized moment m₄ / m₂² of the population, 3 for a normal one; NaN without dispersion."""
    second, fourth = _central_moment(returns, 2), _central_moment(returns, 4)
    return fourth / second**2 if second > 0 else math.nan


def _central_moment(returns: Reals, order: int) -> float:
    if len(returns) == 0 or min(returns) == max(returns):
        return math.nan
    centre = mean(returns)
    return math.fsum((value - centre) ** order for value in returns) / len(returns)


def sharpe_ratio(returns: Reals, periods_per_year: float = 1.0) -> float:
    """Mean return over its standard deviation, r̄ / s · √periods, with ddof 1 and no risk-free rate.

    Parameters
    ----------
    returns : array_like of float64, shape (n,)
    periods_per_year : float
        365 or 252 for daily returns; 1 leaves the ratio per period.

    Returns
    -------
    float
        NaN for fewer than two returns or without dispersion.

    References
    ----------
    Sharpe, W. F. (1994). The Sharpe ratio. Journal of Portfolio Management 21(1), 49-58.

    Examples
    --------
    >>> round(sharpe_ratio([0.01, 0.03]), 12)  # mean 0.02, s = √(2 · 0.01²) = 0.0141421…
    1.414213562373
    """
    deviation = standard_deviation(returns)
    return mean(returns) / deviation * math.sqrt(periods_per_year) if deviation > 0 else math.nan


def sortino_ratio(returns: Reals, periods_per_year: float = 1.0) -> float:
    """Mean return over its downside deviation, r̄ / √(Σ min(r, 0)² / n) · √periods; all n count, not only the losses.

    Returns
    -------
    float
        NaN for fewer than two returns or without a loss.

    References
    ----------
    Sortino, F. A., van der Meer, R. (1991). Downside risk. Journal of Portfolio Management 17(4), 27-31.

    Examples
    --------
    >>> round(sortino_ratio([0.03, -0.01]), 12)  # mean 0.01, downside √(0.01² / 2) = 0.00707…
    1.414213562373
    """
    if len(returns) < 2:
        return math.nan
    downside = math.sqrt(mean([min(value, 0.0) ** 2 for value in returns]))
    return mean(returns) / downside * math.sqrt(periods_per_year) if downside > 0 else math.nan


def drawdowns(returns: Reals) -> NDArray[np.float64]:
    """Loss from the highest wealth so far, 1 - W / max(1, W₁ … W), after each return; the start is the first peak.

    Examples
    --------
    >>> drawdowns([-0.5, 1.0, 0.5, -0.25]).tolist()  # wealth 0.5, 1, 1.5, 1.125
    [0.5, 0.0, 0.0, 0.25]
    """
    wealth = np.cumprod(1.0 + np.asarray(returns, dtype=np.float64))
    return 1.0 - wealth / np.maximum(np.maximum.accumulate(wealth), 1.0)


def maximum_drawdown(returns: Reals) -> float:
    """Greatest of :func:`drawdowns`, a positive fraction; 0 without a loss, NaN of nothing.

    References
    ----------
    Magdon-Ismail, M., Atiya, A. (2004). Maximum drawdown. Risk 17(10), 99-102.
    """
    return float(drawdowns(returns).max()) if len(returns) else math.nan


def current_drawdown(returns: Reals) -> float:
    """Newest of :func:`drawdowns`; NaN of nothing."""
    return float(drawdowns(returns)[-1]) if len(returns) else math.nan


def total_return(returns: Reals) -> float:
    """Compounded return Π(1 + r) - 1; NaN of nothing.

    Examples
    --------
    >>> total_return([0.5, -0.5])
    -0.25
    """
    return math.prod(1.0 + value for value in returns) - 1.0 if len(returns) else math.nan


def annual_return(returns: Reals, periods_per_year: float) -> float:
    """Compound annual growth rate W^(periods / n) - 1; NaN of nothing, below zero wealth or beyond a float."""
    wealth = 1.0 + total_return(returns)
    if not wealth >= 0:
        return math.nan
    with np.errstate(over="ignore"):
        growth = float(np.float64(wealth) ** (periods_per_year / len(returns)))
    return growth - 1.0 if math.isfinite(growth) else math.nan


def calmar_ratio(returns: Reals, periods_per_year: float) -> float:
    """Compound annual growth rate over maximum drawdown; NaN without a drawdown.

    References
    ----------
    Young, T. W. (1991). Calmar ratio: a smoother tool. Futures 20(1), 40.
    """
    deepest = maximum_drawdown(returns)
    return annual_return(returns, periods_per_year) / deepest if deepest > 0 else math.nan


def win_rate(net: Integers) -> float:
    """Share of trades with a profit after fees; NaN without trades.

    Examples
    --------
    >>> win_rate([5, -3, 0, 2])
    0.5
    """
    return mean([float(value > 0) for value in net])


def profit_factor(net: Integers) -> float:
    """Sum of profits over sum of losses, after fees; NaN (not ∞) without losses.

    Examples
    --------
    >>> profit_factor([5, -3, -1, 3])
    2.0
    """
    losses = -sum(int(value) for value in net if value < 0)
    return sum(int(value) for value in net if value > 0) / losses if losses else math.nan


def expectancy(net: Integers) -> float:
    """Mean profit of a trade after fees, in the unit of ``net``; NaN without trades.

    References
    ----------
    Tharp, V. K. (1998). Trade Your Way to Financial Freedom. McGraw-Hill.
    """
    return sum(int(value) for value in net) / len(net) if len(net) else math.nan


def turnover(traded: Integers, equity: Integers) -> float:
    """How often the account is turned over in a day: Σ traded / Σ equity over the same days; NaN without equity.

    Both sides of a trade count: buying and selling the whole account on one day is 2.

    Parameters
    ----------
    traded, equity : array_like of int
        Each day's sum of notionals, and the equity at its end.

    Examples
    --------
    >>> turnover([200, 0], [100, 100])
    1.0
    """
    held = sum(int(value) for value in equity)
    return sum(int(value) for value in traded) / held if held > 0 else math.nan


def probabilistic_sharpe_ratio(
    sharpe: float, observations: int, skew: float, kurt: float, benchmark: float = 0.0
) -> float:
    """Probability that the true Sharpe ratio is above the benchmark, returns being skewed and fat-tailed.

    PSR = Φ((SR - SR*) · √(n - 1) / √(1 - γ₃ · SR + (γ₄ - 1) / 4 · SR²))

    Parameters
    ----------
    sharpe, benchmark : float
        Per period, not annualized.
    skew, kurt : float
        Standardized moments of the returns; kurtosis of a normal distribution is 3.

    Returns
    -------
    float
        NaN for fewer than three observations, or where the variance below the root is not positive.

    References
    ----------
    Bailey, D. H., López de Prado, M. (2012). The Sharpe ratio efficient frontier. Journal of Risk 15(2), 3-44.

    Examples
    --------
    >>> round(probabilistic_sharpe_ratio(0.458, 24, skew=-2.448, kurt=10.164), 3)  # the paper's example
    0.913
    """
    variance = 1.0 - skew * sharpe + (kurt - 1.0) / 4.0 * sharpe**2
    if observations < 3 or not variance > 0:
        return math.nan
    return _NORMAL.cdf((sharpe - benchmark) * math.sqrt(observations - 1) / math.sqrt(variance))


def expected_maximum_sharpe_ratio(trials: int, variance: float) -> float:
    """Sharpe ratio to be expected of the best of so many trials without any skill.

    SR₀ = √V · ((1 - γ) · Φ⁻¹(1 - 1/N) + γ · Φ⁻¹(1 - 1/(N·e))), γ being the Euler-Mascheroni constant

    Parameters
    ----------
    trials : int
        Number of independent trials N.
    variance : float
        Variance V of the trials' Sharpe ratios, per period.

    Returns
    -------
    float
        0 for one trial, NaN for none.

    References
    ----------
    Bailey, D. H., López de Prado, M. (2014). The deflated Sharpe ratio: correcting for selection bias, backtest
    overfitting and non-normality. Journal of Portfolio Management 40(5), 94-107.
    """
    if trials < 2:
        return 0.0 if trials == 1 else math.nan
    least = _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    most = _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(variance) * ((1.0 - EULER_MASCHERONI) * least + EULER_MASCHERONI * most)


def deflated_sharpe_ratio(
    sharpe: float, observations: int, skew: float, kurt: float, *, trials: int, variance: float
) -> float:
    """Probability that the true Sharpe ratio is above zero, although it was the best of many trials.

    DSR = PSR with :func:`expected_maximum_sharpe_ratio` as the benchmark; parameters and source as there.

    Examples
    --------
    >>> round(deflated_sharpe_ratio(2.5 / 250**0.5, 1250, -3, 10, trials=100, variance=0.5 / 250), 4)  # the paper's
    0.9004
    """
    return probabilistic_sharpe_ratio(sharpe, observations, skew, kurt, expected_maximum_sharpe_ratio(trials, variance))
