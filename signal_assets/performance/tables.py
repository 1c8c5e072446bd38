"""Schemas of the performance tables: closed trades, equity, metrics, alerts; money in the account's currency."""

from typing import Final

from signal_assets.market.tables import INSTRUMENT
from signal_assets.table import Column, ColumnType, Table

STRATEGY: Final = Column("strategy", ColumnType.TEXT, "Whose; `portfolio` for all together")

TRADE_LOG: Final = Table(
    name="performance.trade_log",
    description="Closed trades (first in, first out), written when they close.",
    columns=(
        Column("id", ColumnType.TEXT, "Hash of the opening and the closing fill"),
        STRATEGY,
        INSTRUMENT,
        Column("signal_id", ColumnType.TEXT, "Signal that opened it"),
        Column("side", ColumnType.TEXT, "long or short"),
        Column("quantity", ColumnType.QUANTITY, "Size", "base currency"),
        Column("opened", ColumnType.TIME, "When it was opened", "µs UTC"),
        Column("closed", ColumnType.TIME, "When it was closed", "µs UTC"),
        Column("entry_price", ColumnType.PRICE, "Price it was opened at", "quote currency"),
        Column("exit_price", ColumnType.PRICE, "Price it was closed at", "quote currency"),
        Column("gross", ColumnType.QUANTITY, "Profit before fees", "account currency"),
        Column("fees", ColumnType.QUANTITY, "Its share of the fees of both fills", "account currency"),
        Column("net", ColumnType.QUANTITY, "Profit after fees", "account currency"),
        Column("closed_by", ColumnType.TEXT, "Purpose of the closing order"),
    ),
    key=("id",),
    kind="resolved",
    time="closed",
)

EQUITY: Final = Table(
    name="performance.equity",
    description="Account value of every strategy and of the portfolio on the minute grid.",
    columns=(
        STRATEGY,
        INSTRUMENT,
        Column("time", ColumnType.TIME, "Point of the minute grid", "µs UTC"),
        Column("equity", ColumnType.QUANTITY, "Start capital + realized + unrealized - fees", "account currency"),
        Column("realized", ColumnType.QUANTITY, "Realized profit so far, fees apart", "account currency"),
        Column("unrealized", ColumnType.QUANTITY, "Open positions at mid price less their cost", "account currency"),
        Column("fees", ColumnType.QUANTITY, "Fees so far", "account currency"),
        Column("exposure", ColumnType.QUANTITY, "Sum of the open positions' absolute values", "account currency"),
        Column("traded", ColumnType.QUANTITY, "Sum of all fills' notionals so far", "account currency"),
    ),
    key=("instrument", "strategy", "time"),
    kind="fold",
    time="time",
)

DAILY_EQUITY: Final = Table(
    name="performance.daily_equity",
    description="Equity at each day's end, and the day's return.",
    columns=(
        STRATEGY,
        INSTRUMENT,
        Column("time", ColumnType.TIME, "The day's end", "µs UTC"),
        Column("equity", ColumnType.QUANTITY, "Equity at its last minute with data", "account currency"),
        Column("day_return", ColumnType.REAL, "Equity over that of the day before (or the start capital), less one"),
        Column("exposure", ColumnType.REAL, "Share of the day's minutes with an open position", "0…1"),
        Column("traded", ColumnType.QUANTITY, "Sum of the day's fills' notionals", "account currency"),
    ),
    key=("instrument", "strategy", "time"),
    kind="fold",
    time="time",
)

METRICS: Final = Table(
    name="performance.metrics",
    description="What the record is worth, per strategy, instrument and portfolio, as of each day's end.",
    columns=(
        INSTRUMENT,
        Column("scope", ColumnType.TEXT, "strategy, instrument or portfolio"),
        Column("name", ColumnType.TEXT, "Name of the strategy or instrument; portfolio"),
        Column("time", ColumnType.TIME, "The day's end", "µs UTC"),
        Column("metric", ColumnType.TEXT, "What is measured"),
        Column("value", ColumnType.REAL, "Its value; NaN where it is not defined"),
    ),
    key=("instrument", "scope", "name", "time", "metric"),
    kind="window",
    time="time",
)

ALERTS: Final = Table(
    name="performance.alerts",
    description="Metrics beyond their thresholds, underperformers, breached limits, as of each day's end.",
    columns=(
        INSTRUMENT,
        Column("scope", ColumnType.TEXT, "strategy, instrument or portfolio"),
        Column("name", ColumnType.TEXT, "Name of the strategy or instrument; portfolio"),
        Column("time", ColumnType.TIME, "The day's end", "µs UTC"),
        Column("rule", ColumnType.TEXT, "Which rule"),
        Column("severity", ColumnType.TEXT, "warning or critical"),
        Column("value", ColumnType.REAL, "What was measured"),
        Column("threshold", ColumnType.REAL, "What would have been allowed"),
    ),
    key=("instrument", "scope", "name", "time", "rule"),
    kind="window",
    time="time",
)

TABLES: Final = (TRADE_LOG, EQUITY, DAILY_EQUITY, METRICS, ALERTS)
