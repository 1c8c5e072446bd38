"""The execution of one group as a machine: signals become orders, orders fills, fills positions.

Belongs here: the order in which things happen within a step, and the rules that place orders. Does not belong here:
matching (``broker``), averaging (``positions``), limits of a strategy (``deployments``), cycles (``legs``).

In a step: new day and kill switch → orders that are due meet the books of this time → sets of legs that are done →
limits → stops, targets and ages of positions → signals of this time become orders. So a signal never fills at its own
grid point, and whatever is decided in a step meets later data.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from signal_assets.execution.account_rates import AccountRates, BestPrices, account_currency
from signal_assets.execution.broker import SETTLEMENT, Fill, Offers, Order, PaperBroker
from signal_assets.execution.deployments import Deployments
from signal_assets.execution.legs import Leg, LegSet, is_cycle, read_legs, scaled, whole_lots
from signal_assets.execution.notional import divide_half_even, notional
from signal_assets.execution.parameters import ExecutionParameters
from signal_assets.execution.positions import Position
from signal_assets.execution.sizing import entry_quantity, legs_share
from signal_assets.execution.tables import DEPLOYMENTS, FILLS, ORDERS, POSITIONS
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from signal_assets.machine import Events, Rows
from signal_assets.market.tables import FEATURES
from signal_assets.signals.tables import SIGNALS

SIDES: Final = {"buy": 1, "sell": -1}
_TOO_SMALL: Final = "the limits leave less than a lot"


class Quote(NamedTuple):
    """Best prices as a state keeps them."""

    best_bid: int
    best_ask: int


class PaperBrokerMachine:
    """Paper execution of one group; rows of orders, fills, positions and deployments.

    Parameters
    ----------
    instruments : sequence of Instrument
        The group.
    parameters : ExecutionParameters
        Limits and assumptions.
    """

    def __init__(self, instruments: Sequence[Instrument], parameters: ExecutionParameters) -> None:
        self._instruments = {instrument.key: instrument for instrument in instruments}
        self._parameters = parameters
        self._rates = AccountRates(instruments, account_currency(instruments, parameters.account_currency))
        self._broker = PaperBroker(self._instruments, parameters.latency, parameters.slippage_cap)
        self._deployments = Deployments(parameters, instruments[0].group)
        self._positions: dict[tuple[str, str], Position] = {}
        self._open: dict[tuple[str, str], Position] = {}
        self._touched: dict[tuple[str, str], Position] = {}
        self._leg_sets: list[LegSet] = []
        self._prices: dict[str, BestPrices] = {}

    def begin_day(self, start: int, in_force: Mapping[str, Sequence[Any]]) -> None:
        """Nothing is in force here; the first step of a day notices it."""

    def step(self, time: int, events: Events) -> Rows:
        """Fill what is due, watch what is held, act on what is new."""
        self._deployments.begin_step(time, self._equity)
        market = {row.instrument: row for row in events.get(FEATURES.name, ())}
        self._prices.update(market)
        if self._broker.orders or self._open or self._leg_sets:
            self._trade(time, market)
        for signal in events.get(SIGNALS.name, ()):
            if signal.status == "validated":
                if signal.legs not in ("", "[]"):
                    self._enter_legs(time, signal)
                elif signal.action in SIDES:
                    self._enter(time, signal)
        return self._fetch_rows(time)

    def state(self) -> dict[str, Any]:
        """Best prices, live orders, positions, sets of legs and deployments."""
        return {
            "prices": {key: [row.best_bid, row.best_ask] for key, row in self._prices.items()},
            "orders": self._broker.state(),
            "positions": [position.state() for position in self._positions.values()],
            "leg_sets": [leg_set.state() for leg_set in self._leg_sets],
            "deployments": self._deployments.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self._prices = {key: Quote(*prices) for key, prices in state["prices"].items()}
        self._broker.restore(state["orders"])
        positions = [Position.restored(fields) for fields in state["positions"]]
        self._positions = {(item.strategy, item.instrument): item for item in positions}
        self._open = {key: item for key, item in self._positions.items() if item.quantity}
        self._leg_sets = [LegSet.restored(fields) for fields in state["leg_sets"]]
        self._deployments.restore(state["deployments"])

    # What is under way

    def _trade(self, time: int, market: Mapping[str, Any]) -> None:
        self._broker.expire(time)
        self._stand_down(time)
        offers = Offers(market)
        for order in self._broker.due(time, offers):
            rate = self._account_rate(order.instrument)
            if rate is not None:
                held = self._position(order.strategy, order.instrument).quantity
                for fill in self._broker.execute(time, order, offers, rate, held):
                    self._book(time, fill)
        for leg_set in list(self._leg_sets):
            self._see_through(time, leg_set, market)
        watched = self._open | self._touched
        for strategy in sorted({strategy for strategy, _ in watched}):
            self._deployments.judge(time, strategy, self._equity(strategy))
        self._stand_down(time)
        for key in sorted(watched):
            self._attend(time, watched[key], market)

    def _stand_down(self, time: int) -> None:
        """Withdraw the opening orders of every strategy that may not open anything."""
        for order in list(self._broker.orders.values()):
            if order.opens and (reason := self._deployments.refusal(order.strategy)):
                self._broker.cancel(time, order.id, reason)

    def _book(self, time: int, fill: Fill) -> None:
        order = fill.order
        key = order.strategy, order.instrument
        position = self._position(*key)
        before = position.realized - position.fees
        position.book(order.side, fill.quantity, fill.notional, fill.fee)
        self._deployments[order.strategy].banked += position.realized - position.fees - before
        if order.opens and position.quantity * order.side > 0:
            position.guard(time, order.signal_id, order.stop_loss, order.take_profit)
        for leg_set in self._leg_sets:
            leg_set.book(order.id, fill.quantity)
        self._positions[key] = self._touched[key] = position
        if position.quantity:
            self._open[key] = position
        else:
            self._open.pop(key, None)

    def _see_through(self, time: int, leg_set: LegSet, market: Mapping[str, Any]) -> None:
        """Once none of its orders is live: settle a cycle, liquidate what a set leaves where it should not."""
        if any(order_id in self._broker.orders for order_id in leg_set.order_ids):
            return
        positions = [self._position(leg_set.strategy, leg.instrument) for leg in leg_set.legs]
        cycle = is_cycle(leg_set.legs, self._instruments)
        untouched = all(
            position.quantity == leg.side * filled
            for position, leg, filled in zip(positions, leg_set.legs, leg_set.filled, strict=True)
        )
        if cycle and untouched:
            if any(leg.instrument not in market for leg in leg_set.legs):
                return
            self._settle(time, leg_set)
        if cycle or not leg_set.is_complete:
            for position in positions:
                self._close(time, position, "liquidation", "a leg failed")
        self._leg_sets.remove(leg_set)

    def _settle(self, time: int, leg_set: LegSet) -> None:
        """Book out what all legs of a cycle have in common, at one value per currency."""
        legs = scaled(leg_set.legs, leg_set.share, self._instruments)
        worth: list[tuple[int, int]] = []
        for leg in legs:
            rates = self._worth(leg.instrument)
            if rates is None or not leg.quantity:
                return
            worth.append(rates)
        for leg, (base, quote) in zip(legs, worth, strict=True):
            price = divide_half_even(base * SCALE, quote)
            order = Order(
                signal_id=leg_set.signal_id,
                strategy=leg_set.strategy,
                instrument=leg.instrument,
                purpose=SETTLEMENT,
                side=-leg.side,
                quantity=leg.quantity,
                limit_price=price,
            )
            self._book(time, self._broker.settle(time, order, price, quote))

    def _attend(self, time: int, position: Position, market: Mapping[str, Any]) -> None:
        """Watch stop, target and age of a position; see a closing through; leave nothing behind a closed one."""
        live = self._broker.working(position.strategy, position.instrument)
        longest = self._parameters.maximum_holding
        if not position.quantity:
            for order in live:
                if not order.opens or order.signal_id == position.signal_id:
                    self._broker.cancel(time, order.id, "the position is closed")
        elif position.closing:
            if all(order.purpose != position.closing for order in live):
                self._broker.place(time, _closing_order(position, position.closing))
        elif reason := self._deployments.liquidates(position.strategy):
            self._close(time, position, "liquidation", reason)
        elif position.instrument in market and position.is_stopped(market[position.instrument]):
            self._close(time, position, "stop", "the stop was reached")
        elif longest is not None and time - position.opened >= longest:
            self._close(time, position, "exit", "it was held for long enough")
        elif position.take_profit is not None:
            self._aim(time, position, [order for order in live if order.purpose == "target"])

    def _aim(self, time: int, position: Position, targets: Sequence[Order]) -> None:
        """Keep one order resting at the target, as large as the position."""
        size = abs(position.quantity)
        if not targets:
            self._broker.place(time, _closing_order(position, "target", position.take_profit))
        elif targets[0].remaining != size:
            self._broker.modify(time, targets[0].id, quantity=targets[0].filled + size)

    def _close(self, time: int, position: Position, purpose: str, reason: str) -> None:
        """Withdraw whatever works on the position and bring it to zero at market, however many orders that takes."""
        if position.quantity and not position.closing:
            for order in self._broker.working(position.strategy, position.instrument):
                self._broker.cancel(time, order.id, reason)
            position.closing = purpose
            self._broker.place(time, _closing_order(position, purpose))

    # What is new

    def _enter(self, time: int, signal: Any) -> None:
        """Close what is held the other way, then open; or leave a rejected order that says why not."""
        side = SIDES[signal.action]
        order = Order(
            signal_id=signal.id,
            strategy=signal.strategy,
            instrument=signal.instrument,
            purpose="entry",
            side=side,
            quantity=signal.quantity,
            limit_price=signal.entry_price if signal.order_type == "limit" else None,
            expires_at=signal.expires_at,
            stop_loss=signal.stop_loss,
            take_profit=signal.take_profit,
        )
        reason = self._entry_refusal(signal, side)
        if not reason:
            self._make_way(time, order)
            reason = self._size(order, signal.entry_price)
        if reason:
            self._broker.reject(time, order, reason)
        else:
            self._broker.place(time, order)

    def _entry_refusal(self, signal: Any, side: int) -> str:
        if reason := self._refusal(signal.strategy, signal.instrument):
            return reason
        if signal.entry_price <= 0:
            return "the signal has no price"
        if self._position(signal.strategy, signal.instrument).quantity * side > 0:
            return "a position in this direction is open already"
        live = self._broker.working(signal.strategy, signal.instrument)
        if any(order.opens and (order.side == side or order.purpose == "leg") for order in live):
            return "an order that opens a position is under way already"
        return ""

    def _make_way(self, time: int, order: Order) -> None:
        """Withdraw an entry of the other direction; close a position of it."""
        self._close(time, self._position(order.strategy, order.instrument), "exit", "an opposite signal")
        for other in self._broker.working(order.strategy, order.instrument):
            if other.opens:
                self._broker.cancel(time, other.id, "an opposite signal")

    def _size(self, order: Order, price: int) -> str:
        """Set the order's quantity; why there is none, if there is none."""
        if order.side < 0 and not self._parameters.allow_short:
            return "short selling is off"
        instrument = self._instruments[order.instrument]
        rate = self._account_rate(order.instrument) or SCALE
        quantity = entry_quantity(
            self._parameters,
            self._deployments[order.strategy].capital,
            self._free(order.strategy),
            proposed=order.quantity,
            price=price,
            account_rate=rate,
        )
        quantity = whole_lots(quantity, instrument)
        if not quantity:
            return _TOO_SMALL
        order.quantity = quantity
        order.reserved = notional(price, quantity, rate)
        return ""

    def _enter_legs(self, time: int, signal: Any) -> None:
        """Place all legs at once, each to be filled immediately or canceled; or none of them."""
        try:
            legs = read_legs(signal.legs)
        except ValueError as error:
            legs, reason = (
                [Leg(signal.instrument, SIDES.get(signal.action, 1), signal.quantity, signal.entry_price)],
                str(error),
            )
        else:
            reason = self._legs_refusal(signal.strategy, legs)
        rates = [self._account_rate(leg.instrument) or SCALE for leg in legs]
        if not reason:
            share = legs_share(
                self._parameters,
                self._deployments[signal.strategy].capital,
                self._free(signal.strategy),
                [notional(leg.limit_price, leg.quantity, rate) for leg, rate in zip(legs, rates, strict=True)],
            )
            fitting = scaled(legs, share, self._instruments)
            legs, reason = (fitting, "") if all(leg.quantity for leg in fitting) else (legs, _TOO_SMALL)
        orders = [
            Order(
                signal_id=signal.id,
                strategy=signal.strategy,
                instrument=leg.instrument,
                purpose="leg",
                side=leg.side,
                quantity=leg.quantity,
                limit_price=leg.limit_price,
                immediate=True,
                expires_at=signal.expires_at,
                reserved=notional(leg.limit_price, leg.quantity, rate),
            )
            for leg, rate in zip(legs, rates, strict=True)
        ]
        for order in orders:
            if reason:
                self._broker.reject(time, order, reason)
            else:
                self._broker.place(time, order)
        if not reason:
            ids = [order.id for order in orders]
            self._leg_sets.append(LegSet(signal.id, signal.strategy, legs, ids, [0] * len(legs)))

    def _legs_refusal(self, strategy: str, legs: Sequence[Leg]) -> str:
        for leg in legs:
            if reason := self._refusal(strategy, leg.instrument):
                return f"{leg.instrument}: {reason}"
            if self._position(strategy, leg.instrument).quantity or self._broker.working(strategy, leg.instrument):
                return f"{leg.instrument}: a position or an order of the strategy is open already"
        if (
            any(leg.side < 0 for leg in legs)
            and not self._parameters.allow_short
            and not is_cycle(legs, self._instruments)
        ):
            return "short selling is off"
        return ""

    def _refusal(self, strategy: str, instrument: str) -> str:
        if reason := self._deployments.refusal(strategy):
            return reason
        if instrument not in self._instruments:
            return "the instrument is not in the group"
        if self._account_rate(instrument) is None:
            return f"no rate from {self._instruments[instrument].quote} to {self._rates.currency} is known"
        return ""

    # What it comes to

    def _position(self, strategy: str, instrument: str) -> Position:
        return self._positions.get((strategy, instrument)) or Position(strategy, instrument)

    def _account_rate(self, instrument: str) -> int | None:
        known = self._instruments.get(instrument)
        return None if known is None else self._rates.rate(known.quote, self._prices)

    def _worth(self, instrument: str) -> tuple[int, int] | None:
        """Account currency per base and per quote currency."""
        base = self._rates.rate(self._instruments[instrument].base, self._prices)
        quote = self._account_rate(instrument)
        return None if base is None or quote is None else (base, quote)

    def _equity(self, strategy: str) -> int:
        """Capital + realized - fees + what open positions are worth above their cost."""
        deployment = self._deployments[strategy]
        equity = deployment.capital + deployment.banked
        for position in self._open.values():
            if position.strategy == strategy:
                rate = self._account_rate(position.instrument)
                if rate is not None:
                    equity += position.unrealized(self._prices[position.instrument], rate)
        return equity

    def _free(self, strategy: str) -> int:
        """Capital that neither a position that stays nor an order that opens one binds."""
        held = sum(
            abs(position.cost)
            for position in self._open.values()
            if position.strategy == strategy and not position.closing
        )
        ordered = sum(order.reserved for order in self._broker.orders.values() if order.strategy == strategy)
        return self._deployments[strategy].capital - held - ordered

    def _fetch_rows(self, time: int) -> Rows:
        """Rows of this step, handed out once."""
        rows: dict[str, Sequence[tuple[Any, ...]]] = {}
        if self._broker.order_rows:
            rows[ORDERS.name], self._broker.order_rows = self._broker.order_rows, []
        if self._broker.fill_rows:
            rows[FILLS.name], self._broker.fill_rows = self._broker.fill_rows, []
        if self._touched:
            rows[POSITIONS.name] = [self._touched[key].row(time) for key in sorted(self._touched)]
            self._touched = {}
        if self._deployments.rows:
            rows[DEPLOYMENTS.name], self._deployments.rows = self._deployments.rows, []
        return rows


def _closing_order(position: Position, purpose: str, limit_price: int | None = None) -> Order:
    return Order(
        signal_id=position.signal_id,
        strategy=position.strategy,
        instrument=position.instrument,
        purpose=purpose,
        side=-1 if position.quantity > 0 else 1,
        quantity=abs(position.quantity),
        limit_price=limit_price,
    )
