"""Features rows, and three small folds in a row – moves, plans, signals – whose rows can be worked out by hand."""

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from resources.lake import Lake, Progress
from resources.memory_lake import MemoryLake
from signal_assets.content_id import content_id
from signal_assets.derivation import Input, asset_name
from signal_assets.event_time import MINUTE, SECOND, day_start
from signal_assets.fold import Fold
from signal_assets.instrument import Instrument, whole_group
from signal_assets.machine import Events, Rows
from signal_assets.market.ingest import Output
from signal_assets.market.stream_codec import decode, encode
from signal_assets.market.tables import FEATURES
from signal_assets.signals.tables import SIGNALS
from signal_assets.table import Column, ColumnType, Table

START = 20_094 * 86_400 * SECOND  # 2025-01-06, a Monday
GROUP = "crypto"
ONE = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", tick_size=1_000_000, lot_size=1_000)
TWO = Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", tick_size=1_000_000, lot_size=1_000)
INSTRUMENTS = (ONE, TWO)

MOVES = Table(
    "toy.moves",
    "How far the mid price has come since the row before.",
    (
        Column("instrument", ColumnType.TEXT, ""),
        Column("name", ColumnType.TEXT, ""),
        Column("time", ColumnType.TIME, ""),
        Column("move", ColumnType.REAL, ""),
        Column("last_price", ColumnType.PRICE, "", nullable=True),
        Column("up", ColumnType.FLAG, ""),
        Column("depth", ColumnType.QUANTITY, ""),
    ),
    ("instrument", "name", "time"),
    "fold",
    "time",
)
PLANS = Table(
    "toy.plans",
    "What to do about it.",
    (
        Column("instrument", ColumnType.TEXT, ""),
        Column("time", ColumnType.TIME, ""),
        Column("text", ColumnType.TEXT, ""),
        Column("factor", ColumnType.REAL, ""),
    ),
    ("instrument", "time"),
    "fold",
    "time",
)
FACTORS = Table(
    "learning.factors",
    "What is in force.",
    (
        Column("instrument", ColumnType.TEXT, ""),
        Column("valid_from", ColumnType.TIME, ""),
        Column("value", ColumnType.REAL, ""),
    ),
    ("instrument", "valid_from"),
    "as-of",
    "valid_from",
)


