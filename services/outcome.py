"""What came of a market, for people: anomalies against the truth, signals, orders, performance, thresholds.

Belongs here: counting over the lake what stages from anomalies on have written. Does not belong here: printing
(``cli``), HTML (``services/report``), what comes before those stages (``services/summary``).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from resources.lake import Lake
from resources.settings import Settings
from signal_assets.anomalies.alerting import REASONS
from signal_assets.anomalies.severity import SEVERITIES
from signal_assets.anomalies.tables import ANOMALIES, INCIDENT_GROUPS, INCIDENTS
from signal_assets.anomalies.tables import METRICS as SERIES
from signal_assets.anomalies.truth_score import TruthScore, alert_delays, score_alerts
from signal_assets.derivation import asset_name
from signal_assets.event_time import SECOND, day_start
from signal_assets.execution.tables import FILLS, ORDERS
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import whole_group
from signal_assets.learning.tables import THRESHOLDS
from signal_assets.market.tables import FEATURES
from signal_assets.performance.parameters import PORTFOLIO
from signal_assets.performance.tables import METRICS
from signal_assets.signals.folds import signal_parameters
from signal_assets.signals.signal_machine import DUPLICATE, FAILED, REJECTED, VALIDATED
from signal_assets.signals.tables import EMITTED, SIGNALS
from signal_assets.signals.thresholds import NAMES, thresholds_in_force
from signal_assets.strategies.tables import STRATEGIES

STATUSES: Final = (VALIDATED, REJECTED, DUPLICATE, FAILED)


@dataclass(frozen=True, slots=True)
class KindFound:
    """How well one kind of planted anomaly was found; the delay in seconds, NaN where none was."""

    kind: str
    planted: int
    found: int
    median_delay: float


@dataclass(frozen=True, slots=True)
class AnomalyOutcome:
    """Anomalies, what people were told of, and how well that met what was planted.

    Parameters
    ----------
    anomalies, incidents : int
        Rows; an incident is written when it has closed.
    alerts : mapping of str to int
        Alerts by severity, worst first.
    groups : int
        Group incidents that have closed.
    suppressed : mapping of str to int
        Closed incidents that people were not told of, by reason.
    score : TruthScore or None
        Of the incidents that opened, told of or not; None where the truth is not known.
    kinds : sequence of KindFound
        The planted anomalies by kind.
    """

    anomalies: int
    incidents: int
    alerts: Mapping[str, int]
    groups: int = 0
    suppressed: Mapping[str, int] = field(default_factory=dict)
    score: TruthScore | None = None
    kinds: Sequence[KindFound] = ()


@dataclass(frozen=True, slots=True)
class SignalCounts:
    """One strategy's signals by status, and how many of them really left the system."""

    strategy: str
    by_status: Mapping[str, int]
    emitted: int


@dataclass(frozen=True, slots=True)
class FailureCount:
    """How often a strategy failed instead of deciding, and what it said last."""

    name: str
    count: int
    last: str


@dataclass(frozen=True, slots=True)
class ExecutionCounts:
    """One strategy's orders by the status they ended in, and its fills; money in the account's currency."""

    strategy: str
    orders: Mapping[str, int]
    fills: int
    notional: float
    fees: float


@dataclass(frozen=True, slots=True)
class Record:
    """What a strategy, or a group's portfolio, was worth at the newest day's end; NaN where it is not defined."""

    group: str
    name: str
    net_pnl: float
    trades: int
    win_rate: float
    maximum_drawdown: float
    sharpe_ratio: float


@dataclass(frozen=True, slots=True)
class ThresholdChange:
    """A dynamic threshold on the first day, and its newest version.

    Parameters
    ----------
    valid_from : int or None
        When the newest version comes into force; None: there is none yet.
    share, signals : float and int
        Share of confident signals it was learned from, and their number.
    """

    group: str
    name: str
    before: float
    after: float
    valid_from: int | None
    share: float
    signals: int


def anomaly_outcome(
    lake: Lake, settings: Settings, planted: Sequence[Mapping[str, Any]] | None = None
) -> AnomalyOutcome:
    """Count anomalies, and hold the incidents that opened against what was planted.

    Incidents, not alerts: of one that opens while people know of another nobody is told, but it was found. It hits up
    to one point of the metrics grid after a planted anomaly's end, since sums over an interval are known at its end.
    Planted anomalies that saw no point of their instrument are not counted: nobody looked.

    Parameters
    ----------
    planted : sequence of mappings, optional
        ``instrument``, ``kind``, ``start`` and ``end`` (µs UTC), as in the simulated venue's truth.
    """
    rows = lake.read(ANOMALIES, columns=["instrument", "time", "severity", "opened", "alert"])
    told = rows.loc[rows["alert"].astype(bool), "severity"].value_counts()
    alerts = {name: int(told[name]) for name in reversed(SEVERITIES) if name in told}
    incidents = lake.read(INCIDENTS, columns=["suppressed"])["suppressed"]
    counted = AnomalyOutcome(
        anomalies=len(rows),
        incidents=len(incidents),
        alerts=alerts,
        groups=len(lake.read(INCIDENT_GROUPS, columns=["instrument"])),
        suppressed={reason: count for reason in REASONS if (count := int((incidents == reason).sum()))},
    )
    if planted is None:
        return counted
    tolerance = settings.anomalies.metrics_interval_seconds * SECOND
    truth = _seen(lake, pd.DataFrame(planted, columns=["instrument", "kind", "start", "end"]), tolerance)
    opened = rows[rows["opened"].astype(bool)].assign(alert=True)
    delays = alert_delays(truth, opened, tolerance)
    kinds = [
        KindFound(str(kind), len(own), int(own.notna().sum()), float(own.median()))
        for kind, own in delays.groupby(truth["kind"])
    ]
    return replace(counted, score=score_alerts(truth, opened, tolerance), kinds=kinds)


