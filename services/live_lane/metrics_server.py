"""`/metrics` for Prometheus and `/health` for people and supervisors, on the loopback interface.

Belongs here: how the numbers are shown. Does not belong here: counting (``measurements``).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, Protocol, cast

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from services.live_lane.group_lane import ENGINE_STATES, GroupLane
from services.live_lane.measurements import Measurements, SignalMeasurements
from services.live_lane.shard import Shard
from services.live_lane.shard_lease import ShardLeases
from services.live_lane.system_metrics import SystemMetrics
from services.live_lane.venue_feed import VenueFeed

HOST: Final = "127.0.0.1"
HEALTHY_SECONDS: Final = 0.1
PROBE_KEPT_SECONDS: Final = 5.0
"""A probe's answer serves for so long: asking for health must not use up the exchange's request budget."""

PROBE_LIMIT_SECONDS: Final = 1.0

_INSTRUMENT_COUNTERS: Final = {
    "sequence_gaps": "Gaps in the depth updates",
    "resyncs": "Snapshots the book was built from again",
    "crossed": "Times the book was crossed",
    "duplicates": "Trades that came again",
    "late_trades": "Trades for a grid point that had closed",
}
_INSTRUMENT_GAUGES: Final = {"held": "Messages waiting for REST", "levels": "Levels in the book"}
_SYSTEM: Final = {
    "system.cpu.usage": "Processor, all cores, percent",
    "system.memory.usage": "Memory in use, percent",
    "system.network.io": "Network, both directions, bytes per second",
    "system.disk.io": "Disks, both directions, bytes per second",
}
_FAILED: Final = frozenset({"down", "disconnected", "dead_feed", "stopped"})


class Source(Protocol):
    """What the server shows; the service is one."""

    measurements: Measurements
    signal_measurements: SignalMeasurements
    leases: ShardLeases | None
    system: SystemMetrics

    @property
    def shards(self) -> Mapping[str, Shard]:
        """One per group that this lane leads."""

    @property
    def feeds(self) -> Sequence[VenueFeed]:
        """One per venue, once they are open."""

    @property
    def groups(self) -> Mapping[str, GroupLane]:
        """One per group of instruments."""

    async def ping_redis(self) -> float:
        """Seconds a PING takes."""


class LaneCollector:
    """Turns the lane's plain counters into Prometheus metrics when asked."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read state."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All metrics as of now."""
        measurements = self._source.measurements
        outboxes = [shard.outbox for shard in self._source.shards.values()]
        for entry in fields(measurements):
            value = getattr(measurements, entry.name)
            if isinstance(value, int):
                name = f"live_lane_{entry.name}"
                yield CounterMetricFamily(name, entry.name.replace("_", " ") + " since start", value=value)
        for latency in measurements.latencies:
            yield from latency.histogram.collect()
        records, spilled = sum(box.records for box in outboxes), sum(box.spill.size for box in outboxes)
        corrupt, leases = sum(box.spill.corrupt_bytes for box in outboxes), self._source.leases
        yield _gauge("live_lane_outbox_records", "Records in memory not yet acknowledged by Redis", records)
        yield _gauge("live_lane_spill_bytes", "Bytes spilled to disk and not yet read back", spilled)
        yield _gauge("live_lane_spill_corrupt_bytes", "Spilled bytes found damaged", corrupt)
        yield _gauge(
            "live_lane_paused",
            "1 while a feed is not read, for want of room",
            float(any(box.paused for box in outboxes)),
        )
        up = all(box.redis_up for box in outboxes) if outboxes else leases is not None and leases.connected
        yield _gauge("redis_up", "1 if the last flush succeeded", float(up))
        yield from self._leases()
        yield from self._feeds()
        yield from self._instruments()
        yield from self._signals()
        yield from self._engines()
        for name, number in self._source.system.newest.items():
            yield _gauge(name.replace(".", "_"), _SYSTEM[name], number)

    def _leases(self) -> Iterable[Metric]:
        leading = GaugeMetricFamily(
            "group_leading", "1 if this lane leads the group, 0 if it stands by", labels=["group"]
        )
        for group, state in _groups_of(self._source).items():
            leading.add_metric([group], float(state["state"] == "leading"))
        yield leading

    def _feeds(self) -> Iterable[Metric]:
        connected = GaugeMetricFamily("feed_up", "1 while messages come", labels=["venue"])
        lag = GaugeMetricFamily("feed_lag_seconds", "Age of the newest exchange time", labels=["venue"])
        latency = GaugeMetricFamily("feed_latency_seconds", "Exchange time to receipt", labels=["venue"])
        for feed in self._source.feeds:
            connected.add_metric([feed.settings.venue], float(feed.state == "running"))
            if feed.lag_seconds is not None:
                lag.add_metric([feed.settings.venue], feed.lag_seconds)
            if feed.latency_seconds is not None:
                latency.add_metric([feed.settings.venue], feed.latency_seconds)
        return connected, lag, latency

    def _instruments(self) -> Iterable[Metric]:
        states = {i: feed.instrument_state(i) for feed in self._source.feeds for i in feed.instruments}
        for key, text in _INSTRUMENT_COUNTERS.items():
            counter = CounterMetricFamily(f"market_{key}", text, labels=["instrument"])
            for instrument, state in states.items():
                counter.add_metric([instrument], float(state.get(key) or 0))
            yield counter
        for key, text in {**_INSTRUMENT_GAUGES, "synced": "1 while the book is in sync"}.items():
            name = "market_book_synced" if key == "synced" else f"market_{key}"
            gauge = GaugeMetricFamily(name, text, labels=["instrument"])
            for instrument, state in states.items():
                gauge.add_metric([instrument], float(state.get(key) or 0))
            yield gauge

    def _signals(self) -> Iterable[Metric]:
        counted = self._source.signal_measurements
        yield _counter("anomalies", "Anomalies found", ("severity",), counted.anomalies)
        yield _counter("anomaly_events", "Anomalies sent to Redis", ("outcome",), counted.anomaly_events)
        failures = counted.anomaly_event_failures
        yield _counter("anomaly_event_failures", "Attempts to publish anomalies that failed", ("error",), failures)
        behind = sum(shard.publisher.waiting for shard in self._source.shards.values())
        yield _gauge("anomaly_events_waiting", "Anomalies that Redis has not acknowledged", behind)
        yield _counter("signals", "Proposals judged", ("strategy", "status"), counted.signals)
        yield CounterMetricFamily("signals_emitted", "Signals that left by this process", value=counted.emitted)
        yield _counter("signals_suppressed", "Validated signals that did not leave", ("reason",), counted.suppressed)
        yield _counter("signal_emission_failures", "Attempts that Redis refused", ("error",), counted.emission_failures)
        waiting = sum(shard.emitter.waiting for shard in self._source.shards.values())
        yield _gauge("signals_waiting", "Signals that Redis has not acknowledged", waiting)
        yield from counted.closing_to_signal.histogram.collect()

    def _engines(self) -> Iterable[Metric]:
        counted, groups = self._source.signal_measurements, self._source.groups
        failures: Counter[tuple[str, ...]] = Counter({("fold", name): n for name, n in counted.fold_failures.items()})
        for lane in groups.values():
            failures.update(lane.plug_in_failures())
        yield _counter("plugin_failures", "Times a part raised and the others went on", ("kind", "name"), failures)
        yield CounterMetricFamily("engine_starts", "Engines brought up from the lake", value=counted.engine_starts)
        yield _counter("engine_start_failures", "Starts that failed", ("error",), counted.engine_start_failures)
        state = GaugeMetricFamily("engine_state", "1 for the state an engine is in", labels=["group", "state"])
        waiting = GaugeMetricFamily("engine_waiting", "Closings that wait for an engine", labels=["group"])
        lag = GaugeMetricFamily("engine_lag_seconds", "Event time behind the newest watermark", labels=["group"])
        for name, lane in groups.items():
            for possible in ENGINE_STATES:
                state.add_metric([name, possible], float(lane.state == possible))
            waiting.add_metric([name], lane.waiting)
            if lane.lag_seconds is not None:
                lag.add_metric([name], lane.lag_seconds)
        yield from (state, waiting, lag)


