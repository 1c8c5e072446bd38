"""Data-quality flags of a trade: it is kept whatever they say.

Belongs here: exchange filters and sanity ranges as bits. Does not belong here: refusing anything.
"""

from typing import Final

from signal_assets.instrument import Instrument
from signal_assets.market.tables import (
    FLAG_OFF_LOT,
    FLAG_OFF_TICK,
    FLAG_PRICE_OUT_OF_RANGE,
    FLAG_QUANTITY_OUT_OF_RANGE,
)

QUALITY_KINDS: Final = (
    (FLAG_PRICE_OUT_OF_RANGE, "price_out_of_range"),
    (FLAG_QUANTITY_OUT_OF_RANGE, "quantity_out_of_range"),
    (FLAG_OFF_TICK, "off_tick"),
    (FLAG_OFF_LOT, "off_lot"),
)
"""Kind of the quality event that goes with each flag."""


def trade_flags(instrument: Instrument, price: int, quantity: int) -> int:
    """Bits of ``market.trades.flags``; price and quantity in units of 1e-8.

    Examples
    --------
    >>> btc = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", tick_size=1_000_000, lot_size=1_000)
    >>> trade_flags(btc, 6_173_763_000_000, 1_000), trade_flags(btc, 6_173_763_500_000, 1)
    (0, 12)
    """
    flags = 0
    if price % instrument.tick_size:
        flags |= FLAG_OFF_TICK
    if quantity % instrument.lot_size:
        flags |= FLAG_OFF_LOT
    sanity = instrument.sanity
    if sanity is not None:
        if not sanity.price_low <= price <= sanity.price_high:
            flags |= FLAG_PRICE_OUT_OF_RANGE
        if quantity > sanity.quantity_high:
            flags |= FLAG_QUANTITY_OUT_OF_RANGE
    return flags
