"""One real book of 5,000 levels a side summed into one-dollar buckets, beside what one would write in Python.

The peers: a loop over Decimals, and the same loop over the sides of the package ``order-book`` (C), which keeps a book
sorted but sums nothing; its sides are filled beforehand.

Belongs here: the measurement. Does not belong here: the sum itself (``signal_assets/aggregates/dollar_depth``).
"""

import csv
import gzip
import statistics
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray
from order_book import OrderBook, SortedDict
from rich.console import Console
from rich.table import Table

from benchmarks.measurement import console, seconds_of, shared_data
from signal_assets.aggregates.dollar_depth import aggregate_depth
from signal_assets.fixed_point import SCALE, parse_fixed

RUNS: Final = 7
CALLS_PER_RUN: Final = 100
DOLLAR: Final = Decimal(1)

Levels = list[tuple[Decimal, Decimal]]
Arrays = tuple[NDArray[np.int64], NDArray[np.int64]]
Buckets = dict[Decimal, tuple[Decimal, int]]


def recorded_book() -> tuple[Levels, Levels] | None:
    """Bids and asks of the recorded snapshot, best first; None where the recording is absent."""
    files = sorted(shared_data("depth5000_btcusdt").glob("*.csv.gz"))
    if not files:
        return None
    sides: tuple[Levels, Levels] = ([], [])
    with gzip.open(files[0], "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            sides[int(row["IsAsk"])].append((Decimal(row["Price"]), Decimal(row["Quantity"])))
    return sides


def decimal_loop(levels: Levels) -> Buckets:
    """The peer: the same sum in Decimals, level by level."""
    buckets: Buckets = {}
    for price, quantity in levels:
        bucket = price // DOLLAR * DOLLAR
        total, count = buckets.get(bucket, (Decimal(0), 0))
        buckets[bucket] = (total + quantity, count + 1)
    return buckets


def package_loop(side: SortedDict) -> Buckets:
    """The other peer: the sum over a side that the package ``order-book`` holds."""
    return decimal_loop(side.to_list())


def arrays(levels: Levels) -> Arrays:
    """Levels in units of 1e-8, as the lake holds them."""
    price, quantity = zip(
        *((parse_fixed(str(price)), parse_fixed(str(quantity))) for price, quantity in levels), strict=True
    )
    return np.array(price, np.int64), np.array(quantity, np.int64)


def _check_equal(side: Levels, held: SortedDict, ours: Arrays) -> int:
    """All give the same buckets; returns how many."""
    bucket, quantity, count = aggregate_depth(*ours, SCALE)
    found = {
        Decimal(int(bucket[i])) / SCALE: (Decimal(int(quantity[i])) / SCALE, int(count[i])) for i in range(len(bucket))
    }
    assert found == decimal_loop(side) == package_loop(held), "the sums differ: no times of different results"
    return len(bucket)


def main(out: Console | None = None) -> None:
    """Print the table."""
    out = out or console()
    book = recorded_book()
    if book is None:
        out.print(f"dollar aggregation: not measured, there is no recording in {shared_data('depth5000_btcusdt')}")
        return
    ours = tuple(arrays(side) for side in book)
    package = OrderBook()
    package.bids, package.asks = (dict(side) for side in book)
    held = (package.bids, package.asks)
    buckets = [_check_equal(*sides) for sides in zip(book, held, ours, strict=True)]

    def compiled() -> None:
        for _ in range(CALLS_PER_RUN):
            for price, quantity in ours:
                aggregate_depth(price, quantity, SCALE)

    def plain() -> None:
        for side in book:
            decimal_loop(side)

    def packaged() -> None:
        for side in held:
            package_loop(side)

    # In turns, so that all see the same machine.
    runs = [(seconds_of(compiled) / CALLS_PER_RUN, seconds_of(plain), seconds_of(packaged)) for _ in range(RUNS)]
    fast, slow, third = (statistics.median(column) for column in zip(*runs, strict=True))
    ratio = statistics.median(run[1] / run[0] for run in runs)
    of_package = statistics.median(run[1] / run[2] for run in runs)
    counts = f"{len(book[0]):,} + {len(book[1]):,} levels → {buckets[0]:,} + {buckets[1]:,} buckets"
    table = Table("both sides of the book", "median ms", "ratio", "goal", title=f"Dollar aggregation, {counts}")
    table.add_row("aggregate_depth", f"{fast * 1e3:.3f}", f"{ratio:.0f} ×", "≤ 0.1 ms, ≥ 50 ×")
    table.add_row("Decimal loop, the same result", f"{slow * 1e3:.3f}", "1 ×", "")
    table.add_row("Decimal loop over order-book's sides", f"{third * 1e3:.3f}", f"{of_package:.2f} ×", "")
    out.print(table)


if __name__ == "__main__":
    main()
