"""doctor, env, sql and backfill against a running platform, on the simulated venue around a midnight."""

import json
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import Result

from cli.main import OUR_PACKAGES
from resources.settings import load_settings
from services.platform.platform import Platform

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MARKET = ["--seed", "3", "--start", "2025-01-03T23:57:30", "--speed", "10", "--sparse", "--days", "0.02"]
PATIENCE = 120.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("platform") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGNAL_CONFIG", str(ROOT / "config" / "signals.yaml"))
        patch.setenv("SIGNAL_LIVE__METRICS_PORT", "0")
        patch.setenv("SIGNAL_LIVE__HEALTH_PORT", "0")
        patch.setenv("SIGNAL_SENSOR_INTERVAL_SECONDS", "1")
        variables = {"SIGNAL_VENUE__VIRTUAL_CLOCK": "true", "PYTHONPATH": str(ROOT)}
        platform = Platform(
            folder, load_settings(), with_ui=False, venue=MARKET, extra_environment=variables, report=lambda line: None
        )
        with platform:
            yield folder


def ask(signals: Callable[..., Result], home: Path, query: str) -> list[dict[str, object]]:
    result = signals("sql", query, "--format", "json", "--home", str(home))
    return list(json.loads(result.stdout)) if result.exit_code == 0 else []


def test_a_day_is_taken_in_asked_about_and_recomputed(
    signals: Callable[..., Result], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNAL_VENUE__VIRTUAL_CLOCK", "true")
    monkeypatch.setenv("SIGNAL_CONFIG", str(ROOT / "config" / "signals.yaml"))

    too_early = signals("backfill", "--from", "2025-01-04", "--to", "2025-01-04", "--home", str(home))
    assert too_early.exit_code == 1
    assert "Error: 2025-01-04 is not over in the data: crypto is complete up to " in too_early.stderr

    until = time.monotonic() + PATIENCE
    query = "SELECT min(progress) > '2025-01-04 00:00:05Z' AS past FROM platform.progress HAVING count(*) >= 9"
    while ask(signals, home, query) != [{"past": True}] and time.monotonic() < until:
        time.sleep(1)

    doctor = signals("doctor", "--home", str(home))
    assert [line for line in doctor.stdout.splitlines() if not line.startswith("ok ")] == []
    assert doctor.exit_code == 0
    names = [line.split()[1] for line in doctor.stdout.splitlines()]
    assert names == [
        *("configuration", "platform", "postgres", "redis", "broker", "lake", "processes", "disk", "clock", "exchange")
    ]

    exports = dict(
        shlex.split(line)[1].split("=", 1) for line in signals("env", "--home", str(home)).stdout.splitlines()
    )
    assert exports["DAGSTER_HOME"] == str(home / "dagster")

    rows = "SELECT * EXCLUDE (day) FROM levels.value_area WHERE time <= '2025-01-04 00:00:00Z' ORDER BY ALL"
    before = ask(signals, home, rows)
    snapshots = "SELECT count(*) AS n FROM lake.snapshots() WHERE author = 'levels/value_area'"
    (written,) = ask(signals, home, snapshots)
    result = signals(
        "backfill", "--from", "2025-01-03", "--to", "2025-01-03", "--assets", "levels", "--home", str(home)
    )
    assert result.stderr.strip() == ""
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "done")
    (head,) = [line for line in result.stdout.splitlines() if line.startswith("back-fill ")]
    assert set(head.partition(": ")[2].split(", ")) == {
        *("1 day", "levels/wave_peaks", "levels/price_zones", "levels/value_area", "levels/level_outcomes")
    }
    (again,) = ask(signals, home, snapshots)
    assert int(str(again["n"])) > int(str(written["n"]))
    assert len(before) > 5
    assert ask(signals, home, rows) == before


def test_backfill_refuses_an_unknown_asset(signals: Callable[..., Result], home: Path) -> None:
    words = ["backfill", "--from", "2025-01-03", "--to", "2025-01-03", "--assets", "levels/none", "--home", str(home)]
    result = signals(*words)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: --assets levels/none: there are ")
    assert "aggregates/dollar_depth, " in result.stderr


def test_our_packages_are_the_ones_there_are() -> None:
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"} == OUR_PACKAGES
