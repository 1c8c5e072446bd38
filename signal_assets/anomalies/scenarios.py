"""Built-in scenarios: series with a value a minute in which it is known what happened when.

Belongs here: how they are made, and which seeds are for choosing and which for reporting. Does not belong here:
detectors; how well their alerts find what was planted (``truth_score``).

A series is level + season + planted events + noise, in a unit of its own. The season is a wave of a day with its
first harmonic, half as high at weekends, and in complex patterns a wave of a week besides.

| scenario | planted |
| --- | --- |
| gradual_drift | 4 drifts: over 6 to 18 hours the level moves by 2 to 6 reaches and stays there |
| sudden_spikes | 12 spikes: 1 to 3 values lie 2 to 6 reaches above or below |
| complex_patterns | 4 level shifts by 1.5 to 5 reaches; 4 spikes; 4 times, for 1 to 4 hours, 3 to 6 times the noise |

Sizes are given in **reaches** of the noise: how far one value of it in 100,000 lies from its median, 4.4 σ for normal
noise. So what is planted is beyond what the noise does by itself, whatever its tail.

| noise | what it is like | reach |
| --- | --- | --- |
| normal | independent, σ = 1 | 4.42 |
| heavy_tailed | Student's t with 5 degrees of freedom | 17.9 |
| skewed | log-normal with σ = 0.5 less its median, like a volume; spikes go upwards | 7.44 |
| quantized | normal; season, events and noise together are rounded to multiples of 2 | 5.42 |
| correlated | normal, each value 0.7 times the one before and something new | 4.42 |

Nothing is planted on the first day. Between the end of one event and the beginning of the next lie at least 4 hours.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtri, stdtrit

from signal_assets.event_time import DAY, MINUTE

Reals = NDArray[np.float64]

ROWS_A_DAY: Final = DAY // MINUTE
START: Final = 20_094 * DAY
"""Monday, 2025-01-06."""
APART: Final = 240
"""Least number of values between two events."""
LASTING: Final = 60
"""A level shift counts as found within so many values."""
TRAIN_SEEDS: Final = range(1_000, 1_006)
"""For choosing parameters."""
TEST_SEEDS: Final = range(2_000, 2_006)
"""For reporting, never for choosing."""

RARE: Final = 1e-5
"""Share of the noise that lies beyond its reach."""
DEGREES: Final = 5.0
SPREAD: Final = 0.5
TICK: Final = 2.0
CORRELATION: Final = 0.7


class Noise(NamedTuple):
    """A kind of noise; see the module.

    Parameters
    ----------
    draw : callable
        So many values of it.
    reach : float
        How far RARE of its values lie from its median.
    tick : float
        What the series is rounded to multiples of; 0: nothing.
    both_ways : bool
        Whether spikes go down too.
    """

    draw: Callable[[np.random.Generator, int], Reals]
    reach: float
    tick: float = 0.0
    both_ways: bool = True


def _correlated(chance: np.random.Generator, count: int) -> Reals:
    fresh = math.sqrt(1 - CORRELATION**2) * chance.standard_normal(count)
    return np.asarray(lfilter([1.0], [1.0, -CORRELATION], fresh))


_NORMAL_REACH: Final = float(-ndtri(RARE / 2))

NOISES: Final[dict[str, Noise]] = {
    "normal": Noise(lambda chance, count: chance.standard_normal(count), _NORMAL_REACH),
    "heavy_tailed": Noise(lambda chance, count: chance.standard_t(DEGREES, count), float(-stdtrit(DEGREES, RARE / 2))),
    "skewed": Noise(
        lambda chance, count: np.exp(SPREAD * chance.standard_normal(count)) - 1,
        math.exp(-SPREAD * float(ndtri(RARE))) - 1,
        both_ways=False,
    ),
    "quantized": Noise(lambda chance, count: chance.standard_normal(count), _NORMAL_REACH + TICK / 2, TICK),
    "correlated": Noise(_correlated, _NORMAL_REACH),
}

SCENARIOS: Final[dict[str, dict[str, int]]] = {
    "gradual_drift": {"drift": 4},
    "sudden_spikes": {"spike": 12},
    "complex_patterns": {"level_shift": 4, "variance_change": 4, "spike": 4},
}
"""How many events of which kind each plants."""


class _Kind(NamedTuple):
    least_rows: int
    most_rows: int
    least_size: float
    most_size: float


_KINDS: Final = {
    "drift": _Kind(360, 1_080, 2.0, 6.0),
    "spike": _Kind(1, 3, 2.0, 6.0),
    "level_shift": _Kind(LASTING, LASTING, 1.5, 5.0),
    "variance_change": _Kind(60, 240, 3.0, 6.0),
}


class Event(NamedTuple):
    """Something planted.

    Parameters
    ----------
    kind : str
        drift, spike, level_shift or variance_change.
    first, last : int
        Rows in which it happens; of a level shift the first LASTING ones, of a drift those in which the level moves.
    size : float
        Signed, in reaches of the noise; of a variance change how many times as wide the noise is.
    """

    kind: str
    first: int
    last: int
    size: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """One series and what was planted in it.

    Parameters
    ----------
    name : str
        ``<scenario>.<noise>.<seed>``.
    times : ndarray of int64
        µs UTC, a minute apart.
    values, undisturbed : ndarray of float64
        The series, and what it would be without the events.
    reach : float
        The noise's, in the series' unit.
    events : tuple of Event
        In order of time.
    """

    name: str
    times: NDArray[np.int64]
    values: Reals
    undisturbed: Reals
    reach: float
    events: tuple[Event, ...]

    def truth(self) -> pd.DataFrame:
        """The events as :mod:`~signal_assets.anomalies.truth_score` takes them: instrument, kind, start, end, size."""
        rows = [
            (self.name, event.kind, int(self.times[event.first]), int(self.times[event.last]), event.size)
            for event in self.events
        ]
        return pd.DataFrame(rows, columns=["instrument", "kind", "start", "end", "size"])


def make_scenario(scenario: str, noise: str, seed: int, days: int = 14) -> Scenario:
    """Make one series; the same arguments give the same bits.

    Parameters
    ----------
    scenario, noise : str
        Of SCENARIOS and NOISES.
    seed : int
        See TRAIN_SEEDS and TEST_SEEDS.
    days : int
        Length; the events have room in seven or more.

    Raises
    ------
    ValueError
        If a name is unknown or the events have no room.

    Examples
    --------
    >>> made = make_scenario("sudden_spikes", "normal", seed=1)
    >>> spike = made.events[0]
    >>> moved = (made.values - made.undisturbed)[spike.first - 1 : spike.last + 2] / made.reach
    >>> bool(np.allclose(moved, [0, *[spike.size] * (spike.last - spike.first + 1), 0]))
    True
    """
    if scenario not in SCENARIOS or noise not in NOISES:
        raise ValueError(f"no scenario {scenario!r} with noise {noise!r}; there are {[*SCENARIOS]} and {[*NOISES]}")
    if days < 7:
        raise ValueError(f"the events have no room in {days} days, 7 are needed")
    kind = NOISES[noise]
    chance = np.random.default_rng([seed, *scenario.encode(), 0, *noise.encode()])
    rows = days * ROWS_A_DAY
    times = START + MINUTE * np.arange(rows)
    unit = 10.0 ** chance.uniform(-2, 3)
    level = 40 * kind.reach + kind.reach * season(rows, scenario == "complex_patterns", chance)
    drawn = kind.draw(chance, rows)
    events = _place(SCENARIOS[scenario], rows, kind.both_ways, chance)
    moved, width = _effect(events, rows)

    def as_seen(values: Reals) -> Reals:
        return np.asarray(unit * (kind.tick * np.rint(values / kind.tick) if kind.tick else values))

    return Scenario(
        name=f"{scenario}.{noise}.{seed}",
        times=times,
        values=as_seen(level + kind.reach * moved + width * drawn),
        undisturbed=as_seen(level + drawn),
        reach=unit * kind.reach,
        events=events,
    )


def season(rows: int, weekly: bool, chance: np.random.Generator) -> Reals:
    """Waves of a day, half as high around the weekend's middle, and of a week if wanted; in reaches, mean near 0."""
    minute = np.arange(rows)
    day = 2 * np.pi * minute / ROWS_A_DAY
    height, second = chance.uniform(0.4, 1.6), chance.uniform(0.1, 0.5)
    phases = chance.uniform(0, 2 * np.pi, 3)
    wave = height * (np.sin(day + phases[0]) + second * np.sin(2 * day + phases[1]))
    weekend = np.abs(minute / ROWS_A_DAY % 7 - 6) < 1  # Saturday and Sunday
    calm = weekend * (1 + np.cos(np.pi * (minute / ROWS_A_DAY % 7 - 6))) / 2
    week = chance.uniform(0.4, 1.2) * np.sin(day / 7 + phases[2]) if weekly else 0.0
    return np.asarray(wave * (1 - calm / 2) + week)


