"""How far to believe in a candidate: score, confidence, choice among overlapping ones, false-discovery rate.

Belongs here: what follows from a candidate's measures. Does not belong here: the measures (``scale_space``), the fitted
numbers (``peak_calibration``, written by ``python -m benchmarks.fit_peak_confidence``).

* **Score**: log-odds that a candidate is a real peak, a logistic regression on the standardized measures, their squares
  and products.
* **Choice**: candidates of all widths overlap. Taken is the set without overlaps with the largest sum of
  log(1 + exp(score)) = -log(1 - p): the least probable "nothing is there". Weighted interval scheduling finds it
  exactly, so two neighbouring peaks win over the wide one that would cover both, and one wide peak over its grains.
* **Confidence**: the chosen ones' scores through a second logistic curve, fitted to chosen candidates of other profiles
  (Platt 1999, "Probabilistic outputs for support vector machines"), so that of those at confidence c about c are real.
* **False-discovery rate**: a candidate's p-value is the rate of chosen candidates of at least its score per bucket of
  pure noise, over all places and widths, exp(a + b x score); the procedure of Benjamini and Hochberg (1995,
  "Controlling the false discovery rate") over all buckets then says which are discoveries.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]

REACH: Final = 0.6
"""A candidate takes the buckets within this multiple of its width."""

FARTHEST: Final = 3.0
"""Standardized measures beyond this count as this: the fit knows nothing of what lies there."""

LEAST_SCORE: Final = -4.0
"""Candidates of lower log-odds are not looked at."""


@compiled(takes="own real rows, reals, reals, reals", returns="own reals")
def scores(measured: Reals, centre: Reals, scale: Reals, weights: Reals) -> Reals:
    """Log-odds of each candidate (compiled).

    Parameters
    ----------
    measured : ndarray of float64, shape (n, k)
    centre, scale : ndarray of float64, shape (k,)
    weights : ndarray of float64, shape (1 + k + k (k + 1) / 2,)
        Of 1, of each standardized measure, of each product i ≤ j in the order (0, 0), (0, 1) … (1, 1) …
    """
    count, size = measured.shape
    score = np.empty(count)
    value = np.empty(size)
    for n in range(count):
        for i in range(size):
            value[i] = min(max((measured[n, i] - centre[i]) / scale[i], -FARTHEST), FARTHEST)
        odds = weights[0]
        k = 1 + size
        for i in range(size):
            odds += weights[1 + i] * value[i]
            for j in range(i, size):
                odds += weights[k] * value[i] * value[j]
                k += 1
        score[n] = odds
    return score


@compiled(takes="integers, integers, reals, real, real", returns="own integers")
def choose(place: Integers, width: Integers, score: Reals, reach: float, least: float) -> Integers:
    """Indices of the set without overlaps that is most probable, ascending by place (compiled).

    Parameters
    ----------
    reach : float
        A candidate takes ``place`` ± ``reach`` x ``width``.
    least : float
        Candidates of a lower score are left out before.
    """
    able = np.flatnonzero(score >= least)
    count = able.size
    end = np.empty(count)
    for k in range(count):
        end[k] = place[able[k]] + reach * width[able[k]]
    order = np.argsort(end, kind="mergesort")
    able, end = able[order], end[order]
    best = np.zeros(count + 1)
    before = np.zeros(count, np.int64)
    for k in range(count):
        i = able[k]
        before[k] = np.searchsorted(end[:k], place[i] - reach * width[i], side="right")
        gain = max(score[i], 0.0) + math.log1p(math.exp(-abs(score[i])))
        best[k + 1] = max(best[k], best[before[k]] + gain)
    kept = np.empty(count, np.int64)
    found = 0
    k = count
    while k > 0:
        if best[k] > best[k - 1]:
            kept[found] = able[k - 1]
            found += 1
            k = before[k - 1]
        else:
            k -= 1
    return kept[:found][::-1].copy()


@compiled(takes="reals, integer, real", returns="real")
def discovery_limit(p_value: Reals, tests: int, rate: float) -> float:
    """The largest p-value that is a discovery among so many ``tests``, these being the small ones; -1: none (compiled).

    Benjamini and Hochberg: the largest p(i) with p(i) ≤ rate x i / tests.
    """
    limit = -1.0
    ordered = np.sort(p_value)
    for i in range(ordered.size):
        if ordered[i] <= rate * (i + 1) / tests:
            limit = ordered[i]
    return limit
