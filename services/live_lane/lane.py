"""The live lane as a service: one shard per group that it leads, its pages and reports.

Belongs here: what all groups of a process share, and what happens when a lease is taken, given back or lost. Does not
belong here: one group's work (``shard``), who leads (``shard_lease``), the command line (``__main__``).
"""

import asyncio
import fcntl
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import structlog

from resources.addresses import Addresses
from resources.exchange.binance import BinanceSpot
from resources.exchange.binance_messages import PERPETUAL
from resources.exchange.binance_usdm import BinanceUsdm
from resources.lake import Lake, LakeSource
from resources.redis_streams import StreamReader, masked_url, open_async_redis, open_redis
from resources.settings import Settings
from services.hand_over.stream_hand_over import StreamHandOver
from services.live_lane.anomaly_publisher import AnomalyPublisher
from services.live_lane.asset_reports import AssetReports
from services.live_lane.batch import Addition
from services.live_lane.group_lane import GroupLane
from services.live_lane.measurements import Measurements, SignalMeasurements
from services.live_lane.metrics_server import HOST, MetricsServer
from services.live_lane.shard import Adapters, FoldsOf, Outcome, Shard, ShardSurroundings, market_of
from services.live_lane.shard_lease import LEASE_SECONDS, Lease, ShardLeases, SupersededError
from services.live_lane.system_judge import SystemJudge
from services.live_lane.system_metrics import SystemMetrics
from services.live_lane.venue_feed import VenueFeed, feeds_of
from services.live_lane.venue_lane import VenueLane
from services.live_lane.while_leading import while_leading
from signal_assets.anomalies.system_series import SYSTEM_GROUP
from signal_assets.event_time import DAY
from signal_assets.fold import Fold

STATE_FILE: Final = "live_lane.json"
END_FILE: Final = "live_lane_end.json"
"""Each instrument's book and counters as they stood when the last lane of this folder stopped."""
LOCK_FILE: Final = "live_lane.lock"
SPILL_FOLDER: Final = "spill"
PREPARE_SECONDS: Final = 2.0
PUBLISH_SECONDS: Final = 1.0
HAND_OVER_LOOK_SECONDS: Final = 1.0
SystemFoldOf = Callable[[Settings], Fold]
MEGABYTE: Final = 1024 * 1024

ADAPTERS: Final[Adapters] = {"BINANCE": BinanceSpot, "BINANCE-PERP": BinanceUsdm}
"""Adapter by market (``shard.market_of``); a new venue is one file in ``resources/exchange`` and one line here."""

log = structlog.get_logger("live_lane")


class LiveLaneError(RuntimeError):
    """The live lane cannot run as it is configured or started."""


def folds_of_all_stages(settings: Settings) -> Sequence[Fold]:
    """What engines step; the first call imports it, which takes seconds."""
    from services.live_lane.live_folds import live_folds

    return live_folds(settings)


def system_fold_of_stage(settings: Settings) -> Fold:
    """What judges the machine; the first call imports it."""
    from signal_assets.anomalies.folds import system_fold

    return system_fold(settings)


@dataclass(frozen=True, slots=True)
class HomeLake:
    """The lake of the platform that runs in a home, or that the environment names."""

    home: Path

    def open(self) -> Lake:
        """The lake of this process; the first call imports DuckDB and Arrow."""
        from resources.duck_lake import process_lake

        return process_lake(Addresses.resolve(self.home))


