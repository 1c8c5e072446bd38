"""Schemas of the raw market tables; appended once, never deleted by a run."""

from typing import Final

from signal_assets.table import Column, ColumnType, Table

INSTRUMENT: Final = Column("instrument", ColumnType.TEXT, "What was traded, `SYMBOL.VENUE`")
RECEIVED_TIME: Final = Column(
    "received_time", ColumnType.TIME, "When the live lane received it, by our clock", "µs UTC", operational=True
)

FLAG_PRICE_OUT_OF_RANGE: Final = 1
FLAG_QUANTITY_OUT_OF_RANGE: Final = 2
FLAG_OFF_TICK: Final = 4
FLAG_OFF_LOT: Final = 8
FLAG_FILLED_BY_REST: Final = 16

TRADES: Final = Table(
    name="market.trades",
    description="Every trade, once, as the exchange printed it.",
    columns=(
        INSTRUMENT,
        Column("trade_id", ColumnType.COUNT, "The exchange's trade id; contiguous per instrument"),
        Column("event_time", ColumnType.TIME, "When the exchange matched it (`T`)", "µs UTC"),
        RECEIVED_TIME,
        Column("price", ColumnType.PRICE, "Price", "quote currency"),
        Column("quantity", ColumnType.QUANTITY, "Quantity", "base currency"),
        Column("is_buyer_maker", ColumnType.FLAG, "True when the taker sold"),
        Column("late", ColumnType.FLAG, "It came after its grid point had closed; day runs take it in"),
        Column(
            "flags",
            ColumnType.COUNT,
            "Data-quality bits: 1 price range, 2 quantity range, 4 off tick, 8 off lot, 16 fetched by REST",
            operational=True,
        ),
    ),
    key=("instrument", "trade_id"),
    kind="raw",
    time="event_time",
)

DEPTH_SNAPSHOTS: Final = Table(
    name="market.depth_snapshots",
    description="The whole known order book on the snapshot grid (60 s by default), best price first.",
    columns=(
        INSTRUMENT,
        Column("event_time", ColumnType.TIME, "Grid point: every diff up to it is in", "µs UTC"),
        RECEIVED_TIME,
        Column("last_update_id", ColumnType.COUNT, "Id of the last diff applied"),
        Column("bid_price", ColumnType.PRICES, "Bid prices, best first", "quote currency"),
        Column("bid_quantity", ColumnType.QUANTITIES, "Bid quantities", "base currency"),
        Column("ask_price", ColumnType.PRICES, "Ask prices, best first", "quote currency"),
        Column("ask_quantity", ColumnType.QUANTITIES, "Ask quantities", "base currency"),
        Column(
            "coverage_low",
            ColumnType.PRICE,
            "Lowest price the book is completely known from; depends on the snapshots REST served",
            "quote currency",
            operational=True,
        ),
        Column(
            "coverage_high",
            ColumnType.PRICE,
            "Highest price it is completely known to; depends on the snapshots REST served",
            "quote currency",
            operational=True,
        ),
    ),
    key=("instrument", "event_time"),
    kind="raw",
    time="event_time",
)

FEATURES: Final = Table(
    name="market.features",
    description="Best prices, top twenty levels and flow, once per instrument and grid point (1 s by default).",
    columns=(
        INSTRUMENT,
        Column("time", ColumnType.TIME, "Grid point", "µs UTC"),
        Column("best_bid", ColumnType.PRICE, "Highest bid", "quote currency"),
        Column("best_ask", ColumnType.PRICE, "Lowest ask", "quote currency"),
        Column("bid_quantity", ColumnType.QUANTITY, "Quantity at the best bid", "base currency"),
        Column("ask_quantity", ColumnType.QUANTITY, "Quantity at the best ask", "base currency"),
        Column("bid_price_20", ColumnType.PRICES, "Twenty best bids, best first", "quote currency"),
        Column("bid_quantity_20", ColumnType.QUANTITIES, "Their quantities", "base currency"),
        Column("ask_price_20", ColumnType.PRICES, "Twenty best asks, best first", "quote currency"),
        Column("ask_quantity_20", ColumnType.QUANTITIES, "Their quantities", "base currency"),
        Column("mid_price", ColumnType.REAL, "(best bid + best ask) / 2", "quote currency"),
        Column("spread", ColumnType.PRICE, "Best ask minus best bid", "quote currency"),
        Column("imbalance_1", ColumnType.REAL, "(bid - ask) / (bid + ask) quantity at the best level", "-1…1"),
        Column("imbalance_5", ColumnType.REAL, "The same over the five best levels", "-1…1"),
        Column("imbalance_20", ColumnType.REAL, "The same over the twenty best levels", "-1…1"),
        Column(
            "order_flow_imbalance",
            ColumnType.QUANTITY,
            "Net quantity added at the best bid less that at the best ask since the last grid point (Cont 2014)",
            "base currency",
        ),
        Column("trade_count", ColumnType.COUNT, "Trades since the last grid point"),
        Column("buy_quantity", ColumnType.QUANTITY, "Quantity bought by takers since the last grid point", "base"),
        Column("sell_quantity", ColumnType.QUANTITY, "Quantity sold by takers since the last grid point", "base"),
        Column("last_price", ColumnType.PRICE, "Price of the newest trade, if any was seen", "quote", nullable=True),
        Column("last_update_id", ColumnType.COUNT, "Id of the last diff applied"),
    ),
    key=("instrument", "time"),
    kind="raw",
    time="time",
)

FEED_GAPS: Final = Table(
    name="market.feed_gaps",
    description="Stretches in which a feed was not known to be complete.",
    columns=(
        INSTRUMENT,
        Column("feed", ColumnType.TEXT, "depth or trades"),
        Column("gap_start", ColumnType.TIME, "Last moment at which the feed was complete", "µs UTC"),
        Column("gap_end", ColumnType.TIME, "First grid point at which it was complete again", "µs UTC"),
        Column("reason", ColumnType.TEXT, "restart, sequence, crossed, dead_feed, unfilled"),
    ),
    key=("instrument", "feed", "gap_end"),
    kind="raw",
    time="gap_end",
)

TABLES: Final = (TRADES, DEPTH_SNAPSHOTS, FEATURES, FEED_GAPS)
