"""Binance's JSON, spot and USD-M futures, turned into our messages, exactly and quickly.

Belongs here: the field names and rules of Binance's messages. Does not belong here: sockets and HTTP
(``binance_client.py``), reading the usual form fast (``binance_text.py``).

A text of the usual form is read by the compiled readers; whatever deviates from it, and so everything that is wrong, by
the general parser below, which alone says what is wrong.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson

from resources.exchange.binance_text import (
    AGGREGATED_TRADE,
    BOOK_TICKER,
    DEPTH,
    FUTURES_DEPTH,
    TRADE,
    numbers_for,
    read_message,
    read_snapshot,
)
from signal_assets.event_time import MILLISECOND
from signal_assets.fixed_point import MAXIMUM, FixedPointError, parse_fixed
from signal_assets.instrument import Instrument
from signal_assets.market.messages import (
    BookTicker,
    DepthSnapshot,
    DepthUpdate,
    MalformedMessageError,
    Message,
    PriceLevels,
    Trade,
)

LATEST_MILLISECOND: Final = MAXIMUM // MILLISECOND
PERPETUAL: Final = "-PERP"
"""How our symbols tell a perpetual from the spot pair of the same name (spot symbols have no hyphen)."""
CACHED_TEXTS: Final = 1 << 16
LARGEST_MESSAGE_READ_FAST: Final = 1 << 20
"""A stream's message beyond this many bytes is none of the usual; the room for its levels is not kept for it."""
TRADE_KINDS: Final = {"trade": TRADE, "aggTrade": AGGREGATED_TRADE}


def is_perpetual(instrument: Instrument) -> bool:
    """Whether the instrument is a perpetual, which has a protocol and addresses of its own."""
    return instrument.symbol.endswith(PERPETUAL)


def exchange_symbol(instrument: Instrument) -> str:
    """The exchange's own name of an instrument: ``BTCUSDT`` of ``BTCUSDT-PERP``."""
    return instrument.symbol.removesuffix(PERPETUAL)


@lru_cache(maxsize=CACHED_TEXTS)
def money(text: str) -> int:
    """Units of 1e-8 of a decimal text; remembers, since prices and sizes come again and again.

    Raises
    ------
    FixedPointError
        As :func:`signal_assets.fixed_point.parse_fixed`.
    """
    if isinstance(text, str) and text[-9:-8] == ".":  # Binance always writes eight decimals
        digits = text[:-9] + text[-8:]
        if digits.isascii() and digits.isdigit() and len(digits) < 19 and len(digits) > 8:
            return int(digits)
    return parse_fixed(text)


