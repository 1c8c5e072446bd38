"""An independent, slow replay with dictionaries of Decimals, to compare the venue with."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import orjson

Side = dict[Decimal, Decimal]


class ReplayedBook:
    """A book kept by the rule book alone: quantities are absolute, 0 removes."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.update_id: int = snapshot["lastUpdateId"]
        self.bids: Side = {Decimal(price): Decimal(quantity) for price, quantity in snapshot["bids"]}
        self.asks: Side = {Decimal(price): Decimal(quantity) for price, quantity in snapshot["asks"]}

    def apply(self, diff: dict[str, Any]) -> None:
        for side, changes in ((self.bids, diff["b"]), (self.asks, diff["a"])):
            for price, quantity in changes:
                side[Decimal(price)] = Decimal(quantity)
                if Decimal(quantity) == 0:
                    del side[Decimal(price)]
        self.update_id = diff["u"]

    def answer(self) -> tuple[int, list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        return self.update_id, sorted(self.bids.items(), reverse=True), sorted(self.asks.items())


def rest_answer(body: dict[str, Any]) -> tuple[int, list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
    """A REST answer in the form of :meth:`ReplayedBook.answer`, in the order in which it came."""
    bids = [(Decimal(price), Decimal(quantity)) for price, quantity in body["bids"]]
    asks = [(Decimal(price), Decimal(quantity)) for price, quantity in body["asks"]]
    return body["lastUpdateId"], bids, asks


def data_of(raws: Iterable[bytes], stream: str) -> list[dict[str, Any]]:
    """The ``data`` of one stream's messages."""
    return [message["data"] for message in map(orjson.loads, raws) if message["stream"] == stream]
