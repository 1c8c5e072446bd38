"""Closed trades: fills matched first in, first out, per strategy and instrument, in integers throughout.

Belongs here: lots, their matching and the machine that writes ``performance.trade_log``. Does not belong here: average
cost (``execution.positions``), equity (``equity``).

A fill on the other side closes the oldest lots first; what it does not need to close opens a lot of its own. Where a
lot or a fill is closed in parts, its notional and its fee are shared in proportion to size and rounded down, the last
part taking the remainder: **the parts of a fill always add up to the fill**.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from signal_assets.content_id import content_id
from signal_assets.execution.broker import booking_rank
from signal_assets.execution.tables import FILLS
from signal_assets.machine import Events, Rows
from signal_assets.performance.tables import TRADE_LOG


def in_order(fills: Iterable[Any]) -> list[Any]:
    """Fills of one time in the order in which they are booked, however they were handed over.

    As the paper broker does it: what closes before what opens, settlements last; then by instrument, order and number.
    """
    return sorted(fills, key=lambda fill: (booking_rank(fill.purpose), fill.instrument, fill.order_id, fill.number))


class Lot(NamedTuple):
    """A fill, or what is left of it; all sizes positive, units of 1e-8.

    Parameters
    ----------
    side : str
        buy: a long position was opened (or a short one closed); sell: the reverse.
    quantity : int
        Base currency.
    notional, fee : int
        Account currency.
    """

    order_id: str
    number: int
    signal_id: str
    side: str
    time: int
    price: int
    quantity: int
    notional: int
    fee: int

    def cut(self, quantity: int) -> "tuple[Lot, Lot | None]":
        """A part of that size and the rest (None if nothing is left); notional and fee add up exactly.

        Examples
        --------
        >>> part, rest = Lot("order", 0, "signal", "buy", 0, 100, quantity=3, notional=100, fee=2).cut(1)
        >>> (part.notional, part.fee), (rest.notional, rest.fee)
        ((33, 0), (67, 2))
        """
        part = self._replace(
            quantity=quantity,
            notional=self.notional * quantity // self.quantity,
            fee=self.fee * quantity // self.quantity,
        )
        if quantity == self.quantity:
            return part, None
        return part, self._replace(
            quantity=self.quantity - quantity, notional=self.notional - part.notional, fee=self.fee - part.fee
        )


def lot_of(fill: Any) -> Lot:
    """The lot a record of ``execution.fills`` would open."""
    return Lot(
        fill.order_id,
        fill.number,
        fill.signal_id,
        fill.side,
        fill.time,
        fill.price,
        fill.quantity,
        fill.notional,
        fill.fee,
    )


def match(lots: list[Lot], fill: Lot) -> list[tuple[Lot, Lot]]:
    """Close the oldest lots with the fill and open what is left of it; ``lots`` (oldest first) is changed in place.

    Returns
    -------
    list of (Lot, Lot)
        What was closed, oldest first: the part of the lot and the part of the fill, of the same size.
    """
    closed: list[tuple[Lot, Lot]] = []
    rest: Lot | None = fill
    while rest is not None and lots and lots[0].side != rest.side:
        size = min(lots[0].quantity, rest.quantity)
        opening, remaining = lots[0].cut(size)
        closing, rest = rest.cut(size)
        lots[:1] = [] if remaining is None else [remaining]
        closed.append((opening, closing))
    if rest is not None:
        lots.append(rest)
    return closed


class TradeLogMachine:
    """Writes a row of ``performance.trade_log`` whenever a fill closes a lot or a part of one."""

    def __init__(self) -> None:
        self._lots: dict[tuple[str, str], list[Lot]] = {}

    def begin_day(self, start: int, in_force: Mapping[str, Sequence[Any]]) -> None:
        """Nothing is in force here."""

    def step(self, time: int, events: Events) -> Rows:
        """Match the fills of ``time``."""
        rows: list[tuple[Any, ...]] = []
        for fill in in_order(events.get(FILLS.name, ())):
            lots = self._lots.setdefault((fill.strategy, fill.instrument), [])
            for opening, closing in match(lots, lot_of(fill)):
                long = opening.side == "buy"
                gross = closing.notional - opening.notional if long else opening.notional - closing.notional
                fees = opening.fee + closing.fee
                rows.append(
                    (
                        content_id(opening.order_id, opening.number, closing.order_id, closing.number),
                        fill.strategy,
                        fill.instrument,
                        opening.signal_id,
                        "long" if long else "short",
                        closing.quantity,
                        opening.time,
                        time,
                        opening.price,
                        closing.price,
                        gross,
                        fees,
                        gross - fees,
                        fill.purpose,
                    )
                )
        return {TRADE_LOG.name: rows} if rows else {}

    def open_lots(self) -> dict[tuple[str, str], tuple[Lot, ...]]:
        """Lots still open, oldest first, by strategy and instrument."""
        return {key: tuple(lots) for key, lots in sorted(self._lots.items()) if lots}

    def state(self) -> dict[str, Any]:
        """The open lots."""
        return {"lots": [[*key, [list(lot) for lot in lots]] for key, lots in self.open_lots().items()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with those lots."""
        self._lots = {
            (strategy, instrument): [Lot(*lot) for lot in lots] for strategy, instrument, lots in state["lots"]
        }
