"""``signals live``: which folder a lane gets, and refusals."""

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from cli.live import free_folder
from tests.cli.conftest import one_error_line


def test_a_lane_gets_the_first_folder_in_which_none_runs(tmp_path: Path) -> None:
    assert free_folder(tmp_path) == tmp_path / "1"
    with (tmp_path / "1" / "live_lane.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert free_folder(tmp_path) == tmp_path / "2"
    assert free_folder(tmp_path) == tmp_path / "1"  # what it may have spilled is taken along


def test_it_needs_a_platform(signals: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SIGNAL_POSTGRES_URL", "SIGNAL_REDIS_URL", "SIGNAL_BROKER_URL", "SIGNAL_LAKE_PATH"):
        monkeypatch.delenv(name, raising=False)
    result = signals("live", "--home", str(tmp_path / "home"))
    assert f"no platform is running in {tmp_path / 'home'}" in one_error_line(result)
    assert result.exit_code == 1


def test_a_group_that_is_not_configured_is_one_line(
    signals: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("SIGNAL_POSTGRES_URL", "SIGNAL_REDIS_URL", "SIGNAL_BROKER_URL", "SIGNAL_LAKE_PATH"):
        monkeypatch.setenv(name, f"unix://{tmp_path}/nobody.sock")
    for name in ("SIGNAL_LIVE__METRICS_PORT", "SIGNAL_LIVE__HEALTH_PORT", "SIGNAL_HOME"):
        monkeypatch.setenv(name, "0" if "PORT" in name else str(tmp_path))
    result = signals("live", "--home", str(tmp_path / "home"), "--groups", "nowhere")
    assert result.exit_code == 1
    assert "live lane: no group nowhere; there are crypto" in result.stderr + capfd.readouterr().err