def _groups_of(source: Source) -> Mapping[str, Mapping[str, Any]]:
    return source.leases.health() if source.leases is not None else {}


def _counter(name: str, text: str, labels: Sequence[str], counts: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, count in counts.items():
        family.add_metric([key] if isinstance(key, str) else list(key), count)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


class MetricsServer:
    """Serves both pages; each port may be 0 for any free one."""

    def __init__(self, source: Source, metrics_port: int, health_port: int) -> None:
        self._source = source
        self._wanted_ports = (metrics_port, health_port)
        self._registry = CollectorRegistry()
        self._registry.register(cast(Any, LaneCollector(source)))
        self._runner: web.AppRunner | None = None
        self._probes: dict[str, tuple[float, dict[str, Any]]] = {}
        self.ports: tuple[int, int] = (0, 0)

    async def start(self) -> None:
        """Bind both ports.

        Raises
        ------
        OSError
            If one is taken.
        """
        application = web.Application()
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/health", self._health)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        for port in self._wanted_ports:
            await web.TCPSite(self._runner, HOST, port).start()
        metrics, health = (address[1] for address in self._runner.addresses)
        self.ports = (metrics, health)

    async def stop(self) -> None:
        """Free the ports."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _health(self, _: web.Request) -> web.Response:
        report = await self.health()
        status = 503 if report["status"] == "down" else 200
        return web.Response(body=orjson.dumps(report), status=status, content_type="application/json")

    async def health(self) -> dict[str, Any]:
        """Status per dependency, feeds, books, outbox. ``down``: data does not flow; ``degraded``: it does, slowly."""
        dependencies = {"redis": await self._probe("redis", self._source.ping_redis)}
        for feed in self._source.feeds:
            name = f"venue {feed.settings.venue}"
            dependencies[name] = await self._probe(name, feed.ping)
        feeds = {feed.settings.venue: self._feed(feed) for feed in self._source.feeds}
        down = dependencies["redis"]["status"] == "down" or any(feed["state"] in _FAILED for feed in feeds.values())
        measurements = self._source.measurements
        outboxes = [shard.outbox for shard in self._source.shards.values()]
        degraded = (
            any(not dependency["healthy"] for dependency in dependencies.values())
            or any(outbox.paused or not outbox.spill.empty for outbox in outboxes)
            or any(group.state != "running" for group in self._source.groups.values())
        )
        return {
            "status": "down" if down else "degraded" if degraded else "ok",
            "dependencies": dependencies,
            "groups": _groups_of(self._source),
            "takeovers": measurements.takeovers,
            "feeds": feeds,
            "engines": {name: group.health() for name, group in self._source.groups.items()},
            "emitter": self._emitter(),
            "anomalies": self._anomalies(),
            "outbox": {
                "records": sum(outbox.records for outbox in outboxes),
                "spill_bytes": sum(outbox.spill.size for outbox in outboxes),
                "paused": any(outbox.paused for outbox in outboxes),
                "error": next((outbox.error for outbox in outboxes if outbox.error), ""),
            },
            "messages": measurements.messages,
            "close_to_redis_seconds": {
                "p50": measurements.close_to_redis.quantile(0.5),
                "p99": measurements.close_to_redis.quantile(0.99),
            },
        }

    def _anomalies(self) -> dict[str, Any]:
        counted = self._source.signal_measurements
        publishers = [shard.publisher for shard in self._source.shards.values()]
        return {
            "error": next((publisher.error for publisher in publishers if publisher.error), ""),
            "waiting": sum(publisher.waiting for publisher in publishers),
            "published": dict(counted.anomaly_events),
            "failures": dict(counted.anomaly_event_failures),
        }

    def _emitter(self) -> dict[str, Any]:
        counted = self._source.signal_measurements
        emitters = [shard.emitter for shard in self._source.shards.values()]
        return {
            "connected": all(emitter.connected for emitter in emitters),
            "error": next((emitter.error for emitter in emitters if emitter.error), ""),
            "waiting": sum(emitter.waiting for emitter in emitters),
            "emitted": counted.emitted,
            "suppressed": dict(counted.suppressed),
            "failures": dict(counted.emission_failures),
            "closing_message_to_signal_seconds": {
                "p50": counted.closing_to_signal.quantile(0.5),
                "p99": counted.closing_to_signal.quantile(0.99),
            },
        }

    def _feed(self, feed: VenueFeed) -> dict[str, Any]:
        return {
            "state": feed.state,
            "error": feed.error,
            "lag_seconds": feed.lag_seconds,
            "latency_seconds": feed.latency_seconds,
            "instruments": {instrument: feed.instrument_state(instrument) for instrument in feed.instruments},
        }

    async def _probe(self, name: str, ping: Callable[[], Awaitable[float]]) -> dict[str, Any]:
        kept = self._probes.get(name)
        if kept is not None and time.monotonic() - kept[0] < PROBE_KEPT_SECONDS and name != "redis":
            return kept[1]
        answer: dict[str, Any]
        try:
            async with asyncio.timeout(PROBE_LIMIT_SECONDS):
                seconds = await ping()
        except Exception as error:  # whatever a client library throws, the page must say so
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            answer = {"status": "down", "healthy": False, "response_milliseconds": None, "error": text}
        else:
            healthy = seconds < HEALTHY_SECONDS
            milliseconds = round(seconds * 1_000, 3)
            answer = {"status": "up" if healthy else "slow", "healthy": healthy, "response_milliseconds": milliseconds}
        self._probes[name] = (time.monotonic(), answer)
        return answer
