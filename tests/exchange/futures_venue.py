"""A loopback venue that speaks the protocol of the USD-M futures, written from the exchange's documentation.

Ids of diffs have holes and chain on ``pu`` alone, a snapshot has at most 1,000 levels a side and carries ``E`` and
``T``, prices have as many decimals as the tick. Books come below ``/public`` and trades below ``/market``; a socket
says nothing of streams that are not served where it was opened.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

SERVED = {"public": "btcusdt@depth@100ms", "market": "btcusdt@aggTrade"}
"""The streams there are, by where they are served."""


class FuturesVenue:
    """A perpetual's book and aggregated trades, with the stream's faults: a lost diff, a repeated one, a lost trade."""

    def __init__(self, seed: int, messages: int) -> None:
        rng = random.Random(seed)
        self.bids = {price: 5 for price in range(600_000, 601_000)}
        self.asks = {price: 5 for price in range(601_001, 602_001)}
        self.trades: list[dict[str, Any]] = []
        self.wire: list[bytes] = []
        self.books: dict[int, tuple[dict[int, int], dict[int, int]]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.over = asyncio.Event()
        self.last = 1_000
        for number in range(messages):
            time = 1_700_000_000_000 + 100 * number
            previous, first = self.last, self.last + rng.randint(1, 9)
            self.last = first + rng.randint(0, 30)
            changes: tuple[dict[int, int], dict[int, int]] = ({}, {})
            for _ in range(rng.randint(0, 5)):
                changes[0][rng.randint(600_500, 601_000)] = rng.choice((0, 1, 2, 3))
                changes[1][rng.randint(601_001, 601_500)] = rng.choice((0, 1, 2, 3))
            for side, change in zip((self.bids, self.asks), changes, strict=True):
                side.update(change)
                for price in [price for price, quantity in side.items() if not quantity]:
                    del side[price]
            self.books[self.last] = dict(self.bids), dict(self.asks)
            diff = {"e": "depthUpdate", "E": time, "T": time - 1, "s": "BTCUSDT", "U": first, "u": self.last}
            diff |= {"pu": previous, "b": self.levels(changes[0]), "a": self.levels(changes[1])}
            trade = {"a": 500 + number, "p": "60100.0", "q": "0.002", "f": number, "l": number, "T": time, "m": True}
            self.trades.append(trade)
            copies = {20: 0, 30: 2, 50: 0, 51: 0}.get(number, 1)
            self.wire += [self.combined("depth@100ms", diff)] * copies
            if number not in (40, 41):
                event = {"e": "aggTrade", "E": time, "s": "BTCUSDT"} | trade
                self.wire.append(self.combined("aggTrade", event))

    @staticmethod
    def levels(side: dict[int, int], *, descending: bool = False) -> list[list[str]]:
        return [[f"{p / 10:.1f}", f"{q / 1000:.3f}"] for p, q in sorted(side.items(), reverse=descending)]

    @staticmethod
    def combined(name: str, data: dict[str, Any]) -> bytes:
        return orjson.dumps({"stream": f"btcusdt@{name}", "data": data})

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/fapi/v1/")
        self.asked.append((path, dict(request.query)))
        if path == "exchangeInfo":
            limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2_400}]
            filters = [
                {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
                {"filterType": "LOT_SIZE", "stepSize": "0.001"},
            ]
            other = {"symbol": "ETHUSDT", "filters": []}
            symbols = [other, {"symbol": "BTCUSDT", "filters": filters}]
            return web.json_response({"rateLimits": limits, "symbols": symbols})
        if path == "depth":
            position = int(request.headers["X-Signals-Position"])
            if request.query["limit"] not in {"5", "10", "20", "50", "100", "500", "1000"}:
                return web.json_response({"code": -4021, "msg": "not valid depth limit"}, status=400)
            bids, asks = self.books[position]
            limit = int(request.query["limit"])
            book = {"lastUpdateId": position, "E": 1_700_000_000_000, "T": 1_700_000_000_000}
            book |= {"bids": self.levels(bids, descending=True)[:limit], "asks": self.levels(asks)[:limit]}
            return web.json_response(book, headers={"X-MBX-USED-WEIGHT-1M": "45"})
        if path == "aggTrades":
            first, limit = int(request.query["fromId"]), int(request.query["limit"])
            return web.json_response([trade for trade in self.trades if trade["a"] >= first][:limit])
        return web.json_response({"serverTime": 1_700_000_000_123} if path == "time" else {})

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        route = request.match_info["route"]
        self.asked.append((route, dict(request.query)))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        wanted, over = set(request.query["streams"].split("/")) & {SERVED[route]}, self.over
        self.sockets |= {name: socket for name in wanted}
        if len(self.sockets) < len(SERVED):
            await over.wait()
        else:  # whoever comes last says everything, so that books and trades keep pace with each other
            sockets, self.sockets, self.over = self.sockets, {}, asyncio.Event()
            for raw in self.wire:
                await sockets[orjson.loads(raw)["stream"]].send_str(raw.decode())
                await asyncio.sleep(0.001)
            over.set()
        await socket.close(code=1000, message=b"end of recording")
        return socket

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Its address, http, while it answers on a loopback port."""
        application = web.Application()
        application.router.add_get("/{route:public|market}/stream", self.stream)
        application.router.add_get("/fapi/v1/{path}", self.answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