def _place(counts: dict[str, int], rows: int, both_ways: bool, chance: np.random.Generator) -> tuple[Event, ...]:
    """One event in each of equal slots after the first day, in random order."""
    kinds = chance.permutation([kind for kind, count in counts.items() for _ in range(count)]).tolist()
    slot = (rows - ROWS_A_DAY) // len(kinds)
    events = []
    for number, name in enumerate(kinds):
        kind = _KINDS[name]
        length = int(chance.integers(kind.least_rows, kind.most_rows + 1))
        first = ROWS_A_DAY + number * slot + int(chance.integers(APART, slot - length + 1))
        size = float(chance.uniform(kind.least_size, kind.most_size))
        downwards = name != "variance_change" and (both_ways or name != "spike") and chance.random() < 0.5
        events.append(Event(name, first, first + length - 1, -size if downwards else size))
    return tuple(events)


def _effect(events: tuple[Event, ...], rows: int) -> tuple[Reals, Reals]:
    """How far each row is moved, in reaches, and how many times as wide its noise is."""
    moved, width = np.zeros(rows), np.ones(rows)
    for kind, first, last, size in events:
        if kind == "variance_change":
            width[first : last + 1] = size
        elif kind == "spike":
            moved[first : last + 1] += size
        elif kind == "level_shift":
            moved[first:] += size
        else:
            length = last - first + 1
            moved[first : last + 1] += size * np.arange(1, length + 1) / length
            moved[last + 1 :] += size
    return moved, width
