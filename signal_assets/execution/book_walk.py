"""Walking a book side: which levels an order takes, and what they leave.

Belongs here: pure integer walks over the levels of one side. Does not belong here: orders, fees, or whose turn it is.
"""

from collections.abc import Iterable, Sequence

Level = tuple[int, int]
"""(price, quantity), units of 1e-8."""


def levels_of(prices: Iterable[int], quantities: Iterable[int]) -> list[Level]:
    """Levels of one side as plain integers, best first; those without quantity left out."""
    return [(int(price), int(offered)) for price, offered in zip(prices, quantities, strict=True) if offered > 0]


def walk_book(levels: Sequence[Level], quantity: int, worst: int, side: int) -> list[Level]:
    """Take ``quantity`` from the best levels on, none of them worse than ``worst``.

    Parameters
    ----------
    levels : sequence of (price, quantity)
        Asks ascending for a buyer, bids descending for a seller; quantities positive.
    quantity : int
        How much is wanted.
    worst : int
        Last acceptable price.
    side : int
        1 buys, -1 sells.

    Returns
    -------
    list of (price, quantity)
        One entry per level consumed, aligned with the first levels; may add up to less than what is wanted.

    Examples
    --------
    Wanted 5, but no dearer than 102:

    >>> walk_book([(100, 1), (102, 3), (103, 9)], 5, 102, 1)
    [(100, 1), (102, 3)]
    """
    taken: list[Level] = []
    for price, offered in levels:
        if quantity <= 0 or (price - worst) * side > 0:
            break
        amount = min(offered, quantity)
        taken.append((price, amount))
        quantity -= amount
    return taken


def left_over(levels: Sequence[Level], taken: Sequence[Level]) -> list[Level]:
    """The levels that :func:`walk_book` leaves for the next order.

    Examples
    --------
    >>> left_over([(100, 1), (102, 3), (103, 9)], [(100, 1), (102, 2)])
    [(102, 1), (103, 9)]
    """
    rest = list(levels[len(taken) :])
    if taken and levels[len(taken) - 1][1] > taken[-1][1]:
        price, offered = levels[len(taken) - 1]
        rest.insert(0, (price, offered - taken[-1][1]))
    return rest
