"""The book of one instrument as of any recent update id, from the messages a venue has served.

Belongs here: applying snapshots and diffs, and answering for a position. Does not belong here: sockets, and the live
lane's own book (``signal_assets.market.order_book``), from which this is independent on purpose.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, Self

import orjson

from services.simulated_venue.venue_message import MessageKind, VenueMessage, bare, snapshot_text
from signal_assets.fixed_point import parse_fixed

LONGEST_HISTORY: Final = 20_000
"""Diffs kept behind the newest one; beyond, the oldest position that can be asked for moves on."""


@dataclass(slots=True)
class Book:
    """Levels in units of 1e-8 as of ``last_update_id``."""

    last_update_id: int
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of_snapshot(cls, raw: bytes) -> Self:
        """Read a combined ``@snapshot`` message."""
        data = orjson.loads(bare(raw))
        return cls(data["lastUpdateId"], _levels(data["bids"]), _levels(data["asks"]))

    def apply(self, raw: bytes, last_update_id: int) -> None:
        """Apply a combined depth update: quantities are absolute, 0 removes."""
        data = orjson.loads(bare(raw))
        for side, changes in ((self.bids, data["b"]), (self.asks, data["a"])):
            for price, quantity in _levels(changes).items():
                if quantity:
                    side[price] = quantity
                else:
                    side.pop(price, None)
        self.last_update_id = last_update_id

    def copy(self) -> "Book":
        """An independent book."""
        return Book(self.last_update_id, dict(self.bids), dict(self.asks))

    def answer(self, limit: int) -> str:
        """The answer of ``/api/v3/depth`` with at most ``limit`` levels a side."""
        return snapshot_text(
            self.last_update_id,
            sorted(self.bids.items(), reverse=True)[:limit],
            sorted(self.asks.items())[:limit],
        )


class BookHistory:
    """A lagging book and the messages that came after it.

    Positions asked for grow, so the book follows them; an older one is answered with the oldest book still known.
    Nothing is parsed before it is asked for.
    """

    def __init__(self) -> None:
        self._book: Book | None = None
        self._orphans: list[VenueMessage] = []
        self._spare: Book | None = None  # a snapshot that came while the book was known
        self._waiting: deque[VenueMessage] = deque()

    def add(self, message: VenueMessage) -> None:
        """Take in a served depth update or a snapshot."""
        self._waiting.append(message)
        if len(self._waiting) > LONGEST_HISTORY:
            self._step()

    def at(self, position: int | None) -> Book | None:
        """The book at ``position`` or at the first known id after it; ``None`` position: the newest.

        Returns ``None`` where the book is not known: before the first snapshot, or after a gap.
        """
        if position is None:
            return self._newest()
        while self._waiting and (self._book is None or self._book.last_update_id < position):
            self._step()
        return self._book.copy() if self._book is not None else None

    def _newest(self) -> Book | None:
        ahead = BookHistory()
        ahead._book = self._book.copy() if self._book is not None else None
        ahead._spare = self._spare.copy() if self._spare is not None else None
        ahead._orphans = list(self._orphans)
        ahead._waiting = deque(self._waiting)
        while ahead._waiting:
            ahead._step()
        return ahead._book

    def _step(self) -> None:
        message = self._waiting.popleft()
        book = self._book
        if message.kind == MessageKind.SNAPSHOT:
            snapshot = Book.of_snapshot(message.raw)
            if book is None:
                self._book = snapshot
                # a diff that straddles the snapshot's id came before it: it is applied next
                self._waiting.extendleft(reversed(self._orphans))
                self._orphans = []
            elif snapshot.last_update_id > book.last_update_id:
                self._spare = snapshot
        elif book is None:
            self._orphans.append(message)
            del self._orphans[:-LONGEST_HISTORY]
        elif message.last_id <= book.last_update_id:
            pass  # already in the snapshot
        elif message.first_id <= book.last_update_id + 1:
            book.apply(message.raw, message.last_id)
        else:
            self._miss(message)

    def _miss(self, message: VenueMessage) -> None:
        """Messages are missing before this one: go on from a snapshot, else the book is unknown until the next one."""
        self._book, self._spare = self._spare, None
        if self._book is not None and message.first_id <= self._book.last_update_id + 1:
            self._waiting.appendleft(message)
        else:
            self._book = None
            self._orphans = [message]


def _levels(levels: Any) -> dict[int, int]:
    return {parse_fixed(price): parse_fixed(quantity) for price, quantity in levels}
