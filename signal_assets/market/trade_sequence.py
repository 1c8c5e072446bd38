"""The trades of one instrument as a sequence of contiguous ids: what is missing, what comes twice, what REST fills in.

Belongs here: ids and which trades to ask for. Does not belong here: rows, lateness, clocks (``instrument_ingest``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from operator import attrgetter

from signal_assets.market.ingest_protocol import TradesRequest
from signal_assets.market.messages import Trade


class TradeOrder(IntEnum):
    """How a trade of the stream lies to the last one taken."""

    REFUTED = -2
    REPEATED = -1
    NEXT = 0
    AFTER_GAP = 1


@dataclass(slots=True)
class _Refill:
    """Ids to fetch: up to ``until`` (exclusive) after a jump; after a restart up to the event time ``newest``.

    ``confirming``: nothing lies before ``until``, and REST is asked whether there is such a trade at all.
    """

    until: int | None
    newest: int
    confirming: bool = False


class TradeSequence:
    """Where the trade ids of one instrument have got to.

    After a jump of ids the hole is fetched up to the trade that showed it. Where REST has nothing to fill it with, it
    must at least know that trade: one spoilt id that was believed would make every later trade a repeated one. A true
    trade that REST does not know yet is fetched when the next one shows the hole again.

    After a restart there is no such trade, so everything is fetched that was matched before the first message of the
    new connection: what was matched later comes by the stream, so that the outcome does not depend on how fast REST
    answers.

    Parameters
    ----------
    last_id : int or None
        Last trade an earlier process has handed on. It is fetched once more, for its price alone.
    page : int
        Most trades in one REST answer.
    """

    __slots__ = ("_given_up", "_instrument", "_page", "_refill", "_refuted", "_seed_id", "last_id")

    def __init__(self, instrument: str, last_id: int | None, page: int) -> None:
        self._instrument = instrument
        self._page = page
        self.last_id = last_id
        self._seed_id = last_id
        self._refill: _Refill | None = None
        self._given_up: int | None = None
        self._refuted: int | None = None

    def order(self, trade_id: int) -> TradeOrder:
        """How a trade of the stream lies to the last one; a hole that REST cannot fill is no longer one."""
        last = self.last_id
        if trade_id == self._refuted:
            self._refuted = None
            return TradeOrder.REFUTED
        if last is None or trade_id == last + 1 or (trade_id == self._given_up and trade_id > last):
            return TradeOrder.NEXT
        return TradeOrder.REPEATED if trade_id <= last else TradeOrder.AFTER_GAP

    def fill_before(self, trade_id: int) -> TradesRequest:
        """Begin to fetch the trades missing before ``trade_id``."""
        self._refill = _Refill(trade_id, 0)
        return self._request()

    def fill_after_restart(self, newest: int) -> TradesRequest | None:
        """Begin to fetch what was matched up to event time ``newest``; None if there was no trade before."""
        if self.last_id is None:
            return None
        self._refill = _Refill(None, newest)
        return self._request()

    def missing(self, trades: Sequence[Trade], first_held: int | None) -> Iterator[Trade]:
        """Those trades of a REST answer that are to be taken, ascending; the caller sets :attr:`last_id` for each."""
        refill = self._refill
        if refill is None or refill.confirming:
            return
        until = refill.until if refill.until is not None else first_held
        for trade in sorted(trades, key=attrgetter("trade_id")):
            if self.last_id is not None and trade.trade_id <= self.last_id:
                continue
            beyond = until is not None and trade.trade_id >= until
            if refill.until is None and (beyond or trade.event_time > refill.newest):
                self._refill = None  # from here on the stream has them
                return
            if beyond:
                return
            yield trade

    def seed(self, trades: Sequence[Trade]) -> Trade | None:
        """The last trade of the earlier process, if the answer has it: it tells the last price."""
        wanted, self._seed_id = self._seed_id, None
        return next((trade for trade in trades if trade.trade_id == wanted), None)

    def after_answer(self, request: TradesRequest, trades: Sequence[Trade], taken: int) -> TradesRequest | None:
        """The next request of the refill going on, None when it is over.

        Parameters
        ----------
        request : TradesRequest
            The one just answered, with ``trades`` of which ``taken`` were new.
        """
        refill = self._refill
        if refill is None or self.last_id is None:
            return None
        if refill.until is not None:
            if refill.confirming:
                refill.confirming = all(trade.trade_id != refill.until for trade in trades)
                self.give_up()
                return None
            if self.last_id + 1 >= refill.until:
                self._refill = None
                return None
            if taken:
                return self._request()
            refill.confirming = True
            return TradesRequest(self._instrument, refill.until, 1)
        if len(trades) >= request.limit and taken:
            return self._request()
        self._refill = None
        return None

    def give_up(self) -> None:
        """REST does not have them: go on with the trade that showed the hole, or without it if it is not confirmed."""
        if self._refill is not None and self._refill.confirming:
            self._refuted = self._refill.until
        elif self._refill is not None:
            self._given_up = self._refill.until
        self._refill = None

    def _request(self) -> TradesRequest:
        assert self.last_id is not None  # noqa: S101  (for the type checker: a refill needs a last trade)
        assert self._refill is not None  # noqa: S101
        limit = self._page
        if self._refill.until is not None:
            limit = min(limit, self._refill.until - self.last_id - 1)
        first = self.last_id if self._seed_id == self.last_id and self._refill.until is None else self.last_id + 1
        return TradesRequest(self._instrument, first, limit)
