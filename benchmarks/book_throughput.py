"""Messages per second into the order book, beside a replay in plain dictionaries of Decimals and in a package's book.

The recorded diffs and trades of Binance (what the live lane subscribes to) go through its very parser and ingest with
every check on: structure, sequence, crossed book, ticks and lots, sanity ranges; and with all that it makes of them:
features grid, snapshots, reconciliation. They go in by batches as in the live lane, REST is answered after each. The
peers get the same messages and do less: they check the sequence of diffs and trades and hold the levels. All must end
with the same book.

Belongs here: the measurement and the peers. Does not belong here: ingest (``signal_assets/market``).
"""

import gzip
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.measurement import console, seconds_of, shared_data
from resources.exchange.binance_messages import MessageParser
from services.simulated_venue.recording import read_recording
from services.simulated_venue.served_market import ServedMarket
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from signal_assets.market.ingest import IngestSettings, SnapshotRequest, TradesRequest, VenueIngest
from signal_assets.market.messages import DepthSnapshot, DepthUpdate, Message
from signal_assets.market.order_book import OrderBook

RUNS: Final = 5
BATCH: Final = 100
BTC: Final = Instrument("BTCUSDT", "BINANCE", "BTC/USDT", tick_size=SCALE // 100, lot_size=SCALE // 100_000)

MEASURE: Final = "peer: dict of Decimal"

Side = dict[Decimal, Decimal]
Book = tuple[Side, Side]
Raw = tuple[int, bytes]
Pairs = list[tuple[Decimal, Decimal]]
Plain = tuple[int, int, Pairs, Pairs] | int
"""A message as the peers hold it: a diff (first id, last id, bids, asks) or a trade's id."""


@dataclass
class Recorded:
    """The stream, what REST answers to ingest's questions, and the text of the snapshot the peers begin with."""

    stream: list[Raw]
    snapshot: bytes
    answers: dict[SnapshotRequest, DepthSnapshot] = field(default_factory=dict)


def load(folder: Path) -> Recorded | None:
    """Read everything into memory and collect REST's answers; None where the recording is absent."""
    paths = sorted(folder.glob("*.gz"))
    if not paths:
        return None
    stream, snapshots = [], []
    for path in paths:
        with gzip.open(path, "rb") as lines:
            for line in lines:
                received, _, text = line.strip().partition(b" ")
                content = orjson.loads(text)
                if "lastUpdateId" in content:
                    snapshots.append(text)
                elif not content["stream"].endswith("@bookTicker"):
                    stream.append((int(received), text))
    recorded = Recorded(stream, snapshots[0])
    _collect_answers(recorded, paths)
    return recorded


def _collect_answers(recorded: Recorded, paths: Sequence[Path]) -> None:
    """What the simulated venue, with a book of its own, answers by REST at each place of the stream."""
    market, parser = ServedMarket(read_recording(paths), [BTC]), MessageParser([BTC])
    lane = VenueIngest([BTC], IngestSettings())
    while taken := market.take(math.inf, 1):
        if not taken[0].on_wire:
            continue
        message = parser.parse(taken[0].received, taken[0].raw)
        assert message is not None
        lane.receive(message)
        while requests := lane.requests():
            for request in requests:
                assert isinstance(request, SnapshotRequest), "no trade is missing in the recording"
                book = market.depth(BTC.symbol, request.position)
                assert book is not None
                bids, asks = sorted(book.bids.items(), reverse=True), sorted(book.asks.items())
                answer = DepthSnapshot(request.instrument, book.last_update_id, bids, asks)
                recorded.answers[request] = answer
                lane.answer_snapshot(request, answer)


# -- ours --------------------------------------------------------------------------------------------------------------


def ingest(messages: Iterator[Message | None], answers: dict[SnapshotRequest, DepthSnapshot]) -> VenueIngest:
    """Messages through ingest, REST answered and rows taken out after each batch, as the live lane does."""
    lane = VenueIngest([BTC], IngestSettings())
    receive = lane.receive
    while batch := list(islice(messages, BATCH)):
        for message in batch:
            if message is not None:
                receive(message)
        while requests := lane.requests():
            for request in requests:
                _answer(lane, request, answers)
        lane.drain(BTC.key)
    return lane


def _answer(
    lane: VenueIngest, request: SnapshotRequest | TradesRequest, answers: dict[SnapshotRequest, DepthSnapshot]
) -> None:
    assert isinstance(request, SnapshotRequest)
    lane.answer_snapshot(request, answers[request])


def apply_updates(messages: Sequence[Message | None], snapshot: DepthSnapshot) -> OrderBook:
    """The bare book: sequence and crossed checked at every diff."""
    book = OrderBook()
    book.apply_snapshot(snapshot)
    for message in messages:
        if isinstance(message, DepthUpdate) and book.apply_update(message):
            assert not book.crossed
    return book


def _decimals(levels: Iterable[tuple[int, int]]) -> Side:
    return {Decimal(price) / SCALE: Decimal(quantity) / SCALE for price, quantity in levels}


def book_of(lane: VenueIngest) -> Book:
    """The book a lane ended with, after it has said that nothing went wrong."""
    state = lane.state(BTC.key)
    assert (state["synced"], state["sequence_gaps"], state["crossed"], state["held"]) == (True, 0, 0, 0), state
    book = lane._instruments[BTC.key].book
    return _decimals(book.bids), _decimals(book.asks)


# -- the peers ---------------------------------------------------------------------------------------------------------


def plain_messages(stream: Sequence[Raw]) -> Iterator[Plain]:
    """The stream as a plain client parses it."""
    for _, raw in stream:
        data = orjson.loads(raw)["data"]
        if data["e"] == "trade":
            yield data["t"]
        else:
            yield data["U"], data["u"], _pairs(data["b"]), _pairs(data["a"])


def _pairs(levels: list[list[str]]) -> Pairs:
    return [(Decimal(price), Decimal(quantity)) for price, quantity in levels]


def replay(
    messages: Iterable[Plain],
    snapshot: dict[str, Any],
    make: Callable[[], tuple[Any, Any]],
    crossed: Callable[[Any, Any], bool] | None = None,
) -> Book:
    """A book of two mappings: ids checked, quantity 0 removes; the crossed check where the mapping makes it cheap."""
    bids, asks = make()
    for side, levels in ((bids, snapshot["bids"]), (asks, snapshot["asks"])):
        for price, quantity in _pairs(levels):
            side[price] = quantity
    last, applied, last_trade = snapshot["lastUpdateId"], False, None
    for message in messages:
        if isinstance(message, int):
            assert last_trade is None or message == last_trade + 1
            last_trade = message
            continue
        first, final, bid_levels, ask_levels = message
        if final <= last:
            continue
        assert first == last + 1 if applied else first <= last + 1
        last, applied = final, True
        for side, levels in ((bids, bid_levels), (asks, ask_levels)):
            for price, quantity in levels:
                if quantity:
                    side[price] = quantity
                else:
                    try:  # cheaper than suppress, in the peers' favour
                        del side[price]
                    except KeyError:
                        continue
        assert crossed is None or not crossed(bids, asks)
    return {price: bids[price] for price in bids.keys()}, {price: asks[price] for price in asks.keys()}  # noqa: SIM118


def _package_book() -> tuple[Any, Any]:
    """The two sides of the ``order-book`` package's book (GPL: measured here, used nowhere)."""
    book = import_module("order_book").OrderBook()
    return book.bids, book.asks


# -- the table ---------------------------------------------------------------------------------------------------------


@dataclass
class Contender:
    """One way of doing it, and how to read off the book it ends with."""

    name: str
    checks: str
    run: Callable[[], Any]
    book: Callable[[Any], Book] = lambda book: book
    seconds: list[float] = field(default_factory=list)
    core_seconds: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """One more run, by the clock on the wall and by the core's."""
        before = time.process_time()
        self.seconds.append(seconds_of(self.run))
        self.core_seconds.append(time.process_time() - before)


def peers(source: Callable[[], Iterable[Plain]], snapshot: dict[str, Any]) -> list[Contender]:
    """The plain dictionary first: it is the measure. The package's book only where it is installed."""
    found = [Contender(MEASURE, "ids", lambda: replay(source(), snapshot, lambda: ({}, {})))]
    if find_spec("order_book") is not None:
        found.append(
            Contender(
                "peer: order-book package",
                "ids, crossed",
                lambda: replay(
                    source(), snapshot, _package_book, lambda bids, asks: bids.index(0)[0] >= asks.index(0)[0]
                ),
            )
        )
    return found


def contenders(recorded: Recorded) -> dict[str, list[Contender]]:
    """With parsing, and without."""
    stream, answers, snapshot = recorded.stream, recorded.answers, orjson.loads(recorded.snapshot)
    parser = MessageParser([BTC])
    parsed = [parser.parse(received, raw) for received, raw in stream]
    plain = list(plain_messages(stream))
    start = parser.snapshot(BTC, recorded.snapshot)

    def parse_and_ingest() -> VenueIngest:
        parse = MessageParser([BTC]).parse
        return ingest((parse(received, raw) for received, raw in stream), answers)

    def bare_book(book: OrderBook) -> Book:
        return _decimals(book.bids), _decimals(book.asks)

    return {
        "raw text → book": [
            Contender("parser + VenueIngest", "every one", parse_and_ingest, book_of),
            *peers(lambda: plain_messages(stream), snapshot),
        ],
        "parsed message → book": [
            Contender("VenueIngest", "every one", lambda: ingest(iter(parsed), answers), book_of),
            Contender("OrderBook alone", "ids, crossed", lambda: apply_updates(parsed, start), bare_book),
            *peers(lambda: plain, snapshot),
        ],
    }


def group_measure(group: Sequence[Contender]) -> Contender:
    """The one of a group that the others are compared with."""
    return next(contender for contender in group if contender.name == MEASURE)


def main(out: Console | None = None) -> None:
    """Print the table."""
    out = out or console()
    recorded = load(shared_data("binance_spot_btcusdt"))
    if recorded is None:
        out.print(f"book throughput: not measured, there is no recording in {shared_data('binance_spot_btcusdt')}")
        return
    groups = contenders(recorded)
    everybody = [contender for group in groups.values() for contender in group]
    books = [contender.book(contender.run()) for contender in everybody]  # the warm-up as well
    assert all(book == books[0] for book in books), "the books differ: no rates of different results"
    for _ in range(RUNS):  # in turns, so that all see the same machine
        for contender in everybody:
            contender.measure()
    count, levels = len(recorded.stream), sum(map(len, books[0]))
    table = Table(
        *("", "checks", "messages/s", "messages/s of a core's own time", "of the dict of Decimal"),
        title=f"Book throughput, {count:,} messages",
    )
    for title, group in groups.items():
        table.add_row(f"[bold]{title}")
        measure = statistics.median(group_measure(group).core_seconds)
        for contender in group:
            seconds, core_seconds = statistics.median(contender.seconds), statistics.median(contender.core_seconds)
            table.add_row(
                contender.name,
                contender.checks,
                f"{count / seconds:,.0f}",
                f"{count / core_seconds:,.0f}",
                f"{measure / core_seconds:.2f} ×",
            )
        table.add_section()
    out.print(table)
    out.print(f"diffs and trades; all end with the same book of {levels:,} levels; median of {RUNS} runs")


if __name__ == "__main__":
    main()
