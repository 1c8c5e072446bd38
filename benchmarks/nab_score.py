"""The score of the Numenta Anomaly Benchmark: how early detections lie in the labelled windows, less false ones.

Belongs here: the scoring function of Lavin and Ahmad (2015), Evaluating Real-time Anomaly Detection Algorithms. Does
not belong here: reading files, running detectors (``nab``).

* The first 15 % of a file (750 rows at most) are not scored.
* A window is worth what its best detection is worth, s(-(right - i + 1) / width) / s(-1) with
  s(y) = 2 / (1 + e^(5 y)) - 1, so nearly 1 at its left end and nearly 0 at its right end; a window without one costs
  the profile's weight of a miss.
* A detection elsewhere costs the profile's weight of a false one times s((i - right) / (width - 1)) of the window
  before it, the whole weight beyond three widths or where there was no window.
* The sum over all files is scaled so that saying nothing is 0 and a detection at the left end of every window is 100.
* Every row whose score reaches the threshold is a detection; the threshold is one for all files, NAB's is the best.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

PROBATION: Final = 0.15
LONGEST_PROBATION: Final = 750
FURTHEST: Final = 3.0

Reals = NDArray[np.float64]
Window = tuple[int, int]
"""First and last row."""


@dataclass(frozen=True)
class Profile:
    """What detections are worth.

    Parameters
    ----------
    right, miss, false : float
        Weights of a window that is found, of one that is missed, of a false detection.
    """

    right: float
    miss: float
    false: float


class NabScore(NamedTuple):
    """Of all files together.

    Parameters
    ----------
    score : float
        0: as good as saying nothing, 100: perfect.
    threshold : float
        At which it was reached.
    found, windows, false : int
        Windows with a detection, all windows, detections outside of them.
    """

    score: float
    threshold: float
    found: int
    windows: int
    false: int


def worth(position: float) -> float:
    """s(y): 1 far before the end of a window, 0 at it, -1 far behind it.

    Examples
    --------
    >>> worth(0.0), worth(4.0), round(worth(-1.0), 4)
    (0.0, -1.0, 0.9866)
    """
    return -1.0 if position > FURTHEST else 2.0 / (1.0 + math.exp(5.0 * position)) - 1.0


def row_values(rows: int, windows: Sequence[Window]) -> tuple[NDArray[np.int64], Reals]:
    """Of each row: number of the window it lies in or -1, and what a detection there is worth before weighting."""
    inside, values = np.full(rows, -1, np.int64), np.full(rows, -1.0)
    for number, (left, right) in enumerate(windows):
        width = right - left + 1
        following = windows[number + 1][0] if number + 1 < len(windows) else rows
        for i in range(left, right + 1):
            inside[i], values[i] = number, worth(-(right - i + 1) / width) / worth(-1.0)
        for i in range(right + 1, following):
            values[i] = worth((i - right) / (width - 1)) if width > 1 else -1.0
    return inside, values


def nab_score(
    scores: Mapping[str, Reals],
    windows: Mapping[str, Sequence[Window]],
    profile: Profile,
    threshold: float | None = None,
) -> NabScore:
    """Score all files together.

    Parameters
    ----------
    scores : mapping of str to ndarray
        Anomaly scores of each file's rows.
    windows : mapping of str to sequence of Window
        Labelled windows of the same files, ascending.
    threshold : float, optional
        From which a score is a detection; not given: the best one.

    Examples
    --------
    One window in rows 40…59; one detection at its left end, one false one long before.

    >>> found = np.zeros(100)
    >>> found[[20, 40]] = 1.0
    >>> score = nab_score({"a": found}, {"a": [(40, 59)]}, Profile(right=1.0, miss=1.0, false=0.11))
    >>> round(score.score, 3)     # (1 - 0.11 + 1) / 2
    94.5
    """
    seen, numbers, values = [np.empty(0)], [np.empty(0, np.int64)], [np.empty(0)]
    total_windows = 0
    for name, rows in scores.items():
        inside, worths = row_values(len(rows), windows[name])
        scored = np.arange(min(int(PROBATION * len(rows)), LONGEST_PROBATION), len(rows))
        scored = scored[rows[scored] > 0]
        seen.append(rows[scored])
        numbers.append(np.where(inside[scored] >= 0, inside[scored] + total_windows, -1))
        values.append(worths[scored])
        total_windows += len(windows[name])
    all_scores, all_numbers, all_values = np.concatenate(seen), np.concatenate(numbers), np.concatenate(values)
    order = np.argsort(-all_scores, kind="stable")
    best = np.full(total_windows, -profile.miss)
    found, false, total = 0, 0, -profile.miss * total_windows
    reached: list[tuple[float, float, int, int]] = [(total, math.inf, 0, 0)]
    for place, i in enumerate(order.tolist()):
        number, value = int(all_numbers[i]), float(all_values[i])
        if number < 0:
            false += 1
            total += profile.false * value
        elif value * profile.right > best[number]:
            found += bool(best[number] < 0)
            total += value * profile.right - best[number]
            best[number] = value * profile.right
        last = place + 1 == len(order) or all_scores[order[place + 1]] < all_scores[i]
        if last and (threshold is None or all_scores[i] >= threshold):
            reached.append((total, float(all_scores[i]), found, false))
    chosen = max(reached, key=lambda one: one[0]) if threshold is None else reached[-1]
    nothing, perfect = -profile.miss * total_windows, profile.right * total_windows
    scaled = 100 * (chosen[0] - nothing) / (perfect - nothing) if total_windows else math.nan
    return NabScore(float(scaled), chosen[1] if threshold is None else threshold, chosen[2], total_windows, chosen[3])
