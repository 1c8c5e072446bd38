"""The whole code location on one page.

Belongs here: which assets, checks, jobs, sensors, schedules and resources there are. Does not belong here: what any of
them does.
"""

import threading
import warnings
from collections.abc import Mapping
from typing import Any

import structlog
from dagster import Definitions, in_process_executor

from jobs.asset_jobs import LEARNING_STAGE, STRATEGIC_STAGE, asset_jobs, system_job
from jobs.maintenance import maintenance_job
from resources.dagster_resources import KeysResource, LakeResource, SettingsResource, StreamsResource
from resources.failure_log import RedisFailureLog
from resources.lake import LakeError
from sensors.failure_sensor import failure_sensor
from sensors.schedules import day_close_schedule, learning_schedule, maintenance_schedule
from sensors.stream_sensor import strategic_sensor, stream_sensor, system_sensor
from signal_assets.aggregates.assets import aggregate_assets
from signal_assets.aggregates.checks import aggregate_checks
from signal_assets.anomalies.assets import anomaly_assets
from signal_assets.anomalies.system_assets import SYSTEM_ASSETS, system_assets
from signal_assets.anomalies.tables import SYSTEM_SAMPLES
from signal_assets.canvas import Canvas
from signal_assets.derivation import asset_name
from signal_assets.execution.assets import execution_assets
from signal_assets.learning.assets import in_force_spec, learning_assets
from signal_assets.levels.assets import level_assets
from signal_assets.market.assets import feed_specs, raw_assets
from signal_assets.market.checks import market_checks
from signal_assets.performance.assets import performance_assets
from signal_assets.performance.checks import performance_checks
from signal_assets.signals.assets import signal_stage_assets
from signal_assets.signals.checks import signal_checks
from signal_assets.stage_tables import TABLES
from signal_assets.strategies.assets import strategy_assets
from signal_assets.table_checks import schema_check

log = structlog.get_logger(__name__)

# Window tables take any range of days at once and folds a day at a time; a job that holds both goes by the day.
warnings.filterwarnings("ignore", message="Asset job .* materializes assets with varying BackfillPolicies")


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> Definitions:
    """Assemble the code location.

    Parameters
    ----------
    resource_overrides : mapping, optional
        Resources to use instead of the real ones: ``lake``, ``streams``, ``settings``, ``keys``, ``failures``.
    """
    resources: dict[str, Any] = {
        "lake": LakeResource(),
        "streams": StreamsResource(),
        "settings": SettingsResource(),
        "keys": KeysResource(),
        "failures": RedisFailureLog(),
    } | dict(resource_overrides or {})
    settings = resources["settings"].load()
    assets = [
        *raw_assets(settings),
        *aggregate_assets(settings),
        *level_assets(settings),
        *anomaly_assets(settings),
        *strategy_assets(settings),
        *signal_stage_assets(settings),
        *execution_assets(settings),
        *performance_assets(settings),
        *learning_assets(settings),
    ]
    system = system_assets()
    strategic = [asset_name(table) for table in TABLES if table.stage == STRATEGIC_STAGE]
    learned = [asset_name(table) for table in TABLES if table.stage == LEARNING_STAGE]
    tactical = [name for table in TABLES if (name := asset_name(table)) not in (*strategic, *learned)]
    checks = [*market_checks(), *aggregate_checks(), *signal_checks(), *performance_checks()]
    return Definitions(
        assets=[*feed_specs(settings), in_force_spec(), *assets, *system],
        asset_checks=[*(schema_check(table) for table in (*TABLES, SYSTEM_SAMPLES)), *checks],
        jobs=[*asset_jobs(assets), system_job(system), maintenance_job()],
        sensors=[
            stream_sensor(tactical, settings.sensor_interval_seconds),
            strategic_sensor(tactical, strategic, settings.strategic_interval_seconds),
            system_sensor(SYSTEM_ASSETS),
            failure_sensor(),
        ],
        schedules=[day_close_schedule(), learning_schedule(strategic, learned), maintenance_schedule()],
        resources=resources,
        executor=in_process_executor,
    )


def warm_up() -> threading.Thread:
    """Let a worker's process pay, while it waits for its first run, for what that run would wait for."""
    thread = threading.Thread(target=_open_what_runs_need, name="warm-up", daemon=True)
    thread.start()
    return thread


def _open_what_runs_need() -> None:
    Canvas("nothing yet")
    try:
        LakeResource().open().ensure(TABLES)
    except LakeError as error:
        log.warning("warm_up", error=str(error))  # the run itself will say so again, and try again


definitions = build_defs()
