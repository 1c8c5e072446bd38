"""Judges the machine's samples as they come: what runs do with them, row for row.

Belongs here: where it begins, stepping through the stream, what is handed on. Does not belong here: sampling
(``system_metrics``), the machine (``signal_assets/anomalies/system_machine``), Redis' copy of the anomalies
(``anomaly_publisher``).

It reads the stream that runs read. A start finds the rolling state in the lake, steps through the samples that the lake
holds behind it, and goes on in the stream; so do the next samples, and so does whoever comes after a death. Where runs
have taken entries away before they were read here, it starts anew. All of it happens in threads, and whatever goes
wrong is its own: market data and signals do not depend on it.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog

from resources.lake import Lake
from resources.redis_keys import SYSTEM_METRICS
from services.live_lane.detector_tally import Circumstances, Row
from signal_assets.anomalies.system_series import SYSTEM, SYSTEM_GROUP
from signal_assets.anomalies.tables import ANOMALIES, SYSTEM_SAMPLES
from signal_assets.derivation import asset_name
from signal_assets.event_time import DAY
from signal_assets.fold import Fold, Stepper, events_between, group_by_time, records_of, versions_in_force
from signal_assets.machine import decode_state
from signal_assets.market.stream_codec import decode
from signal_assets.market.stream_intake import MarketStreams, payload_of

LOOK_SECONDS: Final = 1.0
FIRST_RETRY: Final = 5.0
LONGEST_RETRY: Final = 600.0
ENTRIES_AT_ONCE: Final = 500
LAKE_ANOMALIES: Final = DAY
"""So far back anomalies are taken from the lake at a start: whoever judged before may have told nobody of them."""

log = structlog.get_logger("live_lane.system")


class BehindError(RuntimeError):
    """Entries that were not read here have gone to the lake."""


class EndedError(RuntimeError):
    """Nobody waits any more for what is judged."""


class SystemJudge:
    """Steps the system's machine through its samples.

    Parameters
    ----------
    open_lake, fold_of : callable
        The lake of this process and the fold as configured; called in threads only.
    streams : MarketStreams
        Likewise.
    judged : callable
        Handed the rows of every step, by table name, in the event loop.

    Attributes
    ----------
    error : str
        Why it does not judge at present; empty: it does.
    """

    def __init__(
        self,
        open_lake: Callable[[], Lake],
        fold_of: Callable[[], Fold],
        streams: MarketStreams,
        judged: Callable[[Mapping[str, Sequence[Row]]], None],
    ) -> None:
        self._open_lake = open_lake
        self._fold_of = fold_of
        self._streams = streams
        self._judged = judged
        self._renewals = 0
        self._stepper: tuple[int, Stepper] | None = None
        """With the number of renewals before it began: one that was asked for meanwhile makes it the last one's."""
        self._lake: Lake | None = None
        self._behind = False
        self._ended = threading.Event()
        self.time: int | None = None
        self.error = "starting"

    def circumstances(self) -> Circumstances:
        """How the detectors do, as far as their rows do not say it."""
        stepper = self._stepper_in_force
        machine: Any = stepper.machine if stepper is not None else None
        failures, last = getattr(machine, "failures", {}), getattr(machine, "last_failure", {})
        return Circumstances(time.time_ns() // 1_000, dict(failures), dict(last), self.error)

    def renew(self) -> None:
        """Begin anew from the lake, as the settings of the moment want it."""
        self._renewals += 1

    @property
    def _stepper_in_force(self) -> Stepper | None:
        renewals, stepper = self._stepper or (0, None)
        return stepper if renewals == self._renewals else None

    async def run(self) -> None:
        """Judge until cancelled; once."""
        try:
            await self._judge_all()
        finally:
            self._ended.set()  # a thread cannot be cancelled, and the process' end waits for it

    async def _judge_all(self) -> None:
        retry = FIRST_RETRY
        while True:
            try:
                made = await asyncio.to_thread(self._advance)
            except BehindError:
                self.renew()
                await asyncio.sleep(LOOK_SECONDS)
                continue
            except Exception as error:  # lake or Redis away, a fault of ours: the next start begins from the lake
                text = " ".join(f"{type(error).__name__}: {error}".split())
                if text != self.error:
                    log.warning("the system is not judged", error=text)
                self.renew()
                self.error = text
                await asyncio.sleep(retry)
                retry = min(retry * 2, LONGEST_RETRY)
                continue
            retry, self.error = FIRST_RETRY, ""
            for rows in made:
                self._judged(rows)
            if not self._behind:
                await asyncio.sleep(LOOK_SECONDS)

    # -- in a thread -----------------------------------------------------------------------------------------------

    def _advance(self) -> list[Mapping[str, Sequence[Row]]]:
        """Rows of the steps that have become due, of so many entries at most."""
        made: list[Mapping[str, Sequence[Row]]] = []
        renewals, stepper = self._renewals, self._stepper_in_force
        if stepper is None:
            stepper = self._start(made)
        entries = self._streams.read_after(SYSTEM_METRICS, self.time, ENTRIES_AT_ONCE)
        if entries:
            self._require_no_gap()
        for entry in entries:
            self._require_somebody_waiting()
            payload = payload_of(entry)  # none in those of older versions, which runs pass over too
            if payload is not None:
                for moment, events in group_by_time({SYSTEM_SAMPLES: decode(SYSTEM_SAMPLES, payload)}):
                    made.append(stepper.step(moment, events))
            self.time = entry.id
        self._behind = len(entries) == ENTRIES_AT_ONCE
        self._stepper = renewals, stepper
        return made

    def _start(self, made: list[Mapping[str, Sequence[Row]]]) -> Stepper:
        """A machine that has taken in what the lake holds; of its rows only the anomalies are handed on."""
        lake, fold = self._open_lake(), self._fold_of()
        lake.ensure([*fold.tables, SYSTEM_SAMPLES, *fold.in_force])
        progress = lake.progress(asset_name(SYSTEM_SAMPLES), SYSTEM_GROUP)
        state = lake.state(fold.name, SYSTEM_GROUP)
        origin = progress.origin if progress is not None else 0
        machine = fold.machine([SYSTEM])
        if state is not None:
            machine.restore(decode_state(state.state))
        stepper = Stepper(
            machine, lambda start: versions_in_force(lake, fold.in_force, SYSTEM_GROUP, [SYSTEM], start, origin)
        )
        self._lake, self.time = lake, None
        if progress is not None:
            begin = state.time if state is not None else progress.origin
            # What was found before the state, by a process that told nobody of it, perhaps.
            before = lake.read(ANOMALIES, start=begin - LAKE_ANOMALIES, end=begin, instruments=[SYSTEM.key])
            made.append({ANOMALIES.name: records_of(ANOMALIES, before)})
            # All rows of the stream up to the offset are there, although progress may not have come so far.
            offset = lake.offset(SYSTEM_METRICS)
            end = max(progress.progress, offset.last_id if offset is not None else 0)
            for moment, events in events_between(lake, fold, [SYSTEM], begin, end, late=False):
                self._require_somebody_waiting()
                rows = stepper.step(moment, events)
                made.append({ANOMALIES.name: rows.get(ANOMALIES.name, ())})
            self.time = end
        return stepper

    def _require_somebody_waiting(self) -> None:
        if self._ended.is_set():
            raise EndedError("the system is no longer judged here")

    def _require_no_gap(self) -> None:
        """Runs remove entries that they have taken in, but the last one: behind one that was read all others are there.

        One that was removed just now, after it had been read here, is taken for a gap too; that costs a start.
        """
        oldest = self._streams.read_after(SYSTEM_METRICS, None, 1)
        position = self.time if self.time is not None else 0
        offset = self._lake.offset(SYSTEM_METRICS) if self._lake is not None and oldest else None
        if oldest and oldest[0].id > position and offset is not None and offset.last_id > position:
            raise BehindError(f"samples up to {offset.last_id} have gone to the lake, {position} was read last")
