"""Keeping DuckLake small and fast.

Belongs here: flushing inlined rows, merging files, thinning and expiring snapshots, removing files nobody needs. Does
not belong here: when it happens (``sensors``), which rows are kept (``jobs/maintenance``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from resources.duck_lake import DuckLake
from resources.duck_lake_sql import CATALOG

METADATA: Final = f"__ducklake_metadata_{CATALOG}.{CATALOG}"
"""DuckLake's own tables, by the name under which DuckDB knows them."""

MERGED_UP_TO: Final = 32 * 2**20
"""Bytes of a file from which on it is not merged any more: every pass would write the day's whole file anew."""

DELETED_SHARE: Final = 0.5
"""A file of which so much has been deleted is written anew without it."""

EXPIRED_AT_ONCE: Final = 5_000
"""Snapshots that one statement expires: the write lock is held meanwhile, and live runs wait for it."""

EXPIRED_PER_PASS: Final = 50_000
"""An hour makes ten thousand; what a long pause has left over is caught up with in a few passes."""


@dataclass(frozen=True, slots=True)
class Keep:
    """How long what of the lake's history is kept.

    Parameters
    ----------
    snapshots : timedelta
        The newest snapshot of each hour so far back.
    every_snapshot : timedelta
        All snapshots so far back.
    unneeded_files : timedelta
        Files that no snapshot speaks of any more, for readers that began before.
    unknown_files : timedelta
        Files that the catalog has never known: a killed writer's. A writer's own are unknown until it commits.
    """

    snapshots: timedelta
    every_snapshot: timedelta
    unneeded_files: timedelta = timedelta(hours=2)
    unknown_files: timedelta = timedelta(days=1)


def maintain(lake: DuckLake, keep: Keep) -> dict[str, int]:
    """Run every maintenance step, each in transactions of its own under the write lock.

    Returns
    -------
    dict of str to int
        What each step touched.
    """
    steps: dict[str, Callable[[], int]] = {
        "tables_flushed": lambda: _call(lake, f"ducklake_flush_inlined_data('{CATALOG}')"),
        # Progress, offsets and states are replaced thousands of times a day. Flushed, what was replaced would stay as
        # files of deleted rows, and every later look at the progress would open them all.
        "files_rewritten": lambda: _call(
            lake, f"ducklake_rewrite_data_files('{CATALOG}', delete_threshold => {DELETED_SHARE})"
        ),
        "files_merged": lambda: _call(
            lake, f"ducklake_merge_adjacent_files('{CATALOG}', max_file_size => {MERGED_UP_TO})"
        ),
        "snapshots_expired": lambda: expire_snapshots(lake, keep),
        "files_removed": lambda: _call(
            lake, f"ducklake_cleanup_old_files('{CATALOG}', older_than => {_ago(keep.unneeded_files)})"
        ),
        "unknown_files_removed": lambda: _call(
            lake, f"ducklake_delete_orphaned_files('{CATALOG}', older_than => {_ago(keep.unknown_files)})"
        ),
    }
    return {name: step() for name, step in steps.items()}


def expire_snapshots(lake: DuckLake, keep: Keep) -> int:
    """Expire what is older than all are kept and not the newest of its hour, or too old for that; returns how many.

    The newest snapshot of all stays, whatever its age.
    """
    found = lake.query(
        f"""
        SELECT snapshot_id FROM (
            SELECT snapshot_id, snapshot_time,
                   snapshot_id = max(snapshot_id) OVER (PARTITION BY date_trunc('hour', snapshot_time)) AS last_of_hour,
                   snapshot_id = max(snapshot_id) OVER () AS last
            FROM {METADATA}.ducklake_snapshot
        )
        WHERE NOT last AND snapshot_time < {_ago(keep.every_snapshot)}
          AND (NOT last_of_hour OR snapshot_time < {_ago(keep.snapshots)})
        ORDER BY snapshot_id LIMIT {EXPIRED_PER_PASS}
        """  # noqa: S608
    )
    expired = [int(row[0]) for row in found]
    for first in range(0, len(expired), EXPIRED_AT_ONCE):
        _expire(lake, expired[first : first + EXPIRED_AT_ONCE])
    return len(expired)


def _expire(lake: DuckLake, snapshots: Sequence[int]) -> None:
    _call(lake, f"ducklake_expire_snapshots('{CATALOG}', versions => [{', '.join(map(str, snapshots))}])")


def _call(lake: DuckLake, function: str) -> int:
    with lake.write_lock():
        return len(lake.query(f"CALL {function}"))


def _ago(span: timedelta) -> str:
    return f"now() - INTERVAL '{int(span.total_seconds())} seconds'"
