"""The venue over real sockets: adapter and plain clients on one side, model and recordings on the other."""

import asyncio
import gzip
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from resources.exchange.binance import BinanceSpot
from resources.exchange.errors import (
    ExchangeError,
    ExchangeRefusedError,
    FeedDisconnectedError,
    FeedEndedError,
)
from services.simulated_venue.market_plan import FlowSettings
from services.simulated_venue.order_flow import DEFAULT_START, OrderFlow
from services.simulated_venue.recording import write_recording
from services.simulated_venue.server import SimulatedVenue
from services.simulated_venue.venue_message import MessageKind
from signal_assets.event_time import MINUTE, SECOND
from signal_assets.fixed_point import format_fixed
from signal_assets.instrument import Instrument
from signal_assets.market.messages import DepthSnapshot, DepthUpdate, MalformedMessageError, Trade
from tests.simulated_venue.replayed import ReplayedBook, data_of, rest_answer

pytestmark = pytest.mark.slow

SMALL = FlowSettings(levels_per_side=80, trades_per_second=5)
BTCUSDT = Instrument("BTCUSDT", "BINANCE", "BTC/USDT", 1_000_000, 1_000)


def market(instruments: tuple[Instrument, ...], **changes: Any) -> OrderFlow:
    return OrderFlow(instruments, **({"seed": 6, "days": 1 / 1440, "settings": SMALL} | changes))


@asynccontextmanager
async def connected(venue: SimulatedVenue, instruments: tuple[Instrument, ...]) -> AsyncIterator[BinanceSpot]:
    async with venue, BinanceSpot(instruments, rest_url=venue.rest_url, stream_url=venue.stream_url) as binance:
        yield binance


async def everything(binance: BinanceSpot) -> tuple[list[bytes], ExchangeError]:
    raws = []
    try:
        async for _, raw in binance.stream():
            raws.append(raw)
    except ExchangeError as error:
        return raws, error
    raise AssertionError("a stream never ends without saying why")


def answer_of(snapshot: DepthSnapshot) -> Any:
    sides = [
        [[format_fixed(price), format_fixed(size)] for price, size in side] for side in (snapshot.bids, snapshot.asks)
    ]
    return rest_answer({"lastUpdateId": snapshot.last_update_id, "bids": sides[0], "asks": sides[1]})


@pytest.mark.parametrize("speed", [math.inf, 60.0])
async def test_a_client_gets_exactly_what_the_model_says(instruments: tuple[Instrument, ...], speed: float) -> None:
    said = [message.raw for message in market(instruments) if message.on_wire]
    async with connected(SimulatedVenue(market(instruments), speed=speed), instruments) as binance:
        heard, ending = await everything(binance)
    assert heard == said
    assert isinstance(ending, FeedEndedError)


async def test_the_recorded_files_are_served_as_recorded(shared_data: Path) -> None:
    files = sorted((shared_data / "binance_spot_btcusdt").glob("*.gz"))
    recorded = [
        line.split(b" ", 1)[1].strip() for file in files for line in gzip.decompress(file.read_bytes()).splitlines()
    ]
    wanted = [raw for raw in recorded if not raw.startswith((b'{"lastUpdateId"', b'{"stream":"btcusdt@bookTicker"'))]
    [first_snapshot] = [orjson.loads(raw) for raw in recorded if raw.startswith(b'{"lastUpdateId"')]
    async with connected(SimulatedVenue(files, speed=math.inf), (BTCUSDT,)) as binance:
        heard: list[bytes] = []
        replayed = ReplayedBook(first_snapshot)
        compared = 0
        try:
            async for received, raw in binance.stream():
                heard.append(raw)
                update = binance.parse(received, raw)
                if not isinstance(update, DepthUpdate):
                    continue
                if len(heard) == 1:  # the first diffs begin before the recorded snapshot
                    at_start = await binance.depth_snapshot(BTCUSDT.key, position=update.first_update_id - 1)
                    assert answer_of(at_start) == rest_answer(first_snapshot)
                if update.final_update_id > replayed.update_id:
                    replayed.apply(orjson.loads(raw)["data"])
                    if update.final_update_id % 150 == 0:
                        snapshot = await binance.depth_snapshot(BTCUSDT.key, position=update.final_update_id)
                        expected = replayed.answer()
                        assert answer_of(snapshot) == (expected[0], expected[1][:5_000], expected[2][:5_000])
                        compared += 1
        except FeedEndedError:
            pass
        assert compared > 25
        assert heard == wanted
        assert len(heard) == 6_495 + 19_904
        trades = data_of(wanted, "btcusdt@trade")
        page = await binance.historical_trades(BTCUSDT.key, from_id=trades[500]["t"], limit=1000)
        assert [trade.trade_id for trade in page] == [trade["t"] for trade in trades[500:1500]]
        assert [trade.event_time for trade in page] == [trade["T"] * 1000 for trade in trades[500:1500]]


