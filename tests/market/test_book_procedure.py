"""Ingest keeps a book as Binance documents it: against a model in plain dictionaries, over streams full of faults.

The model is written from the exchange's pages "How to manage a local order book correctly" for spot and for USD-M
futures, and knows nothing of our code. It leaves two things open there as follows. A spot snapshot that ends right
before the first buffered diff is new enough (the page would ask once more, and come to the same book). A diff that was
applied already is ignored (so says the spot page; the futures page has no word on it).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.event_time import MILLISECOND, SECOND
from signal_assets.instrument import Instrument
from signal_assets.market.ingest import IngestSettings, SnapshotRequest, VenueIngest
from signal_assets.market.messages import DepthSnapshot, DepthUpdate

START = 1_700_000_000 * SECOND
ONE = Instrument("ONEUSD", "VENUE", "ONE/USD", tick_size=1, lot_size=1)
SETTINGS = IngestSettings(reconcile_interval=SECOND, snapshot_interval=SECOND)
EVENTS = 60

Book = tuple[dict[int, int], dict[int, int]]


@dataclass
class Venue:
    """The truth: the book after every single update, and the diffs that sum them up."""

    futures: bool
    books: dict[int, Book] = field(default_factory=dict)
    diffs: list[DepthUpdate] = field(default_factory=list)

    @classmethod
    def make(cls, seed: int, *, futures: bool) -> "Venue":
        rng = random.Random(seed)
        venue = cls(futures)
        # the outermost levels stay, so that no side is ever empty, and the sides never meet
        bids, asks = {1: 9} | {rng.randint(2, 40): 5 for _ in range(8)}, {99: 9} | {rng.randint(50, 98): 5 for _ in "8"}
        last = rng.randint(100, 200)
        venue.books[last] = dict(bids), dict(asks)
        for number in range(2 * EVENTS):
            previous, first = last, last + 1
            if futures and rng.random() < 0.5:
                first += rng.randint(1, 5)  # futures ids have holes
            touched: tuple[set[int], set[int]] = (set(), set())
            last = first - 1
            for _ in range(rng.randint(1, 4)):
                last += 1
                on_bids = rng.random() < 0.5
                side, price = (bids, rng.randint(2, 40)) if on_bids else (asks, rng.randint(50, 98))
                quantity = rng.choice((0, 0, 1, 2, 3))
                if quantity:
                    side[price] = quantity
                else:
                    side.pop(price, None)
                touched[not on_bids].add(price)
                venue.books[last] = dict(bids), dict(asks)
            changes = [
                [(price, side.get(price, 0)) for price in prices]
                for side, prices in zip((bids, asks), touched, strict=True)
            ]
            time = START + number * 100 * MILLISECOND
            pu = previous if futures else None
            venue.diffs.append(DepthUpdate(ONE.key, time, time, first, last, changes[0], changes[1], pu))
        return venue

    def snapshot(self, update_id: int) -> DepthSnapshot:
        bids, asks = self.books[update_id]
        return DepthSnapshot(ONE.key, update_id, sorted(bids.items(), reverse=True), sorted(asks.items()))

    def wire(self, seed: int) -> list[DepthUpdate]:
        """The first half of the diffs with some lost, alone and in bursts, repeated, and out of order."""
        rng = random.Random(seed)
        wire: list[DepthUpdate] = []
        losing = 0
        for number, diff in enumerate(self.diffs[:EVENTS]):
            chance = rng.random()
            if losing or (number and chance < 0.08):
                losing = losing - 1 if losing else rng.choice((0, 0, 1, 5))
                continue
            wire.append(diff)
            if chance > 0.95:
                wire.append(diff)
            elif chance > 0.9:
                wire.append(rng.choice(wire))
            elif chance > 0.85 and len(wire) > 1:
                wire[-1], wire[-2] = wire[-2], wire[-1]
        return wire


class Rest:
    """Answers older than the stream (also several times in a row), inside a diff, or ahead; no id ever comes twice."""

    def __init__(self, venue: Venue, seed: int) -> None:
        self.venue, self.rng, self.ids, self.last = venue, random.Random(seed), sorted(venue.books), -1

    def answer(self, place: int) -> tuple[DepthSnapshot, int]:
        """A snapshot while the stream is at diff ``place``, and after how many messages it arrives."""
        wanted = self.ids.index(self.venue.diffs[place].final_update_id) + self.rng.choice(
            (-9, -4, -2, -1, 0, 0, 1, 1, 2, 6)
        )
        self.last = min(max(wanted, self.last + 1), len(self.ids) - 1)
        return self.venue.snapshot(self.ids[self.last]), self.rng.choice((0, 0, 1, 3, 12))


@dataclass
class Documented:
    """The procedure as documented, in plain dictionaries."""

    futures: bool
    answers: list[DepthSnapshot]
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)
    last: int | None = None
    synced: bool = False
    synced_before: bool = False
    gaps: int = 0
    resyncs: int = 0

    def take(self, diff: DepthUpdate) -> None:
        if self.synced:
            if diff.final_update_id <= self.last:
                return
            chained = diff.previous_final_update_id if self.futures else diff.first_update_id - 1
            if chained == self.last:
                self._apply(diff)
                return
            self.gaps += 1
            self.synced, self.last = False, None
        while True:
            if self.last is None:
                if not self.answers:
                    return
                snapshot = self.answers.pop(0)
                self.bids, self.asks = dict(snapshot.bids), dict(snapshot.asks)
                self.last = snapshot.last_update_id
            first, final, last = diff.first_update_id, diff.final_update_id, self.last
            if final < last if self.futures else final <= last:
                return  # older than the snapshot
            if first <= last <= final if self.futures else first <= last + 1 <= final:
                self.synced = True
                self.resyncs += self.synced_before
                self.synced_before = True
                self._apply(diff)
                return
            self.last = None  # the snapshot is older than the stream

    def _apply(self, diff: DepthUpdate) -> None:
        for side, changes in ((self.bids, diff.bids), (self.asks, diff.asks)):
            for price, quantity in changes:
                side[price] = quantity
                if quantity == 0:
                    del side[price]
        self.last = diff.final_update_id


@dataclass
class Run:
    """Ingest fed with a wire, REST answering late; the snapshots it began with, in order."""

    ingest: VenueIngest
    used: list[DepthSnapshot] = field(default_factory=list)
    steps_in_sync: int = 0


def run(venue: Venue, wire: Sequence[DepthUpdate], seed: int) -> Run:
    done = Run(VenueIngest([ONE], SETTINGS))
    ingest, rest = done.ingest, Rest(venue, seed)
    waiting: list[tuple[int, SnapshotRequest, DepthSnapshot]] = []

    def ask(step: int, place: int) -> None:
        for request in ingest.requests():
            assert isinstance(request, SnapshotRequest)
            snapshot, delay = rest.answer(place)
            waiting.append((step + delay, request, snapshot))

    def answer(step: int, place: int) -> None:
        while waiting and waiting[0][0] <= step:
            _, request, snapshot = waiting.pop(0)
            if request.purpose == "sync":
                done.used.append(snapshot)
            ingest.answer_snapshot(request, snapshot)
            ask(step, place)

    place = 0
    for step, diff in enumerate(wire):
        ingest.receive(diff)
        place = max(place, venue.diffs.index(diff))
        ask(step, place)
        answer(step, place)
        check_book(venue, done)
    step = len(wire)
    while waiting:
        answer(step, place)
        step += 1
    check_book(venue, done)
    return done


def check_book(venue: Venue, done: Run) -> None:
    """Whenever ingest says that it is in sync, the book is the venue's at that very update."""
    if done.ingest.state(ONE.key)["synced"]:
        book = done.ingest._instruments[ONE.key].book
        assert (dict(book.bids), dict(book.asks)) == venue.books[book.last_update_id]
        done.steps_in_sync += 1


