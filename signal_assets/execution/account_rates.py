"""What a currency is worth in the account's currency.

Belongs here: which currency the account of a group is kept in, and which instrument's mid price converts into it.
Does not belong here: keeping prices.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from signal_assets.execution.notional import divide_half_even
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument


class BestPrices(Protocol):
    """Best bid and ask of an instrument: a features row has them."""

    @property
    def best_bid(self) -> int:
        """Highest bid."""

    @property
    def best_ask(self) -> int:
        """Lowest ask."""


def middle(prices: BestPrices) -> int:
    """(best bid + best ask) / 2 in units of 1e-8, rounded down."""
    return (prices.best_bid + prices.best_ask) // 2


def account_currency(instruments: Sequence[Instrument], wanted: str) -> str:
    """The wanted currency if an instrument is quoted in it, else the commonest quote (of equals the first by name).

    Examples
    --------
    >>> pairs = ("BTC/USDT", "ETH/USDT", "ETH/BTC")
    >>> group = [Instrument(pair.replace("/", ""), "BINANCE", pair, 1, 1) for pair in pairs]
    >>> account_currency(group, "BTC"), account_currency(group, "FDUSD")
    ('BTC', 'USDT')
    """
    quotes = [instrument.quote for instrument in instruments]
    return wanted if wanted in quotes else min(quotes, key=lambda quote: (-quotes.count(quote), quote))


class AccountRates:
    """Converts by one instrument: ``X/account`` at its mid price, else ``account/X`` at one over it.

    Parameters
    ----------
    instruments : sequence of Instrument
        The group; where several convert, the first by key does.
    currency : str
        The account's.
    """

    def __init__(self, instruments: Sequence[Instrument], currency: str) -> None:
        self.currency = currency
        ordered = sorted(instruments, key=lambda instrument: instrument.key)
        self._direct = {item.base: item.key for item in reversed(ordered) if item.quote == currency}
        self._inverse = {item.quote: item.key for item in reversed(ordered) if item.base == currency}

    def rate(self, currency: str, prices: Mapping[str, BestPrices]) -> int | None:
        """Account currency per one of ``currency``, units of 1e-8; None if nothing known converts."""
        if currency == self.currency:
            return SCALE
        if (direct := prices.get(self._direct.get(currency, ""))) is not None:
            return middle(direct)
        if (inverse := prices.get(self._inverse.get(currency, ""))) is not None:
            return divide_half_even(SCALE * SCALE, middle(inverse))
        return None
