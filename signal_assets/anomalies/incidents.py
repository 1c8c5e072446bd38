"""Bursts of anomalies of one series: what comes while one is still firing belongs to it.

Belongs here: opening, extending and closing incidents of single series. Does not belong here: what an anomaly is; which
incidents belong together (``incident_groups``); who is told (``alerting``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final

from signal_assets.anomalies.severity import SEVERITIES
from signal_assets.content_id import content_id

NEVER: Final = 2**63 - 1


@dataclass(slots=True)
class Incident:
    """An open incident; times in µs UTC.

    Parameters
    ----------
    id : str
        Hash of series and opening time.
    opened, last : int
        Its first and its last anomaly.
    group : str
        Id of the group incident it belongs to.
    alerted : bool
        People were told of it.
    suppressed : str
        Why they were not, as of its last anomaly; empty if they were.
    """

    id: str
    instrument: str
    series: str
    opened: int
    last: int
    anomalies: int
    peak_sigma: float
    severity: str
    direction: str
    group: str = ""
    alerted: bool = False
    suppressed: str = ""

    def extend(self, time: int, sigma: float, severity: str, direction: str) -> None:
        """Take in one more anomaly."""
        self.last = time
        self.anomalies += 1
        if abs(sigma) > self.peak_sigma:
            self.peak_sigma = abs(sigma)
            self.direction = direction
        self.severity = max(self.severity, severity, key=SEVERITIES.index)


class Incidents:
    """Open incidents, at most one per series.

    Anomalies of one series with less than ``keep_firing`` between them are one incident, however it flaps. It is over
    that long after its last anomaly, and closed at the first look (:meth:`close`) at or after that time.

    Parameters
    ----------
    keep_firing : int
        µs.

    Examples
    --------
    >>> incidents = Incidents(keep_firing=300)
    >>> first, opened = incidents.take(1_000, "BTC", "market.BTC.volume", 2.5, "HIGH", "above")
    >>> incidents.take(1_299, "BTC", "market.BTC.volume", 4.0, "CRITICAL", "above") == (first, False)
    True
    >>> incidents.close(1_598)
    []
    >>> [(over.opened, over.last, over.anomalies, over.severity) for over in incidents.close(1_610)]
    [(1000, 1299, 2, 'CRITICAL')]
    """

    def __init__(self, keep_firing: int) -> None:
        self._keep_firing = keep_firing
        self._open: dict[str, Incident] = {}
        self.due = NEVER
        """Nothing is to be closed before this time."""

    def take(
        self, time: int, instrument: str, series: str, sigma: float, severity: str, direction: str
    ) -> tuple[Incident, bool]:
        """The incident an anomaly belongs to, and whether it opened it; what is over must have been closed."""
        incident = self._open.get(series)
        if incident is not None:
            incident.extend(time, sigma, severity, direction)
            return incident, False
        incident = Incident(
            content_id(series, time), instrument, series, time, time, 1, abs(sigma), severity, direction
        )
        self._open[series] = incident
        self.due = min(self.due, time + self._keep_firing)
        return incident, True

    def close(self, time: int) -> list[Incident]:
        """Take out what is over at ``time``, ordered by instrument and series."""
        if time < self.due:
            return []
        over = [incident for incident in self._open.values() if self.over_at(incident) <= time]
        for incident in over:
            del self._open[incident.series]
        self._look_ahead()
        return sorted(over, key=lambda incident: (incident.instrument, incident.series))

    def over_at(self, incident: Incident) -> int:
        """When it is over if nothing more comes."""
        return incident.last + self._keep_firing

    def _look_ahead(self) -> None:
        self.due = min((self.over_at(incident) for incident in self._open.values()), default=NEVER)

    def state(self) -> list[list[Any]]:
        """The open incidents."""
        return [list(astuple(incident)) for incident in self._open.values()]

    def restore(self, state: Iterable[Sequence[Any]]) -> None:
        """Go on from there."""
        self._open = {incident.series: incident for incident in (Incident(*fields) for fields in state)}
        self._look_ahead()
