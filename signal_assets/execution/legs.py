"""Signals of several legs: what their JSON says, when legs form a cycle, and what cancels out.

Belongs here: reading legs, scaling them, settling a cycle. Does not belong here: placing orders
(``paper_broker_machine``).

A cycle (FDUSD → BTC → ETH → FDUSD) ends where it began: what one leg bought, another one sold. The account would still
show three open positions, so what all legs have in common is *settled*: booked out of every leg at prices that follow
from one value per currency, so that whatever was bought and sold again cancels out exactly but for the rounding of a
price to 1e-8.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, NamedTuple, Self

from signal_assets.fixed_point import parse_fixed
from signal_assets.instrument import Instrument

CYCLE: Final = 3
"""Fewest legs of a cycle; two legs are a spread, which is held."""


class Leg(NamedTuple):
    """One order of several: base quantity and quote price in units of 1e-8; side 1 buys, -1 sells."""

    instrument: str
    side: int
    quantity: int
    limit_price: int


def read_legs(text: str) -> list[Leg]:
    """Legs of a signal: a JSON list of objects with instrument, side, quantity, limit_price; money as decimal texts.

    Raises
    ------
    ValueError
        If it is anything else, a number is not positive, a limit price is missing, or an instrument stands twice.

    Examples
    --------
    >>> read_legs('[{"instrument": "ETHBTC.BINANCE", "side": "sell", "quantity": "0.4", "limit_price": "0.05"}]')
    [Leg(instrument='ETHBTC.BINANCE', side=-1, quantity=40000000, limit_price=5000000)]
    """
    try:
        legs = [
            Leg(
                item["instrument"],
                {"buy": 1, "sell": -1}[item["side"]],
                parse_fixed(item["quantity"]),
                parse_fixed(item["limit_price"]),
            )
            for item in json.loads(text)
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"legs cannot be read: {type(error).__name__} {error}") from None
    if any(number <= 0 for leg in legs for number in (leg.quantity, leg.limit_price)):
        raise ValueError("legs cannot be read: quantities and limit prices must be positive")
    if len({leg.instrument for leg in legs}) < len(legs):
        raise ValueError("legs cannot be read: an instrument stands twice")
    return legs


def is_cycle(legs: Sequence[Leg], instruments: Mapping[str, Instrument]) -> bool:
    """Whether three legs or more of one venue receive each currency as often as they pay with it."""
    paid, received = [], []
    for leg in legs:
        instrument = instruments[leg.instrument]
        paid.append(instrument.quote if leg.side > 0 else instrument.base)
        received.append(instrument.base if leg.side > 0 else instrument.quote)
    venues = {instruments[leg.instrument].venue for leg in legs}
    return len(legs) >= CYCLE and len(venues) == 1 and sorted(paid) == sorted(received)


def scaled(legs: Sequence[Leg], share: Fraction, instruments: Mapping[str, Instrument]) -> list[Leg]:
    """The legs at ``share`` of their quantities, rounded down to lots."""
    return [
        leg._replace(
            quantity=whole_lots(leg.quantity * share.numerator // share.denominator, instruments[leg.instrument])
        )
        for leg in legs
    ]


def whole_lots(quantity: int, instrument: Instrument) -> int:
    """Rounded down to the instrument's lot."""
    return quantity - quantity % instrument.lot_size


@dataclass(slots=True)
class LegSet:
    """Legs under way, and how much of each is filled."""

    signal_id: str
    strategy: str
    legs: list[Leg]
    order_ids: list[str]
    filled: list[int]

    def book(self, order_id: str, quantity: int) -> None:
        """Take in a fill, if it is one of its orders'."""
        if order_id in self.order_ids:
            self.filled[self.order_ids.index(order_id)] += quantity

    @property
    def is_complete(self) -> bool:
        """Whether every leg got all it wanted."""
        return all(filled == leg.quantity for filled, leg in zip(self.filled, self.legs, strict=True))

    @property
    def share(self) -> Fraction:
        """What all legs have in common: the least filled fraction."""
        return min(Fraction(filled, leg.quantity) for filled, leg in zip(self.filled, self.legs, strict=True))

    def state(self) -> list[Any]:
        """All its fields."""
        return [
            self.signal_id,
            self.strategy,
            [list(leg) for leg in self.legs],
            list(self.order_ids),
            list(self.filled),
        ]

    @classmethod
    def restored(cls, state: Sequence[Any]) -> Self:
        """The set that :meth:`state` told of."""
        signal_id, strategy, legs, order_ids, filled = state
        return cls(signal_id, strategy, [Leg(*leg) for leg in legs], list(order_ids), list(filled))
