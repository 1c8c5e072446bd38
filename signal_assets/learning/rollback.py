"""Taking a learned threshold back, by hand: a version of its own, in force from the next midnight on.

Belongs here: which value, from when. Does not belong here: the rule that goes on from it (``thresholds``), the command
(``cli/config``). Nothing is deleted: what was in force stays readable, and so does who took it back.
"""

import math
from dataclasses import dataclass
from typing import Final

import pandas as pd

from resources.lake import Lake, LakeError
from signal_assets.derivation import asset_name
from signal_assets.event_time import DAY, iso
from signal_assets.instrument import whole_group
from signal_assets.learning.parameters import LearningParameters
from signal_assets.learning.tables import THRESHOLDS

ROLLBACK: Final = "rollback"


@dataclass(frozen=True, slots=True)
class RolledBack:
    """A threshold's new version: its value, the one it takes the place of, from when on (µs UTC)."""

    name: str
    before: float
    value: float
    valid_from: int


def roll_back(
    lake: Lake, group: str, name: str, parameters: LearningParameters, *, now: int, value: float | None = None
) -> RolledBack:
    """Add a version with ``value``; without one, with the value that the newest version replaced.

    Parameters
    ----------
    now : int
        Our clock, µs UTC; the version is in force from the next midnight on.

    Raises
    ------
    LakeError
        If there is no such threshold, nothing has been learned, the value is out of bounds, or it was rolled back for
        that midnight already.
    """
    if name not in parameters.thresholds:
        raise LakeError(f"there is no threshold {name}: there are {', '.join(parameters.thresholds)}")
    versions = lake.read(THRESHOLDS, instruments=[whole_group(group)])
    own = versions[versions["name"] == name].sort_values(["valid_from", "source"], kind="stable")
    if own.empty:
        raise LakeError(f"{name} of {group} has never been learned: its default is in force")
    newest = own.iloc[-1]
    wanted = float(newest["before"]) if value is None else value
    bounds = parameters.thresholds[name]
    if not bounds.low <= wanted <= bounds.high:
        raise LakeError(f"{name} must lie between {bounds.low:g} and {bounds.high:g}, not at {wanted:g}")
    made = RolledBack(name, float(newest["value"]), wanted, now // DAY * DAY + DAY)
    row = (whole_group(group), name, made.valid_from, now, wanted, made.before, math.nan, 0, ROLLBACK)
    with lake.transaction(asset=asset_name(THRESHOLDS), run_id=ROLLBACK) as unit:
        added = unit.append(THRESHOLDS, pd.DataFrame([row], columns=list(THRESHOLDS.value_columns)))
    if not added:
        raise LakeError(f"{name} of {group} was rolled back for {iso(made.valid_from)} already")
    return made
