"""The engine against batch: the same folds, fed in any pieces, make the rows that runs make over a lake."""

import random
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest

from resources.memory_lake import MemoryLake
from resources.settings import load_settings
from services.live_lane.group_engine import GroupEngine
from services.live_lane.live_folds import live_folds
from signal_assets.derivation import Input, NotCompleteError
from signal_assets.event_time import DAY, MINUTE, SECOND
from signal_assets.fold import Fold, forward_fold, frame_of
from signal_assets.machine import Events, Rows
from signal_assets.market.tables import FEATURES, TRADES
from signal_assets.signals.tables import SIGNALS
from signal_assets.table import Table
from tests.live_lane.toy_folds import (
    GROUP,
    INSTRUMENTS,
    MOVES,
    ONE,
    PLANS,
    START,
    TWO,
    Moves,
    contents,
    feature_row,
    feature_rows,
    lake_with,
    outputs,
    seconds,
    toy_folds,
)


def nothing(start: int) -> Mapping[str, Sequence[Any]]:
    return {}


def stepped(engine: GroupEngine, pieces: Sequence[tuple[str, Any]]) -> dict[str, list[tuple[Any, ...]]]:
    made: dict[str, list[tuple[Any, ...]]] = {}
    for instrument, output in pieces:
        engine.take(instrument, output.features, output.watermark)
        while step := engine.step():
            for name, rows in step.rows.items():
                made.setdefault(name, []).extend(rows)
    return made


