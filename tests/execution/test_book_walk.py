import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from signal_assets.execution.book_walk import left_over, levels_of, walk_book

ASKS = [(100, 1), (102, 3), (103, 9)]


def test_levels_are_taken_from_the_best_on_until_the_size_is_reached():
    assert walk_book(ASKS, 1, 1_000, 1) == [(100, 1)]
    assert walk_book(ASKS, 6, 1_000, 1) == [(100, 1), (102, 3), (103, 2)]
    assert walk_book(ASKS, 99, 1_000, 1) == ASKS
    assert walk_book(ASKS, 0, 1_000, 1) == []


def test_no_level_worse_than_the_limit_is_taken_and_the_limit_itself_is():
    assert walk_book(ASKS, 99, 102, 1) == [(100, 1), (102, 3)]
    assert walk_book(ASKS, 99, 99, 1) == []
    bids = [(100, 1), (98, 3), (97, 9)]
    assert walk_book(bids, 99, 98, -1) == [(100, 1), (98, 3)]
    assert walk_book(bids, 99, 101, -1) == []


def test_levels_are_plain_integers_without_empty_ones():
    # 9 x 10^14 x 10^8 leaves int64: an array's numbers would wrap around.
    ((price, quantity),) = levels_of(np.array([9 * 10**14, 1]), np.array([10**8, 0]))
    assert price * quantity == 9 * 10**22


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=20),
    st.lists(st.integers(0, 60), max_size=4),
    st.sampled_from((1, -1)),
)
def test_orders_one_after_the_other_take_what_one_large_order_takes(quantities, wanted, side):
    levels = [(1_000 + side * place, quantity) for place, quantity in enumerate(quantities)]
    left, taken = levels, []
    for quantity in wanted:
        part = walk_book(left, quantity, 1_000 + side * 99, side)
        left = left_over(left, part)
        taken += part
    volume = sum(quantity for _, quantity in taken)
    assert volume == min(sum(wanted), sum(quantities))
    assert volume + sum(quantity for _, quantity in left) == sum(quantities)
    at_once = walk_book(levels, sum(wanted), 1_000 + side * 99, side)
    assert sum(p * q for p, q in taken) == sum(p * q for p, q in at_once)
