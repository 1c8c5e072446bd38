"""Runs: stretches of neighbouring rows for which something holds.

Belongs here: finding them. Does not belong here: what holds (``liquidity_vacuum``, ``volume_nodes``).
"""

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled

Integers = NDArray[np.int64]


@compiled(takes="flags, integers", returns="own integers, own integers, own integers")
def runs_of(holds: NDArray[np.bool_], quantity: Integers) -> tuple[Integers, Integers, Integers]:
    """First row of each run, the row after its last, and the sum of its quantities (compiled).

    Examples
    --------
    >>> holds = np.array([True, False, True, True])
    >>> [column.tolist() for column in runs_of(holds, np.array([5, 6, 7, 8]))]
    [[0, 2], [1, 4], [5, 15]]
    """
    start = np.empty(holds.size, np.int64)
    stop = np.empty(holds.size, np.int64)
    total = np.empty(holds.size, np.int64)
    found = 0
    for row in range(holds.size):
        if holds[row]:
            if row == 0 or not holds[row - 1]:
                start[found] = row
                total[found] = 0
                found += 1
            stop[found - 1] = row + 1
            total[found - 1] += quantity[row]
    return start[:found].copy(), stop[:found].copy(), total[:found].copy()
