"""What a venue has served so far, for REST: books at a position, trades, filters, the virtual clock.

Belongs here: the answers. Does not belong here: HTTP (``server.py``) and the pace of the stream.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import orjson

from services.simulated_venue.book_history import Book, BookHistory
from services.simulated_venue.recording import RecordingError, rest_trade
from services.simulated_venue.venue_message import MessageKind, VenueMessage, bare, decimal_text
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument

LONGEST_TAPE: Final = 100_000
LOOK_AHEAD: Final = 100_000
"""Messages read ahead in search of a snapshot, so that a recording without one does not end up in memory."""
WEIGHT_LIMIT: Final = 1_000_000_000
"""Of request weight per minute: virtual time may run a thousand times faster than the minute."""


class ServedMarket:
    """The source's messages with what REST knows after each of them.

    Parameters
    ----------
    source : iterator of VenueMessage
        Messages in the order of their reception.
    instruments : sequence of Instrument
        For the filters; an instrument that only the source knows gets a tick of 0.01 and a lot of 0.00001.
    """

    def __init__(self, source: Iterator[VenueMessage], instruments: Sequence[Instrument]) -> None:
        self._source = source
        self._ahead: deque[VenueMessage] = deque()
        self._instruments = {instrument.symbol: instrument for instrument in instruments}
        self._books: dict[str, BookHistory] = {}
        self._tapes: dict[str, deque[tuple[int, VenueMessage | dict[str, Any]]]] = {}
        self.served = 0
        self.received = 0
        self.failure: RecordingError | None = None

    @property
    def symbols(self) -> set[str]:
        """Instruments known from configuration or from what was served."""
        return set(self._instruments) | set(self._books) | set(self._tapes)

    def peek(self) -> VenueMessage | None:
        """The message to be served next; ``None`` at the end.

        Raises
        ------
        RecordingError
            Once everything before the unreadable place was served.
        """
        if not self._ahead:
            message = self._draw()
            if message is None:
                if self.failure is not None:
                    raise self.failure
                return None
            self._ahead.append(message)
        return self._ahead[0]

    def take(self, due: float, most: int) -> list[VenueMessage]:
        """Serve up to ``most`` messages received at ``due`` (ns) or before."""
        taken: list[VenueMessage] = []
        while len(taken) < most and (message := self.peek()) is not None and message.received <= due:
            self._ahead.popleft()
            self._remember(message)
            taken.append(message)
        return taken

    def depth(self, symbol: str, position: int | None) -> Book | None:
        """The book at ``position``; where the source's book is not known there, its next snapshot at or after it."""
        history = self._books.setdefault(symbol, BookHistory())
        book = history.at(position)
        if book is not None:
            return book
        return self._next_snapshot(symbol, position or 0)

    def trades_from(self, symbol: str, from_id: int, limit: int, last_id: int | None) -> list[dict[str, Any]]:
        """Served trades with ids from ``from_id`` to ``last_id``, oldest first."""
        tape = self._tapes.get(symbol, deque())
        if not tape:
            return []
        # ids rarely jump, so begin close to where the id must be and step back over what is newer
        index = min(len(tape), max(0, from_id - tape[0][0]))
        while index > 0 and tape[index - 1][0] >= from_id:
            index -= 1
        chosen = (
            item for number, item in islice(tape, index, None) if number >= from_id and (last_id or number) >= number
        )
        return [_as_rest(item) for item in islice(chosen, limit)]

    def newest_trades(self, symbol: str, limit: int) -> list[dict[str, Any]]:
        """The newest served trades, oldest first."""
        tape = self._tapes.get(symbol, deque())
        return [_as_rest(item) for _, item in islice(tape, max(0, len(tape) - limit), None)]

    def exchange_information(self, symbols: Sequence[str] | None) -> dict[str, Any]:
        """The answer of ``/api/v3/exchangeInfo``."""
        return {
            "timezone": "UTC",
            "serverTime": self.received // 1_000_000,
            "rateLimits": [
                {
                    "rateLimitType": "REQUEST_WEIGHT",
                    "interval": "MINUTE",
                    "intervalNum": 1,
                    "limit": WEIGHT_LIMIT,
                }
            ],
            "exchangeFilters": [],
            "symbols": [self._symbol_information(symbol) for symbol in symbols or sorted(self.symbols)],
        }

    def _symbol_information(self, symbol: str) -> dict[str, Any]:
        instrument = self._instruments.get(symbol)
        base, _, quote = instrument.pair.partition("/") if instrument is not None else (symbol, "", "")
        tick = decimal_text(instrument.tick_size if instrument is not None else SCALE // 100)
        lot = decimal_text(instrument.lot_size if instrument is not None else SCALE // 100_000)
        return {
            "symbol": symbol,
            "status": "TRADING",
            "baseAsset": base,
            "quoteAsset": quote,
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "10000000.00000000", "tickSize": tick},
                {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "10000000.00000000", "stepSize": lot},
            ],
        }

    def _remember(self, message: VenueMessage) -> None:
        self.served += 1
        self.received = max(self.received, message.received)
        kind = message.kind
        if kind in (MessageKind.DEPTH, MessageKind.SNAPSHOT):
            history = self._books.get(message.symbol)
            if history is None:
                history = self._books[message.symbol] = BookHistory()
            history.add(message)
        elif kind == MessageKind.TRADE:
            self._append(message.symbol, message.first_id, message)
        elif kind == MessageKind.PAST_TRADES:
            for trade in orjson.loads(bare(message.raw)):
                self._append(message.symbol, trade["id"], trade)

    def _append(self, symbol: str, number: int, trade: VenueMessage | dict[str, Any]) -> None:
        tape = self._tapes.get(symbol)
        if tape is None:
            tape = self._tapes[symbol] = deque(maxlen=LONGEST_TAPE)
        tape.append((number, trade))
        index = len(tape) - 1
        while index > 0 and tape[index - 1][0] > number:  # the trades of a gap come after what followed it
            tape[index], tape[index - 1] = tape[index - 1], tape[index]
            index -= 1

    def _next_snapshot(self, symbol: str, position: int) -> Book | None:
        for message in self._look_ahead():
            if message.kind == MessageKind.SNAPSHOT and message.symbol == symbol and message.first_id >= position:
                return Book.of_snapshot(message.raw)
        return None

    def _draw(self) -> VenueMessage | None:
        try:
            return next(self._source, None)
        except RecordingError as error:
            self.failure = error
            return None

    def _look_ahead(self) -> Iterator[VenueMessage]:
        yield from self._ahead
        while len(self._ahead) < LOOK_AHEAD and (message := self._draw()) is not None:
            self._ahead.append(message)
            yield message


def _as_rest(trade: VenueMessage | dict[str, Any]) -> dict[str, Any]:
    return rest_trade(trade.raw) if isinstance(trade, VenueMessage) else trade


def frames(messages: Sequence[VenueMessage], wanted: Callable[[VenueMessage], bool], *, only_data: bool) -> bytes:
    """WebSocket text frames (unmasked, as servers send them; RFC 6455, section 5.2) of the wanted messages."""
    parts: list[bytes] = []
    for message in messages:
        if message.on_wire and wanted(message):
            raw = bare(message.raw) if only_data else message.raw
            parts.append(frame_head(len(raw)))
            parts.append(raw)
    return b"".join(parts)


def frame_head(length: int) -> bytes:
    """Head of one final, unmasked text frame.

    Examples
    --------
    >>> frame_head(5).hex(), frame_head(300).hex()
    ('8105', '817e012c')
    """
    if length < 126:
        return bytes((0x81, length))
    if length < 65_536:
        return b"\x81\x7e" + length.to_bytes(2, "big")
    return b"\x81\x7f" + length.to_bytes(8, "big")
