"""Profiles with planted peaks and decoys, the truth beside them: what peak detectors are fitted to and measured on.

Belongs here: backgrounds, what is planted, seeds. Does not belong here: any detector, any figure.

**A peak** is volume gathered over several adjacent buckets, more than an isolated order: 4 to 40 buckets wide at half
its height, on whatever lies around it. Its shape varies (Gaussian, triangle, flat top, lopsided) and so does its grain
(each bucket's share is gamma-distributed, coefficient of variation 1/2). Its **contrast** is the distance at which the
best linear filter in log volume, told its shape and place, sees it: the filter's answer to the lift alone over the
standard deviation of its answers to the background alone,

    contrast = Σ s·log(1 + A·s / b) / sd(Σ s·log(background / b)),   s the shape, b the typical volume there,

with the standard deviation taken from the median absolute deviation over all places, so that heavy tails and
autocorrelation count as they are. A detector knows neither background nor shape nor place. Estimating the background
from both sides leaves it about 0.7 of the contrast; among some thousand places and widths 5.5 standard deviations are
needed for one false alarm in ten thousand profiles, and 2.3 more to be there 99 times in 100. So (5.5 + 2.3) / 0.7,
rounded up to 12, is the ``CONTRAST_FLOOR``: the goals are for peaks from there on. Weaker ones are planted and reported
too.

**Decoys** are what stands out without being a peak: single huge orders (one bucket), orders at round prices (every
10th or 50th bucket), steps of the whole level at a round price, plateaus (80 buckets and more: a level, no place),
slopes, holes, and levels that rise towards the profile's end. Peaks may lie on or beside any of them.

Seeds of the train and the test profiles cannot meet: the purpose is part of the seed.
"""

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.measurement import shared_data

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]
Purpose = Literal["train", "test"]

PURPOSES: Final[dict[Purpose, int]] = {"train": 1_000_003, "test": 2_000_003}

BANDS: Final = ((6.0, 9.0), (9.0, 12.0), (12.0, 16.0), (16.0, 24.0), (24.0, 40.0), (40.0, 100.0))
"""Contrast of all peaks of one profile, from … to."""

CONTRAST_FLOOR: Final = 12.0

NARROWEST, WIDEST = 4.0, 40.0
"""Full width of a peak at half its height, in buckets."""

LOWEST: Final = 0.5
HIGHEST: Final = 1_000.0
"""Height of a peak over the typical volume; one that would need another for its contrast is planted elsewhere."""

LEAST_LEVEL: Final = 80
"""Breaks of level lie at least this far apart: a shorter stretch between two of them would be a peak of its own."""

DECOY_WIDTH: Final = {2: (50, 200), 4: (LEAST_LEVEL, 200), 5: (15, 80)}
"""Buckets that a slope, a plateau, a hole takes."""

LEAST_SHAPE: Final = 0.02
"""A peak ends where it is lower than this share of its height."""

LEAST_VOLUME: Final = 0.05
"""Share of the typical volume that an empty bucket counts as in a logarithm."""


@dataclass(frozen=True, slots=True)
class Background:
    """What lies there without peaks.

    Parameters
    ----------
    first : int
        Number of the first bucket.
    level : ndarray of float64
        Typical volume of each bucket.
    noise : ndarray of float64
        What is there over what is typical there; median about 1.
    """

    first: int
    level: Reals
    noise: Reals


@dataclass(frozen=True, slots=True)
class PlantedProfile:
    """A profile and its truth.

    Parameters
    ----------
    price_bucket, volume : ndarray
        As the detectors take them: ascending buckets that hold something.
    place, width, contrast : ndarray of float64
        Centre, full width at half height, and contrast of each planted peak, ascending by place.
    buckets : int
        From the first to the last.
    """

    kind: str
    band: int
    price_bucket: Integers
    volume: Reals
    place: Reals
    width: Reals
    contrast: Reals
    buckets: int


def running_median(row: Reals, window: int) -> Reals:
    """Median of the surrounding ``window`` entries, the row mirrored at its ends."""
    half = window // 2
    padded = np.pad(row, half, mode="reflect")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, window), axis=1))


