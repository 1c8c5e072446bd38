"""Options that cannot be meant, of the commands that start something: refused before anything starts."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tests.cli.conftest import one_error_line


@pytest.mark.parametrize("speed", ["fast", "0", "-3", "inf", "nan"])
def test_replay_refuses_a_speed(signals: Callable[..., Result], speed: str) -> None:
    assert f"--speed {speed}: give market seconds per second" in one_error_line(
        signals("replay", "x.gz", f"--speed={speed}")
    )


def test_replay_refuses_an_absent_file(signals: Callable[..., Result], tmp_path: Path) -> None:
    result = signals("replay", str(tmp_path / "absent.gz"))
    assert "absent.gz: there is no such file" in one_error_line(result)
    assert not (tmp_path / ".signal").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"1723161255208000000 {}\n", "gzip"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (gzip.compress(b"1723161255208000000 {\n", mtime=0), "line 1: not JSON"),
        (gzip.compress(b"yesterday {}\n", mtime=0), "line 1: does not begin with a receive time"),
        (gzip.compress(b"".join(b"%d {}" % n for n in range(9_999)), mtime=0)[:-40], "recording.gz"),
    ],
)
def test_replay_refuses_a_bad_recording(
    signals: Callable[..., Result], tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "recording.gz"
    path.write_bytes(content)
    result = signals("replay", str(path), "--home", str(tmp_path / "home"))
    assert message in one_error_line(result)
    assert str(path) in result.stderr


def test_replay_refuses_a_home_with_live_data(signals: Callable[..., Result], tmp_path: Path) -> None:
    home = tmp_path / "live"
    home.mkdir()
    (home / "purpose.json").write_text(json.dumps({"purpose": "live"}))
    path = tmp_path / "recording.gz"
    path.write_bytes(gzip.compress(b"", mtime=0))
    assert f"{home} holds live data" in one_error_line(signals("replay", str(path), "--home", str(home)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--days", "0"], "--days 0: give more than 0"),
        (["--days", "1e9"], "--days 1e+09: give more than 0 and at most 366"),
        (["--start", "friday"], "--start friday: a day is written like 2024-08-08"),
        (["--instrument", "XRP"], "--instrument XRP: the configuration has BTCFDUSD, "),
        (["--gaps-per-day", "-1"], "greater than or equal to 0"),
    ],
)
def test_simulate_refuses(signals: Callable[..., Result], tmp_path: Path, words: list[str], message: str) -> None:
    out = tmp_path / "market.gz"
    assert message in one_error_line(signals("simulate", "--out", str(out), *words))
    assert not out.exists()


def test_simulate_overwrites_only_by_force(signals: Callable[..., Result], tmp_path: Path) -> None:
    out = tmp_path / "market.gz"
    out.write_bytes(b"mine")
    words = ["simulate", "--out", str(out), "--days", "0.002", "--sparse", "--instrument", "BTCFDUSD"]
    assert "is there already" in one_error_line(signals(*words))
    assert out.read_bytes() == b"mine"
    assert signals(*words, "--force").exit_code == 0
    with gzip.open(out) as lines:
        assert json.loads(next(lines).split(b" ", 1)[1])["stream"].startswith("btcfdusd@")


def test_simulate_writes_the_same_bytes_for_the_same_seed(signals: Callable[..., Result], tmp_path: Path) -> None:
    for name, seed in (("a.gz", "3"), ("b.gz", "3"), ("c.gz", "4")):
        result = signals("simulate", "--out", name, "--days", "0.002", "--sparse", "--seed", seed)
        assert result.exit_code == 0
        assert json.loads(Path(f"{name}.truth.json").read_text())
    assert Path("a.gz").read_bytes() == Path("b.gz").read_bytes()
    assert Path("a.gz").read_bytes() != Path("c.gz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{x}.gz{end}" for x in "abc" for end in ("", ".truth.json")
    )


def test_simulate_into_no_folder(signals: Callable[..., Result], tmp_path: Path) -> None:
    assert "is no folder" in one_error_line(signals("simulate", "--out", str(tmp_path / "no" / "x.gz")))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "8.8.24", "--to", "2024-08-08"], "--from 8.8.24: a day is written like 2024-08-08"),
        (["--from", "2024-08-09", "--to", "2024-08-08"], "--to 2024-08-08 lies before --from 2024-08-09"),
        (["--from", "2024-08-09"], "Missing option '--to'"),
    ],
)
def test_backfill_refuses(signals: Callable[..., Result], words: list[str], message: str) -> None:
    assert message in one_error_line(signals("backfill", *words))


def test_demo_refuses_a_page_in_no_folder(signals: Callable[..., Result], tmp_path: Path) -> None:
    assert "is no folder" in one_error_line(signals("demo", "--report", str(tmp_path / "no" / "report.html")))


def test_demo_empties_no_folder_but_its_own(signals: Callable[..., Result], tmp_path: Path) -> None:
    home = tmp_path / "mine"
    home.mkdir()
    (home / "letter.txt").write_text("keep")
    assert "holds something else than a demo" in one_error_line(signals("demo", "--home", str(home)))
    assert (home / "letter.txt").read_text() == "keep"
