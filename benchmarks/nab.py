"""The detectors on series in NAB's layout, results in NAB's layout: ``python -m benchmarks.nab --data DIR --out DIR``.

Belongs here: reading ``data/<category>/<file>.csv`` (or ``.csv.gz``), one detector of each kind per file, writing
``<detector>/<category>/<detector>_<file>.csv``, and the table of scores where the folder has NAB's labels. Does not
belong here: the score (``nab_score``), the detectors (``signal_assets/anomalies``).

One set of parameters for all files; each row is scored from the rows before it and itself alone.
"""

import argparse
import csv
import gzip
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table

from benchmarks.measurement import console
from benchmarks.nab_score import NabScore, Profile, Window, nab_score
from signal_assets.anomalies.detector import Detector
from signal_assets.anomalies.novelty_detector import NoveltyDetector
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.severity import tail_probability
from signal_assets.anomalies.statistical_detectors import (
    EmaResidual,
    InterQuartileRange,
    MedianAbsoluteDeviation,
    ZScore,
)
from signal_assets.anomalies.statistical_ensemble import StatisticalEnsemble
from signal_assets.event_time import from_datetime

Reals = NDArray[np.float64]
Scoring = Callable[[NDArray[np.int64], Reals], Reals]

LABELS: Final = "combined_windows.json"
PROFILES: Final = "profiles.json"
LARGEST: Final = 0.999999
"""A vote's score; what votes for nothing lies below."""


class NabLayoutError(ValueError):
    """A folder or a file is not as NAB lays them out."""


@dataclass(frozen=True)
class Series:
    """One file: ``name`` is ``<category>/<file>.csv``, times are µs UTC."""

    name: str
    stamps: Sequence[str]
    times: NDArray[np.int64]
    values: Reals


def voting(make: Callable[[], Detector]) -> Scoring:
    """1 - tail probability of its distance, so that NAB's threshold is one on σ; its own votes come first."""

    def scored(times: NDArray[np.int64], values: Reals) -> Reals:
        sigma, _, _, vote = make().score(times, values)
        tails = np.array([tail_probability(one) for one in np.nan_to_num(sigma).tolist()])
        return np.where(vote != 0, LARGEST + (1 - LARGEST) * (1 - tails), LARGEST * (1 - tails))

    return scored


def novelty(times: NDArray[np.int64], values: Reals) -> Reals:
    """Strength s of an alert as s / (1 + s); 0 where there is none."""
    strengths = NoveltyDetector().judge(times, values).alerts
    return strengths / (1 + strengths)


DETECTORS: Final[Mapping[str, Scoring]] = {
    "z_score": voting(ZScore),
    "iqr": voting(InterQuartileRange),
    "mad": voting(MedianAbsoluteDeviation),
    "ema": voting(EmaResidual),
    "ensemble": voting(lambda: StatisticalEnsemble(AnomalyParameters())),
    "novelty": novelty,
}
OWN_THRESHOLD: Final = {name: LARGEST for name in DETECTORS} | {"novelty": 1e-9}
"""From where on a score means that the detector itself would have spoken."""


def read_series(folder: Path) -> list[Series]:
    """Every series below ``folder`` or its folder ``data``.

    Raises
    ------
    NabLayoutError
        If there is none, or one cannot be read: one line says which, where and why.
    """
    root = folder / "data" if (folder / "data").is_dir() else folder
    files = sorted([*root.glob("*/*.csv"), *root.glob("*/*.csv.gz")])
    if not files:
        raise NabLayoutError(f"{folder}: no <category>/<file>.csv or .csv.gz in it or in its folder data")
    return [_read(file) for file in files]


def _read(file: Path) -> Series:
    opening: Any = gzip.open if file.suffix == ".gz" else open
    with opening(file, "rt", newline="") as lines:
        rows = csv.reader(lines)
        if next(rows, None) != ["timestamp", "value"]:
            raise NabLayoutError(f"{file}: the first line must be timestamp,value")
        stamps, times, values = [], [], []
        for number, row in enumerate(rows, start=2):
            try:
                stamp, value = row
                times.append(from_datetime(datetime.fromisoformat(f"{stamp}+00:00")))
                values.append(float(value))
            except ValueError as error:
                raise NabLayoutError(f"{file}, line {number}: {error}") from error
            stamps.append(stamp)
    name = f"{file.parent.name}/{file.name.removesuffix('.gz')}"
    return Series(name, stamps, np.array(times, np.int64), np.array(values, np.float64))


