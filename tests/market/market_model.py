"""A small market whose whole truth is known, and a venue that answers REST from it."""

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, repeat
from operator import attrgetter
from typing import Any

from signal_assets.event_time import MILLISECOND, SECOND
from signal_assets.instrument import Instrument
from signal_assets.market.ingest import IngestSettings, Output, SnapshotRequest, TradesRequest, VenueIngest
from signal_assets.market.messages import DepthSnapshot, DepthUpdate, Trade

START = 1_700_000_000 * SECOND
SETTINGS = IngestSettings(snapshot_interval=5 * SECOND, reconcile_interval=10 * SECOND, trades_page=5)
ONE, TWO = (Instrument(f"{name}USD", "VENUE", f"{name}/USD", tick_size=1, lot_size=1) for name in ("ONE", "TWO"))

Wire = list[tuple[int, DepthUpdate | Trade | None]]
"""Messages as they arrive, each with its place in the undisturbed order; None where one is lost."""


@dataclass
class Truth:
    """One instrument: its book after every update id, its trades."""

    books: dict[int, tuple[dict[int, int], dict[int, int]]] = field(default_factory=dict)
    updates: list[DepthUpdate] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    served: dict[int, int] = field(default_factory=dict)

    def at(self, time: int) -> tuple[int, tuple[dict[int, int], dict[int, int]]]:
        """Id and book as of an exchange time."""
        count = bisect_right(self.updates, time, key=attrgetter("event_time"))
        last = self.updates[count - 1].final_update_id if count else 100
        return last, self.books[last]


class MarketModel:
    """Two instruments for some seconds; TWO is silent for a while; trades are pushed up to 0.9 s late, in order."""

    def __init__(self, seed: int, seconds: int = 24) -> None:
        rng = random.Random(seed)
        self.truths = {ONE.key: Truth(), TWO.key: Truth()}
        arrivals: list[tuple[int, int, DepthUpdate | Trade]] = []
        for key, truth in self.truths.items():
            start = START + rng.randrange(3 * SECOND)
            silence = range(START + 8 * SECOND, START + 14 * SECOND) if key == TWO.key else range(0)
            times = [t for t in range(start, START + seconds * SECOND, 100 * MILLISECOND) if t not in silence]
            self._depth(rng, key, truth, times)
            arrivals += [(u.event_time + 20 * MILLISECOND, u.final_update_id, u) for u in truth.updates]
            arrivals += self._trades(rng, key, truth, times)
        arrivals.sort(key=lambda arrival: arrival[:2])
        self.messages = [message for _, _, message in arrivals]
        for index, message in enumerate(self.messages):
            if isinstance(message, Trade):
                self.truths[message.instrument].served[message.trade_id] = index

    @staticmethod
    def _depth(rng: random.Random, key: str, truth: Truth, times: Sequence[int]) -> None:
        middle, last = 1_000, 100
        bids = {price: rng.randrange(1, 50) for price in range(970, 1_000)}
        asks = {price: rng.randrange(1, 50) for price in range(1_001, 1_030)}
        truth.books[last] = (dict(bids), dict(asks))
        for time in times:
            if rng.random() < 0.2:
                continue
            middle = min(1_010, max(990, middle + rng.choice((-1, 0, 0, 0, 1))))
            changes: tuple[dict[int, int], dict[int, int]] = ({}, {})
            changes[0].update({price: 0 for price in bids if price >= middle})
            changes[1].update({price: 0 for price in asks if price <= middle})
            for _ in range(rng.randrange(4)):
                changes[0][middle - rng.randrange(1, 35)] = rng.choice((0, 5, 9, 12))
                changes[1][middle + rng.randrange(1, 35)] = rng.choice((0, 5, 9, 12))
            changes[0][middle - 1] = rng.randrange(1, 20)
            changes[1][middle + 1] = rng.randrange(1, 20)
            for side, change in zip((bids, asks), changes, strict=True):
                side.update(change)
                for price in [price for price, quantity in side.items() if quantity == 0]:
                    del side[price]
            first, last = last + 1, last + rng.randrange(1, 4)
            moment = time + rng.randrange(5 * MILLISECOND)
            received = moment + 20 * MILLISECOND
            levels = [list(change.items()) for change in changes]
            truth.updates.append(DepthUpdate(key, moment, received, first, last, levels[0], levels[1]))
            truth.books[last] = (dict(bids), dict(asks))

    @staticmethod
    def _trades(
        rng: random.Random, key: str, truth: Truth, times: Sequence[int]
    ) -> Iterator[tuple[int, int, DepthUpdate | Trade]]:
        arrival = number = 0
        for time in times:
            for _ in range(rng.choice((0, 0, 1, 2))):
                moment = max(time + rng.randrange(90 * MILLISECOND), truth.trades[-1].event_time if number else 0)
                delay = rng.choice((15, 15, 15, 15, 400, 900) if rng.random() < 0.1 else (15,)) * MILLISECOND
                arrival = max(arrival + 1, moment + delay)
                number += 1
                price, quantity, maker = 1_000 + rng.randrange(-9, 9), rng.randrange(1, 30), rng.random() < 0.5
                trade = Trade(key, number, moment, arrival, price, quantity, maker, moment + MILLISECOND)
                truth.trades.append(trade)
                yield arrival, number, trade

    def wire(self) -> Wire:
        """Everything, in order."""
        return list(enumerate(self.messages))

    def faulty_wire(self, seed: int, intact: range = range(0)) -> Wire:
        """With messages lost (single ones and stretches), repeated and swapped, but for the places ``intact``."""
        rng = random.Random(seed)
        wire = self.wire()
        for _ in range(rng.randrange(4)):
            begin = rng.randrange(len(wire) - 80)
            for index in range(begin, begin + rng.randrange(40)):
                if index not in intact:
                    wire[index] = (index, None)
        for index in range(1, len(self.messages) - 40):  # a loss at the very end could not be noticed
            chance = rng.random() if wire[index][0] not in intact and wire[index - 1][0] not in intact else 1.0
            if chance < 0.01:
                wire[index] = (wire[index][0], None)
            elif chance < 0.02:
                wire[index], wire[index - 1] = wire[index - 1], wire[index]
            elif chance < 0.03:
                wire.insert(index, wire[rng.randrange(index)])
        return wire

    def snapshot(self, request: SnapshotRequest) -> DepthSnapshot:
        """The book exactly as of the position asked for."""
        bids, asks = self.truths[request.instrument].books[request.position]
        return DepthSnapshot(
            request.instrument, request.position, sorted(bids.items(), reverse=True), sorted(asks.items())
        )

    def trades(self, request: TradesRequest, position: int) -> list[Trade]:
        """Trades the venue has pushed up to message ``position``."""
        truth = self.truths[request.instrument]
        found = [t for t in truth.trades if t.trade_id >= request.from_id and truth.served[t.trade_id] <= position]
        return found[: request.limit]


