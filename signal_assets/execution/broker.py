"""The paper broker: orders, and what the visible book makes of them.

Belongs here: the life of an order – placed, matched, modified, canceled, expired – and the rows that tell of it. Does
not belong here: why an order is placed (``paper_broker_machine``), what a holding is worth (``positions``). What a fill
assumes is written down in ``docs/paper-broker.md``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final, NamedTuple

from signal_assets.content_id import content_id
from signal_assets.execution.book_walk import Level, left_over, levels_of, walk_book
from signal_assets.execution.notional import fee_of, notional
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument

BUY, SELL = 1, -1
SIDE_NAMES: Final = {BUY: "buy", SELL: "sell"}
OPENING: Final = ("entry", "leg")
"""Purposes that build up a position; all others may only reduce one."""

SETTLEMENT: Final = "settlement"
"""Purpose of orders that book out what a cycle's legs have in common, without any market."""


def booking_rank(purpose: str) -> int:
    """Place of an order in its step: what closes is booked before what opens, and settlements come last.

    Examples
    --------
    >>> sorted(["settlement", "entry", "stop", "leg"], key=booking_rank)
    ['stop', 'entry', 'leg', 'settlement']
    """
    return 2 if purpose == SETTLEMENT else int(purpose in OPENING)


_DONE: Final = ("filled", "canceled", "expired", "rejected")


@dataclass(slots=True)
class Order:
    """An order; money in units of 1e-8, times in µs.

    Parameters
    ----------
    side : int
        1 buys, -1 sells.
    limit_price : int or None
        Worst price accepted; None: a market order.
    immediate : bool
        What is not filled at once is canceled; a market order always is.
    expires_at : int or None
        From here on it does nothing any more.
    stop_loss, take_profit : int or None
        What guards the position it opens.
    reserved : int
        Account currency it may bind.
    """

    signal_id: str
    strategy: str
    instrument: str
    purpose: str
    side: int
    quantity: int
    limit_price: int | None = None
    immediate: bool = False
    expires_at: int | None = None
    stop_loss: int | None = None
    take_profit: int | None = None
    reserved: int = 0
    id: str = ""
    placed: int = 0
    due: int = 0
    arrived: bool = False
    filled: int = 0
    fills: int = 0
    change: int = 0

    @property
    def remaining(self) -> int:
        """What is still to be filled."""
        return self.quantity - self.filled

    @property
    def opens(self) -> bool:
        """Whether it builds up a position rather than reducing one."""
        return self.purpose in OPENING


class Fill(NamedTuple):
    """One level consumed by an order: base quantity, and account currency."""

    order: Order
    quantity: int
    notional: int
    fee: int


class Offers:
    """What the books of one step offer; what one order took is gone for the next.

    Parameters
    ----------
    market : mapping of str to record
        Rows of ``market.features`` of one time, by instrument.
    """

    def __init__(self, market: Mapping[str, Any]) -> None:
        self._market = market
        self._left: dict[tuple[str, int], list[Level]] = {}

    def __contains__(self, instrument: str) -> bool:
        return instrument in self._market

    def best(self, instrument: str, side: int) -> int:
        """Best price for a buyer (1) or a seller (-1), before anybody took anything."""
        row = self._market[instrument]
        return int(row.best_ask if side == BUY else row.best_bid)

    def levels(self, instrument: str, side: int) -> list[Level]:
        """What is left for a buyer (1) or a seller (-1)."""
        if (instrument, side) not in self._left:
            row = self._market[instrument]
            asked = (row.ask_price_20, row.ask_quantity_20) if side == BUY else (row.bid_price_20, row.bid_quantity_20)
            self._left[instrument, side] = levels_of(*asked)
        return self._left[instrument, side]

    def take(self, order: Order, quantity: int, worst: int) -> list[Level]:
        """Let the order walk what is left; a book whose best price is out of its reach is not looked into."""
        if (self.best(order.instrument, order.side) - worst) * order.side > 0:
            return []
        levels = self.levels(order.instrument, order.side)
        taken = walk_book(levels, quantity, worst, order.side)
        self._left[order.instrument, order.side] = left_over(levels, taken)
        return taken


