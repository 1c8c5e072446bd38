"""Metrics against empyrical-reloaded and skfolio (independent implementations) and against the papers' examples."""

import math

import empyrical
import numpy as np
import pytest
import skfolio.measures as skfolio
from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.performance import metrics

light = settings(max_examples=40, deadline=None)
TOLERANCE = 1e-12

RANDOM = {
    f"{size} returns, seed {seed}": np.random.default_rng(seed).standard_t(4, size) * 0.01 + 0.0005
    for seed in range(5)
    for size in (2, 3, 10, 250, 365)
}
DEGENERATE = {
    "nothing": [],
    "one": [0.01],
    "two equal": [0.01, 0.01],
    "constant, and its mean rounds": [0.1] * 3,
    "nothing happens": [0.0] * 10,
    "constant loss": [-0.01] * 5,
    "gains only": [0.01, 0.02, 0.03],
    "losses only": [-0.01, -0.02, -0.03],
    "loss first": [-0.5, 0.1, 0.1],
    "all is lost": [0.1, -1.0, 0.2],
    "a single loss": [0.0, 0.0, -0.2, 0.0],
}
SERIES = RANDOM | {name: np.array(values) for name, values in DEGENERATE.items()}


def agree(ours: float, theirs: float) -> None:
    """Equal where the other library has a number; NaN where it has none (or infinity)."""
    if math.isfinite(theirs):
        assert ours == pytest.approx(theirs, rel=TOLERANCE, abs=TOLERANCE)
    else:
        assert math.isnan(ours)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("returns", SERIES.values(), ids=SERIES.keys())
@pytest.mark.parametrize("periods", [365, 252])
def test_ratios_agree_with_empyrical(returns, periods):
    agree(metrics.sharpe_ratio(returns, periods), empyrical.sharpe_ratio(returns, annualization=periods))
    agree(metrics.sortino_ratio(returns, periods), empyrical.sortino_ratio(returns, annualization=periods))
    agree(metrics.maximum_drawdown(returns), -empyrical.max_drawdown(returns))
    agree(metrics.annual_return(returns, periods), empyrical.annual_return(returns, annualization=periods))
    agree(metrics.calmar_ratio(returns, periods), empyrical.calmar_ratio(returns, annualization=periods))
    agree(metrics.total_return(returns), empyrical.cum_returns_final(returns))


@pytest.mark.parametrize("returns", RANDOM.values(), ids=RANDOM.keys())
def test_measures_agree_with_skfolio(returns):
    per_year = math.sqrt(365)
    mean, deviation = skfolio.mean(returns), skfolio.standard_deviation(returns)
    downside = skfolio.semi_deviation(returns, min_acceptable_return=0.0, biased=True)
    drawdowns = skfolio.get_drawdowns(returns, compounded=True)
    agree(metrics.mean(returns), mean)
    agree(metrics.standard_deviation(returns), deviation)
    agree(metrics.sharpe_ratio(returns, 365), mean / deviation * per_year)
    if downside:
        agree(metrics.sortino_ratio(returns, 365), mean / downside * per_year)
    np.testing.assert_allclose(metrics.drawdowns(returns), -drawdowns, rtol=TOLERANCE, atol=TOLERANCE)
    agree(metrics.maximum_drawdown(returns), skfolio.max_drawdown(drawdowns))  # a positive number there too
    agree(metrics.skewness(returns), skfolio.skew(returns))
    agree(metrics.kurtosis(returns), skfolio.kurtosis(returns))


@pytest.mark.parametrize("returns", SERIES.values(), ids=SERIES.keys())
def test_probabilistic_and_deflated_agree_with_skfolio(returns):
    if len(returns) == 0:
        return
    moments = (metrics.sharpe_ratio(returns), len(returns), metrics.skewness(returns), metrics.kurtosis(returns))
    for benchmark in (0.0, 0.05):
        theirs = skfolio.probabilistic_sharpe_ratio(returns, benchmark_sharpe_ratio=benchmark)
        agree(metrics.probabilistic_sharpe_ratio(*moments, benchmark), theirs)
    for trials in ([0.02], [0.02, -0.01], np.random.default_rng(1).normal(0, 0.05, 40)):
        variance = metrics.standard_deviation(trials) ** 2
        ours = metrics.deflated_sharpe_ratio(*moments, trials=len(trials), variance=variance)
        agree(ours, skfolio.deflated_sharpe_ratio(returns, trials))


