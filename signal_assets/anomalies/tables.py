"""Schemas of the anomaly tables: what is watched, how far it is off, what stands out, what belongs together."""

from typing import Final

from signal_assets.market.tables import INSTRUMENT
from signal_assets.table import Column, ColumnType, Table

SERIES: Final = Column("series", ColumnType.TEXT, "What is watched, `market.{instrument}.{feature}` or `system.…`")
ALERTED: Final = Column("alerted", ColumnType.FLAG, "People were told of it")
SUPPRESSED: Final = Column(
    "suppressed",
    ColumnType.TEXT,
    "Why people were not told: pending, grouped, cool_down, series_budget, group_budget; empty: they were",
)
TIME: Final = Column("time", ColumnType.TIME, "Point of the metrics grid (10 s by default)", "µs UTC")

METRICS: Final = Table(
    name="anomalies.metrics",
    description="One number per watched series and point of the metrics grid.",
    columns=(INSTRUMENT, SERIES, TIME, Column("value", ColumnType.REAL, "The number; its unit is the series'")),
    key=("instrument", "series", "time"),
    kind="fold",
    time="time",
)

SCORES: Final = Table(
    name="anomalies.scores",
    description="How far every detector finds every number off, anomaly or not.",
    columns=(
        INSTRUMENT,
        SERIES,
        TIME,
        Column("detector", ColumnType.TEXT, "z_score, iqr, mad, ema, ensemble, novelty, excess or a plug-in"),
        Column("sigma", ColumnType.REAL, "Distance from the expected value, as a normal deviate; NaN: warming up", "σ"),
    ),
    key=("instrument", "series", "time", "detector"),
    kind="fold",
    time="time",
)

ANOMALIES: Final = Table(
    name="anomalies.anomalies",
    description="Numbers that a detector finds off: the ensemble (at least two of its members), novelty or excess.",
    columns=(
        Column("id", ColumnType.TEXT, "Hash of series, time and detector"),
        INSTRUMENT,
        SERIES,
        TIME,
        Column("value", ColumnType.REAL, "The number"),
        Column("detector", ColumnType.TEXT, "Who finds it off: ensemble, novelty, excess or a plug-in"),
        Column("sigma", ColumnType.REAL, "The detector's distance; of the ensemble the median of its members'", "σ"),
        Column("tail_probability", ColumnType.REAL, "Two-sided normal tail beyond that distance", "0…1"),
        Column("severity", ColumnType.TEXT, "LOW, MEDIUM, HIGH or CRITICAL"),
        Column("expected_low", ColumnType.REAL, "Lower end of the expected band"),
        Column("expected_high", ColumnType.REAL, "Upper end of the expected band"),
        Column("direction", ColumnType.TEXT, "above or below the band"),
        Column("votes", ColumnType.COUNT, "Members of the ensemble that find it off; of another detector 1"),
        Column(
            "reasons",
            ColumnType.TEXT,
            "Why, JSON: members with distances in σ; sources of novelty with -log10 p",
        ),
        Column(
            "incident",
            ColumnType.TEXT,
            "Id of its incident; empty: not severe enough, or nobody is told",
        ),
        Column("opened", ColumnType.FLAG, "It opened the incident"),
        Column("incident_group", ColumnType.TEXT, "Id of the group incident that the incident belongs to"),
        Column("alert", ColumnType.FLAG, "People are told of the incident, now and once"),
        SUPPRESSED,
        Column("threshold_factor", ColumnType.REAL, "By which what people said has moved the series' threshold"),
    ),
    key=("instrument", "series", "time", "detector"),
    kind="fold",
    time="time",
)

INCIDENTS: Final = Table(
    name="anomalies.incidents",
    description="Bursts of anomalies of one series, written when the series has been quiet long enough.",
    columns=(
        Column("id", ColumnType.TEXT, "Hash of series and opening time"),
        INSTRUMENT,
        SERIES,
        Column("opened", ColumnType.TIME, "Time of its first anomaly", "µs UTC"),
        Column("last", ColumnType.TIME, "Time of its last anomaly", "µs UTC"),
        Column("closed", ColumnType.TIME, "When it was known to be over", "µs UTC"),
        Column("anomalies", ColumnType.COUNT, "Anomalies in it"),
        Column("peak_sigma", ColumnType.REAL, "Greatest distance in it", "σ"),
        Column("severity", ColumnType.TEXT, "Greatest severity in it"),
        Column("direction", ColumnType.TEXT, "Direction of its strongest anomaly"),
        Column("incident_group", ColumnType.TEXT, "Id of the group incident it belongs to"),
        ALERTED,
        SUPPRESSED,
    ),
    key=("instrument", "series", "opened"),
    kind="resolved",
    time="closed",
)

