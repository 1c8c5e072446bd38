"""Files that a transaction has written, seen onto the disk before the catalog names them.

Belongs here: finding and syncing new files below a folder. Does not belong here: when (``duck_lake``), object stores:
what they have acknowledged is durable.

DuckDB 1.5 closes a Parquet file without syncing it (seen with strace), PostgreSQL syncs the commit that names it: after
a power cut the catalog would speak of files that are empty, with rows that Redis has trimmed.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from resources.lake import LakeError

CLOCK_STEP: Final = 2_000_000_000
"""ns; file systems stamp files with a coarser clock than ours."""


def sync_lake(lake_path: str, since_ns: int, tables: Iterable[str] = ("",)) -> None:
    """See the lake's files that were written since onto the disk.

    Parameters
    ----------
    tables : iterable of str
        Folders below the lake's; not given: all.

    Raises
    ------
    LakeError
        If the disk does not take them: nothing may be committed.
    """
    if "://" in lake_path:
        return  # an object store
    for table in sorted(tables):
        folder = Path(lake_path) / table
        try:
            sync_new_files(folder, since_ns)
        except OSError as error:
            raise LakeError(f"{folder} cannot be written: {error.strerror}") from error


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
    if synced and folder.stat().st_mtime_ns >= since:
        _sync(folder)  # in which a day's folder is new
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
