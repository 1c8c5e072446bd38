"""Where an engine begins, and that it is then the engine that had run all along."""

import random
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pytest

from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.lake import Lake, Offset, Progress, State
from resources.memory_lake import MemoryLake
from resources.redis_keys import market_features
from resources.redis_streams import StreamEntry
from services.live_lane import engine_start
from services.live_lane.engine_start import EngineStart, NotYetError, StoppedError, VersionsInForce, rows_of
from services.live_lane.group_engine import GroupEngine, Step
from signal_assets.derivation import NotCompleteError, asset_name
from signal_assets.event_time import DAY, MINUTE, SECOND, iso
from signal_assets.fold import Fold, forward_fold, records_of
from signal_assets.instrument import whole_group
from signal_assets.machine import encode_state
from signal_assets.market.ingest import Output
from signal_assets.market.stream_codec import decode, encode
from signal_assets.market.tables import FEATURES
from tests.fakes import FakeStreams
from tests.live_lane.toy_folds import (
    FACTORS,
    GROUP,
    INSTRUMENTS,
    MOVES,
    ONE,
    PLANS,
    START,
    TWO,
    feature_rows,
    lake_with,
    outputs,
    put_rows,
    seconds,
    toy_folds,
)

pytestmark = pytest.mark.slow

END = START + 25 * MINUTE
TIMES = seconds(5, 1_500, 5)
ROWS = feature_rows(TIMES)


def streams_of(pieces: Sequence[tuple[str, Output]]) -> FakeStreams:
    streams = FakeStreams()
    for instrument, output in pieces:
        assert output.watermark is not None
        streams.add(market_features(instrument), FEATURES, output.watermark, output.features)
    return streams


def taken_in(lake: Lake, streams: FakeStreams, until: int) -> None:
    """What the tactical lane does: rows and offsets into the lake, then the streams are trimmed."""
    put_rows(lake, {}, until)
    for instrument in ROWS:
        take_stream(lake, streams, instrument, until)


def take_stream(lake: Lake, streams: FakeStreams, instrument: str, until: int) -> None:
    key = market_features(instrument)
    entries = streams.entries[key]
    covering = [entry for entry in entries if entry.id <= until] + [entry for entry in entries if entry.id > until][:1]
    with lake.transaction(asset="raw", run_id="raw") as unit:
        for entry in covering:
            unit.append(FEATURES, decode(FEATURES, entry.fields["data"]))
        unit.move_offset(key, lake.offset(key), Offset(streams.generation() or "", covering[-1].id))
    streams.trim_below(key, covering[-1].id)


def computed(lake: Lake, until: int, folds: Sequence[Fold] | None = None) -> None:
    for fold in folds or toy_folds():
        forward_fold(lake, fold, GROUP, INSTRUMENTS, end=until, run_id="run")


def a_start(lake: Lake, streams: FakeStreams, folds: Sequence[Fold] | None = None, **more: Any) -> EngineStart:
    folds = folds or toy_folds()
    resume = more.pop("resume", {key: streams.tail(market_features(key)) for key in ROWS})
    versions = VersionsInForce(lambda: lake, GROUP, INSTRUMENTS, folds)
    return EngineStart(lake, streams, GROUP, INSTRUMENTS, folds, resume, versions, **more)


def states(engine: GroupEngine) -> dict[str, str]:
    return {name: encode_state(machine.state()) for name, machine in engine.machines.items()}


def ran_all_along(pieces: Sequence[tuple[str, Output]]) -> GroupEngine:
    engine = GroupEngine(INSTRUMENTS, toy_folds(), lambda start: {})
    for instrument, output in pieces:
        engine.take(instrument, output.features, output.watermark or 0)
        while engine.step():
            pass
    return engine