async def test_a_snapshot_belongs_to_the_position_asked_for(instruments: tuple[Instrument, ...]) -> None:
    async with connected(SimulatedVenue(market(instruments), speed=math.inf), instruments) as binance:
        before = await binance.depth_snapshot("BTCFDUSD.BINANCE")  # the clock stands still until a client listens
        raws, _ = await everything(binance)
        diffs = data_of(raws, "btcfdusd@depth@100ms")
        start = [m for m in market(instruments) if m.kind == MessageKind.SNAPSHOT and m.symbol == "BTCFDUSD"]
        replayed = ReplayedBook(orjson.loads(start[0].raw)["data"])
        assert answer_of(before) == replayed.answer()
        for number, diff in enumerate(diffs):
            replayed.apply(diff)
            if number % 60 == 0:
                snapshot = await binance.depth_snapshot("BTCFDUSD.BINANCE", position=diff["u"])
                assert answer_of(snapshot) == replayed.answer()
        newest = await binance.depth_snapshot("BTCFDUSD.BINANCE")
        assert answer_of(newest) == replayed.answer()
        older = await binance.depth_snapshot("BTCFDUSD.BINANCE", position=diffs[0]["u"])
        assert older.last_update_id == diffs[-1 - (len(diffs) - 1) % 60]["u"]  # where the book was asked for last


@pytest.mark.parametrize("recorded", [False, True], ids=["model", "recording"])
async def test_a_gap_on_the_wire_is_filled_by_rest(
    instruments: tuple[Instrument, ...], tmp_path: Path, recorded: bool
) -> None:
    gap = ("BTCFDUSD", DEFAULT_START + 60 * SECOND, DEFAULT_START + 90 * SECOND)
    settings = FlowSettings(levels_per_side=80, trades_per_second=5, planned_gaps=(gap,))
    flow = market(instruments, days=3 / 1440, settings=settings)
    everything_said = list(market(instruments, days=3 / 1440, settings=settings))
    if recorded:
        write_recording(tmp_path / "market.gz", flow)
    venue = SimulatedVenue([tmp_path / "market.gz"] if recorded else flow, instruments=instruments, speed=math.inf)
    async with connected(venue, instruments) as binance:
        raws, _ = await everything(binance)
        diffs = data_of(raws, "btcfdusd@depth@100ms")
        breaks = [after for before, after in pairwise(diffs) if after["U"] != before["u"] + 1]
        assert [gap[2] < diff["E"] * 1000 <= gap[2] + 100_000 for diff in breaks] == [True]
        snapshot = await binance.depth_snapshot("BTCFDUSD.BINANCE", position=breaks[0]["U"] - 1)
        replayed = None
        for message in everything_said:
            if message.symbol == "BTCFDUSD" and message.kind == MessageKind.SNAPSHOT and replayed is None:
                replayed = ReplayedBook(orjson.loads(message.raw)["data"])
            if message.symbol == "BTCFDUSD" and message.kind == MessageKind.DEPTH and replayed is not None:
                if message.first_id == breaks[0]["U"]:
                    break
                replayed.apply(orjson.loads(message.raw)["data"])
        assert replayed is not None
        assert answer_of(snapshot) == replayed.answer()
        ids = [trade["t"] for trade in data_of(raws, "btcfdusd@trade")]
        missing = sorted(set(range(ids[0], ids[-1] + 1)) - set(ids))
        assert len(missing) > 20
        filled = await binance.historical_trades("BTCFDUSD.BINANCE", from_id=missing[0], limit=len(missing))
        assert [trade.trade_id for trade in filled] == missing
        unseen = [m for m in everything_said if m.kind == MessageKind.TRADE and not m.on_wire]
        assert [trade.event_time for trade in filled] == [orjson.loads(m.raw)["data"]["T"] * 1000 for m in unseen]
        # the others never missed anything
        others = data_of(raws, "ethfdusd@depth@100ms")
        assert all(after["U"] == before["u"] + 1 for before, after in pairwise(others))