def in_batch(lake: MemoryLake, folds: Sequence[Fold], end: int, instruments: Any = INSTRUMENTS, seed: int = 3) -> None:
    chance = random.Random(seed)
    cuts = sorted(START + chance.randrange(1, (end - START) // SECOND) * SECOND for _ in range(4))
    for cut in [*cuts, end]:
        for fold in folds:
            forward_fold(lake, fold, instruments[0].group, instruments, end=cut, run_id="batch")


def assert_same(live: Mapping[str, list[tuple[Any, ...]]], lake: MemoryLake, tables: Sequence[Table]) -> None:
    for table in tables:
        order = [str(table.time), *table.key]
        frame = frame_of(table, live.get(table.name, [])).sort_values(order, kind="stable").reset_index(drop=True)
        found = lake.read(table)[list(table.value_columns)].sort_values(order, kind="stable").reset_index(drop=True)
        pd.testing.assert_frame_equal(frame, found, check_exact=True, obj=table.name)


@pytest.mark.parametrize("seed", range(4))
def test_any_pieces_give_the_rows_of_runs_in_any_cuts(seed: int) -> None:
    # The plans hash everything they are handed, with its types: records are the same too, None for None.
    rows, end = feature_rows(seconds(1, 300), seed=seed), START + 300 * SECOND
    lake, folds = lake_with(rows, end), toy_folds()
    in_batch(lake, folds, end, seed=seed)
    live = stepped(GroupEngine(INSTRUMENTS, toy_folds(), nothing), outputs(rows, end, seed=seed))
    assert_same(live, lake, [table for fold in folds for table in fold.tables])
    assert len(live[SIGNALS.name]) >= 40
    assert len(live[PLANS.name]) == len({row[1] for mine in rows.values() for row in mine})


@pytest.mark.slow
def test_the_real_folds_give_the_rows_of_runs() -> None:
    settings = load_settings()
    instruments = settings.groups["crypto"][:3]
    chance = random.Random(11)
    times = seconds(10, 3 * 3_600, 10)
    base = {instrument.key: 6_000_000_000_000 // 10**position for position, instrument in enumerate(instruments)}
    rows: dict[str, list[tuple[Any, ...]]] = {instrument.key: [] for instrument in instruments}
    for time in times:
        for instrument in instruments:
            if chance.random() < 0.02:
                continue  # a gap
            shock = 40 if chance.random() < 0.01 else 1
            base[instrument.key] += round(base[instrument.key] * chance.gauss(0, 2e-4) * shock)
            row = dict(zip(FEATURES.value_columns, feature_row(instrument, time, chance), strict=True))
            bid = base[instrument.key] // instrument.tick_size * instrument.tick_size
            ask = bid + instrument.tick_size
            row |= {"best_bid": bid, "best_ask": ask, "mid_price": (bid + ask) / (2 * 10**8), "spread": ask - bid}
            row["bid_price_20"] = tuple(bid - level * instrument.tick_size for level in range(20))
            row["ask_price_20"] = tuple(ask + level * instrument.tick_size for level in range(20))
            row["last_price"] = bid
            rows[instrument.key].append(tuple(row[name] for name in FEATURES.value_columns))
    lake, end = lake_with(rows, times[-1]), times[-1]
    folds = live_folds(settings)
    in_batch(lake, folds, end, instruments)

    def in_force(start: int) -> Mapping[str, Sequence[Any]]:
        return {table.name: [] for fold in folds for table in fold.in_force}

    engine = GroupEngine(instruments, live_folds(settings), in_force)
    live = stepped(engine, outputs(rows, end, longest=200))
    assert engine.failed == {}
    assert_same(live, lake, [table for fold in folds for table in fold.tables])
    for table in (fold.tables[0] for fold in folds):
        assert table.name == "strategies.triangular_arbitrage" or live[table.name], table.name


def test_a_time_is_complete_when_the_quietest_instrument_has_closed_it() -> None:
    engine = GroupEngine(INSTRUMENTS, toy_folds(), nothing)
    rows = feature_rows(seconds(1, 10), missing=0)
    engine.take(ONE.key, rows[ONE.key], START + 10 * SECOND)
    assert engine.step() is None  # nothing is known of the other one
    engine.take(TWO.key, [], START + 3 * SECOND)  # it was closed without rows
    times = []
    while step := engine.step():
        times.append(step.time)
    assert times == seconds(1, 3)
    assert engine.pending == 7
    engine.take(TWO.key, rows[TWO.key][3:9], START + 9 * SECOND)
    while step := engine.step():
        times.append(step.time)
    assert times == seconds(1, 9)
    engine.take(TWO.key, rows[TWO.key], START + 9 * SECOND)  # a repeat
    assert engine.pending == 1
    engine.take(TWO.key, rows[TWO.key], START + 10 * SECOND)
    assert engine.pending == 2
    step = engine.step()
    assert step is not None
    assert [row[:3] for row in step.rows[MOVES.name]] == [
        (TWO.key, "a", START + 10 * SECOND),
        (TWO.key, "b", START + 10 * SECOND),
        (ONE.key, "a", START + 10 * SECOND),
        (ONE.key, "b", START + 10 * SECOND),
    ]


class Brittle(Moves):
    def step(self, time: int, events: Events) -> Rows:
        if time == START + 4 * SECOND:
            raise ZeroDivisionError("at four\no'clock")
        return super().step(time, events)


def test_a_machine_that_raises_drops_out_and_the_others_go_on() -> None:
    folds = toy_folds()
    brittle = Fold("brittle", folds[0].tables, folds[0].inputs, lambda instruments: Brittle())
    engine = GroupEngine(INSTRUMENTS, [brittle, *folds[1:]], nothing)
    rows, end = feature_rows(seconds(1, 20), missing=0), START + 20 * SECOND
    live = stepped(engine, outputs(rows, end))
    assert engine.failed == {"brittle": "ZeroDivisionError: at four o'clock"}
    assert {row[2] for row in live[MOVES.name]} == set(seconds(2, 3))
    assert len(live[PLANS.name]) == 20
    assert [row[SIGNALS.value_columns.index("event_time")] for row in live[SIGNALS.name]][::2] == seconds(5, 20, 5)


def test_nothing_is_stepped_before_it_is_known_what_is_in_force() -> None:
    asked: list[int] = []

    def learned(start: int) -> Mapping[str, Sequence[Any]]:
        asked.append(start)
        if start == START + DAY and asked.count(start) < 3:
            raise NotCompleteError("not yet")
        return {}

    folds = toy_folds()
    engine = GroupEngine(INSTRUMENTS, folds, learned)
    times = [START + DAY - SECOND, START + DAY, START + DAY + SECOND, START + DAY + 2 * SECOND]
    rows = feature_rows(times, missing=0)
    for key, mine in rows.items():
        engine.take(key, mine, times[-1])
    assert engine.step() is not None
    assert engine.step() is not None  # midnight sharp closes the old day
    for _ in range(2):
        with pytest.raises(NotCompleteError):
            engine.step()
    assert engine.coming == START + DAY + SECOND
    made = [engine.step(), engine.step()]
    assert [step.time for step in made if step] == times[2:]
    assert [int(step.rows[PLANS.name][0][2].split()[0]) for step in made if step] == [3, 4]  # no step was lost
    assert asked == [START, START + DAY, START + DAY, START + DAY]


def test_a_fold_over_a_table_nobody_makes_here_is_refused() -> None:
    fold = Fold("trades", (MOVES,), (Input(TRADES),), lambda instruments: Moves())
    with pytest.raises(ValueError, match=r"trades: the live lane has no rows of market\.trades"):
        GroupEngine(INSTRUMENTS, [fold], nothing)
    with pytest.raises(ValueError, match=r"plans: the live lane has no rows of toy\.moves"):
        GroupEngine(INSTRUMENTS, toy_folds()[1:], nothing)  # made by nobody before it


def test_the_toys_do_what_they_say() -> None:
    rows = feature_rows(seconds(1, 30), missing=0)
    lake = lake_with(rows, START + MINUTE)
    in_batch(lake, toy_folds(), START + MINUTE)
    found = contents(lake, [MOVES, SIGNALS])
    mids = [row[FEATURES.value_columns.index("mid_price")] for row in rows[ONE.key]]
    moves = [row[3] for row in found[MOVES.name] if row[0] == ONE.key and row[1] == "b"]
    assert moves == [after - before for before, after in pairwise(mids)]
    assert len(found[SIGNALS.name]) == 12
    assert GROUP == ONE.group == TWO.group
