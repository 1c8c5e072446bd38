"""How fast the detectors are, many values at once and one at a time, beside pandas, river and PyOD in the same run.

Where a peer computes what one of ours does, that is checked first: no times of different results. What of ours it
computes is named in the table; ours does more – a distance, a band, a vote, the way out for quantized series. Peers
that answer another question stand below, for the order of magnitude.

What one call takes is counted in seconds of the processor, of the one thread that computes, so that other programs on
the machine count less; the single calls of the second and third table are counted by the clock on the wall.

Belongs here: the measurement. Does not belong here: the detectors (``signal_assets/anomalies``).
"""

import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.measurement import console
from signal_assets.anomalies.detector import Detector
from signal_assets.anomalies.novelty_detector import NoveltyDetector
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.statistical_detectors import (
    EmaResidual,
    InterQuartileRange,
    MedianAbsoluteDeviation,
    ZScore,
)
from signal_assets.anomalies.statistical_ensemble import StatisticalEnsemble

Reals = NDArray[np.float64]

WINDOW: Final = 100
POINTS: Final = 1_000_000
CHECKED: Final = 5_000
RUNS: Final = 5
ONE_AT_A_TIME: Final = 50_000
NOVELTY_POINTS: Final = 40_000
NOVELTY_WINDOWS: Final = (720, 5_000)
"""As configured for the market's series; as measured on the Numenta Anomaly Benchmark."""
INTERVAL: Final = 10_000_000
GOAL_BATCH: Final = 5e6
GOAL_ONLINE: Final = 5.0
GOAL_NOVELTY: Final = 25.0
GOAL_NOVELTY_P99: Final = 1_000.0


@dataclass(frozen=True)
class Pair:
    """One of ours and who computes the same.

    Parameters
    ----------
    make
        Ours, cold.
    batch_peer
        What pandas computes of all values: a frame of ``centre`` and ``scale`` as ours has them, by values up to each.
    batch_name, online_name
        What the peers are.
    online_peer
        What takes one value after the other.
    same
        Whether the online peer says the same, checked.
    """

    make: Callable[[], Detector]
    batch_peer: Callable[[pd.Series], Any]
    batch_name: str
    online_peer: Callable[[], Callable[[float], Any]]
    online_name: str
    same: bool = True


def pairs() -> dict[str, Pair]:
    """The four statistical detectors."""
    from river import anomaly, stats

    def gaussian() -> Callable[[float], float]:
        scorer = anomaly.GaussianScorer(window_size=WINDOW, grace_period=30)

        def step(value: float) -> float:
            said = scorer.score_one(None, value)
            scorer.learn_one(None, value)
            return float(said)

        return step

    def quartiles() -> Callable[[float], tuple[float, float]]:
        lower, upper = stats.RollingQuantile(0.25, WINDOW), stats.RollingQuantile(0.75, WINDOW)

        def step(value: float) -> tuple[float, float]:
            said = lower.get(), upper.get()
            lower.update(value)
            upper.update(value)
            return said

        return step

    def deviation() -> Callable[[float], float]:
        mad = stats.MAD()

        def step(value: float) -> float:
            mad.update(value)
            said: float = mad.get()
            return said

        return step

    def average() -> Callable[[float], float | None]:
        mean = stats.EWMean(fading_factor=0.1)

        def step(value: float) -> float | None:
            said: float | None = mean.get()
            mean.update(value)
            return said

        return step

    return {
        "z_score": Pair(
            ZScore,
            lambda x: (x.rolling(WINDOW).mean(), x.rolling(WINDOW).std()),
            "pandas rolling mean, std",
            gaussian,
            "river GaussianScorer",
        ),
        "iqr": Pair(
            InterQuartileRange,
            lambda x: (x.rolling(WINDOW).quantile(0.25), x.rolling(WINDOW).quantile(0.75)),
            "pandas two rolling quantiles",
            quartiles,
            "river two RollingQuantile",
        ),
        "mad": Pair(
            MedianAbsoluteDeviation,
            lambda x: (x.rolling(WINDOW).median(),),
            "pandas rolling median only",
            deviation,
            "river MAD, approximate",
            same=False,
        ),
        "ema": Pair(
            EmaResidual,
            lambda x: (x.ewm(alpha=0.1, adjust=False).mean(),),
            "pandas ewm mean only",
            average,
            "river EWMean only",
        ),
    }


def rolling_mad(x: pd.Series) -> pd.Series:
    """The exact rolling MAD in pandas, value by value in Python."""
    return x.rolling(WINDOW).apply(lambda held: np.median(np.abs(held - np.median(held))), raw=True)


