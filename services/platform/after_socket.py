"""Run a Dagster program once the code server answers: ``python -m …after_socket SOCKET MODULE ARGUMENTS…``.

Webserver and daemon take seconds to import and would then find no code server yet, show an error and only recover from
it at their own pace. This imports first, waits for the socket, then runs the module, so all three start side by side.
"""

import importlib
import runpy
import sys
import time
from pathlib import Path
from typing import Final

from services.platform.probes import socket_answers

_LONGEST_WAIT: Final = 120.0
_IMPORTED_FIRST: Final = {"dagster_webserver": "dagster_webserver.cli", "dagster._daemon": "dagster._daemon.cli"}
_INSTALLED_BEFORE: Final = {"dagster._daemon": "services.platform.daemon_clock"}
"""Modules with an ``install()`` that a program needs."""


def main(arguments: list[str]) -> None:
    """Import, wait, run."""
    code_socket, module = Path(arguments[0]), arguments[1]
    importlib.import_module(_IMPORTED_FIRST.get(module, module))
    deadline = time.monotonic() + _LONGEST_WAIT
    while not socket_answers(code_socket) and time.monotonic() < deadline:
        time.sleep(0.05)
    if module in _INSTALLED_BEFORE:
        importlib.import_module(_INSTALLED_BEFORE[module]).install()
    # If it still does not answer, the program shows why better than we could.
    sys.argv = [module, *arguments[2:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
