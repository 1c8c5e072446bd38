"""Binance USD-M perpetual futures.

Belongs here: the futures' addresses, weights and limits. Does not belong here: how a request is made and a stream read
(``binance_client.py``), the chain of ``pu`` (``signal_assets.market.order_book``).
"""

from collections.abc import Sequence
from typing import Final

from resources.exchange.binance_client import BinanceClient, Endpoints
from resources.exchange.binance_messages import PERPETUAL
from resources.exchange.errors import ExchangeRefusedError
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
