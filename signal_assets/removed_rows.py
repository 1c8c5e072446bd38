"""What retention has removed is refused, never computed from what is left of it.

Belongs here: the question whether everything a computation reads is still there. Does not belong here: removing
(``jobs/maintenance``), how the lake remembers (``resources/platform_tables``).
"""

from collections.abc import Iterable

from resources.lake import Lake, LakeError
from signal_assets.event_time import iso
from signal_assets.table import Table


class RemovedRowsError(LakeError):
    """Rows that a computation would read have been removed."""


Needs = Iterable[tuple[Table, int]]
"""Tables that are read, each with how far (µs) before a window's start."""


def require_kept(lake: Lake, what: str, needs: Needs, start: int) -> None:
    """Check that nothing has been removed of what a window that begins at ``start`` reads.

    Raises
    ------
    RemovedRowsError
        Naming the table and the time up to which its rows are gone.
    """
    removed = lake.removed()
    for table, look_back in needs:
        up_to = removed.get(table.name)
        if up_to is not None and start - look_back < up_to:
            raise RemovedRowsError(
                f"{what}: retention has removed {table.name} up to {iso(up_to)}; this reads it from "
                f"{iso(start - look_back)} on, so it cannot be computed again"
            )


def kept_since(lake: Lake, needs: Needs, first: int) -> int:
    """Earliest start, not before ``first``, of a window all of whose inputs are there: where a new asset begins."""
    removed = lake.removed()
    return max([first, *(removed[table.name] + look_back for table, look_back in needs if table.name in removed)])
