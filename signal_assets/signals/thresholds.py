"""Dynamic thresholds: which are in force, and how they act.

Belongs here: choosing among versions, the least confidence, the expected edge. Does not belong here: learning them
(``signal_assets/learning``).

**min_signal_quality** is the least confidence of a signal in a calm market. A volatile or trending market offers more
and raises sensitivity: the least confidence is divided by it, see :meth:`Thresholds.minimum_quality`.
**opportunity_threshold** is the least expected edge, see :func:`expected_edge`; a market's state does not move it.
**volatility_multiplier** and **trend_multiplier** are the sensitivity in the most volatile market and in a perfect
trend.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Final

from signal_assets.signals.market_conditions import Conditions
from signal_assets.signals.parameters import SignalParameters
from signal_assets.signals.proposal import Proposal

LEARNED: Final = "learned"
"""Source of what the daily rule made; any other is a rollback by hand, which wins where both begin together."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Values of the four dynamic thresholds."""

    min_signal_quality: float
    opportunity_threshold: float
    volatility_multiplier: float
    trend_multiplier: float

    def minimum_quality(self, conditions: Conditions, parameters: SignalParameters) -> float:
        """Least confidence in such a market: min_signal_quality / sensitivity.

        sensitivity = (1 + (volatility_multiplier - 1) x volatility excess) x (1 + (trend_multiplier - 1) x trend
        excess). An excess says how far between its mark (``volatile``, ``trending``) and 1 the market is: 0 up to the
        mark and where nothing is known, 1 at most. So the least confidence lies between min_signal_quality /
        (volatility_multiplier x trend_multiplier) and min_signal_quality.
        """
        volatility = 1 + (self.volatility_multiplier - 1) * _excess(conditions.volatility, parameters.volatile)
        trend = 1 + (self.trend_multiplier - 1) * _excess(abs(conditions.trend), parameters.trending)
        return self.min_signal_quality / (volatility * trend)


NAMES: Final = tuple(field.name for field in fields(Thresholds))


def thresholds_in_force(versions: Iterable[Any], parameters: SignalParameters) -> Thresholds:
    """Of each threshold the newest version, within its bounds; the default where there is none.

    Parameters
    ----------
    versions : iterable of records
        Rows of ``learning.thresholds`` that are valid, in any order; other names and values that are no numbers are
        passed over.
    """
    values = {name: getattr(parameters, name).default for name in NAMES}
    for version in sorted(versions, key=lambda row: (row.valid_from, row.source != LEARNED, row.source)):
        if version.name in values and math.isfinite(version.value):
            bounds = getattr(parameters, version.name)
            values[version.name] = min(max(version.value, bounds.low), bounds.high)
    return Thresholds(**values)


def expected_edge(proposal: Proposal, confidence: float) -> float | None:
    """What the opportunity is worth; None where neither risk nor profit is known.

    * of an arbitrage: its profit after fees in percent of what goes round, so 0.05 is five basis points;
    * of a single order: confidence x reward/risk - (1 - confidence), the expected result per unit of risk if the
      confidence were the chance of reaching the target, so 0.05 is a twentieth of what is risked.
    """
    if proposal.profit_percent is not None:
        return proposal.profit_percent
    if proposal.reward_to_risk is not None:
        return confidence * proposal.reward_to_risk - (1 - confidence)
    return None


def _excess(value: float, mark: float) -> float:
    """How far ``value`` is beyond the mark, in 0…1; 0 when it is NaN."""
    return (value - mark) / (1 - mark) if value > mark else 0.0
