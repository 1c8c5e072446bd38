"""Moving-average crossover: goes with the fast average when it crosses the slow one.

Belongs here: what a crossing is, what it proposes. Does not belong here: bars, the averages themselves, validation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any, ClassVar, Final, Literal

from signal_assets.event_time import HOUR
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from signal_assets.strategies.average_true_range import AverageTrueRange
from signal_assets.strategies.bars import TIMEFRAMES, Bar, Bars
from signal_assets.strategies.bracket import bracket
from signal_assets.strategies.moving_averages import AVERAGES, Average, moving_averages
from signal_assets.strategies.strategy import Candidate, Strategy

SETTLED: Final = 5
"""An endless filter counts as settled after this many times its length: what it began with weighs below 1 %."""


@dataclass(frozen=True, slots=True)
class MovingAverageCrossoverParameters:
    """Which averages, on which bars, and what is risked.

    Parameters
    ----------
    average : str
        sma (simple), ema (exponential) or wma (linearly weighted).
    fast_bars, slow_bars : int
        Lengths of the averages; fast is shorter.
    timeframes : tuple of str
        Names of ``TIMEFRAMES``, each once.
    atr_bars : int
        Length of the average true range.
    stop_ranges, target_ranges : float
        Distances from the entry in average true ranges.

    Raises
    ------
    ValueError
        If a number lies outside its bounds or a name is unknown.
    """

    average: Average = "sma"
    fast_bars: int = 9
    slow_bars: int = 21
    timeframes: tuple[str, ...] = tuple(TIMEFRAMES)
    atr_bars: int = 14
    stop_ranges: float = 1.5
    target_ranges: float = 3.0

    def __post_init__(self) -> None:
        if self.average not in AVERAGES:
            raise ValueError(f"average must be one of {', '.join(AVERAGES)}, not {self.average!r}")
        if not 1 <= self.fast_bars < self.slow_bars:
            raise ValueError(f"bars must be 1 ≤ fast < slow, not {self.fast_bars} and {self.slow_bars}")
        if not self.timeframes or any(
            self.timeframes.count(name) > 1 or name not in TIMEFRAMES for name in self.timeframes
        ):
            raise ValueError(f"timeframes must be some of {', '.join(TIMEFRAMES)}, each once, not {self.timeframes}")
        for name in ("atr_bars", "stop_ranges", "target_ranges"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")


class _Track:
    """What is remembered of one instrument on one timeframe; ``sign``: that of the last fast - slow, 0 before any."""

    __slots__ = ("_slow_bars", "averages", "bars", "instrument", "range", "sign", "timeframe")

    def __init__(self, instrument: Instrument, timeframe: str, parameters: MovingAverageCrossoverParameters) -> None:
        self.instrument = instrument
        self.timeframe = timeframe
        self.bars = Bars(TIMEFRAMES[timeframe])
        self.averages = moving_averages(parameters.average, parameters.fast_bars, parameters.slow_bars)
        self.range = AverageTrueRange(parameters.atr_bars)
        self.sign = 0
        self._slow_bars = parameters.slow_bars

    def close(self, bar: Bar) -> bool:
        """Take in a closed bar; whether the averages crossed with it."""
        self.range.add(bar)
        self.averages.add(bar.close)
        fast, slow = self.averages.fast, self.averages.slow
        sign = int(fast > slow) - int(fast < slow)
        if sign == 0 or self.range.count < self._slow_bars:
            return False
        before, self.sign = self.sign, sign
        return sign == -before


class MovingAverageCrossover(Strategy[MovingAverageCrossoverParameters]):
    """Fires when the fast average of closes crosses the slow one, on each timeframe by itself.

    One step per closed bar. A cross is a change of the sign of fast - slow against the bar before; a difference of
    exactly zero has no sign and is passed over. Averages count from the ``slow_bars``-th bar on, whichever they are,
    and nothing is proposed before the average true range has its length.

    Simple averages (the default: they forget, and the spec leaves it open) and weighted ones are made anew from exactly
    the window with each bar; exponential ones and the average true range are endless filters kept in the state. Rows
    made before those have settled (``SETTLED`` times the longest length) say ``warming`` in their metadata.

    The entry price is the best ask (buy) or bid (sell) of the row that closed the bar; stop and target lie 1.5 and 3
    average true ranges away, on ticks, rounded towards the loss. ``raw_confidence = min(0.9, 0.5 + abs(fast - slow) /
    average true range)``: 0.5 for averages that only just cross, 0.9 if they part by 0.4 ranges within the bar.

    Metadata: ``average``, ``fast``, ``slow``, ``average_true_range`` (quote currency), ``separation`` (in ranges),
    ``bars`` (closed since the cold start), ``warming``, ``bar_end`` (µs UTC).
    """

    name: ClassVar[str] = "moving_average_crossover"
    family: ClassVar[str] = "trend_following"
    tier: ClassVar[Literal["fast", "tactical", "strategic", "learning"]] = "tactical"
    look_back: ClassVar[int] = SETTLED * 21 * 4 * HOUR
    inputs: ClassVar[tuple[str, ...]] = ("best_bid", "best_ask", "last_price")

    def __init__(self, instruments: Sequence[Instrument], parameters: MovingAverageCrossoverParameters) -> None:
        super().__init__(instruments, parameters)
        self._tracks = {
            instrument.key: tuple(_Track(instrument, timeframe, parameters) for timeframe in parameters.timeframes)
            for instrument in self.instruments
        }
        self._settled = SETTLED * max(parameters.slow_bars, parameters.atr_bars)

    def step(self, time: int, features: Mapping[str, Any]) -> list[Candidate]:
        """Bars that close now, timeframe by timeframe."""
        candidates = []
        for key, tracks in self._tracks.items():
            row = features.get(key)
            if row is None:
                continue
            for track in tracks:
                for bar in track.bars.add(time, row.last_price, volume=0):
                    if track.close(bar) and (candidate := self._proposed(track, row, bar.end)):
                        candidates.append(candidate)
        return candidates

    def _proposed(self, track: _Track, row: Any, bar_end: int) -> Candidate | None:
        given, reach = self.parameters, track.range.value
        if track.range.count < given.atr_bars:
            return None
        action: Literal["buy", "sell"] = "buy" if track.sign > 0 else "sell"
        entry = row.best_ask if action == "buy" else row.best_bid
        stop_distance, target_distance = ceil(given.stop_ranges * reach), floor(given.target_ranges * reach)
        prices = bracket(action, entry, stop_distance, target_distance, track.instrument.tick_size)
        if prices is None:
            return None
        fast, slow = track.averages.fast, track.averages.slow
        separation = abs(fast - slow) / reach
        return Candidate(
            instrument=track.instrument.key,
            timeframe=track.timeframe,
            action=action,
            entry_price=entry,
            stop_loss=prices[0],
            take_profit=prices[1],
            raw_confidence=min(0.9, 0.5 + separation),
            metadata={
                "average": given.average,
                "fast": fast / SCALE,
                "slow": slow / SCALE,
                "average_true_range": reach / SCALE,
                "separation": separation,
                "bars": track.range.count,
                "warming": track.range.count < self._settled,
                "bar_end": bar_end,
            },
        )

    def state(self) -> dict[str, Any]:
        """Per instrument and timeframe the open bar, the averages, the range and the sign of their difference."""
        return {
            key: {
                track.timeframe: {
                    "bars": track.bars.state(),
                    self.parameters.average: track.averages.state(),
                    "range": track.range.state(),
                    "sign": track.sign,
                }
                for track in tracks
            }
            for key, tracks in self._tracks.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        for key, tracks in self._tracks.items():
            for track in tracks:
                kept = state.get(key, {}).get(track.timeframe)
                if kept is None:
                    continue
                track.bars.restore(kept["bars"])
                track.range.restore(kept["range"])
                track.sign = kept["sign"]
                if self.parameters.average in kept:
                    track.averages.restore(kept[self.parameters.average])