def read_windows(file: Path, series: Sequence[Series]) -> dict[str, list[Window]]:
    """First and last row of every labelled window, by series.

    Raises
    ------
    NabLayoutError
        If a series has no entry.
    """
    labels = json.loads(file.read_text("utf-8"))
    windows: dict[str, list[Window]] = {}
    for one in series:
        if one.name not in labels:
            raise NabLayoutError(f"{file}: nothing is said of {one.name}")
        ends = [[from_datetime(datetime.fromisoformat(f"{end}+00:00")) for end in pair] for pair in labels[one.name]]
        windows[one.name] = [
            (int(np.searchsorted(one.times, left)), int(np.searchsorted(one.times, right, side="right")) - 1)
            for left, right in ends
        ]
    return windows


def read_profiles(file: Path) -> dict[str, Profile]:
    """NAB's scoring profiles by name."""
    weights = {name: profile["CostMatrix"] for name, profile in json.loads(file.read_text("utf-8")).items()}
    return {name: Profile(costs["tpWeight"], costs["fnWeight"], costs["fpWeight"]) for name, costs in weights.items()}


def write_result(folder: Path, detector: str, series: Series, scores: Reals) -> None:
    """One file of NAB's results."""
    category, _, file = series.name.partition("/")
    target = folder / detector / category / f"{detector}_{file}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="") as lines:
        rows = csv.writer(lines, lineterminator="\n")
        rows.writerow(["timestamp", "value", "anomaly_score"])
        rows.writerows(zip(series.stamps, series.values.tolist(), scores.tolist(), strict=True))


def score_table(
    results: Mapping[str, Mapping[str, Reals]], windows: Mapping[str, Sequence[Window]], profiles: Mapping[str, Profile]
) -> Table:
    """Scores of every detector under every profile, with NAB's best threshold and with the detector's own."""
    table = Table(title=f"NAB's score, {len(windows)} series, {sum(map(len, windows.values()))} windows")
    table.add_column("detector")
    for name in profiles:
        table.add_column(f"{name.removeprefix('reward_')}\nbest / own threshold", justify="right")
    table.add_column("found, false\n(own, standard)", justify="right")
    for detector, scores in results.items():
        cells, own = [], NabScore(0, 0, 0, 0, 0)
        for number, profile in enumerate(profiles.values()):
            best = nab_score(scores, windows, profile)
            mine = nab_score(scores, windows, profile, OWN_THRESHOLD[detector])
            cells.append(f"{best.score:.1f} / {mine.score:.1f}")
            own = mine if number == 0 else own
        table.add_row(detector, *cells, f"{own.found} of {own.windows}, {own.false}")
    return table


def main(words: Sequence[str] | None = None) -> int:
    """Run the detectors, write what they say, print how good it is where that is known."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nab", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder in NAB's layout")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the results go")
    parser.add_argument("--detector", choices=DETECTORS, action="append", help="only this one (may be repeated)")
    arguments = parser.parse_args(words)
    out = console()
    try:
        series = read_series(arguments.data)
        labels, weights = arguments.data / LABELS, arguments.data / PROFILES
        windows = read_windows(labels, series) if labels.exists() else None
        results: dict[str, dict[str, Reals]] = {}
        for detector in arguments.detector or DETECTORS:
            scores = results[detector] = {}
            for one in track(series, detector, console=out, transient=True):
                scores[one.name] = DETECTORS[detector](one.times, one.values)
                write_result(arguments.out, detector, one, scores[one.name])
    except (NabLayoutError, OSError) as error:
        print(f"benchmarks.nab: {error}", file=sys.stderr)
        return 2
    out.print(f"{len(series)} series, {sum(len(one.values) for one in series):,} rows → {arguments.out}")
    if windows is not None and weights.exists():
        out.print(score_table(results, windows, read_profiles(weights)))
    else:
        out.print(f"no {LABELS} and {PROFILES} in {arguments.data}: nothing to score against")
    return 0


if __name__ == "__main__":
    sys.exit(main())
