"""What every asset says about itself: its presentation in the graph, and what a run did.

Belongs here: turning a :class:`Table` into Dagster's column schema, and work done into metadata. Does not belong here:
any single asset (``<stage>/assets.py``).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    BackfillPolicy,
    Failure,
    FreshnessPolicy,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    TableColumn,
    TableColumnConstraints,
    TableConstraints,
    TableSchema,
    multi_asset,
)

from resources.lake import Lake, LakeError, LakeSource
from resources.settings import Settings
from signal_assets.derivation import Derivation, WorkDone, forward, recompute_day
from signal_assets.event_time import DAY, MINUTE, ceil_to, iso
from signal_assets.fold import Fold, WarmMachines, forward_fold, recompute_day_fold
from signal_assets.partitions import Days, Forward, coverage, daily_partitions, looking_back, the_day_before
from signal_assets.picture import Picture
from signal_assets.table import DAY_COLUMN, Table

OWNERS: Final = ["team:signals"]
CODE_VERSION: Final = "1"
STALE_AFTER: Final = timedelta(minutes=10)
WARN_AFTER: Final = timedelta(minutes=5)


class SettingsSource(Protocol):
    """Hands the settings to assets, read anew by every run so that a changed file is in force at the next one."""

    def load(self) -> Settings:
        """The settings of the moment."""


def asset_key(table: Table) -> AssetKey:
    """Key of the asset that writes ``table``."""
    return AssetKey([table.stage, table.short_name])


def column_schema(table: Table) -> TableSchema:
    """Dagster's column schema: description, unit, nullability and key of every column."""
    columns = [
        TableColumn(
            name=column.name,
            type=column.type.duckdb,
            description=f"{column.description} [{column.unit}]" if column.unit else column.description,
            constraints=TableColumnConstraints(nullable=column.nullable),
            tags={"operational": ""} if column.operational else {},
        )
        for column in table.columns
    ]
    if table.time is not None:
        columns.append(TableColumn(name=DAY_COLUMN, type="DATE", description=f"Day that holds `{table.time}`"))
    return TableSchema(columns=columns, constraints=TableConstraints(other=[f"unique ({', '.join(table.key)})"]))


def table_spec(
    table: Table,
    *,
    inputs: Mapping[Table, int] | Iterable[AssetKey],
    kinds: Iterable[str] = ("duckdb", "parquet"),
    lane: str = "tactical",
) -> AssetSpec:
    """Specification of the asset that writes ``table``.

    Parameters
    ----------
    inputs : mapping of Table to int, or keys
        What it is made from; the number is how many days the look-back reaches behind the day itself.
    """
    deps: list[AssetDep] = []
    if isinstance(inputs, Mapping):
        deps = [
            AssetDep(asset_key(source), partition_mapping=looking_back(days) if days else None)
            for source, days in inputs.items()
        ]
    else:
        deps = [AssetDep(key) for key in inputs]
    return AssetSpec(
        key=asset_key(table),
        deps=deps,
        description=table.description,
        group_name=table.stage,
        owners=OWNERS,
        kinds=set(kinds),
        code_version=CODE_VERSION,
        tags={"signals/lane": lane, "signals/table_kind": table.kind},
        metadata={
            "dagster/column_schema": column_schema(table),
            "dagster/table_name": f"lake.{table.name}",
            "key": MetadataValue.text(", ".join(table.key)),
        },
        partitions_def=daily_partitions,
        freshness_policy=FreshnessPolicy.time_window(fail_window=STALE_AFTER, warn_window=WARN_AFTER),
    )


SINGLE_RUN: Final = BackfillPolicy.single_run()
"""Window tables: any range of days at once."""
BY_DAY: Final = BackfillPolicy.multi_run(max_partitions_per_run=1)
"""Folds and what is learned: one day follows from the other."""


def window_asset(
    declare: Callable[[Settings], Derivation],
    settings: Settings,
    extra: Callable[[Lake, Settings, Days], Mapping[str, Any]] | None = None,
) -> AssetsDefinition:
    """Asset of one window table.

    Parameters
    ----------
    declare : callable
        The derivation as the settings of the moment want it; called at definition for its inputs, and by every run.
    extra : callable, optional
        Metadata for day runs only, such as a plot: a day's newest materialization is kept for good.
    """
    declared = declare(settings)
    spec = table_spec(declared.table, inputs={item.table: days_behind(item.look_back) for item in declared.inputs})

    @multi_asset(
        name=f"{declared.table.stage}_{declared.table.short_name}",
        specs=[spec],
        backfill_policy=SINGLE_RUN,
    )
    def derive(
        context: AssetExecutionContext, lake: ResourceParam[LakeSource], settings: ResourceParam[SettingsSource]
    ) -> MaterializeResult[None]:
        return _run(context, lake, settings.load(), declare, extra)

    return derive


def fold_asset(
    declare: Callable[[Settings], Fold],
    settings: Settings,
    extra: Callable[[Lake, Settings, Days], Mapping[str, Any]] | None = None,
) -> AssetsDefinition:
    """Assets of a fold's tables, written together.

    A day follows from the end of the day before, and says so in the graph: Dagster back-fills the days in order.

    Parameters
    ----------
    declare : callable
        The fold as the settings of the moment want it; called at definition for its inputs, and by every run.
    extra : callable, optional
        Metadata of the first table for day runs only, such as a plot.
    """
    declared = declare(settings)
    inputs = {item.table: 0 for item in declared.inputs}

    @multi_asset(
        name=declared.name,
        specs=[fold_spec(table, declared, inputs) for table in declared.tables],
        backfill_policy=BY_DAY,
    )
    def step(
        context: AssetExecutionContext, lake: ResourceParam[LakeSource], settings: ResourceParam[SettingsSource]
    ) -> Iterable[MaterializeResult[None]]:
        yield from _run_fold(context, lake, settings.load(), declare, extra)

    return step


