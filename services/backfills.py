"""Dagster back-fills of the derived assets: asked for, and watched until they end.

Belongs here: checking what is asked for, handing it to Dagster's daemon, following its runs. Does not belong here: what
a day run computes.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from importlib import import_module
from types import TracebackType
from typing import Any, Final, Self

from dagster import AssetKey, DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.definitions.selector import (
    PartitionRangeSelector,
    PartitionsByAssetSelector,
    PartitionsSelector,
)
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.tags import BACKFILL_ID_TAG

from resources.dagster_resources import SettingsResource
from resources.duck_lake import process_lake
from resources.run_queues import BACKFILL, QUEUE_TAG
from resources.settings import Addresses
from services.platform.environment import DEFAULT_DEFINITIONS, exports
from signal_assets.derivation import watermark_of
from signal_assets.event_time import DAY, iso, start_of_date

RAW_STAGE: Final = "market"
POLL_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 60.0
"""How long Dagster's daemon may take to notice a back-fill before we say that nobody is there."""

_FAILED: Final = (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)


class BackfillError(RuntimeError):
    """A back-fill cannot be asked for, or failed; one line says why."""


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
        name = module or os.environ.get("SIGNAL_DEFINITIONS_MODULE") or DEFAULT_DEFINITIONS
        self._graph: Any = import_module(name).definitions.resolve_asset_graph()
        self._instance = DagsterInstance.get()
        self.selected: list[str] = []

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

    def launch(self, first: date, last: date, assets: Sequence[str]) -> str:
        """Hand the days to Dagster's daemon; returns the back-fill's id.

        Parameters
        ----------
        assets : sequence of str
            ``stage/table`` or a stage; empty means everything derived.

        Raises
        ------
        BackfillError
            If an asset is unknown, or a day is not over in the raw data.
        """
        keys = select(self._derived(), assets)
        self.selected = ["/".join(key.path) for key in keys]
        self._refuse_open_days(last)
        days = [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]
        known = set(self._graph.get(keys[0]).partitions_def.get_partition_keys())
        if outside := [day for day in days if day not in known]:
            raise BackfillError(f"{outside[0]} lies outside the days there are: {min(known)} to {max(known)}")
        whole = PartitionRangeSelector(start=days[0], end=days[-1])
        moment = time.time()
        identifier = f"cli{int(moment * 1000):x}"
        self._instance.add_backfill(
            # Exactly these days of each asset: by partition mapping, Dagster would add the days that look back at them,
            # which may not be over yet.
            PartitionBackfill.from_partitions_by_assets(
                backfill_id=identifier,
                asset_graph=self._graph,
                backfill_timestamp=moment,
                tags={QUEUE_TAG: BACKFILL},
                dynamic_partitions_store=self._instance,
                partitions_by_assets=[
                    PartitionsByAssetSelector(asset_key=key, partitions=PartitionsSelector([whole])) for key in keys
                ],
                title=f"signals backfill {first} to {last}",
                description=None,
                run_config=None,
            )
        )
        return identifier

    def _derived(self) -> list[AssetKey]:
        nodes = (self._graph.get(key) for key in self._graph.toposorted_asset_keys)
        return [node.key for node in nodes if node.is_materializable and node.group_name != RAW_STAGE]

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

    def watch(self, identifier: str, poll_seconds: float = POLL_SECONDS) -> Iterator[float]:
        """The done share, again and again, until the back-fill has ended.

        Raises
        ------
        BackfillError
            If it failed or was canceled, or nobody takes it up.
        """
        began = time.monotonic()
        while True:
            backfill = self._instance.get_backfill(identifier)
            if backfill is None:
                raise BackfillError(f"back-fill {identifier} is gone")
            runs = self._instance.get_runs(RunsFilter(tags={BACKFILL_ID_TAG: identifier}))
            if backfill.status in (BulkActionStatus.COMPLETED, BulkActionStatus.COMPLETED_SUCCESS):
                yield 1.0
                return
            failed = [run.run_id for run in runs if run.status in _FAILED]
            if failed or backfill.status in (
                BulkActionStatus.FAILED,
                BulkActionStatus.COMPLETED_FAILED,
                BulkActionStatus.CANCELED,
            ):
                detail = f"run {failed[0][:8]} (the Dagster UI says why)" if failed else backfill.status.value.lower()
                raise BackfillError(f"back-fill {identifier} failed: {detail}")
            if not runs and time.monotonic() - began > PATIENCE_SECONDS:
                raise BackfillError(f"nobody takes up back-fill {identifier}: is Dagster's daemon running?")
            yield self._done_share([run.run_id for run in runs])
            time.sleep(poll_seconds)

    def _done_share(self, run_ids: Sequence[str]) -> float:
        steps = sum(self._instance.get_run_stats(run_id).steps_succeeded for run_id in run_ids)
        return min(0.99, steps / max(1, len(self.selected)))


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
