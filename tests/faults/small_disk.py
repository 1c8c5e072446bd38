"""A small file system of its own for the lake's files, which can be filled.

Belongs here: mounting, filling, freeing. Does not belong here: when (``injector``).
"""

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final, Self

SIZE: Final = "64m"
CHUNK: Final = bytes(1 << 16)


@cache
def can_mount() -> bool:
    """Whether this process may mount a file system; tried once."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            with SmallDisk(Path(folder)):
                return True
        except (OSError, subprocess.SubprocessError):
            return False


class SmallDisk:
    """A tmpfs over a folder, as long as the context lasts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ballast = folder / "ballast"

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        options = ["-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(self._folder)]
        subprocess.run(["mount", *options], check=True, capture_output=True)
        return self

    def __exit__(self, *_: object) -> None:
        # Lazily: a process that still has a file open there must not keep the mount.
        subprocess.run(["umount", "-l", str(self._folder)], check=True, capture_output=True)

    def fill(self) -> None:
        """Leave not a byte."""
        with self._ballast.open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(CHUNK)
            except OSError:  # full, as wanted
                return

    def free(self) -> None:
        """Give the space back."""
        self._ballast.unlink(missing_ok=True)
