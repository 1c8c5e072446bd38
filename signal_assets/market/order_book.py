"""One instrument's order book, exact, in integers.

Belongs here: applying snapshots and diffs, continuity of their ids, best prices, coverage, comparison with a snapshot.
Does not belong here: when to ask for a snapshot (``instrument_ingest``), the arrays themselves (``book_side``), clocks,
any venue's JSON.
"""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from signal_assets.market.book_side import (
    ASK,
    BID,
    SIGN,
    change_levels,
    count_differences,
    empty_rows,
    sorted_side,
)
from signal_assets.market.messages import DepthSnapshot, DepthUpdate, PriceLevels

Levels = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Bid prices, bid quantities, ask prices, ask quantities; best price first."""

Side = tuple[NDArray[np.int64], NDArray[np.int64]]
NO_KEYS = np.empty(0, dtype=np.int64)


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

    Two sorted arrays a side, changed by compiled code: a diff costs one call whatever the number of its levels.

    Attributes
    ----------
    best : tuple of int
        Best bid, its quantity, best ask, its quantity; 0 on an empty side.
    usable : bool
        Whether both sides have levels and do not cross.
    last_update_id : int
        Id of the newest update contained; -1 before the first snapshot.

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
        "_ask_count",
        "_bid_count",
        "_fresh",
        "_rows",
        "_top",
        "_top_count",
        "best",
        "coverage_high",
        "coverage_low",
        "last_update_id",
        "usable",
    )

    def __init__(self) -> None:
        self._rows = empty_rows()
        self._bid_count = self._ask_count = 0
        self.best = (0, 0, 0, 0)
        self.usable = False
        self.last_update_id = -1
        self.coverage_low = 0
        self.coverage_high = 0
        self._fresh = True
        self._top: Levels | None = None
        self._top_count = 0

    def apply_snapshot(self, snapshot: DepthSnapshot) -> None:
        """Forget everything and start from ``snapshot``; coverage becomes its lowest bid to its highest ask."""
        self._set(sorted_side(PriceLevels.of(snapshot.bids), BID), sorted_side(PriceLevels.of(snapshot.asks), ASK))
        self.last_update_id = snapshot.last_update_id
        self.coverage_low = int(self._side(BID, 1)[0][0]) if self._bid_count else 0
        self.coverage_high = -int(self._side(ASK, 1)[0][0]) if self._ask_count else 0
        self._fresh = True

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

    def plainly_next(self, update: DepthUpdate) -> bool:
        """Whether ``update`` follows by the rule for every diff but the first, which is what nearly all do."""
        previous = update.previous_final_update_id
        if previous is None:
            return update.first_update_id == self.last_update_id + 1 <= update.final_update_id
        return previous == self.last_update_id < update.final_update_id and not self._fresh

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
        if not self.plainly_next(update):
            continuity = self.continuity(update)
            if continuity is Continuity.STALE:
                return False
            if continuity is Continuity.GAP:
                raise SequenceGapError(self.last_update_id, update.first_update_id)
        bids, asks = PriceLevels.of(update.bids).packed, PriceLevels.of(update.asks).packed
        rows = self._rows
        needed = max(self._bid_count + len(bids) // 2, self._ask_count + len(asks) // 2)
        if 4 * needed > len(rows):
            self._set(self._side(BID, self._bid_count), self._side(ASK, self._ask_count), room=needed)
            rows = self._rows
        self._bid_count, self._ask_count, bid, bid_quantity, ask, ask_quantity = change_levels(
            bids, asks, rows, self._bid_count, self._ask_count
        )
        self._note_best(bid, bid_quantity, ask, ask_quantity)
        self.last_update_id = update.final_update_id
        self._fresh = False
        self._top_count = 0
        return True

    @property
    def best_bid(self) -> tuple[int, int] | None:
        """Highest bid as (price, quantity), None on an empty side."""
        return self.best[:2] if self._bid_count else None

    @property
    def best_ask(self) -> tuple[int, int] | None:
        """Lowest ask as (price, quantity), None on an empty side."""
        return self.best[2:] if self._ask_count else None

    @property
    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask."""
        return bool(self._bid_count and self._ask_count) and self.best[0] >= self.best[2]

    @property
    def coverage(self) -> tuple[int, int]:
        """Prices between which every level is known; outside only levels that changed since are."""
        return self.coverage_low, self.coverage_high

    @property
    def size(self) -> int:
        """Number of levels on both sides."""
        return self._bid_count + self._ask_count

    @property
    def bids(self) -> PriceLevels:
        """All bids, best first; a copy."""
        return self._packed(BID, self._bid_count)

    @property
    def asks(self) -> PriceLevels:
        """All asks, best first; a copy."""
        return self._packed(ASK, self._ask_count)

    def levels(self, count: int) -> Levels:
        """The ``count`` best levels of each side, best first."""
        bids, asks = self._packed(BID, self._bid_count, count), self._packed(ASK, self._ask_count, count)
        return (
            tuple(bids.prices.tolist()),
            tuple(bids.quantities.tolist()),
            tuple(asks.prices.tolist()),
            tuple(asks.quantities.tolist()),
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
            The book at the id where ours is, or (with ``touched``) inside the diff that comes next; both sides have
            levels.
        touched : DepthUpdate, optional
            That next diff. Its levels may rightly differ and are not counted; it must be applied afterwards.

        Returns
        -------
        int
            Number of levels that differed. Coverage becomes the union with the snapshot's range, or that range alone
            where the two do not overlap.
        """
        bids, asks = sorted_side(PriceLevels.of(snapshot.bids), BID), sorted_side(PriceLevels.of(snapshot.asks), ASK)
        low, high = int(bids[0][0]), -int(asks[0][0])
        bid_differences, bids = self._reconciled(BID, self._bid_count, bids, touched.bids if touched else None)
        ask_differences, asks = self._reconciled(ASK, self._ask_count, asks, touched.asks if touched else None)
        self._set(bids, asks)
        if low <= self.coverage_high and high >= self.coverage_low:
            low, high = min(low, self.coverage_low), max(high, self.coverage_high)
        self.coverage_low, self.coverage_high = low, high
        return bid_differences + ask_differences

    def _reconciled(
        self, side: int, count: int, theirs: Side, touched: Sequence[tuple[int, int]] | None
    ) -> tuple[int, Side]:
        """How many levels differ within their range, and the side with theirs in place of ours there."""
        ours = self._side(side, count)
        inside = int(np.searchsorted(ours[0], theirs[0][0]))
        ignored = NO_KEYS if touched is None else PriceLevels.of(touched).prices * SIGN[side]
        differences = count_differences(ours[0][inside:], ours[1][inside:], *theirs, ignored)
        return differences, (
            np.concatenate([ours[0][:inside], theirs[0]]),
            np.concatenate([ours[1][:inside], theirs[1]]),
        )

    def _side(self, side: int, end: int, begin: int = 0) -> Side:
        """Keys and quantities from ``begin`` to ``end`` as they lie in the array, worst first; views."""
        capacity = len(self._rows) // 4
        keys, quantities = side * capacity, (side + 1) * capacity
        return self._rows[keys + begin : keys + end], self._rows[quantities + begin : quantities + end]

    def _set(self, bids: Side, asks: Side, room: int = 0) -> None:
        bid_count, ask_count = len(bids[0]), len(asks[0])
        self._rows = empty_rows(2 * max(bid_count, ask_count, room))
        for side, levels, count in ((BID, bids, bid_count), (ASK, asks, ask_count)):
            for row, numbers in zip(self._side(side, count), levels, strict=True):
                row[:] = numbers
        self._bid_count, self._ask_count = bid_count, ask_count
        self._top_count = 0
        bid, bid_quantity = (int(row[-1]) for row in self._side(BID, bid_count)) if bid_count else (0, 0)
        ask, ask_quantity = (int(row[-1]) for row in self._side(ASK, ask_count)) if ask_count else (0, 0)
        self._note_best(bid, bid_quantity, -ask, ask_quantity)

    def _note_best(self, bid: int, bid_quantity: int, ask: int, ask_quantity: int) -> None:
        self.best = (bid, bid_quantity, ask, ask_quantity)
        self.usable = bid < ask and self._bid_count > 0 and self._ask_count > 0

    def _packed(self, side: int, used: int, count: int | None = None) -> PriceLevels:
        keys, quantities = self._side(side, used, 0 if count is None else max(used - count, 0))
        packed = np.empty(2 * len(keys), dtype=np.int64)
        packed[0::2] = keys[::-1] * SIGN[side]
        packed[1::2] = quantities[::-1]
        return PriceLevels(packed)
