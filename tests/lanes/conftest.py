"""Two markets that several modules run through: the shipped recording, and three generated days."""

from pathlib import Path

import pytest

from resources.settings import Settings
from services.simulated_venue.market_plan import FlowSettings
from services.simulated_venue.order_flow import OrderFlow
from services.simulated_venue.recording import read_recording
from tests.lanes.market_run import ONE, THREE, RawRows, ingest, settings_with


@pytest.fixture(scope="session")
def recorded(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RawRows, Settings]:
    settings = settings_with(tmp_path_factory.mktemp("recorded"), ONE)
    folder = shared_data / "binance_spot_btcusdt"
    files = [folder / "btcusdt_20240808.gz", folder / "btcusdt_20240809.gz"]
    return ingest(read_recording(files), settings.groups["crypto"], settings), settings


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> tuple[RawRows, Settings]:
    """Three days from a Friday on, the 3-cycle, gaps, late trades."""
    settings = settings_with(tmp_path_factory.mktemp("generated"), THREE)
    sparse = FlowSettings.sparse(gaps_per_day=4.0, anomalies_per_day=24.0)
    flow = OrderFlow(settings.groups["crypto"], seed=11, days=3, settings=sparse)
    return ingest(iter(flow), settings.groups["crypto"], settings), settings
