"""High-volume and low-volume nodes: where trading stayed, and where it only passed through.

Belongs here: nodes of one profile. Does not belong here: peaks (``wave_peaks``), the value area.

Rows from the profile's first to its last count, those without volume too. A **high-volume node** is a run of adjacent
rows whose volume is at least the 80th percentile of all rows, a **low-volume node** one at most the 20th, strictly
inside the range: at the ends the profile only fades out. Percentiles by nearest rank (the k-th smallest of n with
k = ⌈p·n / 100⌉), so they are volumes that occur, and integers. A row without volume is never high.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from signal_assets.levels.profile import Profile
from signal_assets.levels.runs import runs_of

Integers = NDArray[np.int64]

HIGH_PERCENT: Final = 80
LOW_PERCENT: Final = 20


class VolumeNode(NamedTuple):
    """A run of rows: lowest and highest bucket number, both inside, and the volume in units of 1e-8."""

    low: int
    high: int
    volume: int


def find_volume_nodes(profile: Profile) -> tuple[tuple[VolumeNode, ...], tuple[VolumeNode, ...]]:
    """High-volume and low-volume nodes of a profile, each ascending.

    Examples
    --------
    >>> profile = Profile(np.arange(100, 110), np.array([3, 20, 19, 5, 1, 4, 5, 30, 6, 2]))
    >>> high, low = find_volume_nodes(profile)
    >>> high
    (VolumeNode(low=101, high=102, volume=39), VolumeNode(low=107, high=107, volume=30))
    >>> low
    (VolumeNode(low=104, high=104, volume=1),)
    """
    if not len(profile):
        return (), ()
    # Stretches: every row with volume is one of length 1, every gap between two of them one of its length.
    gap = np.flatnonzero(profile.bucket[1:] - profile.bucket[:-1] > 1)
    start = np.insert(profile.bucket, gap + 1, profile.bucket[gap] + 1)
    volume = np.insert(profile.volume, gap + 1, 0)
    end = np.append(start[1:], profile.bucket[-1] + 1)
    order = np.argsort(volume, kind="stable")
    rank = np.cumsum((end - start)[order])
    rows = int(rank[-1])
    high_limit, low_limit = (
        int(volume[order[np.searchsorted(rank, -(-percent * rows // 100))]]) for percent in (HIGH_PERCENT, LOW_PERCENT)
    )
    high = _nodes(start, end, volume, (volume >= high_limit) & (volume > 0))
    low = _nodes(start, end, volume, (volume <= low_limit) & (volume < high_limit))
    first, last = int(profile.bucket[0]), int(profile.bucket[-1])
    return high, tuple(node for node in low if node.low > first and node.high < last)


def _nodes(start: Integers, end: Integers, volume: Integers, chosen: NDArray[np.bool_]) -> tuple[VolumeNode, ...]:
    first, last, held = runs_of(chosen, volume)
    columns = start[first], end[last - 1] - 1, held
    return tuple(map(VolumeNode, *(column.tolist() for column in columns)))
