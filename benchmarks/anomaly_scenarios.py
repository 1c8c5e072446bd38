"""Alerts against planted events: how many are found, how fast, and how often there is nothing behind an alert.

Belongs here: the measurement, on the built-in scenarios with the seeds kept for reporting. Does not belong here: the
scenarios (``signal_assets/anomalies/scenarios``), the matching (``signal_assets/anomalies/truth_score``).

The first day of each series is for learning: nothing is planted there and no alert counts. The plain detectors have no
alerts of their own: a vote after the configured cool-down without one is an alert, as in the anomaly stage.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.measurement import console, seconds_of
from signal_assets.anomalies.detector import Detector
from signal_assets.anomalies.novelty_detector import NoveltyDetector
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.scenarios import (
    NOISES,
    ROWS_A_DAY,
    SCENARIOS,
    TEST_SEEDS,
    Scenario,
    make_scenario,
)
from signal_assets.anomalies.statistical_detectors import (
    EmaResidual,
    InterQuartileRange,
    MedianAbsoluteDeviation,
    ZScore,
)
from signal_assets.anomalies.statistical_ensemble import StatisticalEnsemble
from signal_assets.anomalies.truth_score import TruthScore, alert_delays, score_alerts
from signal_assets.event_time import MINUTE, SECOND

Rows = NDArray[np.int64]
Alerting = Callable[[Scenario], Rows]

TOLERANCE: Final = 5 * MINUTE
"""How long after its end an event may still be reported."""
COOL_DOWN: Final = AnomalyParameters().cool_down // MINUTE
SUDDEN: Final = ("spike", "level_shift", "variance_change")
"""Kinds that count for the recall; drift is reported beside it."""
SHORT_WINDOWS: Final = (1_440, 720)
SHORT_THRESHOLD: Final = 2.5
"""What the novelty detector asks for where its window is a day or less."""


def by_votes(make: Callable[[], Detector]) -> Alerting:
    """Rows of the votes that come after COOL_DOWN values without one."""

    def alerting(scenario: Scenario) -> Rows:
        voted = np.flatnonzero(make().score(scenario.times, scenario.values).vote)
        return voted[np.diff(voted, prepend=-COOL_DOWN - 1) > COOL_DOWN]

    return alerting


def by_alerts(make: Callable[[], NoveltyDetector]) -> Alerting:
    """Rows of the novelty detector's alerts."""

    def alerting(scenario: Scenario) -> Rows:
        return np.flatnonzero(make().judge(scenario.times, scenario.values).alerts)

    return alerting


def _short(window: int) -> Alerting:
    return by_alerts(lambda: NoveltyDetector(threshold=SHORT_THRESHOLD, window=window))


DETECTORS: Final[Mapping[str, Alerting]] = {
    "z_score": by_votes(ZScore),
    "iqr": by_votes(InterQuartileRange),
    "mad": by_votes(MedianAbsoluteDeviation),
    "ema": by_votes(EmaResidual),
    "ensemble": by_votes(lambda: StatisticalEnsemble(AnomalyParameters())),
    "novelty": by_alerts(NoveltyDetector),
    **{f"novelty, window {window:,}": _short(window) for window in SHORT_WINDOWS},
}


def all_scenarios(seeds: Iterable[int]) -> list[Scenario]:
    """Every scenario with every noise and seed."""
    return [make_scenario(name, noise, seed) for name in SCENARIOS for noise in NOISES for seed in seeds]


def alerts_on(alerting: Alerting, scenarios: Iterable[Scenario]) -> dict[str, pd.DataFrame]:
    """The alerts of a detector on each series after its first day, as ``truth_score`` takes them."""
    found = {}
    for one in scenarios:
        rows = alerting(one)
        times = one.times[rows[rows >= ROWS_A_DAY]]
        found[one.name] = pd.DataFrame({"instrument": one.name, "time": times, "alert": True})
    return found


