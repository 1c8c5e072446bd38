"""The whole code location on one page.

Belongs here: which assets, checks, jobs, sensors, schedules and resources there are. Does not belong here: what any of
them does.
"""

from collections.abc import Mapping
from typing import Any

from dagster import Definitions, in_process_executor

from jobs.asset_jobs import asset_jobs
from jobs.maintenance import maintenance_job
from resources.dagster_resources import LakeResource, SettingsResource, StreamsResource
from resources.failure_log import RedisFailureLog
from sensors.failure_sensor import failure_sensor
from sensors.schedules import day_close_schedule, maintenance_schedule
from sensors.stream_sensor import stream_sensor
from signal_assets.aggregates.assets import aggregate_assets
from signal_assets.aggregates.checks import aggregate_checks
from signal_assets.aggregates.tables import TABLES as AGGREGATE_TABLES
from signal_assets.levels.assets import level_assets
from signal_assets.levels.tables import TABLES as LEVEL_TABLES
from signal_assets.market.assets import feed_specs, raw_assets
from signal_assets.market.checks import market_checks
from signal_assets.market.tables import TABLES as MARKET_TABLES
from signal_assets.table_checks import schema_check

TABLES = (*MARKET_TABLES, *AGGREGATE_TABLES, *LEVEL_TABLES)
"""Every table of the lake, in the order in which data flows."""


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> Definitions:
    """Assemble the code location.

    Parameters
    ----------
    resource_overrides : mapping, optional
        Resources to use instead of the real ones: ``lake``, ``streams``, ``settings``, ``failures``.
    """
    resources: dict[str, Any] = {
        "lake": LakeResource(),
        "streams": StreamsResource(),
        "settings": SettingsResource(),
        "failures": RedisFailureLog(),
    } | dict(resource_overrides or {})
    settings = resources["settings"].load()
    assets = [*raw_assets(settings), *aggregate_assets(settings), *level_assets(settings)]
    tactical = ["/".join(key.path) for asset in assets for key in asset.keys]
    return Definitions(
        assets=[*feed_specs(settings), *assets],
        asset_checks=[*(schema_check(table) for table in TABLES), *market_checks(), *aggregate_checks()],
        jobs=[*asset_jobs(assets), maintenance_job()],
        sensors=[stream_sensor(tactical, settings.sensor_interval_seconds), failure_sensor()],
        schedules=[day_close_schedule(), maintenance_schedule()],
        resources=resources,
        executor=in_process_executor,
    )


definitions = build_defs()
