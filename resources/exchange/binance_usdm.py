"""Binance USD-M perpetual futures.

Belongs here: the futures' addresses, weights and limits. Does not belong here: how a request is made and a socket read
(``binance_client.py``), the chain of ``pu`` (``signal_assets.market.order_book``).

Since 2026-04-23 the exchange serves books below ``/public`` and trades below ``/market`` only, so it takes two sockets;
one without a path is accepted and stays silent. Source: Binance, "Important WebSocket Change Notice – Base URL Split &
Migration" (USD-M futures, web-socket market streams).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from resources.exchange.binance_client import BinanceClient, Endpoints
from resources.exchange.binance_messages import PERPETUAL
from resources.exchange.errors import ExchangeRefusedError, FeedDisconnectedError, FeedEndedError
from signal_assets.instrument import Instrument

USDM: Final = Endpoints(
    prefix="/fapi/v1",
    futures=True,
    weight_limit=2_400,
    depth_limits=(5, 10, 20, 50, 100, 500, 1_000),  # and no other
    depth_weights=((50, 2), (100, 5), (500, 10), (1_000, 20)),
    aggregated_trades_weight=20,
    historical_trades_weight=20,
    information_weight=1,
    information_by_symbol=False,
)

ROUTES: Final = {"depth": "/public", "bookTicker": "/public", "aggTrade": "/market"}
"""Where the exchange serves a kind of stream."""
WAITING: Final = 10_000
"""Messages that may wait for whoever reads; then the sockets are not read on."""


class BinanceUsdm(BinanceClient):
    """One connection's worth of Binance USD-M perpetuals.

    The book by REST has at most 1,000 levels a side, so coverage is narrower than on spot. The exchange has no stream
    of single trades here: aggregated ones only.

    Parameters
    ----------
    instruments : sequence of Instrument
        What to listen to; ``BTCUSDT-PERP`` of ours is the exchange's ``BTCUSDT``.
    rest_url, stream_url : str
        Base addresses, without a trailing path.

    Raises
    ------
    ExchangeRefusedError
        If an instrument is no perpetual or wants single trades.

    Examples
    --------
    >>> perpetual = Instrument("BTCUSDT-PERP", "BINANCE", "BTC/USDT", 10_000_000, 100_000, trade_stream="aggTrade")
    >>> BinanceUsdm([perpetual]).stream_names
    ['btcusdt@depth@100ms', 'btcusdt@aggTrade']
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        *,
        rest_url: str = "https://fapi.binance.com",
        stream_url: str = "wss://fstream.binance.com",
    ) -> None:
        for instrument in instruments:
            if not instrument.symbol.endswith(PERPETUAL):
                raise ExchangeRefusedError(f"{instrument.key} is no perpetual: its symbol does not end in {PERPETUAL}")
            if instrument.trade_stream != "aggTrade":
                raise ExchangeRefusedError(f"{instrument.key}: USD-M futures have aggregated trades only (aggTrade)")
        super().__init__(instruments, USDM, rest_url=rest_url, stream_url=stream_url)

    async def stream(self) -> AsyncIterator[tuple[int, bytes]]:
        """Messages of the sockets for books and for trades, each in order, as they arrive.

        Yields and raises as :meth:`BinanceClient.stream`: disconnected as soon as one is, ended when all are.
        """
        names: dict[str, list[str]] = {}
        for name in self.stream_names:
            names.setdefault(ROUTES[name.split("@")[1]], []).append(name)
        arrived: asyncio.Queue[tuple[int, bytes] | FeedEndedError | FeedDisconnectedError] = asyncio.Queue(WAITING)

        async def carry(route: str) -> None:
            try:
                async for message in self._listen(self._stream_url + route, names[route]):
                    await arrived.put(message)
            except (FeedEndedError, FeedDisconnectedError) as error:
                await arrived.put(error)

        sockets = [asyncio.create_task(carry(route)) for route in names]
        try:
            open_sockets = len(sockets)
            while True:
                found = await arrived.get()
                if isinstance(found, tuple):
                    yield found
                    continue
                open_sockets -= 1
                if isinstance(found, FeedDisconnectedError) or not open_sockets:
                    raise found
        finally:
            for socket in sockets:
                socket.cancel()
            await asyncio.gather(*sockets, return_exceptions=True)
