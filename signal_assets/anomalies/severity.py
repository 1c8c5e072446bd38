"""How bad a distance is, and how likely.

Belongs here: names, bounds and the normal tail. Does not belong here: where distances come from (the detectors).
"""

import math
from collections.abc import Sequence
from typing import Final

SEVERITIES: Final = ("LOW", "MEDIUM", "HIGH", "CRITICAL")
"""From least to worst."""


def severity_of(sigma: float, bounds: Sequence[float]) -> str | None:
    """Name of a distance of either sign; None below the least bound.

    ``bounds`` are the least distances of LOW, MEDIUM and HIGH, and the one beyond which it is CRITICAL:
    LOW [1, 2), MEDIUM [2, 2.5), HIGH [2.5, 3], CRITICAL (3, ∞).

    Examples
    --------
    >>> [severity_of(sigma, (1.0, 2.0, 2.5, 3.0)) for sigma in (0.9, -1.0, 2.0, 3.0, -3.1)]
    [None, 'LOW', 'MEDIUM', 'HIGH', 'CRITICAL']
    """
    distance = abs(sigma)
    low, medium, high, critical = bounds
    if distance > critical:
        return "CRITICAL"
    if distance >= high:
        return "HIGH"
    if distance >= medium:
        return "MEDIUM"
    return "LOW" if distance >= low else None


def tail_probability(sigma: float) -> float:
    """Probability that a normal variable lies further out on either side, erfc(|σ| / √2).

    Examples
    --------
    >>> round(tail_probability(-1.959964), 6)
    0.05
    """
    return math.erfc(abs(sigma) / math.sqrt(2))