class Driver:
    """Feeds a wire to ingest and answers its requests after ``delays`` messages."""

    def __init__(self, model: MarketModel, ingest: VenueIngest | None = None) -> None:
        self.model = model
        self.ingest = ingest or VenueIngest([ONE, TWO], SETTINGS)
        self.outputs = {key: Output() for key in model.truths}
        self.asked: list[SnapshotRequest | TradesRequest] = []
        self._due: list[tuple[int, SnapshotRequest | TradesRequest]] = []
        self._step = 0
        self._position = 0

    def feed(self, wire: Wire, delays: Iterator[int] | None = None) -> "Driver":
        """Send messages; what is due is answered after each of them."""
        delays = delays or repeat(0)
        for position, message in wire:
            self._position = max(self._position, position)
            self._step += 1
            if message is not None:
                self.ingest.receive(message)
            self._answer(delays)
        return self

    def answer_all(self) -> "Driver":
        """Answer whatever is open."""
        self._step += 1_000_000
        self._answer(repeat(0))
        return self

    def end(self) -> "Driver":
        """The recording ends; what is still open is answered."""
        self.ingest.end_of_recording()
        return self.answer_all()

    def _answer(self, delays: Iterator[int]) -> None:
        while True:
            new = self.ingest.requests()
            self.asked += new
            self._due += [(self._step + next(delays), request) for request in new]
            due = next((item for item in self._due if item[0] <= self._step), None)
            if due is None:
                break
            self._due.remove(due)
            request = due[1]
            if isinstance(request, SnapshotRequest):
                self.ingest.answer_snapshot(request, self.model.snapshot(request))
            else:
                self.ingest.answer_trades(request, self.model.trades(request, self._position))
        for key, total in self.outputs.items():
            add(total, self.ingest.drain(key))


def add(total: Output, output: Output) -> None:
    """Append one drain to what was drained before."""
    for name in ("trades", "features", "depth_snapshots", "feed_gaps", "quality"):
        getattr(total, name).extend(getattr(output, name))
    if output.watermark is not None:
        assert total.watermark is None or output.watermark > total.watermark
        total.watermark, total.reason = output.watermark, output.reason


def named(table: Any, rows: Sequence[tuple[Any, ...]], *, drop: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Rows as dictionaries of their value columns."""
    names = [column.name for column in table.columns]
    kept = set(table.value_columns) - set(drop)
    return [{name: value for name, value in zip(names, row, strict=True) if name in kept} for row in rows]


def depth_gaps(output: Output) -> list[tuple[int, int]]:
    """Start and end of every depth gap."""
    return [(gap[2], gap[3]) for gap in output.feed_gaps if gap[1] == "depth"]


def outside(gaps: Sequence[tuple[int, int]]) -> Callable[[int], bool]:
    """Whether a grid point lies outside all gaps; their ends do."""
    return lambda time: not any(start < time < end for start, end in gaps)


def order_flow(truth: Truth) -> Mapping[int, int]:
    """Order-flow imbalance by grid point, from the books before and after each update."""
    flow: dict[int, int] = {}
    ids = [100, *(update.final_update_id for update in truth.updates)]
    for (before, after), update in zip(pairwise(ids), truth.updates, strict=True):
        (old_bids, old_asks), (bids, asks) = truth.books[before], truth.books[after]
        bid, old_bid, ask, old_ask = max(bids), max(old_bids), min(asks), min(old_asks)
        change = bids[bid] * (bid >= old_bid) - old_bids[old_bid] * (bid <= old_bid)
        change -= asks[ask] * (ask <= old_ask) - old_asks[old_ask] * (ask >= old_ask)
        point = -(-update.event_time // SECOND) * SECOND
        flow[point] = flow.get(point, 0) + change
    return flow
