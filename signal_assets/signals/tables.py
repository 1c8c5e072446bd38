"""Schemas of the signal tables: every proposal with its verdict, and what really left the system."""

from typing import Final

from signal_assets.market.tables import INSTRUMENT
from signal_assets.table import Column, ColumnType, Table

SIGNALS: Final = Table(
    name="signals.signals",
    description="Every proposal of every strategy, validated: the computed truth.",
    columns=(
        Column("id", ColumnType.TEXT, "Hash of strategy, instrument or legs, timeframe, time, action and parameters"),
        Column("strategy", ColumnType.TEXT, "Who proposed it"),
        Column("family", ColumnType.TEXT, "Family of the strategy"),
        Column("tier", ColumnType.TEXT, "fast, tactical, strategic or learning"),
        INSTRUMENT,
        Column("symbol", ColumnType.TEXT, "Symbol at the venue"),
        Column("pair", ColumnType.TEXT, "Base and quote"),
        Column("asset_class", ColumnType.TEXT, "crypto, forex, indices, commodities or stocks"),
        Column("timeframe", ColumnType.TEXT, "Bar it was decided on, or grid"),
        Column("action", ColumnType.TEXT, "buy, sell or hold"),
        Column("order_type", ColumnType.TEXT, "market or limit"),
        Column("legs", ColumnType.TEXT, "Several orders at once: instrument, side, ratio, limit price; JSON"),
        Column("entry_price", ColumnType.PRICE, "Price it was decided at", "quote currency"),
        Column("stop_loss", ColumnType.PRICE, "Where it is given up", "quote currency", nullable=True),
        Column("take_profit", ColumnType.PRICE, "Where it is done", "quote currency", nullable=True),
        Column("quantity", ColumnType.QUANTITY, "Size proposed; 0: the executor decides", "base currency"),
        Column("raw_confidence", ColumnType.REAL, "What the strategy itself thinks of it", "0…1"),
        Column("confidence", ColumnType.REAL, "Seven weighted factors", "0…1"),
        Column("event_time", ColumnType.TIME, "When it was decided", "µs UTC"),
        Column("expires_at", ColumnType.TIME, "Nobody should act on it any more from here on", "µs UTC"),
        Column("signal_type", ColumnType.TEXT, "entry, arbitrage or anomaly"),
        Column("severity", ColumnType.TEXT, "Greatest severity among its instruments' fresh anomalies; empty: none"),
        Column("status", ColumnType.TEXT, "validated, rejected, duplicate or failed"),
        Column("reasons", ColumnType.TEXT, "Score and reason of every check and factor, JSON with sorted keys"),
        Column("metadata", ColumnType.TEXT, "What it was decided from, JSON with sorted keys"),
        Column("parameters_version", ColumnType.TEXT, "Hash of the parameters it was decided with"),
        Column("run_id", ColumnType.TEXT, "Run that computed the row", operational=True),
        Column("snapshot_id", ColumnType.COUNT, "Lake snapshot it was computed from", operational=True),
    ),
    key=("id",),
    kind="fold",
    time="event_time",
)

EMITTED: Final = Table(
    name="signals.emitted",
    description="What really left the system, with its true times; immutable.",
    columns=(
        Column("id", ColumnType.TEXT, "Id of the signal"),
        INSTRUMENT,
        Column("strategy", ColumnType.TEXT, "Who proposed it"),
        Column("action", ColumnType.TEXT, "buy, sell or hold"),
        Column("event_time", ColumnType.TIME, "When it was decided", "µs UTC"),
        Column("expires_at", ColumnType.TIME, "Nobody should act on it any more from here on", "µs UTC"),
        Column("emitted_at", ColumnType.TIME, "When it left, by our clock", "µs UTC", operational=True),
        Column("lane", ColumnType.TEXT, "live or tactical"),
        Column("confidence", ColumnType.REAL, "Seven weighted factors", "0…1"),
        Column("payload", ColumnType.TEXT, "The whole record as it was sent, JSON", operational=True),
    ),
    key=("id",),
    kind="emitted",
    time="event_time",
)

TABLES: Final = (SIGNALS, EMITTED)
