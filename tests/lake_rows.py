"""Rows made by hand: columns that do not matter to a test need not be written."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from resources.lake import Progress
from resources.memory_lake import MemoryLake
from signal_assets.derivation import asset_name
from signal_assets.market.tables import FEATURES
from signal_assets.table import Table

NEUTRAL: Mapping[str, Any] = {"str": "", "int64": 0, "float64": 0.0, "bool": False, "object": ()}


def frame_of(table: Table, rows: Iterable[Mapping[str, Any]], **common: Any) -> pd.DataFrame:
    """A frame of the table: what a row does not say is ``common`` to all, else empty, zero or null."""
    rest = {column.name: None if column.nullable else NEUTRAL[column.type.dtype] for column in table.columns}
    return pd.DataFrame([rest | common | dict(row) for row in rows])


def lake_of(frames: Mapping[Table, pd.DataFrame], *, origin: int | None = None, group: str = "crypto") -> MemoryLake:
    """A lake in memory that holds the frames; with an ``origin`` it knows since when there are features."""
    lake = MemoryLake()
    for table, frame in frames.items():
        with lake.transaction(asset=asset_name(table), run_id="test") as unit:
            unit.append(table, frame)
    if origin is not None:
        with lake.transaction(asset=asset_name(FEATURES), run_id="test") as unit:
            unit.advance(asset_name(FEATURES), group, None, Progress(origin, origin))
    return lake
