"""What all measurements share: medians, the recorded data, the console.

Belongs here: nothing that knows what is measured. Does not belong here: any figure.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rich.console import Console

ROOT: Final = Path(__file__).resolve().parent.parent


def shared_data(name: str) -> Path:
    """A folder of the recorded market data: under ``SIGNAL_SHARED_DATA``, else beside the checkout; may be absent."""
    return Path(os.environ.get("SIGNAL_SHARED_DATA", ROOT.parent / "shared" / "data")) / name


def seconds_of(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def median_seconds(run: Callable[[], object], runs: int) -> float:
    """Median wall time of several calls."""
    return statistics.median(seconds_of(run) for _ in range(runs))


def console() -> Console:
    """Where results go; wide enough for our tables when it is no terminal."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=120)


def machine() -> str:
    """One line about where the figures come from: they mean little without it."""
    load = os.getloadavg()[0]
    return (
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"load {load:.1f} before the start"
    )
