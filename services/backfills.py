"""Back-fills of the derived assets: asked for, cut into runs, and watched until they end.

Belongs here: checking what is asked for, putting runs into Dagster's queue as what they need is done, following them,
starting again what was lost with its worker. Does not belong here: how it is cut (``backfill_plan``), what a run
computes.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import import_module
from types import TracebackType
from typing import Any, Final, Self

from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus

from resources.addresses import Addresses
from resources.dagster_resources import SettingsResource
from resources.duck_lake import process_lake
from resources.run_queues import BACKFILL
from resources.worker_register import disagreement, slots_of
from services.backfill_plan import Piece, chains, plan
from services.backfill_runs import PIECE_TAG, BackfillRuns
from services.platform.environment import DEFAULT_DEFINITIONS, exports
from signal_assets.derivation import watermark_of
from signal_assets.event_time import DAY, iso, start_of_date

POLL_SECONDS: Final = 0.4
COUNT_WORKERS_EVERY: Final = 5.0
PATIENCE_SECONDS: Final = 90.0
"""How long a run may wait while none is on its way before we say that nobody is there."""
MOST_ATTEMPTS: Final = 5
"""How often a run that was lost with its worker, or overtaken, is started."""
OVERTAKEN: Final = "this run expected"
"""What the lake says when another run, of a sensor or schedule, has moved the same progress meanwhile."""


class BackfillError(RuntimeError):
    """A back-fill cannot be asked for, or failed; one line says why."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far a back-fill has come, and what happened last."""

    done: int
    of: int
    line: str = ""

    @property
    def share(self) -> float:
        """The done share, 0…1."""
        return self.done / self.of if self.of else 1.0


class Backfills:
    """Back-fills on a running platform; a context manager.

    Parameters
    ----------
    addresses : Addresses
        Of the platform; its variables are set in this process, since Dagster finds its storage through them.
    module : str
        Module with Dagster's definitions.
    """

    def __init__(self, addresses: Addresses, module: str | None = None) -> None:
        self._addresses = addresses
        self._former = {name: os.environ.get(name) for name in exports(addresses)}
        os.environ.update(exports(addresses))
        self._module = module or os.environ.get("SIGNAL_DEFINITIONS_MODULE") or DEFAULT_DEFINITIONS
        self._definitions: Any = import_module(self._module).definitions
        self._graph: Any = self._definitions.resolve_asset_graph()
        self._instance = DagsterInstance.get()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._instance.dispose()
        for name, value in self._former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def prepare(
        self, first: date, last: date, assets: Sequence[str], identifier: str | None = None
    ) -> "RunningBackfill":
        """Check what is asked for and cut it into runs; nothing is started yet.

        Parameters
        ----------
        assets : sequence of str
            ``stage/table`` or a stage; empty means everything derived. Tables written together come together.
        identifier : str, optional
            Of a back-fill of the same days and assets, to go on with it: what succeeded is not done again, what is
            still on its way is awaited.

        Raises
        ------
        BackfillError
            If an asset is unknown, a day is not over in the raw data, the workers have different configurations, or
            the back-fill to go on with is another one.
        """
        wanted = select(self._derived(), assets)
        together = {other for key in wanted for other in self._graph.get(key).execution_set_asset_keys}
        keys = [key for key in self._derived() if key in together]
        self._refuse_open_days(last)
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        known = set(self._graph.get(keys[0]).partitions_def.get_partition_keys())
        if outside := [day for day in days if day.isoformat() not in known]:
            raise BackfillError(f"{outside[0]} lies outside the days there are: {min(known)} to {max(known)}")
        runs = BackfillRuns(self._instance, self._definitions, self._module, self._addresses)
        if differ := disagreement(runs.workers() or []):
            raise BackfillError(differ)
        return RunningBackfill(plan(self._graph, keys, days), keys, runs, identifier)

    def _derived(self) -> list[AssetKey]:
        """What the job recomputes; raw tables are not in it, nor what the machine itself was doing."""
        recomputed = self._definitions.resolve_job_def(BACKFILL).asset_layer.selected_asset_keys
        return [key for key in self._graph.toposorted_asset_keys if key in recomputed]

    def _refuse_open_days(self, last: date) -> None:
        lake = process_lake(self._addresses)
        try:
            for group in SettingsResource().load().groups:
                complete = watermark_of(lake, group)
                if complete is None or complete < start_of_date(last) + DAY:
                    raise BackfillError(
                        f"{last} is not over in the data: {group} is complete up to "
                        f"{iso(complete) if complete is not None else 'nothing yet'}"
                    )
        finally:
            lake.close()