def _seen(lake: Lake, planted: pd.DataFrame, tolerance: int) -> pd.DataFrame:
    """Planted anomalies with at least one point of a series of their instrument."""
    points = lake.read(SERIES, columns=["instrument", "time"])
    times = {key: np.unique(own.to_numpy(np.int64)) for key, own in points.groupby("instrument")["time"]}
    nothing = np.empty(0, np.int64)
    seen = [
        bool(np.diff(np.searchsorted(times.get(key, nothing), [start, end + tolerance + 1]))[0])
        for key, start, end in zip(planted["instrument"], planted["start"], planted["end"], strict=True)
    ]
    return planted[np.array(seen, dtype=np.bool_)]


def signal_counts(lake: Lake) -> list[SignalCounts]:
    """Signals by strategy and status; every strategy has a line, also one that proposed nothing."""
    rows = lake.read(SIGNALS, columns=["strategy", "status"])
    emitted = lake.read(EMITTED, columns=["strategy"])["strategy"].value_counts()
    return [
        SignalCounts(
            strategy,
            {status: int((own == status).sum()) for status in STATUSES},
            int(emitted.get(strategy, 0)),
        )
        for strategy in STRATEGIES
        for own in [rows.loc[rows["strategy"] == strategy, "status"]]
    ]


def failure_counts(lake: Lake) -> list[FailureCount]:
    """Strategies that failed, the most frequent first; ties by name."""
    rows = lake.read(SIGNALS, columns=["strategy", "event_time", "status", "reasons"])
    failed = rows[rows["status"] == FAILED].sort_values("event_time", kind="stable")
    counts = [
        FailureCount(str(name), len(own), json.loads(own["reasons"].iloc[-1])["against"][0])
        for name, own in failed.groupby("strategy")
    ]
    return sorted(counts, key=lambda count: (-count.count, count.name))


def execution_counts(lake: Lake) -> list[ExecutionCounts]:
    """Orders by their last status, and fills, of every strategy that has any."""
    orders = lake.read(ORDERS, columns=["id", "change", "strategy", "status"])
    fills = lake.read(FILLS, columns=["strategy", "notional", "fee"])
    last = orders.sort_values("change", kind="stable").drop_duplicates("id", keep="last")
    lines = []
    for strategy in sorted({*orders["strategy"], *fills["strategy"]}):
        own = fills[fills["strategy"] == strategy]
        ended = last.loc[last["strategy"] == strategy, "status"].value_counts()
        lines.append(
            ExecutionCounts(
                strategy,
                {str(status): int(count) for status, count in sorted(ended.items())},
                len(own),
                int(own["notional"].sum()) / SCALE,
                int(own["fee"].sum()) / SCALE,
            )
        )
    return lines


def records(lake: Lake, settings: Settings) -> list[Record]:
    """Metrics of the newest day's end: of each group its strategies by name, then the portfolio."""
    rows = lake.read(METRICS)
    found = []
    for group in settings.groups:
        own = rows[(rows["instrument"] == whole_group(group)) & rows["scope"].isin(["strategy", PORTFOLIO])]
        newest = own[own["time"] == own["time"].max()].sort_values("scope", ascending=False, kind="stable")
        for (_, name), measured in newest.groupby(["scope", "name"], sort=False):
            found.append(_record(group, str(name), dict(zip(measured["metric"], measured["value"], strict=True))))
    return found


def _record(group: str, name: str, value: Mapping[str, float]) -> Record:
    return Record(
        group=group,
        name=name,
        net_pnl=value["net_pnl"],
        trades=int(value["trades"]),
        win_rate=value["win_rate"],
        maximum_drawdown=value["maximum_drawdown"],
        sharpe_ratio=value["sharpe_ratio"],
    )


def threshold_changes(lake: Lake, settings: Settings) -> list[ThresholdChange]:
    """Of each group's thresholds: in force on its first day, and the newest version."""
    parameters = signal_parameters(settings.signals, settings.learning)
    changes = []
    for group in settings.groups:
        history = lake.progress(asset_name(FEATURES), group)
        if history is None:
            continue
        rows = lake.read(THRESHOLDS, instruments=[whole_group(group)])
        first = rows[rows["valid_from"] <= day_start(history.origin + 1)]
        before = thresholds_in_force(first.itertuples(), parameters)
        after = thresholds_in_force(rows.itertuples(), parameters)
        for name in NAMES:
            own = rows[rows["name"] == name].sort_values("valid_from", kind="stable")
            newest = own.iloc[-1] if len(own) else None
            changes.append(
                ThresholdChange(
                    group,
                    name,
                    getattr(before, name),
                    getattr(after, name),
                    int(newest["valid_from"]) if newest is not None else None,
                    float(newest["share"]) if newest is not None else float("nan"),
                    int(newest["signals"]) if newest is not None else 0,
                )
            )
    return changes