def check_equal(found: dict[str, Pair], values: Reals) -> None:
    """Our bands and what they are made of, against the peers."""
    x = pd.Series(values)
    times = np.arange(len(values)) * INTERVAL
    judged = {name: pair.make().score(times, values) for name, pair in found.items()}
    centre = {name: ((said.expected_low + said.expected_high) / 2)[1:] for name, said in judged.items()}
    width = {name: ((said.expected_high - said.expected_low) / 2)[1:] for name, said in judged.items()}
    rest = slice(WINDOW, None)
    mean, deviation = found["z_score"].batch_peer(x)
    first, third = found["iqr"].batch_peer(x)
    (median,), (average,) = found["mad"].batch_peer(x), found["ema"].batch_peer(x)
    unit = 0.6744897501960817  # third quartile of the normal distribution
    for ours, theirs in (
        (centre["z_score"], mean),
        (width["z_score"] / 3, deviation),
        (centre["iqr"] - width["iqr"] / 4, first),  # fences stand 1.5 ranges outside the quartiles: 2 from their middle
        (centre["iqr"] + width["iqr"] / 4, third),
        (centre["mad"], median),
        (width["mad"] / 3 * unit, rolling_mad(x)),
        (centre["ema"], average),
    ):
        np.testing.assert_allclose(ours[rest], theirs.to_numpy()[:-1][rest], rtol=1e-9, atol=1e-9)
    online = {name: pair.online_peer() for name, pair in found.items()}
    said = {
        name: np.array([step(value) for value in values.tolist()], np.float64)
        for name, step in online.items()
        if name != "mad"
    }
    for ours, theirs in (
        ([math.erf(abs(sigma) / math.sqrt(2)) for sigma in judged["z_score"].sigma[1:]], said["z_score"]),
        (centre["iqr"] - width["iqr"] / 4, said["iqr"][:, 0]),
        (centre["iqr"] + width["iqr"] / 4, said["iqr"][:, 1]),
        (centre["ema"], said["ema"]),
    ):
        np.testing.assert_allclose(np.asarray(ours)[rest], theirs[1:][rest], rtol=1e-9, atol=1e-9)


@contextmanager
def one_core() -> Iterator[None]:
    """Everything on one core, so that no peer uses two."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def processor_seconds(run: Callable[[], object]) -> float:
    """Processor time of one call."""
    started = time.process_time()
    run()
    return time.process_time() - started


def interleaved(*runs: Callable[[], object]) -> list[float]:
    """Median seconds of each, taken in turn so that a slow moment meets all of them."""
    taken: list[list[float]] = [[] for _ in runs]
    for _ in range(RUNS):
        for own, run in zip(taken, runs, strict=True):
            own.append(processor_seconds(run))
    return [statistics.median(own) for own in taken]


def warm(make: Callable[[], Detector], times: NDArray[np.int64], values: Reals) -> Detector:
    """A detector whose past is full."""
    detector = make()
    detector.score(times, values)
    return detector


def batch_table(found: dict[str, Pair], values: Reals) -> Table:
    """Many values in one call."""
    table = Table(
        *("detector", "M points/s", "goal", "peer", "its M points/s", "ratio"),
        title=f"One call for {len(values):,} values, window {WINDOW}, one core",
    )
    times, x = np.arange(len(values)) * INTERVAL, pd.Series(values)
    for name, pair in found.items():
        detector = warm(pair.make, times[:CHECKED], values[:CHECKED])
        ours, theirs = interleaved(lambda detector=detector: detector.score(times, values), lambda: pair.batch_peer(x))  # noqa: B023
        table.add_row(
            *(name, f"{len(values) / ours / 1e6:.1f}", f"≥ {GOAL_BATCH / 1e6:.0f}", pair.batch_name),
            *(f"{len(values) / theirs / 1e6:.1f}", f"{theirs / ours:.1f} ×"),
        )
    ensemble = warm(lambda: StatisticalEnsemble(AnomalyParameters()), times[:CHECKED], values[:CHECKED])
    few = pd.Series(values[: 4 * CHECKED])
    ours, theirs = interleaved(lambda: ensemble.score(times, values), lambda: rolling_mad(few))
    rate, slow = len(values) / ours, len(few) / theirs
    table.add_row(
        *("ensemble: all four, vote", f"{rate / 1e6:.1f}", "–", "pandas rolling.apply of MAD only"),
        *(f"{slow / 1e6:.3f}", f"{rate / slow:,.0f} ×"),
    )
    return table


def each_call(step: Callable[[float], object], values: list[float]) -> Reals:
    """Microseconds of every single call."""
    clock, taken = time.perf_counter_ns, np.empty(len(values), np.int64)
    for i, value in enumerate(values):
        began = clock()
        step(value)
        taken[i] = clock() - began
    return taken / 1_000


def loop_microseconds(step: Callable[[float], object], values: list[float]) -> float:
    """Microseconds a call, the loop's own included."""

    def loop() -> None:
        for value in values:
            step(value)

    return processor_seconds(loop) / len(values) * 1e6


def stepping(detector: Detector, after: int) -> Callable[[float], object]:
    """``update`` with a clock that goes on."""
    now = after * INTERVAL

    def step(value: float) -> object:
        nonlocal now
        now += INTERVAL
        return detector.update(now, value)

    return step


