"""Alerts on the market's series against what the simulated venue planted: the choice of who may tell people.

The market of the demo for a day a seed: five instruments, their 35 series, a point every 10 s, an event an hour and
instrument, regimes and walls that come and go besides. Detectors are asked as the anomaly stage asks them, by its
machine; then alerts are counted for each choice of ``alerting``. The first hour is for learning: nothing planted there
counts, and no alert.

The thresholds of the novelty detector for market series were chosen with ``--choose`` on seeds that are not the
reported ones.

Belongs here: the measurement. Does not belong here: planting (``services/simulated_venue``), matching
(``signal_assets/anomalies/truth_score``).
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import pandas as pd
from rich.console import Console
from rich.table import Table as Grid

from benchmarks.measurement import ROOT, console
from resources.settings import Settings, load_settings
from services.simulated_venue.market_plan import FlowSettings
from services.simulated_venue.order_flow import DEFAULT_START, OrderFlow
from signal_assets.anomalies.folds import anomalies, anomaly_parameters
from signal_assets.anomalies.incidents import Incidents
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.severity import SEVERITIES
from signal_assets.anomalies.tables import ANOMALIES, METRICS
from signal_assets.anomalies.truth_score import alert_delays, score_alerts
from signal_assets.event_time import DAY, HOUR
from signal_assets.fold import frame_of
from signal_assets.machine import record_class
from signal_assets.market.tables import FEATURES
from tests.lanes.market_run import ingest

CHOSEN_ON: Final = (101, 102, 103)
REPORTED: Final = (201, 202, 203)
HOURS: Final = 24.0
LEARNING: Final = HOUR
FLOW: Final = FlowSettings(diff_interval=3_000, trades_per_second=1.0, levels_per_side=250, anomalies_per_day=24.0)
WHO: Final = (("ensemble",), ("novelty",), ("ensemble", "novelty"))
CHOICES: Final = (1.25, 1.75, 2.5, 3.25)


@dataclass(frozen=True)
class Market:
    """Features of one seed, and what was planted."""

    steps: Sequence[tuple[int, Sequence[Any]]]
    planted: pd.DataFrame


def market(settings: Settings, seed: int, hours: float) -> Market:
    """A generated market, taken in as the live lane does."""
    (instruments,) = settings.groups.values()
    flow = OrderFlow(instruments, seed=seed, days=hours / 24, settings=FLOW)
    raw = ingest(iter(flow), instruments, settings)
    records = sorted(map(record_class(FEATURES)._make, raw.rows[FEATURES.name]), key=attrgetter("time", "instrument"))
    steps = [(time, list(rows)) for time, rows in groupby(records, key=attrgetter("time"))]
    planted = pd.DataFrame(flow.truth()["anomalies"])
    return Market(steps, planted[planted["start"] > DEFAULT_START + LEARNING])


@dataclass(frozen=True)
class Judged:
    """Anomalies of one seed, and for how many series and days."""

    anomalies: pd.DataFrame
    series_days: float


def judged(market: Market, settings: Settings, parameters: AnomalyParameters) -> Judged:
    """What the stage's machine makes of it."""
    (instruments,) = settings.groups.values()
    machine = anomalies(parameters).machine(instruments)
    rows, series = [], set()
    for time, records in market.steps:
        made = machine.step(time, {FEATURES.name: records})
        rows += made.get(ANOMALIES.name, ())
        series |= {row[1] for row in made.get(METRICS.name, ())}
    days = (market.steps[-1][0] - market.steps[0][0] - LEARNING) / DAY
    return Judged(frame_of(ANOMALIES, rows), len(series) * days)


def alerts(found: pd.DataFrame, who: Sequence[str], parameters: AnomalyParameters) -> pd.DataFrame:
    """Alerts if the anomalies of these detectors alone make incidents."""
    severe = SEVERITIES[SEVERITIES.index(parameters.alert_severity) :]
    told, incidents = [], Incidents(parameters.keep_firing)
    for row in found[found["detector"].isin(who) & found["severity"].isin(severe)].itertuples():
        incidents.close(row.time)
        _, first = incidents.take(row.time, row.instrument, row.series, row.sigma, row.severity, row.direction)
        told.append(first)
    chosen = found[found["detector"].isin(who) & found["severity"].isin(severe)].assign(alert=told)
    return chosen[chosen["alert"] & (chosen["time"] > DEFAULT_START + LEARNING)]


def figures(
    markets: Sequence[Market], found: Sequence[Judged], who: Sequence[str], parameters: AnomalyParameters
) -> Iterator[str]:
    """Cells: planted and found, recall, alerts, precision, false ones per series and day, median delay."""
    tolerance = parameters.metrics_interval
    told = [alerts(one.anomalies, who, parameters) for one in found]
    scores = [score_alerts(market.planted, own, tolerance) for market, own in zip(markets, told, strict=True)]
    delays = pd.concat(
        [alert_delays(market.planted, own, tolerance) for market, own in zip(markets, told, strict=True)]
    )
    planted, caught = sum(score.planted for score in scores), sum(score.found for score in scores)
    count, right = sum(score.alerts for score in scores), sum(score.right for score in scores)
    days = sum(one.series_days for one in found)
    yield f"{caught} of {planted}, {caught / planted:.0%}"
    yield f"{count:,}"
    yield f"{right / max(count, 1):.0%}"
    yield f"{(count - right) / days:.2f}"
    yield f"{delays.median():.0f} s"


HEADS: Final = ("found", "alerts", "of them right", "false per series and day", "median delay")


def main(
    out: Console | None = None, seeds: Sequence[int] = REPORTED, hours: float = HOURS, choose: bool = False
) -> None:
    """Print the table."""
    out = out or console()
    settings = load_settings(Path(ROOT) / "config" / "signals.yaml")
    usual = anomaly_parameters(settings.anomalies, settings.grid_milliseconds)
    with out.status("markets") as status:
        markets = [market(settings, seed, hours) for seed in seeds]
        status.update("detectors")
        choices = CHOICES if choose else (usual.novelty_threshold,)
        by_threshold = {
            threshold: [judged(one, settings, replace(usual, novelty_threshold=threshold)) for one in markets]
            for threshold in choices
        }
    grid = Grid(
        "who tells", *HEADS, title=f"Alerts on simulated markets, seeds {', '.join(map(str, seeds))}, {hours:g} h each"
    )
    for threshold, found in by_threshold.items():
        for who in (("novelty",),) if choose else WHO:
            name = f"novelty, threshold {threshold:g}" if choose else " and ".join(who)
            grid.add_row(name, *figures(markets, found, who, usual))
    out.print(grid)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")])
    parser.add_argument("--hours", type=float, default=HOURS)
    parser.add_argument("--choose", action="store_true", help="thresholds side by side, on the seeds for choosing")
    arguments = parser.parse_args()
    main(
        seeds=arguments.seeds or (CHOSEN_ON if arguments.choose else REPORTED),
        hours=arguments.hours,
        choose=arguments.choose,
    )
