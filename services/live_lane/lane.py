"""The live lane as a service: Redis, spill, one lane per venue, its pages and reports.

Belongs here: what is opened and closed, and in which order. Does not belong here: the command line (``__main__``).
"""

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, Literal

import structlog

from resources.exchange.binance import BinanceSpot
from resources.lake import Lake, LakeSource
from resources.redis_keys import market_gaps
from resources.redis_streams import StreamReader, masked_url, open_async_redis, open_redis
from resources.settings import Addresses, Settings
from services.live_lane.asset_reports import AssetReports
from services.live_lane.group_lane import GroupLane
from services.live_lane.measurements import Measurements, SignalMeasurements
from services.live_lane.metrics_server import HOST, MetricsServer
from services.live_lane.outbox import Outbox
from services.live_lane.resumption import Resumption
from services.live_lane.signal_emitter import SignalEmitter
from services.live_lane.spill import Spill
from services.live_lane.system_metrics import SystemMetrics
from services.live_lane.venue_lane import LaneSettings, VenueLane
from signal_assets.event_time import MILLISECOND, MINUTE, SECOND
from signal_assets.fold import Fold
from signal_assets.instrument import Instrument
from signal_assets.market.ingest import IngestSettings, ResumePoint, VenueIngest
from signal_assets.market.messages import Trade
from signal_assets.strategies.tables import STRATEGIES

STATE_FILE: Final = "live_lane.json"
END_FILE: Final = "live_lane_end.json"
"""Each instrument's book and counters as they stood when the last lane of this home stopped."""
LOCK_FILE: Final = "live_lane.lock"
SPILL_FOLDER: Final = "spill"
STOP_SECONDS: Final = 5.0
MEGABYTE: Final = 1024 * 1024

Outcome = Literal["stopped", "ended", "redis_lost"]
Adapters = Mapping[str, Callable[..., BinanceSpot]]
FoldsOf = Callable[[Settings], Sequence[Fold]]

ADAPTERS: Final[Adapters] = {"BINANCE": BinanceSpot}
"""Adapter by venue; a new venue is one file in ``resources/exchange`` and one line here."""

log = structlog.get_logger("live_lane")


class LiveLaneError(RuntimeError):
    """The live lane cannot run as it is configured or started."""


def ingest_settings(settings: Settings) -> IngestSettings:
    """What the configuration says, in ingest's units."""
    return IngestSettings(
        grid=settings.grid_milliseconds * MILLISECOND,
        lateness=settings.lateness_milliseconds * MILLISECOND,
        quiet_after=settings.quiet_after_milliseconds * MILLISECOND,
        snapshot_interval=settings.snapshot_interval_seconds * SECOND,
        reconcile_interval=settings.reconcile_interval_seconds * SECOND,
    )


def folds_of_all_stages(settings: Settings) -> Sequence[Fold]:
    """What engines step; the first call imports it, which takes seconds."""
    from services.live_lane.live_folds import live_folds

    return live_folds(settings)


def component_configurations(settings: Settings) -> dict[str, dict[str, Any]]:
    """The settings' section of every component that makes signals, as JSON would hold it, by the component's name."""
    strategies = settings.strategies.model_dump(mode="json")
    return {
        "anomalies": settings.anomalies.model_dump(mode="json"),
        **{name: strategies[name] for name in STRATEGIES},
        "signals": settings.signals.model_dump(mode="json"),
    }


@dataclass(frozen=True, slots=True)
class HomeLake:
    """The lake of the platform that runs in a home, or that the environment names."""

    home: Path

    def open(self) -> Lake:
        """The lake of this process; the first call imports DuckDB and Arrow."""
        from resources.duck_lake import process_lake

        return process_lake(Addresses.resolve(self.home))


