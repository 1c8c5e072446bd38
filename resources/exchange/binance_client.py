"""A client of Binance: one combined stream and the REST calls that keep a book and a trade tape complete.

Belongs here: request weights, retries, the stream's life, whatever spot and futures share. Does not belong here: their
addresses and limits (``binance.py``, ``binance_usdm.py``), the meaning of a message (``binance_messages.py``) and what
a book does with it (``signal_assets.market``).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import orjson
import tenacity

from resources.exchange.binance_messages import MessageParser, exchange_symbol
from resources.exchange.errors import (
    ExchangeError,
    ExchangeRefusedError,
    ExchangeUnavailableError,
    FeedDisconnectedError,
    FeedEndedError,
)
from resources.exchange.request_weight import RequestWeightBudget
from signal_assets.event_time import MILLISECOND
from signal_assets.fixed_point import FixedPointError, parse_fixed
from signal_assets.instrument import Instrument
from signal_assets.market.messages import DepthSnapshot, MalformedMessageError, Message, Trade

END_OF_RECORDING: Final = "end of recording"
POSITION_HEADER: Final = "X-Signals-Position"
ATTEMPTS: Final = 6
LONGEST_PAUSE_SECONDS: Final = 120.0
STREAM_SILENCE_SECONDS: Final = 30.0
LARGEST_FRAME: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class ExchangeFilters:
    """An instrument's price and size steps, units of 1e-8."""

    tick_size: int
    lot_size: int


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where one of Binance's markets answers by REST, and what it takes for an answer.

    Parameters
    ----------
    prefix : str
        Of all paths, ``/api/v3``.
    futures : bool
        Whether messages have the futures' form.
    weight_limit : int
        Request weight a minute until the exchange has said better.
    depth_limits : tuple of int
        Numbers of levels that may be asked for, ascending; a single one stands for every number up to it.
    depth_weights : tuple of (int, int)
        Most levels, and the weight of such a request; ascending.
    information_by_symbol : bool
        Whether the exchange information can be asked for some symbols only.
    """

    prefix: str
    futures: bool
    weight_limit: int
    depth_limits: tuple[int, ...]
    depth_weights: tuple[tuple[int, int], ...]
    aggregated_trades_weight: int
    historical_trades_weight: int
    information_weight: int
    information_by_symbol: bool

    def depth_limit(self, wanted: int) -> int:
        """The number of levels to ask for: the least the exchange grants that is not below ``wanted``, or its most."""
        if len(self.depth_limits) == 1:
            return min(wanted, self.depth_limits[0])
        return next((limit for limit in self.depth_limits if limit >= wanted), self.depth_limits[-1])

    def depth_weight(self, limit: int) -> int:
        """Weight of a request for that many levels."""
        return next((weight for most, weight in self.depth_weights if limit <= most), self.depth_weights[-1][1])


class _TryAgainError(ExchangeUnavailableError):
    """The exchange asks for patience; ``pause`` is its own wish in seconds, if it named one."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class BinanceClient:
    """One connection's worth of one of Binance's markets.

    Parameters
    ----------
    instruments : sequence of Instrument
        What to listen to.
    endpoints : Endpoints
        The market.
    rest_url, stream_url : str
        Base addresses, without a trailing path.
    with_book_tickers : bool
        Subscribe to best prices too.

    Raises
    ------
    ExchangeRefusedError
        By a request the exchange will not answer (unknown symbol, ban, bad parameter).
    ExchangeUnavailableError
        When it did not answer usably after all retries.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        endpoints: Endpoints,
        *,
        rest_url: str,
        stream_url: str,
        with_book_tickers: bool = False,
    ) -> None:
        self._instruments = {instrument.key: instrument for instrument in instruments}
        self._endpoints = endpoints
        self._rest_url = rest_url.rstrip("/")
        self._stream_url = stream_url.rstrip("/")
        self._with_book_tickers = with_book_tickers
        self._parser = MessageParser(instruments, futures=endpoints.futures)
        self._budget = RequestWeightBudget(endpoints.weight_limit)
        self._limit_known = False
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Create the client session; sends nothing."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30, connect=10))

    async def close(self) -> None:
        """Close the client session and with it every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def refused_levels(self) -> int:
        """Levels of depth updates left out so far because no book can hold them."""
        return self._parser.refused_levels

    @property
    def used_weight(self) -> int:
        """Request weight spent within the last minute."""
        return self._budget.used

    @property
    def stream_names(self) -> list[str]:
        """Names of the streams one connection subscribes to."""
        names = []
        for instrument in self._instruments.values():
            symbol = exchange_symbol(instrument).lower()
            names += [f"{symbol}@depth@100ms", f"{symbol}@{instrument.trade_stream}"]
            if self._with_book_tickers:
                names.append(f"{symbol}@bookTicker")
        return names

    # the stream ----------------------------------------------------------------------------------------------------

    def stream(self) -> AsyncIterator[tuple[int, bytes]]:
        """Messages of one connection, in order.

        Yields
        ------
        tuple of (int, bytes)
            Our clock at reception in ns, and the raw text.

        Raises
        ------
        FeedEndedError
            When the venue closed with code 1000 and the reason "end of recording".
        FeedDisconnectedError
            However else the connection ended or could not be made.
        """
        return self._listen(self._stream_url, self.stream_names)

    async def _listen(self, address: str, names: Sequence[str]) -> AsyncIterator[tuple[int, bytes]]:
        """Messages of one socket below a base address."""
        try:
            async with self._opened_session().ws_connect(
                f"{address}/stream?streams={'/'.join(names)}",
                max_msg_size=LARGEST_FRAME,
                heartbeat=STREAM_SILENCE_SECONDS,
                compress=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
            ) as socket:
                receive = socket.receive
                while True:
                    message = await receive()
                    if message.type is aiohttp.WSMsgType.TEXT:
                        yield time.time_ns(), message.data.encode()
                    elif message.type is aiohttp.WSMsgType.BINARY:
                        yield time.time_ns(), message.data
                    else:
                        raise _ending(message, socket.close_code)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise FeedDisconnectedError(f"stream {address}: {_words(error)}") from error

    def parse(self, received_ns: int, raw: bytes) -> Message | None:
        """One raw message; ``None`` for the answer to a subscription.

        Raises
        ------
        MalformedMessageError
            With one line that says what is wrong; it never stops a feed.
        """
        return self._parser.parse(received_ns, raw)

    def drain_remarks(self) -> list[tuple[str, int, str]]:
        """Levels left out of depth updates since the last call: (instrument key, event time, one line)."""
        return self._parser.drain_remarks()

    # REST ----------------------------------------------------------------------------------------------------------

    async def depth_snapshot(
        self, instrument_key: str, *, limit: int = 5000, position: int | None = None
    ) -> DepthSnapshot:
        """The book by REST, best price first.

        ``position`` is the update id the answer should belong to; exchanges ignore it, our simulated venue answers
        for exactly that id.
        """
        instrument = self._instrument(instrument_key)
        granted = self._endpoints.depth_limit(limit)
        try:
            snapshot: DepthSnapshot = await self._get(
                "/depth",
                {"symbol": exchange_symbol(instrument), "limit": str(granted)},
                weight=self._endpoints.depth_weight(granted),
                headers={} if position is None else {POSITION_HEADER: str(position)},
                read=lambda body: self._parser.snapshot(instrument, body),
            )
        except MalformedMessageError as error:
            raise ExchangeUnavailableError(str(error)) from error
        return snapshot

    async def historical_trades(self, instrument_key: str, *, from_id: int, limit: int = 1000) -> list[Trade]:
        """Trades with ids from ``from_id`` on, oldest first, at most ``limit`` (1,000)."""
        instrument = self._instrument(instrument_key)
        aggregated = instrument.trade_stream == "aggTrade"
        endpoints = self._endpoints
        answer = await self._get(
            "/aggTrades" if aggregated else "/historicalTrades",
            {"symbol": exchange_symbol(instrument), "fromId": str(from_id), "limit": str(limit)},
            weight=endpoints.aggregated_trades_weight if aggregated else endpoints.historical_trades_weight,
        )
        if type(answer) is not list:
            raise ExchangeUnavailableError(f"{instrument_key} trades by REST: not a list")
        received = time.time_ns() // 1000
        try:
            return [self._parser.rest_trade(instrument, received, item) for item in answer]
        except MalformedMessageError as error:
            raise ExchangeUnavailableError(str(error)) from error

    async def exchange_information(self) -> dict[str, ExchangeFilters]:
        """Price and size steps of our instruments by instrument key, as the exchange states them now."""
        ours = {key: exchange_symbol(instrument) for key, instrument in self._instruments.items()}
        endpoints = self._endpoints
        chosen = {"symbols": orjson.dumps(list(ours.values())).decode()} if endpoints.information_by_symbol else {}
        answer = await self._get("/exchangeInfo", chosen, weight=endpoints.information_weight, learn_limit=False)
        try:
            self._learn_limit(answer)
            by_symbol = {item["symbol"]: item["filters"] for item in answer["symbols"]}
            return {
                key: ExchangeFilters(
                    _filter(by_symbol[symbol], "PRICE_FILTER", "tickSize"),
                    _filter(by_symbol[symbol], "LOT_SIZE", "stepSize"),
                )
                for key, symbol in ours.items()
                if symbol in by_symbol
            }
        except (KeyError, TypeError, FixedPointError) as error:
            raise ExchangeUnavailableError(f"exchange information: {_words(error)}") from error

    async def server_time(self) -> int:
        """The exchange's clock, µs UTC."""
        answer = await self._get("/time", {}, weight=1, learn_limit=False)
        if type(answer) is not dict or type(answer.get("serverTime")) is not int:
            raise ExchangeUnavailableError(f"server time: {str(answer)[:80]}")
        return int(answer["serverTime"]) * MILLISECOND

    async def ping(self) -> float:
        """Seconds of one round trip."""
        start = time.perf_counter()
        await self._get("/ping", {}, weight=1, learn_limit=False)
        return time.perf_counter() - start

    async def _get(
        self,
        path: str,
        parameters: Mapping[str, str],
        *,
        weight: int,
        headers: Mapping[str, str] | None = None,
        learn_limit: bool = True,
        read: Callable[[bytes], Any] = orjson.loads,
    ) -> Any:
        """The answer as ``read`` makes it of the text; one that is no JSON is asked for again."""
        path = self._endpoints.prefix + path
        if learn_limit and not self._limit_known:
            self._limit_known = True  # one attempt; without an answer the documented default stays
            try:
                await self.exchange_information()
            except ExchangeError:
                self._limit_known = False
        try:
            async for attempt in tenacity.AsyncRetrying(
                retry=tenacity.retry_if_exception_type(_TryAgainError),
                stop=tenacity.stop_after_attempt(ATTEMPTS),
                wait=_pause,
                reraise=True,
            ):
                with attempt:
                    await self._budget.acquire(weight)
                    return await self._get_once(path, parameters, headers or {}, read)
        except _TryAgainError as error:
            raise ExchangeUnavailableError(f"{self._rest_url}{path}: {error} (tried {ATTEMPTS} times)") from error
        raise AssertionError("tenacity either returns or raises")

    async def _get_once(
        self, path: str, parameters: Mapping[str, str], headers: Mapping[str, str], read: Callable[[bytes], Any]
    ) -> Any:
        try:
            async with self._opened_session().get(
                self._rest_url + path, params=dict(parameters), headers=dict(headers)
            ) as response:
                body = await response.read()
                status, answered = response.status, response.headers
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _TryAgainError(_words(error)) from error
        used = answered.get("X-MBX-USED-WEIGHT-1M", "")
        if used.isdigit():
            self._budget.observe(int(used))
        if status in (418, 429):
            wish = answered.get("Retry-After", "")
            pause = float(wish) if wish.isdigit() else None
            if pause is not None and pause > LONGEST_PAUSE_SECONDS:
                raise ExchangeRefusedError(f"{path}: status {status}, the exchange bans us for {pause:.0f} s")
            raise _TryAgainError(f"status {status}, too many requests", pause)
        if status >= 500:
            raise _TryAgainError(f"status {status} {body[:120].decode('utf-8', 'replace')}")
        if status != 200:
            raise ExchangeRefusedError(f"{path}: status {status} {body[:200].decode('utf-8', 'replace')}")
        try:
            return read(body)
        except orjson.JSONDecodeError as error:
            raise _TryAgainError(f"answer is not JSON: {error}") from error

    def _learn_limit(self, answer: Mapping[str, Any]) -> None:
        for rate in answer.get("rateLimits", []):
            if rate["rateLimitType"] == "REQUEST_WEIGHT" and rate["interval"] == "MINUTE" and rate["intervalNum"] == 1:
                self._budget.limit = int(rate["limit"])
                self._limit_known = True

    def _instrument(self, key: str) -> Instrument:
        if key not in self._instruments:
            raise ExchangeRefusedError(f"{key} is none of this feed's instruments: {', '.join(self._instruments)}")
        return self._instruments[key]

    def _opened_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise ExchangeError("the exchange adapter is not open: use it as an async context manager")
        return self._session


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds before the next attempt: the exchange's wish, else 0.2 s doubling to 5 s."""
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, _TryAgainError) and error.pause is not None:
        return error.pause
    return float(min(0.2 * 2 ** (state.attempt_number - 1), 5.0))


def _filter(filters: Sequence[Mapping[str, Any]], kind: str, field: str) -> int:
    return next((parse_fixed(item[field]) for item in filters if item["filterType"] == kind), 0)


def _ending(message: aiohttp.WSMessage, close_code: int | None) -> ExchangeError:
    if message.type is aiohttp.WSMsgType.CLOSE and message.data == 1000 and message.extra == END_OF_RECORDING:
        return FeedEndedError("the venue has served its recording to the end")
    if message.type is aiohttp.WSMsgType.ERROR:
        return FeedDisconnectedError(f"the stream broke: {_words(message.data)}")
    reason = f", {message.extra}" if message.extra else ""
    return FeedDisconnectedError(f"the stream was closed (code {close_code}{reason})")


def _words(error: object) -> str:
    text = str(error).strip().splitlines()
    name = "timed out" if isinstance(error, asyncio.TimeoutError) else type(error).__name__
    return f"{name}: {text[0][:160]}" if text else name