@pytest.mark.parametrize("seed", range(6))
def test_a_start_at_any_point_gives_the_engine_that_ran_all_along(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_start, "PAGE", 3)  # many rounds
    monkeypatch.setattr(engine_start, "ROWS_AT_ONCE", 120)
    chance = random.Random(seed)
    pieces = outputs(ROWS, END, seed=seed, longest=40)
    killed = chance.randrange(len(pieces) // 2, len(pieces))
    streams, lake = streams_of(pieces[:killed]), MemoryLake()
    least = min(streams.tail(market_features(key)) or 0 for key in ROWS)
    recorded = START + chance.randrange(1, (least - START) // SECOND) * SECOND
    if seed:  # once nothing is in the lake at all
        taken_in(lake, streams, recorded)
        computed(lake, recorded)
    engine = a_start(lake, streams).run(patient=True)
    expected = ran_all_along(pieces[:killed])
    assert engine.time == expected.time
    assert states(engine) == states(expected)
    assert engine.pending == expected.pending
    for instrument, output in pieces[killed:]:
        for each in (engine, expected):
            each.take(instrument, output.features, output.watermark or 0)
        while step := expected.step():
            assert engine.step() == step


def test_it_begins_at_the_rolling_states_and_steps_what_came_after_once() -> None:
    pieces = outputs(ROWS, END, longest=60)
    streams, lake = streams_of(pieces), MemoryLake()
    taken_in(lake, streams, START + 24 * MINUTE)
    computed(lake, START + 24 * MINUTE)
    caught_up: list[Step] = []
    a_start(lake, streams, keep=caught_up.append).run(patient=True)
    times = sorted({row[1] for mine in ROWS.values() for row in mine})
    assert [step.time for step in caught_up] == [time for time in times if time > START + 20 * MINUTE]


def test_states_of_different_times_are_waited_for_then_the_day_end_serves() -> None:
    rows = feature_rows([START + DAY - 10 * SECOND, *(time + DAY for time in TIMES)], missing=0)
    lake = lake_with(rows, START + DAY + 25 * MINUTE)
    computed(lake, START + DAY)
    computed(lake, START + DAY + 15 * MINUTE)
    computed(lake, START + DAY + 21 * MINUTE, toy_folds()[:1])  # a run that is under way, or has died
    start = a_start(lake, FakeStreams(), resume={ONE.key: None, TWO.key: None})
    with pytest.raises(NotYetError, match="moves 2025-01-07T00:20:00Z, plans 2025-01-07T00:10:00Z"):
        start.run(patient=True)
    caught_up: list[Step] = []
    a_start(lake, FakeStreams(), resume={ONE.key: None, TWO.key: None}, keep=caught_up.append).run(patient=False)
    assert caught_up[0].time == START + DAY + 5 * SECOND
    assert caught_up[-1].time == START + DAY + 1_500 * SECOND


def test_a_new_fold_begins_at_the_beginning_and_an_unreadable_state_is_named() -> None:
    lake = lake_with(ROWS, END)
    computed(lake, END, toy_folds()[:2])
    caught_up: list[Step] = []
    start = a_start(lake, FakeStreams(), resume={ONE.key: None, TWO.key: None}, keep=caught_up.append)
    start.run(patient=False)
    assert caught_up[0].time == TIMES[0]
    computed(lake, END)
    with lake.transaction(asset="moves", run_id="older") as unit:
        unit.keep_state(State("moves", GROUP, "rolling", START + 20 * MINUTE, '{"prices": {}}'))
    engine = a_start(lake, FakeStreams(), resume={ONE.key: None, TWO.key: None}).run(patient=True)
    assert engine.failed == {"moves": "its state cannot be read: KeyError: 'mids'"}
    assert engine.time == END


class Trimmed(FakeStreams):
    """The tactical lane takes a stream in between two reads of it."""

    lake: MemoryLake
    reads = 0

    def read_after(self, key: str, last_id: int | None, count: int) -> list[StreamEntry]:
        if key == market_features(TWO.key) and count > 1:
            self.reads += 1
            if self.reads == 3:
                taken_in(self.lake, self, END - 2 * MINUTE)
        return super().read_after(key, last_id, count)


def test_what_is_trimmed_while_it_reads_is_found_in_the_lake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_start, "PAGE", 5)
    pieces = outputs(ROWS, END, longest=60)
    held, lake = streams_of(pieces), MemoryLake()
    taken_in(lake, held, START + 5 * MINUTE)
    streams = Trimmed(held.entries, held.tails)
    streams.lake = lake
    engine = a_start(lake, streams).run(patient=True)
    assert streams.reads > 3
    assert streams.entries[market_features(TWO.key)][0].id >= END - 2 * MINUTE
    assert states(engine) == states(ran_all_along(pieces))


class Busy(MemoryLake):
    """The tactical lane takes more in between the reading of its offsets and of its rows."""

    streams: FakeStreams
    reads = 0

    def read(self, table: Any, **options: Any) -> pd.DataFrame:
        self.reads += 1
        if self.reads == 1:
            take_stream(self, self.streams, TWO.key, END - 8 * MINUTE)
        return super().read(table, **options)


def test_what_comes_into_the_lake_while_it_reads_is_taken_once() -> None:
    pieces = outputs(ROWS, END, longest=60)
    streams, lake = streams_of(pieces), Busy()
    lake.streams = streams
    put_rows(lake, {}, START + 5 * MINUTE)
    take_stream(lake, streams, ONE.key, END - 5 * MINUTE)
    take_stream(lake, streams, TWO.key, START + 5 * MINUTE)
    engine = a_start(lake, streams).run(patient=True)
    assert lake.reads > 1
    assert states(engine) == states(ran_all_along(pieces))


def test_what_was_handed_on_but_is_not_in_redis_yet_is_waited_for() -> None:
    pieces = outputs(ROWS, END, longest=60)
    streams = streams_of(pieces[:-1])
    resume = dict.fromkeys(ROWS, END)
    missing = next(key for key in ROWS if streams.tail(market_features(key)) != END)
    with pytest.raises(NotYetError, match=f"rows of {missing} up to {iso(END)} are not in Redis yet"):
        a_start(MemoryLake(), streams, resume=resume).run(patient=True)
    assert a_start(MemoryLake(), streams_of(pieces), resume=resume).run(patient=True).time == TIMES[-1]


def test_a_redis_that_lost_everything_leaves_what_the_lake_has() -> None:
    pieces = outputs(ROWS, END, longest=60)
    streams, lake = streams_of(pieces), MemoryLake()
    taken_in(lake, streams, START + 15 * MINUTE)
    computed(lake, START + 15 * MINUTE)
    anew = FakeStreams(life="second")
    for instrument, output in pieces:
        if (output.watermark or 0) > START + 20 * MINUTE:
            anew.add(market_features(instrument), FEATURES, output.watermark or 0, output.features)
    engine = a_start(lake, anew).run(patient=True)
    assert set(engine.watermarks.values()) == {END}
    held = {row[1] for row in records_of(FEATURES, lake.read(FEATURES))}
    seen = {row[1] for key in anew.entries for entry in anew.entries[key] for row in rows_of(entry.fields["data"])}
    counted = encode_state(engine.machines["plans"].state())
    assert counted == encode_state({"steps": len(held | seen)})


def test_a_stop_ends_the_catching_up() -> None:
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(StoppedError):
        a_start(MemoryLake(), streams_of(outputs(ROWS, END, longest=60)), stopped=stopped).run(patient=True)


def learned(lake: MemoryLake, day: int, value: float) -> None:
    learned_from = START + (day + 1) * DAY
    with lake.transaction(asset="learning/factors", run_id="learn") as unit:
        row = {"instrument": [whole_group(GROUP)], "valid_from": [learned_from + DAY], "value": [value]}
        unit.append(FACTORS, pd.DataFrame(row))
        before = unit.progress("learning/factors", GROUP)
        unit.advance("learning/factors", GROUP, before, Progress(START, learned_from))


def test_what_is_in_force_is_read_like_in_batch_and_waited_for() -> None:
    rows = feature_rows([START + day * DAY + SECOND for day in range(3)], missing=0)
    lake = lake_with(rows, START + 2 * DAY + MINUTE)
    folds = toy_folds(FACTORS)
    start = a_start(lake, FakeStreams(), folds, resume={ONE.key: None, TWO.key: None})
    with pytest.raises(NotCompleteError, match=r"learning\.factors of crypto has not been learned up to 2025-01-07"):
        start.run(patient=True)
    learned(lake, 0, 2.5)
    caught_up: list[Step] = []
    start = a_start(lake, FakeStreams(), folds, resume={ONE.key: None, TWO.key: None}, keep=caught_up.append)
    start.run(patient=True)
    factors = [step.rows[PLANS.name][0][3] for step in caught_up]
    computed(lake, START + 2 * DAY + MINUTE, folds)
    assert factors == [1.0, 1.0, 2.5] == lake.read(PLANS)["factor"].tolist()


def test_versions_are_asked_for_before_anything_is_read() -> None:
    rows = feature_rows([START + SECOND, START + 2 * DAY + SECOND], missing=0)
    reads: list[str] = []

    class Watched(MemoryLake):
        def read(self, table: Any, **options: Any) -> pd.DataFrame:
            reads.append(table.name)
            return super().read(table, **options)

    lake = Watched()
    put_rows(lake, rows, START + 2 * DAY + MINUTE)
    with pytest.raises(NotCompleteError):
        a_start(lake, FakeStreams(), toy_folds(FACTORS), resume={ONE.key: None, TWO.key: None}).run(patient=True)
    assert FEATURES.name not in reads


def test_a_lake_without_history_asks_for_nothing() -> None:
    versions = VersionsInForce(MemoryLake, GROUP, INSTRUMENTS, toy_folds(FACTORS))
    with pytest.raises(NotCompleteError, match="has not been read"):
        versions(START)
    versions.load(START)
    assert versions(START) == {FACTORS.name: []}
    versions.load(START + DAY)  # learned from the first day is due on the third
    with pytest.raises(NotCompleteError, match="has not been learned"):
        versions.load(START + 2 * DAY)


def test_only_columns_that_folds_read_are_read() -> None:
    asked: list[Sequence[str]] = []

    class Watched(MemoryLake):
        def read(self, table: Any, **options: Any) -> pd.DataFrame:
            asked.append(options["columns"])
            return super().read(table, **options)

    lake = Watched()
    put_rows(lake, ROWS, END)
    a_start(lake, FakeStreams(), resume={ONE.key: None, TWO.key: None}).run(patient=True)
    wanted = ["instrument", "time", "bid_quantity_20", "ask_price_20", "mid_price", "spread", "last_price"]
    assert {tuple(columns) for columns in asked} == {tuple(wanted)}
    assert asset_name(MOVES) == "toy/moves"


def test_a_real_lake_gives_the_same_engine(addresses: Addresses) -> None:
    until, pieces = START + 15 * MINUTE, outputs(ROWS, END, longest=60)
    lakes: list[tuple[Lake, FakeStreams]] = [
        (DuckLake(addresses), streams_of(pieces)),
        (MemoryLake(), streams_of(pieces)),
    ]
    found = []
    for lake, streams in lakes:
        lake.ensure([FEATURES, *(table for fold in toy_folds() for table in fold.tables)])
        taken_in(lake, streams, until)
        computed(lake, until)
        found.append(states(a_start(lake, streams).run(patient=True)))
    assert found[0] == found[1] == states(ran_all_along(pieces))


def test_rows_of_an_entry_are_those_that_decode_gives() -> None:
    rows: Mapping[str, Any] = ROWS
    payload = encode(FEATURES, rows[ONE.key][:20])
    assert repr(rows_of(payload)) == repr(
        [
            tuple(value.tolist() if hasattr(value, "tolist") else value for value in record)
            for record in records_of(FEATURES, decode(FEATURES, payload))
        ]
    )
