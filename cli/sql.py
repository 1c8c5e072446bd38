"""``signals sql``: a question to the lake.

Belongs here: printing the answer. Does not belong here: what may be asked (``resources/read_only_query``).
"""

import csv
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from itertools import chain, islice
from typing import Annotated, Any

import typer

from cli.options import HomeOption, enter_home

MOST_ROWS_OF_A_TABLE = 1_000


class AnswerFormat(StrEnum):
    """How the answer is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT over the lake's tables.")],
    format: Annotated[AnswerFormat, typer.Option(help="How to print the answer.")] = AnswerFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Ask the lake; nothing can be written, and no other file can be read.

    Tables: market.trades, aggregates.dollar_depth, levels.wave_peaks …; SHOW ALL TABLES lists them.

    Example: signals sql "SELECT instrument, count(*) FROM market.trades GROUP BY 1" --format csv
    """
    from resources.addresses import Addresses
    from resources.read_only_query import ReadOnlyLake, check_question

    check_question(query)  # before anything is opened: a wrong question needs no platform to be refused
    addresses = Addresses.resolve(enter_home(home))
    with ReadOnlyLake(addresses) as lake, lake.ask(query) as answer:
        rows = answer.rows()
        if format is AnswerFormat.CSV:
            _print_csv(answer.columns, rows)
        elif format is AnswerFormat.JSON:
            _print_json(answer.columns, rows)
        else:
            _print_table(answer.columns, rows)


def _text(value: Any) -> str:
    """A value as text: decimals plain, times in UTC, lists in brackets."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.replace(tzinfo=None).isoformat(sep=" ") + "Z"
    if isinstance(value, list):
        return f"[{', '.join(_text(item) for item in value)}]"
    return str(value)


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    remaining = iter(rows)
    shown = list(islice(remaining, MOST_ROWS_OF_A_TABLE))
    more = next(remaining, None) is not None
    grid = Table(box=None, pad_edge=False)
    for number, name in enumerate(columns):
        numeric = any(isinstance(row[number], int | float | Decimal) for row in shown[:1])
        grid.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in shown:
        grid.add_row(*(Text(_text(value)) for value in row))
    console = Console(highlight=False)
    if not console.is_terminal:  # nothing is folded on its way into a file
        widest = sum(max(len(_text(row[n])) for row in [columns, *shown]) + 2 for n in range(len(columns)))
        console = Console(highlight=False, width=max(widest, 20))
    console.print(grid)
    if more:
        typer.echo(f"only the first {MOST_ROWS_OF_A_TABLE:,} rows: use LIMIT, or --format csv for all", err=True)


def _print_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for row in chain([columns], ([_text(value) for value in row] for row in rows)):
        writer.writerow(row)


def _print_json(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """An array of objects, a row a line; decimals are numbers with all their digits."""
    import orjson

    def other(value: Any) -> Any:
        if isinstance(value, Decimal):
            return orjson.Fragment(f"{value:f}".encode())
        if isinstance(value, date):
            return value.isoformat()
        return str(value)

    options = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
    separator = "[\n"
    for row in rows:
        typer.echo(separator + orjson.dumps(dict(zip(columns, row, strict=True)), other, options).decode(), nl=False)
        separator = ",\n"
    typer.echo("[]" if separator == "[\n" else "\n]")
