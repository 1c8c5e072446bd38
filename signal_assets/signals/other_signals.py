"""What other strategies and other instruments say at the same time: support or contradiction.

Belongs here: keeping the newest opinion of every strategy on every instrument, and counting them for a proposal. Does
not belong here: whether a signal passes.

An opinion is a sound proposal to buy or to sell, whatever became of it; the newest one of a strategy on an instrument
counts, while it is younger than the window. All of one step are heard before any is judged, so their order does not
matter. Opinions on the same instrument (of other strategies) count as they are; those on another instrument of the
group count when the two have moved together: correlation of minute returns at or beyond ``correlated``, turned around
when it is negative.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled
from signal_assets.event_time import MINUTE
from signal_assets.signals.market_conditions import LEAST_KNOWN
from signal_assets.signals.minute_closes import MinuteCloses, minute_returns
from signal_assets.signals.parameters import SignalParameters
from signal_assets.signals.proposal import Proposal
from signal_assets.signals.score import UNDECIDED, Score, scored

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Agreement(NamedTuple):
    """How many other signals point the same way, and how many the other way."""

    supporting: int
    contradicting: int

    def score(self) -> Score:
        """0.7 + 0.3 x (supporting - contradicting) / (supporting + contradicting + 1); the 1 is a doubt of one voice.

        Examples
        --------
        >>> Agreement(1, 0).score()
        Score(score=0.85, reason='1 support, 0 contradict')
        >>> Agreement(0, 0).score().score
        0.7
        """
        supporting, contradicting = self
        balance = (supporting - contradicting) / (supporting + contradicting + 1)
        return scored(UNDECIDED + 0.3 * balance, f"{supporting} support, {contradicting} contradict")


@compiled(takes="reals, reals", returns="real")
def correlation(one: Reals, other: Reals) -> float:
    """Pearson's correlation over the minutes in which both returns are known (compiled).

    NaN with less than three quarters of them, or when one of the two did not move.
    """
    count = 0
    mean_one = 0.0
    mean_other = 0.0
    for k in range(one.size):
        if not (np.isnan(one[k]) or np.isnan(other[k])):
            count += 1
            mean_one += one[k]
            mean_other += other[k]
    if count < LEAST_KNOWN * one.size:
        return np.nan
    mean_one /= count
    mean_other /= count
    both = 0.0
    squares_one = 0.0
    squares_other = 0.0
    for k in range(one.size):
        if not (np.isnan(one[k]) or np.isnan(other[k])):
            both += (one[k] - mean_one) * (other[k] - mean_other)
            squares_one += (one[k] - mean_one) ** 2
            squares_other += (other[k] - mean_other) ** 2
    if squares_one == 0 or squares_other == 0:
        return np.nan
    return float(both / np.sqrt(squares_one * squares_other))


@compiled(takes="own real rows, integers, flags, integer, integer", returns="own real rows")
def returns_of(closes: Reals, newest: Integers, wanted: Flags, minute: int, window: int) -> Reals:
    """Minute returns of the wanted instruments of a group, one row each; the others' are NaN (compiled)."""
    returns = np.full((newest.size, window), np.nan)
    for place in range(newest.size):
        if wanted[place]:
            returns[place] = minute_returns(closes[place], newest[place], minute, window)
    return returns


@compiled(takes="own real rows, integer, integers, integers, real", returns="integer, integer")
def voices_elsewhere(returns: Reals, place: int, buys: Integers, sells: Integers, correlated: float) -> tuple[int, int]:
    """Opinions on other instruments that support and that contradict buying the one at ``place`` (compiled)."""
    supporting = 0
    contradicting = 0
    for other in range(buys.size):
        if other == place or buys[other] + sells[other] == 0:
            continue
        together = correlation(returns[place], returns[other])
        if together >= correlated:
            supporting += buys[other]
            contradicting += sells[other]
        elif together <= -correlated:
            supporting += sells[other]
            contradicting += buys[other]
    return supporting, contradicting


class OtherSignals:
    """The newest opinions of a group.

    Parameters
    ----------
    closes : MinuteCloses
        Of the same group; correlations are taken from them.
    """

    def __init__(self, closes: MinuteCloses, parameters: SignalParameters) -> None:
        self._closes = closes
        self._parameters = parameters
        self._opinions: dict[tuple[str, str], tuple[int, int]] = {}
        self._heard: dict[int, tuple[int, int]] = {}
        self._buys: Integers = np.zeros(len(closes.place), np.int64)
        self._sells: Integers = np.zeros(len(closes.place), np.int64)
        self._returns: Reals = np.empty((0, 0))

    def take(self, time: int, proposals: Sequence[Proposal]) -> None:
        """Hear all proposals of one step and forget what has grown old."""
        for proposal in proposals:
            if proposal.direction:
                self._opinions[proposal.instrument.key, proposal.record.strategy] = (time, proposal.direction)
        oldest = time - self._parameters.other_signals_window
        self._opinions = {who: opinion for who, opinion in self._opinions.items() if opinion[0] > oldest}
        self._buys[:] = self._sells[:] = 0
        for (key, _), (_, direction) in self._opinions.items():
            (self._buys if direction > 0 else self._sells)[self._closes.place[key]] += 1
        self._heard.clear()
        self._returns = returns_of(
            self._closes.closes,
            np.array(self._closes.newest, np.int64),
            self._buys + self._sells > 0,
            time // MINUTE,
            self._parameters.correlation_window,
        )

    def agreement(self, proposal: Proposal) -> Agreement:
        """What the others say to a proposal of the step just heard; nothing to one without a direction."""
        if not proposal.direction:
            return Agreement(0, 0)
        key, strategy = proposal.instrument.key, proposal.record.strategy
        place = self._closes.place[key]
        if place not in self._heard:
            self._heard[place] = voices_elsewhere(
                self._returns, place, self._buys, self._sells, self._parameters.correlated
            )
        buying, selling = self._heard[place]
        buying, selling = buying + int(self._buys[place]), selling + int(self._sells[place])
        supporting, contradicting = (buying, selling) if proposal.direction > 0 else (selling, buying)
        _, own = self._opinions[key, strategy]
        return Agreement(supporting - (own == proposal.direction), contradicting - (own != proposal.direction))

    def state(self) -> list[list[Any]]:
        """Instrument, strategy, time and direction of every opinion."""
        return [[*who, *opinion] for who, opinion in sorted(self._opinions.items())]

    def restore(self, state: Sequence[Sequence[Any]]) -> None:
        """Go on from a state; opinions on instruments that are gone are left out."""
        self._opinions = {
            (key, strategy): (time, direction) for key, strategy, time, direction in state if key in self._closes.place
        }
