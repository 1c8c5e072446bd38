"""The live lane's anomalies in Redis are those that a run finds in the same rows: none missing, none twice."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from resources.memory_lake import MemoryLake
from resources.redis_keys import ANOMALIES as STREAM
from resources.redis_keys import market_features
from resources.retention_settings import RetentionSettings
from services.live_lane.anomaly_publisher import AnomalyPublisher
from services.live_lane.group_lane import GroupLane
from services.live_lane.measurements import SignalMeasurements
from signal_assets.anomalies.anomaly_record import anomaly_fields
from signal_assets.anomalies.folds import anomalies
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.tables import ANOMALIES
from signal_assets.event_time import DAY, MINUTE, SECOND
from signal_assets.fold import forward_fold, records_of
from tests.live_lane.test_group_lane import Stage
from tests.live_lane.toy_folds import GROUP, INSTRUMENTS, START, feature_rows, lake_with, outputs, put_rows, seconds

pytestmark = pytest.mark.slow

END = START + 20 * MINUTE
ROWS = feature_rows(seconds(5, 1_200, 5), missing=0.05)
PARAMETERS = AnomalyParameters(features_grid=5 * SECOND, metrics_interval=5 * SECOND, window=20, minimum_points=5)


def found_by_a_run() -> list[dict[str, str]]:
    lake = lake_with(ROWS, END)
    forward_fold(lake, anomalies(PARAMETERS), GROUP, INSTRUMENTS, end=END, run_id="batch")
    return [anomaly_fields(record) for record in records_of(ANOMALIES, lake.read(ANOMALIES))]


def in_order(entries: list[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(entries, key=lambda fields: fields["id"])


class Publishing(Stage):
    """A lane whose anomalies are published."""

    def __init__(self, redis_server: Any) -> None:
        super().__init__(redis_server, MemoryLake())
        self.published = SignalMeasurements()

    def publisher(self) -> AnomalyPublisher:
        made = AnomalyPublisher(self.redis_server.url, GROUP, self.published, {}, RetentionSettings(), timeout=10.0)
        made.start()
        return made

    def judging_lane(self, emitter: Any, publisher: AnomalyPublisher) -> GroupLane:
        lane = self.lane(emitter, [anomalies(PARAMETERS)])
        lane._judged = publisher.take
        return lane

    def entries(self) -> list[dict[str, str]]:
        return [
            {name.decode(): value.decode() for name, value in fields.items()}
            for _, fields in self.client.xrange(STREAM)
        ]

    def counted(self) -> Counter[str]:
        day = self.client.hgetall(f"anomalies:counts:day:{START // DAY * DAY // SECOND}")
        return Counter({name.decode(): int(count) for name, count in day.items()})


async def test_published_anomalies_are_those_of_a_run(redis_server: Any) -> None:
    stage = Publishing(redis_server)
    publisher = stage.publisher()
    async with stage.emitter() as emitter:
        lane = stage.judging_lane(emitter, publisher)
        async with stage.running(lane):
            await stage.hand_in(lane, outputs(ROWS, END))
            await lane.flush()
            assert await publisher.flush(120.0)
            circumstances = lane.circumstances()
    await publisher.stop(10.0)
    expected = found_by_a_run()
    assert len(expected) > 20
    assert in_order(stage.entries()) == in_order(expected)
    assert stage.counted() == Counter(
        f"{fields['series']}|{fields['severity']}".replace('"', "") for fields in expected
    )
    assert circumstances.newest == END
    assert circumstances.stopped == ""


@pytest.mark.parametrize("seed", range(3))
async def test_whoever_dies_is_followed_by_one_who_publishes_the_rest(redis_server: Any, seed: int) -> None:
    chance = random.Random(seed)
    stage = Publishing(redis_server)
    pieces = outputs(ROWS, END, seed=seed)
    kills = sorted(chance.sample(range(50, len(pieces)), 3))
    lake = lake_with(ROWS, START)
    stage.lake = lake
    for first, last in zip([0, *kills], [*kills, len(pieces)], strict=True):
        publisher = stage.publisher()
        async with stage.emitter() as emitter:
            lane = stage.judging_lane(emitter, publisher)
            async with stage.running(lane):
                await stage.hand_in(lane, pieces[first : max(first, last - 10)], paced=True)
                assert await publisher.flush(120.0)
                await stage.hand_in(lane, pieces[max(first, last - 10) : last])
                if last == len(pieces):
                    await lane.flush()
                    assert await publisher.flush(120.0)
                else:
                    await asyncio.sleep(chance.choice([0.0, 0.01, 0.1]))  # killed in the middle of it
        await publisher.abandon()
        reached = min(stage.streams.tail(market_features(key)) or START for key in ROWS)
        put_rows(lake, ROWS, reached)
        forward_fold(lake, anomalies(PARAMETERS), GROUP, INSTRUMENTS, end=reached, run_id="run")
    expected = found_by_a_run()
    assert in_order(stage.entries()) == in_order(expected)
    assert sum(stage.counted().values()) == len(expected)
