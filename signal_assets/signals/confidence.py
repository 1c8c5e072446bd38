"""Confidence: how sure one may be of a signal, from seven weighted factors.

Belongs here: the factors and their sum. Does not belong here: whether the signal passes (``validation``,
``thresholds``).
"""

import math
from dataclasses import dataclass, fields

from signal_assets.signals.market_conditions import Conditions
from signal_assets.signals.parameters import ConfidenceWeights, SignalParameters
from signal_assets.signals.proposal import Proposal
from signal_assets.signals.score import FAVOURABLE, NEUTRAL, UNFAVOURABLE, Score, scored

FACTORS = tuple(field.name for field in fields(ConfidenceWeights))


@dataclass(frozen=True, slots=True)
class Confidence:
    """The seven factors by name, and their weighted sum in 0…1."""

    factors: dict[str, Score]
    value: float


def confidence(
    proposal: Proposal,
    conditions: Conditions,
    recent_performance: float | None,
    time_of_day: Score,
    market_session: Score,
    correlation: Score,
    opportunity_threshold: float,
    parameters: SignalParameters,
) -> Confidence:
    """Weighted sum of the factors, clamped to 0…1.

    Parameters
    ----------
    recent_performance : float or None
        Score of the strategy as of the last closed day; None: no record yet.
    """
    factors = {
        "risk_reward": risk_reward(proposal, opportunity_threshold),
        "recent_performance": record_so_far(recent_performance),
        "atr_environment": range_environment(conditions),
        "volatility_regime": volatility_regime(conditions, parameters),
        "time_of_day": time_of_day,
        "market_session": market_session,
        "correlation": correlation,
    }
    value = math.fsum(getattr(parameters.weights, name) * factors[name].score for name in FACTORS)
    return Confidence(factors, round(min(max(value, 0.0), 1.0), 9))


def risk_reward(proposal: Proposal, opportunity_threshold: float) -> Score:
    """R / (1 + R) with R = reward/risk: one less the share of wins that just breaks even. 0.5 where nothing is known.

    Of an arbitrage R is its profit over the opportunity threshold, so the least that is acted on scores 0.5.
    """
    if proposal.profit_percent is not None:
        ratio = max(proposal.profit_percent, 0.0) / opportunity_threshold
        return scored(ratio / (1 + ratio), f"profit {proposal.profit_percent:.3f} %")
    if proposal.reward_to_risk is not None:
        ratio = proposal.reward_to_risk
        return scored(ratio / (1 + ratio), f"reward/risk {ratio:.2f}")
    return Score(0.5, "neither risk nor profit known")


def record_so_far(recent_performance: float | None) -> Score:
    """The strategy's shrunk win rate; 0.5, what it is shrunk to, without a record."""
    if recent_performance is None or math.isnan(recent_performance):
        return Score(0.5, "no record yet")
    return scored(recent_performance, "win rate as of the last closed day")


def range_environment(conditions: Conditions) -> Score:
    """The smaller of ratio and 1 / ratio, the ratio being the average range now over the usual one: 1 when they agree.

    Half or twice the usual range scores 0.5: the target is out of reach in the one, the stop within the noise of the
    other. 0.5 where it is not known.
    """
    ratio = conditions.range_ratio
    if math.isnan(ratio):
        return Score(0.5, "not enough history")
    return scored(min(ratio, 1 / ratio) if ratio > 0 else 0.0, f"{ratio:.2f} x the usual range")


def volatility_regime(conditions: Conditions, parameters: SignalParameters) -> Score:
    """Volatile is unfavourable, usual favourable, quiet (as far below the middle as volatile is above) neutral."""
    rank = conditions.volatility
    if math.isnan(rank):
        return Score(NEUTRAL, "not enough history")
    if rank > parameters.volatile:
        return Score(UNFAVOURABLE, f"volatile, rank {rank:.2f}")
    if rank < 1 - parameters.volatile:
        return Score(NEUTRAL, f"quiet, rank {rank:.2f}")
    return Score(FAVOURABLE, f"usual, rank {rank:.2f}")
