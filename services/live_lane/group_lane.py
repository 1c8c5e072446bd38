"""One group's lane: rows in as ingest closes the grid, signals out to the emitter.

Belongs here: the queue, when an engine is started and started anew, what becomes of a step. Does not belong here: how a
start finds its place (``engine_start``), stepping (``group_engine``), Redis (``signal_emitter``).

Ingest hands rows in and goes on. Until an engine has caught up they wait here; a start that fails lets them go, for the
lake and the streams hold them and the next start reads them there. Only a venue whose clock is virtual is made to wait
(:meth:`GroupLane.room`): a replay halts where the record halts.
"""

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import structlog

from resources.lake import Lake
from services.live_lane.detector_tally import Circumstances
from services.live_lane.engine_start import EngineStart, NotYetError, VersionsInForce
from services.live_lane.group_engine import GroupEngine, Row, Step, stored
from services.live_lane.measurements import SignalMeasurements
from services.live_lane.signal_emitter import Outgoing, SignalEmitter
from signal_assets.anomalies.tables import ANOMALIES
from signal_assets.derivation import NotCompleteError, scope_of
from signal_assets.event_time import MINUTE, day_start
from signal_assets.fold import CHECKPOINT, Fold, records_of
from signal_assets.instrument import Instrument
from signal_assets.market.ingest import Output
from signal_assets.market.stream_intake import MarketStreams
from signal_assets.signals.tables import SIGNALS

HIGH: Final = 20_000
"""Closings waiting at which a venue with a virtual clock is not read any further."""

RETRY_SECONDS: Final = 1.0
LONGEST_RETRY: Final = 30.0
FIRST_RENEWAL: Final = 5.0
LONGEST_RENEWAL: Final = 600.0
STEADY_SECONDS: Final = 3_600.0
"""After so long without a fault the next renewal waits no longer than the first did."""

PATIENT_STARTS: Final = 10
"""So often states of different times are believed to be a run under way, a second apart."""

PATIENCE_SECONDS: Final = 300.0
"""At the end of a recording: how long an engine that waits is waited for."""

ANOMALIES_CAUGHT_UP: Final = 100_000
"""So many of the newest anomalies found while catching up are handed on; whoever stores them knows repeats."""

LAKE_ANOMALIES: Final = CHECKPOINT + 5 * MINUTE
"""An engine begins with states that are at most a checkpoint old; anomalies before them are taken from the lake."""

LOG_INTERVAL: Final = 60.0
EMITTED_TIERS: Final = frozenset({"fast", "tactical"})
ANOMALY_FOLD: Final = "anomalies"
END_OF_RECORDING: Final = "end_of_recording"

EngineState = Literal["starting", "waiting", "running", "failed"]
ENGINE_STATES: Final[tuple[EngineState, ...]] = ("starting", "waiting", "running", "failed")

_stored_signal = stored(SIGNALS)
_SEVERITY: Final = ANOMALIES.value_columns.index("severity")
_STRATEGY: Final = SIGNALS.value_columns.index("strategy")
_STATUS: Final = SIGNALS.value_columns.index("status")

log = structlog.get_logger("live_lane.group")


@dataclass(frozen=True, slots=True)
class Closed:
    """Rows of one instrument up to its new watermark, and when the message that closed them came."""

    instrument: str
    rows: Sequence[Row]
    watermark: int
    since: float


