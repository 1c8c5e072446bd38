"""What an exchange tells us, parsed: depth updates, trades and snapshots with integer money.

Belongs here: the venue-independent messages. Does not belong here: any venue's JSON (``resources/exchange``).
"""

from dataclasses import dataclass


class MalformedMessageError(ValueError):
    """A message does not have the structure its venue documents; it goes to the dead letters with this reason."""


@dataclass(frozen=True, slots=True)
class DepthUpdate:
    """Absolute quantities of the levels that changed; ids as in Binance's ``U``, ``u`` and (futures) ``pu``."""

    instrument: str
    event_time: int
    received_time: int
    first_update_id: int
    final_update_id: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]
    previous_final_update_id: int | None = None


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade; ``event_time`` is the matching time ``T``, ``clock`` the newest exchange time the message shows."""

    instrument: str
    trade_id: int
    event_time: int
    received_time: int
    price: int
    quantity: int
    is_buyer_maker: bool
    clock: int
    by_rest: bool = False


@dataclass(frozen=True, slots=True)
class BookTicker:
    """Best prices without an event time (Binance spot); never enters the features."""

    instrument: str
    received_time: int
    update_id: int
    best_bid: int
    bid_quantity: int
    best_ask: int
    ask_quantity: int


@dataclass(frozen=True, slots=True)
class DepthSnapshot:
    """The REST picture of a book, best price first."""

    instrument: str
    last_update_id: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


Message = DepthUpdate | Trade | BookTicker
