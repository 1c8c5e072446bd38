"""Settings as runs find them."""

import os
from pathlib import Path

import pytest

from resources import dagster_resources
from resources.dagster_resources import SettingsResource
from resources.settings import SettingsError, load_settings

ONE = "instruments:\n  - {symbol: BTCFDUSD, venue: BINANCE, pair: BTC/FDUSD, tick_size: '0.01', lot_size: '0.00001'}\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "signals.yaml"
    path.write_text(ONE)
    monkeypatch.setenv("SIGNAL_CONFIG", str(path))
    return path


def test_a_changed_file_is_in_force_at_the_next_look(file: Path) -> None:
    assert SettingsResource().load() == load_settings(file)
    file.write_text(ONE + "grid_milliseconds: 500\n")
    assert SettingsResource().load().grid_milliseconds == 500


def test_so_is_a_changed_variable(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SettingsResource().load().grid_milliseconds == 1_000
    monkeypatch.setenv("SIGNAL_GRID_MILLISECONDS", "200")
    assert SettingsResource().load().grid_milliseconds == 200


def test_an_unchanged_file_is_read_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = SettingsResource().load()
    monkeypatch.setattr(dagster_resources, "load_settings", None)
    assert SettingsResource().load() is first


def test_a_file_that_became_wrong_or_went_away_is_an_error(file: Path) -> None:
    SettingsResource().load()
    file.write_text("instruments: []\n")
    with pytest.raises(SettingsError, match="instruments"):
        SettingsResource().load()
    os.unlink(file)
    with pytest.raises(SettingsError, match="cannot be read"):
        SettingsResource().load()