class GroupLane:
    """Runs one group's engine.

    Parameters
    ----------
    folds_of : callable
        The folds, in the order in which data flows through them.
    open_lake : callable
        The lake of this process.
    streams : MarketStreams
        Like the two before, called and used in threads only.
    virtual_clock : bool
        The venue's time waits for us: a row that was handed in is never late, however long it waits.
    started : callable
        Called whenever an engine begins to run.
    judged : callable
        Handed the rows of every step, by table name, when its signals are on their way; of what was caught up with,
        the anomalies only. Must not wait.

    Attributes
    ----------
    state : str
        ``starting``, ``waiting`` (for what has to be learned), ``running``, ``failed`` (a fold has dropped out, the
        others run).
    error : str
        Why it is not running.
    """

    def __init__(
        self,
        group: str,
        instruments: Sequence[Instrument],
        folds_of: Callable[[], Sequence[Fold]],
        open_lake: Callable[[], Lake],
        streams: MarketStreams,
        emitter: SignalEmitter,
        measurements: SignalMeasurements,
        *,
        virtual_clock: bool,
        started: Callable[[], None] = lambda: None,
        judged: Callable[[Mapping[str, Sequence[Row]]], None] = lambda rows: None,
    ) -> None:
        self.group = group
        self._folds_of = folds_of
        self._instruments = {instrument.key: instrument for instrument in instruments}
        self._open_lake = open_lake
        self._streams = streams
        self._emitter = emitter
        self._measurements = measurements
        self._virtual = virtual_clock
        self._started = started
        self._judged = judged
        self._handed_in: dict[str, int | None] = dict.fromkeys(self._instruments)
        self._newest = 0
        self._first_live: int | None = None
        self._engine: GroupEngine | None = None
        self._versions: VersionsInForce | None = None
        self._queue: deque[Closed] = deque()
        self._next_queue: deque[Closed] | None = None
        self._resume: dict[str, int | None] = {}
        self._caught_up: list[Any] = []
        self._since: float | None = None
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._renewal: asyncio.Task[None] | None = None
        self._renewal_wait = FIRST_RENEWAL
        self._last_fault = -STEADY_SECONDS
        self._last_logged: dict[str, float] = {}
        self._failed: set[str] = set()
        self._plug_in_failures: Counter[tuple[str, str]] = Counter()
        self._runs = False
        self._stopped = threading.Event()
        self.state: EngineState = "starting"
        self.error = ""

    # -- what ingest sees --------------------------------------------------------------------------------------------

    def take(self, instrument: str, output: Output, since: float) -> None:
        """Take what ingest has closed; ``since`` is when the message that closed it came (``time.perf_counter``)."""
        if output.watermark is None:
            return
        closed = Closed(instrument, output.features, output.watermark, since)
        self._handed_in[instrument] = output.watermark
        if output.reason != END_OF_RECORDING:  # that is the day's end, not the time
            self._newest = max(self._newest, output.watermark)
        if self._first_live is None:
            self._first_live = max(self._newest, output.watermark)
        if self._engine is not None:
            self._queue.append(closed)
        if self._next_queue is not None:
            self._next_queue.append(closed)
        self._wake.set()

    @property
    def waiting(self) -> int:
        """Closings handed in that no engine has taken yet."""
        return len(self._queue if self._engine is not None else self._next_queue or ())

    async def room(self) -> None:
        """Return when more may be handed in; at once unless the venue's time waits for us."""
        while self._virtual and self.waiting > HIGH:
            self._progress.clear()
            await self._progress.wait()

    @property
    def time(self) -> int | None:
        """Grid time stepped last."""
        return self._engine.time if self._engine is not None else None

    @property
    def lag_seconds(self) -> float | None:
        """How far the engine is behind the newest watermark."""
        return None if self.time is None or not self._newest else max(self._newest - self.time, 0) / 1e6

    def plug_in_failures(self) -> Mapping[tuple[str, str], int]:
        """How often each detector and strategy has raised since this process began, by kind and name."""
        now = self._engine.plug_in_failures() if self._engine is not None else ()
        return self._plug_in_failures + Counter({(kind, name): count for kind, name, count, _ in now})

    def circumstances(self) -> Circumstances:
        """How the detectors do, as far as their rows do not say it."""
        engine = self._engine
        said = [] if engine is None else [item for item in engine.plug_in_failures() if item[0] == "detector"]
        stopped = self.error or self.state if engine is None else engine.failed.get(ANOMALY_FOLD, "")
        failures = {name: count for (kind, name), count in self.plug_in_failures().items() if kind == "detector"}
        return Circumstances(self._newest, failures, {name: text for _, name, _, text in said}, stopped)

    def health(self) -> dict[str, Any]:
        """State, time, what waits, who failed."""
        engine = self._engine
        return {
            "state": self.state,
            "error": self.error,
            "time": self.time,
            "lag_seconds": self.lag_seconds,
            "waiting": self.waiting,
            "failed_folds": dict(engine.failed) if engine is not None else {},
            "plug_in_failures": (
                {
                    f"{kind} {name}": f"{count} times, last: {text}"
                    for kind, name, count, text in engine.plug_in_failures()
                }
                if engine is not None
                else {}
            ),
        }

    # -- running -----------------------------------------------------------------------------------------------------

    def resume(self, points: Mapping[str, int | None]) -> None:
        """Say where the streams end, before anything is handed in: what lies behind comes live."""
        self._handed_in.update({key: points[key] for key in self._instruments})

    async def run(self) -> None:
        """Start an engine and step it until cancelled."""
        self._runs = True
        self.renew()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._work()
        finally:
            self._stopped.set()
            if self._renewal is not None:
                self._renewal.cancel()
                await asyncio.gather(self._renewal, return_exceptions=True)

    def renew(self, folds_of: Callable[[], Sequence[Fold]] | None = None, *, wait: float = 0.0) -> None:
        """Start an engine from the lake, in the place of the one that runs, which goes on until then."""
        if folds_of is not None:
            self._folds_of = folds_of
        if not self._runs:
            return  # it is not known yet where the streams end
        if self._renewal is not None and not self._renewal.done():
            if folds_of is None:
                return
            self._renewal.cancel()
        if not wait:
            self._collect()
        self._renewal = asyncio.get_running_loop().create_task(self._renew(wait), name=f"engine start {self.group}")

    async def flush(self) -> None:
        """Return when everything handed in has been stepped, or nobody knows when that will be."""
        while self.waiting and not (self._engine is None and self.state == "starting" and self.error):
            before = self.time
            self._progress.clear()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._progress.wait()
            except TimeoutError:
                if before == self.time:
                    log.warning("engine does not get on", group=self.group, state=self.state, error=self.error)
                    return

    async def _work(self) -> None:
        """Step until nothing is complete; others have their turn after each step."""
        while True:
            try:
                if not self._advance():
                    return
            except NotCompleteError:
                await self._learn()
            except Exception as error:
                self._measurements.fold_failures["engine"] += 1
                self._engine, self.state, self.error = None, "failed", _line(error)
                log.exception("engine failed", group=self.group)
                self._renew_later()
                return
            await asyncio.sleep(0)

    def _advance(self) -> bool:
        """Take rows until a grid time is complete, and step it; False if none is."""
        engine = self._engine
        if engine is None:
            return False
        if self._caught_up and self._first_live is not None:
            self._emit_caught_up()
        while (step := engine.step()) is None:
            if not self._queue:
                self._progress.set()
                return False
            closed = self._queue.popleft()
            self._since = closed.since
            engine.take(closed.instrument, closed.rows, closed.watermark)
        self._count(step)
        for signal in _leaving(step):
            if self._too_late(signal):
                self._measurements.suppressed["expired"] += 1
            else:
                self._emit(signal, self._since)
        self._judged(step.rows)
        if engine.failed.keys() > self._failed:
            self._folds_failed(engine)
        return True

    def _count(self, step: Step) -> None:
        for row in step.rows.get(ANOMALIES.name, ()):
            self._measurements.anomalies[row[_SEVERITY]] += 1
        for row in step.rows.get(SIGNALS.name, ()):
            self._measurements.signals[row[_STRATEGY], row[_STATUS]] += 1

    def _too_late(self, signal: Any) -> bool:
        return not self._virtual and signal.expires_at <= self._newest

    def _emit(self, signal: Any, since: float | None) -> None:
        instrument = self._instruments.get(signal.instrument)
        # One instrument of a symbol is primary: keys that other systems read use its bare symbol.
        symbol = signal.symbol if instrument is None or instrument.primary else instrument.key
        self._emitter.emit(Outgoing(signal, symbol, lambda: self._newest, since))

    def _emit_caught_up(self) -> None:
        """Let go what was made while catching up, now that the exchange has said what time it is."""
        clock = self._first_live if self._virtual else self._newest
        for signal in self._caught_up:
            if clock is not None and signal.expires_at > clock:
                self._emit(signal, None)
        self._caught_up = []

    async def _learn(self) -> None:
        """Read what is in force on the day that begins; wait for it as long as it takes."""
        engine, versions = self._engine, self._versions
        if engine is None or versions is None or engine.coming is None:
            return
        try:
            await asyncio.to_thread(versions.load, day_start(engine.coming))
        except NotCompleteError as error:
            self.state, self.error = "waiting", f"waiting for learning of {error}"
        except Exception as error:  # the lake is away
            self.state, self.error = "waiting", _line(error)
        else:
            if self._engine is engine:
                self.state, self.error = "failed" if engine.failed else "running", ""
            return
        self._log("waiting", "engine waits", error=self.error)
        if not self._virtual and self.waiting > HIGH:
            self._queue.clear()  # lake and streams hold them
            self._engine = None
            self.renew()
        await asyncio.sleep(RETRY_SECONDS)

    # -- starting ----------------------------------------------------------------------------------------------------

    async def _renew(self, wait: float) -> None:
        if wait:
            await asyncio.sleep(wait)
            self._collect()
        retry, attempt = RETRY_SECONDS, 0
        while True:
            attempt += 1
            caught_up: list[Any] = []
            anomalies: deque[Row] = deque(maxlen=ANOMALIES_CAUGHT_UP)
            try:
                start = await asyncio.to_thread(self._start, caught_up, anomalies)
                engine = await asyncio.to_thread(start.run, patient=attempt <= PATIENT_STARTS)
            except NotYetError as error:
                self._not_started("starting", _line(error))
                await asyncio.sleep(RETRY_SECONDS)
                if len(self._next_queue or ()) > HIGH:
                    self._let_go()
            except NotCompleteError as error:
                self._not_started("waiting", f"waiting for learning of {error}")
                await asyncio.sleep(RETRY_SECONDS)
                self._let_go()
            except Exception as error:  # lake away, no platform: the feed goes on, and we try again
                self._measurements.engine_start_failures[type(error).__name__] += 1
                self._not_started("starting", _line(error))
                await asyncio.sleep(retry)
                retry = min(retry * 2, LONGEST_RETRY)
                self._let_go()
            else:
                self._renewal = None  # from here on another one may be asked for
                self._take_over(engine, start.versions, caught_up)
                self._judged({ANOMALIES.name: tuple(anomalies)})
                return

    def _collect(self) -> None:
        """From here on what is handed in is kept for the engine to come; what was handed in before is in Redis."""
        self._resume = dict(self._handed_in)
        self._next_queue, self._first_live = deque(), None

    def _let_go(self) -> None:
        """After a start that failed, forget what waits: the next one finds it in Redis. Virtual time waits with it."""
        if not self._virtual:
            self._collect()

    def _start(self, caught_up: list[Any], anomalies: deque[Row]) -> EngineStart:
        """In a thread: the lake is opened, the folds are imported."""
        resume = self._resume
        newest = max((mark for mark in resume.values() if mark is not None), default=0)

        def keep(step: Step) -> None:
            caught_up.extend(signal for signal in _leaving(step) if signal.expires_at > newest)
            anomalies.extend(step.rows.get(ANOMALIES.name, ()))

        lake, folds, instruments = self._open_lake(), self._folds_of(), list(self._instruments.values())
        if newest and any(ANOMALIES in fold.tables for fold in folds):
            anomalies.extend(recent_anomalies(lake, instruments, newest))
        versions = VersionsInForce(self._open_lake, self.group, instruments, folds)
        return EngineStart(lake, self._streams, self.group, instruments, folds, resume, versions, keep, self._stopped)

    def _not_started(self, state: EngineState, error: str) -> None:
        if self._engine is None:
            self.state, self.error = state, error
        self._log("start", "engine not started", error=error)
        self._progress.set()

    def _take_over(self, engine: GroupEngine, versions: VersionsInForce, caught_up: list[Any]) -> None:
        """Let the new engine go on behind its resume point."""
        if self._engine is not None:
            for kind, name, count, _ in self._engine.plug_in_failures():
                self._plug_in_failures[kind, name] += count
        self._measurements.engine_starts += 1
        self._engine, self._versions = engine, versions
        self._queue, self._next_queue = self._next_queue or deque(), None
        self._caught_up = caught_up
        self._failed = set()
        self.state, self.error = "running", ""
        if engine.failed:
            self._folds_failed(engine)
        self._started()
        log.info("engine runs", group=self.group, waiting=len(self._queue), caught_up=len(caught_up))
        self._wake.set()

    def _folds_failed(self, engine: GroupEngine) -> None:
        """Some machine raised: its fold is out of step with the lake until the engine has been started anew."""
        for name in sorted(engine.failed.keys() - self._failed):
            self._measurements.fold_failures[name] += 1
            self._log(name, "fold failed", fold=name, error=engine.failed[name])
        self._failed = set(engine.failed)
        self.state = "failed"
        self.error = "; ".join(f"{name}: {text}" for name, text in sorted(engine.failed.items()))
        self._renew_later()

    def _renew_later(self) -> None:
        """Each renewal waits twice as long as the last, unless there was long peace."""
        now = time.monotonic()
        calm = now - self._last_fault > STEADY_SECONDS
        self._renewal_wait = FIRST_RENEWAL if calm else min(self._renewal_wait * 2, LONGEST_RENEWAL)
        self._last_fault = now
        self.renew(wait=self._renewal_wait)

    def _log(self, kind: str, event: str, **fields: Any) -> None:
        """A warning, but the same kind once a minute at most."""
        now = time.monotonic()
        if now - self._last_logged.get(kind, -LOG_INTERVAL) >= LOG_INTERVAL:
            self._last_logged[kind] = now
            log.warning(event, group=self.group, **fields)


def recent_anomalies(lake: Lake, instruments: Sequence[Instrument], newest: int) -> Sequence[Row]:
    """What runs have found shortly before ``newest``: a process that died there may have told nobody of it."""
    lake.ensure([ANOMALIES])
    rows = lake.read(ANOMALIES, start=newest - LAKE_ANOMALIES, end=newest, instruments=scope_of(instruments))
    return records_of(ANOMALIES, rows)


def _leaving(step: Step) -> list[Any]:
    """Signals of a step that the live lane sends."""
    signals = [_stored_signal(row) for row in step.rows.get(SIGNALS.name, ()) if row[_STATUS] == "validated"]
    return [signal for signal in signals if signal.tier in EMITTED_TIERS]


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
