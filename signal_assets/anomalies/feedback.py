"""What people said of earlier alarms moves how far a series must be off for the next one.

Belongs here: the rule. Does not belong here: giving and keeping labels (``labels``), applying
the factor (``anomaly_machine``).

**The rule.** Every series has a factor, 1 at first. A value is judged for an alarm as if it were ``σ / factor`` off. Of
each alarm that was labelled the newest label counts; labels act in the order in which they were given, each by one
step s, within bounds:

    false alarm: factor x exp(s p)         true alarm: factor x exp(-s (1 - p))

p is the share of alarms that shall be true. Where that share is reached both balance, p (1 - p) against (1 - p) p, and
the factor stays, whatever the number of labels: stochastic approximation [1]_ with a step that does not shrink, since
markets change. The factor is a function of the labels alone, and a label is in force from a midnight after it was
given: so what a day computes never changes by what is said later.

References
----------
.. [1] H. Robbins and S. Monro (1951), A stochastic approximation method, Annals of Mathematical Statistics 22(3),
   400-407.
"""

import math
from collections.abc import Iterable
from typing import Any, Final

from signal_assets.anomalies.parameters import AnomalyParameters

TRUE_ALARM: Final = "true_alarm"
FALSE_ALARM: Final = "false_alarm"
VERDICTS: Final = (TRUE_ALARM, FALSE_ALARM)


def threshold_factors(labels: Iterable[Any], parameters: AnomalyParameters) -> dict[str, float]:
    """Factor of every series of which something was said; of the others it is 1.

    Parameters
    ----------
    labels : iterable of records
        Rows of ``anomalies.labels`` that are in force, in any order; other verdicts are passed over.

    Examples
    --------
    >>> from collections import namedtuple
    >>> label = namedtuple("label", "series subject verdict given_at")
    >>> said = [label("spread", "i", "false_alarm", 1), label("spread", "j", "true_alarm", 2)]
    >>> round(threshold_factors(said, AnomalyParameters())["spread"], 6)  # exp(0.25 x 0.8 - 0.25 x 0.2)
    1.161834
    """
    ordered = sorted(labels, key=lambda label: (label.given_at, label.series, label.subject, label.verdict))
    newest = {(label.series, label.subject): label for label in ordered if label.verdict in VERDICTS}
    low, high = math.log(parameters.feedback_low), math.log(parameters.feedback_high)
    step, share = parameters.feedback_step, parameters.feedback_precision
    found: dict[str, float] = {}
    for label in sorted(newest.values(), key=lambda label: (label.given_at, label.series, label.subject)):
        moved = step * share if label.verdict == FALSE_ALARM else -step * (1 - share)
        found[label.series] = min(max(found.get(label.series, 0.0) + moved, low), high)
    return {series: math.exp(factor) for series, factor in found.items()}
