"""Triangular arbitrage: three trades that end in the currency they began with, and in more of it.

Belongs here: the cycles of a group, their profit at size, when they fire. Does not belong here: walking one book
(``book_walk``), sending the legs.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, ClassVar, Literal, NamedTuple

from signal_assets.fixed_point import SCALE, format_fixed
from signal_assets.instrument import Instrument
from signal_assets.strategies.book_walk import Taken, buy_for, sell
from signal_assets.strategies.strategy import Candidate, Leg, Strategy


@dataclass(frozen=True, slots=True)
class TriangularArbitrageParameters:
    """Where cycles begin, with how much, and what must come of it.

    Parameters
    ----------
    start_currencies : tuple of str
        Currencies of the account, each worth about one unit of it; a cycle begins with the first of them that is in it,
        and one without any of them is left alone.
    start_amount : int
        What a cycle begins with, units of 1e-8 of that currency.
    threshold : int
        Profit after fees that must be exceeded, as a fraction of what was put in, units of 1e-8.

    Raises
    ------
    ValueError
        If there is no start currency, or one twice, or a number is not positive.
    """

    start_currencies: tuple[str, ...] = ("FDUSD", "USDT", "USDC", "USD", "EUR")
    start_amount: int = 1_000 * SCALE
    threshold: int = 50_000

    def __post_init__(self) -> None:
        if not self.start_currencies or len(set(self.start_currencies)) < len(self.start_currencies):
            raise ValueError(f"start_currencies must be some, each once, not {self.start_currencies}")
        for name in ("start_amount", "threshold"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")


class Trade(NamedTuple):
    """One trade of a cycle: pays ``gives`` for ``takes``; ``buys`` says whether that buys the base currency."""

    instrument: Instrument
    key: str
    gives: str
    takes: str
    buys: bool


class Cycle(NamedTuple):
    """Three trades, one after the other; ``gain`` and ``cost`` hold what its bound does not take from the books.

    The best prices bound the profit from above, since all rounding is against us: with fees f, bids b of what is sold
    and asks a of what is bought, ``Π b · Π (1 - f) / Π a > 1 + threshold`` must hold, here multiplied out to integers.
    """

    trades: tuple[Trade, ...]
    gain: int
    cost: int

    @property
    def key(self) -> str:
        """Its instruments in order, which tell it from all others, the other direction included."""
        return ">".join(trade.key for trade in self.trades)

    @property
    def path(self) -> str:
        """Its currencies in order, ``FDUSD>BTC>ETH>FDUSD``."""
        return ">".join((self.trades[0].gives, *(trade.takes for trade in self.trades)))

    def may_profit(self, features: Mapping[str, Any]) -> bool | None:
        """Whether the best prices leave more than the threshold; None if an instrument has no row."""
        gain, cost = self.gain, self.cost
        for _, key, _, _, buys in self.trades:
            row = features.get(key)
            if row is None:
                return None
            if buys:
                cost *= row.best_ask
            else:
                gain *= row.best_bid
        return gain > cost

    def walk(self, features: Mapping[str, Any], amount: int) -> list[Taken] | None:
        """All three trades at size, each with what the one before has received; None if a book is too thin."""
        made = []
        for instrument, key, _, _, buys in self.trades:
            row = features[key]
            if buys:
                prices, quantities, take = row.ask_price_20, row.ask_quantity_20, buy_for
            else:
                prices, quantities, take = row.bid_price_20, row.bid_quantity_20, sell
            taken = take(amount, prices, quantities, instrument.lot_size, instrument.taker_fee)
            if taken is None:
                return None
            made.append(taken)
            amount = taken.received
        return made


def cycles(instruments: Sequence[Instrument], parameters: TriangularArbitrageParameters) -> Iterator[Cycle]:
    """Both directions of every cycle of three instruments of one venue, in a fixed order.

    A perpetual future (``…-PERP``) delivers nothing that the next trade could pay with, so it is in no cycle.
    """
    spot = [instrument for instrument in instruments if not instrument.symbol.endswith("-PERP")]
    between: dict[tuple[str, frozenset[str]], list[Instrument]] = defaultdict(list)
    for instrument in spot:
        between[instrument.venue, frozenset((instrument.base, instrument.quote))].append(instrument)
    for rank, start in enumerate(parameters.start_currencies):
        earlier = parameters.start_currencies[:rank]
        touching = [
            (instrument, other)
            for instrument in spot
            if start in (instrument.base, instrument.quote)
            and (other := instrument.quote if instrument.base == start else instrument.base) not in earlier
        ]
        for (first, one), (last, two) in permutations(touching, 2):
            if first.venue == last.venue:
                for middle in between.get((first.venue, frozenset((one, two))), ()):
                    yield _cycle(((first, start, one), (middle, one, two), (last, two, start)), parameters.threshold)


def _cycle(trades: Iterable[tuple[Instrument, str, str]], threshold: int) -> Cycle:
    made = []
    gain, cost = SCALE, SCALE + threshold
    for instrument, gives, takes in trades:
        buys = takes == instrument.base
        made.append(Trade(instrument, instrument.key, gives, takes, buys))
        gain *= (SCALE - instrument.taker_fee) * (SCALE if buys else 1)
        cost *= SCALE * (1 if buys else SCALE)
    return Cycle(tuple(made), gain, cost)


class TriangularArbitrage(Strategy[TriangularArbitrageParameters]):
    """Fires when going once around three books leaves more than the fees and the threshold.

    At every grid point, for both directions of every cycle whose three instruments have a row: if the best prices alone
    leave enough, the cycle is walked through the twenty levels at size, each trade with what the one before has
    received. Quantities are rounded down to lots, payments up, receipts down, and the taker fee of each instrument (up)
    is taken out of what is received; what the second and third trade leave over counts for nothing. What the first
    leaves over has not been spent: ``profit = (received - spent) / spent`` must exceed the threshold. A book too thin
    for the size means that there is no opportunity. All of it in integers.

    It fires when an opportunity appears, and again only after a grid point that showed it gone. One at which an
    instrument has no row shows nothing.

    One candidate has three legs, each with its quantity and, as limit price, the worst level it needs; instrument,
    action, entry price (that limit) and quantity are those of the first. ``raw_confidence = min(0.9, 0.5 · profit /
    threshold)``.

    Metadata: ``profit_fraction``, ``direction`` (currencies in order), ``start_currency``, ``amounts`` (what is put in,
    then what each trade receives, as decimal texts).
    """

    name: ClassVar[str] = "triangular_arbitrage"
    family: ClassVar[str] = "arbitrage"
    tier: ClassVar[Literal["fast", "tactical", "strategic", "learning"]] = "fast"
    look_back: ClassVar[int] = 0
    inputs: ClassVar[tuple[str, ...]] = (
        "best_bid",
        "best_ask",
        "bid_price_20",
        "bid_quantity_20",
        "ask_price_20",
        "ask_quantity_20",
    )

    def __init__(self, instruments: Sequence[Instrument], parameters: TriangularArbitrageParameters) -> None:
        super().__init__(instruments, parameters)
        self._cycles = {cycle.key: cycle for cycle in cycles(self.instruments, parameters)}
        self._open = dict.fromkeys(self._cycles, False)

    def step(self, time: int, features: Mapping[str, Any]) -> list[Candidate]:
        """Opportunities that appear now."""
        candidates = []
        for key, cycle in self._cycles.items():
            promising = cycle.may_profit(features)
            if promising is None:
                continue
            candidate = self._proposed(cycle, features) if promising else None
            if candidate is not None and not self._open[key]:
                candidates.append(candidate)
            self._open[key] = candidate is not None
        return candidates

    def _proposed(self, cycle: Cycle, features: Mapping[str, Any]) -> Candidate | None:
        given = self.parameters
        made = cycle.walk(features, given.start_amount)
        if made is None:
            return None
        spent = made[0].given
        gained = made[-1].received - spent
        if gained * SCALE <= given.threshold * spent:
            return None
        legs = tuple(
            Leg(trade.key, "buy" if trade.buys else "sell", taken.quantity, taken.limit_price)
            for trade, taken in zip(cycle.trades, made, strict=True)
        )
        return Candidate(
            instrument=legs[0].instrument,
            timeframe="grid",
            action=legs[0].side,
            order_type="limit",
            legs=legs,
            entry_price=made[0].limit_price,
            quantity=made[0].quantity,
            raw_confidence=min(0.9, 0.5 * gained * SCALE / (given.threshold * spent)),
            metadata={
                "profit_fraction": gained / spent,
                "direction": cycle.path,
                "start_currency": cycle.trades[0].gives,
                "amounts": [format_fixed(amount) for amount in (spent, *(taken.received for taken in made))],
            },
        )

    def state(self) -> dict[str, Any]:
        """The cycles whose opportunity has been reported and is not known to be gone."""
        return {"open": [key for key, is_open in self._open.items() if is_open]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self._open = {key: key in state["open"] for key in self._cycles}