def online_table(found: dict[str, Pair], values: Reals) -> Table:
    """One value at a time, called from Python."""
    table = Table(
        *("detector", "µs a value", "p99", "goal", "peer", "its µs", "ratio"),
        title=f"One value at a time from Python, {ONE_AT_A_TIME:,} values, windows full, one core",
    )
    given = values[:ONE_AT_A_TIME].tolist()
    times = np.arange(CHECKED) * INTERVAL
    for name, pair in found.items():
        ours, theirs = stepping(warm(pair.make, times, values[:CHECKED]), CHECKED), pair.online_peer()
        for value in values[:CHECKED].tolist():
            theirs(value)
        mean, peer = interleaved_loops(ours, theirs, given)
        p99 = float(np.quantile(each_call(ours, given), 0.99))
        table.add_row(
            *(name, f"{mean:.2f}", f"{p99:.2f}", f"≤ {GOAL_ONLINE:.0f}", pair.online_name, f"{peer:.2f}"),
            f"{peer / mean:.1f} ×" if pair.same else f"({peer / mean:.1f} ×)",
        )
    return table


def interleaved_loops(ours: Callable[[float], Any], theirs: Callable[[float], Any], given: list[float]) -> list[float]:
    """Median microseconds a value of both."""
    taken = [(loop_microseconds(ours, given), loop_microseconds(theirs, given)) for _ in range(RUNS)]
    return [statistics.median(column) for column in zip(*taken, strict=True)]


def half_space_trees() -> Callable[[float], float]:
    """River's detector for streams of anything, on one feature."""
    from river import anomaly

    trees = anomaly.HalfSpaceTrees(limits={"x": (-6.0, 6.0)}, seed=1)

    def step(value: float) -> float:
        features = {"x": value}
        said = trees.score_one(features)
        trees.learn_one(features)
        return float(said)

    return step


def novelty_table(values: Reals) -> Table:
    """The novelty detector."""
    table = Table(
        *("what", "batch µs a value", "goal", "online µs", "p50", "p99", "most", "goal p99"),
        title="The novelty detector, and other detectors that answer another question; one core",
    )
    times = np.arange(len(values)) * INTERVAL
    for window in NOVELTY_WINDOWS:
        detector = warm(lambda window=window: NoveltyDetector(window=window), times[: 2 * window], values[: 2 * window])
        rest = slice(2 * window, 2 * window + NOVELTY_POINTS // 2)
        (batch,) = interleaved(lambda detector=detector, rest=rest: detector.score(times[rest], values[rest]))
        step = stepping(detector, len(values))
        given = values[-NOVELTY_POINTS:].tolist()
        mean, single = loop_microseconds(step, given), each_call(step, given)
        table.add_row(
            *(f"novelty, window {window:,}", f"{batch / (NOVELTY_POINTS // 2) * 1e6:.1f}", f"≤ {GOAL_NOVELTY:.0f}"),
            *(f"{mean:.1f}", f"{np.quantile(single, 0.5):.1f}", f"{np.quantile(single, 0.99):.1f}"),
            *(f"{single.max():,.0f}", f"< {GOAL_NOVELTY_P99:,.0f}"),
        )
    trees, given = half_space_trees(), values[: ONE_AT_A_TIME // 10].tolist()
    mean, single = loop_microseconds(trees, given), each_call(trees, given)
    table.add_row(
        *("river HalfSpaceTrees", "–", "", f"{mean:.1f}", f"{np.quantile(single, 0.5):.1f}"),
        *(f"{np.quantile(single, 0.99):.1f}", f"{single.max():,.0f}", ""),
    )
    for name, fit in pyod_fits().items():
        table.add_row(
            f"PyOD {name}, all values at once",
            f"{statistics.median(processor_seconds(lambda: fit(values)) for _ in range(3)) / len(values) * 1e6:.3f}",  # noqa: B023
        )
    return table


def pyod_fits() -> dict[str, Callable[[Reals], object]]:
    """PyOD's quick detectors; each looks at the whole series at once, its future included."""
    from pyod.models.ecod import ECOD
    from pyod.models.hbos import HBOS
    from pyod.models.iforest import IForest
    from pyod.models.mad import MAD

    models = {"MAD": MAD, "HBOS": HBOS, "ECOD": ECOD, "IForest": IForest}
    return {name: lambda x, model=model: model().fit(x.reshape(-1, 1)) for name, model in models.items()}


def main(out: Console | None = None) -> None:
    """Check, then print the tables."""
    out = out or console()
    values = np.random.default_rng(1).standard_normal(POINTS)
    found = pairs()
    with one_core(), out.status("detectors") as status:
        check_equal(found, values[:CHECKED])
        out.print(f"ours and the peers give the same on {CHECKED:,} values, to 1e-9")
        out.print(batch_table(found, values))
        status.update("one value at a time")
        out.print(online_table(found, values))
        out.print("In brackets: the peer answers approximately, so its result was not compared.")
        status.update("novelty, river, PyOD")
        out.print(novelty_table(values[: 3 * ONE_AT_A_TIME]))


if __name__ == "__main__":
    main()