class LiveLane:
    """Leads the groups whose leases it gets, and stands by for the others.

    Parameters
    ----------
    settings : Settings
        Instruments, venue and limits.
    redis_url : str
        The bus, which all lanes share.
    home : Path
        Whose platform it belongs to.
    folder : Path, optional
        Spill, lock and state file live here; default: the home. One lane per folder.
    groups : sequence of str, optional
        What it may lead; default: every group that is configured.
    webserver_url : str, optional
        Where to report feeds to Dagster; not given: no reports.
    exit_at_end : bool
        Return when every recording has ended, instead of serving health until told to stop.
    folds_of : callable
        The folds that make signals, as the settings want them; called in threads.
    system_fold_of : callable, optional
        The fold that judges what the machine does, likewise; default: nobody judges it here.
    lake : LakeSource, optional
        Where engines find their states; default: the lake of the home.
    engine_started : callable
        Called whenever an engine begins to run.
    redis_lost : bool
        The lane before this one has found that Redis had lost entries.
    lease_seconds : float
        After so long without a sign of life another lane may lead.

    Attributes
    ----------
    shards : dict of str to Shard
        The groups it leads.
    """

    def __init__(
        self,
        settings: Settings,
        redis_url: str,
        home: Path,
        *,
        folder: Path | None = None,
        groups: Sequence[str] | None = None,
        webserver_url: str | None = None,
        exit_at_end: bool = False,
        adapters: Adapters = ADAPTERS,
        folds_of: FoldsOf = folds_of_all_stages,
        system_fold_of: SystemFoldOf | None = None,
        lake: LakeSource | None = None,
        engine_started: Callable[[], None] = lambda: None,
        redis_lost: bool = False,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._settings = settings
        self._redis_lost = redis_lost
        self._redis_url = redis_url
        self._folder = folder if folder is not None else home
        self._webserver_url = webserver_url
        self._exit_at_end = exit_at_end
        self._adapters = adapters
        self._lease_seconds = lease_seconds
        self._wanted = self._known_groups(groups)
        self._stop = asyncio.Event()
        self._over: asyncio.Future[Outcome] | None = None
        self._leading: dict[str, asyncio.Task[None]] = {}
        self._books: dict[str, dict[str, Any]] = {}
        self.measurements = Measurements()
        self.signal_measurements = SignalMeasurements()
        self.shards: dict[str, Shard] = {}
        self.leases: ShardLeases | None = None
        self._client = open_async_redis(redis_url)
        self._reading = open_redis(redis_url)
        self._surroundings = ShardSurroundings(
            redis_url=redis_url,
            client=self._client,
            streams=StreamReader(self._reading),
            spill_folder=self._folder / SPILL_FOLDER,
            spill_limit=settings.live.spill_limit_megabytes * MEGABYTE // len(self._wanted),
            adapters=adapters,
            folds_of=folds_of,
            lake=lake if lake is not None else HomeLake(home),
            engine_started=engine_started,
            exit_at_end=exit_at_end,
            measurements=self.measurements,
            signal_measurements=self.signal_measurements,
        )
        self._system_fold_of = system_fold_of
        self._judge: SystemJudge | None = None
        self._system_publisher: AnomalyPublisher | None = None
        interval = settings.anomalies.metrics_interval_seconds
        self.system = SystemMetrics(self._add_system_metrics, interval=interval)
        self.server = MetricsServer(self, settings.live.metrics_port, settings.live.health_port)

    def _known_groups(self, groups: Sequence[str] | None) -> list[str]:
        configured = list(self._settings.groups)
        if unknown := sorted(set(groups or ()) - set(configured)):
            raise LiveLaneError(f"no group {unknown[0]}; there are {', '.join(configured)}")
        return [group for group in configured if groups is None or group in groups]

    @property
    def lanes(self) -> list[VenueLane]:
        """One per group that is led and market, once they are open."""
        return [lane for shard in self.shards.values() for lane in shard.lanes]

    @property
    def feeds(self) -> list[VenueFeed]:
        """One per venue that is read."""
        return feeds_of(self.lanes)

    @property
    def groups(self) -> dict[str, GroupLane]:
        """Engines of the groups that are led."""
        return {group: shard.engine for group, shard in self.shards.items()}

    def stop(self) -> None:
        """Ask :meth:`run` to flush and return."""
        self._stop.set()

    def renew_engines(self, settings: Settings) -> None:
        """Let engines, sampler, judge and publishers go on as these settings want it; feeds are not touched."""
        self._settings = settings
        for shard in self.shards.values():
            shard.renew_engine(settings)
        self.system.configure(settings.anomalies.metrics_interval_seconds)
        if self._system_publisher is not None:
            self._system_publisher.configure(settings.anomalies.model_dump(mode="json"))
        if self._judge is not None:
            self._judge.renew()

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
            If another live lane runs in this folder, a port is taken or a venue has no adapter.
        """
        for market in dict.fromkeys(market_of(i) for group in self._wanted for i in self._settings.groups[group]):
            if market not in self._adapters:
                venues = [name for name in self._adapters if not name.endswith(PERPETUAL)]
                raise LiveLaneError(f"no adapter for venue {market}; there are {', '.join(venues)}")
        with self._lock() as lock:
            over = self._over = asyncio.get_running_loop().create_future()
            leases = self.leases = ShardLeases(
                open_async_redis(self._redis_url),
                _name_of(lock),
                uuid.uuid4().hex[:8],
                self._wanted,
                lambda lease: self._lead(leases, lease),
                lambda group: self._tell(group, Shard.supersede),
                lambda group: self._tell(group, Shard.stop),
                seconds=self._lease_seconds,
            )
            helping: list[asyncio.Task[Any]] = []
            try:
                await self._start_server()
                keeping = asyncio.create_task(leases.run(), name="leases")
                stop = asyncio.create_task(self._stop.wait())
                helping = [keeping, stop, asyncio.create_task(self._prepare(leases)), *self._reports()]
                done, _ = await asyncio.wait((over, stop, keeping), return_when=asyncio.FIRST_COMPLETED)
            finally:
                lost = over.done() and not over.exception() and over.result() == "redis_lost"
                await self._close(leases, helping, keep=lost)
            for task in done:
                task.result()  # a failure of either is ours
            return over.result() if over.done() else "stopped"

    async def _prepare(self, leases: ShardLeases) -> None:
        """Do in advance what would take a standby seconds when it has to lead: imports, the lake's connection."""
        await asyncio.sleep(PREPARE_SECONDS)
        if len(leases.leads) == len(leases.groups):
            return  # its engines do it
        for prepare in (lambda: self._surroundings.folds_of(self._settings), self._surroundings.lake.open):
            try:
                await asyncio.to_thread(prepare)
            except Exception as error:  # no platform yet, say: whoever leads tries again
                log.info("standby is not prepared", error=" ".join(f"{type(error).__name__}: {error}".split()))

    def _reports(self) -> list["asyncio.Task[None]"]:
        tasks = []
        if self._webserver_url:
            reports = AssetReports(self._webserver_url, lambda: self.feeds, self.measurements)
            tasks.append(asyncio.create_task(reports.run(), name="asset reports"))
        if not self._settings.venue.virtual_clock:
            tasks.append(asyncio.create_task(self.system.run(), name="system metrics"))
            if self._system_fold_of is not None:
                judging = while_leading(lambda: self._leads_the_first, self._judge_system)
                tasks.append(asyncio.create_task(judging, name="system anomalies"))
        if self._settings.hand_over.enabled:
            handing = while_leading(lambda: self._leads_the_first, self._hand_over)
            tasks.append(asyncio.create_task(handing, name="anomaly hand-over"))
        return tasks

    @property
    def _leads_the_first(self) -> bool:
        """What one lane of all should do is done by the one that leads the first group."""
        return next(iter(self._settings.groups)) in self.shards

    async def _hand_over(self) -> None:
        retention = self._settings.retention.anomaly_event_days * DAY
        service = StreamHandOver(self._redis_url, self._settings.hand_over, retention=retention)
        service.start()
        try:
            while service.reads:
                await asyncio.sleep(HAND_OVER_LOOK_SECONDS)
            raise LiveLaneError("anomalies are no longer read to be handed over")
        finally:
            await asyncio.to_thread(service.stop)

    async def _judge_system(self) -> None:
        judge = self._judge = SystemJudge(
            self._surroundings.lake.open,
            self._system_fold,
            self._surroundings.streams,
            lambda rows: publisher.take(rows),
        )
        publisher = self._system_publisher = AnomalyPublisher(
            self._redis_url,
            SYSTEM_GROUP,
            self.signal_measurements,
            self._settings.anomalies.model_dump(mode="json"),
            self._settings.retention,
            judge.circumstances,
        )
        publisher.start()
        try:
            await judge.run()
        finally:
            self._judge = self._system_publisher = None
            await publisher.stop(PUBLISH_SECONDS)

    def _system_fold(self) -> Fold:
        if self._system_fold_of is None:
            raise LiveLaneError("nobody has said how the system is judged")
        return self._system_fold_of(self._settings)

    def _add_system_metrics(self, addition: Addition) -> None:
        """Of all lanes only the one that leads the first group writes what its machine does."""
        if self._leads_the_first:
            self.shards[next(iter(self._settings.groups))].outbox.add_other(addition)

    # -- groups ----------------------------------------------------------------------------------------------------

    def _lead(self, leases: ShardLeases, lease: Lease) -> None:
        """Lead a group whose lease was taken."""
        group = lease.group
        self.measurements.groups_taken += 1
        self.measurements.takeovers += lease.taken_over
        instruments = self._settings.groups[group]
        shard = Shard(self._settings, instruments, lease, self._surroundings, redis_lost=self._redis_lost)
        self.shards[group] = shard
        task = self._leading[group] = asyncio.create_task(self._run_shard(leases, shard), name=f"leads {group}")
        task.add_done_callback(self._shard_over)

    async def _run_shard(self, leases: ShardLeases, shard: Shard) -> None:
        """Lead a group until it is over, and see to its lease."""
        lease = shard.lease
        outcome: Outcome = "stopped"
        try:
            outcome = await shard.run()
        except SupersededError:
            self.measurements.superseded += 1
            log.warning("group closed, another lane leads it", group=lease.group)
        finally:
            self._books |= shard.books()
            del self.shards[lease.group]
        if outcome == "redis_lost":
            self._end(outcome)  # and keep the lease: what is on disk belongs behind the hole, and only we have it
        elif lease.lost or leases.holders.get(lease.group, lease.value) != lease.value:
            leases.forget(lease.group)
        else:
            await leases.give(lease.group, for_good=outcome == "ended")
        if outcome == "ended" and not self.shards:
            self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(outcome)

    def _tell(self, group: str, what: Callable[[Shard], None]) -> None:
        if group in self.shards:
            what(self.shards[group])

    def _shard_over(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and self._over is not None and not self._over.done():
            self._over.set_exception(error)

    async def _close(self, leases: ShardLeases, helping: Sequence["asyncio.Task[Any]"], *, keep: bool) -> None:
        leases.take_no_more()
        for shard in list(self.shards.values()):
            shard.stop()
        await asyncio.gather(*self._leading.values(), return_exceptions=True)  # their leases are kept meanwhile
        for task in helping:
            task.cancel()
        await asyncio.gather(*helping, return_exceptions=True)
        await leases.close(keep=keep)
        await self.server.stop()
        await self._client.aclose()
        self._reading.close()
        (self._folder / STATE_FILE).unlink(missing_ok=True)
        _write_whole(self._folder / END_FILE, self._books)
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
        _write_whole(self._folder / STATE_FILE, state)
        log.info("live lane serves", redis=masked_url(self._redis_url), groups=self._wanted, **state)

    def _lock(self) -> IO[str]:
        """One live lane per folder; the lock goes with the process, however it ends."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = (self._folder / LOCK_FILE).open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise LiveLaneError(f"another live lane runs in {self._folder}") from None
        return file


def _name_of(lock: IO[str]) -> str:
    """The folder's name among lanes, kept in its lock file: whoever has the lock may continue under it."""
    lock.seek(0)
    name = lock.read().strip()
    if not name:
        name = uuid.uuid4().hex[:8]
        lock.write(name + "\n")
        lock.flush()
    return name


def _write_whole(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all; the lane does not depend on it, so a full disk is a line in the log."""
    temporary = path.with_suffix(".new")
    try:
        temporary.write_text(json.dumps(content) + "\n", "utf-8")
        temporary.replace(path)
    except OSError as error:
        log.warning("file cannot be written", path=str(path), error=error.strerror or str(error))
