"""Bursts of anomalies: what follows within the cool-down belongs together, and people are told once.

Belongs here: opening, extending and closing incidents of single series. Does not belong here: what an anomaly is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final

from signal_assets.anomalies.severity import SEVERITIES
from signal_assets.content_id import content_id

NEVER: Final = 2**63 - 1


@dataclass(slots=True)
class _Open:
    id: str
    instrument: str
    series: str
    opened: int
    last: int
    anomalies: int
    peak_sigma: float
    severity: str
    direction: str


class Incidents:
    """Open incidents, at most one per series.

    Anomalies of one series with less than the cool-down between them are one incident. It is closed at the first look
    (:meth:`close`) at or after its last anomaly plus the cool-down.

    Parameters
    ----------
    cool_down : int
        µs.

    Examples
    --------
    >>> incidents = Incidents(cool_down=300)
    >>> name, first = incidents.take(1_000, "BTC", "market.BTC.volume", 2.5, "HIGH", "above")
    >>> incidents.take(1_299, "BTC", "market.BTC.volume", 4.0, "CRITICAL", "above") == (name, False)
    True
    >>> incidents.close(1_598)
    []
    >>> [row[3:] for row in incidents.close(1_610)]
    [(1000, 1299, 1610, 2, 4.0, 'CRITICAL', 'above')]
    """

    def __init__(self, cool_down: int) -> None:
        self._cool_down = cool_down
        self._open: dict[str, _Open] = {}
        self.due = NEVER
        """Nothing is to be closed before this time."""

    def take(
        self, time: int, instrument: str, series: str, sigma: float, severity: str, direction: str
    ) -> tuple[str, bool]:
        """Id of the incident an anomaly belongs to, and whether it opened it; what is over must have been closed."""
        incident = self._open.get(series)
        if incident is None:
            name = content_id(series, time)
            self._open[series] = _Open(name, instrument, series, time, time, 1, abs(sigma), severity, direction)
            self.due = min(self.due, time + self._cool_down)
            return name, True
        incident.last = time
        incident.anomalies += 1
        if abs(sigma) > incident.peak_sigma:
            incident.peak_sigma = abs(sigma)
            incident.direction = direction
        incident.severity = max(incident.severity, severity, key=SEVERITIES.index)
        return incident.id, False

    def close(self, time: int) -> list[tuple[Any, ...]]:
        """Rows of ``anomalies.incidents`` that are over at ``time``, ordered by instrument and series."""
        if time < self.due:
            return []
        over = sorted(
            (incident for incident in self._open.values() if incident.last + self._cool_down <= time),
            key=lambda incident: (incident.instrument, incident.series),
        )
        for incident in over:
            del self._open[incident.series]
        self._look_ahead()
        return [
            (
                incident.id,
                incident.instrument,
                incident.series,
                incident.opened,
                incident.last,
                time,
                incident.anomalies,
                incident.peak_sigma,
                incident.severity,
                incident.direction,
            )
            for incident in over
        ]

    def _look_ahead(self) -> None:
        self.due = min((incident.last for incident in self._open.values()), default=NEVER - self._cool_down)
        self.due += self._cool_down

    def state(self) -> list[list[Any]]:
        """The open incidents."""
        return [list(astuple(incident)) for incident in self._open.values()]

    def restore(self, state: Iterable[Sequence[Any]]) -> None:
        """Go on from there."""
        self._open = {incident.series: incident for incident in (_Open(*fields) for fields in state)}
        self._look_ahead()
