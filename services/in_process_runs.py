"""Runs Dagster's jobs in this process, for lanes without daemon and workers: replays.

Belongs here: executing the very jobs the daemon would launch, with the same tags. Does not belong here: deciding what
they compute.
"""

from collections.abc import Sequence
from datetime import date
from importlib import import_module
from types import TracebackType
from typing import Any, Final, Self

from dagster import DagsterInstance, Definitions

from resources.dagster_resources import LakeResource, SettingsResource, StreamsResource
from resources.duck_lake import DuckLake
from services.platform.environment import DEFAULT_DEFINITIONS
from signal_assets.event_time import date_of
from signal_assets.partitions import END_TAG, GROUP_TAG
from signal_assets.tactical_end import next_end

RANGE_START: Final = "dagster/asset_partition_range_start"
RANGE_END: Final = "dagster/asset_partition_range_end"


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
        nodes = loaded.resolve_job_def("tactical").asset_layer.executable_asset_keys
        self._assets = sorted("/".join(key.path) for key in nodes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._instance.dispose()
        self.lake.close()

    def forward(self) -> int | None:
        """One tactical run of the first group that has something to do; its end, or None when nothing is new.

        Raises
        ------
        RunFailedError
            If the run failed.
        """
        for group in self._settings.groups:
            end = next_end(self.lake, self._streams, self._settings, group, self._assets)
            if isinstance(end, str):
                continue
            self._execute("tactical", date_of(end).isoformat(), {GROUP_TAG: group, END_TAG: str(end)})
            return end
        return None

    def days(self, days: Sequence[date]) -> None:
        """One back-fill run over the days, checks included.

        Raises
        ------
        RunFailedError
            If the run failed.
        """
        first, last = min(days).isoformat(), max(days).isoformat()
        self._execute("backfill", None, {RANGE_START: first, RANGE_END: last})

    def _execute(self, job: str, partition: str | None, tags: dict[str, str]) -> None:
        definition: Any = self._definitions.resolve_job_def(job)
        result = definition.execute_in_process(
            instance=self._instance, partition_key=partition, tags=tags, raise_on_error=False
        )
        if not result.success:
            failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
            causes = [failure.user_failure_data or failure.error for failure in failures]
            texts = [str(getattr(cause, "description", None) or getattr(cause, "message", "")) for cause in causes]
            raise RunFailedError(f"{job} failed: {(texts or ['no reason given'])[0].strip().splitlines()[0]}")
