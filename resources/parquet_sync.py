"""Files that a transaction has written, seen onto the disk before the catalog names them.

Belongs here: finding and syncing new files below a folder. Does not belong here: when (``duck_lake``), object stores:
what they have acknowledged is durable.

DuckDB 1.5 closes a Parquet file without syncing it (seen with strace), PostgreSQL syncs the commit that names it: after
a power cut the catalog would speak of files that are empty, with rows that Redis has trimmed.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CLOCK_STEP: Final = 2_000_000_000
"""ns; file systems stamp files with a coarser clock than ours."""


def sync_new_files(folder: Path, since_ns: int) -> int:
    """Sync every file in ``folder`` and the folders in it that has changed since, and their names; returns how many.

    Parameters
    ----------
    since_ns : int
        ``time.time_ns()`` when the first of them may have been begun.

    Raises
    ------
    OSError
        If the disk does not take them: nothing may be committed.
    """
    since = since_ns - CLOCK_STEP
    changed = [folder, *_changed(folder, since)] if folder.is_dir() else []
    synced = 0
    for place in changed:
        files = [entry.path for entry in os.scandir(place) if entry.is_file() and entry.stat().st_mtime_ns >= since]
        for path in files:
            _sync(path)
        if files:
            _sync(place)
        synced += len(files)
    if synced:
        _sync(folder)  # in which a day's folder may be new
    return synced


def _changed(folder: Path, since: int) -> Iterator[Path]:
    for entry in os.scandir(folder):
        if entry.is_dir():
            place = Path(entry.path)
            if entry.stat().st_mtime_ns >= since:
                yield place
            yield from _changed(place, since)


def _sync(path: Path | str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