def findings(alerts: Mapping[str, pd.DataFrame], scenarios: Sequence[Scenario]) -> "Findings":
    """What the alerts say of these series."""
    return Findings(
        pd.concat([one.truth() for one in scenarios], ignore_index=True),
        pd.concat([alerts[one.name] for one in scenarios], ignore_index=True),
        sum(len(one.values) // ROWS_A_DAY - 1 for one in scenarios),
    )


class Findings:
    """The alerts of one detector on some series, and what was planted there."""

    def __init__(self, planted: pd.DataFrame, alerts: pd.DataFrame, series_days: int) -> None:
        self.planted, self.alerts, self.series_days = planted, alerts, series_days
        self.planted["delay"] = alert_delays(planted, alerts, TOLERANCE) * (SECOND / MINUTE)

    def of(self, *kinds: str) -> pd.DataFrame:
        """The planted events of these kinds, with the delay in values."""
        return self.planted[self.planted["kind"].isin(kinds)]

    def recall(self, *kinds: str) -> float:
        """Share of the planted events of these kinds that an alert hit."""
        return float(self.of(*kinds)["delay"].notna().mean())

    def delay(self, kind: str) -> float:
        """Median delay of those that were hit, in values."""
        return float(self.of(kind)["delay"].median())

    def score(self) -> TruthScore:
        """All kinds together."""
        return score_alerts(self.planted, self.alerts, TOLERANCE)

    def false_per_day(self) -> float:
        """Alerts with nothing behind them, per series and day."""
        score = self.score()
        return (score.alerts - score.right) / self.series_days

    def cells(self) -> list[str]:
        """A row of the table."""
        recalls = [self.recall(kind) for kind in SUDDEN] + [self.recall(*SUDDEN), self.recall("drift")]
        return [
            *("–" if np.isnan(recall) else f"{recall:.3f}" for recall in recalls),
            f"{self.score().precision:.3f}",
            f"{self.false_per_day():.3f}",
            *("–" if np.isnan(delay) else f"{delay:.0f}" for delay in map(self.delay, ("spike", "level_shift"))),
        ]


COLUMNS: Final = ("spikes", "shifts", "variance", "the three", "drift", "precision", "false a day", "delay", "delay")


def _table(title: str, first: str) -> Table:
    table = Table(first, title=title)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    return table


def main(out: Console | None = None) -> None:
    """Print the tables."""
    out = out or console()
    scenarios = all_scenarios(TEST_SEEDS)
    alerts = {name: alerts_on(alerting, scenarios) for name, alerting in DETECTORS.items()}
    found = {name: findings(of_detector, scenarios) for name, of_detector in alerts.items()}
    days = found["novelty"].series_days
    title = (
        f"{len(scenarios)} series, {days:,} series-days; recall by kind, delays of spikes and level shifts in values"
    )
    table = _table(title, "detector")
    for name, of_detector in found.items():
        table.add_row(name, *of_detector.cells())
    out.print(table)
    out.print("goal of the novelty detector: the three ≥ 0.95, false a day ≤ 0.1, delays ≤ 2")
    parts = _table("The novelty detector, by scenario and noise", "series")
    for part in (*SCENARIOS, *NOISES):
        some = [one for one in scenarios if part in one.name.split(".")]
        parts.add_row(part, *findings(alerts["novelty"], some).cells())
    out.print(parts)
    out.print(_speed(scenarios[0]))


def _speed(one: Scenario) -> str:
    """Of the novelty detector with its pasts full, a value."""
    batch = min(seconds_of(lambda: NoveltyDetector().judge(one.times, one.values)) for _ in range(3)) / len(one.values)
    detector, full = NoveltyDetector(), len(one.values) // 2
    detector.judge(one.times[:full], one.values[:full])
    pairs = zip(one.times[full:].tolist(), one.values[full:].tolist(), strict=True)
    online = [seconds_of(partial(detector.update, time, value)) for time, value in pairs]
    p50, p99 = np.percentile(online, [50, 99]) * 1e6
    return f"novelty, µs a value: batch {batch * 1e6:.1f}, one by one p50 {p50:.1f}, p99 {p99:.1f}"


if __name__ == "__main__":
    main()
