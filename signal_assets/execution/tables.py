"""Schemas of the paper execution: orders, fills, positions, deployments.

Money is in the account's currency unless a column says otherwise; `account_rate` converts from the quote currency.
"""

from typing import Final

from signal_assets.market.tables import INSTRUMENT
from signal_assets.table import Column, ColumnType, Table

STRATEGY: Final = Column("strategy", ColumnType.TEXT, "On whose behalf")
TIME: Final = Column("time", ColumnType.TIME, "When it happened", "µs UTC")

ORDERS: Final = Table(
    name="execution.orders",
    description="Every change in the life of every order.",
    columns=(
        Column("id", ColumnType.TEXT, "Hash of signal, leg and purpose"),
        Column("change", ColumnType.COUNT, "0 when placed, then counting"),
        TIME,
        Column("signal_id", ColumnType.TEXT, "Signal it acts on"),
        STRATEGY,
        INSTRUMENT,
        Column("purpose", ColumnType.TEXT, "entry, leg, stop, target, exit, liquidation or settlement"),
        Column("side", ColumnType.TEXT, "buy or sell"),
        Column("order_type", ColumnType.TEXT, "market or limit"),
        Column("limit_price", ColumnType.PRICE, "Worst price accepted", "quote currency", nullable=True),
        Column("quantity", ColumnType.QUANTITY, "Size ordered", "base currency"),
        Column("filled", ColumnType.QUANTITY, "Size filled so far", "base currency"),
        Column("status", ColumnType.TEXT, "placed, partially_filled, filled, modified, canceled, expired or rejected"),
        Column("reason", ColumnType.TEXT, "Why, where there is a why"),
    ),
    key=("id", "change"),
    kind="fold",
    time="time",
)

FILLS: Final = Table(
    name="execution.fills",
    description="Every execution: one row per price level consumed.",
    columns=(
        Column("order_id", ColumnType.TEXT, "Order it belongs to"),
        Column("number", ColumnType.COUNT, "Counting within the order from 0"),
        Column("signal_id", ColumnType.TEXT, "Signal it acts on"),
        STRATEGY,
        INSTRUMENT,
        TIME,
        Column("purpose", ColumnType.TEXT, "entry, leg, stop, target, exit, liquidation or settlement"),
        Column("side", ColumnType.TEXT, "buy or sell"),
        Column("price", ColumnType.PRICE, "Price of the level", "quote currency"),
        Column("quantity", ColumnType.QUANTITY, "Size taken from it", "base currency"),
        Column("notional", ColumnType.QUANTITY, "price x quantity, rounded half to even", "account currency"),
        Column("fee", ColumnType.QUANTITY, "Fee paid, rounded up", "account currency"),
        Column("account_rate", ColumnType.PRICE, "Account currency per quote currency at the fill"),
        Column("liquidity", ColumnType.TEXT, "taker or maker"),
    ),
    key=("order_id", "number"),
    kind="fold",
    time="time",
)

POSITIONS: Final = Table(
    name="execution.positions",
    description="A strategy's holding of an instrument after each step that changed it.",
    columns=(
        STRATEGY,
        INSTRUMENT,
        TIME,
        Column("quantity", ColumnType.QUANTITY, "Holding; negative is short", "base currency"),
        Column("cost", ColumnType.QUANTITY, "Signed notional at which it was opened, fees apart", "account currency"),
        Column("realized", ColumnType.QUANTITY, "Realized profit so far, fees apart", "account currency"),
        Column("fees", ColumnType.QUANTITY, "Fees so far", "account currency"),
    ),
    key=("strategy", "instrument", "time"),
    kind="fold",
    time="time",
)

DEPLOYMENTS: Final = Table(
    name="execution.deployments",
    description="The life-cycle of every strategy: candidate, validated, allocated, active, paused, flagged.",
    columns=(
        STRATEGY,
        INSTRUMENT,
        TIME,
        Column("change", ColumnType.COUNT, "Counting within the strategy from 0"),
        Column("state", ColumnType.TEXT, "candidate, validated, allocated, active, paused or flagged"),
        Column("capital", ColumnType.QUANTITY, "Capital allocated", "account currency"),
        Column("reason", ColumnType.TEXT, "Why it changed"),
    ),
    key=("instrument", "strategy", "change"),
    kind="fold",
    time="time",
)

TABLES: Final = (ORDERS, FILLS, POSITIONS, DEPLOYMENTS)
