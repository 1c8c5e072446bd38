"""The compiled readers say exactly what the general parser says, of every message and of every spoilt one."""

import gzip
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.exchange.binance_messages import MessageParser
from resources.exchange.binance_text import (
    AGGREGATED_TRADE,
    BOOK_TICKER,
    DEPTH,
    FUTURES_DEPTH,
    NOT_THIS_FORM,
    TRADE,
    numbers_for,
    read_message,
    read_snapshot,
)
from signal_assets.instrument import Instrument
from signal_assets.market.messages import DepthUpdate, MalformedMessageError, Message, PriceLevels

RECEIVED = 1_723_161_254_087_896_568
SPOT = [
    Instrument("BTCUSDT", "BINANCE", "BTC/USDT", 1_000_000, 1_000),
    Instrument("ETHUSDT", "BINANCE", "ETH/USDT", 1_000_000, 10_000, trade_stream="aggTrade"),
]
FUTURES = [Instrument("BTCUSDT-PERP", "BINANCE", "BTC/USDT", 10_000_000, 100_000, trade_stream="aggTrade")]

# Decimal texts, sound ones mostly; whole numbers around the longest the readers take, and what no reader may take.
DIGITS = st.integers(0, 10**12).map(str) | st.text("0123456789", min_size=1, max_size=21)
SOUND = st.builds(lambda whole, part: f"{whole}.{part:08d}", st.integers(0, 10**6), st.integers(0, 10**8 - 1))
MONEY = SOUND | st.builds(lambda whole, part: f"{whole}.{part}", DIGITS, st.text("0123456789", max_size=10)) | DIGITS
ODD_MONEY = st.sampled_from(
    ["", ".", "1.", ".5", "-1.00000000", "+1.0", "1e5", "1E-3", "NaN", "abc", "1_0.0", " 1.0", "٣.٠", "0.000000001"]
)
ANY_MONEY = st.one_of(SOUND, SOUND, SOUND, MONEY, ODD_MONEY)
COUNTS = st.one_of(st.integers(0, 10**12), st.integers(10**14, 2**64), st.integers(-2, 2))
TIMES = st.one_of(st.integers(1, 2 * 10**12), st.integers(1, 2 * 10**12), COUNTS)
SYMBOLS = st.sampled_from(["BTCUSDT", "BTCUSDT", "ETHUSDT", "XYZ", "BTCUSDT-PERP", "", 'B"T', "BTCÜSDT"])


def pairs(money: st.SearchStrategy[str]) -> st.SearchStrategy[list[list[str]]]:
    return st.lists(st.lists(money, min_size=2, max_size=2), max_size=4)


LEVELS = st.one_of(pairs(SOUND), pairs(SOUND), pairs(ANY_MONEY), st.lists(st.lists(SOUND, max_size=3), max_size=2))


@st.composite
def contents(draw: st.DrawFn) -> dict[str, Any]:
    """The data of a message, with its fields in Binance's order."""
    kind = draw(st.sampled_from(["depth", "futures depth", "trade", "aggTrade", "ticker"]))
    symbol = draw(SYMBOLS)
    if "depth" in kind:
        futures = kind == "futures depth"
        first = draw(COUNTS)
        final = first + draw(st.integers(-1, 9))
        head = {"e": "depthUpdate", "E": draw(TIMES)} | ({"T": draw(TIMES)} if futures else {}) | {"s": symbol}
        ids = {"U": first, "u": final} | ({"pu": draw(COUNTS)} if futures else {})
        return head | ids | {"b": draw(LEVELS), "a": draw(LEVELS)}
    if kind == "ticker":
        prices = {name: draw(ANY_MONEY) for name in "bBaA"}
        return {"u": draw(COUNTS), "s": symbol} | prices
    head = {"e": kind, "E": draw(TIMES), "s": symbol, "t" if kind == "trade" else "a": draw(COUNTS)}
    ids = {"f": draw(COUNTS), "l": draw(COUNTS)} if kind == "aggTrade" else {}
    tail = {"T": draw(TIMES), "m": draw(st.booleans())} | ({"M": True} if draw(st.booleans()) else {})
    return head | {"p": draw(ANY_MONEY), "q": draw(ANY_MONEY)} | ids | tail


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """A message as it comes on the wire: with or without the wrapper, now and then with its fields out of order."""
    data = draw(contents())
    if draw(st.integers(0, 9)) == 0:
        data = dict(sorted(data.items()))
    wrapper = draw(st.integers(0, 3))
    message = {"stream": draw(st.sampled_from(["btcusdt@depth@100ms", "x", "ü", 'a"b'])), "data": data}
    text = orjson_text(message if wrapper else data)
    return text.replace(b",", b", ") if draw(st.integers(0, 19)) == 0 else text


def orjson_text(content: Any) -> bytes:
    """JSON without spaces; also of whole numbers beyond 64 bits."""
    try:
        return orjson.dumps(content)
    except TypeError:
        return (
            repr(content).replace("'", '"').replace("True", "true").replace("False", "false").replace(" ", "").encode()
        )


