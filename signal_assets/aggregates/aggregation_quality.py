"""What dollar aggregation keeps and what it gives up, as numbers.

Belongs here: quality of one aggregation and of a frame of them. Does not belong here: the thresholds of the checks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from signal_assets.aggregates.instrument_rows import instrument_rows, integers
from signal_assets.compiled import compiled
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class AggregationQuality:
    """Counts and exact sums of what went in and came out; the ratios follow from them.

    Parameters
    ----------
    volume_in, volume_out : int
        Sums of quantities in units of 1e-8; as Python integers, so they cannot overflow.
    weighted_distance : int
        Σ quantity x (price - floor of its bucket), in units of 1e-16.
    coverage_low, coverage_high : int or None
        Price range in which the book was known, in units of 1e-8: the widest over what was aggregated.
    """

    levels_in: int
    buckets_out: int
    volume_in: int
    volume_out: int
    weighted_distance: int
    coverage_low: int | None = None
    coverage_high: int | None = None

    @property
    def compression_ratio(self) -> float:
        """Levels per bucket; 0 when there is no bucket."""
        return self.levels_in / self.buckets_out if self.buckets_out else 0.0

    @property
    def volume_is_preserved(self) -> bool:
        """Whether Σ out = Σ in to the last 1e-8."""
        return self.volume_in == self.volume_out

    @property
    def volume_preservation(self) -> float:
        """Volume out over volume in; exactly 1.0 if and only if they are equal to the last 1e-8."""
        if self.volume_is_preserved:
            return 1.0
        ratio = self.volume_out / self.volume_in if self.volume_in else float("inf")
        # A loss too small for a float must still be seen.
        return ratio if ratio != 1.0 else float(np.nextafter(1.0, 0.0 if self.volume_out < self.volume_in else 2.0))

    @property
    def price_accuracy_loss(self) -> float:
        """Quantity-weighted mean distance of a level from its bucket's floor, in quote currency."""
        return self.weighted_distance / (self.volume_in * SCALE) if self.volume_in else 0.0

    @property
    def coverage(self) -> float:
        """Width of the known price range in quote currency; 0 when unknown."""
        if self.coverage_low is None or self.coverage_high is None:
            return 0.0
        return (self.coverage_high - self.coverage_low) / SCALE

    def __add__(self, other: "AggregationQuality") -> "AggregationQuality":
        lows = [low for low in (self.coverage_low, other.coverage_low) if low is not None]
        highs = [high for high in (self.coverage_high, other.coverage_high) if high is not None]
        return AggregationQuality(
            self.levels_in + other.levels_in,
            self.buckets_out + other.buckets_out,
            self.volume_in + other.volume_in,
            self.volume_out + other.volume_out,
            self.weighted_distance + other.weighted_distance,
            min(lows) if lows else None,
            max(highs) if highs else None,
        )


NOTHING = AggregationQuality(0, 0, 0, 0, 0)

LIMB: Final = 21
"""Bits of a limb: the product of two, summed over up to half a million levels, stays within int64."""
MASK: Final = (1 << LIMB) - 1
MAXIMUM_LEVELS: Final = 1 << 19


@compiled(takes="integers, integers, integer", returns="own integers")
def limb_sums(price: Integers, quantity: Integers, bucket_size: int) -> Integers:
    """Σ quantity in three limbs and Σ quantity x (price - floor of its bucket) in five (compiled).

    Sums of 1e-16 units leave int64, so each number is cut into limbs of 21 bits, and what belongs to one power is
    summed by itself; :func:`exact_sums` puts the powers together.
    """
    volume0 = volume1 = volume2 = power0 = power1 = power2 = power3 = power4 = 0
    edge = np.int64(0)
    for i in range(price.size):
        # Levels come best first, so the next one mostly lies in the same bucket: compare before dividing.
        if i == 0 or price[i] < edge or price[i] - edge >= bucket_size:
            edge = price[i] // bucket_size * bucket_size
        distance = price[i] - edge
        q0, q1, q2 = quantity[i] & MASK, (quantity[i] >> LIMB) & MASK, quantity[i] >> (2 * LIMB)
        d0, d1, d2 = distance & MASK, (distance >> LIMB) & MASK, distance >> (2 * LIMB)
        volume0 += q0
        volume1 += q1
        power0 += q0 * d0
        power1 += q0 * d1 + q1 * d0
        power2 += q1 * d1
        if q2 != 0 or d2 != 0:
            volume2 += q2
            power2 += q0 * d2 + q2 * d0
            power3 += q1 * d2 + q2 * d1
            power4 += q2 * d2
    return np.array([volume0, volume1, volume2, power0, power1, power2, power3, power4])


