"""Replay = live = back-fill behind the raw tables: anomalies, strategies, signals, execution, performance, learning.

Forward windows of any cut give the rows of the day runs, in every table and every state, through what is learned.
"""

import random
from collections import Counter, defaultdict, deque

import pandas as pd
import pytest

from resources.memory_lake import MemoryLake
from resources.settings import Settings
from services.live_lane.group_engine import GroupEngine, Row
from services.live_lane.live_folds import live_folds
from signal_assets.anomalies.tables import ANOMALIES
from signal_assets.event_time import DAY, HOUR, MINUTE, SECOND, day_start
from signal_assets.fold import WarmMachines, frame_of, versions_in_force
from signal_assets.learning.tables import THRESHOLDS
from signal_assets.market.tables import FEATURES
from signal_assets.signals.tables import SIGNALS
from tests.lanes.market_run import (
    GROUP,
    RawRows,
    assert_equal,
    cuts,
    days_of,
    folded,
    folds,
    random_cuts,
    run_fold_days,
    run_folds_forward,
    shared_lake,
    until_the_end,
)

MINIMA = {
    "anomalies.metrics": 300_000,
    "anomalies.scores": 1_500_000,
    "anomalies.anomalies": 20,
    "anomalies.incidents": 20,
    "anomalies.incident_groups": 20,
    "anomalies.drifts": 10,
    "strategies.triangular_arbitrage": 2,
    "strategies.momentum_rider": 20,
    "strategies.moving_average_crossover": 20,
    "signals.signals": 100,
    "execution.orders": 40,
    "execution.fills": 20,
    "execution.positions": 20,
    "execution.deployments": 9,
    "performance.trade_log": 20,
    "performance.equity": 10_000,
    "performance.daily_equity": 8,
    "performance.metrics": 100,
    "learning.regimes": 9,
    "learning.thresholds": 12,
    "learning.recent_performance": 9,
}

Market = tuple[RawRows, Settings]


@pytest.fixture(scope="module")
def days(generated: Market) -> MemoryLake:
    """The day runs of the three generated days."""
    raw, settings = generated
    lake = shared_lake(raw).branch()
    run_fold_days(lake, settings, raw)
    return lake


def states(lake: MemoryLake, settings: Settings, raw: RawRows) -> dict[tuple[str, int | None], object]:
    """Rolling states and those of all days' ends."""
    ends = [None, *(start + DAY for start in days_of(raw))]
    return {(fold.name, end): lake.state(fold.name, GROUP, end) for fold in folds(settings) for end in ends}


def check(raw: RawRows, settings: Settings, lake: MemoryLake, days: MemoryLake) -> None:
    assert_equal(folded(lake), folded(days))
    assert states(lake, settings, raw) == states(days, settings, raw)


@pytest.mark.slow
def test_three_days_fill_every_table(days: MemoryLake) -> None:
    found = {name: len(rows) for name, rows in folded(days).items()}
    assert {name: (found[name], least) for name, least in MINIMA.items() if found[name] < least} == {}
    by_detector = Counter(days.read(ANOMALIES)["detector"])
    assert by_detector.keys() >= {"ensemble", "novelty", "excess"}
    assert min(by_detector.values()) >= 100
    by_status = Counter(days.read(SIGNALS)["status"])
    assert by_status["validated"] >= 20
    assert by_status["duplicate"] >= 20
    assert by_status["rejected"] >= 20


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.no_cover
def test_six_hours_in_minutes_and_the_rest_at_random_with_warm_machines(generated: Market, days: MemoryLake) -> None:
    raw, settings = generated
    lake = shared_lake(raw).branch()
    minutes = [end for end in cuts(raw, MINUTE) if end <= raw.first + 6 * HOUR]
    rest = [end for end in random_cuts(raw, seed=3, longest=7_200) if end > minutes[-1]]
    run_folds_forward(lake, settings, [*minutes, *rest], WarmMachines())
    check(raw, settings, lake, days)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.no_cover