class RunningBackfill:
    """One back-fill: its pieces, and which of them are done.

    Parameters
    ----------
    pieces : sequence of Piece
        All of them.
    assets : sequence of AssetKey
        What is recomputed, in the order in which data flows.
    """

    def __init__(
        self, pieces: Sequence[Piece], assets: Sequence[AssetKey], runs: BackfillRuns, identifier: str | None
    ) -> None:
        self._pieces = {piece.name: piece for piece in pieces}
        self._chains = chains(pieces)
        self.assets = ["/".join(key.path) for key in assets]
        self._runs = runs
        self._done: set[str] = set()
        self._under_way: dict[str, str] = {}
        """Name of the piece by run id."""
        self._attempts: dict[str, int] = {}
        self._slots = 1
        self._next_count = 0.0
        self._quiet_since = time.monotonic()
        self.identifier = identifier or f"cli{time.time_ns() // 1_000_000:x}"
        if identifier is not None:
            self._take_up()

    @property
    def pieces(self) -> int:
        """How many runs it is made of."""
        return len(self._pieces)

    @property
    def done(self) -> int:
        """How many of them have succeeded."""
        return len(self._done)

    @property
    def under_way(self) -> list[str]:
        """Ids of runs that wait or execute."""
        return list(self._under_way)

    def _take_up(self) -> None:
        earlier = self._runs.of(self.identifier)
        if not earlier:
            raise BackfillError(f"there is no back-fill {self.identifier}")
        for run in earlier:
            name = run.tags.get(PIECE_TAG, "")
            if name not in self._pieces:
                raise BackfillError(f"back-fill {self.identifier} was of other days or assets: it has {name!r}")
            if run.status is DagsterRunStatus.SUCCESS:
                self._done.add(name)
            elif not run.is_finished:
                self._under_way[run.run_id] = name

    def follow(self) -> Iterator[Step]:
        """Put pieces into the queue as what they need is done; a step whenever something happened, until the end.

        When the reader goes away (``close()``, Ctrl-C), what still waits is taken out of the queue; what is on its way
        ends by itself.

        Raises
        ------
        BackfillError
            If a run failed or was cancelled, was lost too often, or nobody takes the runs.
        """
        try:
            while len(self._done) < len(self._pieces):
                self._submit_what_can_go()
                yield Step(len(self._done), len(self._pieces))
                time.sleep(POLL_SECONDS)
                for run in self._runs.with_ids(list(self._under_way)):
                    if run.is_finished:
                        self._quiet_since = time.monotonic()
                        yield self._ended(run, self._under_way.pop(run.run_id))
                self._say_if_nobody_is_there()
        finally:
            self._runs.take_back(list(self._under_way))

    def _submit_what_can_go(self) -> None:
        if time.monotonic() >= self._next_count:
            self._next_count = time.monotonic() + COUNT_WORKERS_EVERY
            self._slots = slots_of(self._runs.workers() or [], BACKFILL) or self._slots
        # One more than there are workers, so that a worker that becomes free finds the next one in the queue.
        room = self._slots + 1 - len(self._under_way)
        if room <= 0:
            return
        busy = set(self._under_way.values())
        ready = [
            piece for name, piece in self._pieces.items() if name not in self._done | busy and piece.needs <= self._done
        ]
        # What most runs wait for one after another goes first, so that no worker is left with a chain at the end.
        for piece in sorted(ready, key=lambda piece: (-self._chains[piece.name], piece.days[0]))[:room]:
            self._under_way[self._runs.submit(piece, self.identifier)] = piece.name
            self._attempts[piece.name] = self._attempts.get(piece.name, 0) + 1

    def _ended(self, run: DagsterRun, name: str) -> Step:
        if run.status is DagsterRunStatus.SUCCESS:
            self._done.add(name)
            return Step(len(self._done), len(self._pieces), f"{name}: done")
        short = run.run_id[:8]
        if run.status is DagsterRunStatus.CANCELED:
            raise BackfillError(f"back-fill {self.identifier}: {name}: run {short} was cancelled")
        reason = self._runs.failure_of(run.run_id)
        if reason is not None and OVERTAKEN not in reason:
            raise BackfillError(f"back-fill {self.identifier}: {name} failed: {reason} (run {short})")
        what = "was lost with its worker" if reason is None else "was overtaken by another run"
        if self._attempts.get(name, 0) >= MOST_ATTEMPTS:
            raise BackfillError(f"back-fill {self.identifier}: {name} {what} {MOST_ATTEMPTS} times (last: {short})")
        return Step(len(self._done), len(self._pieces), f"{name}: run {short} {what}, starting again")

    def _say_if_nobody_is_there(self) -> None:
        if time.monotonic() - self._quiet_since < PATIENCE_SECONDS:
            return
        if self._runs.queue_moves():
            self._quiet_since = time.monotonic()
        elif not slots_of(self._runs.workers() or [], BACKFILL):
            raise BackfillError("no worker takes back-fill runs: start `signals up` or `signals worker`")
        else:
            raise BackfillError(f"nobody takes up back-fill {self.identifier}: is Dagster's daemon running?")


def select(derived: Sequence[AssetKey], wanted: Sequence[str]) -> list[AssetKey]:
    """The assets named by ``stage/table`` or stage, in the order in which data flows.

    Raises
    ------
    BackfillError
        If a name matches none.

    Examples
    --------
    >>> select([AssetKey(["levels", "wave_peaks"]), AssetKey(["levels", "price_zones"])], ["levels/price_zones"])
    [AssetKey(['levels', 'price_zones'])]
    """
    names: Mapping[str, AssetKey] = {"/".join(key.path): key for key in derived}
    for name in wanted:
        if not any(known == name or known.startswith(f"{name}/") for known in names):
            raise BackfillError(f"--assets {name}: there are {', '.join(names)}, and their stages")
    return [
        key
        for known, key in names.items()
        if not wanted or any(known == name or known.startswith(f"{name}/") for name in wanted)
    ]
