"""The daily step of the dynamic thresholds: one version of each per closed day.

Belongs here: the rule. Does not belong here: keeping versions (an asset appends them, insert-only), applying them
(``signals``).

**The rule.** Of the signals that passed validation on day D, the share with a confidence above 0.7 is taken. Is it
above 0.8, what passes is good and the thresholds that say how much is *demanded* – ``min_signal_quality``,
``opportunity_threshold`` – are loosened, x 0.95; is it below 0.5, too much passes and they are tightened, x 1.05;
always within their bounds. Only what passed counts, since it alone answers to the thresholds: rejected proposals would
go on tightening for ever. The multipliers, which say how much a market's state matters and not how much is demanded,
get a version each day as well, with the value of the version before. On a day without signals nothing moves.

**Which version is stepped.** The newest in force when the new one begins: what was learned before it, or a rollback by
hand that begins no later – of two that begin together the rollback counts, as it does for whoever reads them. So
learning goes on from a rollback, and computing a day again gives the same version again.

Versions learned from day D are valid from D+2 00:00 UTC.
"""

import math
from typing import Final

import numpy as np
import pandas as pd

from signal_assets.event_time import DAY, iso
from signal_assets.instrument import whole_group
from signal_assets.learning.parameters import LearningParameters
from signal_assets.learning.tables import THRESHOLDS

LEARNED: Final = "learned"
"""Source of a version that the rule made; any other source is a rollback by hand."""


def confident_share(signals: pd.DataFrame, day_end: int, confident_above: float) -> tuple[int, float]:
    """Signals of the day that passed validation, and the share of confident ones; NaN where there are none.

    Parameters
    ----------
    signals : DataFrame
        ``signals.signals``: event_time, status, confidence.
    day_end : int
        The midnight that ends the day; the day is ``(day_end - 1 day, day_end]``.
    """
    times = signals["event_time"].to_numpy()
    passed = (signals["status"] == "validated").to_numpy() & (times > day_end - DAY) & (times <= day_end)
    count = int(np.count_nonzero(passed))
    confident = int(np.count_nonzero(signals["confidence"].to_numpy()[passed] > confident_above))
    return count, confident / count if count else math.nan


def step_of(share: float, parameters: LearningParameters) -> float:
    """Factor by which the demanding thresholds move; 1 without signals.

    Examples
    --------
    >>> [step_of(share, LearningParameters()) for share in (0.81, 0.8, 0.5, 0.49, math.nan)]
    [0.95, 1.0, 1.0, 1.05, 1.0]
    """
    if share > parameters.high_share:
        return parameters.loosen
    return parameters.tighten if share < parameters.low_share else 1.0


def value_before(versions: pd.DataFrame, name: str, valid_from: int, default: float) -> float:
    """Value of the version that a version learned for ``valid_from`` follows; the default if there is none.

    Parameters
    ----------
    versions : DataFrame
        The group's rows of ``learning.thresholds``, in any order.
    """
    by_hand = (versions["source"] != LEARNED).to_numpy()
    begins = versions["valid_from"].to_numpy()
    followed = (versions["name"] == name).to_numpy() & np.where(by_hand, begins <= valid_from, begins < valid_from)
    if not followed.any():
        return default
    ordered = versions[followed].assign(by_hand=by_hand[followed])
    return float(ordered.sort_values(["valid_from", "by_hand", "source"], kind="stable")["value"].iloc[-1])


def threshold_rows(
    day_end: int, group: str, signals: pd.DataFrame, versions: pd.DataFrame, parameters: LearningParameters
) -> pd.DataFrame:
    """Versions of all thresholds learned from the day that ends at ``day_end``.

    Parameters
    ----------
    day_end : int
        A midnight, µs UTC.
    signals : DataFrame
        ``signals.signals`` of the group, at least those of the day.
    versions : DataFrame
        ``learning.thresholds`` of the group.

    Returns
    -------
    DataFrame
        Rows of ``learning.thresholds``, one per threshold in the order of the parameters.

    Raises
    ------
    ValueError
        If ``day_end`` is no midnight.
    """
    if day_end % DAY:
        raise ValueError(f"a day ends at a midnight, not at {iso(day_end)}")
    count, share = confident_share(signals, day_end, parameters.confident_above)
    valid_from = day_end + DAY
    own = versions[(versions["instrument"] == whole_group(group)).to_numpy()]
    rows = []
    for name, threshold in parameters.thresholds.items():
        before = value_before(own, name, valid_from, threshold.default)
        step = step_of(share, parameters) if threshold.demands else 1.0
        value = threshold.within(before * step)
        rows.append((whole_group(group), name, valid_from, day_end, value, before, share, count, LEARNED))
    return THRESHOLDS.conform(pd.DataFrame(rows, columns=list(THRESHOLDS.value_columns)))
