"""What the machine itself is doing: processor, memory, network, disk, at every point of the metrics grid.

Belongs here: sampling and the stream's entry. Does not belong here: what is odd about a number (``system_judge`` and
the stage ``anomalies``).

Samples are raw facts. An entry's id is its grid point, so a repeat is refused, and runs take entries into
``anomalies.system_samples`` as they take in what comes from the market.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import psutil

from resources.redis_keys import SYSTEM_METRICS
from resources.redis_streams import entry_id
from services.live_lane.batch import Addition
from signal_assets.anomalies.system_series import SYSTEM
from signal_assets.anomalies.tables import SYSTEM_SAMPLES
from signal_assets.event_time import SECOND, floor_to
from signal_assets.market.stream_codec import encode

INTERVAL: Final = 10.0
LONGEST_SLEEP: Final = SECOND
"""µs; a sampler that was told of another interval waits no longer for a point of the old one."""
MAXIMUM_LENGTH: Final = 100_000
"""Entries kept in the stream, about, while no run takes them in: eleven days."""


class SystemMetrics:
    """Samples four series at multiples of the interval, by our clock; rates are means since the sample before.

    Parameters
    ----------
    send : callable
        Takes the stream's entry.
    interval : float
        Seconds.
    host : str, optional
        Default: this machine's name.

    Attributes
    ----------
    newest : dict of str to float
        ``system.cpu.usage`` and ``system.memory.usage`` in percent, ``system.network.io`` and ``system.disk.io`` in
        bytes per second, both directions together; what the machine does not tell is absent.
    """

    def __init__(
        self, send: Callable[[Addition], None], *, interval: float = INTERVAL, host: str | None = None
    ) -> None:
        self._send = send
        self._interval = round(interval * SECOND)
        self._host = host if host is not None else socket.gethostname()
        self._before: tuple[float, Mapping[str, int]] = (time.monotonic(), {})
        self.newest: dict[str, float] = {}

    def configure(self, interval: float) -> None:
        """Sample at multiples of this many seconds from now on: no point twice, and none before the last."""
        self._interval = round(interval * SECOND)

    async def run(self) -> None:
        """Sample until cancelled."""
        await asyncio.to_thread(self.sample)  # rates need a beginning
        last = _now()
        while True:
            interval, point = self._interval, self._point_after(last)
            while (left := point - _now()) > 0:
                if interval != self._interval:
                    interval, point = self._interval, self._point_after(last)
                # A clock that was set back is not waited for.
                elif left > interval:
                    point = floor_to(_now(), interval) + interval
                await asyncio.sleep(min(left, interval, LONGEST_SLEEP) / SECOND)
            self.newest = await asyncio.to_thread(self.sample)
            self._send(entry(point, self.newest, self._host))
            last = point

    def _point_after(self, last: int) -> int:
        """The next point of the grid behind now and the last one."""
        return max(floor_to(_now(), self._interval), floor_to(last, self._interval)) + self._interval

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


def entry(point: int, values: Mapping[str, float], host: str) -> Addition:
    """The stream's entry of a grid point (µs UTC).

    Under ``data`` rows of ``anomalies.system_samples``, and for people every series by its name.
    """
    rows = [(SYSTEM.key, series, point, host, float(value)) for series, value in values.items()]
    fields = (
        ("n", str(len(rows)).encode()),
        ("data", encode(SYSTEM_SAMPLES, rows)),
        ("time", str(point).encode()),
        ("host", host.encode()),
        *((name, repr(value).encode()) for name, value in values.items()),
    )
    return Addition(SYSTEM_METRICS, entry_id(point), fields, MAXIMUM_LENGTH)


def _now() -> int:
    return time.time_ns() // 1_000
