"""Compiled readers of Binance's texts, from bytes to int64 in units of 1e-8, with no float and no object in between.

Belongs here: the exact form in which Binance writes its messages. Does not belong here: what is wrong with a message
of any other form, and what it means (``binance_messages.py``).

A reader accepts one form to the last byte: these fields in this order, no space, no escape, no sign, no exponent, at
most ten digits before the point and one to eight behind it. It says "not this form" to everything else, which is then
read by the general parser; so what is read here is only ever read faster, never differently.

Each reads until the first byte that does not fit. It cannot run over the end, since Python keeps a zero byte behind
the last one of every ``bytes`` and no form contains that.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled

Numbers = NDArray[np.int64]
Nine = tuple[int, int, int, int, int, int, int, int, int]

NOT_THIS_FORM: Final = 0
DEPTH: Final = 1
FUTURES_DEPTH: Final = 2
TRADE: Final = 3
AGGREGATED_TRADE: Final = 4
BOOK_TICKER: Final = 5

LONGEST_COUNT: Final = 18
LONGEST_TIME: Final = 15
MOST_WHOLE_DIGITS: Final = 10
POWERS: Final = np.array([10**power for power in range(9)], dtype=np.int64)
BYTES_PER_NUMBER: Final = 4
"""The shortest level, ``["1","0"]``, takes nine bytes for its two numbers."""

QUOTE, ESCAPE, COMMA, POINT, ZERO, OPEN, CLOSE, END = (ord(sign) for sign in '"\\,.0[]}')
FIRST_PRINTABLE, LAST_PRINTABLE = 32, 126


def _text(text: str) -> Numbers:
    return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)


STREAM, DATA = _text('{"stream":"'), _text('","data":')
EVENT, EVENT_TIME = _text('{"e":"'), _text('","E":')
MATCHING_TIME, SYMBOL = _text(',"T":'), _text(',"s":"')
KIND_DEPTH, KIND_TRADE, KIND_AGGREGATED = _text("depthUpdate"), _text("trade"), _text("aggTrade")
FIRST_ID, FINAL_ID, PREVIOUS_ID = _text('","U":'), _text(',"u":'), _text(',"pu":')
BIDS, ASKS = _text(',"b":'), _text(',"a":')
TRADE_ID, AGGREGATED_ID = _text('","t":'), _text('","a":')
PRICE, QUANTITY = _text(',"p":'), _text(',"q":')
FIRST_TRADE, LAST_TRADE = _text(',"f":'), _text(',"l":')
MAKER_TRUE, MAKER_FALSE = _text(',"m":true'), _text(',"m":false')
IGNORED_TRUE, IGNORED_FALSE = _text(',"M":true'), _text(',"M":false')
TICKER_ID, TICKER_BID = _text('{"u":'), _text('","b":')
BID_QUANTITY, ASK_QUANTITY = _text(',"B":'), _text(',"A":')
SNAPSHOT_ID, SNAPSHOT_EVENT_TIME = _text('{"lastUpdateId":'), _text(',"E":')
SNAPSHOT_BIDS, SNAPSHOT_ASKS = _text(',"bids":'), _text(',"asks":')


@compiled("text, integer, integers", "integer")
def _after(raw: bytes, at: int, expected: Numbers) -> int:
    """Where the text goes on behind ``expected``; -1 where something else stands, or nothing could."""
    if at < 0:
        return -1
    for index in range(len(expected)):
        if raw[at + index] != expected[index]:
            return -1
    return at + len(expected)


@compiled("text, integer, integer", "integer, integer")
def _count(raw: bytes, at: int, longest: int) -> tuple[int, int]:
    """A whole number without leading zeros, and where the text goes on behind it (-1: none is there)."""
    value, start = 0, at
    if at < 0:
        return 0, -1
    while ZERO <= raw[at] < ZERO + 10 and at - start <= longest:
        value = 10 * value + (raw[at] - ZERO)
        at += 1
    length = at - start
    if length == 0 or length > longest or (length > 1 and raw[start] == ZERO):
        return 0, -1
    return value, at


@compiled("text, integer", "integer, integer")
def _money(raw: bytes, at: int) -> tuple[int, int]:
    """A quoted decimal number in units of 1e-8, and where the text goes on behind it (-1: none is there)."""
    if at < 0 or raw[at] != QUOTE:
        return 0, -1
    at += 1
    value, start = 0, at
    while ZERO <= raw[at] < ZERO + 10 and at - start <= MOST_WHOLE_DIGITS:
        value = 10 * value + (raw[at] - ZERO)
        at += 1
    if at == start or at - start > MOST_WHOLE_DIGITS:
        return 0, -1
    decimals = 0
    if raw[at] == POINT:
        at += 1
        start = at
        while ZERO <= raw[at] < ZERO + 10 and at - start <= 8:
            value = 10 * value + (raw[at] - ZERO)
            at += 1
        decimals = at - start
        if decimals == 0 or decimals > 8:
            return 0, -1
    if raw[at] != QUOTE:
        return 0, -1
    return value * POWERS[8 - decimals], at + 1


@compiled("text, integer, own integers, integer", "integer, integer")
def _levels(raw: bytes, at: int, numbers: Numbers, used: int) -> tuple[int, int]:
    """A list of levels behind the first ``used`` numbers; how many there are then, and where the text goes on."""
    if at < 0 or raw[at] != OPEN:
        return 0, -1
    at += 1
    if raw[at] == CLOSE:
        return used, at + 1
    while True:
        if raw[at] != OPEN:
            return 0, -1
        price, at = _money(raw, at + 1)
        if price == 0 or at < 0 or raw[at] != COMMA:
            return 0, -1
        quantity, at = _money(raw, at + 1)
        if at < 0 or raw[at] != CLOSE:
            return 0, -1
        numbers[used], numbers[used + 1] = price, quantity
        used += 2
        at += 1
        if raw[at] == CLOSE:
            return used, at + 1
        if raw[at] != COMMA:
            return 0, -1
        at += 1


@compiled("text, integer", "integer")
def _name_end(raw: bytes, at: int) -> int:
    """Where a quoted name of plain characters ends; -1 if it holds any other."""
    if at < 0:
        return -1
    while raw[at] != QUOTE:
        if raw[at] < FIRST_PRINTABLE or raw[at] > LAST_PRINTABLE or raw[at] == ESCAPE:
            return -1
        at += 1
    return at


@compiled("text, integer, integer", "flag")
def _ends(raw: bytes, at: int, closing: int) -> bool:
    """Whether nothing but ``closing`` braces, one or two, stands at the end."""
    if at < 0 or at + closing != len(raw):
        return False
    return raw[at] == END and raw[len(raw) - 1] == END


NINE: Final = "integer, integer, integer, integer, integer, integer, integer, integer, integer"


@compiled("text, integer, integer, own integers", NINE)
def _depth(raw: bytes, at: int, closing: int, numbers: Numbers) -> Nine:
    nothing = (0, 0, 0, 0, 0, 0, 0, 0, 0)
    time, at = _count(raw, _after(raw, at, EVENT_TIME), LONGEST_TIME)
    ahead = _after(raw, at, MATCHING_TIME)
    if ahead >= 0:
        _, at = _count(raw, ahead, LONGEST_TIME)
    symbol = _after(raw, at, SYMBOL)
    symbol_end = _name_end(raw, symbol)
    first, at = _count(raw, _after(raw, symbol_end, FIRST_ID), LONGEST_COUNT)
    final, at = _count(raw, _after(raw, at, FINAL_ID), LONGEST_COUNT)
    kind, previous = DEPTH, 0
    ahead = _after(raw, at, PREVIOUS_ID)
    if ahead >= 0:
        kind = FUTURES_DEPTH
        previous, at = _count(raw, ahead, LONGEST_COUNT)
    bids, at = _levels(raw, _after(raw, at, BIDS), numbers, 0)
    if at < 0:
        return nothing
    both, at = _levels(raw, _after(raw, at, ASKS), numbers, bids)
    if not _ends(raw, at, closing) or time == 0 or first > final:
        return nothing
    return kind, symbol, symbol_end, time, first, final, previous, bids, both


@compiled("text, integer, integer, integer", NINE)
def _trade(raw: bytes, at: int, closing: int, kind: int) -> Nine:
    nothing = (0, 0, 0, 0, 0, 0, 0, 0, 0)
    time, at = _count(raw, _after(raw, at, EVENT_TIME), LONGEST_TIME)
    symbol = _after(raw, at, SYMBOL)
    symbol_end = _name_end(raw, symbol)
    at = _after(raw, symbol_end, TRADE_ID if kind == TRADE else AGGREGATED_ID)
    number, at = _count(raw, at, LONGEST_COUNT)
    price, at = _money(raw, _after(raw, at, PRICE))
    quantity, at = _money(raw, _after(raw, at, QUANTITY))
    if kind == AGGREGATED_TRADE:
        _, at = _count(raw, _after(raw, at, FIRST_TRADE), LONGEST_COUNT)
        _, at = _count(raw, _after(raw, at, LAST_TRADE), LONGEST_COUNT)
    matched, at = _count(raw, _after(raw, at, MATCHING_TIME), LONGEST_TIME)
    maker, ahead = 1, _after(raw, at, MAKER_TRUE)
    if ahead < 0:
        maker, ahead = 0, _after(raw, at, MAKER_FALSE)
    at = ahead
    ahead = max(_after(raw, at, IGNORED_TRUE), _after(raw, at, IGNORED_FALSE))
    if ahead >= 0:
        at = ahead
    if not _ends(raw, at, closing) or time == 0 or matched == 0 or price == 0 or quantity == 0:
        return nothing
    return kind, symbol, symbol_end, number, matched, price, quantity, maker, max(time, matched)


@compiled("text, integer, integer", NINE)
def _ticker(raw: bytes, at: int, closing: int) -> Nine:
    number, at = _count(raw, _after(raw, at, TICKER_ID), LONGEST_COUNT)
    symbol = _after(raw, at, SYMBOL)
    symbol_end = _name_end(raw, symbol)
    bid, at = _money(raw, _after(raw, symbol_end, TICKER_BID))
    bid_quantity, at = _money(raw, _after(raw, at, BID_QUANTITY))
    ask, at = _money(raw, _after(raw, at, ASKS))
    ask_quantity, at = _money(raw, _after(raw, at, ASK_QUANTITY))
    if not _ends(raw, at, closing):
        return 0, 0, 0, 0, 0, 0, 0, 0, 0
    return BOOK_TICKER, symbol, symbol_end, number, bid, bid_quantity, ask, ask_quantity, 0


@compiled("text, own integers", NINE)
def read_message(raw: bytes, numbers: Numbers) -> Nine:
    """Read one message of a stream, with or without the wrapper of a combined one.

    Parameters
    ----------
    raw : bytes
        The text.
    numbers : ndarray of int64, at least ``len(raw) // 4``
        Receives the levels, price and quantity by turns, bids before asks, in units of 1e-8.

    Returns
    -------
    tuple of nine int
        Kind, then where the symbol begins and ends, then: of a depth update E (ms), U, u, pu, how many numbers the bids
        take and how many both sides; of a trade its id, T (ms), price, quantity, m and the later of E and T; of a book
        ticker u, bid, its quantity, ask, its quantity. The kind is ``NOT_THIS_FORM`` where a byte deviates.
    """
    at, closing = 0, 1
    ahead = _after(raw, 0, STREAM)
    if ahead >= 0:
        at, closing = _after(raw, _name_end(raw, ahead), DATA), 2
    kind = _after(raw, at, EVENT)
    if kind < 0:
        return _ticker(raw, at, closing)
    ahead = _after(raw, kind, KIND_DEPTH)
    if ahead >= 0:
        return _depth(raw, ahead, closing, numbers)
    ahead = _after(raw, kind, KIND_TRADE)
    if ahead >= 0:
        return _trade(raw, ahead, closing, TRADE)
    return _trade(raw, _after(raw, kind, KIND_AGGREGATED), closing, AGGREGATED_TRADE)


@compiled("text, own integers", "integer, integer, integer")
def read_snapshot(raw: bytes, numbers: Numbers) -> tuple[int, int, int]:
    """Read the answer of ``/depth``, spot or futures.

    Parameters
    ----------
    raw, numbers
        As in :func:`read_message`.

    Returns
    -------
    tuple of three int
        The update id (-1 where a byte deviates from the form), how many numbers the bids take and how many both sides.
    """
    last, at = _count(raw, _after(raw, 0, SNAPSHOT_ID), LONGEST_COUNT)
    ahead = _after(raw, at, SNAPSHOT_EVENT_TIME)
    if ahead >= 0:
        _, at = _count(raw, ahead, LONGEST_TIME)
        _, at = _count(raw, _after(raw, at, MATCHING_TIME), LONGEST_TIME)
    bids, at = _levels(raw, _after(raw, at, SNAPSHOT_BIDS), numbers, 0)
    if at < 0:
        return -1, 0, 0
    both, at = _levels(raw, _after(raw, at, SNAPSHOT_ASKS), numbers, bids)
    if not _ends(raw, at, 1):
        return -1, 0, 0
    return last, bids, both


def numbers_for(length: int) -> Numbers:
    """Room for the levels of a text of that many bytes."""
    return np.empty(max(length // BYTES_PER_NUMBER, 1), dtype=np.int64)
