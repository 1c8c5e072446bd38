"""Replay: a recording, served to the same ingest path, in a home of its own.

Belongs here: venue, live lane and Dagster runs of one replay, from start to end. Does not belong here: printing, and
anything a live platform would do differently – there is nothing of that kind.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import yaml

from resources.duck_lake import DuckLake
from resources.settings import Settings, load_settings, settings_path
from services.in_process_runs import InProcessRuns
from services.live_lane.lane import END_FILE
from services.platform.environment import exports
from services.platform.platform import Platform
from services.process_environment import process_environment
from services.recorded_instruments import describe_instruments
from services.simulated_venue.recording import examine_recording, read_recording, truth_path
from services.summary import Planted, Summary, summarize
from signal_assets.event_time import iso
from signal_assets.market.tables import FEATURES, FEED_GAPS

PURPOSE_FILE: Final = "purpose.json"
SETTINGS_FILE: Final = "replay.yaml"
VENUE: Final = "BINANCE"
POLL_SECONDS: Final = 0.2


class ReplayError(RuntimeError):
    """A replay cannot run; one line says why."""


@dataclass(frozen=True)
class ReplayResult:
    """What a replay left in its home."""

    summary: Summary
    days: Sequence[date]
    sequence_gaps: int
    crossed_books: int
    books: Mapping[str, Mapping[str, Any]]
    seconds: float


def claim_home(home: Path, purpose: str) -> None:
    """Mark a home as live or as a replay's; a home never changes its purpose.

    Raises
    ------
    ReplayError
        If it has the other one.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    marker = home / PURPOSE_FILE
    try:
        found = json.loads(marker.read_text("utf-8"))["purpose"]
    except FileNotFoundError:
        if (home / "lake").exists() and purpose == "replay":
            raise ReplayError(f"{home} holds live data: a replay needs a home of its own (--home)") from None
        marker.write_text(json.dumps({"purpose": purpose}) + "\n", "utf-8")
        return
    except (ValueError, KeyError):
        raise ReplayError(f"{marker} cannot be read: it should say what this home is for") from None
    if found != purpose:
        raise ReplayError(f"{home} holds {found} data: a {purpose} needs a home of its own (--home)")


def run_replay(
    home: Path,
    paths: Sequence[Path],
    *,
    speed: str = "max",
    instrument: str | None = None,
    snapshot_interval_seconds: int | None = None,
    report: Callable[[str], None] = print,
) -> ReplayResult:
    """Serve ``paths`` to the live lane, take everything in, recompute the days, and say what came out.

    Parameters
    ----------
    speed : str
        ``max``, or market seconds per second.
    instrument : str, optional
        Only this one of the recording, ``SYMBOL`` or ``SYMBOL.VENUE``.
    snapshot_interval_seconds : int, optional
        Grid of the depth snapshots; default: the configuration's.

    Raises
    ------
    ReplayError
        If the home holds live data or the instrument is not in the recording.
    RecordingError
        If a recording cannot be read.
    """
    began = time.perf_counter()
    home = home.expanduser().absolute()
    claim_home(home, "replay")
    examined = examine_recording(paths)
    report(f"{examined.messages:,} messages of {', '.join(examined.symbols)}")
    settings_file = _write_settings(home, paths, instrument, snapshot_interval_seconds)
    with process_environment({"SIGNAL_CONFIG": str(settings_file), "SIGNAL_HOME": str(home)}):
        settings = load_settings()
        venue = ["--recording", *(str(path) for path in paths), "--speed", speed]
        venue += ["--subscribers", str(len(settings.groups))]  # each group has a connection of its own
        platform = Platform(
            home,
            settings,
            with_ui=False,
            with_workers=False,
            with_daemon=False,
            venue=venue,
            extra_environment={"SIGNAL_VENUE__VIRTUAL_CLOCK": "true"},
            commands={"live_lane": [sys.executable, "-m", "services.live_lane", "--exit-at-end"]},
            report=lambda line: None,
        )
        with platform, process_environment(exports(platform.addresses)), InProcessRuns() as runs:
            _take_in(platform, runs, report)
            days = _days(runs.lake)
            for day in days:
                report(f"recomputing {day}")
                runs.day(day)
            return _result(home, runs.lake, settings, paths, days, time.perf_counter() - began)


def _write_settings(home: Path, paths: Sequence[Path], instrument: str | None, snapshot_interval: int | None) -> Path:
    """The configuration with the recording's instruments in place of its own; what the file knows of them stays."""
    content = yaml.safe_load(settings_path().read_text("utf-8"))
    known = {entry["symbol"]: entry for entry in content["instruments"] if entry["venue"] == VENUE}
    entries = [known.get(entry["symbol"], entry) for entry in describe_instruments(read_recording(paths), VENUE)]
    if instrument is not None:
        symbol = instrument.partition(".")[0]
        kept = [entry for entry in entries if entry["symbol"] == symbol]
        if not kept:
            recorded = ", ".join(entry["symbol"] for entry in entries)
            raise ReplayError(f"{instrument} is not in the recording; it has {recorded}")
        entries = kept
    content["instruments"] = entries
    content["live"] = {**content.get("live", {}), "metrics_port": 0, "health_port": 0}
    if snapshot_interval is not None:
        content["snapshot_interval_seconds"] = snapshot_interval
    path = home / SETTINGS_FILE
    path.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    return path


def _take_in(platform: Platform, runs: InProcessRuns, report: Callable[[str], None]) -> None:
    """Runs while the live lane reads, and until nothing is new behind its end."""
    while True:
        over = any(child.name == "live_lane" and child.state == "finished" for child in platform.children())
        done = runs.forward()
        if done is not None:
            report(f"{done.job}: computed up to {iso(done.end)}")
        elif over:
            return
        elif platform.wait(POLL_SECONDS):
            raise ReplayError("stopped before the recording's end; the same command continues")


def _days(lake: DuckLake) -> list[date]:
    rows = lake.query(f"SELECT DISTINCT day FROM lake.{FEATURES.name} ORDER BY day")  # noqa: S608
    return [row[0] for row in rows]


def _result(
    home: Path, lake: DuckLake, settings: Settings, paths: Sequence[Path], days: Sequence[date], seconds: float
) -> ReplayResult:
    gaps = lake.read(FEED_GAPS)
    rows = lake.read(FEATURES, columns=["best_bid", "best_ask"])
    books = json.loads((home / END_FILE).read_text("utf-8"))
    return ReplayResult(
        summary=summarize(lake, settings, Planted.read(truth_path(path) for path in paths)),
        days=days,
        sequence_gaps=int((gaps["reason"] == "sequence").sum()),
        crossed_books=int((rows["best_bid"] >= rows["best_ask"]).sum()),
        books=books,
        seconds=seconds,
    )
