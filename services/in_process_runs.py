"""Runs Dagster's jobs in this process, for lanes without daemon and workers: replays.

Belongs here: executing the very jobs the daemon would launch, with the same tags. Does not belong here: deciding what
they compute.
"""

from datetime import date
from importlib import import_module
from types import TracebackType
from typing import Any, NamedTuple, Self

from dagster import DagsterInstance, Definitions

from jobs.asset_jobs import LEARNING, STRATEGIC
from resources.dagster_resources import LakeResource, SettingsResource, StreamsResource
from resources.duck_lake import DuckLake
from resources.run_queues import BACKFILL, TACTICAL
from sensors.schedules import next_lesson
from services.platform.environment import DEFAULT_DEFINITIONS
from signal_assets.derivation import asset_name
from signal_assets.event_time import DAY, date_of, start_of_date
from signal_assets.partitions import END_TAG, GROUP_TAG
from signal_assets.stage_tables import TABLES
from signal_assets.tactical_end import next_end, next_end_behind


class Due(NamedTuple):
    """A job that has something to do, and the event time up to which."""

    job: str
    end: int


class RunFailedError(RuntimeError):
    """A job failed; the message is its first cause."""


class InProcessRuns:
    """Executes the code location's jobs here; one at a time.

    The location is loaded by name, as Dagster's own processes load it. Not to be used beside a running daemon: its run
    monitoring would take a run without a worker for a dead one.
    """

    def __init__(self, module: str = DEFAULT_DEFINITIONS) -> None:
        loaded: Definitions = import_module(module).definitions
        self._definitions = loaded
        self._instance = DagsterInstance.get()
        self._settings = SettingsResource().load()
        self._streams = StreamsResource().open()
        self.lake: DuckLake = LakeResource().open()
        self._assets = {job: self._names(job) for job in (TACTICAL, STRATEGIC, LEARNING)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._instance.dispose()
        self.lake.close()

    def forward(self) -> Due | None:
        """One run of the first group that has something to do; what it was, or None when nothing is new.

        Score is kept and lessons are learned at each midnight, before anything goes beyond it.

        Raises
        ------
        RunFailedError
            If the run failed.
        """
        for group in self._settings.groups:
            due = self._due(group)
            if due is not None:
                tags = {} if due.job == LEARNING else {GROUP_TAG: group, END_TAG: str(due.end)}
                self._execute(due.job, date_of(due.end), tags)
                return due
        return None

    def day(self, day: date) -> None:
        """One back-fill run over a day, checks included; days follow from each other in order.

        Raises
        ------
        RunFailedError
            If the run failed.
        """
        self._execute(BACKFILL, day, {})

    def _due(self, group: str) -> Due | None:
        tactical, strategic, learning = (self._assets[job] for job in (TACTICAL, STRATEGIC, LEARNING))
        lesson = next_lesson(self.lake, group, strategic, learning)
        if isinstance(lesson, date):
            return Due(LEARNING, start_of_date(lesson) + DAY)
        behind = next_end_behind(self.lake, group, tactical, strategic)
        if isinstance(behind, int) and behind % DAY == 0:
            return Due(STRATEGIC, behind)
        end = next_end(self.lake, self._streams, self._settings, group, tactical)
        return None if isinstance(end, str) else Due(TACTICAL, end)

    def _names(self, job: str) -> list[str]:
        """Assets of the job whose progress the lake keeps: those that write a table."""
        nodes = {"/".join(key.path) for key in self._definitions.resolve_job_def(job).asset_layer.executable_asset_keys}
        return [name for name in map(asset_name, TABLES) if name in nodes]

    def _execute(self, job: str, day: date, tags: dict[str, str]) -> None:
        definition: Any = self._definitions.resolve_job_def(job)
        result = definition.execute_in_process(
            instance=self._instance, partition_key=day.isoformat(), tags=tags, raise_on_error=False
        )
        if not result.success:
            failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
            causes = [failure.user_failure_data or failure.error for failure in failures]
            texts = [str(getattr(cause, "description", None) or getattr(cause, "message", "")) for cause in causes]
            raise RunFailedError(f"{job} failed: {(texts or ['no reason given'])[0].strip().splitlines()[0]}")
