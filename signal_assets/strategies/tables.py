"""Schema of the strategies' tables: all have the same columns, one table per strategy."""

from typing import Final

from signal_assets.market.tables import INSTRUMENT
from signal_assets.table import Column, ColumnType, Table

STRATEGIES: Final = {
    "triangular_arbitrage": "arbitrage",
    "momentum_rider": "trend_following",
    "moving_average_crossover": "trend_following",
}
"""Family of every strategy there is, in the order in which they are evaluated."""

COLUMNS: Final = (
    Column("id", ColumnType.TEXT, "Hash of strategy, instrument or legs, timeframe, time, action and parameters"),
    Column("strategy", ColumnType.TEXT, "Who proposes it"),
    Column("family", ColumnType.TEXT, "Family of the strategy"),
    Column("tier", ColumnType.TEXT, "fast, tactical, strategic or learning"),
    INSTRUMENT,
    Column("timeframe", ColumnType.TEXT, "Bar it was decided on (1m, 5m, 15m, 1h, 4h), or grid"),
    Column("event_time", ColumnType.TIME, "When it was decided", "µs UTC"),
    Column("action", ColumnType.TEXT, "buy, sell or hold"),
    Column("order_type", ColumnType.TEXT, "market or limit"),
    Column("legs", ColumnType.TEXT, "Several orders at once: instrument, side, ratio, limit price; JSON, [] for one"),
    Column("entry_price", ColumnType.PRICE, "Price it was decided at", "quote currency"),
    Column("stop_loss", ColumnType.PRICE, "Where it is given up", "quote currency", nullable=True),
    Column("take_profit", ColumnType.PRICE, "Where it is done", "quote currency", nullable=True),
    Column("quantity", ColumnType.QUANTITY, "Size proposed; 0: the executor decides", "base currency"),
    Column("raw_confidence", ColumnType.REAL, "What the strategy itself thinks of it", "0…1"),
    Column("metadata", ColumnType.TEXT, "What it was decided from, JSON with sorted keys"),
    Column("parameters_version", ColumnType.TEXT, "Hash of the parameters it was decided with"),
    Column("failure", ColumnType.TEXT, "What went wrong instead of a decision; empty: nothing"),
)


def strategy_table(strategy: str) -> Table:
    """Table ``strategies.<strategy>``."""
    return Table(
        name=f"strategies.{strategy}",
        description=f"What {strategy} proposes, before validation.",
        columns=COLUMNS,
        key=("id",),
        kind="fold",
        time="event_time",
    )


TABLES: Final = tuple(strategy_table(strategy) for strategy in STRATEGIES)
