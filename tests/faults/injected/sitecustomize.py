"""Kills the process it is loaded into, once, at one exact point; Python imports it before anything else.

Belongs here: finding out whether this is the process meant, and patching the one function that the fault is about, from
outside: the product knows nothing of it. Does not belong here: what the faults are (``tests/faults/fault``).

``SIGNAL_TEST_FAULT`` is that module's JSON. Nothing but the standard library: this runs before the path is complete.
"""

import importlib.abc
import importlib.util
import json
import os
import signal
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any


class PatchOnImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets the module named be loaded as always, and patches it right after."""

    def __init__(self, fault: dict[str, Any]) -> None:
        self._fault = fault
        self._loader: Any = None

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname != self._fault["module"]:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        PATCHES[module.__name__](module, self._fault)


def patch_outbox(module: Any, fault: dict[str, Any]) -> None:
    """Around the transaction that adds the first features entry from the fault's event time on."""
    execute = module.Outbox._execute

    async def execute_or_die(self: Any, additions: Any) -> int:
        ids = [int(item.id.partition("-")[0]) for item in additions if item.key.endswith(":features")]
        reached = max(ids, default=0)
        if reached >= fault["at"] and fault["moment"] == "before":
            die(fault, reached)
        refused: int = await execute(self, additions)
        if reached >= fault["at"] and fault["moment"] == "after":
            die(fault, reached)
        return refused

    module.Outbox._execute = execute_or_die


def patch_lake(module: Any, fault: dict[str, Any]) -> None:
    """Around the first ``COMMIT`` that moves the asset's progress to the fault's event time or beyond."""
    execute = module.DuckLake.execute
    reached = 0

    def execute_or_die(self: Any, sql: str, parameters: Any = None) -> Any:
        nonlocal reached
        if "set_commit_message" in sql:
            asset, _, extra = parameters
            reached = json.loads(extra).get("progress", 0) if asset == fault["asset"] else 0
        due = sql == "COMMIT" and reached >= fault["at"]
        if due and fault["moment"] == "before":
            die(fault, reached)
        result = execute(self, sql, parameters)
        if due and fault["moment"] == "after":
            die(fault, reached)
        return result

    module.DuckLake.execute = execute_or_die


PATCHES = {"services.live_lane.outbox": patch_outbox, "resources.duck_lake": patch_lake}


def die(fault: dict[str, Any], reached: int) -> None:
    """Say so in the marker file, which only one process can create, and end like by ``kill -9``."""
    try:
        with Path(fault["marker"]).open("x", encoding="utf-8") as marker:
            marker.write(json.dumps({"time": time.time_ns() // 1000, "reached": reached, "pid": os.getpid()}))
            marker.flush()
            os.fsync(marker.fileno())
    except FileExistsError:
        return
    parent = os.getppid()
    if fault["process"] in Path(f"/proc/{parent}/cmdline").read_text("utf-8"):
        os.kill(parent, signal.SIGKILL)  # a process of a worker's pool: the whole worker goes
    os.kill(os.getpid(), signal.SIGKILL)


def install() -> None:
    """Wait for the module, if this is the process that is to die and it has not died yet."""
    text = os.environ.get("SIGNAL_TEST_FAULT")
    if not text:
        return
    fault = json.loads(text)
    if any(fault["process"] in word for word in sys.orig_argv) and not Path(fault["marker"]).exists():
        sys.meta_path.insert(0, PatchOnImport(fault))


install()
