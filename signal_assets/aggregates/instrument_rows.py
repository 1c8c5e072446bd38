"""The rows of one instrument in a frame that holds several.

Belongs here: picking rows by instrument and putting text columns together cheaply. Does not belong here: any sums.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Rows = slice | NDArray[np.intp]


def instrument_rows(frame: pd.DataFrame, instrument: str, time: str | None = None) -> Rows:
    """Positions of the instrument's rows: a slice where they lie together (frames sorted by key), else an index.

    Parameters
    ----------
    frame : DataFrame
        With a column ``instrument``.
    time : str or None
        Column by which the picked rows must ascend; rows that do not are put in order, stably.
    """
    positions = np.flatnonzero((frame["instrument"] == instrument).to_numpy(dtype=bool))
    if time is not None and len(positions) > 1:
        times = frame[time].to_numpy()[positions]
        if bool((times[1:] < times[:-1]).any()):
            return positions[np.argsort(times, kind="stable")]
    if len(positions) == 0:
        return slice(0, 0)
    first, last = int(positions[0]), int(positions[-1])
    return slice(first, last + 1) if last - first + 1 == len(positions) else positions


def integers(frame: pd.DataFrame, column: str, rows: Rows) -> NDArray[np.int64]:
    """The column's values at ``rows`` as int64 (a view where ``rows`` is a slice)."""
    values: NDArray[np.int64] = frame[column].to_numpy(dtype=np.int64)[rows]
    return values


def text(words: Sequence[str], codes: NDArray[np.integer]) -> object:
    """A text column that says ``words[code]`` for every code, without making a Python string per row."""
    return pd.array(list(words), dtype="str").take(np.asarray(codes, dtype=np.intp))
