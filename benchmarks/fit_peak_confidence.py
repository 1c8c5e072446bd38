"""``python -m benchmarks.fit_peak_confidence``: fit what is said of peaks, write the two modules of numbers.

The confidence of scale-space peaks (``peak_calibration.py``), the probability of plain ones
(``plain_peak_calibration.py``).

Belongs here: the fit to the train profiles. Does not belong here: the test profiles, which nothing here ever makes.

The weights come from all train profiles. The curve from score to confidence is fitted to chosen candidates of profiles
the weights had not seen (two halves, each scored with the weights of the other). The noise rate comes from train
backgrounds in which nothing was planted. The plain methods run at their default parameters. It needs the recordings:
without them the result would be another one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.measurement import ROOT, console
from benchmarks.planted_profiles import (
    BANDS,
    CONTRAST_FLOOR,
    KINDS,
    PlantedProfile,
    available_kinds,
    planted_profiles,
    pure_noise,
)
from benchmarks.planted_truth import Flags, calibration, tallied, tolerance, which_are_real
from signal_assets.levels import detect_combined_peaks, detect_normal_distribution_peaks, detect_volume_peaks
from signal_assets.levels.peak_probability import FARTHEST as PLAIN_FARTHEST
from signal_assets.levels.peak_probability import LARGEST_ODDS, evidence
from signal_assets.levels.peak_significance import FARTHEST, LEAST_SCORE, REACH, choose, scores
from signal_assets.levels.scale_space import WIDTHS, candidates, spread_out

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]
Model = tuple[Reals, Reals, Reals]

PROFILES: Final = 40
"""Train profiles of each kind and band."""

NOISE_PROFILES: Final = 200
"""Backgrounds of each kind without anything planted."""

RIDGE: Final = 1.0
TAIL_FROM: Final = -1.0
"""Scores of chosen candidates of pure noise are taken to fall off exponentially from here on."""

TARGET: Final = ROOT / "signal_assets" / "levels" / "peak_calibration.py"
PLAIN_TARGET: Final = TARGET.with_name("plain_peak_calibration.py")

PLAIN_DETECTORS: Final = {
    "combined": detect_combined_peaks,
    "statistical": detect_normal_distribution_peaks,
    "volume": detect_volume_peaks,
}


@dataclass(frozen=True, slots=True)
class Measured:
    """A profile and its candidates."""

    profile: PlantedProfile
    price: Integers
    width: Integers
    place: Integers
    measures: Reals

    def labels(self) -> NDArray[np.int64]:
        """1 the candidate that stands for a planted peak, 0 one that lies at none, -1 others at a planted peak."""
        label = np.zeros(len(self.price), np.int64)
        for place, reach in zip(self.profile.place, tolerance(self.profile), strict=True):
            inside = np.flatnonzero(np.abs(self.price - place) <= reach)
            if len(inside):
                label[inside] = -1
                label[inside[np.argmax(self.measures[inside, 2])]] = 1
        return label


def measured_profiles(count: int, kinds: tuple[str, ...]) -> Iterator[Measured]:
    """Candidates of the train profiles."""
    for profile in planted_profiles("train", count, kinds):
        row, _ = spread_out(profile.price_bucket, profile.volume)
        place, width, measures = candidates(row, WIDTHS)
        yield Measured(profile, profile.price_bucket[0] + place, width, place, measures)


def expanded(standard: Reals) -> Reals:
    """1, each measure, each product of two, in the order of ``peak_significance.scores``."""
    size = standard.shape[1]
    products = [standard[:, i] * standard[:, j] for i in range(size) for j in range(i, size)]
    return np.column_stack([np.ones(len(standard)), standard, *products])


def logistic(design: Reals, real: Reals, ridge: float) -> Reals:
    """Logistic regression by Newton steps; the intercept is not held back."""
    weights = np.zeros(design.shape[1])
    held = np.full(design.shape[1], ridge)
    held[0] = 1e-9
    for _ in range(100):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        slope = design.T @ (real - chance) - held * weights
        bend = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(held)
        step = np.linalg.solve(bend, slope)
        weights = weights + step * min(1.0, 10 / float(np.abs(step).max()))
        if float(np.abs(step).max()) < 1e-9:
            break
    return weights


def fitted(data: Sequence[Measured]) -> Model:
    """Centre, scale and weights."""
    labels = [item.labels() for item in data]
    measures = np.vstack([item.measures[label >= 0] for item, label in zip(data, labels, strict=True)])
    real = np.concatenate([label[label >= 0] for label in labels]).astype(np.float64)
    centre, scale = measures.mean(axis=0), measures.std(axis=0)
    standard = np.clip((measures - centre) / scale, -FARTHEST, FARTHEST)
    return centre, scale, logistic(expanded(standard), real, RIDGE)


def chosen(item: Measured, model: Model) -> tuple[Integers, Reals]:
    """Prices and scores of the candidates that are chosen."""
    score = scores(item.measures, *model)
    kept = choose(item.place, item.width, score, REACH, LEAST_SCORE)
    return item.price[kept], score[kept]


def noise_tail(model: Model, kinds: tuple[str, ...]) -> tuple[float, float]:
    """Chosen candidates of score ≥ s per bucket of noise: exp(intercept + slope x s)."""
    excess: list[float] = []
    buckets = 0
    for kind in kinds:
        for number in range(NOISE_PROFILES):
            row, _ = spread_out(*pure_noise(kind, "train", number))
            place, width, measures = candidates(row, WIDTHS)
            score = scores(measures, *model)
            kept = score[choose(place, width, score, REACH, LEAST_SCORE)]
            excess += (kept[kept > TAIL_FROM] - TAIL_FROM).tolist()
            buckets += len(row)
    slope = -1 / float(np.mean(excess))
    return float(np.log(len(excess) / buckets)) - slope * TAIL_FROM, slope


def rounded(row: Reals) -> str:
    """A row as Python text, seven digits, eight numbers a line."""
    words = [f"{value:.7g}" for value in row]
    lines = [", ".join(words[start : start + 8]) for start in range(0, len(words), 8)]
    return "np.array([\n    " + ",\n    ".join(lines) + ",\n])"


def module(model: Model, curve: Reals, tail: tuple[float, float]) -> str:
    """The text of ``peak_calibration.py``."""
    centre, scale, weights = model
    return f'''"""Confidence of scale-space peaks in numbers, written by ``python -m benchmarks.fit_peak_confidence``.

