"""What ``demo`` and ``replay`` print at their end.

Belongs here: laying out a summary on a terminal. Does not belong here: reading the lake (``services/summary``), what
its tables say (``services/text_tables``).
"""

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from services.summary import Summary
from services.text_tables import TextTable, text_tables

WIDTH_OF_A_FILE = 120


def console() -> Console:
    """Standard output; wide enough for the tables where it is no terminal."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDTH_OF_A_FILE)


def print_summary(out: Console, summary: Summary) -> None:
    """Every table of the summary that has rows."""
    for table in text_tables(summary):
        _print(out, table)


def _print(out: Console, table: TextTable) -> None:
    # The title stands apart: as the grid's own it would be broken at the grid's width.
    out.print(Text(table.title, style="bold"), soft_wrap=True)
    grid = Grid(box=None, pad_edge=False)
    for head in table.heads:
        grid.add_column(head.removeprefix("#"), justify="right" if head.startswith("#") else "left", no_wrap=True)
    for row in table.rows:
        grid.add_row(*(Text(value) for value in row))
    out.print(grid)
    out.print()
