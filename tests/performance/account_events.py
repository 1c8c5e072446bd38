"""Events of one group to test the accounts with: records, and random histories of fills and prices."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from hypothesis import settings
from hypothesis import strategies as st

from signal_assets.event_time import DAY, HOUR, MINUTE, SECOND
from signal_assets.execution.tables import FILLS
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from signal_assets.machine import Events, Machine, Rows, decode_state, encode_state, record_class
from signal_assets.market.tables import FEATURES
from signal_assets.performance.parameters import PerformanceParameters
from signal_assets.table import Table

INSTRUMENTS = [
    Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", 1_000_000, 1_000),
    Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", 1_000_000, 10_000),
    Instrument("ETHBTC", "BINANCE", "ETH/BTC", 1_000, 10_000),
]
BTC, ETH, CROSS = (instrument.key for instrument in INSTRUMENTS)
PARAMETERS = PerformanceParameters(
    account_currency="FDUSD",
    starting_balance=3_000 * SCALE,
    start_capital={"momentum_rider": 1_000 * SCALE, "triangular_arbitrage": 1_500 * SCALE},
)
MIDNIGHT = 20_000 * DAY

light = settings(max_examples=40, deadline=None)
"""Two cores are shared with everything else: few examples, and no example fails for being slow."""

Fill, Feature = record_class(FILLS), record_class(FEATURES)


def fill(
    time: int,
    side: str,
    quantity: int,
    notional: int,
    fee: int = 0,
    *,
    order: str = "order",
    number: int = 0,
    signal: str = "signal",
    strategy: str = "momentum_rider",
    instrument: str = BTC,
    purpose: str = "entry",
) -> Any:
    """A fill; its price follows from quantity and notional and matters to no sum."""
    price = min(notional * SCALE // quantity, 10**17)
    rest = (purpose, side, price, quantity, notional, fee, SCALE, "taker")
    return Fill(order, number, signal, strategy, instrument, time, *rest)


def quote(time: int, bid: int, ask: int, instrument: str = BTC) -> Any:
    """A features row that has best prices only."""
    absent = dict.fromkeys(Feature._fields)
    return Feature(**absent | {"instrument": instrument, "time": time, "best_bid": bid, "best_ask": ask})


def of_table(history: Sequence[tuple[int, Events]], table: Table) -> list[Any]:
    """All records of one table."""
    return [record for _, events in history for record in events.get(table.name, [])]


def best_prices(history: Sequence[tuple[int, Events]]) -> pd.DataFrame:
    """The best prices as the lake hands them out when only these columns are asked for."""
    columns = ["instrument", "time", "best_bid", "best_ask"]
    records = of_table(history, FEATURES)
    return pd.DataFrame([[getattr(record, name) for name in columns] for record in records], columns=columns)


def run(
    machine: Machine, history: Sequence[tuple[int, Events]], cuts: Sequence[int] = (), make: Any = None
) -> list[Rows]:
    """Rows of every step; before each step named in ``cuts`` a new machine takes over from the state's text."""
    rows = []
    for number, (time, events) in enumerate(history):
        if number in cuts:
            text = encode_state(machine.state())
            machine = make()
            machine.restore(decode_state(text))
            assert encode_state(machine.state()) == text
        rows.append(machine.step(time, events))
    return rows


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, Events]]:
    """Steps some of which are whole minutes or midnights, over four days with gaps; several fills at one time.

    The first step has a price of every instrument, as in life: nothing is filled before its market has been seen.
    """
    spots = st.tuples(st.integers(0, 16), st.sampled_from([0, SECOND, MINUTE, MINUTE + SECOND]))
    offsets = sorted({hours * 6 * HOUR + extra for hours, extra in draw(st.sets(spots, min_size=1, max_size=14))})
    history: list[tuple[int, Events]] = []
    orders = 0
    for number, offset in enumerate(offsets):
        time = MIDNIGHT + offset
        priced = [BTC, CROSS, ETH] if number == 0 else sorted(draw(st.sets(st.sampled_from([BTC, ETH, CROSS]))))
        quotes = []
        for key in priced:
            bid = draw(st.integers(1, 10**6)) * (10_000 if key != CROSS else 10)
            quotes.append(quote(time, bid, bid + draw(st.integers(0, 1_001)), key))
        fills = []
        for _ in range(draw(st.integers(0, 3))):
            orders += 1
            for level in range(draw(st.integers(1, 2))):
                fills.append(
                    fill(
                        time,
                        draw(st.sampled_from(["buy", "sell"])),
                        draw(st.integers(1, 10**9)),
                        draw(st.integers(1, 10**12)),
                        draw(st.integers(0, 10**8)),
                        order=f"order {orders * 7919 % 101}",
                        number=level,
                        signal=f"signal {orders}",
                        strategy=draw(st.sampled_from(["momentum_rider", "triangular_arbitrage", "a stranger"])),
                        instrument=draw(st.sampled_from([BTC, ETH, CROSS])),
                        purpose=draw(st.sampled_from(["entry", "leg", "stop", "exit"])),
                    )
                )
        events: dict[str, list[Any]] = {}
        if quotes:
            events[FEATURES.name] = quotes
        if fills:
            events[FILLS.name] = sorted(fills, key=lambda one: (one.instrument, one.order_id, one.number))
        history.append((time, events))
    return history
