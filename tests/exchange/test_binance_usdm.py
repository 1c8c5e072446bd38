"""The USD-M adapter against a loopback venue that speaks the futures protocol (``futures_venue``)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from resources.exchange.binance import BinanceSpot
from resources.exchange.binance_client import ExchangeFilters
from resources.exchange.binance_messages import MessageParser
from resources.exchange.binance_usdm import BinanceUsdm
from resources.exchange.errors import ExchangeRefusedError, FeedEndedError
from signal_assets.event_time import MILLISECOND
from signal_assets.instrument import Instrument
from signal_assets.market.ingest import IngestSettings, SnapshotRequest, VenueIngest
from signal_assets.market.messages import DepthUpdate, MalformedMessageError, Trade
from tests.exchange.futures_venue import FuturesVenue

PERPETUAL = Instrument("BTCUSDT-PERP", "BINANCE", "BTC/USDT", 10_000_000, 100_000, trade_stream="aggTrade")
KEY = "BTCUSDT-PERP.BINANCE"
RECEIVED = 1_723_161_254_087_896_568
UNIT, LOT = 10_000_000, 100_000  # 0.1 USDT and 0.001 BTC in units of 1e-8

# the examples of the exchange's documentation, with the ids of a real stream
DEPTH = (
    b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1571889248277,"T":1571889248276,"s":"BTCUSDT",'
    b'"U":390497796,"u":390497878,"pu":390497794,"b":[["7403.89","0.002"],["7403.90","3.906"]],"a":[["7405.96","0"]]}}'
)
TRADE = (
    b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1723161255343,"s":"BTCUSDT","a":5933014,"p":"61837.6",'
    b'"q":"0.100","f":100,"l":105,"T":1723161255342,"m":true}}'
)


def test_futures_messages_become_integers() -> None:
    parser = MessageParser([PERPETUAL], futures=True)
    for parse in (parser.parse, parser.parse_any):
        assert parse(RECEIVED, DEPTH) == DepthUpdate(
            KEY,
            1_571_889_248_277_000,
            1_723_161_254_087_896,
            390_497_796,
            390_497_878,
            [(740_389_000_000, 200_000), (740_390_000_000, 390_600_000)],
            [(740_596_000_000, 0)],
            390_497_794,
        )
        assert parse(RECEIVED, TRADE) == Trade(
            KEY,
            5_933_014,
            1_723_161_255_342_000,
            1_723_161_254_087_896,
            6_183_760_000_000,
            10_000_000,
            is_buyer_maker=True,
            clock=1_723_161_255_343_000,
        )


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (DEPTH.replace(b'"pu":390497794,', b""), "field 'pu' is missing"),
        (DEPTH.replace(b'"pu":390497794', b'"pu":"390497794"'), "field 'pu' is not a count"),
        (DEPTH.replace(b"BTCUSDT", b"BTCUSDT-PERP"), "unknown instrument 'BTCUSDT-PERP'"),
        (TRADE.replace(b'"a":5933014', b'"a":-1'), "field 'a' is not a count"),
    ],
)
def test_a_malformed_futures_message_gets_one_clear_line(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedMessageError, match=reason) as caught:
        MessageParser([PERPETUAL], futures=True).parse(RECEIVED, raw)
    assert "\n" not in str(caught.value)


def test_spot_ignores_what_only_futures_have() -> None:
    spot = Instrument("BTCUSDT", "BINANCE", "BTC/USDT", 1_000_000, 1_000)
    update = MessageParser([spot]).parse(RECEIVED, DEPTH)
    assert isinstance(update, DepthUpdate)
    assert (update.instrument, update.previous_final_update_id) == ("BTCUSDT.BINANCE", None)


@pytest.mark.parametrize(
    ("instrument", "reason"),
    [
        (Instrument("BTCUSDT", "BINANCE", "BTC/USDT", 1, 1, trade_stream="aggTrade"), "does not end in -PERP"),
        (Instrument("BTCUSDT-PERP", "BINANCE", "BTC/USDT", 1, 1), "aggregated trades only"),
    ],
)
def test_what_is_no_perpetual_is_refused(instrument: Instrument, reason: str) -> None:
    with pytest.raises(ExchangeRefusedError, match=reason):
        BinanceUsdm([instrument])


@asynccontextmanager
async def serving(venue: FuturesVenue) -> AsyncIterator[BinanceUsdm]:
    async with (
        venue.served() as url,
        BinanceUsdm([PERPETUAL], rest_url=url, stream_url=url.replace("http", "ws")) as it,
    ):
        yield it


async def test_rest_of_the_futures() -> None:
    venue = FuturesVenue(seed=1, messages=60)
    async with serving(venue) as binance:
        assert await binance.exchange_information() == {KEY: ExchangeFilters(UNIT, LOT)}
        assert venue.asked[-1] == ("exchangeInfo", {})
        snapshot = await binance.depth_snapshot(KEY, limit=5_000, position=venue.last)
        assert venue.asked[-1] == ("depth", {"symbol": "BTCUSDT", "limit": "1000"})
        assert (snapshot.instrument, snapshot.last_update_id) == (KEY, venue.last)
        top = max(venue.bids)
        assert snapshot.bids[0] == (top * UNIT, venue.bids[top] * LOT)
        assert binance.used_weight == 45  # the exchange counts more than we: 1 for the information and 20 for the book
        await binance.depth_snapshot(KEY, limit=200, position=venue.last)
        assert venue.asked[-1][1]["limit"] == "500"
        trades = await binance.historical_trades(KEY, from_id=510, limit=2)
        assert [(trade.trade_id, trade.price, trade.by_rest) for trade in trades] == [
            (510, 60_100 * 10**8, True), (511, 60_100 * 10**8, True),
        ]  # fmt: skip
        assert await binance.server_time() == 1_700_000_000_123 * MILLISECOND
        assert await binance.ping() >= 0


async def follow(binance: BinanceUsdm, ingest: VenueIngest) -> list[int]:
    """The stream to its end, REST answered at once; ids of the trades that came of it."""
    trades: list[int] = []
    try:
        async for received, raw in binance.stream():
            message = binance.parse(received, raw)
            assert message is not None
            ingest.receive(message)
            while requests := ingest.requests():
                for request in requests:
                    if isinstance(request, SnapshotRequest):
                        book = await binance.depth_snapshot(KEY, limit=5_000, position=request.position)
                        ingest.answer_snapshot(request, book)
                    else:
                        page = await binance.historical_trades(KEY, from_id=request.from_id, limit=request.limit)
                        ingest.answer_trades(request, page)
            trades += [row[1] for row in ingest.drain(KEY).trades]
    except FeedEndedError:
        return trades
    raise AssertionError("a stream never ends without saying why")


async def test_a_book_and_a_tape_from_the_futures_stream() -> None:
    venue = FuturesVenue(seed=2, messages=80)
    ingest = VenueIngest([PERPETUAL], IngestSettings())
    async with serving(venue) as binance:
        trades = await follow(binance, ingest)
    assert ("public", {"streams": "btcusdt@depth@100ms"}) in venue.asked
    assert ("market", {"streams": "btcusdt@aggTrade"}) in venue.asked
    state = ingest.state(KEY)
    # two holes in the diffs: the book was lost and found twice; the repeated diff changed nothing
    assert (state["synced"], state["sequence_gaps"], state["resyncs"], state["crossed"]) == (True, 2, 2, 0)
    assert state["duplicates"] == 1
    book = ingest._instruments[KEY].book
    low = state["coverage_low"]
    assert {price: quantity for price, quantity in book.bids if price >= low} == {
        price * UNIT: quantity * LOT for price, quantity in venue.bids.items() if price * UNIT >= low
    }
    assert dict(book.asks) == {price * UNIT: quantity * LOT for price, quantity in venue.asks.items()}
    assert trades == list(range(500, 580))  # the two lost ones came by REST


def test_stream_names_of_spot_and_futures() -> None:
    assert BinanceUsdm([PERPETUAL]).stream_names == ["btcusdt@depth@100ms", "btcusdt@aggTrade"]
    spot = Instrument("BTCUSDT", "BINANCE", "BTC/USDT", 1, 1)
    assert BinanceSpot([spot]).stream_names == ["btcusdt@depth@100ms", "btcusdt@trade"]
