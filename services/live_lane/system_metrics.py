"""What the machine itself is doing: processor, memory, network, disk, every ten seconds.

Belongs here: sampling and the stream's entry. Does not belong here: what is odd about a number (the stage
``anomalies``).
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import psutil

from resources.redis_keys import SYSTEM_METRICS
from services.live_lane.batch import AUTOMATIC_ID, Addition

INTERVAL: Final = 10.0
MAXIMUM_LENGTH: Final = 10_000
"""Entries kept in the stream, about: a day."""


class SystemMetrics:
    """Samples four series; rates are means since the sample before.

    Parameters
    ----------
    send : callable
        Takes the stream's entry.

    Attributes
    ----------
    newest : dict of str to float
        ``system.cpu.usage`` and ``system.memory.usage`` in percent, ``system.network.io`` and ``system.disk.io`` in
        bytes per second, both directions together; what the machine does not tell is absent.
    """

    def __init__(self, send: Callable[[Addition], None], *, interval: float = INTERVAL) -> None:
        self._send = send
        self._interval = interval
        self._before: tuple[float, Mapping[str, int]] = (time.monotonic(), {})
        self.newest: dict[str, float] = {}

    async def run(self) -> None:
        """Sample until cancelled."""
        await asyncio.to_thread(self.sample)  # rates need a beginning
        while True:
            await asyncio.sleep(self._interval)
            self.newest = await asyncio.to_thread(self.sample)
            self._send(entry(time.time_ns() // 1_000, self.newest))

    def sample(self) -> dict[str, float]:
        """All series as of now."""
        now, bytes_moved = time.monotonic(), _bytes_moved()
        (then, before), self._before = self._before, (now, bytes_moved)
        rates = {
            name: (count - before[name]) / max(now - then, 1e-9)
            for name, count in bytes_moved.items()
            if name in before
        }
        return {
            "system.cpu.usage": psutil.cpu_percent(),
            "system.memory.usage": psutil.virtual_memory().percent,
            **rates,
        }


def _bytes_moved() -> dict[str, int]:
    counters: dict[str, Any] = {
        "system.network.io": psutil.net_io_counters(),
        "system.disk.io": psutil.disk_io_counters(),
    }
    fields = {"system.network.io": ("bytes_sent", "bytes_recv"), "system.disk.io": ("read_bytes", "write_bytes")}
    # A container may have no disk of its own.
    return {name: sum(getattr(found, field) for field in fields[name]) for name, found in counters.items() if found}


def entry(now: int, values: Mapping[str, float]) -> Addition:
    """The stream's entry: ``time`` in µs UTC by our clock, and every series by its name."""
    fields = (("time", str(now).encode()), *((name, repr(value).encode()) for name, value in values.items()))
    return Addition(SYSTEM_METRICS, AUTOMATIC_ID, fields, MAXIMUM_LENGTH)