def spoil(text: bytes, seed: int) -> bytes:
    """A few bytes changed, left out, put in or doubled, or the end cut off."""
    rng = random.Random(seed)
    spoilt = bytearray(text)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(spoilt))
        match rng.randrange(6):
            case 0:
                spoilt[at] = rng.randrange(256)
            case 1:
                spoilt[at] = rng.choice(b'0123456789.-"[]{},:e')
            case 2:
                del spoilt[at : at + rng.randint(1, 12)]
            case 3:
                spoilt[at:at] = bytes(rng.choice(b'0019.-"[]{},: \x00') for _ in range(rng.randint(1, 3)))
            case 4:
                spoilt[at:at] = spoilt[at : at + rng.randint(1, 40)]
            case _:
                del spoilt[max(at, 1) :]
        if not spoilt:
            return b"{"
    return bytes(spoilt)


def outcome(parser: MessageParser, raw: bytes, *, general: bool) -> tuple[Message | str | None, Any, int]:
    """What a parser makes of a text: the message or the words of the refusal, and what it remarks."""
    result: Message | str | None
    try:
        result = parser.parse_any(RECEIVED, raw) if general else parser.parse(RECEIVED, raw)
    except MalformedMessageError as error:
        result = f"malformed: {error}"
        assert "\n" not in result
    return result, parser.drain_remarks(), parser.refused_levels


def check_agreement(instruments: list[Instrument], raw: bytes, *, futures: bool) -> None:
    read, general = (
        outcome(MessageParser(instruments, futures=futures), raw, general=general) for general in (False, True)
    )
    assert read == general
    assert type(read[0]) is type(general[0])


@given(raw=texts(), seed=st.integers(0, 2**32))
@settings(max_examples=400, deadline=None)
def test_both_agree_on_every_message_and_on_spoilt_ones(raw: bytes, seed: int) -> None:
    for text in (raw, spoil(raw, seed), spoil(raw, seed + 1)):
        check_agreement(SPOT, text, futures=False)
        check_agreement(FUTURES, text, futures=True)


def test_the_usual_forms_are_read_without_the_general_parser() -> None:
    numbers = numbers_for(1_000)
    usual = {
        b'{"e":"depthUpdate","E":1,"s":"B","U":1,"u":2,"b":[],"a":[["2","0.5"]]}': DEPTH,
        b'{"e":"depthUpdate","E":1,"T":2,"s":"B","U":1,"u":2,"pu":0,"b":[["1.10","3"]],"a":[]}': FUTURES_DEPTH,
        b'{"e":"trade","E":1,"s":"B","t":3,"p":"1.0","q":"2.0","T":1,"m":false,"M":true}': TRADE,
        b'{"e":"aggTrade","E":1,"s":"B","a":3,"p":"1.0","q":"2.0","f":1,"l":2,"T":1,"m":true}': AGGREGATED_TRADE,
        b'{"u":5,"s":"B","b":"1.0","B":"2.0","a":"3.0","A":"4.0"}': BOOK_TICKER,
    }
    for data, kind in usual.items():
        assert read_message(data, numbers)[0] == kind
        assert read_message(b'{"stream":"b@x","data":' + data + b"}", numbers)[0] == kind
        for spoilt in (data + b" ", data[:-1], b" " + data, data.replace(b":", b": ", 1), data + b"\x00", data + b"}"):
            assert read_message(spoilt, numbers)[0] == NOT_THIS_FORM
    assert read_message(b"", numbers)[0] == NOT_THIS_FORM


def test_every_recorded_message_is_read_and_as_the_general_parser_reads_it(shared_data: Path) -> None:
    parser, kinds = MessageParser(SPOT), set()
    for path in sorted((shared_data / "binance_spot_btcusdt").glob("*.gz")):
        with gzip.open(path, "rb") as lines:
            for number, line in enumerate(lines):
                raw = line.strip().partition(b" ")[2]
                if raw.startswith(b'{"lastUpdateId"'):
                    continue
                kind = read_message(raw, numbers_for(len(raw)))[0]
                assert kind != NOT_THIS_FORM
                kinds.add(kind)
                if number % 23 == 0:
                    assert parser.parse(RECEIVED, raw) == parser.parse_any(RECEIVED, raw)
    assert kinds == {DEPTH, TRADE, BOOK_TICKER}


