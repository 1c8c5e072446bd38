"""What a fill costs, in integers.

Belongs here: the exact arithmetic of notionals and fees, all in units of 1e-8. Does not belong here: where prices,
rates and fees come from.
"""

from signal_assets.fixed_point import SCALE


def divide_half_even(numerator: int, denominator: int) -> int:
    """Quotient rounded to the nearest integer, ties to the even one; the denominator is positive.

    Examples
    --------
    >>> [divide_half_even(n, 2) for n in (1, 3, 5, -1, -3)]
    [0, 2, 2, 0, -2]
    """
    quotient, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and quotient % 2):
        return quotient + 1
    return quotient


def notional(price: int, quantity: int, account_rate: int) -> int:
    """``price x quantity x account_rate`` in the account's currency, rounded once, half to even.

    Parameters
    ----------
    price, quantity, account_rate : int
        Quote currency, base currency (negative: a short holding's value), account currency per quote currency.

    Examples
    --------
    0.5 BTC at 61,737.63 FDUSD:

    >>> notional(6_173_763_000_000, 50_000_000, SCALE)
    3086881500000
    """
    return divide_half_even(price * quantity * account_rate, SCALE * SCALE)


def fee_of(amount: int, fee_rate: int) -> int:
    """Fee on a notional, rounded up.

    Examples
    --------
    0.1 % of 30,868.815 is 30.868815; the smallest amount still costs one unit:

    >>> fee_of(3_086_881_500_000, 100_000), fee_of(1, 100_000)
    (3086881500, 1)
    """
    return -(-amount * fee_rate // SCALE)