async def test_rest_knows_only_what_was_served(instruments: tuple[Instrument, ...]) -> None:
    flow = market(instruments, days=None)
    async with connected(SimulatedVenue(flow, speed=20.0), instruments) as binance:
        assert await binance.historical_trades("BTCFDUSD.BINANCE", from_id=0) == []
        newest = 0
        stream = binance.stream()
        async for received, raw in stream:
            message = binance.parse(received, raw)
            if isinstance(message, Trade) and message.instrument == "BTCFDUSD.BINANCE":
                newest = message.trade_id
                if newest >= 10_060:
                    break
        page = await binance.historical_trades("BTCFDUSD.BINANCE", from_id=newest - 9)
        assert page[0].trade_id == newest - 9
        assert len(page) < 200  # and not the rest of an endless market
        clock = await binance.server_time()
        assert abs(clock - page[-1].event_time) < 5 * SECOND
        assert clock < DEFAULT_START + 3 * MINUTE
        await stream.aclose()


async def test_the_clock_waits_for_clients_or_does_not(instruments: tuple[Instrument, ...]) -> None:
    async with SimulatedVenue(market(instruments), speed=math.inf) as waiting:
        await asyncio.sleep(0.1)
        assert waiting.market.served == 0
        assert not waiting.finished.is_set()
    async with SimulatedVenue(market(instruments), speed=math.inf, start_at_once=True) as eager:
        await asyncio.wait_for(eager.finished.wait(), 20)
        assert eager.virtual_time >= DEFAULT_START + MINUTE - SECOND
        async with BinanceSpot(instruments, rest_url=eager.rest_url, stream_url=eager.stream_url) as binance:
            heard, ending = await everything(binance)
        assert (heard, type(ending)) == ([], FeedEndedError)


async def test_the_clock_is_the_markets_before_anybody_listens(instruments: tuple[Instrument, ...]) -> None:
    async with connected(SimulatedVenue(market(instruments)), instruments) as binance:
        assert abs(await binance.server_time() - DEFAULT_START) < 5 * SECOND


async def test_two_subscribers_hear_the_same_market(instruments: tuple[Instrument, ...]) -> None:
    btc, rest = instruments[:1], instruments[1:]
    async with SimulatedVenue(market(instruments), speed=math.inf, subscribers=2) as venue:

        async def listen(chosen: tuple[Instrument, ...]) -> list[bytes]:
            async with BinanceSpot(chosen, rest_url=venue.rest_url, stream_url=venue.stream_url) as binance:
                return (await everything(binance))[0]

        first, second = await asyncio.gather(listen(btc), listen(rest))
    said = [message for message in market(instruments) if message.on_wire]
    assert first == [message.raw for message in said if message.symbol == "BTCFDUSD"]
    assert second == [message.raw for message in said if message.symbol != "BTCFDUSD"]


