"""The book against two plain dictionaries, and its continuity rules against the venue's documented ones."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_assets.market.messages import DepthSnapshot, DepthUpdate
from signal_assets.market.order_book import Continuity, OrderBook, SequenceGapError

BID_CHANGES = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 5)), max_size=8)
ASK_CHANGES = st.lists(st.tuples(st.integers(40, 99), st.integers(0, 5)), max_size=8)


def snapshot(last: int = 10, bids: tuple[tuple[int, int], ...] = ((99, 5), (98, 1))) -> DepthSnapshot:
    return DepthSnapshot("X", last, list(bids), [(101, 2), (103, 4)])


def update(
    first: int,
    final: int,
    bids: list[tuple[int, int]] | None = None,
    asks: list[tuple[int, int]] | None = None,
    previous: int | None = None,
) -> DepthUpdate:
    return DepthUpdate("X", 0, 0, first, final, bids or [], asks or [], previous)


def loaded(last: int = 10) -> OrderBook:
    book = OrderBook()
    book.apply_snapshot(snapshot(last))
    return book


@given(changes=st.lists(st.tuples(BID_CHANGES, ASK_CHANGES), max_size=20), count=st.integers(1, 30))
def test_levels_equal_plain_dictionaries(
    changes: list[tuple[list[tuple[int, int]], list[tuple[int, int]]]], count: int
) -> None:
    book = loaded()
    bids, asks = {99: 5, 98: 1}, {101: 2, 103: 4}
    for number, (bid_changes, ask_changes) in enumerate(changes, start=11):
        assert book.apply_update(update(number, number, bid_changes, ask_changes))
        for side, change in ((bids, bid_changes), (asks, ask_changes)):
            side.update(change)
            for price in [price for price, quantity in side.items() if not quantity]:
                del side[price]
        assert dict(book.bids) == bids
        assert dict(book.asks) == asks
        assert book.best_bid == (max(bids.items()) if bids else None)
        assert book.best_ask == (min(asks.items()) if asks else None)
        assert book.crossed == bool(bids and asks and max(bids) >= min(asks))
        expected_bids, expected_asks = sorted(bids.items(), reverse=True)[:count], sorted(asks.items())[:count]
        for levels in (book.levels(count), book.top(count)):
            assert list(zip(levels[0], levels[1], strict=True)) == expected_bids
            assert list(zip(levels[2], levels[3], strict=True)) == expected_asks
    assert book.last_update_id == 10 + len(changes)
    assert book.size == len(bids) + len(asks)


@pytest.mark.parametrize(
    ("first", "final", "expected"),
    [
        (5, 10, Continuity.STALE),
        (8, 11, Continuity.FOLLOWS),
        (11, 11, Continuity.FOLLOWS),
        (11, 15, Continuity.FOLLOWS),
        (12, 15, Continuity.GAP),
    ],
)
def test_first_spot_diff_straddles_the_snapshot(first: int, final: int, expected: Continuity) -> None:
    assert loaded().continuity(update(first, final)) is expected


@pytest.mark.parametrize(
    ("first", "final", "expected"),
    [
        (11, 12, Continuity.STALE),
        (12, 13, Continuity.GAP),
        (13, 13, Continuity.FOLLOWS),
        (14, 14, Continuity.GAP),
    ],
)
def test_later_spot_diffs_follow_without_overlap(first: int, final: int, expected: Continuity) -> None:
    book = loaded()
    book.apply_update(update(9, 12))
    assert book.continuity(update(first, final)) is expected


@pytest.mark.parametrize(
    ("first", "final", "previous", "expected"),
    [
        (5, 9, 4, Continuity.STALE),
        (8, 10, 7, Continuity.FOLLOWS),
        (10, 14, 9, Continuity.FOLLOWS),
        (11, 14, 10, Continuity.GAP),
    ],
)
def test_first_futures_diff(first: int, final: int, previous: int, expected: Continuity) -> None:
    assert loaded().continuity(update(first, final, previous=previous)) is expected


def test_futures_diffs_chain_on_the_previous_final_id() -> None:
    book = loaded()
    assert book.apply_update(update(8, 14, previous=7))
    # ids of futures diffs need not touch: only `pu` counts
    assert book.apply_update(update(20, 25, [(97, 3)], previous=14))
    assert not book.apply_update(update(20, 25, [(97, 9)], previous=14))
    assert dict(book.bids)[97] == 3
    with pytest.raises(SequenceGapError):
        book.apply_update(update(26, 30, previous=24))


def test_gap_raises_and_changes_nothing() -> None:
    book = loaded()
    with pytest.raises(SequenceGapError, match="the book is at update 10, the diff begins at 13") as raised:
        book.apply_update(update(13, 14, [(99, 0)]))
    assert (raised.value.last_update_id, raised.value.first_update_id) == (10, 13)
    assert book.best_bid == (99, 5)
    assert book.last_update_id == 10


def test_stale_diff_is_ignored() -> None:
    book = loaded()
    assert not book.apply_update(update(7, 10, [(99, 0)]))
    assert book.best_bid == (99, 5)


def test_top_is_the_same_object_while_its_levels_do_not_change() -> None:
    book = loaded()
    top = book.top(1)
    assert top == ((99,), (5,), (101,), (2,))
    book.apply_update(update(11, 11, [(50, 7)]))
    assert book.top(1) is top
    assert book.top(2) == ((99, 98), (5, 1), (101, 103), (2, 4))
    book.apply_update(update(12, 12, [(99, 6)]))
    assert book.top(1) == ((99,), (6,), (101,), (2,))


def test_empty_book_and_snapshot_with_one_side() -> None:
    book = OrderBook()
    assert book.best_bid is None
    assert book.best_ask is None
    assert not book.usable
    book.apply_snapshot(DepthSnapshot("X", 1, [(5, 1)], [(6, 0)]))
    assert book.best_ask is None
    assert not book.usable
    assert not book.crossed


def test_snapshot_sets_coverage_and_forgets_the_old_book() -> None:
    book = loaded()
    book.apply_update(update(11, 11, [(1, 1)]))
    assert book.coverage == (98, 103)
    book.apply_snapshot(snapshot(20, bids=((97, 1),)))
    assert book.coverage == (97, 103)
    assert dict(book.bids) == {97: 1}


def test_reconcile_repairs_inside_the_range_and_keeps_what_is_outside() -> None:
    book = loaded()
    book.apply_update(update(11, 11, [(90, 7)], [(200, 8)]))
    differences = book.reconcile(DepthSnapshot("X", 11, [(99, 5), (97, 3)], [(101, 9), (103, 4), (104, 1)]))
    # 98 gone, 97 new; 101 changed, 104 new
    assert differences == 4
    assert dict(book.bids) == {99: 5, 97: 3, 90: 7}
    assert dict(book.asks) == {101: 9, 103: 4, 104: 1, 200: 8}
    assert book.bids.prices.tolist() == [99, 97, 90]
    assert book.coverage == (97, 104)
    assert book.reconcile(DepthSnapshot("X", 11, [(99, 5), (97, 3)], [(101, 9), (103, 4), (104, 1)])) == 0


def test_reconcile_with_a_range_elsewhere_takes_that_range_as_coverage() -> None:
    book = loaded()
    book.reconcile(DepthSnapshot("X", 10, [(150, 1)], [(151, 1)]))
    assert book.coverage == (150, 151)


def test_reconcile_inside_the_next_diff_does_not_count_what_it_touches() -> None:
    book = loaded()
    # the snapshot is at 12, the next diff is 11 to 13: 99 has changed to 6 and then to 7
    straddling = update(11, 13, [(99, 7)], [(102, 1)])
    assert book.reconcile(DepthSnapshot("X", 12, [(99, 6), (98, 1)], [(101, 2), (103, 4)]), straddling) == 0
    assert book.apply_update(straddling)
    assert dict(book.bids) == {99: 7, 98: 1}
    assert dict(book.asks) == {101: 2, 102: 1, 103: 4}


def test_thousands_of_levels_in_any_order_equal_plain_dictionaries() -> None:
    rng = random.Random(7)
    book, sides = OrderBook(), ({1: 1}, {10**6: 1})
    book.apply_snapshot(DepthSnapshot("X", 0, list(sides[0].items()), list(sides[1].items())))
    for number in range(1, 200):
        changes = [
            [(rng.randrange(low, low + 9_000), rng.choice((0, 0, 1, 2, 2**62))) for _ in range(rng.choice((0, 3, 400)))]
            for low in (2, 20_000)
        ]
        book.apply_update(update(number, number, changes[0], changes[1]))
        for side, change in zip(sides, changes, strict=True):
            for price, quantity in change:  # a price may come twice in one diff: the later quantity counts
                side[price] = quantity
                if not quantity:
                    del side[price]
        if number % 20 == 0:
            assert list(book.bids) == sorted(sides[0].items(), reverse=True)
            assert list(book.asks) == sorted(sides[1].items())
    assert book.size == len(sides[0]) + len(sides[1]) > 5_000
    assert book.best == (*max(sides[0].items()), *min(sides[1].items()))


RANGES = (
    st.dictionaries(st.integers(1, 30), st.integers(1, 3), min_size=1),
    st.dictionaries(st.integers(31, 60), st.integers(1, 3), min_size=1),
)


@given(
    ours=st.tuples(*RANGES), theirs=st.tuples(*RANGES), touched=st.tuples(BID_CHANGES, ASK_CHANGES), use=st.booleans()
)
def test_reconciliation_equals_plain_dictionaries(
    ours: tuple[dict[int, int], dict[int, int]],
    theirs: tuple[dict[int, int], dict[int, int]],
    touched: tuple[list[tuple[int, int]], list[tuple[int, int]]],
    use: bool,
) -> None:
    book = OrderBook()
    book.apply_snapshot(DepthSnapshot("X", 10, list(ours[0].items()), list(ours[1].items())))
    straddling = update(11, 13, *touched) if use else None
    found = book.reconcile(DepthSnapshot("X", 12, list(theirs[0].items()), list(theirs[1].items())), straddling)
    low, high = min(theirs[0]), max(theirs[1])
    inside = [{p: q for p, q in ours[0].items() if p >= low}, {p: q for p, q in ours[1].items() if p <= high}]
    expected = 0
    for mine, fresh, changes in zip(inside, theirs, touched, strict=True):
        ignored = {price for price, _ in changes} if use else set()
        expected += sum(mine.get(p) != fresh.get(p) for p in (mine.keys() | fresh.keys()) - ignored)
    assert found == expected
    assert dict(book.bids) == {p: q for p, q in ours[0].items() if p < low} | theirs[0]
    assert dict(book.asks) == {p: q for p, q in ours[1].items() if p > high} | theirs[1]
    assert list(book.bids) == sorted(book.bids, reverse=True)
    assert book.usable
