"""What a recording's instruments are, found in the recording itself.

Belongs here: pair, tick, lot and bucket of symbols that the configuration does not list. Does not belong here: serving.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from services.simulated_venue.venue_message import MessageKind, VenueMessage
from signal_assets.fixed_point import SCALE, format_fixed, parse_fixed
from signal_assets.instrument import automatic_bucket_size

QUOTES: Final = ("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "JPY")
ENOUGH_MESSAGES: Final = 20_000
ONE_UNIT_FROM: Final = 10_000 * SCALE
"""From this price on a bucket is one quote unit, as users expect; below, the 1-2-5 step nearest to price x 1e-5."""


def split_pair(symbol: str) -> str:
    """Base and quote of a symbol.

    Examples
    --------
    >>> split_pair("BTCUSDT"), split_pair("ETHBTC")
    ('BTC/USDT', 'ETH/BTC')
    """
    for quote in QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return f"{symbol.removesuffix(quote)}/{quote}"
    return f"{symbol[:3]}/{symbol[3:] or symbol}"


def describe_instruments(messages: Iterable[VenueMessage], venue: str) -> list[dict[str, Any]]:
    """Configuration entries for the symbols in the first messages of a recording.

    Tick and lot are the greatest common divisors of all prices and quantities seen, so every one of them fits.
    """
    prices: dict[str, int] = {}
    ticks: dict[str, int] = {}
    lots: dict[str, int] = {}
    for count, message in enumerate(messages):
        if count >= ENOUGH_MESSAGES:
            break
        for price, quantity in _levels(message):
            ticks[message.symbol] = math.gcd(ticks.get(message.symbol, 0), price)
            lots[message.symbol] = math.gcd(lots.get(message.symbol, 0), quantity)
            prices.setdefault(message.symbol, price)
    return [_entry(symbol, venue, ticks[symbol], lots[symbol], prices[symbol]) for symbol in sorted(prices)]


def _entry(symbol: str, venue: str, tick: int, lot: int, price: int) -> dict[str, Any]:
    bucket = SCALE if price >= ONE_UNIT_FROM else automatic_bucket_size(price)
    bucket = max(bucket - bucket % tick, tick)
    return {
        "symbol": symbol,
        "venue": venue,
        "pair": split_pair(symbol),
        "group": "crypto",
        "tick_size": format_fixed(tick),
        "lot_size": format_fixed(max(lot, 1)),
        "bucket_size": format_fixed(bucket),
    }


def _levels(message: VenueMessage) -> list[tuple[int, int]]:
    content: Mapping[str, Any] = orjson.loads(message.raw)
    data = content.get("data", content)
    if message.kind == MessageKind.TRADE:
        return [(parse_fixed(data["p"]), parse_fixed(data["q"]))]
    if message.kind == MessageKind.DEPTH:
        levels = [*data["b"], *data["a"]]
    elif message.kind == MessageKind.SNAPSHOT:
        levels = [*data["bids"], *data["asks"]]
    else:
        levels = []
    return [(parse_fixed(price), parse_fixed(quantity)) for price, quantity in levels]
