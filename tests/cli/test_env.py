"""``signals env`` and the commands that need a running platform when there is none."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from resources.addresses import Addresses
from tests.cli.conftest import one_error_line


def test_env_prints_exports_a_shell_can_take(signals: Callable[..., Result], tmp_path: Path) -> None:
    home = tmp_path / "my home"
    Addresses("postgresql+psycopg2://u@/db?host=/s", "unix:///r.sock", "redis+socket:///r.sock", "/lake", home).write()
    result = signals("env", "--home", str(home))
    assert result.exit_code == 0
    exported = {}
    for line in result.stdout.splitlines():
        export, assignment = shlex.split(line)
        assert export == "export"
        name, _, value = assignment.partition("=")
        exported[name] = value
    assert exported["SIGNAL_HOME"] == str(home)
    assert exported["SIGNAL_POSTGRES_URL"] == "postgresql+psycopg2://u@/db?host=/s"
    assert Path(exported["DAGSTER_HOME"], "dagster.yaml").is_file()


@pytest.mark.parametrize(
    "words", [["env"], ["sql", "SELECT 1"], ["backfill", "--from", "2024-08-08", "--to", "2024-08-08"]]
)
def test_without_a_platform_it_says_how_to_start_one(
    signals: Callable[..., Result], tmp_path: Path, words: list[str]
) -> None:
    result = signals(*words, "--home", str(tmp_path / "empty"))
    assert f"no platform is running in {tmp_path / 'empty'}: start one with `signals up`" in one_error_line(result)