def exact_sums(price: Integers, quantity: Integers, bucket_size: int) -> tuple[int, int]:
    """Σ quantity, and Σ quantity x (price - floor of its bucket), as Python integers that cannot overflow."""
    volume = distance = 0
    for first in range(0, len(price), MAXIMUM_LEVELS):
        part = slice(first, first + MAXIMUM_LEVELS)
        sums = limb_sums(price[part], quantity[part], bucket_size).tolist()
        volume += sum(value << (LIMB * power) for power, value in enumerate(sums[:3]))
        distance += sum(value << (LIMB * power) for power, value in enumerate(sums[3:]))
    return volume, distance


def aggregation_quality(
    price: Integers, quantity: Integers, bucket_size: int, bucket_quantity: Integers
) -> AggregationQuality:
    """Quality of one aggregation, exact and independent of the order of the levels.

    Parameters
    ----------
    price, quantity : ndarray of int64, shape (n,)
        The levels that went in, units of 1e-8.
    bucket_size : int
        Width of a bucket, units of 1e-8.
    bucket_quantity : ndarray of int64
        The sums that came out.

    Examples
    --------
    >>> levels = np.array([150_000_000, 250_000_000]), np.array([100_000_000, 300_000_000])
    >>> quality = aggregation_quality(*levels, 100_000_000, np.array([100_000_000, 300_000_000]))
    >>> quality.price_accuracy_loss, quality.volume_preservation, quality.compression_ratio
    (0.5, 1.0, 1.0)
    """
    volume, distance = exact_sums(price, quantity, bucket_size)
    return AggregationQuality(
        levels_in=len(quantity),
        buckets_out=len(bucket_quantity),
        volume_in=volume,
        volume_out=sum(bucket_quantity.tolist()),
        weighted_distance=distance,
    )


def depth_quality(
    instruments: Sequence[Instrument], depth_snapshots: pd.DataFrame, dollar_depth: pd.DataFrame
) -> dict[str, AggregationQuality]:
    """Quality of the aggregation of ``depth_snapshots`` into ``dollar_depth``, per instrument key.

    Both frames must cover the same window; an instrument without rows in either has no entry.
    """
    qualities: dict[str, AggregationQuality] = {}
    for instrument in instruments:
        books = instrument_rows(depth_snapshots, instrument.key)
        out = integers(dollar_depth, "quantity", instrument_rows(dollar_depth, instrument.key))
        low, high = (integers(depth_snapshots, f"coverage_{end}", books) for end in ("low", "high"))
        if not len(low) and not len(out):
            continue
        quality = AggregationQuality(0, len(out), 0, sum(out.tolist()), 0)
        if len(low):
            quality += AggregationQuality(0, 0, 0, 0, 0, int(low.min()), int(high.max()))
        for side in ("bid", "ask"):
            price, quantity = (depth_snapshots[f"{side}_{what}"].to_numpy()[books] for what in ("price", "quantity"))
            quality += _levels_in(zip(price, quantity, strict=True), instrument.bucket_size)
        qualities[instrument.key] = quality
    return qualities


def _levels_in(books: Iterable[tuple[Integers, Integers]], bucket_size: int) -> AggregationQuality:
    nothing_out = np.empty(0, np.int64)
    return sum(
        (aggregation_quality(price, quantity, bucket_size, nothing_out) for price, quantity in books), start=NOTHING
    )