class LiveLane:
    """Runs the lanes of all venues and groups that are configured.

    Parameters
    ----------
    settings : Settings
        Instruments, venue and limits.
    redis_url : str
        The bus.
    home : Path
        Spill, lock and state file live here.
    webserver_url : str, optional
        Where to report feeds to Dagster; not given: no reports.
    exit_at_end : bool
        Return when every recording has ended, instead of serving health until told to stop.
    folds_of : callable
        The folds that make signals, as the settings want them; called in threads.
    lake : LakeSource, optional
        Where engines find their states; default: the lake of the home.
    engine_started : callable
        Called whenever an engine begins to run.
    redis_lost : bool
        The lane before this one has found that Redis had lost entries.
    """

    def __init__(
        self,
        settings: Settings,
        redis_url: str,
        home: Path,
        *,
        webserver_url: str | None = None,
        exit_at_end: bool = False,
        adapters: Adapters = ADAPTERS,
        folds_of: FoldsOf = folds_of_all_stages,
        lake: LakeSource | None = None,
        engine_started: Callable[[], None] = lambda: None,
        redis_lost: bool = False,
    ) -> None:
        self._settings = settings
        self._redis_lost = redis_lost
        self._redis_url = redis_url
        self._home = home
        self._webserver_url = webserver_url
        self._exit_at_end = exit_at_end
        self._adapters = adapters
        self._folds_of = folds_of
        self._stop = asyncio.Event()
        self.measurements = Measurements()
        self.signal_measurements = SignalMeasurements()
        self.lanes: list[VenueLane] = []
        self._client = open_async_redis(redis_url)
        live = settings.live
        self.outbox = Outbox(
            redis_url,
            Spill(home / SPILL_FOLDER, live.spill_limit_megabytes * MEGABYTE),
            self.measurements,
            batch=live.batch,
            flush_seconds=live.flush_milliseconds / 1_000,
            high=live.high_watermark,
            low=live.low_watermark,
        )
        self.system = SystemMetrics(self.outbox.add_other)
        self.emitter = SignalEmitter(
            redis_url,
            self.signal_measurements,
            component_configurations(settings),
            settings.signals.duplicate_minutes * MINUTE,
        )
        self._reading = open_redis(redis_url)
        self._lake: LakeSource = lake if lake is not None else HomeLake(home)
        streams = StreamReader(self._reading)
        self.groups: dict[str, GroupLane] = {
            group: GroupLane(
                group,
                instruments,
                partial(folds_of, settings),
                self._lake.open,
                streams,
                self.emitter,
                self.signal_measurements,
                virtual_clock=settings.venue.virtual_clock,
                started=engine_started,
            )
            for group, instruments in settings.groups.items()
        }
        self.server = MetricsServer(self, live.metrics_port, live.health_port)

    def stop(self) -> None:
        """Ask :meth:`run` to flush and return."""
        self._stop.set()

    def renew_engines(self, settings: Settings) -> None:
        """Let the engines go on as these settings want it; feeds are not touched."""
        self._settings = settings
        self.emitter.configure(component_configurations(settings), settings.signals.duplicate_minutes * MINUTE)
        for lane in self.groups.values():
            lane.renew(partial(self._folds_of, settings))

    async def ping_redis(self) -> float:
        """Seconds a PING takes, on a connection of its own."""
        started = time.perf_counter()
        await self._client.ping()
        return time.perf_counter() - started

    async def run(self) -> Outcome:
        """Run until stopped, until the recording's end if so asked, or until Redis is found to have lost entries.

        Raises
        ------
        LiveLaneError
            If another live lane runs in this home, a port is taken or a venue has no adapter.
        """
        by_venue: dict[str, list[Instrument]] = {}
        for instrument in self._settings.instruments_by_key.values():
            by_venue.setdefault(instrument.venue, []).append(instrument)
        for venue in by_venue:
            if venue not in self._adapters:
                raise LiveLaneError(f"no adapter for venue {venue}; there are {', '.join(self._adapters)}")
        with self._lock():
            work = asyncio.create_task(self._work(by_venue), name="live lane")
            stop = asyncio.create_task(self._stop.wait())
            try:
                await self._start_server()
                self.outbox.hold()
                sending = self.outbox.start()
                done, _ = await asyncio.wait((work, stop, sending), return_when=asyncio.FIRST_COMPLETED)
            finally:
                await self._close(work, stop)
            if self.outbox.lost:
                return "redis_lost"
            for task in done:
                task.result()  # a failure of either is ours
            return "stopped" if self._stop.is_set() else "ended"

    async def _close(self, *tasks: "asyncio.Task[Any]") -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.emitter.stop(STOP_SECONDS)
        await self.outbox.stop(STOP_SECONDS)
        await self.server.stop()
        await self._client.aclose()
        self._reading.close()
        (self._home / STATE_FILE).unlink(missing_ok=True)
        books = {key: lane.instrument_state(key) for lane in self.lanes for key in lane.instruments}
        _write_whole(self._home / END_FILE, books)
        log.info("live lane stopped", records_added=self.measurements.records_added)

    async def _start_server(self) -> None:
        try:
            await self.server.start()
        except OSError as error:
            raise LiveLaneError(f"metrics or health port is taken: {error}") from error
        metrics, health = self.server.ports
        state = {
            "pid": os.getpid(),
            "metrics": f"http://{HOST}:{metrics}/metrics",
            "health": f"http://{HOST}:{health}/health",
        }
        _write_whole(self._home / STATE_FILE, state)
        log.info("live lane serves", redis=masked_url(self._redis_url), **state)

    async def _work(self, by_venue: Mapping[str, Sequence[Instrument]]) -> None:
        async with AsyncExitStack() as stack:
            feeds = {venue: await self._open_feed(stack, venue, by_venue[venue]) for venue in by_venue}
            resume = await self._resume_points(feeds)
            for venue, instruments in by_venue.items():
                self.lanes.append(self._venue_lane(feeds[venue], venue, instruments, resume))
            self._start_engines(stack, resume)
            running = [asyncio.create_task(lane.run(), name=lane.settings.venue) for lane in self.lanes]
            if self._webserver_url:
                reports = AssetReports(self._webserver_url, self.lanes, self.measurements)
                stack.push_async_callback(_cancel, asyncio.create_task(reports.run()))
            if not self._settings.venue.virtual_clock:
                stack.push_async_callback(_cancel, asyncio.create_task(self.system.run()))
            try:
                await asyncio.gather(*running)
                for group in self.groups.values():
                    await group.flush()
                await self.emitter.flush()
                if not self._exit_at_end:
                    await self._stop.wait()
            finally:
                await _cancel(*running)

    def _start_engines(self, stack: AsyncExitStack, resume: Mapping[str, ResumePoint]) -> None:
        self.emitter.start()
        for lane in self.groups.values():
            lane.resume({key: point.closed for key, point in resume.items()})
            stack.push_async_callback(_cancel, asyncio.create_task(lane.run(), name=f"group {lane.group}"))

    async def _open_feed(self, stack: AsyncExitStack, venue: str, instruments: Sequence[Instrument]) -> BinanceSpot:
        urls = self._settings.venue
        return await stack.enter_async_context(
            self._adapters[venue](instruments, rest_url=urls.rest_url, stream_url=urls.stream_url)
        )

    def _venue_lane(
        self, feed: BinanceSpot, venue: str, instruments: Sequence[Instrument], points: Mapping[str, ResumePoint]
    ) -> VenueLane:
        settings = self._settings
        limits = ingest_settings(settings)
        keys = [instrument.key for instrument in instruments]
        resume = {key: points[key] for key in keys}
        log.info("lane opens", venue=venue, resume={key: str(point) for key, point in resume.items()})
        return VenueLane(
            feed,
            keys,
            VenueIngest(instruments, limits, resume),
            self.outbox,
            self.measurements,
            LaneSettings(
                venue=venue,
                virtual_clock=settings.venue.virtual_clock,
                lateness=limits.lateness,
                dead_feed_seconds=settings.dead_feed_seconds,
                depth_limit=limits.depth_limit,
            ),
            {key: point.last_trade_id for key, point in resume.items() if point.last_trade_id is not None},
            {instrument.key: self.groups[instrument.group] for instrument in instruments},
        )

    async def _resume_points(self, feeds: Mapping[str, BinanceSpot]) -> dict[str, ResumePoint]:
        """Where to go on, per instrument, when Redis has what an earlier process had left on disk."""
        instruments = self._settings.instruments_by_key

        async def fetch_trades(key: str, from_id: int, limit: int) -> list[Trade]:
            return await feeds[instruments[key].venue].historical_trades(key, from_id=from_id, limit=limit)

        resumption = Resumption(
            self._client,
            list(instruments.values()),
            self._lake.open,
            fetch_trades,
            ingest_settings(self._settings).grid,
            lost=self._redis_lost,
        )
        await resumption.begin(self.outbox)
        await self.outbox.ready()
        standings = await resumption.points()
        for key, standing in standings.items():
            self.outbox.pending.know_gap_id(key, standing.ids.get(market_gaps(key), 0))
        return {key: standing.point for key, standing in standings.items()}

    def _lock(self) -> IO[str]:
        """One live lane per home; the lock goes with the process, however it ends."""
        self._home.mkdir(parents=True, exist_ok=True)
        file = (self._home / LOCK_FILE).open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise LiveLaneError(f"another live lane runs in {self._home}") from None
        return file


async def _cancel(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _write_whole(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all; the lane does not depend on it, so a full disk is a line in the log."""
    temporary = path.with_suffix(".new")
    try:
        temporary.write_text(json.dumps(content) + "\n", "utf-8")
        temporary.replace(path)
    except OSError as error:
        log.warning("file cannot be written", path=str(path), error=error.strerror or str(error))
