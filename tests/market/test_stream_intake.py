"""Taking streams in, against streams that grow while they are read."""

from resources.memory_lake import MemoryLake
from resources.redis_streams import StreamEntry
from signal_assets.event_time import DAY, SECOND
from signal_assets.market.stream_intake import RawTable, first_closed, stream_watermark, take_in
from signal_assets.market.tables import TRADES
from tests.fakes import FakeStreams

KEY = "market:A.B:trades"
START = 19_943 * DAY
RAW = RawTable(TRADES, {"A.B": KEY}, entries_per_transaction=2)


def trade(number: int) -> tuple[object, ...]:
    time = START + number * SECOND
    return ("A.B", number, time, time, 100, 1, True, False, 0)


class GrowingStreams(FakeStreams):
    """Every read finds one more entry than the last."""

    def read_after(self, key: str, last_id: int | None, count: int) -> list[StreamEntry]:
        number = self.tails[key] + 1
        if number <= 9:
            self.add(key, TRADES, number, [trade(number)])
        return super().read_after(key, last_id, count)


def test_entries_that_arrive_while_reading_are_taken_once() -> None:
    streams, lake = GrowingStreams(), MemoryLake()
    for number in (1, 2, 3):
        streams.add(KEY, TRADES, number, [trade(number)])
    done = take_in(lake, streams, RAW, "crypto", end=START + 3 * SECOND, run_id="a")
    assert "streams_read_from_the_beginning" not in done.details
    assert done.rows >= 3
    done = take_in(lake, streams, RAW, "crypto", end=START + 5 * SECOND, run_id="b")
    take_in(lake, streams, RAW, "crypto", end=START + 9 * SECOND, run_id="c")
    assert "streams_read_from_the_beginning" not in done.details
    numbers = lake.read(TRADES)["trade_id"].tolist()
    assert numbers == sorted(set(numbers))
    assert numbers[:3] == [1, 2, 3]


def test_a_rolled_back_redis_is_read_from_its_beginning() -> None:
    streams, lake = FakeStreams(), MemoryLake()
    for number in (1, 2, 3, 4):
        streams.add(KEY, TRADES, number, [trade(number)])
    take_in(lake, streams, RAW, "crypto", end=START + 4 * SECOND, run_id="a")
    back = FakeStreams()
    for number in (1, 2):
        back.add(KEY, TRADES, number, [trade(number)])
    done = take_in(lake, back, RAW, "crypto", end=START + 4 * SECOND, run_id="b")
    assert done.details["streams_read_from_the_beginning"] == 1
    for number in (3, 4, 5):
        back.add(KEY, TRADES, number, [trade(number)])
    done = take_in(lake, back, RAW, "crypto", end=START + 5 * SECOND, run_id="c")
    assert "streams_read_from_the_beginning" not in done.details
    assert lake.read(TRADES)["trade_id"].tolist() == [1, 2, 3, 4, 5]


def test_streams_are_trimmed_below_what_is_committed() -> None:
    streams, lake = FakeStreams(), MemoryLake()
    for number in (1, 2, 3, 4, 5):
        streams.add(KEY, TRADES, number, [trade(number)])
    take_in(lake, streams, RAW, "crypto", end=START + 5 * SECOND, run_id="a")
    assert [entry.id for entry in streams.entries[KEY]] == [5]
    assert streams.tail(KEY) == 5


def test_entries_without_a_payload_are_passed_over() -> None:
    streams, lake = FakeStreams(), MemoryLake()
    streams.entries[KEY] = [StreamEntry(number, {"time": b"1"}) for number in (1, 2)]
    streams.tails[KEY] = 2
    assert first_closed(streams, [KEY]) is None
    for number in (3, 4):
        streams.add(KEY, TRADES, number, [trade(number)])
    assert first_closed(streams, [KEY]) == 3
    done = take_in(lake, streams, RAW, "crypto", end=START + 4 * SECOND, run_id="a")
    assert lake.read(TRADES)["trade_id"].tolist() == [3, 4]
    assert done.details["entries_without_payload"] == 2
    done = take_in(lake, streams, RAW, "crypto", end=START + 5 * SECOND, run_id="b")
    assert "entries_without_payload" not in done.details


def test_the_watermark_is_that_of_the_slowest_stream() -> None:
    streams = FakeStreams(tails={"a": 7, "b": 5})
    assert stream_watermark(streams, ["a", "b", "never"]) == 5
    assert stream_watermark(streams, ["never"]) is None
    assert first_closed(streams, ["never"]) is None
