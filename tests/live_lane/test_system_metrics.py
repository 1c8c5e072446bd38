"""What the machine itself is doing."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import psutil
import pytest

from resources.redis_keys import SYSTEM_METRICS
from services.live_lane import system_metrics
from services.live_lane.batch import Addition
from services.live_lane.system_metrics import SystemMetrics, entry
from signal_assets.anomalies.tables import SYSTEM_SAMPLES
from signal_assets.market.stream_codec import decode

WaitUntil = Callable[[Callable[[], bool]], Awaitable[None]]


def counters(monkeypatch: pytest.MonkeyPatch, moment: float, network: tuple[int, int], disk: tuple[int, int]) -> None:
    monkeypatch.setattr(system_metrics.time, "monotonic", lambda: moment)
    sent, received = network
    read, written = disk
    monkeypatch.setattr(psutil, "net_io_counters", lambda: SimpleNamespace(bytes_sent=sent, bytes_recv=received))
    monkeypatch.setattr(psutil, "disk_io_counters", lambda: SimpleNamespace(read_bytes=read, write_bytes=written))


def test_rates_are_means_since_the_sample_before(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = SystemMetrics(lambda _: None)
    counters(monkeypatch, 100.0, (1_000, 2_000), (0, 500))
    assert set(sampler.sample()) == {"system.cpu.usage", "system.memory.usage"}  # no rate without a beginning
    counters(monkeypatch, 110.0, (1_500, 2_500), (4_000, 500))
    sample = sampler.sample()
    assert sample["system.network.io"] == 100.0  # (500 + 500) bytes in 10 s
    assert sample["system.disk.io"] == 400.0
    assert 0 <= sample["system.cpu.usage"] <= 100
    assert 0 < sample["system.memory.usage"] <= 100


def test_a_machine_without_a_disk_has_no_disk_series(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = SystemMetrics(lambda _: None)
    counters(monkeypatch, 1.0, (0, 0), (0, 0))
    monkeypatch.setattr(psutil, "disk_io_counters", lambda: None)
    sampler.sample()
    assert set(sampler.sample()) == {"system.cpu.usage", "system.memory.usage", "system.network.io"}


async def test_one_entry_per_sample_goes_out(wait_until: WaitUntil) -> None:
    sent: list[Addition] = []
    sampler = SystemMetrics(sent.append, interval=0.01, host="host-1")
    task = asyncio.create_task(sampler.run())
    await wait_until(lambda: len(sent) >= 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    points = [int(addition.id.removesuffix("-0")) for addition in sent]
    assert points == sorted(set(points))
    assert {point % 10_000 for point in points} == {0}  # multiples of 10 ms, in µs
    assert {(addition.key, addition.maximum_length) for addition in sent} == {(SYSTEM_METRICS, 100_000)}
    fields = dict(sent[-1].fields)
    assert list(fields)[:6] == ["n", "data", "time", "host", "system.cpu.usage", "system.memory.usage"]
    assert float(fields["system.cpu.usage"]) >= 0
    assert sampler.newest.keys() == fields.keys() - {"n", "data", "time", "host"}


def test_an_entry_holds_rows_for_the_lake_and_numbers_for_people() -> None:
    made = entry(1_736_208_000_000_000, {"system.cpu.usage": 12.5, "system.disk.io": 0}, "host-1")
    assert (made.key, made.id) == (SYSTEM_METRICS, "1736208000000000-0")
    fields = dict(made.fields)
    assert fields["n"] == b"2"
    assert fields["time"] == b"1736208000000000"
    assert fields["host"] == b"host-1"
    assert fields["system.cpu.usage"] == b"12.5"
    rows = decode(SYSTEM_SAMPLES, fields["data"])
    assert [tuple(row) for row in rows.itertuples(index=False)] == [
        ("SYSTEM.PLATFORM", "system.cpu.usage", 1_736_208_000_000_000, "host-1", 12.5),
        ("SYSTEM.PLATFORM", "system.disk.io", 1_736_208_000_000_000, "host-1", 0.0),
    ]


async def test_the_point_before_a_sample_is_its_time(monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil) -> None:
    clock = [1_736_208_004_000_000]  # four seconds after a point

    async def sleep(seconds: float) -> None:
        clock[0] += round(seconds * 1_000_000)
        if len(sent) == 3:
            raise asyncio.CancelledError

    sent: list[Addition] = []
    monkeypatch.setattr(system_metrics, "_now", lambda: clock[0])
    monkeypatch.setattr(system_metrics.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await SystemMetrics(sent.append).run()
    assert [addition.id for addition in sent] == [f"17362080{second}000000-0" for second in (10, 20, 30)]


async def test_a_changed_interval_holds_from_now_on_without_a_point_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_736_208_004_000_000]  # four seconds after a point, of an hour too
    changes = {1_736_208_007: 5.0, 1_736_208_020: 60.0, 1_736_208_100: 10.0}
    sent: list[Addition] = []

    async def sleep(seconds: float) -> None:
        clock[0] += round(seconds * 1_000_000)
        if (interval := changes.pop(clock[0] // 1_000_000, None)) is not None:
            sampler.configure(interval)
        if len(sent) == 7:
            raise asyncio.CancelledError

    monkeypatch.setattr(system_metrics, "_now", lambda: clock[0])
    monkeypatch.setattr(system_metrics.asyncio, "sleep", sleep)
    sampler = SystemMetrics(sent.append, interval=3_600.0)
    with pytest.raises(asyncio.CancelledError):
        await sampler.run()
    seconds = [int(addition.id.removesuffix("-0")) // 1_000_000 - 1_736_208_000 for addition in sent]
    assert seconds == [10, 15, 20, 60, 110, 120, 130]  # every 5 s, every minute, every 10 s
