"""Found against planted peaks: which are real, F1, false positives per bucket, calibration.

Belongs here: matching and the figures that follow from it. Does not belong here: profiles, detectors.

A found peak and a planted one match when they are not further apart than half the planted one's width, at least three
buckets; the most confident found peak chooses first, and each planted peak matches once. So a second find in the same
peak is a false one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.planted_profiles import PlantedProfile

Reals = NDArray[np.float64]
Flags = NDArray[np.bool_]

LEAST_TOLERANCE: Final = 3.0


def tolerance(profile: PlantedProfile) -> Reals:
    """How far from each planted peak a find may lie, in buckets."""
    return np.maximum(LEAST_TOLERANCE, profile.width / 2)


def which_are_real(profile: PlantedProfile, price: NDArray[np.int64], confidence: Reals) -> Flags:
    """Whether each found peak matches a planted one."""
    real = np.zeros(len(price), np.bool_)
    free = np.ones(len(profile.place), np.bool_)
    reach = tolerance(profile)
    for i in np.argsort(-confidence, kind="mergesort"):
        distance = np.abs(profile.place - price[i])
        possible = np.flatnonzero(free & (distance <= reach))
        if len(possible):
            free[possible[np.argmin(distance[possible])]] = False
            real[i] = True
    return real


@dataclass(slots=True)
class Tally:
    """Counts over many profiles.

    Parameters
    ----------
    planted, found, real : int
        Peaks planted, peaks found, and how many of those are planted ones.
    empty : int
        Buckets further than a planted peak's width from every planted peak.
    """

    planted: int = 0
    found: int = 0
    real: int = 0
    empty: int = 0

    def add(self, profile: PlantedProfile, real: Flags) -> None:
        """Count one profile."""
        self.planted += len(profile.place)
        self.found += len(real)
        self.real += int(real.sum())
        self.empty += empty_buckets(profile)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 where there was nothing to find and nothing was found."""
        both = self.planted + self.found
        return 2 * self.real / both if both else 1.0

    @property
    def precision(self) -> float:
        """Share of the found that is real."""
        return self.real / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of the planted that was found."""
        return self.real / self.planted if self.planted else 1.0

    @property
    def false_positive_rate(self) -> float:
        """False peaks per bucket without a peak."""
        return (self.found - self.real) / self.empty if self.empty else 0.0


def empty_buckets(profile: PlantedProfile) -> int:
    """Buckets that belong to no planted peak."""
    first = int(profile.price_bucket[0])
    number = first + np.arange(profile.buckets)
    covered = np.zeros(profile.buckets, np.bool_)
    for place, width in zip(profile.place, profile.width, strict=True):
        covered |= np.abs(number - place) <= width
    return int((~covered).sum())


def calibration(confidence: Reals, real: Flags, bins: int = 10) -> tuple[float, list[tuple[float, float, int]]]:
    """Expected calibration error, and of each bin that is not empty: mean confidence, share that is real, count."""
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    rows, error = [], 0.0
    for which in range(bins):
        inside = place == which
        count = int(inside.sum())
        if count:
            mean, share = float(confidence[inside].mean()), float(real[inside].mean())
            rows.append((mean, share, count))
            error += abs(mean - share) * count / len(confidence)
    return error, rows


def tallied(results: Iterable[tuple[PlantedProfile, Flags]]) -> Tally:
    """All profiles counted together."""
    tally = Tally()
    for profile, real in results:
        tally.add(profile, real)
    return tally
