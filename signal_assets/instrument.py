"""What is traded: an instrument, its exchange filters and the group it is computed in.

Belongs here: the description of one instrument. Does not belong here: reading configuration (``resources/settings``).
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from signal_assets.fixed_point import SCALE

SYMBOL_PATTERN: Final = re.compile(r"^[A-Z]+[A-Z0-9_-]*$")

AssetClass = Literal["crypto", "forex", "indices", "commodities", "stocks"]


@dataclass(frozen=True, slots=True)
class SanityRange:
    """Values outside raise a data-quality event and flag the row; they are kept. Units of 1e-8."""

    price_low: int
    price_high: int
    quantity_high: int


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument; money in units of 1e-8.

    Parameters
    ----------
    symbol, venue : str
        ``BTCFDUSD`` and ``BINANCE``; the key everywhere is :attr:`key`, ``BTCFDUSD.BINANCE``.
    pair : str
        Base and quote, ``BTC/FDUSD``.
    bucket_size : int
        Width of a price bucket in units of 1e-8 of the quote currency (default one quote unit).
    maker_fee, taker_fee : int
        Fractions of the notional in units of 1e-8 (100,000 is 0.1 %).
    group : str
        Instruments of one group are computed together and may see each other at the same grid time.

    Raises
    ------
    ValueError
        If the symbol does not match ``^[A-Z]+[A-Z0-9_-]*$`` or a size is not positive.
    """

    symbol: str
    venue: str
    pair: str
    tick_size: int
    lot_size: int
    bucket_size: int = SCALE
    asset_class: AssetClass = "crypto"
    group: str = "crypto"
    trade_stream: Literal["trade", "aggTrade"] = "trade"
    maker_fee: int = 100_000
    taker_fee: int = 100_000
    primary: bool = True
    sanity: SanityRange | None = None

    def __post_init__(self) -> None:
        if not SYMBOL_PATTERN.match(self.symbol):
            raise ValueError(f"symbol {self.symbol!r} does not match {SYMBOL_PATTERN.pattern}")
        for name in ("tick_size", "lot_size", "bucket_size"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{self.symbol}: {name} must be positive")

    @property
    def base(self) -> str:
        """What is bought and sold: ``BTC`` of ``BTC/FDUSD``."""
        return self.pair.partition("/")[0]

    @property
    def quote(self) -> str:
        """What it is paid with: ``FDUSD`` of ``BTC/FDUSD``."""
        return self.pair.partition("/")[2]

    @property
    def key(self) -> str:
        """``SYMBOL.VENUE``, the name of the instrument in every table and key."""
        return f"{self.symbol}.{self.venue}"


def automatic_bucket_size(price: int) -> int:
    """The 1-2-5 step nearest to price x 1e-5 (in units of 1e-8, at least one unit).

    Examples
    --------
    >>> automatic_bucket_size(61_000 * SCALE) / SCALE
    0.5
    >>> automatic_bucket_size(2_600 * SCALE) / SCALE
    0.02
    """
    target = max(price // 100_000, 1)
    power = int(10 ** (len(str(target)) - 1))
    return min((1 * power, 2 * power, 5 * power, 10 * power), key=lambda step: (abs(step - target), step))


def whole_group(group: str) -> str:
    """What stands in the column ``instrument`` of rows that concern a whole group.

    Examples
    --------
    >>> whole_group("crypto")
    '*.crypto'
    """
    return f"*.{group}"