INCIDENT_GROUPS: Final = Table(
    name="anomalies.incident_groups",
    description="Group incidents: incidents of one instrument (or group) that happen together. People are told once.",
    columns=(
        Column("id", ColumnType.TEXT, "Hash of what is grouped over and opening time"),
        Column("instrument", ColumnType.TEXT, "What is grouped over: an instrument, or `*.{group}`"),
        Column("opened", ColumnType.TIME, "Time of its first anomaly", "µs UTC"),
        Column("last", ColumnType.TIME, "Time of its last anomaly", "µs UTC"),
        Column("closed", ColumnType.TIME, "When it was known to be over", "µs UTC"),
        Column("incidents", ColumnType.COUNT, "Incidents in it"),
        Column("anomalies", ColumnType.COUNT, "Anomalies in these"),
        Column("first_series", ColumnType.TEXT, "Series whose incident opened it"),
        Column("peak_series", ColumnType.TEXT, "Series of its strongest anomaly"),
        Column("peak_sigma", ColumnType.REAL, "Greatest distance in it", "σ"),
        Column("severity", ColumnType.TEXT, "Greatest severity in it"),
        Column("members", ColumnType.TEXT, "Greatest distance of every series, in order of joining, JSON", "σ"),
        Column(
            "moved_together",
            ColumnType.TEXT,
            "Rank correlation with the first series over the points before (10 minutes by default), JSON",
            "-1…1",
        ),
        ALERTED,
        SUPPRESSED,
    ),
    key=("instrument", "opened"),
    kind="resolved",
    time="closed",
)

DRIFTS: Final = Table(
    name="anomalies.drifts",
    description="Series whose recent values are distributed differently from those they began with; nobody is alerted.",
    columns=(
        Column("id", ColumnType.TEXT, "Hash of series and time"),
        INSTRUMENT,
        SERIES,
        TIME,
        Column("statistic", ColumnType.REAL, "Greatest distance of the two distributions, D", "0…1"),
        Column("probability", ColumnType.REAL, "Probability of one so great without drift", "0…1"),
        Column("median_before", ColumnType.REAL, "Median of the reference; its unit is the series'"),
        Column("median_after", ColumnType.REAL, "Median of the recent values"),
        Column("width_before", ColumnType.REAL, "Inter-quartile range of the reference"),
        Column("width_after", ColumnType.REAL, "Inter-quartile range of the recent values"),
    ),
    key=("instrument", "series", "time"),
    kind="fold",
    time="time",
)

LABELS: Final = Table(
    name="anomalies.labels",
    description="What people say of anomalies and incidents; what they say moves the threshold of the series.",
    columns=(
        INSTRUMENT,
        Column("series", ColumnType.TEXT, "Series that the alarm was about"),
        Column("subject", ColumnType.TEXT, "Id of the incident, or of an anomaly that belongs to none"),
        Column("verdict", ColumnType.TEXT, "true_alarm or false_alarm"),
        Column("valid_from", ColumnType.TIME, "In force from this midnight on", "µs UTC"),
        Column("given_at", ColumnType.TIME, "When it was said, by our clock", "µs UTC"),
        Column("given_by", ColumnType.TEXT, "Who said it"),
        Column("note", ColumnType.TEXT, "Why"),
    ),
    key=("instrument", "series", "subject", "given_at"),
    kind="given",
    time="valid_from",
)
"""Written by people, not by runs: so it is none of TABLES, nobody waits for it, and retention leaves it alone."""

SYSTEM_SAMPLES: Final = Table(
    name="anomalies.system_samples",
    description="What the machine of the leading live lane was doing: one number per system series and grid point.",
    columns=(
        Column("instrument", ColumnType.TEXT, "`SYSTEM.PLATFORM`: samples concern no instrument"),
        Column("series", ColumnType.TEXT, "system.cpu.usage, .memory.usage, .network.io or .disk.io"),
        Column("time", ColumnType.TIME, "Point of the metrics grid, by our clock", "µs UTC"),
        Column("host", ColumnType.TEXT, "Machine that was sampled"),
        Column("value", ColumnType.REAL, "Percent of processor or memory; bytes per second since the sample before"),
    ),
    key=("instrument", "series", "time"),
    kind="raw",
    time="time",
)
"""Raw facts beside the market's: none of TABLES, for no group of instruments waits for them."""

TABLES: Final = (METRICS, SCORES, ANOMALIES, INCIDENTS, INCIDENT_GROUPS, DRIFTS)
