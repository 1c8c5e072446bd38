"""What a venue says, in the order in which it says it: raw texts with what is needed to route and order them.

Belongs here: the message type all sources share and the JSON of depth updates, trades and snapshots. Does not belong
here: where the messages come from (``order_flow.py``, ``recording.py``) or go to (``server.py``).
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final, NamedTuple

from signal_assets.fixed_point import SCALE


class MessageKind(IntEnum):
    """Kinds of messages; snapshots and past trades are served by REST only."""

    DEPTH = 0
    TRADE = 1
    BOOK_TICKER = 2
    SNAPSHOT = 3
    PAST_TRADES = 4


STREAM_SUFFIX: Final = {
    MessageKind.DEPTH: "depth@100ms",
    MessageKind.TRADE: "trade",
    MessageKind.BOOK_TICKER: "bookTicker",
    MessageKind.SNAPSHOT: "snapshot",
    MessageKind.PAST_TRADES: "historicalTrades",
}


class VenueMessage(NamedTuple):
    """One message of a venue.

    Parameters
    ----------
    received : int
        When a client receives it, ns UTC; the virtual clock follows it.
    kind : MessageKind
        What it is.
    stream : str
        Name of its stream, ``btcfdusd@trade``.
    symbol : str
        ``BTCFDUSD``.
    first_id, last_id : int
        ``U`` and ``u`` of a depth update, the trade id (range), or the id of a snapshot.
    raw : bytes
        The combined-stream text ``{"stream":…,"data":…}``.
    on_wire : bool
        False for what clients never see on the stream: REST-only messages and those of a planned feed gap.
    """

    received: int
    kind: int
    stream: str
    symbol: str
    first_id: int
    last_id: int
    raw: bytes
    on_wire: bool


def stream_name(symbol: str, kind: MessageKind) -> str:
    """Name of a stream, ``btcfdusd@depth@100ms``."""
    return f"{symbol.lower()}@{STREAM_SUFFIX[kind]}"


def decimal_text(units: int) -> str:
    """Non-negative units of 1e-8 as the exchange writes them.

    Examples
    --------
    >>> decimal_text(6173763000000)
    '61737.63000000'
    """
    return f"{units // SCALE}.{units % SCALE:08d}"


def levels_text(levels: Iterable[tuple[int, int]]) -> str:
    """Price levels in units of 1e-8 as JSON."""
    return ",".join([f'["{decimal_text(price)}","{decimal_text(quantity)}"]' for price, quantity in levels])


def snapshot_text(last_update_id: int, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]) -> str:
    """The answer of ``/api/v3/depth``."""
    return f'{{"lastUpdateId":{last_update_id},"bids":[{levels_text(bids)}],"asks":[{levels_text(asks)}]}}'


def combined(stream: str, data: str) -> bytes:
    """A combined-stream message."""
    return f'{{"stream":"{stream}","data":{data}}}'.encode()


def bare(raw: bytes) -> bytes:
    """The ``data`` of a combined-stream message, as sent on ``/ws/<stream>``.

    Examples
    --------
    >>> bare(b'{"stream":"x@trade","data":{"e":"trade"}}')
    b'{"e":"trade"}'
    """
    return raw[raw.index(b'"data":') + 7 : raw.rindex(b"}")]
