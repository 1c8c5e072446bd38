"""Schemas of the dollar aggregates."""

from typing import Final

from signal_assets.market.tables import INSTRUMENT
from signal_assets.table import Column, ColumnType, Table

PRICE_BUCKET: Final = Column(
    "price_bucket", ColumnType.PRICE, "Lower edge of the bucket: floor(price / bucket size) x bucket size", "quote"
)

DOLLAR_DEPTH: Final = Table(
    name="aggregates.dollar_depth",
    description="Each depth snapshot summed into price buckets, exactly.",
    columns=(
        INSTRUMENT,
        Column("event_time", ColumnType.TIME, "Grid point of the snapshot", "µs UTC"),
        Column("side", ColumnType.TEXT, "bid or ask"),
        PRICE_BUCKET,
        Column("quantity", ColumnType.QUANTITY, "Sum of the bucket's quantities", "base currency"),
        Column("level_count", ColumnType.COUNT, "Price levels in the bucket"),
    ),
    key=("instrument", "event_time", "side", "price_bucket"),
    kind="window",
    time="event_time",
)

DOLLAR_TRADES: Final = Table(
    name="aggregates.dollar_trades",
    description="Each minute's trades summed into price buckets, exactly.",
    columns=(
        INSTRUMENT,
        Column("minute", ColumnType.TIME, "Close of the minute: trades of (minute - 60 s, minute]", "µs UTC"),
        PRICE_BUCKET,
        Column("buy_quantity", ColumnType.QUANTITY, "Quantity bought by takers", "base currency"),
        Column("sell_quantity", ColumnType.QUANTITY, "Quantity sold by takers", "base currency"),
        Column("trade_count", ColumnType.COUNT, "Trades in the bucket"),
    ),
    key=("instrument", "minute", "price_bucket"),
    kind="window",
    time="minute",
)

TABLES: Final = (DOLLAR_DEPTH, DOLLAR_TRADES)
