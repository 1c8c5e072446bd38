"""Money and sizes as integers.

Belongs here: turning an exchange's decimal text into int64 units of 1e-8 and back. Does not belong here: rounding to
ticks or lots, or anything that needs a float on the way in.
"""

from typing import Final

SCALE: Final = 100_000_000
"""Units in one: a price of 1.00 is stored as 100,000,000."""

DECIMALS: Final = 8
MAXIMUM: Final = 2**63 - 1


class FixedPointError(ValueError):
    """A text is not a decimal number that fits into int64 units of 1e-8."""


def parse_fixed(text: str | bytes) -> int:
    """Turn an exchange's decimal text into an integer in units of 1e-8, exactly.

    Parameters
    ----------
    text : str or bytes
        Plain decimal notation, at most eight significant decimals, e.g. ``"61737.63000000"``.

    Returns
    -------
    int
        The number in units of 1e-8.

    Raises
    ------
    FixedPointError
        If the text is no plain decimal number, has more than eight significant decimals or leaves int64.

    Examples
    --------
    >>> parse_fixed("61737.63000000")
    6173763000000
    >>> parse_fixed("-0.00000001")
    -1
    """
    raw = text.decode("ascii", "replace") if isinstance(text, bytes) else text
    if not isinstance(raw, str):
        raise FixedPointError(f"not a decimal text: {raw!r}")
    whole, _, fraction = raw.partition(".")
    digits = whole[1:] if whole[:1] == "-" else whole
    if len(fraction) > DECIMALS:
        if fraction[DECIMALS:].strip("0"):
            raise FixedPointError(f"more than {DECIMALS} decimals: {raw!r}")
        fraction = fraction[:DECIMALS]
    if not (digits.isascii() and digits.isdigit()) or not (
        fraction == "" or (fraction.isascii() and fraction.isdigit())
    ):
        raise FixedPointError(f"not a plain decimal number: {raw[:40]!r}")
    if len(digits) > 20:
        raise FixedPointError(f"beyond int64 units of 1e-8: {raw[:40]!r}")
    value = int(digits) * SCALE + int(fraction.ljust(DECIMALS, "0"))
    if value > MAXIMUM:
        raise FixedPointError(f"beyond int64 units of 1e-8: {raw!r}")
    return -value if whole[:1] == "-" else value


def format_fixed(value: int) -> str:
    """Write an integer in units of 1e-8 as decimal text with eight decimals.

    Examples
    --------
    >>> format_fixed(6173763000000)
    '61737.63000000'
    >>> format_fixed(-1)
    '-0.00000001'
    """
    sign = "-" if value < 0 else ""
    whole, fraction = divmod(abs(value), SCALE)
    return f"{sign}{whole}.{fraction:08d}"
