"""What a home holds, for people: rows per table, the strongest levels, planted walls found and missed, what came of it.

Belongs here: reading the lake for the summary that ``demo`` and ``replay`` print and the report shows. Does not belong
here: anomalies and what follows from them (``services/outcome``), printing (``cli``), HTML (``services/report``).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd

from resources.duck_lake import DuckLake
from resources.duck_lake_sql import CATALOG
from resources.lake import Lake
from resources.settings import Settings
from services.outcome import (
    AnomalyOutcome,
    ExecutionCounts,
    FailureCount,
    Record,
    SignalCounts,
    ThresholdChange,
    anomaly_outcome,
    execution_counts,
    failure_counts,
    records,
    signal_counts,
    threshold_changes,
)
from signal_assets.anomalies.tables import TABLES as ANOMALIES
from signal_assets.derivation import asset_name
from signal_assets.event_time import MINUTE, iso
from signal_assets.execution.tables import TABLES as EXECUTION
from signal_assets.fixed_point import SCALE, parse_fixed
from signal_assets.levels.level_outcomes import OutcomeParameters
from signal_assets.levels.outcome_score import LevelScore, score_levels
from signal_assets.levels.tables import LEVEL_OUTCOMES, PRICE_ZONES, WAVE_PEAKS
from signal_assets.market.tables import FEATURES
from signal_assets.performance.tables import DAILY_EQUITY, EQUITY
from signal_assets.stage_tables import TABLES
from signal_assets.table import Table

TOP: Final = 5
WRITTEN_TOGETHER: Final = (ANOMALIES, EXECUTION, (EQUITY, DAILY_EQUITY))
"""Tables of one fold each: the lake's history names the first."""
WRITERS: Final = {table: asset_name(tables[0]) for tables in WRITTEN_TOGETHER for table in tables}


@dataclass(frozen=True, slots=True)
class TableSummary:
    """One line of the summary."""

    name: str
    rows: int
    first: int | None
    last: int | None
    snapshot: int | None


@dataclass(frozen=True, slots=True)
class Wall:
    """A planted wall and the minutes at which a peak stood on it."""

    instrument: str
    side: str
    price: int
    quantity: int
    start: int
    end: int
    minutes: int
    minutes_found: int

    @property
    def found(self) -> bool:
        """Whether a peak stood on it at least once."""
        return self.minutes_found > 0


@dataclass(frozen=True)
class Summary:
    """Everything that is said about a home."""

    tables: Sequence[TableSummary]
    peaks: Mapping[str, Sequence[Mapping[str, Any]]]
    zones: Mapping[str, Sequence[Mapping[str, Any]]]
    walls: Sequence[Wall]
    level_scores: Sequence[LevelScore]
    anomalies: AnomalyOutcome
    signals: Sequence[SignalCounts]
    failures: Sequence[FailureCount]
    execution: Sequence[ExecutionCounts]
    records: Sequence[Record]
    thresholds: Sequence[ThresholdChange]


@dataclass(frozen=True)
class Planted:
    """What is known to have happened in a simulated market, as its truth says it; ``None``: it is not known."""

    walls: Sequence[Mapping[str, Any]] = field(default_factory=list)
    anomalies: Sequence[Mapping[str, Any]] | None = None

    @classmethod
    def read(cls, paths: Iterable[Path]) -> "Planted":
        """What truth files say together; those that are not there say nothing."""
        truths = [json.loads(path.read_text("utf-8")) for path in paths if path.exists()]
        if not truths:
            return cls()
        walls, anomalies = ([row for truth in truths for row in truth.get(name, [])] for name in ("walls", "anomalies"))
        return cls(walls, anomalies)


def summarize(lake: DuckLake, settings: Settings, planted: Planted) -> Summary:
    """Read everything that is said about a home."""
    return Summary(
        tables=summarize_tables(lake, TABLES),
        peaks=strongest_peaks(lake, settings),
        zones=strongest_zones(lake, settings),
        walls=find_walls(lake, settings, planted.walls),
        level_scores=level_scores(lake),
        anomalies=anomaly_outcome(lake, settings, planted.anomalies),
        signals=signal_counts(lake),
        failures=failure_counts(lake),
        execution=execution_counts(lake),
        records=records(lake, settings),
        thresholds=threshold_changes(lake, settings),
    )


