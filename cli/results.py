"""What ``demo`` and ``replay`` print at their end.

Belongs here: laying out a summary on a terminal. Does not belong here: reading the lake (``services/summary``).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from services.summary import TableSummary, Wall
from signal_assets.event_time import iso
from signal_assets.fixed_point import SCALE

WIDTH_OF_A_FILE = 120


def console() -> Console:
    """Standard output; wide enough for the tables where it is no terminal."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDTH_OF_A_FILE)


def print_tables(out: Console, tables: Sequence[TableSummary]) -> None:
    """Rows, range of event time and newest snapshot of each table."""
    rows = [
        (
            line.name,
            f"{line.rows:,}",
            iso(line.first) if line.first is not None else "–",
            iso(line.last) if line.last is not None else "–",
            str(line.snapshot) if line.snapshot is not None else "–",
        )
        for line in tables
    ]
    _print(out, "Tables", ("table", "#rows", "first event", "last event", "#snapshot"), rows)


def print_levels(
    out: Console,
    peaks: Mapping[str, Sequence[Mapping[str, Any]]],
    zones: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    """The strongest peaks and zones of every instrument."""
    _print(
        out,
        "Strongest peaks (trades, newest minute)",
        ("instrument", "#price", "#volume", "#z-score", "#confidence"),
        [
            (
                key,
                f"{row['price']:,.8g}",
                f"{row['volume']:,.4f}",
                f"{row['z_score']:.2f}",
                f"{row['confidence']:.2f}",
            )
            for key, rows in peaks.items()
            for row in rows
        ],
    )
    _print(
        out,
        "Strongest zones (trades, newest minute)",
        ("instrument", "side", "#low", "#high", "#strength", "#confidence", "#touches"),
        [
            (
                key,
                str(row["side"]),
                f"{row['low']:,.8g}",
                f"{row['high']:,.8g}",
                f"{row['strength']:.1%}",
                f"{row['confidence']:.2f}",
                str(row["touches"]),
            )
            for key, rows in zones.items()
            for row in rows
        ],
    )


def print_walls(out: Console, walls: Sequence[Wall]) -> None:
    """Planted walls: found or missed, and how often a peak stood on them."""
    if not walls:
        return
    found = sum(wall.found for wall in walls)
    _print(
        out,
        f"Planted walls: {found} found, {len(walls) - found} missed",
        ("instrument", "side", "#price", "#quantity", "from", "to", "", "#minutes with a peak"),
        [
            (
                wall.instrument,
                wall.side,
                f"{wall.price / SCALE:,.8g}",
                f"{wall.quantity / SCALE:,.8g}",
                iso(wall.start),
                iso(wall.end),
                "found" if wall.found else "missed",
                f"{wall.minutes_found} of {wall.minutes}",
            )
            for wall in walls
        ],
    )


def _print(out: Console, title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table; columns whose heading begins with # hold numbers. Nothing when there are no rows."""
    grid = Grid(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for head in heads:
        grid.add_column(head.removeprefix("#"), justify="right" if head.startswith("#") else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    if grid.row_count:
        out.print(grid)
        out.print()
