"""A tiny code location for the tests of the platform: one asset, one job, one sensor that asks for runs by file.

The sensor looks into ``TINY_FOLDER``: every file ``<name>.wanted`` makes a run of the job whose tags and config it
holds as JSON.
"""

import json
import os
import time
from pathlib import Path

import dagster

from resources.run_queues import QUEUE_TAG, TACTICAL


def folder() -> Path:
    return Path(os.environ["TINY_FOLDER"])


class TinyConfig(dagster.Config):
    name: str = "unnamed"
    seconds: float = 0.0


@dagster.asset
def tiny(context: dagster.AssetExecutionContext, config: TinyConfig) -> dagster.MaterializeResult[None]:
    """Write who ran it and when, then stay for a while."""
    note = folder() / f"{config.name}.started"
    note.write_text(json.dumps({"pid": os.getpid(), "parent": os.getppid(), "time": time.time()}))
    print(f"tiny works on {config.name}", flush=True)
    end = time.monotonic() + config.seconds
    while time.monotonic() < end:
        time.sleep(0.05)
    return dagster.MaterializeResult(metadata={"pid": os.getpid()})


tiny_job = dagster.define_asset_job("tiny_job", selection=[tiny], executor_def=dagster.in_process_executor)


@dagster.sensor(job=tiny_job, minimum_interval_seconds=1, default_status=dagster.DefaultSensorStatus.RUNNING)
def wishes(context: dagster.SensorEvaluationContext) -> dagster.SensorResult:
    requests = []
    for path in sorted(folder().glob("*.wanted")):
        wish = json.loads(path.read_text())
        requests.append(
            dagster.RunRequest(
                run_key=path.stem,
                run_config={"ops": {"tiny": {"config": {"name": path.stem, "seconds": wish.get("seconds", 0.0)}}}},
                tags={QUEUE_TAG: wish.get("queue", TACTICAL), "wish": path.stem},
            )
        )
    return dagster.SensorResult(run_requests=requests)


definitions = dagster.Definitions(
    assets=[tiny], jobs=[tiny_job], sensors=[wishes], executor=dagster.in_process_executor
)
