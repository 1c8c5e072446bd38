"""A fault: which process dies where, once.

Belongs here: the words that ``injected/sitecustomize`` understands, and what it left behind. Does not belong here: the
dying.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

INJECTED = Path(__file__).parent / "injected"
ROOT = Path(__file__).parents[2]

Moment = Literal["before", "after"]


@dataclass(frozen=True)
class Death:
    """When a process died (µs UTC), and up to which event time its last write had come, or would have."""

    time: int
    reached: int
    pid: int


@dataclass(frozen=True)
class Fault:
    """``kill -9`` right before or after the first write that reaches the event time ``at``."""

    process: str
    """A word of its command line."""
    module: str
    """Where what it writes with is defined."""
    moment: Moment
    at: int
    marker: Path
    asset: str = ""
    """Of which asset the commit is meant."""

    def environment(self) -> dict[str, str]:
        """Variables for all processes of the platform."""
        words = {
            "process": self.process,
            "module": self.module,
            "moment": self.moment,
            "at": self.at,
            "marker": str(self.marker),
            "asset": self.asset,
        }
        path = [str(INJECTED), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"SIGNAL_TEST_FAULT": json.dumps(words), "PYTHONPATH": os.pathsep.join(path)}

    def death(self) -> Death | None:
        """What became of it; None while the process lives."""
        try:
            return Death(**json.loads(self.marker.read_text("utf-8")))
        except FileNotFoundError:
            return None


def kill_live_lane(moment: Moment, at: int, marker: Path) -> Fault:
    """Around the ``MULTI``/``EXEC`` with which a batch goes to the Redis streams."""
    return Fault("services.live_lane", "services.live_lane.outbox", moment, at, marker)


def kill_tactical_worker(moment: Moment, at: int, marker: Path, asset: str) -> Fault:
    """Around the lake's ``COMMIT`` of one asset, with the worker's parent process."""
    return Fault("worker_tactical@", "resources.duck_lake", moment, at, marker, asset)
