"""Help of every command, and refusals in one line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import main as cli_main
from resources.settings import SettingsError
from tests.cli.conftest import one_error_line

COMMANDS = ["demo", "up", "live", "env", "replay", "simulate", "sql", "backfill", "worker", "doctor", "label"]
CONFIG_COMMANDS = ["show", "check", "schema"]


@pytest.mark.parametrize(
    "words", [[], *([name] for name in COMMANDS), ["config"], *(["config", name] for name in CONFIG_COMMANDS)]
)
def test_every_command_has_help_with_an_example(signals: Callable[..., Result], words: list[str]) -> None:
    result = signals(*words, "--help")
    assert result.exit_code == 0
    assert "Example: " in result.stdout
    assert f"signals {' '.join(words)}".strip() in result.stdout


def test_the_help_lists_every_command(signals: Callable[..., Result]) -> None:
    listed = signals("--help").stdout
    assert [name for name in [*COMMANDS, "config"] if f"  {name} " not in listed] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--verbos"], "No such option: --verbos"),
        (["relpay"], "No such command 'relpay'"),
        (["replay"], "Missing argument 'paths'"),
        (["replay", "x.gz", "--sped", "2"], "No such option: --sped"),
        (["up", "--port", "many"], "--port': Input should be a valid integer"),
        (["up", "--port", "70000"], "--port': Input should be less than or equal to 65535"),
        (["simulate"], "Missing option '--out'"),
        (["config", "chek"], "No such command 'chek'"),
        (["config", "show", "extra"], "unexpected extra argument"),
        (["label", "83dec6bf", "perhaps"], "'perhaps' is not one of 'true', 'false'"),
        (["sql", "SELECT 1", "--format", "xml"], "'xml' is not one of"),
    ],
)
def test_words_that_mean_nothing_are_refused_in_one_line(
    signals: Callable[..., Result], words: list[str], message: str
) -> None:
    result = signals(*words)
    assert message in one_error_line(result)
    assert result.exit_code == 2


def test_our_own_errors_are_one_line_and_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise SettingsError("config.yaml: grid:\n  is odd")

    monkeypatch.setattr("resources.settings.load_settings", refuse)
    result = CliRunner().invoke(cli_main.app, ["config", "show"])
    assert one_error_line(result) == "Error: config.yaml: grid: is odd\n"
    assert result.exit_code == 1


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("resources.settings.load_settings", break_down)
    result = CliRunner().invoke(cli_main.app, ["config", "show"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("resources.settings.load_settings", interrupt)
    result = CliRunner().invoke(cli_main.app, ["config", "show"])
    assert result.exit_code == 130


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom cli.main import app\n"
        "assert CliRunner().invoke(app, ['demo', '--help']).exit_code == 0\n"
        "print(sorted({'dagster', 'duckdb', 'pandas', 'numpy', 'aiohttp', 'redis', 'celery'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_python_m_cli_is_the_command() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-m", "cli", "--nothing"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: No such option: --nothing")
