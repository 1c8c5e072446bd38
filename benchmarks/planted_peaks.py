"""Peaks planted in real and made-up profiles: how many each method finds, how many it makes up, what it says of itself.

Belongs here: the measurement. Does not belong here: profiles (``planted_profiles``), matching (``planted_truth``), the
fit (``fit_peak_confidence``).

Every rival gets the best of its configurations on train profiles; the test profiles are for the final figures only.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import ndimage, signal

from benchmarks.measurement import console, seconds_of
from benchmarks.planted_profiles import (
    BANDS,
    CONTRAST_FLOOR,
    KINDS,
    PlantedProfile,
    Purpose,
    available_kinds,
    planted_profiles,
)
from benchmarks.planted_truth import Tally, calibration, which_are_real
from signal_assets.levels import (
    WavePeak,
    detect_combined_peaks,
    detect_normal_distribution_peaks,
    detect_scale_space_peaks,
    detect_volume_peaks,
)
from signal_assets.levels.scale_space import spread_out
from signal_assets.levels.scale_space_peaks import detect_in_scale_space

TEST_PROFILES: Final = 20
TRAIN_PROFILES: Final = 4
"""Profiles of each kind and band."""

SPEED_RUNS: Final = 200
SPEED_BUCKETS: Final = (1_000, 2_000)

Reals = NDArray[np.float64]
Found = tuple[NDArray[np.int64], Reals]
Configuration = tuple[float, ...]
Detector = Callable[[PlantedProfile, Configuration], Found]


@dataclass(frozen=True, slots=True)
class Method:
    """A way to find peaks and the configurations among which it may choose on train profiles."""

    name: str
    detect: Detector
    configurations: Sequence[Configuration]
    says_confidence: bool = True


@dataclass(slots=True)
class Score:
    """What a method did on the test profiles from the contrast floor on."""

    tally: Tally = field(default_factory=Tally)
    confidence: list[Reals] = field(default_factory=list)
    real: list[NDArray[np.bool_]] = field(default_factory=list)

    def add(self, profile: PlantedProfile, found: Found) -> None:
        """Count one profile."""
        real = which_are_real(profile, *found)
        self.tally.add(profile, real)
        self.confidence.append(found[1])
        self.real.append(real)

    @property
    def calibration(self) -> tuple[float, list[tuple[float, float, int]]]:
        """Expected calibration error and its bins."""
        return calibration(np.concatenate(self.confidence), np.concatenate(self.real))


def _found(peaks: list[WavePeak]) -> Found:
    return np.array([peak.price for peak in peaks], np.int64), np.array([peak.confidence for peak in peaks])


def _scale_space(profile: PlantedProfile, _: Configuration) -> Found:
    return _found(detect_scale_space_peaks(profile.price_bucket, profile.volume))


def _statistical(profile: PlantedProfile, chosen: Configuration) -> Found:
    least, z_score, confidence = chosen
    return _found(
        detect_normal_distribution_peaks(
            profile.price_bucket,
            profile.volume,
            min_peak_volume=least,
            z_score_threshold=z_score,
            min_peak_confidence=confidence,
        )
    )


def _volume(profile: PlantedProfile, chosen: Configuration) -> Found:
    relative, least = chosen
    return _found(
        detect_volume_peaks(
            profile.price_bucket, profile.volume, min_relative_volume=relative, min_absolute_volume=least
        )
    )


def _combined(profile: PlantedProfile, chosen: Configuration) -> Found:
    least, z_score, relative, confidence = chosen
    peaks = detect_combined_peaks(
        profile.price_bucket,
        profile.volume,
        statistical_params={"min_peak_volume": least, "z_score_threshold": z_score},
        volume_params={"min_relative_volume": relative, "min_absolute_volume": least},
    )
    return _found([peak for peak in peaks if peak.confidence >= confidence])


def _find_peaks(profile: PlantedProfile, chosen: Configuration) -> Found:
    """``scipy.signal.find_peaks`` on the volume as it is."""
    prominence, width, distance = chosen
    row, _ = spread_out(profile.price_bucket, profile.volume)
    places, about = signal.find_peaks(
        row, prominence=prominence * np.median(row[row > 0]), width=width, distance=distance, wlen=201
    )
    return profile.price_bucket[0] + places, about["prominences"]


def _find_peaks_smoothed(profile: PlantedProfile, chosen: Configuration) -> Found:
    """The same on the Gaussian-smoothed logarithm, prominence in units of the row's own noise."""
    smoothing, prominence, width = chosen
    row, _ = spread_out(profile.price_bucket, profile.volume)
    smooth = ndimage.gaussian_filter1d(np.log(row + 0.02 * np.median(row[row > 0])), smoothing)
    bend = smooth - ndimage.median_filter(smooth, 201, mode="nearest")
    noise = 1.4826 * np.median(np.abs(bend - np.median(bend)))
    places, about = signal.find_peaks(smooth, prominence=max(prominence * noise, 1e-9), width=width, wlen=201)
    return profile.price_bucket[0] + places, about["prominences"]


