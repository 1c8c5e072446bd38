"""``signals config``."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import Result

from tests.cli.conftest import one_error_line

SHIPPED = Path(__file__).parents[2] / "config" / "signals.yaml"


def test_show_is_a_configuration_that_says_the_same(
    signals: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNAL_LIVE__BATCH", "7")
    shown = signals("config", "show", "--config", str(SHIPPED))
    assert shown.exit_code == 0
    content = yaml.safe_load(shown.stdout)
    assert content["live"]["batch"] == 7
    assert content["instruments"][0]["tick_size"] == "0.01"
    copy = tmp_path / "copy.yaml"
    copy.write_text(shown.stdout)
    monkeypatch.delenv("SIGNAL_LIVE__BATCH")
    again = signals("config", "show", "--config", str(copy))
    assert yaml.safe_load(again.stdout) == content


def test_check_counts_the_instruments(signals: Callable[..., Result]) -> None:
    result = signals("config", "check", str(SHIPPED))
    assert (result.exit_code, result.stdout) == (0, f"{SHIPPED}: valid, 5 instruments in 1 group\n")


def test_check_refuses_with_file_and_field(signals: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(SHIPPED.read_text().replace('lot_size: "0.00001"', 'lot_size: "none"'))
    result = signals("config", "check", str(path))
    assert f"{path}: instruments[0].lot_size: not a plain decimal number" in one_error_line(result)


@pytest.mark.parametrize("command", [["config", "show"], ["doctor"], ["up"], ["demo"]])
def test_an_unreadable_configuration_is_refused(
    signals: Callable[..., Result], tmp_path: Path, command: list[str]
) -> None:
    if command == ["doctor"]:  # goes on to its other checks
        result = signals("doctor", "--config", str(tmp_path / "absent.yaml"), "--home", str(tmp_path / "home"))
        assert result.exit_code == 1
        assert "FAILED configuration  " in result.stdout
        return
    result = signals(*command, "--config", str(tmp_path / "absent.yaml"))
    assert "absent.yaml: cannot be read: no such file" in one_error_line(result)


def test_the_schema_knows_the_fields(signals: Callable[..., Result]) -> None:
    schema = json.loads(signals("config", "schema").stdout)
    assert "instruments" in schema["required"]
    assert schema["properties"]["grid_milliseconds"]["default"] == 1000
    assert schema["$defs"]["InstrumentSettings"]["properties"]["tick_size"]["type"] == "string"
