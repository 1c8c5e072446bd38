"""What holdings are worth: newest best prices, and their conversion into the account's currency.

Belongs here: the mark that equity and its check share. Does not belong here: cost and profit.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from signal_assets.execution.account_rates import AccountRates, BestPrices, account_currency, middle
from signal_assets.execution.notional import notional
from signal_assets.instrument import Instrument


class BestBidAndAsk(NamedTuple):
    """Best prices of an instrument, quote currency, units of 1e-8."""

    best_bid: int
    best_ask: int


class Marks:
    """Values holdings at (best bid + best ask) // 2, in the account's currency, as the paper broker does.

    Parameters
    ----------
    instruments : sequence of Instrument
        The group.
    currency : str
        The account's; see :func:`~signal_assets.execution.account_rates.account_currency`.
    """

    def __init__(self, instruments: Sequence[Instrument], currency: str) -> None:
        self._quotes = {instrument.key: instrument.quote for instrument in instruments}
        self._rates = AccountRates(instruments, account_currency(instruments, currency))
        self._prices: dict[str, BestPrices] = {}

    def take(self, instrument: str, prices: BestPrices) -> None:
        """Remember the newest prices of an instrument; they hold until newer ones come."""
        self._prices[instrument] = prices

    def value(self, instrument: str, quantity: int) -> int:
        """Value of a holding (negative: short) in the account's currency, rounded once, half to even.

        Raises
        ------
        LookupError
            If no price of the instrument, or nothing that converts its quote currency, has been seen.
        """
        rate = self._rates.rate(self._quotes[instrument], self._prices)
        if rate is None or instrument not in self._prices:
            raise LookupError(f"{instrument} is held, but its market has not been seen in {self._rates.currency}")
        return notional(middle(self._prices[instrument]), quantity, rate)

    def state(self) -> list[list[Any]]:
        """Instrument, best bid and best ask of each, by instrument."""
        return [[key, prices.best_bid, prices.best_ask] for key, prices in sorted(self._prices.items())]

    def restore(self, state: Sequence[Sequence[Any]]) -> None:
        """Go on with those prices."""
        self._prices = {key: BestBidAndAsk(bid, ask) for key, bid, ask in state}


def marks_of(instruments: Sequence[Instrument], currency: str, features: pd.DataFrame) -> Marks:
    """Marks at the newest rows of ``market.features`` (instrument, time, best_bid, best_ask)."""
    marks = Marks(instruments, currency)
    newest = features.sort_values("time", kind="stable").drop_duplicates("instrument", keep="last")
    for key, bid, ask in zip(newest["instrument"], newest["best_bid"], newest["best_ask"], strict=True):
        marks.take(key, BestBidAndAsk(int(bid), int(ask)))
    return marks
