"""One group's live lane, as long as its lease is ours: outbox, engine, emitter, a connection per market.

Belongs here: what is opened and closed for a group, in which order, and what becomes of it when another lane leads.
Does not belong here: who leads (``shard_lease``), what all groups of a process share (``lane``).

A group has connections of its own, so that its rows are the same whichever lanes lead the others.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import redis.asyncio
import structlog

from resources.exchange.binance_client import BinanceClient
from resources.exchange.binance_messages import PERPETUAL, is_perpetual
from resources.lake import LakeSource
from resources.redis_keys import market_gaps
from resources.redis_streams import StreamReader
from resources.settings import Settings
from services.live_lane.anomaly_publisher import AnomalyPublisher
from services.live_lane.group_lane import GroupLane
from services.live_lane.measurements import Measurements, SignalMeasurements
from services.live_lane.outbox import Outbox
from services.live_lane.resumption import Resumption
from services.live_lane.shard_lease import Lease, SupersededError
from services.live_lane.signal_emitter import SignalEmitter
from services.live_lane.spill import Spill
from services.live_lane.venue_lane import LaneSettings, VenueLane
from signal_assets.event_time import MILLISECOND, MINUTE, SECOND
from signal_assets.fold import Fold
from signal_assets.instrument import Instrument
from signal_assets.market.ingest import IngestSettings, ResumePoint, VenueIngest
from signal_assets.market.messages import Trade
from signal_assets.strategies.tables import STRATEGIES

STOP_SECONDS: Final = 5.0
FLUSH_SECONDS: Final = 60.0
"""At the end of a recording: so long anomalies may take to reach Redis."""

Outcome = Literal["stopped", "ended", "redis_lost"]
Adapters = Mapping[str, Callable[..., BinanceClient]]
"""By what :func:`market_of` says."""
FoldsOf = Callable[[Settings], Sequence[Fold]]

log = structlog.get_logger("live_lane.shard")


def market_of(instrument: Instrument) -> str:
    """What has one protocol and one pair of addresses: the venue, and apart from it the venue's perpetuals.

    Examples
    --------
    >>> market_of(Instrument("BTCUSDT-PERP", "BINANCE", "BTC/USDT", 1, 1))
    'BINANCE-PERP'
    """
    return instrument.venue + PERPETUAL if is_perpetual(instrument) else instrument.venue


def ingest_settings(settings: Settings) -> IngestSettings:
    """What the configuration says, in ingest's units."""
    return IngestSettings(
        grid=settings.grid_milliseconds * MILLISECOND,
        lateness=settings.lateness_milliseconds * MILLISECOND,
        quiet_after=settings.quiet_after_milliseconds * MILLISECOND,
        snapshot_interval=settings.snapshot_interval_seconds * SECOND,
        reconcile_interval=settings.reconcile_interval_seconds * SECOND,
    )


def component_configurations(settings: Settings) -> dict[str, dict[str, Any]]:
    """The settings' section of every component that makes signals, as JSON would hold it, by the component's name."""
    strategies = settings.strategies.model_dump(mode="json")
    return {
        "anomalies": settings.anomalies.model_dump(mode="json"),
        **{name: strategies[name] for name in STRATEGIES},
        "signals": settings.signals.model_dump(mode="json"),
    }


@dataclass(frozen=True, slots=True)
class ShardSurroundings:
    """What the groups of a process share.

    Parameters
    ----------
    client, streams
        Of the bus, for reading.
    spill_folder, spill_limit : Path, int
        Where each group has a folder, and how many bytes it may fill.
    folds_of, lake, engine_started
        As :class:`~services.live_lane.lane.LiveLane` has them.
    """

    redis_url: str
    client: "redis.asyncio.Redis"
    streams: StreamReader
    spill_folder: Path
    spill_limit: int
    adapters: Adapters
    folds_of: FoldsOf
    lake: LakeSource
    engine_started: Callable[[], None]
    exit_at_end: bool
    measurements: Measurements
    signal_measurements: SignalMeasurements