@pytest.mark.parametrize("pause", [False, True], ids=["runs on", "pauses"])
async def test_a_client_that_comes_back(instruments: tuple[Instrument, ...], pause: bool) -> None:
    venue = SimulatedVenue(market(instruments, days=None), speed=30.0, pause_without_client=pause)
    async with connected(venue, instruments[:1]) as binance:
        stream = binance.stream()
        before = [binance.parse(*(await anext(stream))) for _ in range(50)]
        await stream.aclose()
        await asyncio.sleep(0.3)  # until the venue has noticed
        left = venue.virtual_time
        await asyncio.sleep(0.4)
        moved = venue.virtual_time - left
        assert (moved == 0) == pause
        assert pause or moved > 5 * SECOND
        stream = binance.stream()
        after = [binance.parse(*(await anext(stream))) for _ in range(50)]
        await stream.aclose()
        last = max(update.final_update_id for update in before if isinstance(update, DepthUpdate))
        first = min(update.first_update_id for update in after if isinstance(update, DepthUpdate))
        assert first > last


async def test_a_server_that_stops_is_a_disconnection(instruments: tuple[Instrument, ...]) -> None:
    venue = SimulatedVenue(market(instruments, days=None), speed=10.0)
    async with connected(venue, instruments) as binance:
        listening = asyncio.create_task(everything(binance))
        await asyncio.sleep(0.2)
        await venue.stop()
        heard, ending = await asyncio.wait_for(listening, 10)
        assert heard
        assert isinstance(ending, FeedDisconnectedError)


async def test_injected_text_reaches_the_client_and_disturbs_nothing(instruments: tuple[Instrument, ...]) -> None:
    venue = SimulatedVenue(market(instruments), speed=math.inf)
    venue.inject(b'{"stream":"btcfdusd@trade","data":{"e":"trade","s":"XYZ"}}')
    venue.inject(b"{")
    async with connected(venue, instruments) as binance:
        raws, _ = await everything(binance)
        refused = []
        for raw in raws:
            try:
                binance.parse(0, raw)
            except MalformedMessageError as error:
                refused.append(str(error))
        assert len(refused) == 2
        assert refused[0] == "unknown instrument 'XYZ'"
        assert refused[1].startswith("not JSON")
        assert len(raws) - 2 == sum(message.on_wire for message in market(instruments))


async def test_a_recording_that_breaks_off_says_so(instruments: tuple[Instrument, ...], tmp_path: Path) -> None:
    write_recording(tmp_path / "whole.gz", market(instruments))
    whole = (tmp_path / "whole.gz").read_bytes()
    (tmp_path / "half.gz").write_bytes(whole[: len(whole) // 2])
    venue = SimulatedVenue([tmp_path / "half.gz"], instruments=instruments, speed=math.inf)
    unknown = Instrument("XYZ", "BINANCE", "X/YZ", 1, 1)
    async with connected(venue, (*instruments, unknown)) as binance:
        heard, ending = await everything(binance)
        assert isinstance(ending, FeedDisconnectedError)
        assert "1011" in str(ending)
        assert heard
        assert "half.gz: cut off after line" in str(venue.failure)
        _, again = await everything(binance)
        assert isinstance(again, FeedDisconnectedError)
        with pytest.raises(ExchangeRefusedError, match="no book of XYZ"):
            await binance.depth_snapshot(unknown.key)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/api/v3/depth", "invalid symbol"),
        ("/api/v3/depth?symbol=XYZ", "invalid symbol 'XYZ'"),
        ("/api/v3/depth?symbol=BTCFDUSD&limit=x", "'limit' is no count"),
        ("/api/v3/trades?symbol=XYZ", "invalid symbol"),
        ("/api/v3/historicalTrades?symbol=BTCFDUSD&fromId=-5", "'fromId' is no count"),
        ("/api/v3/exchangeInfo?symbols=[", "no JSON list"),
        ("/api/v3/exchangeInfo?symbols={}", "no list of names"),
        ("/api/v3/exchangeInfo?symbol=XYZ", "invalid symbol XYZ"),
        ("/stream?streams=xyz@trade", "unknown stream 'xyz@trade'"),
        ("/stream", "unknown stream ''"),
        ("/ws/btcfdusd@kline_1m", "unknown stream 'btcfdusd@kline_1m'"),
    ],
)
async def test_bad_requests_are_refused_in_one_line(
    instruments: tuple[Instrument, ...], path: str, reason: str
) -> None:
    async with (
        SimulatedVenue(market(instruments)) as venue,
        aiohttp.ClientSession() as session,
        session.get(venue.rest_url + path) as response,
    ):
        assert response.status == 400
        assert reason in (await response.json())["msg"]


