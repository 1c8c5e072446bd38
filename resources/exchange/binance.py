"""Binance spot.

Belongs here: the spot addresses, their weights and the names of the streams. Does not belong here: how a request is
made and a stream read (``binance_client.py``), the meaning of a message (``binance_messages.py``).
"""

from collections.abc import Sequence
from typing import Final

from resources.exchange.binance_client import BinanceClient, Endpoints, ExchangeFilters
from signal_assets.instrument import Instrument

__all__ = ["BinanceSpot", "ExchangeFilters"]

SPOT: Final = Endpoints(
    prefix="/api/v3",
    futures=False,
    weight_limit=6_000,
    depth_limits=(5_000,),  # any number up to this
    depth_weights=((100, 5), (500, 25), (1_000, 50), (5_000, 250)),
    aggregated_trades_weight=4,
    historical_trades_weight=25,
    information_weight=20,
    information_by_symbol=True,
)


class BinanceSpot(BinanceClient):
    """One connection's worth of Binance spot.

    Parameters
    ----------
    instruments : sequence of Instrument
        What to listen to; their ``symbol`` is the exchange's name.
    rest_url, stream_url : str
        Base addresses, without a trailing path.
    with_book_tickers : bool
        Subscribe to best prices too; they carry no exchange time and stay out of the features.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        *,
        rest_url: str = "https://api.binance.com",
        stream_url: str = "wss://stream.binance.com:9443",
        with_book_tickers: bool = False,
    ) -> None:
        super().__init__(
            instruments, SPOT, rest_url=rest_url, stream_url=stream_url, with_book_tickers=with_book_tickers
        )
