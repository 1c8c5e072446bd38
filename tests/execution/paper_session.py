"""A machine on a stage: books and signals written as decimal texts, its rows collected as records."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from signal_assets.event_time import SECOND
from signal_assets.execution.paper_broker_machine import PaperBrokerMachine
from signal_assets.execution.parameters import ExecutionParameters
from signal_assets.execution.tables import DEPLOYMENTS, FILLS, ORDERS, POSITIONS, TABLES
from signal_assets.fixed_point import parse_fixed
from signal_assets.instrument import Instrument
from signal_assets.machine import decode_state, encode_state, record_class
from signal_assets.market.tables import FEATURES
from signal_assets.signals.tables import SIGNALS

BTC = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", tick_size=1_000_000, lot_size=1_000)
ETH = Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", tick_size=1_000_000, lot_size=10_000)
ETHBTC = Instrument("ETHBTC", "BINANCE", "ETH/BTC", tick_size=1_000, lot_size=10_000)
GROUP = (BTC, ETH, ETHBTC)

NOON = 1_736_251_200 * SECOND
"""2025-01-07T12:00:00Z."""

RIDER, CROSSOVER, TRIANGLE = "momentum_rider", "moving_average_crossover", "triangular_arbitrage"
ALONE = ExecutionParameters(weights=((RIDER, 1),), maximum_holding=None)
"""One strategy, so that it has the whole 10,000; nothing is closed for its age."""

TABLE_OF = {table.name: table for table in TABLES}


def units(text: str) -> int:
    return parse_fixed(text)


def book(instrument: Instrument, bids: str, asks: str) -> dict[str, Any]:
    """Columns of a features row from ``"100x1 99.5x2"``, best first."""
    columns: dict[str, Any] = {"instrument": instrument.key}
    for side, text in (("bid", bids), ("ask", asks)):
        levels = [tuple(map(units, level.split("x"))) for level in text.split()]
        columns[f"best_{side}"] = levels[0][0]
        columns[f"{side}_price_20"] = [price for price, _ in levels]
        columns[f"{side}_quantity_20"] = [quantity for _, quantity in levels]
    return columns


def signal(instrument: Instrument | None, action: str, price: str = "100", **more: Any) -> dict[str, Any]:
    """Columns of a validated signal that lives for a minute; money in ``more`` as texts."""
    columns: dict[str, Any] = {
        "id": more.pop("id", f"{more.get('strategy', RIDER)} {action}"),
        "strategy": RIDER,
        "instrument": "*.crypto" if instrument is None else instrument.key,
        "action": action,
        "order_type": "market",
        "legs": "[]",
        "entry_price": units(price),
        "quantity": 0,
        "status": "validated",
        "lasts": 60,
    }
    for name in ("stop_loss", "take_profit", "quantity"):
        if name in more:
            columns[name] = units(more.pop(name))
    return columns | more


def record(table: Any, columns: dict[str, Any]) -> Any:
    kind = record_class(table)
    return kind(**(dict.fromkeys(kind._fields) | columns))


@dataclass
class Session:
    """Steps a machine at seconds after noon and keeps what comes of it."""

    parameters: ExecutionParameters = ALONE
    instruments: Sequence[Instrument] = GROUP
    rows: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.machine = PaperBrokerMachine(self.instruments, self.parameters)

    def step(self, second: float, *columns: dict[str, Any]) -> dict[str, list[Any]]:
        """One step with books and signals; the rows of this step."""
        time = NOON + round(second * SECOND)
        events: dict[str, list[Any]] = defaultdict(list)
        for item in columns:
            if "status" in item:
                made = {name: value for name, value in item.items() if name != "lasts"}
                made |= {"event_time": time, "expires_at": time + item["lasts"] * SECOND}
                events[SIGNALS.name].append(record(SIGNALS, made))
            else:
                events[FEATURES.name].append(record(FEATURES, item | {"time": time}))
        new: dict[str, list[Any]] = {name: [] for name in TABLE_OF}
        for name, rows in self.machine.step(time, events).items():
            table = TABLE_OF[name]
            new[name] = [record_class(table)._make(row) for row in rows]
            assert {getattr(row, table.time) for row in new[name]} == {time}
            self.rows[name] += new[name]
        return new

    def change(self, **parameters: Any) -> None:
        """Go on with other parameters, as a service does that reads its configuration anew."""
        state = decode_state(encode_state(self.machine.state()))
        self.parameters = replace(self.parameters, **parameters)
        self.machine = PaperBrokerMachine(self.instruments, self.parameters)
        self.machine.restore(state)

    @property
    def orders(self) -> list[Any]:
        return self.rows[ORDERS.name]

    @property
    def fills(self) -> list[Any]:
        return self.rows[FILLS.name]

    @property
    def positions(self) -> list[Any]:
        return self.rows[POSITIONS.name]

    @property
    def deployments(self) -> list[Any]:
        return self.rows[DEPLOYMENTS.name]

    def statuses(self, purpose: str) -> list[str]:
        """What became of the orders of a purpose, in order."""
        return [row.status for row in self.orders if row.purpose == purpose]


def at(price: str, size: str = "1000") -> dict[str, Any]:
    """A book of one level a side without spread to speak of: bid = price, ask = price + 0.01."""
    ask = units(price) + units("0.01")
    columns = book(BTC, f"{price}x{size}", f"{price}x{size}")
    return columns | {"best_ask": ask, "ask_price_20": [ask]}


def long_ten(session: Session, **more: Any) -> None:
    """Buy 10 at 100.00 flat: cost 1,000, fee 1."""
    session.step(0, signal(BTC, "buy", "100", quantity="10", **more))
    session.step(1, book(BTC, "99.9x99", "100x99"))
    assert session.positions[-1][3:] == (units("10"), units("1000"), 0, units("1"))
