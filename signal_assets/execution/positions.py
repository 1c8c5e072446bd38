"""Positions at average cost, in integers.

Belongs here: how a fill changes a holding, its cost and its realized profit, and what a holding is worth. Does not
belong here: orders (``broker``), who holds how much capital (``deployments``).
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, Self

from signal_assets.execution.account_rates import BestPrices, middle
from signal_assets.execution.notional import divide_half_even, notional


@dataclass(slots=True)
class Position:
    """What one strategy holds of one instrument; negative is short.

    At any time, and to the last unit of 1e-8, the cash that flowed (proceeds less payments, fees apart) is
    ``realized - cost``.

    Parameters
    ----------
    quantity : int
        Base currency, units of 1e-8.
    cost, realized, fees : int
        Account currency: signed notional at which the open quantity was opened, profit so far, fees so far.
    signal_id, opened : str, int
        Signal that opened it, and when (µs).
    stop_loss, take_profit : int or None
        Where it is given up and where it is done.
    closing : str
        Purpose of the orders that are bringing it to zero; empty: none are.

    Examples
    --------
    Buy 2 for 200, sell 1 for 130: half the cost leaves, 30 are realized, and 130 - 200 = 30 - 100.

    >>> position = Position("momentum_rider", "BTCFDUSD.BINANCE")
    >>> position.book(1, 2, 200, 0)
    >>> position.book(-1, 1, 130, 0)
    >>> position.quantity, position.cost, position.realized
    (1, 100, 30)
    """

    strategy: str
    instrument: str
    quantity: int = 0
    cost: int = 0
    realized: int = 0
    fees: int = 0
    signal_id: str = ""
    opened: int = 0
    stop_loss: int | None = None
    take_profit: int | None = None
    closing: str = ""

    def book(self, side: int, quantity: int, amount: int, fee: int) -> None:
        """Take in a fill of ``quantity`` for ``amount`` (both positive); one that turns the position is cut in two.

        What a reduction takes out of the cost is its proportional share, rounded half to even; what a turn's closing
        part takes of the amount likewise.
        """
        self.fees += fee
        held = abs(self.quantity)
        if self.quantity * side < 0 and quantity > held:
            closing = divide_half_even(amount * held, quantity)
            self._reduce(side, held, closing)
            quantity, amount = quantity - held, amount - closing
        if self.quantity * side < 0:
            self._reduce(side, quantity, amount)
        else:
            self.quantity += side * quantity
            self.cost += side * amount

    def _reduce(self, side: int, quantity: int, amount: int) -> None:
        share = divide_half_even(self.cost * quantity, abs(self.quantity))
        self.realized -= side * amount + share
        self.cost -= share
        self.quantity += side * quantity
        if not self.quantity:
            self.stop_loss, self.take_profit, self.closing = None, None, ""

    def guard(self, time: int, signal_id: str, stop_loss: int | None, take_profit: int | None) -> None:
        """Let the signal that opened it say when it ends; the first fill sets the time."""
        if self.signal_id != signal_id:
            self.signal_id, self.opened = signal_id, time
        self.stop_loss, self.take_profit = stop_loss, take_profit

    def is_stopped(self, prices: BestPrices) -> bool:
        """Whether the price to close it at has reached the stop: best bid of a long one, best ask of a short one."""
        if self.stop_loss is None:
            return False
        return prices.best_bid <= self.stop_loss if self.quantity > 0 else prices.best_ask >= self.stop_loss

    def unrealized(self, prices: BestPrices, account_rate: int) -> int:
        """Value at the middle of the best prices, less cost; account currency."""
        return notional(middle(prices), self.quantity, account_rate) - self.cost

    def row(self, time: int) -> tuple[Any, ...]:
        """Row of ``execution.positions``."""
        return (self.strategy, self.instrument, time, self.quantity, self.cost, self.realized, self.fees)

    def state(self) -> list[Any]:
        """All its fields, in order."""
        return list(astuple(self))

    @classmethod
    def restored(cls, state: Sequence[Any]) -> Self:
        """The position that :meth:`state` told of."""
        return cls(*state)