class Moves:
    """Rows come in the wrong order and with whole numbers where reals belong: what is stored has neither."""

    def __init__(self) -> None:
        self.mids: dict[str, float] = {}

    def begin_day(self, start: int, in_force: Mapping[str, Sequence[Any]]) -> None:
        pass

    def step(self, time: int, events: Events) -> Rows:
        rows = []
        for record in events[FEATURES.name]:
            before = self.mids.get(record.instrument)
            self.mids[record.instrument] = record.mid_price
            depth = sum(int(quantity) for quantity in record.bid_quantity_20)
            if before is not None:
                move = record.mid_price - before
                rows.append((record.instrument, "b", time, move, record.last_price, move > 0, depth))
                rows.append((record.instrument, "a", time, time // SECOND % 3, None, 0, depth))
        return {MOVES.name: rows[::-1]}

    def state(self) -> dict[str, Any]:
        return {"mids": self.mids}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.mids = dict(state["mids"])


class Plans:
    """Writes down everything it was handed, types included, and counts its steps."""

    def __init__(self) -> None:
        self.steps = 0
        self.factor = 1.0

    def begin_day(self, start: int, in_force: Mapping[str, Sequence[Any]]) -> None:
        versions = in_force.get(FACTORS.name, [])
        self.factor = versions[-1].value if versions else 1.0

    def step(self, time: int, events: Events) -> Rows:
        self.steps += 1
        seen = {name: [[_typed(value) for value in record] for record in records] for name, records in events.items()}
        text = content_id(json.dumps(seen, sort_keys=True))
        return {PLANS.name: [(whole_group(GROUP), time, f"{self.steps} {text}", self.factor)]}

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.steps = state["steps"]


def _typed(value: Any) -> list[str]:
    return [type(value).__name__, repr(value.tolist() if hasattr(value, "tolist") else value)]


class Signals:
    """Every instrument's every fifth row is a signal; a plan says which step it was."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self.instruments = {instrument.key: instrument for instrument in instruments}
        self.counts = dict.fromkeys(self.instruments, 0)

    def begin_day(self, start: int, in_force: Mapping[str, Sequence[Any]]) -> None:
        pass

    def step(self, time: int, events: Events) -> Rows:
        rows = []
        plans = events.get(PLANS.name, [])
        for record in events.get(FEATURES.name, ()):
            self.counts[record.instrument] += 1
            if self.counts[record.instrument] % 5 == 0:
                status = "validated" if self.counts[record.instrument] % 10 else "rejected"
                rows.append(
                    signal_row(self.instruments[record.instrument], time, status=status, metadata=plans[0].text)
                )
        return {SIGNALS.name: rows}

    def state(self) -> dict[str, Any]:
        return {"counts": self.counts}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.counts = dict(state["counts"])


def signal_row(instrument: Instrument, time: int, **changes: Any) -> tuple[Any, ...]:
    """A row of signals.signals; the timeframe is its own, so that no arbiter stands between two of them."""
    values: dict[str, Any] = {
        "id": content_id(instrument.key, time),
        "strategy": "toy",
        "family": "toys",
        "tier": "fast",
        "instrument": instrument.key,
        "symbol": instrument.symbol,
        "pair": instrument.pair,
        "asset_class": "crypto",
        "timeframe": f"{time // SECOND}",
        "action": "buy",
        "order_type": "market",
        "legs": "[]",
        "entry_price": 6_173_763_000_000,
        "stop_loss": None,
        "take_profit": None,
        "quantity": 0,
        "raw_confidence": 0.5,
        "confidence": 0.75,
        "event_time": time,
        "expires_at": time + MINUTE,
        "signal_type": "entry",
        "severity": "",
        "status": "validated",
        "reasons": "{}",
        "metadata": "{}",
        "parameters_version": "1",
    }
    values |= changes
    values["metadata"] = json.dumps({"plan": values["metadata"]})
    return tuple(values[name] for name in SIGNALS.value_columns)


def toy_folds(*in_force: Table) -> list[Fold]:
    """The three folds, in order; the plans are told what is in force."""
    few = ("instrument", "time", "mid_price", "last_price", "bid_quantity_20")
    return [
        Fold("moves", (MOVES,), (Input(FEATURES, columns=few),), lambda instruments: Moves()),
        Fold(
            "plans",
            (PLANS,),
            (Input(MOVES), Input(FEATURES, columns=("instrument", "time", "spread", "ask_price_20"))),
            lambda instruments: Plans(),
            in_force,
        ),
        Fold("signals", (SIGNALS,), (Input(FEATURES, columns=("instrument", "time")), Input(PLANS)), Signals),
    ]


def feature_row(instrument: Instrument, time: int, chance: random.Random) -> tuple[Any, ...]:
    """A row of market.features such as ingest makes: lists are tuples, the last price may be unknown."""
    bid = 6_000_000_000_000 + chance.randrange(100) * instrument.tick_size
    ask = bid + chance.randrange(1, 4) * instrument.tick_size
    bids = tuple(bid - level * instrument.tick_size for level in range(20))
    asks = tuple(ask + level * instrument.tick_size for level in range(20))
    sizes = tuple(chance.randrange(1, 10**9) for _ in range(20))
    values = {
        "instrument": instrument.key,
        "time": time,
        "best_bid": bid,
        "best_ask": ask,
        "bid_quantity": sizes[0],
        "ask_quantity": sizes[1],
        "bid_price_20": bids,
        "bid_quantity_20": sizes,
        "ask_price_20": asks,
        "ask_quantity_20": sizes[::-1],
        "mid_price": (bid + ask) / (2 * 10**8),
        "spread": ask - bid,
        "imbalance_1": chance.uniform(-1, 1),
        "imbalance_5": chance.uniform(-1, 1),
        "imbalance_20": 0.0,
        "order_flow_imbalance": chance.randrange(-(10**9), 10**9),
        "trade_count": chance.randrange(5),
        "buy_quantity": chance.randrange(10**9),
        "sell_quantity": chance.randrange(10**9),
        "last_price": chance.choice([None, bid]),
        "last_update_id": time // SECOND,
    }
    return tuple(values[name] for name in FEATURES.value_columns)


def feature_rows(times: Sequence[int], *, seed: int = 1, missing: float = 0.2) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of both instruments, some missing."""
    chance = random.Random(seed)
    return {
        instrument.key: [feature_row(instrument, time, chance) for time in times if chance.random() >= missing]
        for instrument in INSTRUMENTS
    }


def seconds(first: int, last: int, step: int = 1) -> list[int]:
    """Grid times, in seconds after START, both ends included."""
    return [START + second * SECOND for second in range(first, last + 1, step)]


def outputs(
    rows: Mapping[str, Sequence[tuple[Any, ...]]], end: int, *, seed: int = 1, longest: int = 7, begin: int = START
) -> list[tuple[str, Output]]:
    """What ingest would hand out in random pieces: each instrument at a pace of its own, but not far ahead."""
    chance = random.Random(seed)
    marks = dict.fromkeys(rows, begin)
    made = []
    while behind := sorted(key for key, mark in marks.items() if mark < end):
        least = min(marks.values())
        key = chance.choice([key for key in behind if marks[key] <= least + longest * SECOND])
        mark = min(end, marks[key] + chance.randrange(1, longest + 1) * SECOND)
        mine = [row for row in rows[key] if marks[key] < row[1] <= mark]
        made.append((key, Output(features=list(mine), watermark=mark, reason="")))
        marks[key] = mark
    return made


def lake_with(rows: Mapping[str, Sequence[tuple[Any, ...]]], end: int) -> MemoryLake:
    """A lake that holds the rows up to ``end``."""
    lake = MemoryLake()
    put_rows(lake, rows, end)
    return lake


def put_rows(lake: Lake, rows: Mapping[str, Sequence[tuple[Any, ...]]], end: int) -> None:
    """Let a lake hold the rows up to ``end``, and know that they are complete."""
    kept = [row for mine in rows.values() for row in mine if row[1] <= end]
    first = min((row[1] for mine in rows.values() for row in mine), default=end)
    with lake.transaction(asset=asset_name(FEATURES), run_id="raw") as unit:
        before = unit.progress(asset_name(FEATURES), GROUP)
        unit.append(FEATURES, decode(FEATURES, encode(FEATURES, kept)))
        origin = before.origin if before is not None else day_start(first)
        unit.advance(asset_name(FEATURES), GROUP, before, Progress(origin, end))


def contents(lake: MemoryLake, tables: Sequence[Table]) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of the tables in order of time, instrument and key, operational columns apart."""
    found = {}
    for table in tables:
        frame = lake.read(table).sort_values([str(table.time), *table.key], kind="stable")
        frame = frame[list(table.value_columns)]
        found[table.name] = [
            tuple(None if value is pd.NA else value for value in row) for row in frame.itertuples(index=False)
        ]
    return found
