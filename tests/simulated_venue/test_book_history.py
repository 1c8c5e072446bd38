"""The venue's book at a position, compared with an independent replay."""

import random
from decimal import Decimal
from typing import Any

import orjson
import pytest

from services.simulated_venue import book_history
from services.simulated_venue.book_history import BookHistory
from services.simulated_venue.venue_message import MessageKind, VenueMessage, combined
from tests.simulated_venue.replayed import ReplayedBook, rest_answer


def snapshot(last_id: int, bids: dict[int, int], asks: dict[int, int]) -> VenueMessage:
    sides = [[[f"{price}.00000000", f"{size}.00000000"] for price, size in side.items()] for side in (bids, asks)]
    data = {"lastUpdateId": last_id, "bids": sides[0], "asks": sides[1]}
    return message(MessageKind.SNAPSHOT, last_id, last_id, data)


def diff(first: int, last: int, bids: dict[int, int], asks: dict[int, int] | None = None) -> VenueMessage:
    sides = [[[f"{price}.00000000", f"{size}.00000000"] for price, size in side.items()] for side in (bids, asks or {})]
    return message(MessageKind.DEPTH, first, last, {"U": first, "u": last, "b": sides[0], "a": sides[1]})


def message(kind: MessageKind, first: int, last: int, data: dict[str, Any]) -> VenueMessage:
    return VenueMessage(0, kind, "x@y", "X", first, last, combined("x@y", orjson.dumps(data).decode()), True)


def history(*messages: VenueMessage) -> BookHistory:
    answer = BookHistory()
    for item in messages:
        answer.add(item)
    return answer


def bids_at(past: BookHistory, position: int | None) -> tuple[int, dict[int, int]] | None:
    book = past.at(position)
    if book is None:
        return None
    return book.last_update_id, {price // 10**8: quantity // 10**8 for price, quantity in book.bids.items()}


def test_every_position_is_exact() -> None:
    chance = random.Random(8)
    start = snapshot(100, {price: 1 for price in range(40, 50)}, {price: 1 for price in range(50, 60)})
    messages, last = [start], 100
    replayed = ReplayedBook(orjson.loads(start.raw)["data"])
    expected = {100: replayed.answer()}
    for _ in range(300):
        first, last = last + 1, last + chance.randint(1, 4)
        update = diff(first, last, {chance.randint(30, 49): chance.randint(1, 5)}, {chance.randint(50, 70): 2})
        messages.append(update)
        replayed.apply(orjson.loads(update.raw)["data"])
        expected[last] = replayed.answer()
    past = history(*messages)
    for position in sorted(chance.sample(sorted(expected), 60)):
        book = past.at(position)
        assert book is not None
        assert rest_answer(orjson.loads(book.answer(5_000))) == expected[position]
    newest = past.at(None)
    assert newest is not None
    assert rest_answer(orjson.loads(newest.answer(5_000))) == expected[last]
    assert rest_answer(orjson.loads(newest.answer(3)))[1] == expected[last][1][:3]


def test_a_diff_that_straddles_the_snapshot_came_before_it() -> None:
    past = history(
        diff(1, 4, {40: 9}), diff(5, 12, {41: 7}), snapshot(10, {40: 1, 41: 5}, {50: 1}), diff(13, 14, {40: 0})
    )
    assert bids_at(past, 0) == (10, {40: 1, 41: 5})
    assert bids_at(past, 12) == (12, {40: 1, 41: 7})
    assert bids_at(past, 14) == (14, {41: 7})


def test_before_the_first_snapshot_nothing_is_known() -> None:
    past = history(diff(1, 4, {40: 9}))
    assert bids_at(past, 4) is None
    assert bids_at(past, None) is None
    past.add(snapshot(4, {40: 2}, {50: 1}))
    assert bids_at(past, 4) == (4, {40: 2})


def test_after_a_gap_the_book_is_unknown_until_a_snapshot() -> None:
    past = history(snapshot(10, {40: 1}, {50: 1}), diff(11, 12, {40: 2}), diff(20, 21, {40: 9}))
    assert bids_at(past, 12) == (12, {40: 2})
    assert bids_at(past, 19) is None
    past.add(snapshot(25, {39: 3}, {50: 1}))
    past.add(diff(22, 26, {38: 4}))
    assert bids_at(past, 19) == (25, {39: 3})
    assert bids_at(past, 26) == (26, {39: 3, 38: 4})


def test_a_recorded_snapshot_bridges_a_gap() -> None:
    past = history(
        snapshot(10, {40: 1}, {50: 1}),
        diff(11, 12, {40: 2}),
        snapshot(19, {41: 5}, {50: 1}),
        diff(20, 21, {41: 6}),
    )
    assert bids_at(past, 19) == (19, {41: 5})
    assert bids_at(past, 21) == (21, {41: 6})


def test_a_snapshot_in_an_unbroken_chain_changes_nothing() -> None:
    past = history(snapshot(10, {40: 1}, {50: 1}), diff(11, 12, {39: 2}), snapshot(12, {40: 1}, {50: 1}))
    past.add(diff(13, 13, {38: 3}))
    assert bids_at(past, 13) == (13, {40: 1, 39: 2, 38: 3})


def test_an_older_position_gets_the_oldest_book_still_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_history, "LONGEST_HISTORY", 3)
    past = history(snapshot(10, {40: 1}, {50: 1}), *(diff(number, number, {40: number}) for number in range(11, 20)))
    assert bids_at(past, 10) == (16, {40: 16})
    assert bids_at(past, 19) == (19, {40: 19})
    assert bids_at(past, 17) == (19, {40: 19})
    assert bids_at(past, 99) == (19, {40: 19})  # beyond what was served: the newest


def test_an_answer_is_sorted_best_first() -> None:
    book = history(snapshot(1, {40: 1, 42: 2, 41: 3}, {52: 1, 50: 2})).at(1)
    assert book is not None
    _, bids, asks = rest_answer(orjson.loads(book.answer(2)))
    assert bids == [(Decimal(42), Decimal(2)), (Decimal(41), Decimal(3))]
    assert asks == [(Decimal(50), Decimal(2)), (Decimal(52), Decimal(1))]