METHODS: Final = (
    Method("scale space", _scale_space, [()]),
    Method(
        "find_peaks on smoothed log volume",
        _find_peaks_smoothed,
        list(product((1.0, 2.0, 3.0, 4.0, 6.0), (2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0), (0.0, 4.0, 8.0))),
        says_confidence=False,
    ),
    Method(
        "find_peaks on volume",
        _find_peaks,
        list(product((2.0, 5.0, 10.0, 20.0, 50.0, 100.0), (0.0, 2.0, 4.0, 8.0), (1.0, 10.0, 30.0))),
        says_confidence=False,
    ),
    Method("z-score, as specified", _statistical, [(5.0, 1.5, 0.3)]),
    Method(
        "z-score, best", _statistical, list(product((0.0,), (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0), (0.3, 0.5, 0.7, 0.8)))
    ),
    Method("volume, as specified", _volume, [(2.0, 10.0)]),
    Method("volume, best", _volume, list(product((1.5, 2.0, 3.0, 5.0, 10.0, 20.0), (0.0, 10.0, 50.0, 200.0)))),
    Method("combined, as specified", _combined, [(5.0, 1.5, 2.0, 0.0)]),
    Method(
        "combined, best", _combined, list(product((0.0, 10.0), (1.5, 3.0, 6.0), (2.0, 5.0), (0.3, 0.5, 0.7, 0.9, 0.95)))
    ),
)


PLAIN: Final = (
    ("statistical", detect_normal_distribution_peaks),
    ("volume", detect_volume_peaks),
    ("combined", detect_combined_peaks),
)


def strong_bands() -> tuple[int, ...]:
    """The bands from the contrast floor on."""
    return tuple(band for band, (least, _) in enumerate(BANDS) if least >= CONTRAST_FLOOR)


def best_configuration(method: Method, train: Sequence[PlantedProfile]) -> Configuration:
    """The configuration with the highest F1 on train profiles."""
    if len(method.configurations) == 1:
        return method.configurations[0]

    def f1(chosen: Configuration) -> float:
        score = Score()
        for profile in train:
            score.add(profile, method.detect(profile, chosen))
        return score.tally.f1

    return max(method.configurations, key=f1)


def speed_of(method: Method, chosen: Configuration, buckets: int) -> float:
    """Median seconds of one call on a lognormal profile of so many buckets."""
    volume = np.random.default_rng(buckets).lognormal(0, 1, buckets)
    none = np.empty(0)
    profile = PlantedProfile("lognormal", 0, np.arange(buckets), volume, none, none, none, buckets)
    method.detect(profile, chosen)
    return statistics.median(seconds_of(lambda: method.detect(profile, chosen)) for _ in range(SPEED_RUNS))


def _comparison(test: Sequence[PlantedProfile], train: Sequence[PlantedProfile], out: Console) -> None:
    table = Table(
        "method", "tried", "F1", "precision", "recall", "false / bucket", "ECE", *(f"ms, {n:,}" for n in SPEED_BUCKETS)
    )
    table.title = f"Planted peaks of contrast ≥ {CONTRAST_FLOOR:.0f}, {len(test)} test profiles"
    for method in METHODS:
        chosen = best_configuration(method, train)
        score = Score()
        for profile in test:
            score.add(profile, method.detect(profile, chosen))
        tally = score.tally
        table.add_row(
            method.name,
            str(len(method.configurations)),
            f"{tally.f1:.3f}",
            f"{tally.precision:.3f}",
            f"{tally.recall:.3f}",
            f"{tally.false_positive_rate:.3%}",
            f"{score.calibration[0]:.3f}" if method.says_confidence else "–",
            *(f"{speed_of(method, chosen, buckets) * 1e3:.2f}" for buckets in SPEED_BUCKETS),
        )
    out.print(table)


