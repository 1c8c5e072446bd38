"""Incidents on the simulated venue's market against what it planted there, at one sample a minute and as configured.

The market of the demo, 30 hours a seed: five instruments, an event an hour and instrument – spikes of the price, bursts
of volume, wide spreads and one-sided books of 30 to 90 seconds –, regimes, walls and moves to another node come and go
besides. Detectors are asked by the anomaly stage's machine with the configured settings. What counts as found is an
incident that opens within a planted event of its instrument or one interval after it, told or not; one that opens at
any other time is false. So is an alert, of which there are fewer: of incidents that happen together people are told
once, so they are told of fewer events too. False ones are divided by the days of the series that may tell, and by those
of all series. A column says how many of the false incidents open within three minutes of a move to another node or a
change of regime, which the truth file lists but which are no planted events. The first hours are for learning: nothing
planted there counts, and no incident.

The thresholds were chosen on the seeds CHOSEN_ON, of which the reported ones are none.

Belongs here: the measurement. Does not belong here: planting (``services/simulated_venue``), matching
(``signal_assets/anomalies/truth_score``), generated series (``anomaly_scenarios``).
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table as Grid

from benchmarks.measurement import ROOT, console
from resources.settings import Settings, load_settings
from services.simulated_venue.market_plan import ANOMALY_KINDS, FlowSettings
from services.simulated_venue.order_flow import DEFAULT_START, OrderFlow
from signal_assets.anomalies.alerting import Alerting
from signal_assets.anomalies.anomaly_machine import ENSEMBLE
from signal_assets.anomalies.excess_detector import ExcessDetector
from signal_assets.anomalies.folds import anomalies, anomaly_parameters, detectors_of_features
from signal_assets.anomalies.incident_rows import scopes
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.severity import SEVERITIES
from signal_assets.anomalies.tables import ANOMALIES, METRICS
from signal_assets.anomalies.truth_score import alert_delays, score_alerts
from signal_assets.event_time import DAY, HOUR, MINUTE, SECOND
from signal_assets.fold import frame_of
from signal_assets.instrument import Instrument
from signal_assets.machine import record_class
from signal_assets.market.tables import FEATURES
from tests.lanes.market_run import ingest

CHOSEN_ON: Final = (101, 102, 103, 104, 105, 106, 107, 108)
REPORTED: Final = (301, 302, 303, 304, 401, 402, 403, 404, 405, 406, 407, 408)
HOURS: Final = 30.0
LEARNING: Final = 6 * HOUR
KNOWN: Final = 3 * MINUTE
FLOW: Final = FlowSettings(diff_interval=3_000, trades_per_second=1.0, levels_per_side=250, anomalies_per_day=24.0)
FIRST: Final = DEFAULT_START + LEARNING


@dataclass(frozen=True)
class Market:
    """Features of one seed, and the truth."""

    instruments: Sequence[Instrument]
    steps: Sequence[tuple[int, Sequence[Any]]]
    truth: dict[str, Any]

    @property
    def planted(self) -> pd.DataFrame:
        """Events after the learning."""
        events = pd.DataFrame(self.truth["anomalies"])
        return events[events["start"] > FIRST]


@dataclass(frozen=True)
class Judged:
    """Anomalies of one market, which series it has, and for how many days."""

    market: Market
    anomalies: pd.DataFrame
    series: pd.Series
    days: float


def market(settings: Settings, seed: int, hours: float) -> Market:
    """A generated market, taken in as the live lane does."""
    (instruments,) = settings.groups.values()
    flow = OrderFlow(instruments, seed=seed, days=hours / 24, settings=FLOW)
    raw = ingest(iter(flow), instruments, settings)
    records = sorted(map(record_class(FEATURES)._make, raw.rows[FEATURES.name]), key=attrgetter("time", "instrument"))
    steps = [(time, list(rows)) for time, rows in groupby(records, key=attrgetter("time"))]
    return Market(instruments, steps, flow.truth())


def judged(market: Market, settings: Settings, parameters: AnomalyParameters) -> Judged:
    """What the stage's machine makes of it."""
    (instruments,) = settings.groups.values()
    machine = anomalies(parameters).machine(instruments)
    rows, series = [], set()
    for time, records in market.steps:
        made = machine.step(time, {FEATURES.name: records})
        rows += made.get(ANOMALIES.name, ())
        series |= {row[1] for row in made.get(METRICS.name, ())}
    days = (market.steps[-1][0] - FIRST) / DAY
    return Judged(market, frame_of(ANOMALIES, rows), pd.Series(sorted(series)), days)


def may_tell(series: pd.Series, detector: str, who: Sequence[str], parameters: AnomalyParameters) -> pd.Series:
    """Of which of these series a detector may tell, if these detectors do."""
    asked = {
        feature: {ENSEMBLE, *(make(parameters).name for make in makers)}
        for feature, makers in detectors_of_features(parameters).items()
    }

    def tells(feature: str) -> bool:
        first = ExcessDetector.name in who and ExcessDetector.name in asked[feature]
        told_by = {ExcessDetector.name} if first else asked[feature] & set(who)
        return detector in told_by and feature not in parameters.silent

    return series.str.rpartition(".")[2].map(tells).astype(bool)


