"""The recorded Binance stream through ingest, against a replay that shares no code with it."""

import gzip
import itertools
import json
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from signal_assets.instrument import Instrument
from signal_assets.market import tables
from signal_assets.market.ingest import IngestSettings, Output, SnapshotRequest, VenueIngest
from signal_assets.market.messages import DepthSnapshot, DepthUpdate, Trade

pytestmark = pytest.mark.slow

BTC = Instrument("BTCUSDT", "BINANCE", "BTC/USDT", tick_size=1_000_000, lot_size=1_000)
SECOND = 1_000_000
FILES = ("btcusdt_20240808.gz", "btcusdt_20240809.gz")


def units(text: str) -> int:
    value = Decimal(text) * 100_000_000
    assert value == int(value)
    return int(value)


def levels(pairs: list[list[str]]) -> list[tuple[int, int]]:
    return [(units(price), units(quantity)) for price, quantity in pairs]


def parse(received: int, content: dict[str, Any]) -> DepthUpdate | Trade | DepthSnapshot | None:
    if "lastUpdateId" in content:
        return DepthSnapshot(BTC.key, content["lastUpdateId"], levels(content["bids"]), levels(content["asks"]))
    data = content["data"]
    if content["stream"].endswith("@trade"):
        price, quantity = units(data["p"]), units(data["q"])
        return Trade(BTC.key, data["t"], data["T"] * 1000, received, price, quantity, data["m"], data["E"] * 1000)
    if "@depth" in content["stream"]:
        bids, asks = levels(data["b"]), levels(data["a"])
        return DepthUpdate(BTC.key, data["E"] * 1000, received, data["U"], data["u"], bids, asks)
    return None