def summarize_tables(lake: DuckLake, tables: Sequence[Table]) -> list[TableSummary]:
    """Rows, range of event time and newest snapshot of each table."""
    snapshots = dict(
        lake.query(
            f"SELECT author, max(snapshot_id) FROM {CATALOG}.snapshots() WHERE author IS NOT NULL GROUP BY author"  # noqa: S608
        )
    )
    lake.ensure(tables)
    lines = []
    for table in tables:
        row = lake.query(
            f"SELECT count(*), epoch_us(min({table.time})), epoch_us(max({table.time})) FROM {CATALOG}.{table.name}"  # noqa: S608
        )[0]
        written_by = WRITERS.get(table, asset_name(table))
        lines.append(TableSummary(table.name, int(row[0]), row[1], row[2], snapshots.get(written_by)))
    return lines


def newest_rows(lake: Lake, table: Table, instrument: str, **equal: str) -> pd.DataFrame:
    """Rows of the newest point of the minute grid at which the instrument has any."""
    rows = lake.read(table, instruments=[instrument])
    for column, value in equal.items():
        rows = rows[rows[column] == value]
    return rows[rows["time"] == rows["time"].max()] if len(rows) else rows


def strongest_peaks(lake: Lake, settings: Settings, count: int = TOP) -> dict[str, list[dict[str, Any]]]:
    """Peaks of the trade profile, newest minute, per instrument: scale-space ones, then combined, by confidence."""
    found = {}
    for key in settings.instruments_by_key:
        rows = newest_rows(lake, WAVE_PEAKS, key, profile="trades")
        rows = rows[rows["method"].isin(["combined", "scale_space"])]
        top = rows.sort_values(["method", "confidence", "volume"], ascending=False).head(count)
        found[key] = [
            {
                "method": row["method"],
                "price": row["price"] / SCALE,
                "volume": row["volume"] / SCALE,
                "z_score": row["z_score"],
                "confidence": row["confidence"],
                "time": iso(int(row["time"])),
            }
            for row in top.to_dict("records")
        ]
    return found


def strongest_zones(lake: Lake, settings: Settings, count: int = TOP) -> dict[str, list[dict[str, Any]]]:
    """Zones of the trade profile with the greatest strength, newest minute, per instrument."""
    found = {}
    for key in settings.instruments_by_key:
        rows = newest_rows(lake, PRICE_ZONES, key, profile="trades")
        top = rows.sort_values("strength", ascending=False).head(count)
        found[key] = [
            {
                "side": row["side"],
                "low": row["low"] / SCALE,
                "high": row["high"] / SCALE,
                "strength": row["strength"],
                "confidence": row["confidence"],
                "touches": int(row["touches"]),
            }
            for row in top.to_dict("records")
        ]
    return found


def level_scores(lake: Lake) -> list[LevelScore]:
    """Outcomes of the zones of every instrument and profile, beside random levels."""
    return score_levels(lake.read(LEVEL_OUTCOMES), OutcomeParameters().horizon)


def find_walls(lake: Lake, settings: Settings, walls: Sequence[Mapping[str, Any]]) -> list[Wall]:
    """Hold the planted walls against the depth peaks: a wall is found where a peak stands in its bucket or next to it.

    Walls that saw no point of the minute grid with peaks of their instrument are not counted: nobody looked.
    """
    found = []
    peaks = lake.read(WAVE_PEAKS)
    peaks = peaks[(peaks["profile"] == "depth") & (peaks["method"] == "combined")]
    for wall in walls:
        instrument = settings.instruments_by_key.get(str(wall["instrument"]))
        if instrument is None:
            continue
        start, end = int(wall["start"]), int(wall["end"])
        seen = peaks[(peaks["instrument"] == instrument.key) & (peaks["time"] > start) & (peaks["time"] <= end)]
        bucket = parse_fixed(str(wall["price"])) // instrument.bucket_size * instrument.bucket_size
        hit = seen[(seen["price"] - bucket).abs() <= instrument.bucket_size]
        minutes = int(seen["time"].nunique())
        if minutes:
            found.append(
                Wall(
                    instrument.key,
                    str(wall["side"]),
                    parse_fixed(str(wall["price"])),
                    parse_fixed(str(wall["quantity"])),
                    start,
                    end,
                    minutes,
                    int(hit["time"].nunique()),
                )
            )
    return found


def market_minutes(lines: Sequence[TableSummary]) -> float:
    """Market time in minutes: from the first features to the last."""
    spans = [
        line.last - line.first
        for line in lines
        if line.name == FEATURES.name and line.first is not None and line.last is not None
    ]
    return sum(spans) / MINUTE
