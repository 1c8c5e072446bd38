"""A small disk of its own, to be filled and freed: a tmpfs, where this process may mount one.

Belongs here: mounting, filling, freeing. Does not belong here: what is kept on it, and when it is full.
"""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Self

import pytest

MEGABYTES = 64


class SmallDisk:
    """A tmpfs over a folder, as long as the context lasts."""

    def __init__(self, folder: Path, megabytes: int = MEGABYTES) -> None:
        self.folder = folder
        self._megabytes = megabytes
        self._filler = folder / "filler"

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = ["-t", "tmpfs", "-o", f"size={self._megabytes}m,mode=0777", "tmpfs", str(self.folder)]
        subprocess.run(["mount", *options], check=True, capture_output=True)
        return self

    def __exit__(self, *_: object) -> None:
        # Lazily: a process that still has a file open there must not keep the mount.
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True, capture_output=True)

    def fill(self, leave: int = 0) -> None:
        """Take all space but about ``leave`` bytes."""
        with self._filler.open("ab", buffering=0) as filler:
            for size in (65_536, 4_096, 1):
                try:
                    while True:
                        filler.write(b"x" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
            filler.truncate(max(filler.tell() - leave, 0))

    def free(self) -> None:
        """Give the space back."""
        self._filler.unlink(missing_ok=True)


@cache
def can_mount() -> bool:
    """Whether this process may mount a file system; tried once."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            with SmallDisk(Path(folder), 1):
                return True
        except (OSError, subprocess.SubprocessError):
            return False


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """A small disk for a test, which is skipped where mounting is not allowed."""
    if not can_mount():
        pytest.skip("a tmpfs cannot be mounted here")
    with SmallDisk(folder, megabytes) as disk:
        yield disk
