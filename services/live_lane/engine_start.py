"""An engine brought up to the present: states from the lake, then what came after them from lake and streams.

Belongs here: where a start begins, what it reads, what is in force. Does not belong here: threads, retries, emission
(``group_lane``), stepping (``group_engine``). Everything here blocks: it is called in a thread.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import structlog

from resources.lake import Lake, Progress, State
from resources.redis_keys import market_features
from services.live_lane.group_engine import GroupEngine, Step, Versions
from signal_assets.derivation import NotCompleteError, asset_name
from signal_assets.event_time import DAY, MINUTE, SECOND, day_start, floor_to, iso
from signal_assets.fold import Fold, records_of, versions_in_force
from signal_assets.instrument import Instrument
from signal_assets.machine import decode_state
from signal_assets.market.stream_intake import MarketStreams
from signal_assets.market.tables import FEATURES
from signal_assets.table import Table

PAGE: Final = 500
"""Stream entries read at a time, per instrument."""

ROWS_AT_ONCE: Final = 60_000
"""About so many features rows are read from the lake at a time, on a grid of one second."""

log = structlog.get_logger("live_lane.engine")


class NotYetError(RuntimeError):
    """A start should be tried again at once: what it needs is on its way."""


class StoppedError(RuntimeError):
    """Nobody waits for the start any more."""


class VersionsInForce:
    """What is in force, by day, read ahead of the steps that ask for it.

    Parameters
    ----------
    open_lake : callable
        The lake of this process.
    """

    def __init__(
        self, open_lake: Callable[[], Lake], group: str, instruments: Sequence[Instrument], folds: Sequence[Fold]
    ) -> None:
        self._open_lake = open_lake
        self._group = group
        self._instruments = instruments
        self._tables: tuple[Table, ...] = tuple(dict.fromkeys(table for fold in folds for table in fold.in_force))
        self._origin: int | None = None
        self._known: dict[int, Versions] = {}

    def load(self, start: int) -> None:
        """Read what is in force on the day that begins at ``start``.

        Raises
        ------
        NotCompleteError
            If it has not been learned yet.
        LakeError
            If the lake does not answer.
        """
        if start in self._known or not self._tables:
            return
        lake = self._open_lake()
        lake.ensure(self._tables)
        progress = lake.progress(asset_name(FEATURES), self._group)
        if progress is not None:
            self._origin = progress.origin
        elif self._origin is None:
            self._origin = start  # the lake knows nothing: history begins today
        self._known[start] = versions_in_force(lake, self._tables, self._group, self._instruments, start, self._origin)

    def __call__(self, start: int) -> Versions:
        """What :meth:`load` has read.

        Raises
        ------
        NotCompleteError
            If it has not read that day.
        """
        if not self._tables:
            return {}
        if start not in self._known:
            raise NotCompleteError(f"what is in force on the day that begins at {iso(start)} has not been read")
        return self._known[start]


@dataclass(frozen=True, slots=True)
class EngineStart:
    """Everything a start needs, for one group.

    Parameters
    ----------
    resume : mapping of str to int or None
        Per instrument the watermark that the start must reach: what comes behind it is handed in live.
    versions : VersionsInForce
        Kept by the engine.
    stopped : threading.Event
        Set when nobody waits any more.
    keep : callable
        Told of every step that is caught up with.
    """

    lake: Lake
    streams: MarketStreams
    group: str
    instruments: Sequence[Instrument]
    folds: Sequence[Fold]
    resume: Mapping[str, int | None]
    versions: VersionsInForce
    keep: Callable[[Step], None] = lambda step: None
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self, *, patient: bool) -> GroupEngine:
        """An engine whose machines have taken in everything up to the resume point.

        Parameters
        ----------
        patient : bool
            Folds whose states are of different times are believed to be in the middle of a run.

        Raises
        ------
        NotYetError
            If rows that were handed on are not in the streams yet, or a run is believed to be under way.
        NotCompleteError
            If what should be in force has not been learned.
        LakeError
            If the lake does not answer.
        """
        self._streams_hold_what_was_handed_on()
        self.lake.ensure([FEATURES])
        progress = self.lake.progress(asset_name(FEATURES), self.group)
        begin, states = self._states(progress, patient=patient)
        self._require_versions(begin, progress)
        engine = GroupEngine(self.instruments, self.folds, self.versions, begin)
        for name, state in states.items():
            try:
                engine.machines[name].restore(decode_state(state.state))
            except Exception as error:  # a state of another version: the others go on
                engine.failed[name] = " ".join(f"its state cannot be read: {type(error).__name__}: {error}".split())
        if progress is not None:
            self._read_lake(engine, progress)
        while not self._read_streams(engine):
            progress = self.lake.progress(asset_name(FEATURES), self.group)
            if progress is None:
                raise NotYetError("the lake is taking in its first rows")
            self._read_lake(engine, progress)
        log.info(
            "engine caught up", group=self.group, begin=begin and iso(begin), time=engine.time and iso(engine.time)
        )
        return engine

    # -- where to begin --------------------------------------------------------------------------------------------

    def _states(self, progress: Progress | None, *, patient: bool) -> tuple[int | None, dict[str, State]]:
        """Time and states of all folds: rolling ones of one time, else of the newest day's end, else none."""
        rolling = [self.lake.state(fold.name, self.group) for fold in self.folds]
        known = {state.fold: state for state in rolling if state is not None}
        if len(known) == len(self.folds) and len({state.time for state in known.values()}) == 1:
            return next(iter(known.values())).time, known
        if known and patient:
            times = ", ".join(f"{state.fold} {iso(state.time)}" for state in known.values())
            raise NotYetError(f"states are of different times, a run may be under way: {times}")
        if progress is None:
            return None, {}
        for at in range(floor_to(progress.progress, DAY), progress.origin, -DAY):
            ends: dict[str, State] = {}
            for fold in self.folds:
                state = self.lake.state(fold.name, self.group, at)
                if state is None:
                    break
                ends[fold.name] = state
            else:
                return at, ends
        return progress.origin, {}

    def _require_versions(self, begin: int | None, progress: Progress | None) -> None:
        """Ask for what is in force on the last day first: a start that has to wait for it should read nothing else."""
        reached = [mark for mark in self.resume.values() if mark is not None]
        last = max([*reached, progress.progress if progress is not None else 0])
        if begin is not None and last > begin:
            self.versions.load(day_start(last))

    def _streams_hold_what_was_handed_on(self) -> None:
        for instrument, mark in self.resume.items():
            tail = self.streams.tail(market_features(instrument))
            if mark is not None and (tail is None or tail < mark):
                raise NotYetError(f"rows of {instrument} up to {iso(mark)} are not in Redis yet")

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read_lake(self, engine: GroupEngine, progress: Progress) -> None:
        """Hand in what the lake holds behind the engine's watermarks, part by part."""
        ends = {}
        offsets = self.lake.offsets([market_features(instrument) for instrument in self.resume])
        for instrument in self.resume:
            offset = offsets.get(market_features(instrument))
            # All rows of a stream up to its offset are there; a run's end lies behind no offset.
            ends[instrument] = max(progress.progress, offset.last_id if offset is not None else 0)
        columns, part = self._columns(), max(ROWS_AT_ONCE // len(ends) * SECOND, MINUTE)
        position = min(mark if mark is not None else progress.origin for mark in engine.watermarks.values())
        while position < max(ends.values()):
            stop = min(position + part, max(ends.values()))
            frame = self.lake.read(FEATURES, start=position, end=stop, instruments=list(ends), columns=columns)
            rows: dict[str, list[Any]] = {instrument: [] for instrument in ends}
            for record in records_of(FEATURES, frame):
                if record.time <= ends[record.instrument]:
                    rows[record.instrument].append(record)
            for instrument, mine in rows.items():
                engine.take(instrument, mine, min(stop, ends[instrument]))
            self._step(engine)
            position = stop

    def _columns(self) -> list[str]:
        """What the folds read of the features: lists are expensive."""
        inputs = [item for fold in self.folds for item in fold.inputs if item.table == FEATURES]
        asked = [item.columns if item.columns is not None else FEATURES.value_columns for item in inputs]
        wanted = {"instrument", str(FEATURES.time)}.union(*asked)
        return [name for name in FEATURES.value_columns if name in wanted]

    def _read_streams(self, engine: GroupEngine) -> bool:
        """Hand in what the streams hold up to the resume point; False if some of it has gone to the lake meanwhile."""
        behind = [instrument for instrument, mark in self.resume.items() if mark is not None]
        while behind := [instrument for instrument in behind if self._is_behind(engine, instrument)]:
            for instrument in behind:
                key, before = market_features(instrument), engine.watermarks[instrument] or 0
                entries = self.streams.read_after(key, before or None, PAGE)
                if self._trimmed_behind(key, before):
                    return False
                if not entries:
                    raise NotYetError(f"rows of {instrument} behind {iso(before)} are not in Redis yet")
                for entry in entries:
                    engine.take(instrument, rows_of(entry.fields["data"]), entry.id)
            self._step(engine)
        return True

    def _is_behind(self, engine: GroupEngine, instrument: str) -> bool:
        mark, wanted = engine.watermarks[instrument], self.resume[instrument]
        return wanted is not None and (mark is None or mark < wanted)

    def _trimmed_behind(self, key: str, position: int) -> bool:
        """Whether entries behind ``position`` have been removed: they are in the lake then."""
        first = self.streams.read_after(key, None, 1)
        if first and first[0].id <= position:
            return False  # trimming keeps the last entry that is in the lake, so nothing behind this one has gone
        offset = self.lake.offset(key)
        return offset is not None and offset.generation == self.streams.generation() and offset.last_id > position

    def _step(self, engine: GroupEngine) -> None:
        while (coming := engine.coming) is not None:
            if self.stopped.is_set():
                raise StoppedError("stopped while catching up")
            self.versions.load(day_start(coming))
            if (step := engine.step()) is not None:
                self.keep(step)


def rows_of(payload: bytes) -> list[tuple[Any, ...]]:
    """Features rows of a stream entry: what ``stream_codec.decode`` reads, without the frame that costs 2 ms an entry.

    Examples
    --------
    >>> from signal_assets.market.stream_codec import encode
    >>> rows_of(encode(FEATURES, []))
    []
    """
    columns = orjson.loads(payload)["columns"]
    return list(zip(*(columns[name] for name in FEATURES.value_columns), strict=True))
