"""How probable it is that a find of the plain methods is a real peak, as planted data says.

Belongs here: from a find's numbers to a probability. Does not belong here: the fitted numbers
(``plain_peak_calibration``, written by ``python -m benchmarks.fit_peak_confidence``); scale space, whose confidence is
one.

The confidence of the plain methods is what they are specified to filter and rank by, and cannot be this probability as
well: at the specified thresholds eleven of twelve statistical finds on planted profiles are single orders or noise, the
most confident ones nearly all, so a probability held against ``min_peak_confidence`` would drop the clearest spike of a
small profile. Hence two numbers. A logistic regression on three measures, their squares and products.
"""

import math
from typing import Final

from signal_assets.levels.plain_peak_calibration import CALIBRATION

FARTHEST: Final = 3.0
"""Standardized measures beyond this count as this: the fit knows nothing of what lies there."""

LARGEST_ODDS: Final = 6.0
"""Log-odds beyond this, 1 in 400, are neither looked at nor claimed."""

LEAST_WIDTH: Final = 0.1


def evidence(confidence: float, z_score: float, width: float) -> tuple[float, float, float]:
    """What the regression looks at: log-odds of the confidence, logarithm of z-score (signed) and of width."""
    odds = math.log(max(confidence, 1e-9)) - math.log(max(1 - confidence, 1e-9))
    return (
        min(max(odds, -LARGEST_ODDS), LARGEST_ODDS),
        math.copysign(math.log1p(abs(z_score)), z_score),
        math.log(max(width, LEAST_WIDTH)),
    )


def probability_of(method: str, confidence: float, z_score: float, width: float) -> float:
    """Share of planted finds with such numbers that are real.

    Parameters
    ----------
    method : str
        statistical, volume or combined, at their default parameters; of scale_space the confidence is returned.
    confidence, z_score, width : float
        As the method gives them; width in buckets.

    Examples
    --------
    A bucket that stands alone is hardly ever an accumulation; one over eight buckets mostly is.

    >>> alone, broad = (probability_of("statistical", 0.8, 5.0, width) for width in (1.0, 8.0))
    >>> alone < 0.05, broad > 0.8
    (True, True)
    """
    if method not in CALIBRATION:
        return confidence
    centre, scale, weights = CALIBRATION[method]
    value = [
        min(max((each - middle) / spread, -FARTHEST), FARTHEST)
        for each, middle, spread in zip(evidence(confidence, z_score, width), centre, scale, strict=True)
    ]
    products = [value[i] * value[j] for i in range(len(value)) for j in range(i, len(value))]
    odds = sum(weight * term for weight, term in zip(weights, (1.0, *value, *products), strict=True))
    return 1 / (1 + math.exp(-min(max(odds, -LARGEST_ODDS), LARGEST_ODDS)))
