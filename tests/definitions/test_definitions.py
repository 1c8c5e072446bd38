"""The real code location, assembled with fakes: it loads, it runs, and what it shows changes only on purpose."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dagster import AssetKey, AssetSpec, DagsterInstance, Definitions

from resources import redis_keys
from resources.settings import Settings, load_settings
from signal_assets.aggregates.tables import DOLLAR_DEPTH, DOLLAR_TRADES
from signal_assets.anomalies.tables import METRICS, SYSTEM_SAMPLES
from signal_assets.definitions import build_defs
from signal_assets.event_time import DAY, MINUTE, SECOND
from signal_assets.levels.tables import PRICE_ZONES, VALUE_AREA, WAVE_PEAKS
from signal_assets.market.tables import DEPTH_SNAPSHOTS, FEATURES, FEED_GAPS, TRADES
from signal_assets.partitions import END_TAG, GROUP_TAG
from signal_assets.stage_tables import TABLES
from tests.fakes import FakeLake, FakeStreams, FixedSettings, KeptKeys, ListOfFailures, OpenStreams

SNAPSHOT = Path(__file__).with_name("asset_specs.json")
MIDNIGHT = 19_943 * DAY  # 2024-08-08
KEY = "BTCFDUSD.BINANCE"
UNIT = 100_000_000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "signals.yaml"
    file.write_text(
        "instruments:\n"
        "  - {symbol: BTCFDUSD, venue: BINANCE, pair: BTC/FDUSD, tick_size: '0.01', lot_size: '0.00001'}\n"
    )
    return load_settings(file)


class Location:
    """The code location with a lake and streams that tests can look into."""

    def __init__(self, settings: Settings, instance: DagsterInstance) -> None:
        self.lake = FakeLake()
        self.streams = FakeStreams()
        self.keys = KeptKeys()
        self.instance = instance
        self.definitions: Definitions = build_defs(
            {
                "lake": self.lake,
                "streams": OpenStreams(self.streams),
                "settings": FixedSettings(settings),
                "failures": ListOfFailures(),
                "keys": self.keys,
            }
        )

    def run(self, job: str, **options: Any) -> Any:
        definition: Any = self.definitions.resolve_job_def(job)
        return definition.execute_in_process(instance=self.instance, raise_on_error=False, **options)

    def forward(self, end: int) -> Any:
        day = "2024-08-08" if end <= MIDNIGHT + DAY else "2024-08-09"
        return self.run("tactical", partition_key=day, tags={GROUP_TAG: "crypto", END_TAG: str(end)})

    def record(self, minutes: range) -> None:
        """What a live lane would have written: a market around 60,000, a trade every second, late ones among them."""
        for minute in minutes:
            start = MIDNIGHT + minute * MINUTE
            trades, features = [], []
            for second in range(1, 61):
                time = start + second * SECOND
                number = minute * 60 + second
                price = (60_000 + (number * 7) % 12) * UNIT
                late = second == 30
                trades.append((KEY, number, time, time + 5, price, UNIT * (1 + number % 5), number % 2 == 0, late, 0))
                bid, ask = np.array([59_999 * UNIT]), np.array([60_012 * UNIT])
                features.append(
                    (
                        *(KEY, time, 59_999 * UNIT, 60_012 * UNIT, UNIT, UNIT, bid, bid, ask, ask, 60_005.5, 13 * UNIT),
                        *(0.0, 0.0, 0.0, 0, 1, UNIT, 0, price, number),
                    )
                )
            levels = np.arange(59_999, 59_900, -1) * UNIT
            quantity = np.where(np.arange(99) == 40, 90 * UNIT, UNIT)
            asks = np.arange(60_012, 60_111) * UNIT
            end = start + MINUTE
            depth = [(KEY, end, end, end // SECOND, levels, quantity, asks, quantity, 59_901 * UNIT, 60_110 * UNIT)]
            self.streams.add(redis_keys.market_trades(KEY), TRADES, trades[-1][1], trades)
            self.streams.add(redis_keys.market_depth(KEY), DEPTH_SNAPSHOTS, end, depth)
            self.streams.add(redis_keys.market_features(KEY), FEATURES, end, features)

    def close(self, time: int) -> None:
        self.streams.add(redis_keys.market_features(KEY), FEATURES, time, [])


@pytest.fixture
def location(settings: Settings) -> Iterator[Location]:
    with DagsterInstance.ephemeral() as instance:
        yield Location(settings, instance)


def test_the_location_loads_without_a_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SIGNAL_POSTGRES_URL", "SIGNAL_REDIS_URL", "SIGNAL_LAKE_PATH", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SIGNAL_HOME", str(tmp_path / "nothing"))
    definitions = build_defs()
    Definitions.validate_loadable(definitions)
    assert not (tmp_path / "nothing").exists()


def test_asset_specs_are_as_written_down(location: Location) -> None:
    """Whoever changes what the graph shows sees it here: `python -m tests.definitions.write_specs` writes it anew."""
    assert describe(location.definitions) == json.loads(SNAPSHOT.read_text("utf-8"))


def describe(definitions: Definitions) -> dict[str, Any]:
    """Everything the UI shows of each asset that must not change by accident."""
    specs = sorted(definitions.resolve_all_asset_specs(), key=lambda spec: spec.key.to_user_string())
    return {spec.key.to_user_string(): _describe(spec) for spec in specs}


def _describe(spec: AssetSpec) -> dict[str, Any]:
    schema = spec.metadata.get("dagster/column_schema")
    columns = schema.columns if schema is not None else []
    return {
        "description": spec.description,
        "group": spec.group_name,
        "kinds": sorted(spec.kinds),
        "owners": list(spec.owners),
        "tags": {name: value for name, value in sorted(spec.tags.items()) if not name.startswith("dagster/kind")},
        "code_version": spec.code_version,
        "partitions": type(spec.partitions_def).__name__,
        "freshness": spec.freshness_policy is not None,
        "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
        "columns": {column.name: f"{column.type}: {column.description}" for column in columns},
    }


def test_every_column_has_a_description_and_every_asset_an_owner(location: Location) -> None:
    for name, spec in describe(location.definitions).items():
        assert spec["owners"] == ["team:signals"], name
        assert spec["description"], name
        assert all(not text.endswith(": None") for text in spec["columns"].values()), name


def test_the_graph_flows_from_the_feed_to_the_zones(location: Location) -> None:
    graph = location.definitions.resolve_asset_graph()
    upstream: set[AssetKey] = set()
    waiting = [AssetKey(["levels", "price_zones"])]
    while waiting:
        for parent in graph.get(waiting.pop()).parent_keys:
            if parent not in upstream:
                upstream.add(parent)
                waiting.append(parent)
    assert {"feeds/binance", "market/trades", "market/depth_snapshots", "aggregates/dollar_trades"} <= {
        key.to_user_string() for key in upstream
    }


def test_a_tactical_run_takes_everything_in_and_computes_forward(location: Location) -> None:
    location.record(range(3))
    result = location.forward(MIDNIGHT + 3 * MINUTE)
    assert result.success
    lake = location.lake.open()
    assert len(lake.read(TRADES)) == 180
    assert len(lake.read(FEATURES)) == 180
    assert lake.read(FEED_GAPS).empty
    dollar_trades = lake.read(DOLLAR_TRADES)
    assert int(dollar_trades["trade_count"].sum()) == 180 - 3  # a late trade a minute is left to the day run
    assert sorted(dollar_trades["minute"].unique()) == [MIDNIGHT + minute * MINUTE for minute in (1, 2, 3)]
    assert len(lake.read(DOLLAR_DEPTH)) == 3 * 2 * 99
    walls = lake.read(WAVE_PEAKS).query("profile == 'depth' and method == 'combined'")
    assert {59_959 * UNIT, 60_052 * UNIT} <= set(walls["price"])
    assert not lake.read(PRICE_ZONES).empty
    assert set(lake.read(VALUE_AREA)["expansion"]) == {"one_row", "two_row"}
    metadata = result.asset_materializations_for_node("aggregates_dollar_trades")[0].metadata
    assert metadata["rows"].value == len(dollar_trades)
    assert metadata["window_end"].value == "2024-08-08T00:03:00Z"
    assert metadata["lake_snapshot"].value > 0


@pytest.mark.slow
def test_the_same_run_twice_changes_nothing(location: Location) -> None:
    location.record(range(2))
    lake = location.lake.open()
    assert location.forward(MIDNIGHT + 2 * MINUTE).success
    before = {table.name: lake.read(table) for table in TABLES}
    assert location.forward(MIDNIGHT + 2 * MINUTE).success
    for table in TABLES:
        assert before[table.name].astype(str).equals(lake.read(table).astype(str)), table.name


@pytest.mark.slow
def test_a_day_run_takes_late_rows_in_and_its_checks_pass(location: Location) -> None:
    location.record(range(3))
    location.close(MIDNIGHT + DAY)
    assert location.forward(MIDNIGHT + DAY).success
    result = location.run("day_close", partition_key="2024-08-08")
    assert result.success
    lake = location.lake.open()
    assert int(lake.read(DOLLAR_TRADES)["trade_count"].sum()) == 180
    evaluations = {
        f"{item.asset_key.to_user_string()}:{item.check_name}": item for item in result.get_asset_check_evaluations()
    }
    assert {
        "market/trades:sequence",
        "market/features:crossed_book",
        "market/features:day_complete",
        "aggregates/dollar_depth:conservation",
        "aggregates/dollar_trades:conservation",
        "levels/wave_peaks:schema",
    } <= set(evaluations)
    failed = [name for name, item in evaluations.items() if not item.passed]
    assert failed == []
    metadata = result.asset_materializations_for_node("levels_price_zones")[0].metadata
    titles = {f"trades_{KEY}": f"{KEY}: profile of trades", f"heat_depth_{KEY}": f"{KEY} on 2024-08-08: resting orders"}
    for name, title in titles.items():
        picture = metadata[f"picture_{name}"].value
        assert picture.startswith(f"![{title}")
        assert len(picture) > 10_000  # a PNG, inlined


@pytest.mark.slow
def test_a_day_that_is_not_over_is_refused_in_one_line(location: Location) -> None:
    location.record(range(1))
    assert location.forward(MIDNIGHT + MINUTE).success
    result = location.run("day_close", partition_key="2024-08-08")
    assert not result.success
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert any("is complete up to 2024-08-08T00:01:00Z, not to" in str(item.user_failure_data) for item in failures)
    assert location.lake.open().read(DOLLAR_TRADES)["trade_count"].sum() == 59  # forward rows stand untouched


@pytest.mark.slow
def test_a_missing_trade_is_found_by_the_sequence_check(location: Location) -> None:
    location.record(range(1))
    time = MIDNIGHT + MINUTE + SECOND
    row = (KEY, 62, time, time, 60_000 * UNIT, UNIT, True, False, 0)  # 61 never came
    location.streams.add(redis_keys.market_trades(KEY), TRADES, 62, [row])
    location.close(MIDNIGHT + DAY)
    assert location.forward(MIDNIGHT + DAY).success
    result = location.run("day_close", partition_key="2024-08-08")
    found = [item for item in result.get_asset_check_evaluations() if item.check_name == "sequence"]
    assert [item.passed for item in found] == [False]
    assert "1 trades are missing" in (found[0].description or "")


@pytest.mark.slow
def test_a_back_fill_covers_a_range_in_one_run(location: Location) -> None:
    location.record(range(1))
    location.close(MIDNIGHT + DAY)
    assert location.forward(MIDNIGHT + DAY).success
    location.close(MIDNIGHT + 2 * DAY)
    assert location.forward(MIDNIGHT + 2 * DAY).success
    tags = {
        "dagster/asset_partition_range_start": "2024-08-08",
        "dagster/asset_partition_range_end": "2024-08-09",
    }
    result = location.run("backfill", tags=tags)
    assert result.success
    assert location.lake.open().read(DOLLAR_TRADES)["trade_count"].sum() == 60
    metadata = result.asset_materializations_for_node("levels_value_area")[0].metadata
    assert metadata["windows"].value == 2


@pytest.mark.slow
def test_a_lost_redis_is_noticed_and_nothing_is_doubled(location: Location) -> None:
    location.record(range(1))
    assert location.forward(MIDNIGHT + MINUTE).success
    location.streams.entries.clear()
    location.streams.tails.clear()
    location.streams.life = "second"
    location.record(range(2))  # the first minute again, then a new one
    result = location.forward(MIDNIGHT + 2 * MINUTE)
    assert result.success
    assert len(location.lake.open().read(TRADES)) == 120
    metadata = result.asset_materializations_for_node("market_trades")[0].metadata
    assert metadata["streams_read_from_the_beginning"].value == 1
    assert metadata["repeated_rows"].value == 60


@pytest.mark.slow
def test_what_the_machine_does_has_a_job_of_its_own(location: Location) -> None:
    for number in range(1, 61):
        rows = [("SYSTEM.PLATFORM", "system.cpu.usage", MIDNIGHT + number * 10 * SECOND, "host-1", 40.0 + number % 7)]
        location.streams.add(redis_keys.SYSTEM_METRICS, SYSTEM_SAMPLES, rows[0][2], rows)
    end = MIDNIGHT + 600 * SECOND
    tags = {GROUP_TAG: "system", END_TAG: str(end)}
    for _ in range(2):  # a repeat adds nothing
        assert location.run("system", partition_key="2024-08-08", tags=tags).success
    lake = location.lake.open()
    assert len(lake.read(SYSTEM_SAMPLES)) == 60
    metrics = lake.read(METRICS, instruments=["SYSTEM.PLATFORM"])
    assert set(metrics["series"]) == {"system.cpu.usage"}
    assert len(metrics) == 60
    # The other jobs neither wait for it nor touch its rows, a day run on its own partition makes them anew.
    location.record(range(3))
    location.close(MIDNIGHT + 3 * MINUTE)
    assert location.forward(MIDNIGHT + 3 * MINUTE).success
    location.streams.add(redis_keys.SYSTEM_METRICS, SYSTEM_SAMPLES, MIDNIGHT + DAY, [])
    assert location.run("system", partition_key="2024-08-08", tags=tags | {END_TAG: str(MIDNIGHT + DAY)}).success
    assert location.run("system", partition_key="2024-08-08").success
    assert len(lake.read(METRICS, instruments=["SYSTEM.PLATFORM"])) == 60
