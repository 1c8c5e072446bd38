"""Makes the process it is loaded into suffer what the switches say; Python imports it before anything else.

Belongs here: patching, from outside, the few functions that faults are about: the product knows nothing of it. Does not
belong here: when a switch is thrown (``tests/faults/switches``).

``SIGNAL_TEST_SWITCHES`` names the folder of switches, files that come and go while the process lives:

- ``clock``: seconds by which the wall clock is wrong.
- ``slow_disk``: seconds that every commit to the lake takes longer.
- ``commit``, ``flush``: JSON ``{process, moment, signal}``; the next commit to the lake (flush to Redis) of a process
  with that word in its command line gets the signal right ``before`` or ``after`` it. Whoever takes the order renames
  the file, which only one process can.

Nothing but the standard library: this runs before the path is complete.
"""

import importlib.abc
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

CLOCK_LOOK_SECONDS = 0.05
GRPC_MODULES = ("grpc._channel", "grpc._common", "grpc._server", "grpc._utilities", "grpc.aio._utils")


class PatchOnImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets the modules named be loaded as always, and patches them right after."""

    def __init__(self, patches: dict[str, Callable[[Any], None]]) -> None:
        self._patches = patches
        self._loaders: dict[str, Any] = {}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname not in self._patches or fullname in self._loaders:
            return None
        self._loaders[fullname] = None  # the search below must not come back here
        spec = importlib.util.find_spec(fullname)
        if spec is not None:
            self._loaders[fullname], spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loaders[spec.name].create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._loaders[module.__name__].exec_module(module)
        self._patches[module.__name__](module)


class Switches:
    """The folder of switches, as a process sees it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offset = 0.0
        self._next_look = 0.0

    def number(self, name: str) -> float:
        """What a switch says; 0 while there is none."""
        try:
            return float((self._folder / name).read_text("ascii") or 0)
        except (OSError, ValueError):
            return 0.0

    def clock_offset(self) -> float:
        """Seconds by which the clock is wrong; looked up twenty times a second at most."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + CLOCK_LOOK_SECONDS
            self._offset = self.number("clock")
        return self._offset

    def obey(self, name: str, moment: str) -> None:
        """Suffer the signal that a switch orders for this process and moment."""
        path = self._folder / name
        try:
            order = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            return
        if order["moment"] != moment or not any(order["process"] in word for word in sys.orig_argv):
            return
        try:
            path.rename(path.with_suffix(".taken"))
        except OSError:
            return
        parent = os.getppid()
        if order["process"] in Path(f"/proc/{parent}/cmdline").read_text("utf-8"):
            os.kill(parent, order["signal"])  # a process of a worker's pool: the whole worker suffers
        os.kill(os.getpid(), order["signal"])


def main(switches: Switches) -> None:
    """Patch the clock now and the rest when it is imported."""
    real_time, real_time_ns = time.time, time.time_ns

    def wrong_time() -> float:
        return real_time() + switches.clock_offset()

    def wrong_time_ns() -> int:
        return real_time_ns() + int(switches.clock_offset() * 1_000_000_000)

    def patch_dagster_time(module: Any) -> None:
        # datetime.now() asks the system, not the function above.
        module._mockable_get_current_datetime = lambda: datetime.fromtimestamp(wrong_time(), UTC)

    def leave_time_right(module: Any) -> None:
        # gRPC hands moments of the wall clock to code that is not Python and sees the right one; they must agree.
        module.time = right

    def patch_outbox(module: Any) -> None:
        execute = module.Outbox._execute

        async def disturbed(self: Any, additions: Any, **options: Any) -> Any:
            switches.obey("flush", "before")
            result = await execute(self, additions, **options)
            switches.obey("flush", "after")
            return result

        module.Outbox._execute = disturbed

    def patch_lake(module: Any) -> None:
        execute = module.DuckLake.execute

        def disturbed(self: Any, sql: str, parameters: Any = None) -> Any:
            if sql != "COMMIT":
                return execute(self, sql, parameters)
            time.sleep(switches.number("slow_disk"))
            switches.obey("commit", "before")
            result = execute(self, sql, parameters)
            switches.obey("commit", "after")
            return result

        module.DuckLake.execute = disturbed

    right = SimpleNamespace(**{name: getattr(time, name) for name in dir(time) if not name.startswith("_")})
    time.time, time.time_ns = wrong_time, wrong_time_ns
    patches = {
        "dagster._time": patch_dagster_time,
        **dict.fromkeys(GRPC_MODULES, leave_time_right),
        "services.live_lane.outbox": patch_outbox,
        "resources.duck_lake": patch_lake,
    }
    sys.meta_path.insert(0, PatchOnImport(patches))


if folder := os.environ.get("SIGNAL_TEST_SWITCHES"):
    main(Switches(Path(folder)))