class MessageParser:
    """Parser of one venue's stream and REST answers.

    Parameters
    ----------
    instruments : sequence of Instrument
        What we listen to; a message about anything else is malformed.
    futures : bool
        Whether these are USD-M perpetuals: their symbols go without our suffix ``-PERP`` on the wire, and their depth
        updates carry ``pu``.

    Notes
    -----
    A depth update is refused for its structure only. A level that no book can hold (negative quantity, price beyond
    int64) is left out, counted in :attr:`refused_levels` and described in :meth:`drain_remarks`, since refusing the
    whole update would break the sequence.
    """

    def __init__(self, instruments: Sequence[Instrument], *, futures: bool = False) -> None:
        self.by_symbol: Mapping[str, Instrument] = {
            exchange_symbol(instrument): instrument for instrument in instruments
        }
        self.refused_levels = 0
        self._futures = futures
        self._keys = {symbol: instrument.key for symbol, instrument in self.by_symbol.items()}
        self._remarks: list[tuple[str, int, str]] = []
        # For the compiled readers: who may say what, by the bytes of the symbol.
        self._depth_kind = FUTURES_DEPTH if futures else DEPTH
        self._readable = {
            symbol.encode(): (instrument.key, TRADE_KINDS[instrument.trade_stream])
            for symbol, instrument in self.by_symbol.items()
        }
        self._numbers = numbers_for(1 << 16)

    def drain_remarks(self) -> list[tuple[str, int, str]]:
        """Levels left out since the last call: (instrument key, event time, one line)."""
        remarks, self._remarks = self._remarks, []
        return remarks

    def parse(self, received_ns: int, raw: bytes) -> Message | None:
        """One text frame; ``None`` for the answer to a subscription.

        Raises
        ------
        MalformedMessageError
            With one line that says what is wrong.
        """
        numbers = self._numbers
        if type(raw) is bytes and (len(raw) <= 4 * len(numbers) or self._make_room(len(raw))):
            kind, start, end, one, two, three, four, five, six = read_message(raw, self._numbers)
            readable = self._readable.get(raw[start:end])
            if readable is not None:
                if kind == readable[1]:
                    return Trade(readable[0], one, two * 1000, received_ns // 1000, three, four, five == 1, six * 1000)
                if kind == self._depth_kind:
                    levels = self._numbers
                    return DepthUpdate(
                        readable[0],
                        one * 1000,
                        received_ns // 1000,
                        two,
                        three,
                        PriceLevels(levels[:five].copy()),
                        PriceLevels(levels[five:six].copy()),
                        four if kind == FUTURES_DEPTH else None,
                    )
                if kind == BOOK_TICKER:
                    return BookTicker(readable[0], received_ns // 1000, one, two, three, four, five)
        return self.parse_any(received_ns, raw)

    def _make_room(self, length: int) -> bool:
        if length <= LARGEST_MESSAGE_READ_FAST:
            self._numbers = numbers_for(2 * length)
        return length <= LARGEST_MESSAGE_READ_FAST

    def parse_any(self, received_ns: int, raw: bytes) -> Message | None:
        """As :meth:`parse`, in whatever form the message is written."""
        try:
            message = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise MalformedMessageError(f"not JSON: {error}") from error
        if type(message) is not dict:
            raise MalformedMessageError(f"not an object: {raw[:60]!r}")
        data = message.get("data", message)
        if type(data) is not dict:
            raise MalformedMessageError(f"'data' is not an object: {raw[:60]!r}")
        try:
            return self._message(received_ns // 1000, message, data)
        except KeyError as error:
            raise MalformedMessageError(f"{_name(message, data)}: field {error.args[0]!r} is missing") from error
        except (FixedPointError, TypeError, ValueError) as error:
            if isinstance(error, MalformedMessageError):
                raise
            raise MalformedMessageError(f"{_name(message, data)}: {error}") from error

    def snapshot(self, instrument: Instrument, raw: bytes) -> DepthSnapshot:
        """Answer of ``/depth``, as text.

        Raises
        ------
        MalformedMessageError
            If it is no picture of a book: one impossible level is enough.
        orjson.JSONDecodeError
            If it is no JSON.
        """
        numbers = numbers_for(len(raw))
        last, bids, both = read_snapshot(raw, numbers)
        if last >= 0:
            return DepthSnapshot(
                instrument.key, last, PriceLevels(numbers[:bids].copy()), PriceLevels(numbers[bids:both].copy())
            )
        return self.snapshot_of(instrument, orjson.loads(raw))

    def snapshot_of(self, instrument: Instrument, answer: object) -> DepthSnapshot:
        """As :meth:`snapshot`, of the answer's content in whatever form it was written."""
        if type(answer) is not dict:
            raise MalformedMessageError(f"{instrument.key} depth snapshot: not an object")
        try:
            return DepthSnapshot(
                instrument=instrument.key,
                last_update_id=_count(answer, "lastUpdateId"),
                bids=PriceLevels.of([_snapshot_level(level) for level in answer["bids"]]),
                asks=PriceLevels.of([_snapshot_level(level) for level in answer["asks"]]),
            )
        except KeyError as error:
            raise MalformedMessageError(
                f"{instrument.key} depth snapshot: field {error.args[0]!r} is missing"
            ) from error
        except (TypeError, ValueError, IndexError) as error:
            raise MalformedMessageError(f"{instrument.key} depth snapshot: {error}") from error

    def rest_trade(self, instrument: Instrument, received_time: int, answer: object) -> Trade:
        """One element of ``/api/v3/historicalTrades`` or ``/api/v3/aggTrades``."""
        if type(answer) is not dict:
            raise MalformedMessageError(f"{instrument.key} trade by REST: not an object")
        names = ("a", "T", "p", "q", "m") if "a" in answer else ("id", "time", "price", "qty", "isBuyerMaker")
        try:
            time = _time(answer, names[1])
            return Trade(
                instrument=instrument.key,
                trade_id=_count(answer, names[0]),
                event_time=time,
                received_time=received_time,
                price=_positive(answer, names[2]),
                quantity=_positive(answer, names[3]),
                is_buyer_maker=_flag(answer, names[4]),
                clock=time,
                by_rest=True,
            )
        except KeyError as error:
            raise MalformedMessageError(
                f"{instrument.key} trade by REST: field {error.args[0]!r} is missing"
            ) from error
        except (TypeError, ValueError) as error:
            raise MalformedMessageError(f"{instrument.key} trade by REST: {error}") from error

    def _message(self, received: int, message: dict[str, Any], data: dict[str, Any]) -> Message | None:
        kind = data.get("e")
        if kind is None and "s" not in data:
            if "id" in message and message.get("result", 0) is None:
                return None
            if "stream" in message:
                raise KeyError("s")
            raise MalformedMessageError(f"neither a market message nor an answer: {orjson.dumps(message)[:80]!r}")
        symbol = data["s"]
        key = self._keys.get(symbol) if type(symbol) is str else None
        if key is None:
            raise MalformedMessageError(f"unknown instrument {symbol!r}")
        if kind == "depthUpdate":
            return self._depth_update(key, received, data)
        if kind in ("trade", "aggTrade"):
            if kind != self.by_symbol[symbol].trade_stream:
                raise MalformedMessageError(f"{key}: a {kind!r} message, but this instrument has the other kind of ids")
            return _trade(key, received, data, "t" if kind == "trade" else "a")
        if kind is None and "u" in data:
            return BookTicker(
                instrument=key,
                received_time=received,
                update_id=_count(data, "u"),
                best_bid=money(data["b"]),
                bid_quantity=money(data["B"]),
                best_ask=money(data["a"]),
                ask_quantity=money(data["A"]),
            )
        raise MalformedMessageError(f"{key}: unknown event {kind!r}")

    def _depth_update(self, key: str, received: int, data: dict[str, Any]) -> DepthUpdate:
        first, final, time = _count(data, "U"), _count(data, "u"), _time(data, "E")
        if first > final:
            raise MalformedMessageError(f"{key}: first update id {first} is after the final one {final}")
        previous = _count(data, "pu") if self._futures else None
        bids, asks = self._levels(key, time, data["b"]), self._levels(key, time, data["a"])
        return DepthUpdate(key, time, received, first, final, PriceLevels.of(bids), PriceLevels.of(asks), previous)

    def _levels(self, key: str, time: int, levels: Any) -> list[tuple[int, int]]:
        if type(levels) is not list:
            raise TypeError("levels are not a list")
        try:
            parsed = [(money(price), money(quantity)) for price, quantity in levels]
        except FixedPointError:
            parsed = []
        else:
            # every text was a number: only signs are left to check, and those almost never fail
            if not parsed or (min(parsed)[0] > 0 and min([level[1] for level in parsed]) >= 0):
                return parsed
        return [level for level in (self._careful_level(key, time, item) for item in levels) if level is not None]

    def _careful_level(self, key: str, time: int, item: Any) -> tuple[int, int] | None:
        """One level of an update that holds a strange one: structure raises, an impossible value is left out."""
        price_text, quantity_text = item
        if type(price_text) is not str or type(quantity_text) is not str:
            raise TypeError(f"a level is not a pair of texts: {item!r}"[:120])
        try:
            price, quantity = money(price_text), money(quantity_text)
        except FixedPointError as error:
            if not _is_plain_number(price_text) or not _is_plain_number(quantity_text):
                raise
            reason = str(error)
        else:
            if price > 0 and quantity >= 0:
                return price, quantity
            reason = f"impossible level {price_text} × {quantity_text}"
        self.refused_levels += 1
        self._remarks.append((key, time, f"level left out: {reason}"))
        return None


def _trade(key: str, received: int, data: dict[str, Any], id_field: str) -> Trade:
    time = _time(data, "T")
    return Trade(
        key,
        _count(data, id_field),
        time,
        received,
        _positive(data, "p"),
        _positive(data, "q"),
        _flag(data, "m"),
        max(time, _time(data, "E")),
    )


def _count(data: Mapping[str, Any], field: str) -> int:
    value = data[field]
    if type(value) is not int or not 0 <= value <= MAXIMUM:
        raise TypeError(f"field {field!r} is not a count: {value!r}")
    return value


def _time(data: Mapping[str, Any], field: str) -> int:
    value = data[field]
    if type(value) is not int or not 0 < value <= LATEST_MILLISECOND:
        raise TypeError(f"field {field!r} is not a time in milliseconds: {value!r}")
    return value * MILLISECOND


def _positive(data: Mapping[str, Any], field: str) -> int:
    value = money(data[field])
    if value <= 0:
        raise ValueError(f"field {field!r} is not positive: {data[field]!r}")
    return value


def _flag(data: Mapping[str, Any], field: str) -> bool:
    value = data[field]
    if type(value) is not bool:
        raise TypeError(f"field {field!r} is not true or false: {value!r}")
    return value


def _snapshot_level(level: Any) -> tuple[int, int]:
    if type(level) is not list or len(level) < 2 or type(level[0]) is not str or type(level[1]) is not str:
        raise TypeError(f"a level is not a pair of texts: {level!r}"[:120])
    price, quantity = money(level[0]), money(level[1])
    if price <= 0 or quantity < 0:
        raise ValueError(f"impossible level {level[:2]!r}")
    return price, quantity


def _is_plain_number(text: str) -> bool:
    body = text[1:] if text[:1] == "-" else text
    whole, _, fraction = body.partition(".")
    return whole.isascii() and whole.isdigit() and (fraction == "" or (fraction.isascii() and fraction.isdigit()))


def _name(message: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    return str(message.get("stream") or data.get("s") or data.get("e") or "message")[:60]
