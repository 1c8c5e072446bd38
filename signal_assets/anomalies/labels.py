"""What people say of alarms: true or false, kept as they say it, in force from a midnight on.

Belongs here: what a label is about, from when it counts. Does not belong here: what follows from it
(``feedback``), the command (``cli/label``). Nothing is changed or deleted: who changes their
mind gives another label.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from resources.lake import Lake, LakeError, LakeTransaction
from resources.redis_keys import SYSTEM_METRICS, market_features
from signal_assets.anomalies.feedback import VERDICTS
from signal_assets.anomalies.system_series import SYSTEM_GROUP
from signal_assets.anomalies.tables import ANOMALIES, LABELS
from signal_assets.derivation import asset_name
from signal_assets.event_time import DAY, HOUR, date_of, iso
from signal_assets.instrument import Instrument
from signal_assets.market.stream_intake import MarketStreams

LABEL: Final = "label"
LEAD: Final = HOUR
"""A label is committed so long before it comes into force: whoever begins that day has it.

By our clock, or for a day that is named by the market's: what is under way – a run, rows that the live lane has stepped
and not yet sent – does not reach so far beyond what can be seen of it.
"""


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a label was about, and from when it counts (µs UTC).

    Parameters
    ----------
    series : tuple of str
        One, or of a group incident all of its members.
    subjects : tuple of str
        Ids of their incidents, or of an anomaly that belongs to none.
    """

    series: tuple[str, ...]
    subjects: tuple[str, ...]
    verdict: str
    valid_from: int


def next_midnight(now: int) -> int:
    """The first midnight that lies at least an hour ahead.

    Examples
    --------
    >>> next_midnight(22 * HOUR) // DAY, next_midnight(23 * HOUR + 1) // DAY
    (1, 2)
    """
    return -(-(now + LEAD) // DAY) * DAY


def give_label(
    lake: Lake,
    groups: Mapping[str, Sequence[Instrument]],
    about: str,
    verdict: str,
    *,
    now: int,
    valid_from: int | None = None,
    reached: Callable[[], Mapping[str, int]] | None = None,
    given_by: str = "",
    note: str = "",
) -> Labelled:
    """Keep a label of an anomaly, an incident or a group incident.

    Parameters
    ----------
    groups : mapping of str to sequence of Instrument
        As configured.
    about : str
        Its id. What belongs to an incident is labelled as the incident.
    verdict : str
        ``true_alarm`` or ``false_alarm``.
    now : int
        Our clock, µs UTC.
    valid_from : int, optional
        A midnight, for markets whose days are not ours (a replay); else the next one that is :data:`LEAD` away.
    reached : callable, optional
        By group, up to where its streams go (µs UTC): so far the live lane may have computed, ahead of all runs. Asked
        under the lake's write lock, for which a label may have waited.

    Raises
    ------
    LakeError
        If there is nothing of that id, no such verdict, or anomalies may have been computed up to the midnight, or to
        less than :data:`LEAD` before it.
    """
    if verdict not in VERDICTS:
        raise LakeError(f"a label is {' or '.join(VERDICTS)}, not {verdict!r}")
    begins = next_midnight(now) if valid_from is None else valid_from
    if begins % DAY:
        raise LakeError(f"a label comes into force at a midnight, not at {iso(begins)}")
    found = _subjects(lake, about)
    instruments = set(found["instrument"])
    concerned = [name for name, members in groups.items() if instruments & {member.key for member in members}]
    rows = [
        (row.instrument, row.series, row.subject, verdict, begins, now, given_by, note)
        for row in found.itertuples(index=False)
    ]
    with lake.transaction(asset=asset_name(LABELS), run_id=LABEL) as unit:
        live = reached() if reached is not None else {}
        for group in concerned:
            _require_ahead(unit, group, begins, live.get(group, 0))
        unit.append(LABELS, LABELS.conform(pd.DataFrame(rows, columns=list(LABELS.value_columns))))
    return Labelled(tuple(found["series"]), tuple(found["subject"]), verdict, begins)


def _subjects(lake: Lake, about: str) -> pd.DataFrame:
    """Instrument, series and what is labelled, a row per series and incident."""
    columns = ["id", "instrument", "series", "time", "incident", "incident_group"]
    rows = lake.read(ANOMALIES, columns=columns)
    named = rows[(rows["id"] == about) | (rows["incident"] == about) | (rows["incident_group"] == about)]
    if about == "" or named.empty:
        raise LakeError(f"there is no anomaly, incident or group incident {about!r}")
    named = named.sort_values(["time", "series"], kind="stable")
    subject = named["incident"].where(named["incident"] != "", named["id"])
    return named.assign(subject=subject)[["instrument", "series", "subject"]].drop_duplicates()


def streams_reach(streams: MarketStreams, groups: Mapping[str, Sequence[Instrument]]) -> dict[str, int]:
    """By group, the newest time (µs UTC) in its streams by their own time: of a replay it is the market's."""
    reached = {}
    for group, members in groups.items():
        keys = [SYSTEM_METRICS] if group == SYSTEM_GROUP else [market_features(member.key) for member in members]
        reached[group] = max((streams.tail(key) or 0 for key in keys), default=0)
    return reached


def _require_ahead(unit: LakeTransaction, group: str, begins: int, live: int) -> None:
    """Nothing may be judged behind the midnight: the live lane takes a day's labels with its first point, as do runs.

    A label that runs find and the live lane did not would make their rows of that day differ.
    """
    progress = unit.progress(asset_name(ANOMALIES), group)
    newest = max(live, progress.progress if progress is not None else 0)
    if begins < (earliest := next_midnight(newest)):
        raise LakeError(
            f"anomalies of {group} may be computed up to {iso(newest)}, and a label is given an hour ahead: "
            f"it can be in force from {date_of(earliest + 1)} on at the earliest, not from {date_of(begins + 1)} on"
        )


def labels_at(lake: Lake, start: int) -> list[Any]:
    """Records of all labels that are in force on the day that begins at ``start``."""
    rows = lake.read(LABELS, end=start)
    return list(rows.itertuples(index=False))
