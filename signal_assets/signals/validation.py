"""Validation: six scored checks, of which the mean must lie above 0.7.

Belongs here: the checks and why they score what they score. Does not belong here: soundness (``sanity``), how sure one
may be of the signal (``confidence``).

A market's neutral state scores 0.6 (section 11 of the specification). Against it stands 0.8 for news, of which there is
no source yet; every other check that knows nothing scores 0.7. So of an unknown market the six have a mean of exactly
the pass mark, which does not pass: what is not known neither carries nor fails a signal. An ordinary sound one passes
in a market without history on its own merits, the technical criteria, and not by much.
"""

import math
from dataclasses import dataclass
from typing import Final

from signal_assets.signals.market_conditions import Conditions
from signal_assets.signals.parameters import SignalParameters
from signal_assets.signals.proposal import Proposal
from signal_assets.signals.score import FAVOURABLE, NEUTRAL, UNDECIDED, UNFAVOURABLE, Score, scored

NO_NEWS: Final = Score(0.8, "no news source")
"""The counterweight of the market's neutral 0.6: alone it neither passes nor fails a signal."""


@dataclass(frozen=True, slots=True)
class Validation:
    """The six checks by name, their mean, and whether it lies above the pass mark."""

    checks: dict[str, Score]
    mean: float
    passed: bool


def validation(
    proposal: Proposal,
    conditions: Conditions,
    time_of_day: Score,
    correlation: Score,
    opportunity_threshold: float,
    parameters: SignalParameters,
) -> Validation:
    """Score the six checks; the mean is taken on nine decimals, so that rounding never decides."""
    checks = {
        "technical": technical(proposal, conditions, opportunity_threshold, parameters),
        "market_conditions": market_state(proposal, conditions, parameters),
        "volatility": usual_volatility(conditions),
        "time_of_day": time_of_day,
        "news": NO_NEWS,
        "correlation": correlation,
    }
    mean = round(math.fsum(check.score for check in checks.values()) / len(checks), 9)
    return Validation(checks, mean, mean > parameters.minimum_mean_score)


def technical(
    proposal: Proposal, conditions: Conditions, opportunity_threshold: float, parameters: SignalParameters
) -> Score:
    """Technical criteria: the mean of those that apply.

    * the strategy's own confidence;
    * of a single order: reward/risk over the least that earns full marks, at most 1;
    * of an arbitrage: its profit (percent) over the opportunity threshold, at most 1;
    * of a trend-following one: (1 + trend in its direction) / 2, or 0.5 while the trend is not known.
    """
    parts = [proposal.record.raw_confidence]
    reasons = [f"raw confidence {proposal.record.raw_confidence:.2f}"]
    if proposal.reward_to_risk is not None:
        parts.append(min(proposal.reward_to_risk / parameters.minimum_reward_to_risk, 1.0))
        reasons.append(f"reward/risk {proposal.reward_to_risk:.2f}")
    if proposal.profit_percent is not None:
        parts.append(min(max(proposal.profit_percent / opportunity_threshold, 0.0), 1.0))
        reasons.append(f"profit {proposal.profit_percent:.3f} %")
    if proposal.follows_trend and proposal.direction:
        along = 0.0 if math.isnan(conditions.trend) else proposal.direction * conditions.trend
        parts.append((1 + along) / 2)
        reasons.append("trend not known" if math.isnan(conditions.trend) else f"trend {along:+.2f} its way")
    return scored(math.fsum(parts) / len(parts), ", ".join(reasons))


def market_state(proposal: Proposal, conditions: Conditions, parameters: SignalParameters) -> Score:
    """A strong trend is good for what follows trends, a volatile market is bad for the rest; neutral otherwise.

    The trend is asked first: a market that runs is volatile as well, and is what trend-following waits for.
    """
    if proposal.follows_trend and abs(conditions.trend) > parameters.trending:
        return Score(FAVOURABLE, f"trending, strength {abs(conditions.trend):.2f}")
    if conditions.volatility > parameters.volatile:
        return Score(UNFAVOURABLE, f"volatile, rank {conditions.volatility:.2f}")
    return Score(NEUTRAL, "neutral")


def usual_volatility(conditions: Conditions) -> Score:
    """1 - |rank - 0.5|: 1 at the middle, 0.7 at the marks of quiet (0.2) and volatile (0.8)."""
    if math.isnan(conditions.volatility):
        return Score(UNDECIDED, "not enough history")
    return scored(1 - abs(conditions.volatility - 0.5), f"rank {conditions.volatility:.2f}")
