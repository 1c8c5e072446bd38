"""Schemas of what is learned: regimes, and the versions that flow back.

A version learned from day D is insert-only and in force from D+2 00:00 UTC on, which leaves a day to compute it.
"""

from typing import Final

from signal_assets.market.tables import INSTRUMENT
from signal_assets.table import Column, ColumnType, Table

VALID_FROM: Final = Column("valid_from", ColumnType.TIME, "In force from this midnight on", "µs UTC")
LEARNED: Final = Column("learned_from", ColumnType.TIME, "End of the day it was learned from", "µs UTC")

REGIMES: Final = Table(
    name="learning.regimes",
    description="What kind of day it was for each instrument.",
    columns=(
        INSTRUMENT,
        Column("time", ColumnType.TIME, "The day's end", "µs UTC"),
        Column("volatility", ColumnType.REAL, "Standard deviation of one-minute log returns x sqrt(1440)", "per day"),
        Column(
            "trend", ColumnType.REAL, "|net log return| / sum of |one-minute log returns| (efficiency ratio)", "0…1"
        ),
        Column("day_return", ColumnType.REAL, "Log return over the day"),
        Column("label", ColumnType.TEXT, "quiet, volatile, trending or trending_volatile"),
    ),
    key=("instrument", "time"),
    kind="window",
    time="time",
)

THRESHOLDS: Final = Table(
    name="learning.thresholds",
    description="Versions of the dynamic thresholds, one step per closed day.",
    columns=(
        INSTRUMENT,
        Column("name", ColumnType.TEXT, "Which threshold"),
        VALID_FROM,
        LEARNED,
        Column("value", ColumnType.REAL, "Its value"),
        Column("before", ColumnType.REAL, "Value of the version before"),
        Column("share", ColumnType.REAL, "Share of the day's signals with confidence > 0.7; NaN: no signals", "0…1"),
        Column("signals", ColumnType.COUNT, "Signals of the day"),
        Column("source", ColumnType.TEXT, "learned, or rollback by hand"),
    ),
    key=("instrument", "name", "valid_from", "source"),
    kind="as-of",
    time="valid_from",
)

RECENT_PERFORMANCE: Final = Table(
    name="learning.recent_performance",
    description="Versions of every strategy's recent record, read by the confidence of its next signals.",
    columns=(
        INSTRUMENT,
        Column("strategy", ColumnType.TEXT, "Whose"),
        VALID_FROM,
        LEARNED,
        Column("trades", ColumnType.COUNT, "Closed trades of the last 30 days"),
        Column("win_rate", ColumnType.REAL, "Share of them with a profit after fees; NaN without trades", "0…1"),
        Column("score", ColumnType.REAL, "Win rate shrunk to 1/2: (wins + 5) / (trades + 10)", "0…1"),
    ),
    key=("instrument", "strategy", "valid_from"),
    kind="as-of",
    time="valid_from",
)

TABLES: Final = (REGIMES, THRESHOLDS, RECENT_PERFORMANCE)
IN_FORCE: Final = (THRESHOLDS, RECENT_PERFORMANCE)
"""What flows back, read as of the day's start."""
