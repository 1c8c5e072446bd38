"""A small simulated market for all tests of the venue."""

import pytest

from signal_assets.instrument import Instrument


@pytest.fixture(scope="session")
def instruments() -> tuple[Instrument, ...]:
    """The 3-cycle, with Binance's filters."""
    return (
        Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", 1_000_000, 1_000),
        Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", 1_000_000, 10_000, bucket_size=2_000_000),
        Instrument("ETHBTC", "BINANCE", "ETH/BTC", 1_000, 10_000, bucket_size=1_000),
    )