@given(seed=st.integers(0, 2**32), futures=st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_book_is_kept_as_documented(seed: int, futures: bool) -> None:
    venue = Venue.make(seed, futures=futures)
    wire = venue.wire(seed + 1)
    done = run(venue, wire, seed + 2)
    model = Documented(futures, list(done.used))
    for diff in wire:
        model.take(diff)
    state = done.ingest.state(ONE.key)
    assert (state["synced"], state["sequence_gaps"], state["resyncs"], len(model.answers)) == (
        model.synced, model.gaps, model.resyncs, 0,
    )  # fmt: skip
    assert (state["crossed"], state["reconcile_differences"], state["held"]) == (0, 0, 0)
    if model.synced:
        book = done.ingest._instruments[ONE.key].book
        assert (dict(book.bids), dict(book.asks), book.last_update_id) == (model.bids, model.asks, model.last)
        assert state["levels"] == len(model.bids) + len(model.asks)


@pytest.mark.parametrize("futures", [False, True])
def test_the_streams_hold_every_fault(futures: bool) -> None:
    gaps = resyncs = too_old = in_sync = repeats = 0
    for seed in range(40):
        venue = Venue.make(seed, futures=futures)
        wire = venue.wire(seed + 1)
        done = run(venue, wire, seed + 2)
        state = done.ingest.state(ONE.key)
        gaps, resyncs = gaps + state["sequence_gaps"], resyncs + state["resyncs"]
        repeats += len(wire) - len({diff.final_update_id for diff in wire})
        too_old += len(done.used) - state["sequence_gaps"] - 1
        in_sync += done.steps_in_sync
    assert min(gaps, resyncs, too_old, repeats) > 40
    assert in_sync > 800
