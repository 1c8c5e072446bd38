"""Who leads which group: leases, tokens, fences, sharing; and two lanes with a group each make one lane's rows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest

from resources.redis_keys import SIGNALS as SIGNALS_STREAM
from resources.redis_keys import lane_holder, lane_lease, market_features, market_trades
from resources.redis_streams import open_async_redis
from services.live_lane import shard_lease
from services.live_lane.batch import Addition, Batch
from services.live_lane.measurements import Measurements, SignalMeasurements
from services.live_lane.outbox import Outbox
from services.live_lane.shard_lease import Fence, HolderUnknownError, Lease, ShardLeases, SupersededError
from services.live_lane.signal_emitter import Outgoing, SignalEmitter
from services.live_lane.spill import Spill
from signal_assets.event_time import SECOND
from signal_assets.machine import record_class
from signal_assets.market.ingest import Output
from signal_assets.market.tables import TRADES
from signal_assets.signals.tables import SIGNALS
from tests.live_lane.conftest import RedisServer
from tests.live_lane.toy_folds import ONE, START, signal_row
from tests.scale_out.lanes import STREAMS, Lanes

pytestmark = pytest.mark.slow

GROUP = "crypto"
PATIENCE_SECONDS = 120.0


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    made = RedisServer(tmp_path_factory.mktemp("redis"))
    made.start()
    yield made
    made.kill()


@dataclass
class Told:
    """A lane's leases, and what they told the lane."""

    leases: ShardLeases
    taken: list[Lease] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    surplus: list[str] = field(default_factory=list)


MakeLane = Callable[..., Told]


@pytest.fixture
async def lane(server: RedisServer) -> AsyncIterator[MakeLane]:
    """Makes lanes that are driven by hand: a round is ``tick``."""
    clients = []

    def make(folder: str, *groups: str, seconds: float = PATIENCE_SECONDS) -> Told:
        told = Told(None)  # type: ignore[arg-type]
        clients.append(open_async_redis(server.url))
        told.leases = ShardLeases(
            clients[-1],
            folder,
            "process",
            groups or (GROUP,),
            lambda lease: told.taken.append(lease),
            lambda group: told.lost.append(group),
            lambda group: told.surplus.append(group),
            seconds=seconds,
        )
        return told

    yield make
    for client in clients:
        await client.aclose()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.02)


async def expired(server: RedisServer, group: str = GROUP) -> None:
    """Wait until Redis has let the lease go."""

    async def gone() -> bool:
        return not server.client().exists(lane_lease(group))

    await until(gone)


async def test_one_lane_leads_and_the_other_waits_until_the_lease_is_given_back(
    server: RedisServer, lane: MakeLane
) -> None:
    first, second = lane("one"), lane("two")
    await first.leases.tick()
    await second.leases.tick()
    assert [lease.value for lease in first.taken] == ["1 one/process"]
    assert second.taken == []
    assert second.leases.health() == {GROUP: {"state": "standby", "token": 1, "holder": "one/process"}}
    await first.leases.give(GROUP)
    await second.leases.tick()
    (lease,) = second.taken
    assert (lease.value, lease.continues, lease.taken_over) == ("2 two/process", False, True)
    await first.leases.tick()
    assert len(first.taken) == 1


async def test_a_lease_runs_out_and_its_holder_learns_that_it_was_superseded(
    server: RedisServer, lane: MakeLane
) -> None:
    first, second = lane("one", seconds=0.2), lane("two")
    await first.leases.tick()
    await expired(server)  # it is not driven any more, as if it were paused
    await second.leases.tick()
    assert [lease.value for lease in second.taken] == ["2 two/process"]
    await first.leases.tick()
    assert first.lost == [GROUP]
    assert first.leases.leads == []
    await first.leases.tick()
    assert first.lost == [GROUP]  # told once; it takes nothing until it has closed the group
    first.leases.forget(GROUP)
    await second.leases.give(GROUP)
    await first.leases.tick()
    assert [lease.value for lease in first.taken] == ["1 one/process", "3 one/process"]


async def test_a_holder_goes_on_if_nobody_led_meanwhile(server: RedisServer, lane: MakeLane) -> None:
    first = lane("one", seconds=0.2)
    await first.leases.tick()
    await expired(server)
    await first.leases.tick()
    assert first.lost == []
    assert server.client().get(lane_lease(GROUP)) == b"1 one/process"


async def test_a_redis_that_lost_its_data_learns_the_holder_again(server: RedisServer, lane: MakeLane) -> None:
    first, second = lane("one"), lane("two")
    await first.leases.tick()
    await first.leases.give(GROUP)
    await first.leases.tick()
    server.client().flushall()
    await first.leases.tick()
    assert server.client().get(lane_holder(GROUP)) == b"2 one/process"
    await second.leases.tick()
    assert second.taken == []
    await first.leases.give(GROUP)
    await second.leases.tick()
    assert [lease.value for lease in second.taken] == ["3 two/process"]  # tokens never come again