def _by_kind_and_contrast(profiles: Sequence[PlantedProfile], out: Console) -> None:
    table = Table("background", *(f"{low:.0f}…{high:.0f}" for low, high in BANDS), title="Scale space: F1 by contrast")
    cells = {(kind, band): Score() for kind in KINDS for band in range(len(BANDS))}
    for profile in profiles:
        cells[profile.kind, profile.band].add(profile, _scale_space(profile, ()))
    for kind in available_kinds():
        table.add_row(kind, *(f"{cells[kind, band].tally.f1:.3f}" for band in range(len(BANDS))))
    for name in ("f1", "precision", "recall"):
        row = []
        for band in range(len(BANDS)):
            every = Tally()
            for kind in KINDS:
                part = cells[kind, band].tally
                every.planted += part.planted
                every.found += part.found
                every.real += part.real
            row.append(f"{getattr(every, name):.3f}")
        table.add_row(f"all: {name.upper() if name == 'f1' else name}", *row)
    out.print(table)


def _reliability(profiles: Sequence[PlantedProfile], out: Console) -> None:
    table = Table(
        "candidates of", "mean confidence", "share real", "count", title="Scale space: every candidate it chose"
    )
    for name, bands in (("any contrast", range(len(BANDS))), ("strong profiles", strong_bands())):
        score = Score()
        for profile in profiles:
            if profile.band in bands:
                entry, measures = detect_in_scale_space(profile.price_bucket, profile.volume, 1.0, 0.0)
                score.add(profile, (profile.price_bucket[entry], measures[1]))
        error, bins = score.calibration
        for mean, share, count in bins:
            table.add_row(name, f"{mean:.3f}", f"{share:.3f}", f"{count:,}")
        table.add_row(name, "expected calibration error", f"{error:.4f}", "goal 0.05", end_section=True)
    out.print(table)


def _reliability_of_plain(profiles: Sequence[PlantedProfile], out: Console) -> None:
    """What the plain methods say of their finds at default parameters: their confidence, and the fitted probability."""
    table = Table(
        *("method", "profiles", "finds", "share real", "ECE of confidence", "ECE of probability"),
        *("finds of probability ≥ 0.5", "of them real"),
        title="Plain methods, as specified: confidence and probability",
    )
    for name, detect in PLAIN:
        for words, bands in (("any contrast", range(len(BANDS))), ("strong", strong_bands())):
            by_confidence, by_probability = Score(), Score()
            for profile in profiles:
                if profile.band in bands:
                    peaks = detect(profile.price_bucket, profile.volume)
                    found = _found(peaks)
                    by_confidence.add(profile, found)
                    # Which finds are real is settled by confidence in both, so that the same ones are.
                    by_probability.confidence.append(np.array([peak.probability for peak in peaks], np.float64))
            real = np.concatenate(by_confidence.real)
            by_probability.real = by_confidence.real
            likely = np.concatenate(by_probability.confidence) >= 0.5
            table.add_row(
                *(name, words, f"{len(real):,}", f"{real.mean():.3f}"),
                *(f"{score.calibration[0]:.3f}" for score in (by_confidence, by_probability)),
                *(f"{likely.sum():,}", f"{real[likely].mean():.3f}" if likely.any() else "–"),
            )
    out.print(table)


def main(out: Console | None = None, purpose: Purpose = "test", count: int = TEST_PROFILES) -> None:
    """Print the tables."""
    out = out or console()
    kinds, strong = available_kinds(), strong_bands()
    if kinds != tuple(KINDS):
        out.print("the recordings are absent: synthetic backgrounds only")
    train = list(planted_profiles("train", TRAIN_PROFILES, kinds, strong))
    every = list(planted_profiles(purpose, count, kinds))
    _comparison([profile for profile in every if profile.band in strong], train, out)
    _by_kind_and_contrast(every, out)
    _reliability(every, out)
    _reliability_of_plain(every, out)


if __name__ == "__main__":
    main()
