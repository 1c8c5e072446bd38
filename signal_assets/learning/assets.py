"""Regimes and learned versions as assets, and what of them is in force."""

from collections.abc import Callable

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetsDefinition,
    AssetSpec,
    Failure,
    MaterializeResult,
    ResourceParam,
    multi_asset,
)

from resources.lake import LakeError, LakeSource
from resources.settings import Settings
from signal_assets.learning.derivations import recent_performance_lesson, regime_derivation, threshold_lesson
from signal_assets.learning.learned import Lesson, learn_day
from signal_assets.materialization import (
    BY_DAY,
    IN_FORCE,
    OWNERS,
    SettingsSource,
    days_behind,
    report,
    table_spec,
    window_asset,
)
from signal_assets.partitions import Days, coverage, the_day_before


def learning_assets(settings: Settings) -> list[AssetsDefinition]:
    """``learning/regimes``, ``learning/thresholds`` and ``learning/recent_performance``."""
    return [
        window_asset(regime_derivation, settings),
        _lesson_asset(threshold_lesson, settings),
        _lesson_asset(recent_performance_lesson, settings),
    ]


def in_force_spec() -> AssetSpec:
    """What flows back. Versions learned from day D are in force from D+2 on, so there is no cycle between days."""
    return AssetSpec(
        key=IN_FORCE,
        description=(
            "Thresholds and recent performance as the signals of a day see them: versions learned from day D, kept in "
            "`learning/thresholds` and `learning/recent_performance`, are in force from D+2 00:00 UTC on. And the "
            "labels that people give to alarms, kept in `anomalies.labels`, in force from the midnight they name on."
        ),
        group_name="learning",
        owners=OWNERS,
        kinds={"duckdb"},
        tags={"signals/table_kind": "as-of"},
    )


def _lesson_asset(declare: Callable[[Settings], Lesson], settings: Settings) -> AssetsDefinition:
    declared = declare(settings)
    inputs = {item.table: days_behind(item.look_back) for item in declared.inputs}
    spec = table_spec(declared.table, inputs=inputs, lane="learning")
    before = AssetDep(spec.key, partition_mapping=the_day_before())

    @multi_asset(
        name=f"learning_{declared.table.short_name}",
        specs=[spec.merge_attributes(deps=[before])],
        backfill_policy=BY_DAY,
    )
    def learn(
        context: AssetExecutionContext, lake: ResourceParam[LakeSource], settings: ResourceParam[SettingsSource]
    ) -> MaterializeResult[None]:
        current = settings.load()
        lesson = declare(current)
        covers = coverage(context)
        if not isinstance(covers, Days):
            raise Failure(description=f"{lesson.table.name} is learned from whole days only", allow_retries=False)
        try:
            opened = lake.open()
            opened.ensure([lesson.table, *(item.table for item in lesson.inputs)])
            done = [
                learn_day(opened, lesson, group, instruments, day=day, run_id=context.run.run_id)
                for day in covers.days
                for group, instruments in current.groups.items()
            ]
        except LakeError as error:
            raise Failure(description=str(error), allow_retries=False) from error
        return report(lesson.table, done)

    return learn