def test_three_days_in_random_windows_from_kept_states(generated: Market, days: MemoryLake) -> None:
    raw, settings = generated
    lake = shared_lake(raw).branch()
    run_folds_forward(lake, settings, random_cuts(raw, seed=7, longest=7_200))
    check(raw, settings, lake, days)


@pytest.mark.slow
@pytest.mark.no_cover
def test_an_hour_in_ten_seconds_from_kept_states(generated: Market, days: MemoryLake) -> None:
    raw, settings = generated
    lake = shared_lake(raw).branch()
    fine = range(raw.first // HOUR * HOUR + 20 * HOUR, raw.first // HOUR * HOUR + 21 * HOUR, 10 * SECOND)
    run_folds_forward(lake, settings, [*fine, raw.watermark])
    check(raw, settings, lake, days)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.no_cover
def test_three_days_through_the_live_engine(generated: Market, days: MemoryLake) -> None:
    """What the live lane steps as the grid closes, in whatever pieces it closes, are the rows of the day runs."""
    raw, settings = generated
    instruments, chance = settings.groups[GROUP], random.Random(5)
    stepped = live_folds(settings)
    in_force = {table for fold in stepped for table in fold.in_force}
    engine = GroupEngine(
        instruments,
        stepped,
        lambda start: versions_in_force(days, list(in_force), GROUP, instruments, start, day_start(raw.first)),
    )
    waiting = {instrument.key: deque[Row]() for instrument in instruments}
    for row in raw.rows[FEATURES.name]:
        waiting[row[FEATURES.value_columns.index("instrument")]].append(row)
    time = FEATURES.value_columns.index("time")
    closed, signals = dict.fromkeys(waiting, 0), 0
    for start in days_of(raw):
        made: dict[str, list[Row]] = defaultdict(list)
        while any(mark < start + DAY for mark in closed.values()):
            key = chance.choice([key for key in waiting if closed[key] < start + DAY])
            closed[key] = min(start + DAY, max(closed[key], start) + int(1_800 ** chance.random()) * SECOND)
            rows = []
            while waiting[key] and waiting[key][0][time] <= closed[key]:
                rows.append(waiting[key].popleft())
            engine.take(key, rows, closed[key])
            while step := engine.step():
                for name, found in step.rows.items():
                    made[name].extend(found)
        assert engine.failed == {}
        for table in (table for fold in stepped for table in fold.tables):
            order = [str(table.time), *table.key]
            expected = days.read(table, start=start, end=start + DAY)[list(table.value_columns)].sort_values(order)
            actual = frame_of(table, made[table.name]).sort_values(order)
            pd.testing.assert_frame_equal(
                actual.reset_index(drop=True), expected.reset_index(drop=True), check_exact=True, obj=table.name
            )
        signals += sum(row[SIGNALS.value_columns.index("status")] == "validated" for row in made[SIGNALS.name])
    assert signals >= 20


@pytest.mark.slow
def test_the_recording_in_even_and_random_windows(recorded: Market) -> None:
    raw, settings = recorded
    reference = shared_lake(raw).branch()
    run_fold_days(reference, settings, raw)
    for cut in (cuts(raw, 10 * SECOND), cuts(raw, MINUTE), random_cuts(raw, 1, longest=100)):
        lake = shared_lake(raw).branch()
        run_folds_forward(lake, settings, until_the_end(raw, cut))
        check(raw, settings, lake, reference)


@pytest.mark.slow
def test_a_day_learned_from_again_changes_no_version(recorded: Market) -> None:
    raw, settings = recorded
    lake = shared_lake(raw).branch()
    run_fold_days(lake, settings, raw)
    before = folded(lake)
    run_fold_days(lake, settings, raw)
    assert len(before[THRESHOLDS.name]) == 4 * len(days_of(raw))
    assert_equal(before, folded(lake))