class Shard:
    """Leads one group.

    Parameters
    ----------
    lease : Lease
        Every write carries its fence.
    redis_lost : bool
        The shard before this one has found that Redis had lost entries.

    Attributes
    ----------
    lanes : list of VenueLane
        One per market, once they are open.
    """

    def __init__(
        self,
        settings: Settings,
        instruments: Sequence[Instrument],
        lease: Lease,
        surroundings: ShardSurroundings,
        *,
        redis_lost: bool = False,
    ) -> None:
        self.lease = lease
        self._redis_lost = redis_lost
        self._settings = settings
        self._instruments = tuple(instruments)
        self._around = around = surroundings
        self._stop, self._lost = asyncio.Event(), asyncio.Event()
        self.lanes: list[VenueLane] = []
        live = settings.live
        self.outbox = Outbox(
            around.redis_url,
            Spill(around.spill_folder / lease.group, around.spill_limit),
            around.measurements,
            batch=live.batch,
            flush_seconds=live.flush_milliseconds / 1_000,
            high=live.high_watermark,
            low=live.low_watermark,
            fence=lease.fence,
        )
        self.emitter = SignalEmitter(
            around.redis_url,
            around.signal_measurements,
            component_configurations(settings),
            settings.signals.duplicate_minutes * MINUTE,
            fence=lease.fence,
        )
        self.publisher = AnomalyPublisher(
            around.redis_url,
            lease.group,
            around.signal_measurements,
            settings.anomalies.model_dump(mode="json"),
            settings.retention,
            lambda: self.engine.circumstances(),
            fence=lease.fence,
        )
        self.engine = GroupLane(
            lease.group,
            self._instruments,
            partial(around.folds_of, settings),
            around.lake.open,
            around.streams,
            self.emitter,
            around.signal_measurements,
            virtual_clock=settings.venue.virtual_clock,
            started=around.engine_started,
            judged=self.publisher.take,
        )

    def stop(self) -> None:
        """Ask :meth:`run` to flush and return."""
        self._stop.set()

    def supersede(self) -> None:
        """Say that another lane leads: :meth:`run` lets go of everything."""
        self._lost.set()

    def renew_engine(self, settings: Settings) -> None:
        """Let the engine go on as these settings want it; feeds are not touched."""
        self._settings = settings
        self.emitter.configure(component_configurations(settings), settings.signals.duplicate_minutes * MINUTE)
        self.publisher.configure(settings.anomalies.model_dump(mode="json"))
        self.engine.renew(partial(self._around.folds_of, settings))

    def books(self) -> dict[str, dict[str, Any]]:
        """Each instrument's book and counters."""
        return {key: lane.instrument_state(key) for lane in self.lanes for key in lane.instruments}

    async def run(self) -> Outcome:
        """Lead until stopped, until the recording's end if so asked, or until Redis is found to have lost entries.

        Raises
        ------
        SupersededError
            If another lane leads by now; nothing more is written, and what was not yet is counted.
        """
        if not self.lease.continues:
            self.outbox.drop()
        work = asyncio.create_task(self._work(), name=f"shard {self.lease.group}")
        waits = [asyncio.create_task(event.wait()) for event in (self._stop, self._lost)]
        superseded = False
        try:
            self.outbox.hold()
            sending, emitting = self.outbox.start(), self.emitter.start()
            self.publisher.start()  # its end is its own
            done, _ = await asyncio.wait((work, sending, emitting, *waits), return_when=asyncio.FIRST_COMPLETED)
            errors = [error for task in done if (error := task.exception()) is not None]
            superseded = self._lost.is_set() or any(isinstance(error, SupersededError) for error in errors)
        except asyncio.CancelledError:
            superseded = self._lost.is_set()
            raise
        finally:
            await _cancel(work, *waits)
            if superseded:
                await self.publisher.abandon()
                await self.emitter.abandon()
                await self.outbox.abandon()
            else:
                await asyncio.gather(  # of anomalies nothing is lost: the lake has them
                    self.emitter.stop(STOP_SECONDS), self.publisher.stop(STOP_SECONDS)
                )
                await self.outbox.stop(STOP_SECONDS)
        if superseded:
            raise SupersededError(f"another lane leads {self.lease.group}")
        if self.outbox.lost:
            return "redis_lost"
        for error in errors:
            raise error  # a failure of ours
        return "stopped" if self._stop.is_set() else "ended"

    async def _work(self) -> None:
        by_market: dict[str, list[Instrument]] = {}
        for instrument in self._instruments:
            by_market.setdefault(market_of(instrument), []).append(instrument)
        async with AsyncExitStack() as stack:
            feeds = {market: await self._open_feed(stack, market, by_market[market]) for market in by_market}
            resume = await self._resume_points(feeds)
            for market, instruments in by_market.items():
                self.lanes.append(self._venue_lane(feeds[market], instruments, resume))
            self.engine.resume({key: point.closed for key, point in resume.items()})
            stack.push_async_callback(_cancel, asyncio.create_task(self.engine.run(), name=f"group {self.lease.group}"))
            running = [asyncio.create_task(lane.run(), name=lane.settings.venue) for lane in self.lanes]
            try:
                await asyncio.gather(*running)
                await self.engine.flush()
                await self.emitter.flush()
                await self.publisher.flush(FLUSH_SECONDS)
                if not self._around.exit_at_end:
                    await self._stop.wait()
            finally:
                await _cancel(*running)

    async def _open_feed(self, stack: AsyncExitStack, market: str, instruments: Sequence[Instrument]) -> BinanceClient:
        urls = self._settings.venue
        rest_url, stream_url = urls.rest_url, urls.stream_url
        if is_perpetual(instruments[0]):
            rest_url, stream_url = urls.futures_rest_url, urls.futures_stream_url
        return await stack.enter_async_context(
            self._around.adapters[market](instruments, rest_url=rest_url, stream_url=stream_url)
        )

    def _venue_lane(
        self, feed: BinanceClient, instruments: Sequence[Instrument], points: Mapping[str, ResumePoint]
    ) -> VenueLane:
        settings = self._settings
        limits = ingest_settings(settings)
        keys = [instrument.key for instrument in instruments]
        resume = {key: points[key] for key in keys}
        log.info(
            "lane opens",
            group=self.lease.group,
            market=market_of(instruments[0]),
            resume={key: str(point) for key, point in resume.items()},
        )
        return VenueLane(
            feed,
            keys,
            VenueIngest(instruments, limits, resume),
            self.outbox,
            self._around.measurements,
            LaneSettings(
                venue=instruments[0].venue,
                virtual_clock=settings.venue.virtual_clock,
                lateness=limits.lateness,
                dead_feed_seconds=settings.dead_feed_seconds,
                depth_limit=limits.depth_limit,
            ),
            {key: point.last_trade_id for key, point in resume.items() if point.last_trade_id is not None},
            dict.fromkeys(keys, self.engine),
        )

    async def _resume_points(self, feeds: Mapping[str, BinanceClient]) -> dict[str, ResumePoint]:
        """Where to go on, per instrument, when Redis has what an earlier process had left on disk."""
        markets = {instrument.key: market_of(instrument) for instrument in self._instruments}

        async def fetch_trades(key: str, from_id: int, limit: int) -> list[Trade]:
            return await feeds[markets[key]].historical_trades(key, from_id=from_id, limit=limit)

        resumption = Resumption(
            self._around.client,
            self._instruments,
            self._around.lake.open,
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


async def _cancel(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
