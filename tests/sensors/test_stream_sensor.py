"""The stream sensor as a state machine, against an ephemeral Dagster instance."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from dagster import DagsterInstance, DagsterRunStatus, RunRequest, SensorResult, build_sensor_context

from resources import redis_keys
from resources.lake import LakeError, Offset, Progress
from resources.redis_streams import StreamsAwayError
from resources.run_retention import remove_runs
from sensors.stream_sensor import read_cursor, stream_sensor, system_sensor
from signal_assets.anomalies.system_assets import SYSTEM_ASSETS
from signal_assets.anomalies.tables import SYSTEM_SAMPLES
from signal_assets.definitions import build_defs
from signal_assets.event_time import DAY, MINUTE, SECOND
from signal_assets.market.tables import FEATURES
from signal_assets.partitions import ATTEMPT_TAG, END_TAG, GROUP_TAG
from tests.fakes import FakeLake, FakeStreams, FixedSettings, KeptKeys, ListOfFailures, OpenStreams

MIDNIGHT = 19_943 * DAY  # 2024-08-08
ASSETS = ("market/features", "market/trades")


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as made:
        yield made


class Bench:
    """One sensor with everything around it."""

    def __init__(self, instance: DagsterInstance) -> None:
        self.instance = instance
        self.lake = FakeLake()
        self.streams = FakeStreams()
        self.settings = FixedSettings()
        self.cursor: str | None = None
        self.definitions = build_defs(
            {
                "lake": self.lake,
                "streams": OpenStreams(self.streams),
                "settings": self.settings,
                "failures": ListOfFailures(),
                "keys": KeptKeys(),
            }
        )
        self.repository = self.definitions.get_repository_def()
        self.sensor = stream_sensor(ASSETS, 5)

    def tick(self) -> SensorResult:
        context = build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            repository_def=self.repository,
            resources={"lake": self.lake, "streams": OpenStreams(self.streams), "settings": self.settings},
        )
        result = self.sensor(context)
        assert isinstance(result, SensorResult)
        self.cursor = result.cursor
        return result

    def request(self) -> RunRequest:
        result = self.tick()
        assert result.run_requests
        return result.run_requests[0]

    def skip(self) -> str:
        result = self.tick()
        assert not result.run_requests
        assert result.skip_reason is not None
        return result.skip_reason.skip_message or ""

    def close(self, time: int) -> None:
        for instrument in self.settings.settings.groups["crypto"]:
            self.streams.add(redis_keys.market_features(instrument.key), FEATURES, time, [])

    def compute(self, time: int) -> None:
        with self.lake.open().transaction(asset="x", run_id="x") as unit:
            for asset in ASSETS:
                before = unit.progress(asset, "crypto")
                unit.advance(asset, "crypto", before, Progress(MIDNIGHT, time))


@pytest.fixture
def bench(instance: DagsterInstance) -> Bench:
    return Bench(instance)


def test_without_data_it_says_so(bench: Bench) -> None:
    assert "no grid point has closed yet" in bench.skip()


def test_the_first_run_aims_at_the_watermark(bench: Bench) -> None:
    bench.close(MIDNIGHT + MINUTE)
    bench.close(MIDNIGHT + 2 * MINUTE)
    request = bench.request()
    assert request.tags[GROUP_TAG] == "crypto"
    assert int(request.tags[END_TAG]) == MIDNIGHT + 2 * MINUTE
    assert request.partition_key == "2024-08-08"
    assert request.run_key == f"crypto:{MIDNIGHT + 2 * MINUTE}:1"


def test_the_slowest_instrument_holds_the_watermark(bench: Bench) -> None:
    bench.close(MIDNIGHT + MINUTE)
    first = bench.settings.settings.groups["crypto"][0]
    bench.streams.add(redis_keys.market_features(first.key), FEATURES, MIDNIGHT + 5 * MINUTE, [])
    assert int(bench.request().tags[END_TAG]) == MIDNIGHT + MINUTE


def test_a_run_never_crosses_midnight(bench: Bench) -> None:
    bench.close(MIDNIGHT + MINUTE)
    bench.compute(MIDNIGHT + MINUTE)
    bench.close(MIDNIGHT + DAY + MINUTE)
    request = bench.request()
    assert int(request.tags[END_TAG]) == MIDNIGHT + DAY
    assert request.partition_key == "2024-08-08"  # midnight sharp closes the old day
    bench.compute(MIDNIGHT + DAY)
    request = bench.request()
    assert int(request.tags[END_TAG]) == MIDNIGHT + DAY + MINUTE
    assert request.partition_key == "2024-08-09"


def test_it_waits_while_everything_is_computed(bench: Bench) -> None:
    bench.close(MIDNIGHT + MINUTE)
    bench.compute(MIDNIGHT + MINUTE)
    assert "nothing new" in bench.skip()


def test_an_asset_that_lags_is_reason_enough(bench: Bench) -> None:
    bench.close(MIDNIGHT + MINUTE)
    with bench.lake.open().transaction(asset="x", run_id="x") as unit:
        unit.advance("market/features", "crypto", None, Progress(MIDNIGHT, MIDNIGHT + MINUTE))
    assert int(bench.request().tags[END_TAG]) == MIDNIGHT + MINUTE


def test_one_run_in_flight_per_group(bench: Bench) -> None:
    bench.close(MIDNIGHT + MINUTE)
    request = bench.request()
    job = bench.definitions.resolve_job_def("tactical")
    run = bench.instance.create_run_for_job(job, tags=dict(request.tags), status=DagsterRunStatus.STARTED)
    bench.close(MIDNIGHT + MINUTE + SECOND)
    assert f"run {run.run_id[:8]} is in flight" in bench.skip()


def test_a_failed_run_is_tried_again_under_a_new_key(bench: Bench) -> None:
    bench.close(MIDNIGHT + MINUTE)
    first, second = bench.request(), bench.request()
    assert (first.tags[ATTEMPT_TAG], second.tags[ATTEMPT_TAG]) == ("1", "2")
    assert first.run_key != second.run_key
    bench.close(MIDNIGHT + 2 * MINUTE)
    assert bench.request().tags[ATTEMPT_TAG] == "1"


def test_a_run_that_retention_has_removed_is_not_asked_for_again(bench: Bench) -> None:
    bench.close(MIDNIGHT + MINUTE)
    request = bench.request()
    job = bench.definitions.resolve_job_def("tactical")
    run = bench.instance.create_run_for_job(
        job, tags={**request.tags, "dagster/run_key": str(request.run_key)}, status=DagsterRunStatus.SUCCESS
    )
    bench.compute(MIDNIGHT + MINUTE)
    assert remove_runs(bench.instance, datetime.now(UTC) + timedelta(minutes=1)) == 1
    assert bench.instance.get_run_by_id(run.run_id) is None
    assert "nothing new" in bench.skip()
    bench.close(MIDNIGHT + 2 * MINUTE)
    assert bench.request().run_key != request.run_key


@pytest.mark.parametrize("text", [None, "", "not json", "[]", '{"crypto": 1}', '{"crypto": {"end": 1}}'])
def test_a_broken_cursor_starts_anew(text: str | None) -> None:
    assert read_cursor(text) == {}


def test_a_stream_that_redis_has_lost_holds_the_others(bench: Bench) -> None:
    bench.close(MIDNIGHT + MINUTE)
    key = redis_keys.market_features(bench.settings.settings.groups["crypto"][0].key)
    with bench.lake.open().transaction(asset="x", run_id="x") as unit:
        unit.move_offset(key, None, Offset("first", MIDNIGHT + MINUTE))
    bench.streams.tails.pop(key)
    assert key in bench.skip()
    bench.streams.tails[key] = MIDNIGHT + MINUTE
    assert int(bench.request().tags[END_TAG]) == MIDNIGHT + MINUTE


@pytest.mark.parametrize("error", [StreamsAwayError("redis does not answer"), LakeError("the lake is away")])
def test_a_store_that_is_away_is_a_line(bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def away(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(bench.streams, "tail", away)
        assert str(error) in bench.skip()
    bench.close(MIDNIGHT + MINUTE)
    assert bench.request()


def test_samples_of_the_machine_start_a_run_of_their_own(instance: DagsterInstance) -> None:
    bench = Bench(instance)
    bench.sensor = system_sensor(SYSTEM_ASSETS)
    assert "no grid point has closed yet" in bench.skip()
    for number in (1, 2, 3):
        bench.streams.add(redis_keys.SYSTEM_METRICS, SYSTEM_SAMPLES, MIDNIGHT + number * 10 * SECOND, [])
    asked = bench.request()
    assert (asked.tags[GROUP_TAG], asked.tags[END_TAG]) == ("system", str(MIDNIGHT + 30 * SECOND))
    lake = bench.lake.open()
    with lake.transaction(asset="x", run_id="x") as unit:
        for asset in SYSTEM_ASSETS:
            unit.advance(asset, "system", None, Progress(MIDNIGHT, MIDNIGHT + 30 * SECOND))
    assert "nothing new" in bench.skip()
