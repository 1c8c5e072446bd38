"""What an order that takes would really give: walking the levels of a book, in integers only.

Belongs here: buying for an amount, selling a quantity. Does not belong here: chains of such orders (strategies), orders
in time (the paper broker).

Everything is rounded against us: quantities down to lots, payments up and receipts down to units of 1e-8, fees up. The
fee is taken out of what is received.
"""

from collections.abc import Iterable
from typing import NamedTuple

from signal_assets.fixed_point import SCALE


class Taken(NamedTuple):
    """An order that took: quantity on lots, worst price used, what was given and what received after the fee.

    All in units of 1e-8; given is in the currency that was there before, received in the other one.
    """

    quantity: int
    limit_price: int
    given: int
    received: int


def buy_for(
    amount: int, prices: Iterable[int], quantities: Iterable[int], lot_size: int, taker_fee: int
) -> Taken | None:
    """Buy as many lots as ``amount`` of the quote currency pays for; None if the levels hold less, or it pays for none.

    Parameters
    ----------
    amount : int
        Quote currency, units of 1e-8.
    prices, quantities : iterable of int
        Asks, best first, units of 1e-8.
    lot_size, taker_fee : int
        Units of 1e-8; the fee as a fraction.

    Examples
    --------
    For 250.00: one at 100 and 1.48 of the two at 101, which with a lot of 0.1 makes 2.4 for 241.40; fee 0.1 % of 2.4.

    >>> buy_for(250_00000000, [100_00000000, 101_00000000], [1_00000000, 2_00000000], 10000000, 100000)
    Taken(quantity=240000000, limit_price=10100000000, given=24140000000, received=239760000)
    """
    ladder = _ladder(prices, quantities)
    budget = amount * SCALE
    quantity = 0
    for price, there in ladder:
        affordable = budget // price
        if affordable <= there:
            quantity += affordable
            break
        quantity += there
        budget -= there * price
    else:
        return None
    quantity -= quantity % lot_size
    if quantity == 0:
        return None
    value, worst = _walk(ladder, quantity)
    return Taken(quantity, worst, -(-value // SCALE), quantity - _fee(quantity, taker_fee))


def sell(amount: int, prices: Iterable[int], quantities: Iterable[int], lot_size: int, taker_fee: int) -> Taken | None:
    """Sell as many lots as ``amount`` of the base currency holds; None if the levels take less, or it holds none.

    Parameters
    ----------
    amount : int
        Base currency, units of 1e-8.
    prices, quantities : iterable of int
        Bids, best first, units of 1e-8.
    lot_size, taker_fee : int
        Units of 1e-8; the fee as a fraction.

    Examples
    --------
    >>> sell(2_55000000, [100_00000000, 99_00000000], [1_00000000, 2_00000000], 10000000, 100000)
    Taken(quantity=250000000, limit_price=9900000000, given=250000000, received=24825150000)
    """
    ladder = _ladder(prices, quantities)
    quantity = amount - amount % lot_size
    if quantity == 0 or quantity > sum(there for _, there in ladder):
        return None
    value, worst = _walk(ladder, quantity)
    proceeds = value // SCALE
    return Taken(quantity, worst, quantity, proceeds - _fee(proceeds, taker_fee))


def _ladder(prices: Iterable[int], quantities: Iterable[int]) -> list[tuple[int, int]]:
    """Levels as plain integers, which do not overflow: a price times a quantity does not fit into int64."""
    return list(zip(map(int, prices), map(int, quantities), strict=True))


def _walk(ladder: list[tuple[int, int]], quantity: int) -> tuple[int, int]:
    """Price times quantity (units of 1e-16) of taking ``quantity``, and the worst price used."""
    value, worst = 0, 0
    for price, there in ladder:
        if quantity == 0:
            break
        taken = min(there, quantity)
        value += price * taken
        quantity -= taken
        worst = price
    return value, worst


def _fee(amount: int, fraction: int) -> int:
    return -(-amount * fraction // SCALE)
