"""The simulated venue's server: Binance's REST and WebSocket protocol on the loopback interface.

Belongs here: HTTP, subscriptions, and the virtual clock that paces the stream. Does not belong here: what is said
(``order_flow.py``, ``recording.py``) and what REST knows (``served_market.py``).
"""

import asyncio
import contextlib
import math
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from services.simulated_venue.order_flow import OrderFlow
from services.simulated_venue.recording import RecordingError, read_recording
from services.simulated_venue.served_market import ServedMarket, frame_head, frames
from services.simulated_venue.venue_message import VenueMessage
from signal_assets.instrument import Instrument

HOST: Final = "127.0.0.1"
END_OF_RECORDING: Final = b"end of recording"
FAILED: Final = (WSCloseCode.INTERNAL_ERROR, b"the venue cannot go on")
POSITION_HEADER: Final = "X-Signals-Position"
BATCH: Final = 256
SEND_BUFFER: Final = 1 << 20
SHORTEST_SLEEP: Final = 0.002
LONGEST_SLEEP: Final = 0.1
CLOSE_SECONDS: Final = 60.0
MOST_DEPTH: Final = 5_000
MOST_TRADES: Final = 1_000


class _Subscriber:
    """One WebSocket connection and the streams it wants."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse, streams: Iterable[str], raw: bool) -> None:
        self.request = request
        self.socket = socket
        self.streams = set(streams)
        self.raw = raw
        self.failed = False

    def wants(self, message: VenueMessage) -> bool:
        return message.stream in self.streams

    async def send(self, payload: bytes) -> None:
        """Write whole frames and wait while the client is too far behind (TCP is the back-pressure)."""
        transport = self.request.transport
        if self.failed or transport is None or transport.is_closing():
            self.failed = True
            return
        transport.write(payload)
        try:
            await self.request.writer.drain()
        except (ConnectionError, OSError):
            self.failed = True


class SimulatedVenue:
    """A venue on 127.0.0.1, driven by a model or by recordings.

    Parameters
    ----------
    source : OrderFlow or sequence of Path
        The market.
    instruments : sequence of Instrument
        For the exchange's filters; a model brings its own.
    speed : float
        Virtual seconds per second; ``math.inf`` is as fast as the clients read.
    port : int
        0 takes a free one.
    start_at_once : bool
        Do not wait for a subscriber before the virtual clock starts.
    subscribers : int
        How many subscribers the clock waits for.
    pause_without_client : bool
        Stop the clock while nobody listens; otherwise a client that comes back finds a gap.

    Examples
    --------
    >>> venue = SimulatedVenue([Path("recording.gz")], speed=math.inf)
    >>> venue.speed
    inf
    """

    def __init__(
        self,
        source: OrderFlow | Sequence[Path],
        *,
        instruments: Sequence[Instrument] = (),
        speed: float = 1.0,
        port: int = 0,
        start_at_once: bool = False,
        subscribers: int = 1,
        pause_without_client: bool = False,
    ) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be positive: {speed}")
        self.speed = speed
        self.model = source if isinstance(source, OrderFlow) else None
        messages = iter(source) if isinstance(source, OrderFlow) else read_recording(source)
        known = source.instruments if isinstance(source, OrderFlow) else tuple(instruments)
        self.market = ServedMarket(messages, known)
        self.failure: RecordingError | None = None
        self.finished = asyncio.Event()
        self._port = port
        self._start_at_once = start_at_once
        self._awaited = subscribers
        self._pause_without_client = pause_without_client
        self._subscribers: list[_Subscriber] = []
        self._injected: list[bytes] = []
        self._listening = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._pusher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def rest_url(self) -> str:
        """Base address of the REST interface."""
        return f"http://{HOST}:{self._port}"

    @property
    def stream_url(self) -> str:
        """Base address of the streams."""
        return f"ws://{HOST}:{self._port}"

    @property
    def virtual_time(self) -> int:
        """The venue's clock, µs UTC: reception time of the newest message served."""
        return self.market.received // 1000

    async def start(self) -> None:
        """Listen, and begin once the clients are there.

        Raises
        ------
        OSError
            When the port is taken.
        """
        application = web.Application()
        application.add_routes(
            [
                web.get("/api/v3/ping", self._ping),
                web.get("/api/v3/time", self._time),
                web.get("/api/v3/exchangeInfo", self._exchange_information),
                web.get("/api/v3/depth", self._depth),
                web.get("/api/v3/trades", self._trades),
                web.get("/api/v3/historicalTrades", self._historical_trades),
                web.get("/stream", self._stream),
                web.get("/ws/{streams:.+}", self._stream),
                web.get("/simulated/status", self._status),
                web.get("/simulated/truth", self._truth),
            ]
        )
        self._runner = web.AppRunner(application, handle_signals=False, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self._pusher = asyncio.create_task(self._push(), name="simulated venue")

    async def stop(self) -> None:
        """Close everything."""
        if self._pusher is not None:
            self._pusher.cancel()
            await asyncio.gather(self._pusher, return_exceptions=True)
        for subscriber in self._subscribers:
            if subscriber.request.transport is not None:
                subscriber.request.transport.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def inject(self, raw: bytes) -> None:
        """Push any text to every subscriber with the next batch, well-formed or not."""
        self._injected.append(raw)

    # the stream ----------------------------------------------------------------------------------------------------

    async def _push(self) -> None:
        try:
            await self._serve_messages()
        except RecordingError as error:
            self.failure = error
            await self._close_all(*FAILED)
        except Exception as error:
            self.failure = RecordingError(f"the venue failed: {type(error).__name__}: {error}")
            await self._close_all(*FAILED)
            raise
        finally:
            self.finished.set()

    async def _serve_messages(self) -> None:
        if not self._start_at_once:
            await self._listening.wait()
        first = self.market.peek()
        virtual_start, wall_start = first.received if first is not None else 0, time.perf_counter()
        while True:
            if self._pause_without_client and not self._subscribers:
                paused = time.perf_counter()
                self._listening.clear()
                await self._listening.wait()
                wall_start += time.perf_counter() - paused
            due = math.inf
            if self.speed != math.inf:
                due = virtual_start + (time.perf_counter() - wall_start) * 1e9 * self.speed
            messages = self.market.take(due, BATCH)
            await self._broadcast(messages)
            if len(messages) == BATCH:
                await asyncio.sleep(0)  # REST requests and pings have their turn
                continue
            coming = self.market.peek()
            if coming is None:
                break
            # before the next message is due, but soon enough for what is injected and for pauses
            ahead = (coming.received - due) / 1e9 / self.speed if self.speed != math.inf else 0.0
            await asyncio.sleep(min(max(ahead, SHORTEST_SLEEP), LONGEST_SLEEP))
        await self._broadcast([])
        await self._close_all(WSCloseCode.OK, END_OF_RECORDING)

    async def _broadcast(self, messages: Sequence[VenueMessage]) -> None:
        extra, self._injected = self._injected, []
        tail = b"".join(frame_head(len(raw)) + raw for raw in extra)
        for subscriber in list(self._subscribers):
            payload = frames(messages, subscriber.wants, only_data=subscriber.raw) + tail
            if payload:
                await subscriber.send(payload)
            if subscriber.failed and subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

    async def _close_all(self, code: int, reason: bytes) -> None:
        subscribers, self._subscribers = self._subscribers, []
        await asyncio.gather(
            *(subscriber.socket.close(code=code, message=reason) for subscriber in subscribers),
            return_exceptions=True,
        )

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        single = request.match_info.get("streams")
        streams = (single or request.query.get("streams", "")).split("/")
        unknown = [name for name in streams if not self._is_stream(name)]
        if unknown:
            return _refusal(f"unknown stream {unknown[0]!r}")
        socket = web.WebSocketResponse(compress=False, timeout=CLOSE_SECONDS)
        await socket.prepare(request)
        if request.transport is not None:
            request.transport.set_write_buffer_limits(high=SEND_BUFFER)
        subscriber = _Subscriber(request, socket, streams, raw=single is not None)
        self._mind_book_tickers(streams)
        if self.finished.is_set():
            code, reason = (WSCloseCode.OK, END_OF_RECORDING) if self.failure is None else FAILED
            await socket.close(code=code, message=reason)
            return socket
        self._subscribers.append(subscriber)
        if len(self._subscribers) >= self._awaited:
            self._awaited = 1
            self._listening.set()
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await subscriber.send(_framed(self._command(subscriber, message.data)))
        finally:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)
        return socket

    def _command(self, subscriber: _Subscriber, text: str) -> bytes:
        """Answer ``{"method":"SUBSCRIBE","params":[…],"id":1}`` and its kin."""
        try:
            command = orjson.loads(text)
            method, names, number = command["method"], command.get("params", []), command.get("id")
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return b'{"error":{"code":2,"msg":"Invalid request"}}'
        if not isinstance(names, list) or not all(isinstance(name, str) and self._is_stream(name) for name in names):
            return orjson.dumps({"error": {"code": 2, "msg": "unknown stream"}, "id": number})
        if method == "LIST_SUBSCRIPTIONS":
            return orjson.dumps({"result": sorted(subscriber.streams), "id": number})
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            return orjson.dumps({"error": {"code": 2, "msg": f"unknown method {method!r}"}, "id": number})
        if method == "SUBSCRIBE":
            subscriber.streams.update(names)
            self._mind_book_tickers(names)
        else:
            subscriber.streams.difference_update(names)
        return orjson.dumps({"result": None, "id": number})

    def _is_stream(self, name: str) -> bool:
        symbol, _, kind = name.partition("@")
        # what a recording holds is known only once it was served, so any symbol may be asked of it
        return kind in ("depth@100ms", "trade", "bookTicker") and (
            self.model is None or symbol.upper() in self.market.symbols
        )

    def _mind_book_tickers(self, streams: Iterable[str]) -> None:
        for name in streams:
            if self.model is not None and name.endswith("@bookTicker"):
                self.model.enable_book_tickers(name.partition("@")[0].upper())

    # REST ----------------------------------------------------------------------------------------------------------

    async def _ping(self, request: web.Request) -> web.Response:
        return _json({})

    async def _time(self, request: web.Request) -> web.Response:
        received = self.market.received
        if not received:  # the clock stands at its first message: clients compare clocks before they subscribe
            with contextlib.suppress(RecordingError):  # told to those who subscribe
                first = self.market.peek()
                received = first.received if first is not None else 0
        return _json({"serverTime": received // 1_000_000})

    async def _exchange_information(self, request: web.Request) -> web.Response:
        symbols: Any = [request.query["symbol"]] if "symbol" in request.query else None
        if "symbols" in request.query:
            try:
                symbols = orjson.loads(request.query["symbols"])
            except orjson.JSONDecodeError:
                return _refusal("parameter 'symbols' is no JSON list")
        if symbols is not None and not (isinstance(symbols, list) and all(isinstance(name, str) for name in symbols)):
            return _refusal("parameter 'symbols' is no list of names")
        if symbols and self.model is not None and (unknown := set(symbols) - self.market.symbols):
            return _refusal(f"invalid symbol {min(unknown)}", -1121)
        return _json(self.market.exchange_information(symbols))

    async def _depth(self, request: web.Request) -> web.Response:
        try:
            symbol, limit = self._symbol(request), _number(request, "limit", 100)
            position = request.headers.get(POSITION_HEADER)
            book = self.market.depth(symbol, int(position) if position else None)
        except ValueError as error:
            return _refusal(str(error))
        if book is None:
            return _refusal(f"no book of {symbol} is known at or after update id {position}")
        return web.Response(text=book.answer(min(limit, MOST_DEPTH)), content_type="application/json")

    async def _trades(self, request: web.Request) -> web.Response:
        try:
            symbol, limit = self._symbol(request), _number(request, "limit", 500)
        except ValueError as error:
            return _refusal(str(error))
        return _json(self.market.newest_trades(symbol, min(limit, MOST_TRADES)))

    async def _historical_trades(self, request: web.Request) -> web.Response:
        try:
            symbol, limit = self._symbol(request), min(_number(request, "limit", 500), MOST_TRADES)
            from_id = _number(request, "fromId", -1)
            position = request.headers.get(POSITION_HEADER)
            last_id = int(position) if position else None
        except ValueError as error:
            return _refusal(str(error))
        if from_id < 0:
            return _json(self.market.newest_trades(symbol, limit))
        return _json(self.market.trades_from(symbol, from_id, limit, last_id))

    async def _status(self, request: web.Request) -> web.Response:
        return _json(
            {
                "virtual_time": self.virtual_time,
                "served": self.market.served,
                "subscribers": len(self._subscribers),
                "finished": self.finished.is_set(),
                "failure": str(self.failure) if self.failure is not None else None,
                "process": os.getpid(),
            }
        )

    async def _truth(self, request: web.Request) -> web.Response:
        return _json(self.model.truth() if self.model is not None else {})

    def _symbol(self, request: web.Request) -> str:
        symbol = request.query.get("symbol", "")
        if not symbol or (self.model is not None and symbol not in self.market.symbols):
            raise ValueError(f"invalid symbol {symbol!r}")
        return symbol


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError(f"parameter {name!r} is no count: {text[:20]!r}")
    return int(text)


def _framed(raw: bytes) -> bytes:
    return frame_head(len(raw)) + raw


def _json(answer: Any) -> web.Response:
    return web.Response(body=orjson.dumps(answer), content_type="application/json")


def _refusal(reason: str, code: int = -1100) -> web.Response:
    return web.Response(status=400, body=orjson.dumps({"code": code, "msg": reason}), content_type="application/json")