class PaperBroker:
    """Keeps live orders and fills them from the top of the book.

    Parameters
    ----------
    instruments : mapping of str to Instrument
        By key; they bear the fees.
    latency : int
        From a decision to the first data its order may meet, µs.
    slippage_cap : int
        How far from the best price a market order may go, a fraction in units of 1e-8.

    Attributes
    ----------
    orders : dict of str to Order
        Live orders by id, in the order in which they were placed.
    order_rows, fill_rows : list of tuple
        Rows of ``execution.orders`` and ``execution.fills`` that have not been fetched yet.
    """

    def __init__(self, instruments: Mapping[str, Instrument], latency: int, slippage_cap: int) -> None:
        self._instruments = instruments
        self._latency = latency
        self._slippage_cap = slippage_cap
        self.orders: dict[str, Order] = {}
        self._working: dict[tuple[str, str], list[Order]] = {}
        self.order_rows: list[tuple[Any, ...]] = []
        self.fill_rows: list[tuple[Any, ...]] = []

    def place(self, time: int, order: Order) -> Order:
        """Take an order in; it meets no market before ``time + latency``."""
        self._identify(time, order)
        self._take_in(order)
        self._tell(time, order, "placed")
        return order

    def reject(self, time: int, order: Order, reason: str) -> None:
        """Refuse an order, leaving a row that says why."""
        self._identify(time, order)
        self._tell(time, order, "rejected", reason)

    def modify(self, time: int, order_id: str, *, quantity: int | None = None, limit_price: int | None = None) -> None:
        """Replace an order's size or limit price; it is on its way anew and until then nothing fills.

        Raises
        ------
        KeyError
            If it is not live.
        ValueError
            If it would not be larger than what is filled, or a market order would get a price.
        """
        order = self.orders[order_id]
        if quantity is not None and quantity <= order.filled:
            raise ValueError(f"order {order_id}: {order.filled} of it are filled, so it cannot become {quantity}")
        if limit_price is not None and order.limit_price is None:
            raise ValueError(f"order {order_id} is a market order and takes no limit price")
        order.quantity = order.quantity if quantity is None else quantity
        order.limit_price = order.limit_price if limit_price is None else limit_price
        order.due = time + self._latency
        order.arrived = False
        self._tell(time, order, "modified")

    def cancel(self, time: int, order_id: str, reason: str) -> None:
        """Withdraw what is not filled, at once.

        Raises
        ------
        KeyError
            If the order is not live.
        """
        self._tell(time, self.orders[order_id], "canceled", reason)

    def expire(self, time: int) -> None:
        """Withdraw every order whose time has run out."""
        for order in list(self.orders.values()):
            if order.expires_at is not None and order.expires_at <= time:
                self._tell(time, order, "expired")

    def working(self, strategy: str, instrument: str) -> list[Order]:
        """A strategy's live orders of an instrument, in the order in which they were placed."""
        return list(self._working.get((strategy, instrument), ()))

    def due(self, time: int, offers: Offers) -> list[Order]:
        """Orders that meet the market at ``time``: what closes before what opens, then by time of placing, by id."""
        ready = [order for order in self.orders.values() if order.due <= time and order.instrument in offers]
        return sorted(ready, key=lambda order: (booking_rank(order.purpose), order.placed, order.id))

    def execute(self, time: int, order: Order, offers: Offers, account_rate: int, held: int) -> list[Fill]:
        """Match one order that is due; what a closing order has beyond the holding ``held`` is canceled.

        A market order, and a limit order that is marketable on arrival, take level by level. A limit order that
        rested is filled at its own price, once the opposite side reaches it, up to what is offered there.
        """
        wanted = order.remaining if order.opens else min(order.remaining, max(-held * order.side, 0))
        worst = order.limit_price
        if worst is None:
            best = offers.best(order.instrument, order.side)
            worst = best + order.side * (best * self._slippage_cap // SCALE)
        taken = offers.take(order, wanted, worst)
        rested = order.arrived and order.limit_price is not None
        if rested and taken:
            taken = [(worst, sum(quantity for _, quantity in taken))]
        order.arrived = True
        instrument = self._instruments[order.instrument]
        fee_rate = instrument.maker_fee if rested else instrument.taker_fee
        fills = [
            self._fill(time, order, price, quantity, account_rate, fee_rate, "maker" if rested else "taker")
            for price, quantity in taken
        ]
        if fills:
            self._tell(time, order, "partially_filled" if order.remaining else "filled")
        if order.remaining and sum(fill.quantity for fill in fills) == wanted:
            self.cancel(time, order.id, "nothing is left to close")
        elif order.remaining and (order.limit_price is None or order.immediate):
            self.cancel(time, order.id, self._shortage(order, offers))
        return fills

    def settle(self, time: int, order: Order, price: int, account_rate: int) -> Fill:
        """Book an order as filled at ``price`` without market and fee: legs that cancel each other out."""
        self.place(time, order)
        fill = self._fill(time, order, price, order.quantity, account_rate, 0, "maker")
        self._tell(time, order, "filled", "settled against the other legs")
        return fill

    def state(self) -> list[list[Any]]:
        """Live orders, as lists of their fields."""
        return [list(astuple(order)) for order in self.orders.values()]

    def restore(self, state: Sequence[Sequence[Any]]) -> None:
        """Go on from what :meth:`state` gave."""
        self.orders, self._working = {}, {}
        for fields in state:
            self._take_in(Order(*fields))

    def _take_in(self, order: Order) -> None:
        self.orders[order.id] = order
        self._working.setdefault((order.strategy, order.instrument), []).append(order)

    def _identify(self, time: int, order: Order) -> None:
        order.id = content_id(order.signal_id, order.strategy, order.instrument, order.purpose, time)
        order.placed = time
        order.due = time + self._latency

    def _fill(
        self, time: int, order: Order, price: int, quantity: int, account_rate: int, fee_rate: int, liquidity: str
    ) -> Fill:
        amount = notional(price, quantity, account_rate)
        fee = fee_of(amount, fee_rate)
        self.fill_rows.append(
            (
                order.id,
                order.fills,
                order.signal_id,
                order.strategy,
                order.instrument,
                time,
                order.purpose,
                SIDE_NAMES[order.side],
                price,
                quantity,
                amount,
                fee,
                account_rate,
                liquidity,
            )
        )
        order.fills += 1
        order.filled += quantity
        return Fill(order, quantity, amount, fee)

    def _tell(self, time: int, order: Order, status: str, reason: str = "") -> None:
        self.order_rows.append(
            (
                order.id,
                order.change,
                time,
                order.signal_id,
                order.strategy,
                order.instrument,
                order.purpose,
                SIDE_NAMES[order.side],
                "market" if order.limit_price is None else "limit",
                order.limit_price,
                order.quantity,
                order.filled,
                status,
                reason,
            )
        )
        order.change += 1
        if status in _DONE and self.orders.pop(order.id, None) is not None:
            self._working[order.strategy, order.instrument].remove(order)

    @staticmethod
    def _shortage(order: Order, offers: Offers) -> str:
        if not offers.levels(order.instrument, order.side):
            return "the visible book is used up"
        return "no level within the slippage cap is left" if order.limit_price is None else "no level within its limit"
