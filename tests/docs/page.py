"""Reading the figures of a page: the tables of its sections, and whether a cell says what a row holds.

Belongs here: markdown tables. Does not belong here: any figure.
"""

import re
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd

from signal_assets.event_time import iso
from signal_assets.fixed_point import SCALE
from signal_assets.table import Column, ColumnType, Table

Cells = list[list[str]]
DOCS = Path(__file__).parents[2] / "docs"


def tables(page: Path, section: str) -> list[Cells]:
    """Cells of the tables of the section whose heading begins with `section`, heads included."""
    (text,) = re.findall(rf"^## `{re.escape(section)}`.*?\n(.*?)(?=^## |\Z)", page.read_text("utf-8"), re.M | re.S)
    blocks = re.findall(r"(?:^\|.*\n?)+", text, re.M)
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()] for block in blocks]


def last_cells(cells: Cells, column: int = -1) -> dict[str, str]:
    """What stands in a column, by what stands in the first one."""
    return {line[0]: line[column] for line in cells[2:]}


def is_number(text: str, value: float) -> bool:
    """Whether the text is the number, rounded to the decimals it has."""
    written = text.replace(",", "").replace("−", "-")
    decimals = len(written.partition(".")[2])
    return abs(float(written) - value) <= 0.5 * 10**-decimals + 1e-12


def says(text: str, column: Column, value: Any) -> bool:
    """Whether a cell says the value of a column: money and whole numbers exactly, reals as far as they are written."""
    if value is None or value is pd.NA:
        return text == "–"
    match column.type:
        case ColumnType.PRICE | ColumnType.QUANTITY:
            return bool(Decimal(text.replace(",", "").replace("−", "-")) * SCALE == value)
        case ColumnType.REAL:
            return is_number(text, value)
        case ColumnType.TIME:
            return text in (iso(value)[:10], iso(value)[11:19])
        case ColumnType.FLAG:
            return text == str(value).lower()
    return text == str(value)


def check_columns(page: Path, table: Table, row: Any, besides: Collection[str] = ()) -> None:
    """Hold the section's last table, of one line per column with the value last, against a row."""
    told = last_cells(tables(page, table.name)[-1])
    columns = {name: told[name] for name in told if name not in besides}
    wrong = {name: text for name, text in columns.items() if not says(text, table.column(name), getattr(row, name))}
    assert not wrong, row


def check_rows(page: Path, table: Table, rows: pd.DataFrame) -> None:
    """Hold a table of one line per row, a cell per column, against rows in their order."""
    ((heads, _, *lines),) = tables(page, table.name)
    assert len(lines) == len(rows)
    columns = [table.column(head) for head in heads]
    for line, row in zip(lines, rows[heads].astype(object).itertuples(index=False), strict=True):
        wrong = [text for text, column, value in zip(line, columns, row, strict=True) if not says(text, column, value)]
        assert not wrong, (line, row)