def fold_spec(table: Table, fold: Fold, inputs: Mapping[Table, int]) -> AssetSpec:
    """Specification of one table of a fold: what it is made from, itself the day before, and what is in force."""
    spec = table_spec(table, inputs=inputs)
    deps = [AssetDep(spec.key, partition_mapping=the_day_before())]
    if fold.in_force:
        deps.append(AssetDep(IN_FORCE))
    return spec.merge_attributes(deps=deps)


IN_FORCE: Final = AssetKey(["learning", "in_force"])
"""External asset: versions learned from earlier days. It closes the loop without a cycle in the graph."""


def picture_metadata(pictures: Sequence[Picture]) -> dict[str, MetadataValue]:
    """Pictures as metadata entries of a materialization."""
    return {f"picture_{picture.name}": MetadataValue.md(picture.markdown) for picture in pictures}


def days_behind(look_back: int) -> int:
    """Days before its own that a look-back reaches into; up to a minute is the same bar, not another day.

    Examples
    --------
    >>> days_behind(60_000_000), days_behind(48 * 3_600_000_000)
    (0, 2)
    """
    return 0 if look_back <= MINUTE else ceil_to(look_back, DAY) // DAY


def _run(
    context: AssetExecutionContext,
    lake_source: LakeSource,
    settings: Settings,
    declare: Callable[[Settings], Derivation],
    extra: Callable[[Lake, Settings, Days], Mapping[str, Any]] | None,
) -> MaterializeResult[None]:
    derivation = declare(settings)
    covers = coverage(context)
    try:
        lake = lake_source.open()
        lake.ensure([derivation.table, *(item.table for item in derivation.inputs)])
        if isinstance(covers, Forward):
            instruments = settings.groups[covers.group]
            work = forward(lake, derivation, covers.group, instruments, end=covers.end, run_id=context.run.run_id)
            return report(derivation.table, [work])
        done = [
            recompute_day(lake, derivation, group, instruments, day=day, run_id=context.run.run_id)
            for day in covers.days
            for group, instruments in settings.groups.items()
        ]
        return report(derivation.table, done, extra(lake, settings, covers) if extra is not None else None)
    except LakeError as error:
        # No retry here: the next tick continues from the table's own progress.
        raise Failure(description=str(error), allow_retries=False) from error


_warm: WeakKeyDictionary[Lake, WarmMachines] = WeakKeyDictionary()
"""Machines of this process' lake (tests open several)."""


def _run_fold(
    context: AssetExecutionContext,
    lake_source: LakeSource,
    settings: Settings,
    declare: Callable[[Settings], Fold],
    extra: Callable[[Lake, Settings, Days], Mapping[str, Any]] | None,
) -> Iterable[MaterializeResult[None]]:
    fold = declare(settings)
    covers = coverage(context)
    done: list[Mapping[Table, WorkDone]] = []
    pictures: Mapping[str, Any] = {}
    try:
        lake = lake_source.open()
        lake.ensure([*fold.tables, *(item.table for item in fold.inputs), *fold.in_force])
        run_id = context.run.run_id
        if isinstance(covers, Forward):
            instruments = settings.groups[covers.group]
            warm = _warm.setdefault(lake, WarmMachines())
            done = [forward_fold(lake, fold, covers.group, instruments, end=covers.end, run_id=run_id, warm=warm)]
        else:
            for day in covers.days:
                for group, instruments in settings.groups.items():
                    done.append(recompute_day_fold(lake, fold, group, instruments, day=day, run_id=run_id))
            pictures = extra(lake, settings, covers) if extra is not None else {}
    except LakeError as error:
        raise Failure(description=str(error), allow_retries=False) from error
    for table in fold.tables:
        yield report(table, [work[table] for work in done], pictures if table is fold.tables[0] else None)


def report(table: Table, done: Sequence[WorkDone], extra: Mapping[str, Any] | None = None) -> MaterializeResult[None]:
    """Metadata of a materialization: rows, windows, event-time range, lake snapshot, duration."""
    first = [work.first_event for work in done if work.first_event is not None]
    last = [work.last_event for work in done if work.last_event is not None]
    starts = [work.start for work in done if work.start is not None]
    ends = [work.end for work in done if work.end is not None]
    snapshots = [work.snapshot_id for work in done if work.snapshot_id is not None]
    metadata: dict[str, Any] = {
        "dagster/partition_row_count": sum(work.rows for work in done),
        "rows": sum(work.rows for work in done),
        "windows": sum(work.windows for work in done),
        "seconds": round(sum(work.seconds for work in done), 3),
    }
    if starts:
        metadata |= {"window_start": iso(min(starts)), "window_end": iso(max(ends))}
    if first:
        metadata |= {"first_event": iso(min(first)), "last_event": iso(max(last))}
    if snapshots:
        metadata["lake_snapshot"] = max(snapshots)
    for work in done:
        metadata |= work.details
    return MaterializeResult(asset_key=asset_key(table), metadata=metadata | dict(extra or {}))