@lru_cache(maxsize=1)
def recorded_depth() -> tuple[tuple[int, Reals], tuple[int, Reals]] | None:
    """First bucket and dollar buckets of bids and asks of the recorded snapshot; None where it is absent."""
    files = sorted(shared_data("depth5000_btcusdt").glob("*.csv.gz"))
    if not files:
        return None
    sides: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    with gzip.open(files[0], "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            sides[int(row["IsAsk"])].append((float(row["Price"]), float(row["Quantity"])))
    return _by_dollar(np.array(sides[0])), _by_dollar(np.array(sides[1]))


@lru_cache(maxsize=1)
def recorded_trades() -> tuple[int, Reals] | None:
    """First bucket and dollar buckets of the recorded trades; None where they are absent."""
    rows = []
    for file in sorted(shared_data("binance_spot_btcusdt").glob("*.gz")):
        with gzip.open(file, "rt") as lines:
            for line in lines:
                if '"trade"' in line:
                    message = json.loads(line.split(" ", 1)[1])
                    trade = message.get("data", message)
                    rows.append((float(trade["p"]), float(trade["q"])))
    return _by_dollar(np.array(rows)) if rows else None


def _by_dollar(rows: Reals) -> tuple[int, Reals]:
    number = np.floor(rows[:, 0]).astype(np.int64)
    first = int(number.min())
    volume = np.zeros(int(number.max()) - first + 1)
    np.add.at(volume, number - first, rows[:, 1])
    return first, volume


def _level_of(volume: Reals, window: int) -> Reals:
    least = LEAST_VOLUME * float(np.median(volume[volume > 0]))
    return np.exp(running_median(np.log(volume + least), window))


def _rank(bucket: int) -> int:
    """How round a multiple of ten is."""
    return 2 if bucket % 100 == 0 else 1 if bucket % 50 == 0 else 0


@lru_cache(maxsize=1)
def _depth_pool() -> tuple[tuple[Reals, Reals], tuple[Reals, Reals, Reals]]:
    """Levels of both sides from the middle outwards; ten-dollar blocks of noise by how round they begin."""
    sides = recorded_depth()
    assert sides is not None
    levels, blocks = [], ([], [], [])  # type: ignore[var-annotated]
    for side, (first, volume) in enumerate(sides):
        level = _level_of(volume, 101)
        levels.append(level[::-1] if side == 0 else level)
        noise = volume / level
        for start in range(-first % 10, len(volume) - 9, 10):
            blocks[_rank(first + start)].append(noise[start : start + 10])
    pools = (np.array(blocks[0]), np.array(blocks[1]), np.array(blocks[2]))
    return (levels[0], levels[1]), pools


def _depth(chance: np.random.Generator) -> Background:
    """The recorded book resampled: its levels stretched, its noise drawn in ten-dollar blocks of the same roundness."""
    levels, pools = _depth_pool()
    stretch = chance.uniform(0.9, 1.2)
    pieces = []
    for level in levels if chance.random() < 0.5 else levels[::-1]:
        size = int(len(level) * stretch)
        pieces.append(np.exp(np.interp(np.linspace(0, len(level) - 1, size), np.arange(len(level)), np.log(level))))
    row = np.concatenate((pieces[0][::-1], pieces[1]))
    first = 10 * int(chance.integers(3_000, 9_000))
    noise = []
    for bucket in range(first, first + len(row), 10):
        pool = pools[_rank(bucket)]
        noise.append(pool[chance.integers(len(pool))])
    return Background(first, row, np.concatenate(noise)[: len(row)])


def _trades(chance: np.random.Generator) -> Background:
    """The recorded trade profile resampled: its level stretched, its noise drawn in blocks of geometric length."""
    recorded = recorded_trades()
    assert recorded is not None
    level = _level_of(recorded[1], 101)
    noise = recorded[1] / level
    size = int(len(level) * chance.uniform(1.5, 5))
    row = np.exp(np.interp(np.linspace(0, len(level) - 1, size), np.arange(len(level)), np.log(level)))
    drawn: list[Reals] = []
    length = 0
    while length < size:
        block = int(chance.geometric(0.2))
        start = int(chance.integers(len(noise)))
        drawn.append(noise[start : start + block])
        length += len(drawn[-1])
    return Background(int(chance.integers(20_000, 90_000)), row, np.concatenate(drawn)[:size])


def _size(chance: np.random.Generator) -> int:
    return int(np.exp(chance.uniform(np.log(250), np.log(2_000))))


def _wavy(chance: np.random.Generator, size: int) -> Reals:
    """A smooth level with a few waves, none shorter than 500 buckets."""
    place = 2 * np.pi * np.arange(size) / 1_500
    wave = sum(
        chance.normal(0, 0.4 / turns) * np.cos(turns * place + chance.uniform(0, 2 * np.pi)) for turns in (1, 2, 3)
    )
    return np.asarray(chance.uniform(0.2, 20) * np.exp(wave))


def _synthetic(level: Reals, noise: Reals, chance: np.random.Generator) -> Background:
    return Background(int(chance.integers(1_000, 90_000)), level, noise / np.median(noise))


def _lognormal(chance: np.random.Generator) -> Background:
    size = _size(chance)
    return _synthetic(_wavy(chance, size), chance.lognormal(0, chance.uniform(0.5, 1.5), size), chance)


def _quiet(chance: np.random.Generator) -> Background:
    size = _size(chance)
    return _synthetic(_wavy(chance, size), chance.lognormal(0, chance.uniform(0.1, 0.4), size), chance)


def _sparse(chance: np.random.Generator) -> Background:
    size = _size(chance)
    held = chance.random(size) < chance.uniform(0.15, 0.7)
    background = _synthetic(_wavy(chance, size), chance.lognormal(0, chance.uniform(0.3, 1.2), size), chance)
    return Background(background.first, background.level, background.noise * held)


def _pareto(chance: np.random.Generator) -> Background:
    size = _size(chance)
    return _synthetic(_wavy(chance, size), 1 + chance.pareto(chance.uniform(1.2, 2.5), size), chance)


def _power_law(chance: np.random.Generator) -> Background:
    size = _size(chance)
    away = np.abs(np.arange(size) - chance.uniform(0.3, 0.7) * size)
    level = chance.uniform(5, 50) * (1 + away / chance.uniform(100, 300)) ** -chance.uniform(0.5, 1.5)
    return _synthetic(level, chance.gamma(chance.uniform(0.8, 3), 1, size), chance)


def _u_shaped(chance: np.random.Generator) -> Background:
    size = _size(chance)
    level = chance.uniform(0.2, 5) * np.exp(chance.uniform(1, 3) * np.linspace(-1, 1, size) ** 2)
    return _synthetic(level, chance.lognormal(0, chance.uniform(0.5, 1.2), size), chance)


def _autocorrelated(chance: np.random.Generator) -> Background:
    size = _size(chance)
    keep, spread = chance.uniform(0.2, 0.6), chance.uniform(0.5, 1.2)
    steps = chance.normal(0, spread * np.sqrt(1 - keep * keep), size)
    row = np.empty(size)
    row[0] = chance.normal(0, spread)
    for i in range(1, size):
        row[i] = keep * row[i - 1] + steps[i]
    return _synthetic(_wavy(chance, size), np.exp(row), chance)


KINDS: Final[dict[str, Callable[[np.random.Generator], Background]]] = {
    "recorded depth": _depth,
    "recorded trades": _trades,
    "lognormal": _lognormal,
    "Pareto": _pareto,
    "power-law decay": _power_law,
    "U-shaped": _u_shaped,
    "autocorrelated": _autocorrelated,
    "quiet": _quiet,
    "sparse": _sparse,
}

SYNTHETIC: Final = tuple(kind for kind in KINDS if not kind.startswith("recorded"))


def available_kinds() -> tuple[str, ...]:
    """All kinds, or the synthetic ones where the recordings are absent."""
    return tuple(KINDS) if recorded_depth() and recorded_trades() else SYNTHETIC


def _clear(start: int, end: int, breaks: list[float], size: int) -> bool:
    """Whether breaks of level may be put at ``start`` and ``end`` without closing off a short stretch of level."""
    around = (*breaks, 0, size)
    return all(min(abs(start - other), abs(end - other)) >= LEAST_LEVEL for other in around)


def _with_decoys(background: Background, chance: np.random.Generator) -> tuple[Reals, Reals, list[float]]:
    """Level and noise with decoys, and where the level breaks."""
    level, noise = background.level.copy(), background.noise.copy()
    size, breaks = len(level), []
    number = background.first + np.arange(size)
    for decoy in chance.choice(6, size=int(chance.integers(1, 5)), replace=False):
        width = int(chance.integers(*DECOY_WIDTH.get(decoy, (1, 2))))
        start = int(chance.integers(0, size - width))
        if decoy == 0:  # single huge orders
            where = chance.choice(size, size=int(chance.integers(3, 15)), replace=False)
            noise[where] += 10 ** chance.uniform(1, 3, len(where))
        elif decoy == 1:  # orders at round prices
            round_ones = np.flatnonzero(number % int(chance.choice((10, 25, 50))) == 0)
            noise[round_ones] += chance.uniform(3, 30) * chance.gamma(2, 0.5, len(round_ones))
        elif decoy == 2 and _clear(start, start + width, breaks, size):  # a slope to another level
            ramp = np.clip((np.arange(size) - start) / width, 0, 1)
            level *= np.exp(chance.choice((-1, 1)) * chance.uniform(1, 2.5) * ramp)
            breaks += [float(start), float(start + width)]
        elif decoy == 3:  # a step at a round price
            start = int(chance.choice(np.flatnonzero(number % 100 == 0)))
            if _clear(start, start, breaks, size):
                level[start:] *= np.exp(chance.choice((-1, 1)) * chance.uniform(0.5, 2))
                breaks.append(float(start))
        elif decoy > 3 and _clear(start, start + width, breaks, size):  # a plateau or a hole
            level[start : start + width] *= np.exp(chance.uniform(0.5, 2) if decoy == 4 else -chance.uniform(1, 3))
            breaks += [float(start), float(start + width)]
    return level, noise, breaks


def _shape(place: float, width: float, size: int, chance: np.random.Generator) -> Reals:
    """Relative height of a peak over all buckets, 1 at its centre, 1/2 at half a width to either side on average."""
    lean = chance.uniform(0.7, 1.3)
    away = np.arange(size) - place
    half = np.where(away < 0, width / 2 * lean, width / 2 * (2 - lean))
    away = np.abs(away) / half
    form = chance.integers(3)
    if form == 0:
        shape = np.exp2(-(away**2))
    elif form == 1:
        shape = np.clip(1 - away / 2, 0, None)
    else:
        shape = np.exp2(-(away**6))
    return np.where(shape > LEAST_SHAPE, shape, 0)


def _lift(shape: Reals, noise: Reals, contrast: float) -> float:
    """Height over the typical volume at which a peak of this shape has this contrast."""
    used = shape[shape > 0]
    unit = used / np.sqrt((used**2).sum())
    answers = np.correlate(np.log(noise + LEAST_VOLUME), unit, mode="valid")
    deviation = 1.4826 * float(np.median(np.abs(answers - np.median(answers))))
    low, high = -10.0, 60.0
    for _ in range(50):
        middle = (low + high) / 2
        if float((unit * np.log1p(np.exp(middle) * used)).sum()) < contrast * deviation:
            low = middle
        else:
            high = middle
    return float(np.exp(low))


def planted_profile(kind: str, band: int, purpose: Purpose, number: int) -> PlantedProfile:
    """One profile: the same arguments give the same profile.

    Parameters
    ----------
    kind : str
        One of KINDS.
    band : int
        Index into BANDS.
    purpose : str
        train or test.
    number : int
        Which of the many.
    """
    chance = np.random.default_rng([PURPOSES[purpose], list(KINDS).index(kind), band, number])
    background = KINDS[kind](chance)
    level, noise, breaks = _with_decoys(background, chance)
    size = len(level)
    volume = level * noise
    places: list[float] = []
    widths: list[float] = []
    contrasts: list[float] = []
    wanted = 0 if chance.random() < 0.1 else int(chance.integers(1, 2 + min(6, size // 150)))
    for _ in range(100):
        if len(places) == wanted:
            break
        width = float(np.exp(chance.uniform(np.log(NARROWEST), np.log(WIDEST))))
        place = float(chance.uniform(width, size - width))
        near = any(abs(place - other) < 1.5 * (width + its) for other, its in zip(places, widths, strict=True))
        if near or any(abs(place - where) < 1.5 * width for where in breaks):
            continue
        contrast = float(chance.uniform(*BANDS[band]))
        shape = _shape(place, width, size, chance)
        height = _lift(shape, background.noise, contrast)
        if not LOWEST <= height <= HIGHEST:
            continue
        volume += level * height * shape * chance.gamma(4, 0.25, size)
        places.append(place)
        widths.append(width)
        contrasts.append(contrast)
    held = np.flatnonzero(volume > 0)
    order = np.argsort(places)
    return PlantedProfile(
        kind,
        band,
        background.first + held,
        volume[held],
        background.first + np.array(places)[order],
        np.array(widths)[order],
        np.array(contrasts)[order],
        size,
    )


def planted_profiles(
    purpose: Purpose, count: int, kinds: tuple[str, ...], bands: tuple[int, ...] = tuple(range(len(BANDS)))
) -> Iterator[PlantedProfile]:
    """``count`` profiles of each kind and band."""
    for kind in kinds:
        for band in bands:
            for number in range(count):
                yield planted_profile(kind, band, purpose, number)


def pure_noise(kind: str, purpose: Purpose, number: int) -> tuple[Integers, Reals]:
    """A background with nothing planted, no decoy either: what a detector must keep silent about."""
    chance = np.random.default_rng([PURPOSES[purpose], list(KINDS).index(kind), len(BANDS), number])
    background = KINDS[kind](chance)
    volume = background.level * background.noise
    held = np.flatnonzero(volume > 0)
    return background.first + held, volume[held]