async def test_plain_requests(instruments: tuple[Instrument, ...]) -> None:
    venue = SimulatedVenue(market(instruments), speed=math.inf)
    async with connected(venue, instruments) as binance, aiohttp.ClientSession() as session:
        raws, _ = await everything(binance)
        trades = data_of(raws, "ethbtc@trade")

        async def get(path: str) -> Any:
            async with session.get(venue.rest_url + path) as response:
                assert response.status == 200
                return await response.json()

        assert await get("/api/v3/ping") == {}
        newest = await get("/api/v3/trades?symbol=ETHBTC&limit=3")
        assert [(item["id"], item["price"]) for item in newest] == [(t["t"], t["p"]) for t in trades[-3:]]
        assert await get("/api/v3/historicalTrades?symbol=ETHBTC&limit=3") == newest
        information = await get('/api/v3/exchangeInfo?symbols=["ETHBTC"]')
        [symbol] = information["symbols"]
        assert [item.get("tickSize") or item["stepSize"] for item in symbol["filters"]] == ["0.00001000", "0.00010000"]
        filters = await binance.exchange_information()
        assert {key: (item.tick_size, item.lot_size) for key, item in filters.items()} == {
            instrument.key: (instrument.tick_size, instrument.lot_size) for instrument in instruments
        }
        status = await get("/simulated/status")
        assert (status["finished"], status["failure"], status["subscribers"]) == (True, None, 0)
        assert (await get("/simulated/truth"))["seed"] == 6


async def test_a_single_stream_and_live_subscriptions(instruments: tuple[Instrument, ...]) -> None:
    venue = SimulatedVenue(market(instruments, days=None), speed=20.0)
    async with (
        venue,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{venue.stream_url}/ws/btcfdusd@trade") as socket,
    ):
        assert (await socket.receive_json())["e"] == "trade"

        async def ask(command: Any) -> Any:
            await socket.send_str(command if isinstance(command, str) else orjson.dumps(command).decode())
            while True:
                answer = await asyncio.wait_for(socket.receive_json(), 10)
                if "e" not in answer and "u" not in answer:
                    return answer

        assert await ask({"method": "SUBSCRIBE", "params": ["ethbtc@bookTicker"], "id": 1}) == {
            "result": None,
            "id": 1,
        }
        assert await ask({"method": "LIST_SUBSCRIPTIONS", "id": 2}) == {
            "result": ["btcfdusd@trade", "ethbtc@bookTicker"],
            "id": 2,
        }
        assert await ask({"method": "UNSUBSCRIBE", "params": ["btcfdusd@trade"], "id": 3}) == {
            "result": None,
            "id": 3,
        }
        heard = [await asyncio.wait_for(socket.receive_json(), 10) for _ in range(20)]
        assert {message["s"] for message in heard} == {"ETHBTC"}
        assert "error" in await ask({"method": "SUBSCRIBE", "params": ["x@y"], "id": 4})
        assert "error" in await ask({"method": "DANCE", "id": 5})
        assert "error" in await ask("no json")


def test_a_venue_without_speed_is_refused(instruments: tuple[Instrument, ...]) -> None:
    with pytest.raises(ValueError, match="speed must be positive"):
        SimulatedVenue(market(instruments), speed=0)


async def test_a_taken_port_says_so(instruments: tuple[Instrument, ...]) -> None:
    async with SimulatedVenue(market(instruments)) as first:
        second = SimulatedVenue(market(instruments), port=int(first.rest_url.rsplit(":", 1)[1]))
        with pytest.raises(OSError, match="address already in use"):
            await second.start()
        await second.stop()
