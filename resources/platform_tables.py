"""Schemas of the lake's own book-keeping: how far each asset has come, how far each stream has been read, what is gone.

They live in the lake, not beside it, because DuckDB writes one database per transaction and they must move in the
transaction that writes the rows they speak of.
"""

from typing import Final

from signal_assets.table import Column, ColumnType, Table

RAW_STAGE: Final = "market"
"""What its assets have reached is complete: all others follow from them."""

PROGRESS: Final = Table(
    name="platform.progress",
    description="Event time up to which an asset's rows are computed, per group of instruments.",
    columns=(
        Column("asset", ColumnType.TEXT, "Asset, `stage/table`"),
        Column("scope", ColumnType.TEXT, "Group of instruments that is computed together"),
        Column("origin", ColumnType.TIME, "Where the group's history begins: a midnight", "µs UTC"),
        Column("progress", ColumnType.TIME, "Rows are computed up to and including this event time", "µs UTC"),
        Column("run_id", ColumnType.TEXT, "Run that moved it last", operational=True),
    ),
    key=("asset", "scope"),
    kind="platform",
)

OFFSETS: Final = Table(
    name="platform.offsets",
    description="Stream entry up to which a raw table has taken in a Redis stream.",
    columns=(
        Column("stream", ColumnType.TEXT, "Redis key of the stream"),
        Column("generation", ColumnType.TEXT, "Id of the Redis data set the offset belongs to"),
        Column("last_id", ColumnType.COUNT, "Sequence (first half of the entry id) of the last entry taken in"),
        Column("run_id", ColumnType.TEXT, "Run that moved it last", operational=True),
    ),
    key=("stream",),
    kind="platform",
)

STATES: Final = Table(
    name="platform.states",
    description="What each fold remembered at forward work's newest checkpoint, and at every day's end.",
    columns=(
        Column("fold", ColumnType.TEXT, "Name of the fold"),
        Column("scope", ColumnType.TEXT, "Group of instruments that is computed together"),
        Column("kind", ColumnType.TEXT, "rolling or day_end"),
        Column("time", ColumnType.TIME, "Everything up to and including this event time is in it", "µs UTC"),
        Column("state", ColumnType.TEXT, "The state, JSON"),
        Column("run_id", ColumnType.TEXT, "Run that wrote it", operational=True),
    ),
    key=("fold", "scope", "kind", "time"),
    kind="platform",
)

REMOVALS: Final = Table(
    name="platform.removals",
    description="Event time up to which retention has removed a table's rows: what would read them is refused.",
    columns=(
        Column("removed", ColumnType.TEXT, "Table, `stage.table`"),
        Column("up_to", ColumnType.TIME, "Rows up to and including this event time are gone", "µs UTC"),
        Column("run_id", ColumnType.TEXT, "Run that removed them last", operational=True),
    ),
    key=("removed",),
    kind="platform",
)

TABLES: Final = (PROGRESS, OFFSETS, STATES, REMOVALS)
