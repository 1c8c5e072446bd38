"""The machine that we run on, watched: forward runs of any cut, day runs and restarts give the same rows."""

import random
from typing import Any

import pandas as pd
import pytest

from resources.lake import Progress
from resources.memory_lake import MemoryLake
from signal_assets.anomalies.folds import system_anomalies
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.system_machine import SystemMachine
from signal_assets.anomalies.system_series import SYSTEM, SYSTEM_FEATURES, SYSTEM_GROUP, system_series
from signal_assets.anomalies.tables import (
    ANOMALIES,
    INCIDENT_GROUPS,
    INCIDENTS,
    METRICS,
    SCORES,
    SYSTEM_SAMPLES,
    TABLES,
)
from signal_assets.derivation import asset_name
from signal_assets.event_time import DAY, MINUTE, SECOND, date_of
from signal_assets.fold import forward_fold, recompute_day_fold
from signal_assets.machine import decode_state, encode_state, record_class
from signal_assets.market.stream_codec import decode, encode

START = 20_094 * DAY
INTERVAL = 10 * SECOND
POINTS = 180
PARAMETERS = AnomalyParameters(window=20, minimum_points=10, alerting=("ensemble",), cool_down=2 * MINUTE)
PLANTED = {60: "system.cpu.usage", 120: "system.disk.io"}
"""By number of the point: series that is far off there."""

Row = tuple[Any, ...]
INCIDENT = ANOMALIES.value_columns.index("incident")


def sample_rows(number: int, host: str = "host-1", seed: int = 1) -> list[Row]:
    chance = random.Random(number * 7 + seed)
    rows = []
    for feature in SYSTEM_FEATURES:
        value = 50.0 + chance.gauss(0, 1) + (40.0 if PLANTED.get(number) == system_series(feature) else 0.0)
        rows.append((SYSTEM.key, system_series(feature), START + number * INTERVAL, host, value))
    return rows


def put(lake: MemoryLake, numbers: range) -> None:
    """What a run has taken in."""
    rows = [row for number in numbers for row in sample_rows(number)]
    with lake.transaction(asset=asset_name(SYSTEM_SAMPLES), run_id="raw") as unit:
        before = unit.progress(asset_name(SYSTEM_SAMPLES), SYSTEM_GROUP)
        unit.append(SYSTEM_SAMPLES, decode(SYSTEM_SAMPLES, encode(SYSTEM_SAMPLES, rows)))
        end = START + numbers[-1] * INTERVAL
        unit.advance(asset_name(SYSTEM_SAMPLES), SYSTEM_GROUP, before, Progress(START, end))


def contents(lake: MemoryLake) -> dict[str, pd.DataFrame]:
    found = {}
    for table in TABLES:
        frame = lake.read(table)[list(table.value_columns)]
        found[table.name] = frame.sort_values([str(table.time), *table.key], kind="stable").reset_index(drop=True)
    return found


def forward(lake: MemoryLake, number: int) -> None:
    end = START + number * INTERVAL
    forward_fold(lake, system_anomalies(PARAMETERS), SYSTEM_GROUP, [SYSTEM], end=end, run_id="run")


@pytest.fixture(scope="module")
def whole() -> dict[str, pd.DataFrame]:
    lake = MemoryLake()
    put(lake, range(1, POINTS + 1))
    forward(lake, POINTS)
    return contents(lake)


