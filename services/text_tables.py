"""The summary as tables of text, which the terminal prints and the report shows.

Belongs here: titles, headings and how numbers are written. Does not belong here: reading the lake
(``services/summary``, ``services/outcome``), the terminal (``cli``), HTML (``services/report``).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.outcome import (
    STATUSES,
    AnomalyOutcome,
    ExecutionCounts,
    FailureCount,
    Record,
    SignalCounts,
    ThresholdChange,
)
from services.summary import Summary, TableSummary, Wall
from signal_assets.event_time import iso
from signal_assets.fixed_point import SCALE
from signal_assets.levels.outcome_score import LevelScore

NOTHING = "–"
"""Where there is no number."""


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of text; columns whose heading begins with # hold numbers."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def number(value: float, style: str) -> str:
    """A number in a style of :func:`format`; a dash where it is not defined.

    Examples
    --------
    >>> number(1234.5, ",.1f"), number(float("nan"), ".1%")
    ('1,234.5', '–')
    """
    return NOTHING if math.isnan(value) else format(value, style)


def text_tables(summary: Summary) -> list[TextTable]:
    """Every table that has rows, in the order in which data flows."""
    tables = [
        lake_table(summary.tables),
        peak_table(summary.peaks),
        zone_table(summary.zones),
        wall_table(summary.walls),
        level_score_table(summary.level_scores),
        alert_table(summary.anomalies),
        truth_table(summary.anomalies),
        signal_table(summary.signals),
        failure_table(summary.failures),
        execution_table(summary.execution),
        record_table(summary.records),
        threshold_table(summary.thresholds),
    ]
    return [table for table in tables if table.rows]


def lake_table(lines: Sequence[TableSummary]) -> TextTable:
    """Rows, range of event time and newest snapshot of each table."""
    rows = [
        (
            line.name,
            f"{line.rows:,}",
            _time(line.first),
            _time(line.last),
            str(line.snapshot) if line.snapshot is not None else NOTHING,
        )
        for line in lines
    ]
    return TextTable("Tables", ("table", "#rows", "first event", "last event", "#snapshot"), rows)


def peak_table(peaks: Mapping[str, Sequence[Mapping[str, Any]]]) -> TextTable:
    """The strongest peaks of every instrument."""
    rows = [
        (
            key,
            str(row["method"]),
            f"{row['price']:,.8g}",
            f"{row['volume']:,.4f}",
            f"{row['z_score']:.2f}",
            f"{row['confidence']:.2f}",
        )
        for key, found in peaks.items()
        for row in found
    ]
    heads = ("instrument", "method", "#price", "#volume", "#z-score", "#confidence")
    return TextTable("Strongest peaks (trades, newest minute)", heads, rows)


def zone_table(zones: Mapping[str, Sequence[Mapping[str, Any]]]) -> TextTable:
    """The strongest zones of every instrument."""
    rows = [
        (
            key,
            str(row["side"]),
            f"{row['low']:,.8g}",
            f"{row['high']:,.8g}",
            f"{row['strength']:.1%}",
            f"{row['confidence']:.2f}",
            str(row["touches"]),
        )
        for key, found in zones.items()
        for row in found
    ]
    heads = ("instrument", "side", "#low", "#high", "#strength", "#confidence", "#touches")
    return TextTable("Strongest zones (trades, newest minute)", heads, rows)


def wall_table(walls: Sequence[Wall]) -> TextTable:
    """Planted walls: found or missed, and how often a peak stood on them."""
    found = sum(wall.found for wall in walls)
    rows = [
        (
            wall.instrument,
            wall.side,
            f"{wall.price / SCALE:,.8g}",
            f"{wall.quantity / SCALE:,.8g}",
            iso(wall.start),
            iso(wall.end),
            "found" if wall.found else "missed",
            f"{wall.minutes_found} of {wall.minutes}",
        )
        for wall in walls
    ]
    heads = ("instrument", "side", "#price", "#quantity", "from", "to", "", "#minutes with a peak")
    return TextTable(f"Planted walls: {found} found, {len(walls) - found} missed", heads, rows)


def level_score_table(scores: Sequence[LevelScore]) -> TextTable:
    """Zones against random levels of the same side, width and distance."""
    rows = [
        (
            score.instrument,
            score.profile,
            f"{score.zones:,}",
            str(score.blocks),
            number(score.touched, ".0%"),
            number(score.random_touched, ".0%"),
            number(score.bounced, ".1%"),
            number(score.random_bounced, ".1%"),
            _points(score.difference),
            NOTHING if math.isnan(score.low) else f"{_points(score.low)} … {_points(score.high)}",
            score.verdict,
        )
        for score in scores
    ]
    heads = (
        *("instrument", "profile", "#zones", "#hours", "#touched", "#random", "#bounced of decided", "#random"),
        *("#points", "#95 % interval", "verdict"),
    )
    return TextTable("Zones against random levels", heads, rows)


def alert_table(outcome: AnomalyOutcome) -> TextTable:
    """What people were told of, by severity, and what they were not told of."""
    title = (
        f"Alerts ({outcome.anomalies:,} anomalies, {outcome.incidents:,} closed incidents "
        f"in {outcome.groups:,} group incidents)"
    )
    rows = [(severity, f"{count:,}") for severity, count in outcome.alerts.items()]
    rows += [(f"not told: {reason}", f"{count:,}") for reason, count in outcome.suppressed.items()]
    return TextTable(title, ("severity", "#alerts"), rows)


def truth_table(outcome: AnomalyOutcome) -> TextTable:
    """Planted anomalies found and missed, by kind; empty where the truth is not known."""
    score = outcome.score
    if score is None:
        return TextTable("", (), ())
    title = (
        f"Incidents against planted anomalies: recall {number(score.recall, '.0%')} "
        f"({score.found} of {score.planted}), "
        f"precision {number(score.precision, '.1%')} ({score.right} of {score.alerts}), "
        f"median delay {number(score.median_delay, '.1f')} s"
    )
    rows = [(kind.kind, str(kind.planted), str(kind.found), number(kind.median_delay, ".1f")) for kind in outcome.kinds]
    return TextTable(title, ("planted kind", "#planted", "#found", "#median delay, s"), rows)


def signal_table(counts: Sequence[SignalCounts]) -> TextTable:
    """Signals by strategy and status."""
    rows = [
        (
            count.strategy,
            f"{sum(count.by_status.values()):,}",
            *(f"{count.by_status[status]:,}" for status in STATUSES),
            f"{count.emitted:,}",
        )
        for count in counts
    ]
    heads = ("strategy", "#proposed", *(f"#{status}" for status in STATUSES), "#emitted")
    return TextTable("Signals by status", heads, rows)


def failure_table(counts: Sequence[FailureCount]) -> TextTable:
    """Strategies that failed instead of deciding."""
    rows = [(count.name, f"{count.count:,}", count.last) for count in counts]
    return TextTable("Failures", ("strategy", "#failures", "newest"), rows)


def execution_table(counts: Sequence[ExecutionCounts]) -> TextTable:
    """Orders by the status they ended in, and fills."""
    statuses = sorted({status for count in counts for status in count.orders})
    rows = [
        (
            count.strategy,
            f"{sum(count.orders.values()):,}",
            *(f"{count.orders.get(status, 0):,}" for status in statuses),
            f"{count.fills:,}",
            f"{count.notional:,.2f}",
            f"{count.fees:,.2f}",
        )
        for count in counts
    ]
    heads = ("strategy", "#orders", *(f"#{status}" for status in statuses), "#fills", "#notional", "#fees")
    return TextTable("Orders by last status, and fills", heads, rows)


def record_table(records: Sequence[Record]) -> TextTable:
    """What strategies and portfolios were worth."""
    rows = [
        (
            record.group,
            record.name,
            number(record.net_pnl, ",.2f"),
            f"{record.trades:,}",
            number(record.win_rate, ".1%"),
            number(record.maximum_drawdown, ".2%"),
            number(record.sharpe_ratio, ".2f"),
        )
        for record in records
    ]
    heads = ("group", "strategy", "#net PnL", "#trades", "#win rate", "#maximum drawdown", "#Sharpe ratio")
    return TextTable("Performance at the newest day's end", heads, rows)


def threshold_table(changes: Sequence[ThresholdChange]) -> TextTable:
    """Dynamic thresholds before and after."""
    rows = [
        (
            change.group,
            change.name,
            f"{change.before:.6g}",
            f"{change.after:.6g}",
            _time(change.valid_from),
            f"{change.signals:,}",
            number(change.share, ".0%"),
        )
        for change in changes
    ]
    heads = ("group", "threshold", "#first day", "#newest", "newest in force from", "#signals", "#confident")
    return TextTable("Thresholds before and after", heads, rows)


def _points(share: float) -> str:
    """A difference of shares in percentage points; none is +0.0, whatever rounding left of it."""
    return number(round(100 * share, 1) + 0.0, "+.1f")


def _time(time: int | None) -> str:
    return NOTHING if time is None else iso(time)
