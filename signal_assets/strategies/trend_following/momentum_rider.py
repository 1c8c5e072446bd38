"""Momentum rider: goes with a move that is large against what the last bars would make one expect.

Belongs here: the score, when it fires, what it proposes. Does not belong here: bars (``bars``), validation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled
from signal_assets.event_time import MINUTE
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from signal_assets.strategies.bars import TIMEFRAMES, Bars, NewestValues
from signal_assets.strategies.bracket import bracket
from signal_assets.strategies.strategy import Candidate, Strategy

Integers = NDArray[np.int64]

TIMEFRAME: Final = "1m"


@dataclass(frozen=True, slots=True)
class MomentumRiderParameters:
    """What counts as momentum, and what is risked on it.

    Parameters
    ----------
    return_bars : int
        Bars of the return that is scored.
    volatility_bars : int
        Bars of the window of volatility and mean volume; not fewer than ``return_bars``, at least 2.
    threshold : float
        Least absolute score that fires.
    stop, target : int
        Distance from the entry as a fraction of it, units of 1e-8.
    volume_multiple : float
        Volume confirms from this multiple of its mean on.
    unconfirmed_factor : float
        What the confidence is multiplied with where volume does not confirm.

    Raises
    ------
    ValueError
        If a number lies outside its bounds.
    """

    return_bars: int = 20
    volatility_bars: int = 100
    threshold: float = 1.5
    stop: int = 2_000_000
    target: int = 3_000_000
    volume_multiple: float = 1.5
    unconfirmed_factor: float = 0.8

    def __post_init__(self) -> None:
        if not 1 <= self.return_bars <= self.volatility_bars or self.volatility_bars < 2:
            raise ValueError(
                f"return_bars must lie in 1…volatility_bars, those from 2: {self.return_bars}, {self.volatility_bars}"
            )
        for name in ("threshold", "volume_multiple"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("stop", "target"):
            if not 0 < getattr(self, name) < SCALE:
                raise ValueError(
                    f"{name} must be a fraction between 0 and 1 in units of 1e-8, not {getattr(self, name)}"
                )
        if not 0 <= self.unconfirmed_factor <= 1:
            raise ValueError(f"unconfirmed_factor must lie in 0…1, not {self.unconfirmed_factor}")


@compiled(takes="integers", returns="real")
def return_deviation(close: Integers) -> float:
    """Sample standard deviation (ddof 1) of the simple one-bar returns, in two passes (compiled)."""
    count = close.size - 1
    total = 0.0
    for i in range(count):
        total += close[i + 1] / close[i] - 1.0
    mean = total / count
    squares = 0.0
    for i in range(count):
        distance = close[i + 1] / close[i] - 1.0 - mean
        squares += distance * distance
    return float(np.sqrt(squares / (count - 1)))


class _Track:
    """What is remembered of one instrument; ``direction``: the side on which the last score was, 0 inside."""

    __slots__ = ("bars", "closes", "direction", "instrument", "volumes")

    def __init__(self, instrument: Instrument, parameters: MomentumRiderParameters) -> None:
        self.instrument = instrument
        self.bars = Bars(TIMEFRAMES[TIMEFRAME])
        self.closes = NewestValues(parameters.volatility_bars + 1)
        self.volumes = NewestValues(parameters.volatility_bars)
        self.direction: int | None = None


class MomentumRider(Strategy[MomentumRiderParameters]):
    r"""Fires when the 20-minute return leaves what volatility explains.

    On every closed minute bar ``score = (c₀ / c₂₀ - 1) / (σ · √20)`` with closes c and σ the sample standard deviation
    (ddof 1) of the 100 newest simple one-bar returns; without any volatility the score is 0. It fires when
    ``abs(score)`` reaches the threshold: if the bar before was inside or on the other side – not on every bar that it
    stays there, and not on the first bar that can be scored, since nothing is known of the one before.

    The entry price is the best ask (buy) or bid (sell) of the row that closed the bar, stop and target are fractions of
    it on ticks, rounded towards the loss. ``raw_confidence = min(0.9, 0.5 · abs(score) / threshold)``, times 0.8 unless
    the bar's volume is at least 1.5 times the mean of the 100 newest bars, itself included. All numbers but the 0.9 and
    the 0.5 are parameters.

    Metadata: ``momentum_strength`` (abs(score)), ``trend_direction`` (up, down), ``volume_confirmation``,
    ``momentum_return``, ``volatility`` (σ), ``relative_volume``, ``bar_end`` (µs UTC).
    """

    name: ClassVar[str] = "momentum_rider"
    family: ClassVar[str] = "trend_following"
    tier: ClassVar[Literal["fast", "tactical", "strategic", "learning"]] = "tactical"
    look_back: ClassVar[int] = 102 * MINUTE
    inputs: ClassVar[tuple[str, ...]] = ("best_bid", "best_ask", "buy_quantity", "sell_quantity", "last_price")

    def __init__(self, instruments: Sequence[Instrument], parameters: MomentumRiderParameters) -> None:
        super().__init__(instruments, parameters)
        self._tracks = {instrument.key: _Track(instrument, parameters) for instrument in self.instruments}

    def step(self, time: int, features: Mapping[str, Any]) -> list[Candidate]:
        """Bars that close now, scored."""
        candidates = []
        for key, track in self._tracks.items():
            row = features.get(key)
            if row is None:
                continue
            for bar in track.bars.add(time, row.last_price, row.buy_quantity + row.sell_quantity):
                track.closes.add(bar.close)
                track.volumes.add(bar.volume)
                if track.closes.full and (candidate := self._scored(track, row, bar.end)):
                    candidates.append(candidate)
        return candidates

    def _scored(self, track: _Track, row: Any, bar_end: int) -> Candidate | None:
        given = self.parameters
        closes = track.closes.values
        change = int(closes[-1]) / int(closes[-1 - given.return_bars]) - 1.0
        deviation = return_deviation(closes)
        score = change / (deviation * sqrt(given.return_bars)) if deviation > 0 else 0.0
        before, track.direction = track.direction, int(score >= given.threshold) - int(score <= -given.threshold)
        if before is None or track.direction in (0, before):
            return None
        action: Literal["buy", "sell"] = "buy" if track.direction > 0 else "sell"
        entry = row.best_ask if action == "buy" else row.best_bid
        stop_distance, target_distance = -(-entry * given.stop // SCALE), entry * given.target // SCALE
        prices = bracket(action, entry, stop_distance, target_distance, track.instrument.tick_size)
        if prices is None:
            return None
        volumes = track.volumes.values.tolist()
        mean_volume = sum(volumes) / len(volumes)
        relative_volume = volumes[-1] / mean_volume if mean_volume > 0 else 0.0
        confirmed = relative_volume >= given.volume_multiple
        confidence = min(0.9, 0.5 * abs(score) / given.threshold)
        return Candidate(
            instrument=track.instrument.key,
            timeframe=TIMEFRAME,
            action=action,
            entry_price=entry,
            stop_loss=prices[0],
            take_profit=prices[1],
            raw_confidence=confidence if confirmed else confidence * given.unconfirmed_factor,
            metadata={
                "momentum_strength": abs(score),
                "trend_direction": "up" if action == "buy" else "down",
                "volume_confirmation": confirmed,
                "momentum_return": change,
                "volatility": deviation,
                "relative_volume": relative_volume,
                "bar_end": bar_end,
            },
        )

    def state(self) -> dict[str, Any]:
        """Per instrument the open bar, the windows and the side of the last score."""
        return {
            key: {
                "bars": track.bars.state(),
                "closes": track.closes.state(),
                "volumes": track.volumes.state(),
                "direction": track.direction,
            }
            for key, track in self._tracks.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        for key in state.keys() & self._tracks.keys():
            track, kept = self._tracks[key], state[key]
            track.bars.restore(kept["bars"])
            track.closes.restore(kept["closes"])
            track.volumes.restore(kept["volumes"])
            track.direction = kept["direction"]
