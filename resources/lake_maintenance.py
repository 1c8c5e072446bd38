"""Keeping DuckLake small and fast.

Belongs here: flushing inlined rows, merging files, expiring snapshots, removing files nobody needs. Does not belong
here: when it happens (``sensors``).
"""

from datetime import timedelta

from resources.duck_lake import DuckLake
from resources.duck_lake_sql import CATALOG


def maintain(lake: DuckLake, *, keep: timedelta) -> dict[str, int]:
    """Run every maintenance step, each in its own transaction under the write lock.

    Parameters
    ----------
    keep : timedelta
        Snapshots younger than this stay, and with them every file they speak of.

    Returns
    -------
    dict of str to int
        What each step touched.
    """
    older = f"now() - INTERVAL '{int(keep.total_seconds())} seconds'"
    steps = {
        "tables_flushed": f"CALL ducklake_flush_inlined_data('{CATALOG}')",
        "files_merged": f"CALL ducklake_merge_adjacent_files('{CATALOG}')",
        "snapshots_expired": f"CALL ducklake_expire_snapshots('{CATALOG}', older_than => {older})",
        "files_removed": f"CALL ducklake_cleanup_old_files('{CATALOG}', older_than => {older})",
    }
    done = {}
    for name, statement in steps.items():
        with lake.write_lock():
            done[name] = len(lake.query(statement))
    return done
