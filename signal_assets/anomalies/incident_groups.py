"""Incidents of several series that happen together: one group incident, so that people are told once.

Belongs here: which incidents belong together, and the group's record. Does not belong here: incidents of single series
(``incidents``), who is told (``alerting``).

A scope is what is grouped over: an instrument, or all instruments that are computed together. An incident **fires**
from its first anomaly until it is over. Incidents of one scope belong to one group incident when one begins to fire
while another does, or less than ``tolerance`` after the last one was over: what overlaps in time, or nearly. A group
incident takes in new members for ``longest`` at most; what opens later begins another one, so that a series that never
comes to rest cannot hide what happens beside it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from signal_assets.anomalies.incidents import NEVER, Incident
from signal_assets.anomalies.severity import SEVERITIES
from signal_assets.content_id import content_id


@dataclass(slots=True)
class IncidentGroup:
    """An open group incident; times in µs UTC.

    Parameters
    ----------
    id : str
        Hash of scope and opening time.
    scope : str
        What stands in the column ``instrument``.
    opened, last : int
        First and last anomaly of all members.
    first_series, peak_series : str
        Whose incident opened it, and whose anomaly was the strongest.
    members : dict of str to float
        Greatest distance per series, in the order in which they joined.
    incidents, anomalies : int
        How many belong to it.
    firing : int
        Members that are not over yet.
    quiet_since : int
        When the last of those that are over was.
    alerted : bool
        People were told of it.
    suppressed : str
        Why they were not, as of its last anomaly; empty if they were.
    moved_together : str
        What else moved before, JSON; set by who knows when it opens.
    """

    id: str
    scope: str
    opened: int
    last: int
    first_series: str
    peak_series: str
    peak_sigma: float
    severity: str
    members: dict[str, float]
    incidents: int = 0
    anomalies: int = 0
    firing: int = 0
    quiet_since: int = 0
    alerted: bool = False
    suppressed: str = ""
    moved_together: str = "{}"

    def extend(self, time: int, series: str, sigma: float, severity: str) -> None:
        """Take in an anomaly of a member."""
        self.last = time
        self.anomalies += 1
        distance = abs(sigma)
        self.members[series] = max(self.members.get(series, 0.0), distance)
        if distance > self.peak_sigma:
            self.peak_sigma, self.peak_series = distance, series
        self.severity = max(self.severity, severity, key=SEVERITIES.index)


class IncidentGroups:
    """Open group incidents; of each scope at most one takes in new members.

    Parameters
    ----------
    tolerance, longest : int
        µs.

    Examples
    --------
    >>> groups = IncidentGroups(tolerance=30, longest=3_600)
    >>> first, opened = groups.join(1_000, "BTC", Incident("i", "BTC", "spread", 1_000, 1_000, 1, 3.0, "HIGH", "above"))
    >>> again, opened_too = groups.join(1_100, "BTC", Incident("j", "BTC", "vpin", 1_100, 1_100, 1, 2, "LOW", "below"))
    >>> again is first, opened, opened_too
    (True, True, False)
    """

    def __init__(self, tolerance: int, longest: int) -> None:
        self._tolerance = tolerance
        self._longest = longest
        self._open: dict[str, IncidentGroup] = {}
        self._newest: dict[str, str] = {}

    def join(self, time: int, scope: str, incident: Incident) -> tuple[IncidentGroup, bool]:
        """The group incident that an incident that opens at ``time`` belongs to, and whether it opened that too."""
        group = self._open.get(self._newest.get(scope, ""))
        opened = group is None or self._over_at(group) <= time or group.opened + self._longest <= time
        if group is None or opened:
            group = IncidentGroup(
                content_id("incident group", scope, time),
                scope,
                time,
                time,
                incident.series,
                incident.series,
                incident.peak_sigma,
                incident.severity,
                {},
            )
            self._open[group.id] = group
            self._newest[scope] = group.id
        incident.group = group.id
        group.incidents += 1
        group.firing += 1
        return group, opened

    def of(self, incident: Incident) -> IncidentGroup:
        """The group incident a member belongs to."""
        return self._open[incident.group]

    def leave(self, incident: Incident, over_at: int) -> None:
        """A member was over at ``over_at``."""
        group = self._open[incident.group]
        group.firing -= 1
        group.quiet_since = max(group.quiet_since, over_at)

    def close(self, time: int) -> list[IncidentGroup]:
        """Take out what is over at ``time``, ordered by scope and opening."""
        over = [group for group in self._open.values() if self._over_at(group) <= time]
        for group in over:
            del self._open[group.id]
            if self._newest.get(group.scope) == group.id:
                del self._newest[group.scope]
        return sorted(over, key=lambda group: (group.scope, group.opened))

    @property
    def due(self) -> int:
        """Nothing is to be closed before this time, unless a member leaves."""
        return min(map(self._over_at, self._open.values()), default=NEVER)

    def _over_at(self, group: IncidentGroup) -> int:
        return NEVER if group.firing else group.quiet_since + self._tolerance

    def state(self) -> list[list[Any]]:
        """The open group incidents, in the order in which they opened."""
        return [list(astuple(group)) for group in self._open.values()]

    def restore(self, state: Iterable[Sequence[Any]]) -> None:
        """Go on from there."""
        groups = [IncidentGroup(*fields) for fields in state]
        self._open = {group.id: group for group in groups}
        self._newest = {group.scope: group.id for group in groups}
