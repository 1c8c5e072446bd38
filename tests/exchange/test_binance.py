"""The Binance adapter: exact parsing, one clear line for bad input, and REST manners against a small real server."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from resources.exchange.binance import BinanceSpot, ExchangeFilters
from resources.exchange.binance_messages import MessageParser, money
from resources.exchange.errors import (
    ExchangeError,
    ExchangeRefusedError,
    ExchangeUnavailableError,
    FeedDisconnectedError,
    FeedEndedError,
)
from resources.exchange.request_weight import RequestWeightBudget
from services.simulated_venue.market_plan import FlowSettings
from services.simulated_venue.order_flow import OrderFlow
from services.simulated_venue.server import SimulatedVenue
from signal_assets.fixed_point import FixedPointError
from signal_assets.instrument import Instrument
from signal_assets.market.messages import BookTicker, DepthUpdate, MalformedMessageError, Trade

BTC = Instrument("BTCUSDT", "BINANCE", "BTC/USDT", 1_000_000, 1_000)
ETH = Instrument("ETHUSDT", "BINANCE", "ETH/USDT", 1_000_000, 10_000, trade_stream="aggTrade")
KEY = "BTCUSDT.BINANCE"
RECEIVED = 1_723_161_254_087_896_568

DEPTH = (
    b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":50093239189,'
    b'"u":50093239202,"b":[["61737.63000000","0.00000000"]],"a":[["61837.64000000","1.54698000"]]}}'
)
TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,'
    b'"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}'
)
TICKER = (
    b'{"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000",'
    b'"a":"61837.64000000","A":"1.54698000"}}'
)


def test_messages_become_integers() -> None:
    parser = MessageParser([BTC])
    assert parser.parse(RECEIVED, DEPTH) == DepthUpdate(
        KEY,
        1_723_161_255_208_000,
        1_723_161_254_087_896,
        50_093_239_189,
        50_093_239_202,
        [(6_173_763_000_000, 0)],
        [(6_183_764_000_000, 154_698_000)],
    )
    assert parser.parse(RECEIVED, TRADE) == Trade(
        KEY,
        3_735_683_259,
        1_723_161_255_342_000,
        1_723_161_254_087_896,
        6_183_763_000_000,
        2_000_000,
        is_buyer_maker=True,
        clock=1_723_161_255_343_000,
    )
    assert parser.parse(RECEIVED, TICKER) == BookTicker(
        KEY, 1_723_161_254_087_896, 50_093_239_212, 6_183_763_000_000, 378_826_000, 6_183_764_000_000, 154_698_000
    )


def test_a_message_without_the_combined_wrapper_is_read_too() -> None:
    assert isinstance(MessageParser([BTC]).parse(RECEIVED, orjson.dumps(orjson.loads(TRADE)["data"])), Trade)


def test_an_answer_to_a_subscription_is_no_message() -> None:
    assert MessageParser([BTC]).parse(RECEIVED, b'{"result":null,"id":1}') is None


def test_aggregated_trades_have_ids_of_their_own() -> None:
    raw = TRADE.replace(b'"trade"', b'"aggTrade"').replace(b"BTC", b"ETH").replace(b'"t":', b'"a":')
    trade = MessageParser([BTC, ETH]).parse(RECEIVED, raw)
    assert isinstance(trade, Trade)
    assert trade.trade_id == 3_735_683_259
    with pytest.raises(MalformedMessageError, match="the other kind of ids"):
        MessageParser([ETH]).parse(RECEIVED, TRADE.replace(b"BTC", b"ETH"))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "not JSON"),
        (b'"text"', "not an object"),
        (b'{"stream":"btcusdt@trade","data":[]}', "'data' is not an object"),
        (b'{"error":{"code":2}}', "neither a market message nor an answer"),
        (TRADE.replace(b'"p":"61837.63000000",', b""), "btcusdt@trade: field 'p' is missing"),
        (DEPTH.replace(b'"U":50093239189,', b""), "field 'U' is missing"),
        (DEPTH.replace(b'"b":', b'"c":'), "field 'b' is missing"),
        (TRADE.replace(b'"s":"BTCUSDT",', b""), "field 's' is missing"),
        (TRADE.replace(b"BTCUSDT", b"XYZUSDT"), "unknown instrument 'XYZUSDT'"),
        (TRADE.replace(b'"s":"BTCUSDT"', b'"s":["BTCUSDT"]'), "unknown instrument"),
        (TRADE.replace(b'"0.02000000"', b'"-0.02000000"'), "field 'q' is not positive: '-0.02000000'"),
        (TRADE.replace(b'"0.02000000"', b'"0.00000000"'), "field 'q' is not positive"),
        (TRADE.replace(b'"61837.63000000"', b'"92233720368547758.08000000"'), "beyond int64"),
        (TRADE.replace(b'"61837.63000000"', b"61837.63"), "not a decimal text"),
        (TRADE.replace(b'"61837.63000000"', b'"6.1e4"'), "not a plain decimal number"),
        (TRADE.replace(b'"t":3735683259', b'"t":"3735683259"'), "field 't' is not a count"),
        (TRADE.replace(b'"t":3735683259', b'"t":true'), "field 't' is not a count"),
        (TRADE.replace(b'"T":1723161255342', b'"T":-1'), "field 'T' is not a time"),
        (TRADE.replace(b'"m":true', b'"m":1'), "field 'm' is not true or false"),
        (TRADE.replace(b'"e":"trade"', b'"e":"kline"'), "unknown event 'kline'"),
        (DEPTH.replace(b'"u":50093239202', b'"u":1'), "first update id 50093239189 is after the final one 1"),
        (DEPTH.replace(b'[["61737.63000000","0.00000000"]]', b'[["61737.63000000"]]'), "not enough values"),
        (DEPTH.replace(b'[["61737.63000000","0.00000000"]]', b'{"61737":1}'), "levels are not a list"),
        (DEPTH.replace(b'["61737.63000000","0.00000000"]', b'["61737.63000000",null]'), "not a pair of texts"),
        (DEPTH.replace(b'"0.00000000"', b'"none"'), "not a plain decimal number"),
    ],
)
def test_a_malformed_message_gets_one_clear_line(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedMessageError, match=reason) as caught:
        MessageParser([BTC]).parse(RECEIVED, raw)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("level", "reason"),
    [
        (b'["61000.00000000","-1.00000000"]', "impossible level 61000.00000000 × -1.00000000"),
        (b'["99999999999999999999.00000000","1.00000000"]', "beyond int64 units"),
        (b'["0.00000000","1.00000000"]', "impossible level 0.00000000"),
    ],
)
def test_one_impossible_level_does_not_break_the_sequence(level: bytes, reason: str) -> None:
    parser = MessageParser([BTC])
    update = parser.parse(RECEIVED, DEPTH.replace(b'"b":[', b'"b":[' + level + b","))
    assert isinstance(update, DepthUpdate)
    assert update.bids == [(6_173_763_000_000, 0)]
    assert parser.refused_levels == 1
    [(instrument, event_time, remark)] = parser.drain_remarks()
    assert (instrument, event_time) == (KEY, 1_723_161_255_208_000)
    assert reason in remark
    assert parser.drain_remarks() == []


def test_an_update_with_twenty_thousand_levels_is_an_update() -> None:
    levels = [[f"{price}.00000000", "1.00000000"] for price in range(1, 20_001)]
    message = orjson.loads(DEPTH)
    message["data"]["a"] = levels
    update = MessageParser([BTC]).parse(RECEIVED, orjson.dumps(message))
    assert isinstance(update, DepthUpdate)
    assert len(update.asks) == 20_000
    assert sum(price for price, _ in update.asks) == 20_000 * 20_001 // 2 * 10**8


@given(st.integers(0, 2**63 - 1))
def test_money_is_exact(units: int) -> None:
    text = format(Decimal(units).scaleb(-8), ".8f")
    assert money(text) == units


@pytest.mark.parametrize(
    "text", ["1_0.00000000", "+1.00000000", " 1.00000000", "１.00000000", ".00000000", "1.0000000٣"]
)
def test_money_takes_plain_digits_only(text: str) -> None:
    with pytest.raises(FixedPointError):
        money(text)


# REST manners against a small exchange -----------------------------------------------------------------------------

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def exchange(**handlers: Handler) -> AsyncIterator[str]:
    async def information(request: web.Request) -> web.Response:
        return web.json_response({"rateLimits": [], "symbols": []})

    application = web.Application()
    for name, handler in {"exchangeInfo": information, **handlers}.items():
        application.router.add_get(f"/api/v3/{name}" if name != "stream" else "/stream", handler)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def answers(*responses: web.Response, seen: list[web.Request] | None = None) -> Handler:
    queue = list(responses)

    async def handler(request: web.Request) -> web.Response:
        if seen is not None:
            seen.append(request)
        return queue.pop(0) if len(queue) > 1 else queue[0]

    return handler


BOOK = {"lastUpdateId": 7, "bids": [["2.00000000", "1.00000000"]], "asks": [["3.00000000", "4.00000000"]]}


async def test_a_snapshot_carries_the_position() -> None:
    seen: list[web.Request] = []
    async with (
        exchange(depth=answers(web.json_response(BOOK), seen=seen)) as url,
        BinanceSpot([BTC], rest_url=url) as binance,
    ):
        snapshot = await binance.depth_snapshot(KEY, position=41)
        assert (snapshot.instrument, snapshot.last_update_id) == (KEY, 7)
        assert (snapshot.bids, snapshot.asks) == ([(200_000_000, 100_000_000)], [(300_000_000, 400_000_000)])
        assert binance.used_weight == 250 + 20  # a full snapshot, and the question for the limits before it
    assert seen[0].headers["X-Signals-Position"] == "41"
    assert dict(seen[0].query) == {"symbol": "BTCUSDT", "limit": "5000"}


@pytest.mark.slow
async def test_the_exchange_wish_for_patience_is_honoured() -> None:
    busy = web.Response(status=429, headers={"Retry-After": "1"})
    async with (
        exchange(time=answers(busy, web.json_response({"serverTime": 5}))) as url,
        BinanceSpot([BTC], rest_url=url) as binance,
    ):
        before = time.monotonic()
        assert await binance.server_time() == 5_000
        assert time.monotonic() - before >= 1.0


async def test_a_failing_exchange_is_asked_again() -> None:
    broken = web.Response(status=502, text="bad gateway")
    odd = web.Response(text="<html>")
    async with (
        exchange(time=answers(broken, odd, web.json_response({"serverTime": 5}))) as url,
        BinanceSpot([BTC], rest_url=url) as binance,
    ):
        assert await binance.server_time() == 5_000


@pytest.mark.parametrize(
    ("response", "error", "reason"),
    [
        (web.Response(status=400, text='{"code":-1121}'), ExchangeRefusedError, "status 400"),
        (web.Response(status=418, headers={"Retry-After": "7200"}), ExchangeRefusedError, "bans us for 7200 s"),
        (web.json_response({"bids": []}), ExchangeUnavailableError, "field 'lastUpdateId' is missing"),
        (
            web.json_response(BOOK | {"asks": [["3.00000000", "-4.00000000"]]}),
            ExchangeUnavailableError,
            "impossible level",
        ),
        (web.json_response([]), ExchangeUnavailableError, "not an object"),
    ],
)
async def test_an_unusable_answer_is_refused_in_one_line(
    response: web.Response, error: type[Exception], reason: str
) -> None:
    async with exchange(depth=answers(response)) as url, BinanceSpot([BTC], rest_url=url) as binance:
        with pytest.raises(error, match=reason) as caught:
            await binance.depth_snapshot(KEY)
        assert "\n" not in str(caught.value)


async def test_no_exchange_at_all_is_said_after_the_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.exchange.binance_client._pause", lambda state: 0.001)
    async with BinanceSpot([BTC], rest_url="http://127.0.0.1:9", stream_url="ws://127.0.0.1:9") as binance:
        with pytest.raises(ExchangeUnavailableError, match=r"tried 6 times"):
            await binance.ping()
        with pytest.raises(FeedDisconnectedError, match=r"ws://127\.0\.0\.1:9"):
            await anext(binance.stream())


async def test_trades_by_rest() -> None:
    plain = {
        "id": 5, "price": "2.00000000", "qty": "0.50000000", "quoteQty": "1.0", "time": 9, "isBuyerMaker": False,
    }  # fmt: skip
    aggregated = {"a": 6, "p": "2.00000000", "q": "0.50000000", "f": 1, "l": 2, "T": 9, "m": True}
    async with (
        exchange(
            historicalTrades=answers(web.json_response([plain])), aggTrades=answers(web.json_response([aggregated]))
        ) as url,
        BinanceSpot([BTC, ETH], rest_url=url) as binance,
    ):
        [trade] = await binance.historical_trades(KEY, from_id=5)
        assert (trade.trade_id, trade.event_time, trade.price, trade.quantity) == (5, 9_000, 200_000_000, 50_000_000)
        assert (trade.is_buyer_maker, trade.by_rest) == (False, True)
        [other] = await binance.historical_trades("ETHUSDT.BINANCE", from_id=6)
        assert (other.trade_id, other.is_buyer_maker) == (6, True)


@pytest.mark.parametrize("answer", [{"code": 1}, [{"id": 5}], ["x"], [{"id": 5, "time": "x"}]])
async def test_unusable_trades_are_refused(answer: Any) -> None:
    async with (
        exchange(historicalTrades=answers(web.json_response(answer))) as url,
        BinanceSpot([BTC], rest_url=url) as binance,
    ):
        with pytest.raises(ExchangeUnavailableError, match="trade"):
            await binance.historical_trades(KEY, from_id=5)


async def test_limits_are_learned_from_the_exchange() -> None:
    information = {
        "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 260}],
        "symbols": [
            {
                "symbol": "BTCUSDT",
                "filters": [
                    {"filterType": "PRICE_FILTER", "tickSize": "0.01000000"},
                    {"filterType": "LOT_SIZE", "stepSize": "0.00001000"},
                ],
            }
        ],
    }
    async with (
        exchange(exchangeInfo=answers(web.json_response(information)), depth=answers(web.json_response(BOOK))) as url,
        BinanceSpot([BTC, ETH], rest_url=url) as binance,
    ):
        assert await binance.exchange_information() == {KEY: ExchangeFilters(1_000_000, 1_000)}
        with pytest.raises(TimeoutError):  # 20 + 250 is more than this minute's 260
            await asyncio.wait_for(binance.depth_snapshot(KEY), 0.2)
        assert (await binance.depth_snapshot(KEY, limit=100)).last_update_id == 7  # weight 5 still fits


def test_the_budget_slides() -> None:
    now = [0.0]
    budget = RequestWeightBudget(1_000, clock=lambda: now[0])
    budget.spend(600)
    now[0] = 10.0
    budget.spend(400)
    assert budget.delay(1) == 50.0
    assert budget.delay(601) == 60.0
    now[0] = 60.0
    assert (budget.used, budget.delay(600)) == (400, 0.0)
    budget.observe(900)
    assert budget.used == 900
    assert budget.delay(5_000) == 60.0  # more than ever fits: when the window is empty


# the stream --------------------------------------------------------------------------------------------------------


async def listen(binance: BinanceSpot) -> tuple[list[tuple[int, bytes]], ExchangeError]:
    received = []
    try:
        async for item in binance.stream():
            received.append(item)
    except ExchangeError as error:
        return received, error
    raise AssertionError("a stream never ends without saying why")


async def test_one_stream_from_the_venue_to_its_end() -> None:
    instrument = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", 1_000_000, 1_000)
    flow = OrderFlow([instrument], seed=3, days=60 / 86_400, settings=FlowSettings(levels_per_side=50))
    async with (
        SimulatedVenue(flow, speed=math.inf) as venue,
        BinanceSpot(
            [instrument], rest_url=venue.rest_url, stream_url=venue.stream_url, with_book_tickers=True
        ) as binance,
    ):
        received, ending = await listen(binance)
        assert isinstance(ending, FeedEndedError)
        assert all(abs(moment - time.time_ns()) < 60e9 for moment, _ in received)
        kinds = Counter(type(binance.parse(moment, raw)).__name__ for moment, raw in received)
        assert kinds["DepthUpdate"] == kinds["BookTicker"] == 599  # one every 100 ms; the last one would be at the end
        assert kinds["Trade"] > 50
        assert binance.refused_levels == 0
        assert binance.drain_remarks() == []
        assert await binance.ping() < 10


@pytest.mark.parametrize(("code", "reason"), [(1000, b"bye"), (1011, b"end of recording"), (1001, b"")])
async def test_any_other_close_is_a_disconnection(code: int, reason: bytes) -> None:
    async def stream(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_bytes(TRADE)
        await socket.close(code=code, message=reason)
        return socket

    async with exchange(stream=stream) as url, BinanceSpot([BTC, ETH], stream_url=url.replace("http", "ws")) as binance:
        received, ending = await listen(binance)
        assert isinstance(ending, FeedDisconnectedError)
        assert f"code {code}" in str(ending)
        assert [raw for _, raw in received] == [TRADE]
        assert binance.stream_names == [
            "btcusdt@depth@100ms", "btcusdt@trade", "ethusdt@depth@100ms", "ethusdt@aggTrade",
        ]  # fmt: skip


async def test_a_foreign_instrument_and_a_closed_adapter_are_refused() -> None:
    binance = BinanceSpot([BTC])
    with pytest.raises(ExchangeRefusedError, match="none of this feed's instruments"):
        await binance.depth_snapshot("XYZ.BINANCE")
    with pytest.raises(ExchangeError, match="not open"):
        await binance.ping()