def test_what_was_planted_is_found(whole: dict[str, pd.DataFrame]) -> None:
    assert len(whole[METRICS.name]) == POINTS * len(SYSTEM_FEATURES)
    assert set(whole[METRICS.name]["instrument"]) == {"SYSTEM.PLATFORM"}
    assert set(whole[SCORES.name]["detector"]) == {"z_score", "iqr", "mad", "ema", "ensemble", "novelty"}
    critical = whole[ANOMALIES.name].query("severity == 'CRITICAL' and detector == 'ensemble'")
    found = {((row.time - START) // INTERVAL, row.series) for row in critical.itertuples()}
    assert set(PLANTED.items()) <= found
    assert set(PLANTED.values()) <= set(whole[INCIDENTS.name]["series"])


@pytest.mark.parametrize("seed", range(3))
def test_any_cut_gives_the_same_rows(whole: dict[str, pd.DataFrame], seed: int) -> None:
    lake, chance, last = MemoryLake(), random.Random(seed), 0
    for cut in [*sorted(chance.sample(range(1, POINTS), 6)), POINTS]:
        put(lake, range(last + 1, cut + 1))
        forward(lake, cut)
        last = cut
    for name, frame in contents(lake).items():
        pd.testing.assert_frame_equal(frame, whole[name])


def test_a_day_run_gives_the_rows_of_forward_runs(whole: dict[str, pd.DataFrame]) -> None:
    lake = MemoryLake()
    put(lake, range(1, POINTS + 1))
    with lake.transaction(asset=asset_name(SYSTEM_SAMPLES), run_id="raw") as unit:
        before = unit.progress(asset_name(SYSTEM_SAMPLES), SYSTEM_GROUP)
        unit.advance(asset_name(SYSTEM_SAMPLES), SYSTEM_GROUP, before, Progress(START, START + DAY))
    forward(lake, POINTS)
    fold, day = system_anomalies(PARAMETERS), date_of(START + SECOND)
    for _ in range(2):
        recompute_day_fold(lake, fold, SYSTEM_GROUP, [SYSTEM], day=day, run_id="day")
    for name, frame in contents(lake).items():
        pd.testing.assert_frame_equal(frame, whole[name])


def record(row: Row) -> Any:
    return record_class(SYSTEM_SAMPLES)._make(row)


def step(machine: SystemMachine, number: int, host: str = "host-1") -> Any:
    records = [record(row) for row in sample_rows(number, host)]
    return machine.step(START + number * INTERVAL, {SYSTEM_SAMPLES.name: records})


def test_another_machine_begins_cold() -> None:
    machine, fresh = SystemMachine([SYSTEM], PARAMETERS), SystemMachine([SYSTEM], PARAMETERS)
    for number in range(1, 41):
        step(machine, number)
    for number in range(41, 81):
        here, there = step(machine, number, "host-2"), step(fresh, number, "host-2")
        if number == 41:  # what the first had open ends here
            here = {name: rows for name, rows in here.items() if name not in (INCIDENTS.name, INCIDENT_GROUPS.name)}
        assert repr(here) == repr(there)  # NaN and all
    assert encode_state(machine.state()) == encode_state(fresh.state())


@pytest.mark.parametrize("restored", [False, True])
def test_what_a_host_had_open_is_closed_when_another_reports(restored: bool) -> None:
    machine = SystemMachine([SYSTEM], PARAMETERS)
    opened: set[str] = set()
    closed: list[Row] = []
    for number in range(1, 63):  # the burst at 60 is still firing: 300 s are 30 points
        rows = step(machine, number)
        opened |= {row[INCIDENT] for row in rows.get(ANOMALIES.name, ()) if row[INCIDENT]}
        closed += rows.get(INCIDENTS.name, [])
    is_open = opened - {row[0] for row in closed}
    assert is_open
    if restored:
        state = decode_state(encode_state(machine.state()))
        machine = SystemMachine([SYSTEM], PARAMETERS)
        machine.restore(state)
    rows = step(machine, 70, "host-2")
    assert {row[0] for row in rows[INCIDENTS.name]} == is_open
    groups = {row[INCIDENTS.value_columns.index("incident_group")] for row in rows[INCIDENTS.name]}
    assert {row[0] for row in rows[INCIDENT_GROUPS.name]} == groups
    for table in (INCIDENTS, INCIDENT_GROUPS):
        assert {row[table.value_columns.index("closed")] for row in rows[table.name]} == {START + 70 * INTERVAL}
    assert not any(step(machine, number, "host-2").get(INCIDENTS.name) for number in range(71, 80))


def test_a_restored_machine_goes_on() -> None:
    machine = SystemMachine([SYSTEM], PARAMETERS)
    for number in range(1, 61):
        step(machine, number)
    other = SystemMachine([SYSTEM], PARAMETERS)
    other.restore(decode_state(encode_state(machine.state())))
    for number in range(61, 100):
        assert repr(step(machine, number)) == repr(step(other, number))


def test_a_series_that_is_absent_or_unknown_has_no_row() -> None:
    machine = SystemMachine([SYSTEM], PARAMETERS)
    rows = [record(row) for row in sample_rows(1) if row[1] != "system.disk.io"]
    rows.append(record((SYSTEM.key, "system.unknown", START + INTERVAL, "host-1", 1.0)))
    made = machine.step(START + INTERVAL, {SYSTEM_SAMPLES.name: rows})
    assert [row[1] for row in made[METRICS.name]] == ["system.cpu.usage", "system.memory.usage", "system.network.io"]
    assert machine.step(START + 2 * INTERVAL, {}) == {}
