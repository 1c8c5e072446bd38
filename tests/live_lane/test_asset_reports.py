import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster_webserver.app import create_app_from_workspace_process_context

from services.live_lane.asset_reports import AssetReports
from services.live_lane.measurements import Measurements
from services.live_lane.venue_lane import LaneSettings
from signal_assets.market.assets import feed_key


class Lane:
    """What a report asks of a lane."""

    settings = LaneSettings("BINANCE", virtual_clock=False, lateness=500_000, dead_feed_seconds=10, depth_limit=5000)
    instruments = ("AAAUSD.BINANCE", "BBBUSD.BINANCE")
    state = "running"
    lag_seconds = 0.25
    latency_seconds: float | None = 0.125

    def instrument_state(self, instrument: str) -> dict[str, Any]:
        return {"synced": instrument.startswith("A"), "sequence_gaps": 2, "late_trades": 3, "levels": 40, "clock": None}


async def report(url: str, measurements: Measurements) -> None:
    reports = AssetReports(url, lambda: [Lane()], measurements, interval=0.05)  # type: ignore[list-item]
    task = asyncio.create_task(reports.run())
    while not (measurements.reports or measurements.report_failures):
        await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def webserver(tmp_path: Path) -> Iterator[tuple[str, DagsterInstance]]:
    with (
        DagsterInstance.local_temp(str(tmp_path)) as instance,
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context,
    ):
        application = create_app_from_workspace_process_context(context)
        server = uvicorn.Server(uvicorn.Config(application, host="127.0.0.1", port=0, log_level="error"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", instance
        server.should_exit = True
        thread.join()


async def test_dagster_shows_the_feed_as_an_observation(webserver: tuple[str, DagsterInstance]) -> None:
    url, instance = webserver
    measurements = Measurements(messages=0)
    await report(url + "/", measurements)
    assert measurements.report_failures == 0
    record = instance.fetch_observations(feed_key("BINANCE"), limit=1).records[0]
    assert record.asset_observation is not None
    values: dict[str, Any] = {name: value.value for name, value in record.asset_observation.metadata.items()}
    assert values["lag_seconds"] == 0.25
    assert values["latency_seconds"] == 0.125
    assert values["books_in_sync"] == 1
    assert values["sequence_gaps"] == 4
    assert values["late_trades"] == 6
    assert values["instruments"]["BBBUSD.BINANCE"]["levels"] == 40


async def test_no_dagster_is_counted_and_in_nobodys_way() -> None:
    measurements = Measurements()
    await report("http://127.0.0.1:9", measurements)
    assert measurements.report_failures == 1
    assert measurements.reports == 0
