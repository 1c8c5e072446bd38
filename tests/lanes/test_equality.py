"""Replay = live = back-fill: forward windows of any cut and the day run give identical rows, in every table.

Late rows are left out of forward work and taken in by the day run, so forward windows are compared with whole days
computed without them, and everything again after the day runs.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.settings import Settings
from services.simulated_venue.market_plan import FlowSettings
from services.simulated_venue.order_flow import DEFAULT_START, OrderFlow
from signal_assets.event_time import DAY, MINUTE, SECOND, date_of, day_start, from_datetime
from signal_assets.market.tables import FEED_GAPS, TRADES
from tests.lanes.market_run import (
    THREE,
    RawRows,
    assert_equal,
    contents,
    cuts,
    derivations,
    ingest,
    random_cuts,
    raw_lake,
    run_days,
    run_days_without_late_rows,
    run_forward,
    settings_with,
    shared_lake,
    until_the_end,
)

MINIMA_OF_THE_RECORDING = {
    "market.trades": 19_904,
    "market.features": 600,
    "market.depth_snapshots": 11,
    "aggregates.dollar_depth": 10_000,
    "aggregates.dollar_trades": 500,
    "levels.wave_peaks": 1_000,
    "levels.price_zones": 500,
    "levels.value_area": 20,
    "levels.level_outcomes": 50,
}
MINIMA_OF_THREE_DAYS = {
    "market.trades": 20_000,
    "market.features": 150_000,
    "market.depth_snapshots": 10_000,
    "market.feed_gaps": 5,
    "aggregates.dollar_depth": 300_000,
    "aggregates.dollar_trades": 10_000,
    "levels.wave_peaks": 50_000,
    "levels.price_zones": 20_000,
    "levels.value_area": 10_000,
    "levels.level_outcomes": 30_000,
}


def check_cut(raw: RawRows, settings: Settings, ends: Sequence[int]) -> None:
    """Forward in these windows = whole days without late rows; and after the day runs = day runs alone."""
    recorded = shared_lake(raw)
    lake, reference, alone = recorded.branch(), recorded.branch(), recorded.branch()
    run_forward(lake, settings, ends)
    run_days_without_late_rows(reference, settings, raw)
    assert_equal(contents(lake, settings), contents(reference, settings))
    run_days(lake, settings, raw)
    run_days(alone, settings, raw)
    assert_equal(contents(lake, settings), contents(alone, settings))


def check_minima(raw: RawRows, settings: Settings, minima: dict[str, int]) -> None:
    lake = shared_lake(raw).branch()
    run_days(lake, settings, raw)
    found = {name: len(rows) for name, rows in contents(lake, settings).items()}
    found |= {name: len(rows) for name, rows in raw.rows.items()}
    assert {name: found[name] for name, least in minima.items() if found[name] < least} == {}


@pytest.mark.slow
def test_the_recording_fills_every_table(recorded: tuple[RawRows, Settings]) -> None:
    check_minima(*recorded, MINIMA_OF_THE_RECORDING)


@pytest.mark.slow
@pytest.mark.parametrize("step", [10 * SECOND, MINUTE])
def test_the_recording_in_even_windows(recorded: tuple[RawRows, Settings], step: int) -> None:
    raw, settings = recorded
    check_cut(raw, settings, until_the_end(raw, cuts(raw, step)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_recording_in_random_windows(recorded: tuple[RawRows, Settings], seed: int) -> None:
    raw, settings = recorded
    check_cut(raw, settings, until_the_end(raw, random_cuts(raw, seed, longest=100)))


@pytest.mark.slow
def test_three_days_fill_every_table(generated: tuple[RawRows, Settings]) -> None:
    raw, settings = generated
    check_minima(raw, settings, MINIMA_OF_THREE_DAYS)
    late = [row for row in raw.rows[TRADES.name] if row[7]]
    assert len(late) >= 5
    weekdays = {date_of(row[2]).weekday() for row in raw.rows[TRADES.name][::50]}
    assert 5 in weekdays  # a Saturday


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.no_cover  # the same code runs a hundred thousand times; tracing it doubles the time
@pytest.mark.parametrize("step", [10 * SECOND, MINUTE])
def test_three_days_in_even_windows(generated: tuple[RawRows, Settings], step: int) -> None:
    raw, settings = generated
    check_cut(raw, settings, cuts(raw, step))


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.no_cover
def test_three_days_in_random_windows(generated: tuple[RawRows, Settings]) -> None:
    raw, settings = generated
    check_cut(raw, settings, random_cuts(raw, seed=5, longest=7_200))


@pytest.mark.slow
def test_half_an_hour_around_midnight_in_the_real_lake(addresses: Addresses, tmp_path: Path) -> None:
    settings = settings_with(tmp_path, THREE)
    midnight = day_start(DEFAULT_START + DAY + 1)
    start = midnight - 15 * MINUTE
    gap = (None, midnight - 3 * MINUTE, midnight + 2 * MINUTE)
    flow = OrderFlow(
        settings.groups["crypto"],
        start=start,
        seed=3,
        days=30 * MINUTE / DAY,
        settings=FlowSettings.sparse(planned_gaps=(gap,), trades_per_second=0.5, very_late_trade_share=0.01),
    )
    raw = ingest(iter(flow), settings.groups["crypto"], settings)
    assert {row[4] for row in raw.rows[FEED_GAPS.name]} == {"sequence"}
    lake = DuckLake(addresses)
    lake.ensure(derivation.table for derivation in derivations(settings))
    raw_lake(raw, lake)
    last = midnight + 16 * MINUTE
    run_forward(lake, settings, [*range(start + MINUTE, last, MINUTE), raw.watermark])
    forward_rows = contents(lake, settings)
    reference = raw_lake(raw)
    run_days_without_late_rows(reference, settings, raw)
    assert_equal(forward_rows, contents(reference, settings))
    run_days(lake, settings, raw)
    run_days(reference, settings, raw)
    assert_equal(contents(lake, settings), contents(reference, settings))
    lake.close()


def test_the_generated_days_hold_a_saturday() -> None:
    assert from_datetime(datetime(2025, 1, 4, tzinfo=UTC)) == DEFAULT_START + DAY
    assert datetime(2025, 1, 4, tzinfo=UTC).strftime("%A") == "Saturday"