def test_the_probabilistic_sharpe_ratio_of_the_paper():
    # Bailey, López de Prado (2012), a hedge fund with 24 months of record: Sharpe ratio 0.458 per month (1.59 a year).
    # Were its returns normal, the probability of skill would be 0.982; with its skewness of -2.448 and kurtosis of
    # 10.164 it is 0.913 only. By hand: √23 = 4.79583, (γ₄ - 1)/4 · 0.458² = 0.48057, 1 + 2.448 · 0.458 = 2.12118,
    # 0.458 · 4.79583 / √2.60175 = 1.36175, Φ(1.36175) = 0.91336.
    assert metrics.probabilistic_sharpe_ratio(0.458, 24, 0, 3) == pytest.approx(0.982, abs=5e-4)
    assert metrics.probabilistic_sharpe_ratio(0.458, 24, -2.448, 10.164) == pytest.approx(0.91336, abs=5e-6)


def test_the_deflated_sharpe_ratio_of_the_paper():
    # Bailey, López de Prado (2014), "A numerical example": the best of 100 trials has an annualized Sharpe ratio of 2.5
    # over 1,250 days (250 a year), skewness -3, kurtosis 10; the trials' annualized Sharpe ratios have variance 1/2.
    # SR₀ = √(1/500) · ((1 - γ) Φ⁻¹(1 - 1/100) + γ Φ⁻¹(1 - 1/(100 e))) = 0.1132 and DSR = 0.9004; after 46 trials only
    # it would have been 0.9505.
    assert metrics.expected_maximum_sharpe_ratio(100, 0.5 / 250) == pytest.approx(0.1132, abs=5e-5)
    of = {"sharpe": 2.5 / math.sqrt(250), "observations": 1250, "skew": -3, "kurt": 10, "variance": 0.5 / 250}
    assert metrics.deflated_sharpe_ratio(**of, trials=100) == pytest.approx(0.9004, abs=5e-5)
    assert metrics.deflated_sharpe_ratio(**of, trials=46) == pytest.approx(0.9505, abs=5e-5)


def test_what_is_not_defined_is_nan_and_never_infinite():
    undefined = [
        metrics.sharpe_ratio([0.01] * 9),
        metrics.sortino_ratio([0.01, 0.02]),
        metrics.calmar_ratio([0.01, 0.02], 365),
        metrics.annual_return([-1.5], 365),
        metrics.annual_return([9.0], 365),  # 10^365 is beyond a float
        metrics.current_drawdown([]),
        metrics.win_rate([]),
        metrics.profit_factor([3, 4]),
        metrics.profit_factor([]),
        metrics.expectancy([]),
        metrics.turnover([5], [0]),
        metrics.expected_maximum_sharpe_ratio(0, 0.1),
        metrics.probabilistic_sharpe_ratio(0.1, 2, 0, 3),
        metrics.probabilistic_sharpe_ratio(1.0, 100, 5, 3),  # 1 - 5 + 1/2 is no variance
        metrics.sharpe_ratio([0.01, math.nan, 0.02]),
        metrics.maximum_drawdown([0.01, math.nan, 0.02]),
    ]
    assert [math.isnan(value) for value in undefined] == [True] * len(undefined)


def test_trades_by_hand():
    # Wins 10 + 20, losses 5 + 10, one trade at zero: 2 of 5 won, 30/15, (30 - 15)/5.
    net = [10, -5, 20, -10, 0]
    assert (metrics.win_rate(net), metrics.profit_factor(net), metrics.expectancy(net)) == (0.4, 2.0, 3.0)
    assert metrics.profit_factor([-5]) == 0.0


@light
@given(st.lists(st.integers(-500, 500), min_size=2, max_size=40), st.randoms(use_true_random=False))
def test_order_changes_no_bit_of_what_does_not_depend_on_it(hundredths, random):
    returns = [value / 10_000 for value in hundredths]
    shuffled = returns.copy()
    random.shuffle(shuffled)
    for statistic in (metrics.sharpe_ratio, metrics.sortino_ratio, metrics.skewness, metrics.kurtosis):
        before, after = statistic(returns), statistic(shuffled)
        assert before == after or (math.isnan(before) and math.isnan(after))


@light
@given(st.lists(st.integers(-900, 900), min_size=1, max_size=40))
def test_the_drawdown_is_the_worst_loss_between_any_two_points(thousandths):
    # Straight from the definition, over all pairs: an earlier wealth (the start included) and a later one.
    returns = [value / 1_000 for value in thousandths]
    wealth = [1.0]
    for value in returns:
        wealth.append(wealth[-1] * (1 + value))
    worst = max(1 - wealth[j] / wealth[i] for i in range(len(wealth)) for j in range(i, len(wealth)))
    assert metrics.maximum_drawdown(returns) == pytest.approx(worst, rel=1e-12, abs=1e-12)