Belongs here: numbers. Does not belong here: anything written by hand.
"""

# fmt: off

from typing import Final

import numpy as np

CENTRE: Final = {rounded(centre)}
SCALE: Final = {rounded(scale)}
WEIGHTS: Final = {rounded(weights)}

CONFIDENCE_INTERCEPT: Final = {curve[0]:.7g}
CONFIDENCE_SLOPE: Final = {curve[1]:.7g}
"""confidence = 1 / (1 + exp(-(intercept + slope x score)))."""

NOISE_INTERCEPT: Final = {tail[0]:.7g}
NOISE_SLOPE: Final = {tail[1]:.7g}
"""Chosen candidates of at least a score per bucket of pure noise = exp(intercept + slope x score)."""
'''


def plain_finds(profiles: Sequence[PlantedProfile], method: str) -> Iterator[tuple[Reals, Flags]]:
    """Of each profile the method's finds: evidence, shape (n, 3), and whether they are real."""
    for profile in profiles:
        peaks = PLAIN_DETECTORS[method](profile.price_bucket, profile.volume)
        price = np.array([peak.price for peak in peaks], np.int64)
        confidence = np.array([peak.confidence for peak in peaks])
        rows = [evidence(peak.confidence, peak.z_score, peak.width) for peak in peaks]
        yield np.array(rows, np.float64).reshape(-1, 3), which_are_real(profile, price, confidence)


def fit_plain(finds: Sequence[tuple[Reals, Flags]]) -> Model:
    """Centre, scale and weights of one plain method."""
    rows, real = (np.concatenate(column) for column in zip(*finds, strict=True))
    centre, scale = rows.mean(axis=0), rows.std(axis=0)
    standard = np.clip((rows - centre) / scale, -PLAIN_FARTHEST, PLAIN_FARTHEST)
    return centre, scale, logistic(expanded(standard), real.astype(np.float64), RIDGE)