async def test_without_redis_a_holder_goes_on_and_comes_first_later(server: RedisServer, lane: MakeLane) -> None:
    first, second = lane("one", seconds=1.0), lane("two", seconds=PATIENCE_SECONDS)
    await first.leases.tick()
    await second.leases.tick()
    server.kill()
    for told in (first, second):
        running = asyncio.create_task(told.leases.run())
        while not told.leases.error:
            await asyncio.sleep(0.02)
        running.cancel()
    assert first.leases.leads == [GROUP]
    server.start()
    await expired(server)
    await second.leases.tick()  # it was cut off too, so it leaves the group to its holder for a while
    assert second.taken == []
    await first.leases.tick()
    assert first.lost == []
    assert server.client().get(lane_lease(GROUP)) == b"1 one/process"


async def test_the_next_process_of_a_folder_takes_a_dead_ones_lease_at_once(
    server: RedisServer, lane: MakeLane
) -> None:
    first, again, other = lane("one"), lane("one"), lane("two")
    await first.leases.tick()
    await other.leases.tick()
    await again.leases.tick()
    (lease,) = again.taken
    assert (lease.value, lease.continues, lease.taken_over) == ("2 one/process", True, False)
    assert other.taken == []


async def test_lanes_that_start_together_share_the_groups(
    server: RedisServer, lane: MakeLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_lease, "YIELD_SECONDS", PATIENCE_SECONDS)
    names = ("a", "b", "c", "d")
    lanes = [lane("one", *names), lane("two", *names)]
    leases = [lane_lease(name) for name in names]
    server.client().mset(dict.fromkeys(leases, "0 another/process"))
    for told in lanes:
        await told.leases.tick()
    assert [told.taken for told in lanes] == [[], []]
    server.client().delete(*leases)
    for _ in range(6):
        for told in lanes:
            await told.leases.tick()
    assert sorted(len(told.leases.leads) for told in lanes) == [2, 2]
    assert sorted(group for told in lanes for group in told.leases.leads) == list(names)