def filed(
    found: pd.DataFrame, who: Sequence[str], parameters: AnomalyParameters, instruments: Sequence[Instrument]
) -> pd.DataFrame:
    """The anomalies that make incidents if these detectors tell; ``opened``: opens one; ``alert``: people are told."""
    severe = SEVERITIES[SEVERITIES.index(parameters.alert_severity) :]
    told = pd.Series(False, found.index)
    for name, rows in found.groupby("detector"):
        told[rows.index] = may_tell(rows["series"], str(name), who, parameters)
    chosen = found[told & found["severity"].isin(severe)]
    filing, taken = Alerting(parameters, scopes(instruments, parameters.group_by)), []
    for row in chosen.itertuples():
        filing.close(row.time)
        taken.append(filing.take(row.time, row.instrument, row.series, row.sigma, row.severity, row.direction))
    opened, alert = (np.array([getattr(one, name) for one in taken], dtype=bool) for name in ("opened", "alert"))
    chosen = chosen.assign(opened=opened, alert=alert)
    return chosen[chosen["time"] > FIRST]


def at_known_change(truth: dict[str, Any], opened: pd.DataFrame) -> int:
    """How many open soon after a move to another node of their instrument, or a change of regime."""
    nodes, regimes = pd.DataFrame(truth["nodes"]), pd.DataFrame(truth["regimes"])
    count = 0
    for instrument, time in zip(opened["instrument"], opened["time"], strict=True):
        moves = nodes.loc[nodes["instrument"] == instrument, "start"]
        changes = np.concatenate([moves.to_numpy(np.int64), regimes["start"].to_numpy(np.int64)])
        count += bool(((time >= changes) & (time <= changes + KNOWN)).any())
    return count


def figures(found: Sequence[Judged], who: Sequence[str], parameters: AnomalyParameters) -> Iterator[str]:
    """Cells in the order of HEADS."""
    tolerance = parameters.metrics_interval
    kinds, delays, right, opened_count, told_of, false_alerts, known = [], [], 0, 0, 0, 0, 0
    telling_days, all_days = 0.0, 0.0
    for one in found:
        planted, rows = one.market.planted, filed(one.anomalies, who, parameters, one.market.instruments)
        opened = rows[rows["opened"]].assign(alert=True)
        score, told = score_alerts(planted, opened, tolerance), score_alerts(planted, rows, tolerance)
        kinds.append(planted["kind"])
        delays.append(alert_delays(planted, opened, tolerance))
        wrong = [score_alerts(planted, opened.iloc[[i]], tolerance).right == 0 for i in range(len(opened))]
        known += at_known_change(one.market.truth, opened[np.array(wrong, dtype=bool)])
        right, opened_count = right + score.right, opened_count + score.alerts
        told_of, false_alerts = told_of + told.found, false_alerts + told.alerts - told.right
        telling = np.logical_or.reduce([may_tell(one.series, name, who, parameters) for name in who])
        telling_days, all_days = telling_days + telling.sum() * one.days, all_days + len(one.series) * one.days
    kind, delay = pd.concat(kinds, ignore_index=True), pd.concat(delays, ignore_index=True)
    recall, false = delay.notna().groupby(kind).mean(), opened_count - right
    yield from (f"{recall.get(name, math.nan):.3f}" for name in ANOMALY_KINDS)
    yield f"{delay.notna().mean():.3f} of {len(delay):,}"
    yield f"{told_of / len(delay):.3f}"
    yield f"{right / max(opened_count, 1):.2f}"
    yield f"{false_alerts / telling_days:.3f}"
    yield f"{false / telling_days:.3f} in {telling_days:,.0f} days"
    yield f"{false / all_days:.3f} in {all_days:,.0f}"
    yield f"{known} of {false}"
    yield f"{delay.median():.0f} s = {delay.median() * SECOND / tolerance:.1f}"


HEADS: Final = (
    *ANOMALY_KINDS,
    "all planted",
    "people told of",
    "precision",
    "false alerts, a day of a series that may tell",
    "false incidents, the same",
    "a day of any series",
    "of them at a known change",
    "median delay, in samples",
)


def main(out: Console | None = None, seeds: Sequence[int] = REPORTED, hours: float = HOURS) -> None:
    """Print the table."""
    out = out or console()
    settings = load_settings(Path(ROOT) / "config" / "signals.yaml")
    configured = anomaly_parameters(settings.anomalies, settings.grid_milliseconds)
    every: dict[int, list[Judged]] = {MINUTE: [], configured.metrics_interval: []}
    with out.status("markets") as status:
        for seed in seeds:
            made = market(settings, seed, hours)
            for interval, found in every.items():
                status.update(f"seed {seed}, a sample in {interval // SECOND} s")
                found.append(judged(made, settings, replace(configured, metrics_interval=interval)))
            made.steps.clear()  # type: ignore[attr-defined]
    grid = Grid("a sample in", "who tells", title=f"Simulated markets, seeds {', '.join(map(str, seeds))}")
    for head in HEADS:
        grid.add_column(head, justify="right")
    for interval, found in every.items():
        parameters = replace(configured, metrics_interval=interval)
        grid.add_row(f"{interval // SECOND} s", "as configured", *figures(found, configured.alerting, parameters))
        for name in configured.raising:
            alone = replace(parameters, silent=())
            grid.add_row(f"{interval // SECOND} s", f"{name} alone, none silent", *figures(found, (name,), alone))
    out.print(grid)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=REPORTED)
    parser.add_argument("--hours", type=float, default=HOURS)
    arguments = parser.parse_args()
    main(seeds=arguments.seeds, hours=arguments.hours)
