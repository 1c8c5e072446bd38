"""The switches that disturbed processes look at.

Belongs here: throwing them. Does not belong here: what they do to a process (``injected/sitecustomize``).
"""

import json
import os
import signal
from pathlib import Path
from typing import Final, Literal

INJECTED: Final = Path(__file__).parent / "injected"
ROOT: Final = Path(__file__).parents[2]

Write = Literal["commit", "flush"]
Moment = Literal["before", "after"]


class Switches:
    """A folder of switches.

    Parameters
    ----------
    folder
        Made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def environment(self) -> dict[str, str]:
        """Variables for all processes that shall look at them."""
        path = [str(INJECTED), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"SIGNAL_TEST_SWITCHES": str(self._folder), "PYTHONPATH": os.pathsep.join(path)}

    def set_number(self, name: Literal["clock", "slow_disk"], value: float) -> None:
        """Clock offset, or how much longer a commit takes; in seconds."""
        self._put(name, f"{value}")

    def order(self, write: Write, process: str, moment: Moment, number: signal.Signals) -> None:
        """Send a signal around the next write of a process that has this word in its command line."""
        (self._folder / f"{write}.taken").unlink(missing_ok=True)
        self._put(write, json.dumps({"process": process, "moment": moment, "signal": int(number)}))

    def taken(self, write: Write) -> bool:
        """Whether the order was carried out."""
        return (self._folder / f"{write}.taken").exists()

    def withdraw(self, write: Write) -> None:
        """Take an order back that nobody has carried out."""
        (self._folder / write).unlink(missing_ok=True)

    def _put(self, name: str, text: str) -> None:
        temporary = self._folder / f"{name}.new"
        temporary.write_text(text, "utf-8")
        temporary.replace(self._folder / name)