def messages(folder: Path) -> Iterator[DepthUpdate | Trade | DepthSnapshot]:
    for name in FILES:
        with gzip.open(folder / "binance_spot_btcusdt" / name, "rt") as lines:
            for line in lines:
                received, _, content = line.partition(" ")
                message = parse(int(received) // 1000, json.loads(content))
                if message is not None:
                    yield message


class PlainBook:
    """Two dictionaries and nothing else."""

    def __init__(self, snapshot: DepthSnapshot) -> None:
        self.bids, self.asks = dict(snapshot.bids), dict(snapshot.asks)
        self.last = snapshot.last_update_id

    def apply(self, update: DepthUpdate) -> None:
        for side, changes in ((self.bids, update.bids), (self.asks, update.asks)):
            for price, quantity in changes:
                side[price] = quantity
                if quantity == 0:
                    del side[price]
        self.last = update.final_update_id

    def best(self) -> tuple[int, int, int, int]:
        bid, ask = max(self.bids), min(self.asks)
        return bid, self.bids[bid], ask, self.asks[ask]

    def snapshot(self) -> DepthSnapshot:
        return DepthSnapshot(BTC.key, self.last, list(self.bids.items()), list(self.asks.items()))


class Replay:
    """What ingest makes of the recording and, beside it, what plain dictionaries make of it."""

    def __init__(self, folder: Path, settings: IngestSettings) -> None:
        recorded = list(messages(folder))
        snapshot = next(message for message in recorded if isinstance(message, DepthSnapshot))
        self.stream = [message for message in recorded if not isinstance(message, DepthSnapshot)]
        self.trades = [message for message in self.stream if isinstance(message, Trade)]
        self.updates = [message for message in self.stream if isinstance(message, DepthUpdate)]
        self.snapshot = snapshot
        self.book = PlainBook(snapshot)
        self.pictures: list[tuple[int, tuple[int, int, int, int], int]] = []
        self.ingest = VenueIngest([BTC], settings)
        self.requests: list[Any] = []
        for message in self.stream:
            self.ingest.receive(message)
            if isinstance(message, DepthUpdate) and message.final_update_id > self.book.last:
                self.book.apply(message)
                self.pictures.append((message.event_time, self.book.best(), message.final_update_id))
            for request in self.ingest.requests():
                self.requests.append(request)
                assert isinstance(request, SnapshotRequest)
                answer = snapshot if request.purpose == "sync" else self.book.snapshot()
                self.ingest.answer_snapshot(request, answer)
        self.ingest.end_of_recording()
        self.output: Output = self.ingest.drain(BTC.key)
        self.state = self.ingest.state(BTC.key)


@pytest.fixture(scope="module")
def replay(shared_data: Path) -> Replay:
    return Replay(shared_data, IngestSettings())


def named(table: Any, rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    names = [column.name for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_final_book_equals_plain_replay(replay: Replay) -> None:
    book = replay.ingest._instruments[BTC.key].book
    assert dict(book.bids) == replay.book.bids
    assert dict(book.asks) == replay.book.asks
    bid, bid_quantity, ask, ask_quantity = replay.book.best()
    assert (book.best_bid, book.best_ask) == ((bid, bid_quantity), (ask, ask_quantity))
    assert replay.state["levels"] == len(replay.book.bids) + len(replay.book.asks) > 2_000


def test_no_fault_is_found_in_the_recording(replay: Replay) -> None:
    assert len(replay.output.trades) == 19_904
    faults = ("sequence_gaps", "crossed", "resyncs", "duplicates", "reconcile_differences", "held")
    assert {name: replay.state[name] for name in faults} == dict.fromkeys(faults, 0)
    assert replay.output.feed_gaps == []
    assert replay.output.quality == []
    # 23:54:15 – 00:05:05: one sync, then a comparison at 23:55, 00:00 and 00:05
    assert [request.purpose for request in replay.requests] == ["sync", "reconcile", "reconcile", "reconcile"]
    assert replay.requests[0].position == 50093239188


def test_trades_are_kept_exactly_and_stamped_late_by_the_closing_rule(replay: Replay) -> None:
    late = {}
    clock = 0
    for message in replay.stream:
        if isinstance(message, Trade):
            late[message.trade_id] = message.event_time <= (clock - 500_000) // SECOND * SECOND
            clock = max(clock, message.clock)
        else:
            clock = max(clock, message.event_time)
    expected = [
        (BTC.key, t.trade_id, t.event_time, t.received_time, t.price, t.quantity, t.is_buyer_maker, late[t.trade_id], 0)
        for t in replay.trades
    ]
    assert replay.output.trades == expected


def test_every_grid_point_has_the_book_and_the_trades_of_its_second(replay: Replay) -> None:
    rows = named(tables.FEATURES, replay.output.features)
    first_update, last_clock = replay.pictures[0][0], max(u.event_time for u in replay.updates)
    last_clock = max(last_clock, max(trade.clock for trade in replay.trades))
    first = -(-first_update // SECOND) * SECOND + SECOND
    assert [row["time"] for row in rows] == list(range(first, last_clock + 1, SECOND))

    pictures = iter(replay.pictures)
    ahead: tuple[int, tuple[int, int, int, int], int] | None = next(pictures)
    assert ahead is not None
    best, last_id = ahead[1], ahead[2]
    flow = Fraction(0)
    by_time = {row["time"]: row for row in rows}
    for point in range(first - SECOND, last_clock + 1, SECOND):
        while ahead is not None and ahead[0] <= point:
            flow += bid_change(best, ahead[1]) - ask_change(best, ahead[1])
            best, last_id = ahead[1], ahead[2]
            ahead = next(pictures, None)
        if point in by_time:
            row = by_time[point]
            assert (row["best_bid"], row["bid_quantity"], row["best_ask"], row["ask_quantity"]) == best
            assert row["last_update_id"] == last_id
            assert row["order_flow_imbalance"] == flow
            assert row["mid_price"] == float(Fraction(best[0] + best[2], 200_000_000))
            assert row["spread"] == best[2] - best[0] > 0
            check_top(row)
        flow = Fraction(0)
    late = {row[1] for row in replay.output.trades if row[7]}
    trades = [trade for trade in replay.trades if trade.trade_id not in late]
    for row in rows:
        mine = [trade for trade in trades if row["time"] - SECOND < trade.event_time <= row["time"]]
        assert row["trade_count"] == len(mine)
        assert row["buy_quantity"] == sum(trade.quantity for trade in mine if not trade.is_buyer_maker)
        assert row["sell_quantity"] == sum(trade.quantity for trade in mine if trade.is_buyer_maker)
        if mine:
            assert row["last_price"] == mine[-1].price


def bid_change(before: tuple[int, ...], after: tuple[int, ...]) -> int:
    if after[0] == before[0]:
        return after[1] - before[1]
    return after[1] if after[0] > before[0] else -before[1]


def ask_change(before: tuple[int, ...], after: tuple[int, ...]) -> int:
    if after[2] == before[2]:
        return after[3] - before[3]
    return after[3] if after[2] < before[2] else -before[3]


def check_top(row: dict[str, Any]) -> None:
    assert len(row["bid_price_20"]) == len(row["ask_price_20"]) == 20
    assert sorted(row["bid_price_20"], reverse=True) == list(row["bid_price_20"])
    assert sorted(row["ask_price_20"]) == list(row["ask_price_20"])
    for count in (1, 5, 20):
        bid, ask = sum(row["bid_quantity_20"][:count]), sum(row["ask_quantity_20"][:count])
        assert row[f"imbalance_{count}"] == float(Fraction(bid - ask, bid + ask))


def test_whole_books_on_the_minute(replay: Replay) -> None:
    rows = named(tables.DEPTH_SNAPSHOTS, replay.output.depth_snapshots)
    midnight = 1_723_161_600 * SECOND
    assert [row["event_time"] for row in rows] == [midnight + minute * 60 * SECOND for minute in range(-5, 6)]
    snapshot = replay.snapshot
    plain, applied = PlainBook(snapshot), 0
    updates = [update for update in replay.updates if update.final_update_id > snapshot.last_update_id]
    for row in rows:
        while updates[applied].event_time <= row["event_time"]:
            plain.apply(updates[applied])
            applied += 1
        assert row["last_update_id"] == plain.last
        assert dict(zip(row["bid_price"], row["bid_quantity"], strict=True)) == plain.bids
        assert dict(zip(row["ask_price"], row["ask_quantity"], strict=True)) == plain.asks
        assert list(row["bid_price"]) == sorted(row["bid_price"], reverse=True)
        assert list(row["ask_price"]) == sorted(row["ask_price"])
    assert rows[0]["coverage_low"] == min(price for price, _ in snapshot.bids)
    assert rows[0]["coverage_high"] == max(price for price, _ in snapshot.asks)
    # the comparison at 23:55 brought the whole book
    assert rows[1]["coverage_low"] == min(rows[0]["bid_price"]) < rows[0]["coverage_low"]


def test_end_of_recording_closes_the_day(replay: Replay) -> None:
    assert replay.output.watermark == (1_723_161_600 + 86_400) * SECOND
    assert replay.output.reason == "end_of_recording"


def test_hundred_millisecond_grid_and_books_every_second(shared_data: Path) -> None:
    fine = Replay(shared_data, IngestSettings(grid=100_000, snapshot_interval=SECOND))
    features, depth = fine.output.features, fine.output.depth_snapshots
    assert len(features) > 6_000
    assert {later[1] - earlier[1] for earlier, later in itertools.pairwise(features)} == {100_000}
    assert len(depth) > 600
    assert {later[1] - earlier[1] for earlier, later in itertools.pairwise(depth)} == {SECOND}
    not_late = sum(not row[7] for row in fine.output.trades if features[0][1] - 100_000 < row[2] <= features[-1][1])
    assert sum(row[16] for row in features) == not_late
