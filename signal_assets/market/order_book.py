"""One instrument's order book, exact, in integers.

Belongs here: applying snapshots and diffs, continuity of their ids, best prices, coverage, comparison with a snapshot.
Does not belong here: when to ask for a snapshot (``instrument_ingest``), clocks, any venue's JSON.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from enum import IntEnum
from itertools import islice

from signal_assets.market.messages import DepthSnapshot, DepthUpdate

Levels = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Bid prices, bid quantities, ask prices, ask quantities; best price first."""


class SequenceGapError(ValueError):
    """A diff does not follow the book: updates between them were missed, a new snapshot is needed."""

    def __init__(self, last_update_id: int, first_update_id: int) -> None:
        super().__init__(f"the book is at update {last_update_id}, the diff begins at {first_update_id}")
        self.last_update_id = last_update_id
        self.first_update_id = first_update_id


class Continuity(IntEnum):
    """How a diff lies to the book: already contained, the next one, or beyond a hole."""

    STALE = -1
    FOLLOWS = 0
    GAP = 1


class OrderBook:
    """Levels of one instrument; prices and quantities are int64 units of 1e-8.

    Per side a dict price → quantity and the sorted prices, so that a diff costs a dictionary access per level and a
    bisection only where a level appears or goes. Bids and asks both ascend: the best bid is the last, the best ask the
    first.

    Examples
    --------
    >>> book = OrderBook()
    >>> book.apply_snapshot(DepthSnapshot("X", 10, [(99, 5), (98, 1)], [(101, 2)]))
    >>> book.apply_update(DepthUpdate("X", 0, 0, 9, 11, [(99, 0)], [(100, 4)]))
    True
    >>> book.best_bid, book.best_ask, book.last_update_id
    ((98, 1), (100, 4), 11)
    """

    __slots__ = (
        "_fresh",
        "_top",
        "_top_count",
        "ask_prices",
        "asks",
        "bid_prices",
        "bids",
        "coverage_high",
        "coverage_low",
        "last_update_id",
    )

    def __init__(self) -> None:
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.bid_prices: list[int] = []
        self.ask_prices: list[int] = []
        self.last_update_id = -1
        self.coverage_low = 0
        self.coverage_high = 0
        self._fresh = True
        self._top: Levels | None = None
        self._top_count = 0

    def apply_snapshot(self, snapshot: DepthSnapshot) -> None:
        """Forget everything and start from ``snapshot``; coverage becomes its lowest bid to its highest ask."""
        self.bids = {price: quantity for price, quantity in snapshot.bids if quantity > 0}
        self.asks = {price: quantity for price, quantity in snapshot.asks if quantity > 0}
        self.bid_prices = sorted(self.bids)
        self.ask_prices = sorted(self.asks)
        self.last_update_id = snapshot.last_update_id
        self.coverage_low = self.bid_prices[0] if self.bid_prices else 0
        self.coverage_high = self.ask_prices[-1] if self.ask_prices else 0
        self._fresh = True
        self._top_count = 0

    def continuity(self, update: DepthUpdate) -> Continuity:
        """How ``update`` lies to this book, by the venue's rules.

        Spot: the first diff after a snapshot with id ``s`` has ``U ≤ s + 1 ≤ u``, each further ``U = previous u + 1``.
        Futures (``pu`` given): first ``U ≤ s ≤ u``, then ``pu = previous u``.
        """
        last = self.last_update_id
        first, final, previous = update.first_update_id, update.final_update_id, update.previous_final_update_id
        if previous is None:
            if final <= last:
                return Continuity.STALE
            follows = first <= last + 1 if self._fresh else first == last + 1
        elif self._fresh:
            if final < last:
                return Continuity.STALE
            follows = first <= last
        else:
            if final <= last:
                return Continuity.STALE
            follows = previous == last
        return Continuity.FOLLOWS if follows else Continuity.GAP

    def apply_update(self, update: DepthUpdate) -> bool:
        """Apply a diff; a stale one is ignored.

        Returns
        -------
        bool
            Whether it was applied.

        Raises
        ------
        SequenceGapError
            If updates are missing before it; the book is unchanged.
        """
        if update.first_update_id != self.last_update_id + 1 or update.previous_final_update_id is not None:
            continuity = self.continuity(update)
            if continuity is Continuity.STALE:
                return False
            if continuity is Continuity.GAP:
                raise SequenceGapError(self.last_update_id, update.first_update_id)
        bids, asks = update.bids, update.asks
        if bids:
            _apply_levels(bids, self.bids, self.bid_prices)
        if asks:
            _apply_levels(asks, self.asks, self.ask_prices)
        self.last_update_id = update.final_update_id
        self._fresh = False
        self._top_count = 0
        return True

    @property
    def best_bid(self) -> tuple[int, int] | None:
        """Highest bid as (price, quantity), None on an empty side."""
        return (self.bid_prices[-1], self.bids[self.bid_prices[-1]]) if self.bid_prices else None

    @property
    def best_ask(self) -> tuple[int, int] | None:
        """Lowest ask as (price, quantity), None on an empty side."""
        return (self.ask_prices[0], self.asks[self.ask_prices[0]]) if self.ask_prices else None

    @property
    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask."""
        return bool(self.bid_prices and self.ask_prices) and self.bid_prices[-1] >= self.ask_prices[0]

    @property
    def usable(self) -> bool:
        """Whether both sides have levels and do not cross."""
        return bool(self.bid_prices and self.ask_prices) and self.bid_prices[-1] < self.ask_prices[0]

    @property
    def coverage(self) -> tuple[int, int]:
        """Prices between which every level is known; outside only levels that changed since are."""
        return self.coverage_low, self.coverage_high

    @property
    def size(self) -> int:
        """Number of levels on both sides."""
        return len(self.bid_prices) + len(self.ask_prices)

    def levels(self, count: int) -> Levels:
        """The ``count`` best levels of each side, best first."""
        bid_prices = tuple(islice(reversed(self.bid_prices), count))
        ask_prices = tuple(self.ask_prices[:count])
        return (
            bid_prices,
            tuple(map(self.bids.__getitem__, bid_prices)),
            ask_prices,
            tuple(map(self.asks.__getitem__, ask_prices)),
        )

    def top(self, count: int) -> Levels:
        """As :meth:`levels`, but the very same object again as long as these levels did not change."""
        if self._top_count != count or self._top is None:
            fresh = self.levels(count)
            if fresh != self._top:
                self._top = fresh
            self._top_count = count
        assert self._top is not None  # noqa: S101  (for the type checker: set just above)
        return self._top

    def reconcile(self, snapshot: DepthSnapshot, touched: DepthUpdate | None = None) -> int:
        """Put a snapshot's levels in place of our own inside its range; outside, ours stay.

        Parameters
        ----------
        snapshot : DepthSnapshot
            The book at the id where ours is, or (with ``touched``) inside the diff that comes next.
        touched : DepthUpdate, optional
            That next diff. Its levels may rightly differ and are not counted; it must be applied afterwards.

        Returns
        -------
        int
            Number of levels that differed. Coverage becomes the union with the snapshot's range, or that range alone
            where the two do not overlap.
        """
        bids = {price: quantity for price, quantity in snapshot.bids if quantity > 0}
        asks = {price: quantity for price, quantity in snapshot.asks if quantity > 0}
        low, high = min(bids), max(asks)
        ours_bids = {price: quantity for price, quantity in self.bids.items() if price >= low}
        ours_asks = {price: quantity for price, quantity in self.asks.items() if price <= high}
        differences = _count_differences(ours_bids, bids, touched.bids if touched else ())
        differences += _count_differences(ours_asks, asks, touched.asks if touched else ())
        self.bids = bids | {price: quantity for price, quantity in self.bids.items() if price < low}
        self.asks = asks | {price: quantity for price, quantity in self.asks.items() if price > high}
        self.bid_prices = sorted(self.bids)
        self.ask_prices = sorted(self.asks)
        if low <= self.coverage_high and high >= self.coverage_low:
            low, high = min(low, self.coverage_low), max(high, self.coverage_high)
        self.coverage_low, self.coverage_high = low, high
        self._top_count = 0
        return differences


def _apply_levels(levels: Iterable[tuple[int, int]], quantities: dict[int, int], prices: list[int]) -> None:
    for price, quantity in levels:
        if quantity > 0:
            if price not in quantities:
                insort(prices, price)
            quantities[price] = quantity
        elif quantities.pop(price, None) is not None:
            del prices[bisect_left(prices, price)]


def _count_differences(ours: dict[int, int], theirs: dict[int, int], touched: Iterable[tuple[int, int]]) -> int:
    if ours == theirs:
        return 0
    different = {price for price, _ in ours.items() ^ theirs.items()}
    return len(different.difference(price for price, _ in touched))
