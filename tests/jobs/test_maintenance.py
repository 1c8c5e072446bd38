"""Which rows retention removes, and that what would have read them is refused."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from jobs.maintenance import apply_retention, maintenance_job
from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.lake import Lake, Progress, State
from resources.memory_lake import MemoryLake
from resources.retention_settings import RetentionSettings
from resources.settings import Settings, SettingsError, load_settings
from signal_assets.aggregates.derivations import dollar_trades
from signal_assets.aggregates.tables import DOLLAR_TRADES
from signal_assets.anomalies.folds import anomaly_fold, system_fold
from signal_assets.anomalies.system_series import SYSTEM, SYSTEM_GROUP
from signal_assets.anomalies.tables import METRICS, SYSTEM_SAMPLES
from signal_assets.derivation import Derivation, asset_name, forward, recompute_day
from signal_assets.event_time import DAY, HOUR, MINUTE, SECOND, date_of, start_of_date
from signal_assets.fold import forward_fold, recompute_day_fold
from signal_assets.learning.derivations import regime_derivation
from signal_assets.levels.derivations import value_area
from signal_assets.levels.tables import VALUE_AREA
from signal_assets.market.assets import count_days
from signal_assets.market.tables import FEATURES, TRADES
from signal_assets.market.tables import TABLES as RAW_TABLES
from signal_assets.partitions import Days
from signal_assets.removed_rows import RemovedRowsError
from signal_assets.stage_tables import TABLES
from signal_assets.table import Table
from tests.fakes import FakeLake, FixedSettings

FIRST_DAY = date(2025, 1, 6)
START = start_of_date(FIRST_DAY)
DAYS = 6
END = START + DAYS * DAY
KEY = "BTCFDUSD.BINANCE"
FOUR_DAYS = RetentionSettings(raw_days=4, derived_days=4)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "signals.yaml"
    file.write_text(
        "instruments:\n"
        "  - {symbol: BTCFDUSD, venue: BINANCE, pair: BTC/FDUSD, tick_size: '0.01', lot_size: '0.00001'}\n"
    )
    return load_settings(file)


def day(number: int) -> date:
    return date_of(START + (number + 1) * DAY)


def hourly_trades() -> pd.DataFrame:
    times = np.arange(START + HOUR, END + 1, HOUR)
    return pd.DataFrame(
        {
            "instrument": KEY,
            "trade_id": np.arange(1, len(times) + 1),
            "event_time": times,
            "received_time": times,
            "price": 6_100_000_000_000 + np.arange(len(times)) % 50 * 100_000_000,
            "quantity": 1_000 + np.arange(len(times)),
            "is_buyer_maker": np.arange(len(times)) % 2 == 0,
            "late": False,
            "flags": 0,
        }
    )


def fill(lake: Lake, settings: Settings) -> None:
    """Six days of raw trades, and what the day runs make of them."""
    lake.ensure(TABLES)
    with lake.transaction(asset="market/trades", run_id="raw") as unit:
        unit.append(TRADES, hourly_trades())
        for table in RAW_TABLES:
            unit.advance(asset_name(table), "crypto", None, Progress(START, END))
        for number in range(1, DAYS + 1):
            unit.keep_state(State("fold", "crypto", "day_end", START + number * DAY, "{}"))
    for number in range(DAYS):
        again(lake, dollar_trades(settings), settings, number)


def again(lake: Lake, derivation: Derivation, settings: Settings, number: int) -> None:
    recompute_day(lake, derivation, "crypto", settings.groups["crypto"], day=day(number), run_id="day")


def times_of(lake: Lake, table: Table) -> set[date]:
    return {date_of(int(time)) for time in lake.read(table)[str(table.time)]}


@pytest.fixture
def lake(settings: Settings) -> MemoryLake:
    made = MemoryLake()
    fill(made, settings)
    return made


def test_by_default_every_row_is_kept(lake: MemoryLake, settings: Settings) -> None:
    assert apply_retention(lake, settings.retention, settings.groups, run_id="r") == 0
    assert times_of(lake, TRADES) == {day(number) for number in range(DAYS)}
    assert lake.removed() == {}


def test_whole_days_behind_all_work_go_once(lake: MemoryLake, settings: Settings) -> None:
    assert apply_retention(lake, FOUR_DAYS, settings.groups, run_id="r") > 0
    kept = {day(number) for number in range(2, DAYS)}
    assert times_of(lake, TRADES) == times_of(lake, DOLLAR_TRADES) == kept
    assert {lake.removed()[table.name] for table in RAW_TABLES} == {START + 2 * DAY}
    ends = [number for number in range(1, DAYS + 1) if lake.state("fold", "crypto", START + number * DAY)]
    assert ends == [2, 3, 4, 5, 6]  # the first kept day begins with the state of the end of the second
    assert apply_retention(lake, FOUR_DAYS, settings.groups, run_id="r") == 0


def test_nothing_goes_that_somebody_has_still_to_compute_from(lake: MemoryLake, settings: Settings) -> None:
    with lake.transaction(asset="levels/value_area", run_id="slow") as unit:
        unit.advance("levels/value_area", "crypto", None, Progress(START, START + 4 * DAY + HOUR))
    assert apply_retention(lake, FOUR_DAYS, settings.groups, run_id="r") == 0
    with lake.transaction(asset="levels/value_area", run_id="slow") as unit:
        before = unit.progress("levels/value_area", "crypto")
        unit.advance("levels/value_area", "crypto", before, Progress(START, START + 5 * DAY + HOUR))
    apply_retention(lake, FOUR_DAYS, settings.groups, run_id="r")
    assert times_of(lake, TRADES) == {day(number) for number in range(1, DAYS)}


def test_signals_fills_and_lessons_are_never_removed(lake: MemoryLake, settings: Settings) -> None:
    apply_retention(lake, FOUR_DAYS, settings.groups, run_id="r")
    stages = {name.partition(".")[0] for name in lake.removed()}
    assert stages == {"market", "aggregates", "levels", "anomalies", "strategies"}


def test_a_day_whose_raw_rows_are_gone_is_refused_and_keeps_its_rows(lake: MemoryLake, settings: Settings) -> None:
    before = lake.read(DOLLAR_TRADES)
    apply_retention(lake, RetentionSettings(raw_days=4), settings.groups, run_id="r")
    with pytest.raises(RemovedRowsError, match=r"market\.trades up to 2025-01-08"):
        again(lake, dollar_trades(settings), settings, 1)
    again(lake, dollar_trades(settings), settings, 2)  # the first day that is whole gives the rows it gave before
    pd.testing.assert_frame_equal(lake.read(DOLLAR_TRADES), before)


def test_a_day_whose_look_back_is_gone_is_refused(lake: MemoryLake, settings: Settings) -> None:
    apply_retention(lake, FOUR_DAYS, settings.groups, run_id="r")
    with pytest.raises(RemovedRowsError, match=r"levels/value_area.*aggregates\.dollar_trades"):
        again(lake, value_area(settings), settings, 3)  # looks 48 hours back, to the second day
    again(lake, value_area(settings), settings, 4)  # everything it looks back at is there: not refused


def test_a_fold_a_count_and_a_derivation_of_a_removed_day_are_refused(lake: MemoryLake, settings: Settings) -> None:
    apply_retention(lake, FOUR_DAYS, settings.groups, run_id="r")
    instruments = settings.groups["crypto"]
    with pytest.raises(RemovedRowsError, match=r"market\."):
        recompute_day_fold(lake, anomaly_fold(settings), "crypto", instruments, day=day(0), run_id="d")
    with pytest.raises(RemovedRowsError, match=r"market\.features"):
        count_days(lake, FEATURES, Days([day(1)]))
    assert count_days(lake, TRADES, Days([day(2)])).rows == 24
    with pytest.raises(RemovedRowsError):
        again(lake, regime_derivation(settings), settings, 0)


def test_a_new_asset_begins_where_its_inputs_are_whole(lake: MemoryLake, settings: Settings) -> None:
    apply_retention(lake, FOUR_DAYS, settings.groups, run_id="r")
    forward(lake, value_area(settings), "crypto", settings.groups["crypto"], end=END, run_id="f")
    progress = lake.progress("levels/value_area", "crypto")
    assert progress == Progress(START + 4 * DAY, END)  # two days of look-back behind what was removed
    assert set(lake.read(VALUE_AREA)["time"].diff().dropna()) <= {MINUTE}


def test_forward_work_whose_look_back_has_become_too_long_is_refused(lake: MemoryLake, settings: Settings) -> None:
    apply_retention(lake, FOUR_DAYS, settings.groups, run_id="r")
    with lake.transaction(asset="levels/value_area", run_id="x") as unit:
        unit.advance("levels/value_area", "crypto", None, Progress(START, END - SECOND))
    longer = settings.model_copy(update={"levels": settings.levels.model_copy(update={"profile_look_back_hours": 120})})
    with pytest.raises(RemovedRowsError, match=r"aggregates\.dollar_trades"):
        forward(lake, value_area(longer), "crypto", settings.groups["crypto"], end=END, run_id="f")


def watch_the_system(lake: Lake, samples: int, judged: int | None) -> None:
    """Samples taken in up to a time, judged up to another."""
    with lake.transaction(asset="anomalies/system_samples", run_id="system") as unit:
        for asset, reached in ((asset_name(SYSTEM_SAMPLES), samples), (asset_name(METRICS), judged)):
            if reached is not None:
                before = unit.progress(asset, SYSTEM_GROUP)
                unit.advance(asset, SYSTEM_GROUP, before, Progress(START, reached))


def test_samples_of_the_system_that_are_still_to_be_judged_stay(lake: MemoryLake, settings: Settings) -> None:
    watch_the_system(lake, END, START + 4 * DAY + HOUR)
    assert apply_retention(lake, FOUR_DAYS, settings.groups, run_id="r") == 0
    watch_the_system(lake, END, START + 5 * DAY + HOUR)
    apply_retention(lake, FOUR_DAYS, settings.groups, run_id="r")
    assert lake.removed()[SYSTEM_SAMPLES.name] == lake.removed()[TRADES.name] == START + DAY


@pytest.mark.parametrize("judged", [START + DAY, None])  # all that was sampled; nothing yet, so it begins where it can
def test_a_system_that_is_no_longer_sampled_holds_nobody_up(
    lake: MemoryLake, settings: Settings, judged: int | None
) -> None:
    watch_the_system(lake, START + DAY, judged)
    apply_retention(lake, FOUR_DAYS, settings.groups, run_id="r")
    assert lake.removed()[TRADES.name] == START + 2 * DAY


def test_a_day_of_the_system_whose_samples_are_kept_has_the_end_of_the_day_before(
    lake: MemoryLake, settings: Settings
) -> None:
    rows = [(SYSTEM.key, "system.cpu.usage", time, "host-1", 50.0) for time in range(START + HOUR, END + 1, HOUR)]
    with lake.transaction(asset=asset_name(SYSTEM_SAMPLES), run_id="raw") as unit:
        unit.append(
            SYSTEM_SAMPLES, SYSTEM_SAMPLES.conform(pd.DataFrame(rows, columns=list(SYSTEM_SAMPLES.value_columns)))
        )
        unit.advance(asset_name(SYSTEM_SAMPLES), SYSTEM_GROUP, None, Progress(START, END))
    fold = system_fold(settings)
    forward_fold(lake, fold, SYSTEM_GROUP, [SYSTEM], end=END, run_id="run")
    apply_retention(lake, RetentionSettings(raw_days=4), settings.groups, run_id="r")
    assert times_of(lake, SYSTEM_SAMPLES) == {day(number) for number in range(2, DAYS)}
    for number in range(2, DAYS):
        recompute_day_fold(lake, fold, SYSTEM_GROUP, [SYSTEM], day=day(number), run_id="day")
    with pytest.raises(RemovedRowsError, match="system_samples"):
        recompute_day_fold(lake, fold, SYSTEM_GROUP, [SYSTEM], day=day(1), run_id="day")


@pytest.mark.slow
def test_a_table_that_nothing_was_ever_written_to_is_no_obstacle(addresses: Addresses, settings: Settings) -> None:
    lake = DuckLake(addresses)
    try:
        lake.ensure([TRADES])
        with lake.transaction(asset="market/trades", run_id="raw") as unit:
            unit.append(TRADES, hourly_trades())
            unit.advance(asset_name(TRADES), "crypto", None, Progress(START, END))
        apply_retention(lake, FOUR_DAYS, settings.groups, run_id="r")
        assert times_of(lake, TRADES) == {day(number) for number in range(2, DAYS)}
        assert lake.removed()[SYSTEM_SAMPLES.name] == lake.removed()[DOLLAR_TRADES.name] == START + 2 * DAY
    finally:
        lake.close()


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("raw_days: 3", "retention.raw_days must be at least 4"),
        ("raw_days: 30, derived_days: 20", "derived_days must not be less than raw_days"),
        ("derived_days: 20", "derived_days must not be less than raw_days"),
        ("run_days: 1", "retention.run_days"),
    ],
)
def test_spans_that_would_lose_what_is_needed_are_refused(tmp_path: Path, lines: str, reason: str) -> None:
    file = tmp_path / "signals.yaml"
    file.write_text(
        "instruments:\n"
        "  - {symbol: BTCFDUSD, venue: BINANCE, pair: BTC/FDUSD, tick_size: '0.01', lot_size: '0.00001'}\n"
        f"retention: {{{lines}}}\n"
    )
    with pytest.raises(SettingsError, match=reason):
        load_settings(file)


@pytest.mark.slow
def test_the_job_does_all_of_it(
    addresses: Addresses, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = DuckLake(addresses)
    fill(lake, settings)
    kept = settings.model_copy(
        update={"retention": RetentionSettings(raw_days=4, every_snapshot_hours=1, forward_run_hours=1)}
    )
    monkeypatch.setenv("SIGNAL_POSTGRES_URL", addresses.postgres_url)
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text(
        "storage: {custom: {module: resources.dagster_storage, class: PlatformStorage, config: {}}}\n"
        "telemetry: {enabled: false}\n"
    )
    with DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        old = DagsterRun(job_name="tactical", status=DagsterRunStatus.SUCCESS)
        young = DagsterRun(job_name="tactical", status=DagsterRunStatus.SUCCESS)
        instance.run_storage.add_historical_run(old, datetime.now(UTC) - timedelta(hours=2))
        instance.run_storage.add_run(young)
        result: Any = maintenance_job().execute_in_process(
            instance=instance, resources={"lake": FakeLake(lake), "settings": FixedSettings(kept)}
        )
        assert result.success
        assert {run.run_id for run in instance.get_runs()} == {young.run_id, result.run_id}
    assert times_of(lake, TRADES) == {day(number) for number in range(2, DAYS)}
    assert times_of(lake, DOLLAR_TRADES) == {day(number) for number in range(DAYS)}
    assert list(Path(addresses.lake_path).rglob("*.parquet"))  # flushed
    with pytest.raises(RemovedRowsError):
        again(lake, dollar_trades(settings), settings, 1)
    lake.close()
