"""What an exchange tells us, parsed: depth updates, trades and snapshots with integer money.

Belongs here: the venue-independent messages. Does not belong here: any venue's JSON (``resources/exchange``).

The messages are named tuples: tens of thousands of them come every second, and nothing immutable is cheaper to make.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Self, overload

import numpy as np
from numpy.typing import NDArray


class MalformedMessageError(ValueError):
    """A message does not have the structure its venue documents; it goes to the dead letters with this reason."""


class PriceLevels(Sequence[tuple[int, int]]):
    """Levels of one side as int64, read like the list of (price, quantity) pairs that they are; never changed.

    Parameters
    ----------
    packed : ndarray of int64, shape (2 n,), contiguous
        Price and quantity by turns, units of 1e-8; taken over, not copied.

    Examples
    --------
    >>> levels = PriceLevels.of([(99, 5), (98, 1)])
    >>> levels == [(99, 5), (98, 1)], levels[1], levels.prices, levels.quantities
    (True, (98, 1), array([99, 98]), array([5, 1]))
    """

    __slots__ = ("packed",)

    def __init__(self, packed: NDArray[np.int64]) -> None:
        self.packed = packed

    @classmethod
    def of(cls, levels: Iterable[tuple[int, int]]) -> Self:
        """The same levels; a new object only where they are not packed yet.

        Raises
        ------
        OverflowError
            If a number leaves int64.
        """
        if isinstance(levels, cls):
            return levels
        return cls(np.array(levels if isinstance(levels, list) else list(levels), dtype=np.int64).reshape(-1))

    @property
    def prices(self) -> NDArray[np.int64]:
        """Prices, in the order given; a view."""
        return self.packed[0::2]

    @property
    def quantities(self) -> NDArray[np.int64]:
        """Quantities, in the order given; a view."""
        return self.packed[1::2]

    def __len__(self) -> int:
        return len(self.packed) // 2

    def __iter__(self) -> Iterator[tuple[int, int]]:
        numbers = iter(self.packed.tolist())
        return zip(numbers, numbers, strict=True)

    @overload
    def __getitem__(self, index: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[int, int]]: ...
    def __getitem__(self, index: int | slice) -> tuple[int, int] | list[tuple[int, int]]:
        return list(self)[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PriceLevels):
            return bool(np.array_equal(self.packed, other.packed))
        return list(self) == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))


class DepthUpdate(NamedTuple):
    """Absolute quantities of the levels that changed; ids as in Binance's ``U``, ``u`` and (futures) ``pu``."""

    instrument: str
    event_time: int
    received_time: int
    first_update_id: int
    final_update_id: int
    bids: Sequence[tuple[int, int]]
    asks: Sequence[tuple[int, int]]
    previous_final_update_id: int | None = None


class Trade(NamedTuple):
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


class BookTicker(NamedTuple):
    """Best prices without an event time (Binance spot); never enters the features."""

    instrument: str
    received_time: int
    update_id: int
    best_bid: int
    bid_quantity: int
    best_ask: int
    ask_quantity: int


class DepthSnapshot(NamedTuple):
    """The REST picture of a book, best price first."""

    instrument: str
    last_update_id: int
    bids: Sequence[tuple[int, int]]
    asks: Sequence[tuple[int, int]]


Message = DepthUpdate | Trade | BookTicker
