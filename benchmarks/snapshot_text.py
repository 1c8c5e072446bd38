"""The text of one real book of 5,000 levels a side read into arrays, beside orjson and Decimals.

Both start from the very bytes of a REST answer and end with int64 arrays in units of 1e-8, equal to the last unit.

Belongs here: the measurement and the peer. Does not belong here: the reader (``resources/exchange/binance_text``).
"""

import statistics
from decimal import Decimal
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.dollar_aggregation import recorded_book
from benchmarks.measurement import console, seconds_of, shared_data
from resources.exchange.binance_messages import MessageParser
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from signal_assets.market.messages import DepthSnapshot, PriceLevels

RUNS: Final = 51
BTC: Final = Instrument("BTCUSDT", "BINANCE", "BTC/USDT", tick_size=SCALE // 100, lot_size=SCALE // 100_000)

Arrays = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def recorded_text() -> bytes | None:
    """The recorded book as the exchange's REST answer spells it; None where the recording is absent."""
    book = recorded_book()
    if book is None:
        return None
    bids, asks = ([[f"{price:.8f}", f"{quantity:.8f}"] for price, quantity in side] for side in book)
    return orjson.dumps({"lastUpdateId": 66_711_751_276, "bids": bids, "asks": asks})


def decimal_arrays(text: bytes) -> Arrays:
    """The peer: a general JSON parser, then Decimals scaled to units of 1e-8."""
    content = orjson.loads(text)
    columns = []
    for side in (content["bids"], content["asks"]):
        for column in range(2):
            columns.append(np.array([int(Decimal(level[column]) * SCALE) for level in side], dtype=np.int64))
    return columns[0], columns[1], columns[2], columns[3]


def arrays(snapshot: DepthSnapshot) -> Arrays:
    """Columns of a snapshot as it was read."""
    bids, asks = PriceLevels.of(snapshot.bids), PriceLevels.of(snapshot.asks)
    return bids.prices, bids.quantities, asks.prices, asks.quantities


def main(out: Console | None = None) -> None:
    """Print the table."""
    out = out or console()
    text = recorded_text()
    if text is None:
        out.print(f"snapshot text: not measured, there is no recording in {shared_data('depth5000_btcusdt')}")
        return
    parser = MessageParser([BTC])
    ways = {
        "text → int64 arrays": lambda: arrays(parser.snapshot(BTC, text)),
        "the general parser": lambda: arrays(parser.snapshot_of(BTC, orjson.loads(text))),
        "peer: orjson + Decimal": lambda: decimal_arrays(text),
    }
    results = [way() for way in ways.values()]
    assert all(
        np.array_equal(one, other) for result in results for one, other in zip(results[0], result, strict=True)
    ), "the arrays differ: no times of different results"
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(RUNS):
        for name, way in ways.items():
            seconds[name].append(seconds_of(way))
    levels = len(results[0][0]) + len(results[0][2])
    table = Table("", "median, ms", "of the peer", title=f"Snapshot text, {levels:,} levels, {len(text):,} bytes")
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    peer = medians["peer: orjson + Decimal"]
    for name, median in medians.items():
        table.add_row(name, f"{1_000 * median:.3f}", f"{peer / median:.1f} ×")
    out.print(table)
    out.print(f"all give the same arrays; median of {RUNS} runs")


if __name__ == "__main__":
    main()