def plain_probability(rows: Reals, model: Model) -> Reals:
    """What ``peak_probability`` says, of many finds at once."""
    centre, scale, weights = model
    standard = np.clip((rows - centre) / scale, -PLAIN_FARTHEST, PLAIN_FARTHEST)
    odds = np.clip(expanded(standard) @ weights, -LARGEST_ODDS, LARGEST_ODDS)
    return np.asarray(1 / (1 + np.exp(-odds)), dtype=np.float64)


def fit_all_plain(profiles: Sequence[PlantedProfile], out: Console) -> str:
    """The text of ``plain_peak_calibration.py``; prints what the train profiles, cross-fitted, say."""
    lines = []
    for method in PLAIN_DETECTORS:
        finds = list(plain_finds(profiles, method))
        halves = finds[::2], finds[1::2]
        models = fit_plain(halves[0]), fit_plain(halves[1])
        crossed = [
            (plain_probability(rows, models[1 - which]), real) for which in (0, 1) for rows, real in halves[which]
        ]
        probability, real = (np.concatenate(column) for column in zip(*crossed, strict=True))
        error = calibration(probability, real)[0]
        out.print(f"{method}: {len(real):,} finds, {real.mean():.1%} real, calibration error {error:.4f}")
        columns = [", ".join(f"{value:.6g}" for value in column) for column in fit_plain(finds)]
        lines.append(f'    "{method}": (\n' + "".join(f"        ({column}),\n" for column in columns) + "    ),\n")
    return f'''"""Probability of plain peaks in numbers, written by ``python -m benchmarks.fit_peak_confidence``.

Belongs here: numbers. Does not belong here: anything written by hand.
"""

# fmt: off

from typing import Final

CALIBRATION: Final[dict[str, tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]]] = {{
{"".join(lines)}}}
"""By method: centre and scale of the three measures, weights of 1, of each measure and of each product i ≤ j."""
'''


def main(out: Console | None = None) -> None:
    """Fit, print what the train profiles say, write the module."""
    out = out or console()
    kinds = available_kinds()
    if kinds != tuple(KINDS):
        out.print("not fitted: the recordings are absent")
        return
    data = list(measured_profiles(PROFILES, kinds))
    halves = data[::2], data[1::2]
    models = fitted(halves[0]), fitted(halves[1])
    crossed = [(item, chosen(item, models[1 - which])) for which in (0, 1) for item in halves[which]]
    score = np.concatenate([found[1] for _, found in crossed])
    matched = [(item.profile, which_are_real(item.profile, *found)) for item, found in crossed]
    real = np.concatenate([flags for _, flags in matched])
    curve = logistic(np.column_stack([np.ones(len(score)), score]), real.astype(np.float64), 1e-9)
    confidence = 1 / (1 + np.exp(-(curve[0] + curve[1] * score)))
    out.print(f"{len(data)} train profiles, {len(score)} chosen candidates, {int(real.sum())} of them real")
    out.print(f"expected calibration error over all of them {calibration(confidence, real)[0]:.4f}")
    for floor, least in product((0.0, CONTRAST_FLOOR), (0.5, 0.6, 0.7, 0.8)):
        results = []
        for (item, found), (profile, flags) in zip(crossed, matched, strict=True):
            if BANDS[profile.band][0] >= floor:
                sure = 1 / (1 + np.exp(-(curve[0] + curve[1] * found[1]))) >= least
                results.append((item.profile, flags[sure]))
        tally = tallied(results)
        what = f"contrast ≥ {floor:.0f}, confidence ≥ {least}"
        out.print(f"{what}: F1 {tally.f1:.4f}, precision {tally.precision:.4f}, recall {tally.recall:.4f}")
    model = fitted(data)
    tail = noise_tail(model, kinds)
    out.print(f"noise: a candidate of score 0 every {np.exp(-tail[0]):,.0f} buckets, e-fold per {-1 / tail[1]:.2f}")
    TARGET.write_text(module(model, curve, tail))
    PLAIN_TARGET.write_text(fit_all_plain([item.profile for item in data], out))
    out.print(f"written: {TARGET.relative_to(ROOT)}, {PLAIN_TARGET.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