async def test_a_lane_that_comes_later_is_given_its_share(lane: MakeLane, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = lane("one", "a", "b", "c"), lane("two", "a", "b")
    await first.leases.tick()
    assert first.leases.leads == ["a", "b", "c"]
    monkeypatch.setattr(shard_lease, "SETTLE_SECONDS", PATIENCE_SECONDS)
    await second.leases.tick()
    await first.leases.tick()
    assert first.surplus == []  # not before the other has lived for a while
    monkeypatch.setattr(shard_lease, "SETTLE_SECONDS", 0.0)
    await first.leases.tick()
    assert first.surplus == ["b"]  # the last one that the other may lead
    await first.leases.tick()
    assert first.surplus == ["b"]  # one after the other
    await first.leases.give("b")
    await second.leases.tick()
    assert second.leases.leads == ["b"]
    for _ in range(3):
        await second.leases.tick()
        await first.leases.tick()
    assert (first.leases.leads, second.leases.leads) == (["a", "c"], ["b"])
    assert first.surplus == ["b"]


async def test_one_group_is_not_passed_around(lane: MakeLane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_lease, "SETTLE_SECONDS", 0.0)
    first, second = lane("one"), lane("two")
    for _ in range(5):
        await first.leases.tick()
        await second.leases.tick()
    assert (first.leases.leads, first.surplus, second.taken) == ([GROUP], [], [])


def test_a_fence_tells_who_came_later_from_who_was_forgotten() -> None:
    fence = Fence("live:holder:crypto", "7 one/a")
    fence.check(b"7 one/a")
    for found in (None, b"", b"6 two/b"):
        with pytest.raises(HolderUnknownError):
            fence.check(found)
    for found in (b"8 two/b", b"7 two/b"):
        with pytest.raises(SupersededError):
            fence.check(found)


# -- writing under a fence ---------------------------------------------------------------------------------------------

FENCE = Fence(lane_holder(GROUP), "1 one/process")
KEY = ONE.key


def output(second: int) -> Output:
    moment = START + second * SECOND
    row = {"instrument": KEY, "trade_id": second, "event_time": moment, "received_time": moment, "price": 1}
    row |= {"quantity": 1, "is_buyer_maker": False, "late": False, "flags": 0}
    trade = tuple(row[column.name] for column in TRADES.columns if column.name in row)
    return Output(trades=[trade], watermark=moment, reason="")


def outbox_on(server: RedisServer, folder: Path, measurements: Measurements) -> Outbox:
    return Outbox(server.url, Spill(folder / "spill", 10_000_000), measurements, flush_seconds=0.01, fence=FENCE)


async def test_a_superseded_outbox_adds_nothing_and_lets_go_of_disk_and_memory(
    server: RedisServer, tmp_path: Path
) -> None:
    measurements = Measurements()
    spilled = Batch((Addition(market_trades(KEY), "1-0", (("n", b"1"),)),), records=1)
    Spill(tmp_path / "spill", 10_000_000).append(spilled.encode())
    server.client().set(FENCE.key, "2 two/process")
    outbox = outbox_on(server, tmp_path, measurements)
    sending = outbox.start()
    outbox.add(KEY, output(5), 0.0)
    with pytest.raises(SupersededError, match="2 two/process"):
        await asyncio.wait_for(sending, PATIENCE_SECONDS)
    await outbox.abandon()
    assert measurements.records_superseded == 3  # one on disk; a trade and a closing in memory
    assert server.client().exists(market_trades(KEY), market_features(KEY)) == 0
    assert Spill(tmp_path / "spill", 10_000_000).empty


async def test_a_batch_is_refused_when_the_lease_is_taken_between_look_and_write(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Fence.check

    def check_and_lose(self: Fence, found: bytes | str | None) -> None:
        check(self, found)
        server.client().set(self.key, "2 two/process")  # after the look, before EXEC

    server.client().set(FENCE.key, FENCE.value)
    monkeypatch.setattr(Fence, "check", check_and_lose)
    outbox = outbox_on(server, tmp_path, Measurements())
    sending = outbox.start()
    outbox.add(KEY, output(5), 0.0)
    with pytest.raises(SupersededError):
        await asyncio.wait_for(sending, PATIENCE_SECONDS)
    await outbox.abandon()
    assert server.client().exists(market_trades(KEY), market_features(KEY)) == 0


async def test_a_redis_that_forgot_the_holder_is_written_to_once_it_knows_again(
    server: RedisServer, tmp_path: Path
) -> None:
    measurements = Measurements()
    outbox = outbox_on(server, tmp_path, measurements)
    outbox.start()
    outbox.add(KEY, output(5), 0.0)

    async def refused() -> bool:
        return measurements.flush_failures > 1

    await until(refused)
    assert server.client().exists(market_trades(KEY)) == 0
    server.client().set(FENCE.key, FENCE.value)
    await asyncio.wait_for(outbox.flush(), PATIENCE_SECONDS)
    assert server.client().xlen(market_trades(KEY)) == 1
    await outbox.stop(5.0)


async def test_a_superseded_emitter_sends_nothing(server: RedisServer) -> None:
    measurements = SignalMeasurements()
    emitter = SignalEmitter(server.url, measurements, {}, fence=FENCE)
    signal = record_class(SIGNALS)._make(signal_row(ONE, START))
    server.client().set(FENCE.key, FENCE.value)
    sending = emitter.start()
    emitter.emit(Outgoing(signal, signal.symbol, lambda: START, None))
    await asyncio.wait_for(emitter.flush(), PATIENCE_SECONDS)
    assert server.client().xlen(SIGNALS_STREAM) == 1
    server.client().set(FENCE.key, "2 two/process")
    later = record_class(SIGNALS)._make(signal_row(ONE, START + SECOND))
    emitter.emit(Outgoing(later, later.symbol, lambda: START, None))
    with pytest.raises(SupersededError):
        await asyncio.wait_for(sending, PATIENCE_SECONDS)
    await emitter.abandon()
    assert server.client().xlen(SIGNALS_STREAM) == 1
    assert measurements.suppressed["superseded"] == 1


# -- two processes, two groups -----------------------------------------------------------------------------------------

SYMBOLS = {"BTC": "majors", "ETH": "majors", "SOL": "minors", "BNB": "minors"}
MARKET = ("--seed", "5", "--days", f"{120 / 86_400:.8f}", "--levels", "200", "--trades-per-second", "4")


@pytest.mark.alone
def test_two_processes_with_a_group_each_make_the_rows_of_one(tmp_path: Path) -> None:
    with Lanes(tmp_path / "one", SYMBOLS) as one, Lanes(tmp_path / "two", SYMBOLS) as two:
        for lanes in (one, two):
            lanes.venue(*MARKET, "--speed", "max", "--subscribers", "2")
        one.lane("both")
        one.wait_for_end("both")
        two.lane("left", "majors")
        two.lane("right", "minors")
        two.wait_for_end("left", "right")
        for key in SYMBOLS:
            name = f"{key}FDUSD.BINANCE"
            for stream in STREAMS:
                expected, actual = one.rows(name, stream), two.rows(name, stream)
                assert len(expected) > {"trades": 50, "features": 100, "depth": 5, "gaps": -1}[stream]
                pd.testing.assert_frame_equal(actual, expected, check_exact=True, obj=f"{name} {stream}")
        for group in ("majors", "minors"):
            assert (one.token(group), two.token(group)) == (1, 1)
        sent = [[signal["id"] for signal in lanes.emitted()] for lanes in (one, two)]
        assert sorted(sent[0]) == sorted(sent[1])
        assert len(sent[0]) == len(set(sent[0])) > 20