def test_a_message_larger_than_any_yet_is_read_too() -> None:
    levels = b",".join(b'["%d.00000000","1.00000000"]' % price for price in range(1, 12_001))
    raw = b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[],"a":[' + levels + b"]}"
    parser = MessageParser(SPOT)
    for _ in range(2):
        update = parser.parse(RECEIVED, raw)
        assert isinstance(update, DepthUpdate)
        assert isinstance(update.asks, PriceLevels)
        assert update.asks.prices.tolist() == [price * 10**8 for price in range(1, 12_001)]
        assert set(update.asks.quantities.tolist()) == {10**8}


# snapshots ---------------------------------------------------------------------------------------------------------


def snapshot_text(bids: list[Any], asks: list[Any], last: Any = 7, *, futures: bool = False) -> bytes:
    times = {"E": 1_700_000_000_000, "T": 1_700_000_000_000} if futures else {}
    return orjson.dumps({"lastUpdateId": last} | times | {"bids": bids, "asks": asks})


@given(
    bids=st.lists(st.tuples(st.integers(1, 2**63 - 1), st.integers(0, 2**63 - 1)), max_size=6),
    asks=st.lists(st.tuples(st.integers(1, 2**63 - 1), st.integers(0, 2**63 - 1)), max_size=6),
    last=st.integers(0, 2**63 - 1),
    futures=st.booleans(),
)
def test_a_snapshot_becomes_the_same_integers(
    bids: list[tuple[int, int]], asks: list[tuple[int, int]], last: int, futures: bool
) -> None:
    def written(side: list[tuple[int, int]]) -> list[list[str]]:
        return [[format(Decimal(number).scaleb(-8), ".8f") for number in level] for level in side]

    snapshot = MessageParser(SPOT).snapshot(SPOT[0], snapshot_text(written(bids), written(asks), last, futures=futures))
    assert snapshot == ("BTCUSDT.BINANCE", last, bids, asks)
    assert isinstance(snapshot.bids, PriceLevels)
    assert snapshot.bids.prices.dtype == np.int64


@given(bids=LEVELS, asks=LEVELS, last=COUNTS, seed=st.integers(0, 2**32), futures=st.booleans())
@settings(max_examples=200, deadline=None)
def test_both_agree_on_every_snapshot_and_on_spoilt_ones(
    bids: list[Any], asks: list[Any], last: int, seed: int, futures: bool
) -> None:
    def taken(raw: bytes, *, general: bool) -> Any:
        parser = MessageParser(SPOT)
        try:
            return parser.snapshot_of(SPOT[0], orjson.loads(raw)) if general else parser.snapshot(SPOT[0], raw)
        except (MalformedMessageError, orjson.JSONDecodeError) as error:
            return type(error), str(error), "\n" in str(error)

    times = {"E": 1, "T": 2} if futures else {}
    raw = orjson_text({"lastUpdateId": last} | times | {"bids": bids, "asks": asks})
    for text in (raw, spoil(raw, seed), spoil(raw, seed + 1)):
        assert taken(text, general=False) == taken(text, general=True)


@pytest.mark.parametrize(
    ("level", "reason"),
    [
        (["1.00000000"], "a level is not a pair of texts"),
        ("12", "a level is not a pair of texts"),
        ({"0": "1", "1": "2"}, "a level is not a pair of texts"),
        ([1.5, 2], "a level is not a pair of texts"),
        (["abc", "1.00000000"], "not a plain decimal number"),
        (["1.00000000", "1e5"], "not a plain decimal number"),
        (["-1.00000000", "1.00000000"], "impossible level"),
        (["1.00000000", "-1.00000000"], "impossible level"),
        (["0.00000000", "1.00000000"], "impossible level"),
        (["92233720368547758.08000000", "1.00000000"], "beyond int64"),
        (["1.00000000", "99999999999999999999999.0"], "beyond int64"),
        (["1.000000001", "1.00000000"], "more than 8 decimals"),
    ],
)
def test_a_malformed_level_is_refused_in_one_line(level: Any, reason: str) -> None:
    for bids, asks in (([level], []), ([["1.00000000", "2.00000000"]], [["3.00000000", "1.00000000"], level])):
        raw = snapshot_text(bids, asks)
        assert read_snapshot(raw, numbers_for(len(raw)))[0] == -1
        with pytest.raises(MalformedMessageError, match=reason) as caught:
            MessageParser(SPOT).snapshot(SPOT[0], raw)
        assert "\n" not in str(caught.value)


def test_the_recorded_book_is_read_to_the_last_unit(shared_data: Path) -> None:
    [path] = (shared_data / "depth5000_btcusdt").glob("*.csv.gz")
    sides: list[list[list[str]]] = [[], []]
    with gzip.open(path, "rt") as lines:
        next(lines)
        for line in lines:
            _, _, _, is_ask, price, quantity = line.strip().split(",")
            sides[int(is_ask)].append([price, quantity])
    raw = snapshot_text(sides[0], sides[1])
    assert read_snapshot(raw, numbers_for(len(raw))) == (7, 10_000, 20_000)
    snapshot = MessageParser(SPOT).snapshot(SPOT[0], raw)
    for levels, side in ((snapshot.bids, sides[0]), (snapshot.asks, sides[1])):
        assert list(levels) == [tuple(int(Decimal(number).scaleb(8)) for number in level) for level in side]
