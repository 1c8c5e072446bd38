"""How much a signal may buy or sell.

Belongs here: turning money and limits into quantities, in integers. Does not belong here: what is already held.
"""

from collections.abc import Sequence
from fractions import Fraction

from signal_assets.execution.parameters import ExecutionParameters
from signal_assets.fixed_point import SCALE


def entry_quantity(
    parameters: ExecutionParameters, capital: int, free: int, *, proposed: int, price: int, account_rate: int
) -> int:
    """Base quantity of an entry, before it is rounded down to lots.

    Parameters
    ----------
    capital, free : int
        The strategy's capital, and what of it is not bound yet.
    proposed : int
        Size the signal proposes; 0: ``position_size`` of the capital. Neither may exceed ``largest_position`` or
        ``free``.

    Examples
    --------
    10 % of 10,000 at a price of 50,000:

    >>> money = 10_000 * SCALE
    >>> price = 50_000 * SCALE
    >>> entry_quantity(ExecutionParameters(), money, money, proposed=0, price=price, account_rate=SCALE) / SCALE
    0.02
    """
    money = min(parameters.largest_position * capital // SCALE, free)
    if not proposed:
        money = min(money, parameters.position_size * capital // SCALE)
    affordable = max(money, 0) * SCALE * SCALE // (price * account_rate)
    return min(proposed or affordable, affordable)


def legs_share(parameters: ExecutionParameters, capital: int, free: int, notionals: Sequence[int]) -> Fraction:
    """The share of all legs that fits: none above ``largest_position``, together not above ``free``.

    Examples
    --------
    Three legs of 5,000 each with 10,000 free and at most 2,500 in one instrument:

    >>> legs_share(ExecutionParameters(), 10_000, 10_000, [5_000, 5_000, 5_000])
    Fraction(1, 2)
    """
    largest = parameters.largest_position * capital // SCALE
    return min(Fraction(1), Fraction(largest, max(*notionals, 1)), Fraction(max(free, 0), max(sum(notionals), 1)))
