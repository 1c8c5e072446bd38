"""From anomalies to what people are told: incidents, what belongs together, and when to keep silent.

Belongs here: the order in which these decide. Does not belong here: incidents (``incidents``), groups of them
(``incident_groups``), counting alerts (``alert_budget``); what an anomaly is.

People are told of an incident at its first anomaly at which nothing speaks against it, and once. In this order speak
against it:

* ``pending``: it has not lasted ``pending`` yet;
* ``grouped``: they know of the group incident it belongs to; that is final;
* ``cool_down``: they were told of the same series less than ``cool_down`` ago;
* ``series_budget``, ``group_budget``: they were told so often of this series, or of all series of the group, in the 24
  hours before.

Nothing is dropped: the anomaly, its incident and the group incident are recorded all the same, with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from signal_assets.anomalies.alert_budget import AlertBudget
from signal_assets.anomalies.incident_groups import IncidentGroup, IncidentGroups
from signal_assets.anomalies.incidents import Incident, Incidents
from signal_assets.anomalies.parameters import AnomalyParameters

PENDING: Final = "pending"
GROUPED: Final = "grouped"
COOL_DOWN: Final = "cool_down"
SERIES_BUDGET: Final = "series_budget"
GROUP_BUDGET: Final = "group_budget"
REASONS: Final = (PENDING, GROUPED, COOL_DOWN, SERIES_BUDGET, GROUP_BUDGET)
"""Why people were not told, in the order in which it is asked."""

EVERYTHING: Final = ""
"""Under which the alerts of all series together are counted."""


@dataclass(frozen=True, slots=True)
class Filed:
    """Where an anomaly went.

    Parameters
    ----------
    incident : Incident
        What it belongs to.
    group : IncidentGroup
        What that belongs to.
    opened, opened_group : bool
        It opened the incident, and the group incident.
    alert : bool
        People are told of it.
    suppressed : str
        Why not; empty if they are, or have been told of the incident before.
    """

    incident: Incident
    group: IncidentGroup
    opened: bool
    opened_group: bool
    alert: bool
    suppressed: str


class Alerting:
    """Files the anomalies of one group of instruments that are severe enough for an incident.

    Parameters
    ----------
    parameters : AnomalyParameters
        Durations and budgets.
    scopes : mapping of str to str
        By instrument, what its incidents are grouped over.

    Examples
    --------
    >>> alerting = Alerting(AnomalyParameters(), {"BTC": "BTC"})
    >>> first = alerting.take(0, "BTC", "market.BTC.spread", 3.0, "HIGH", "above")
    >>> second = alerting.take(10, "BTC", "market.BTC.volume", 5.0, "CRITICAL", "above")
    >>> (first.alert, first.suppressed), (second.alert, second.suppressed)
    ((True, ''), (False, 'grouped'))
    >>> first.group is second.group
    True
    """

    def __init__(self, parameters: AnomalyParameters, scopes: Mapping[str, str]) -> None:
        self._pending = parameters.pending
        self._cool_down = parameters.cool_down
        self._scopes = scopes
        self._incidents = Incidents(parameters.keep_firing)
        self._groups = IncidentGroups(parameters.group_tolerance, parameters.group_longest)
        self._series_budget = AlertBudget(parameters.alerts_per_series)
        self._group_budget = AlertBudget(parameters.alerts_per_group)
        self.due = self._incidents.due
        """Nothing is to be closed before this time."""

    def take(self, time: int, instrument: str, series: str, sigma: float, severity: str, direction: str) -> Filed:
        """File an anomaly at ``time`` (µs UTC); what is over must have been closed."""
        incident, opened = self._incidents.take(time, instrument, series, sigma, severity, direction)
        if opened:
            group, opened_group = self._groups.join(time, self._scopes[instrument], incident)
        else:
            group, opened_group = self._groups.of(incident), False
        group.extend(time, series, sigma, severity)
        self.due = min(self.due, self._incidents.due)
        if incident.alerted or incident.suppressed == GROUPED:
            return Filed(incident, group, opened, opened_group, alert=False, suppressed="")
        suppressed = incident.suppressed = self._against(time, incident, group)
        if not group.alerted:
            group.suppressed = suppressed
        if not suppressed:
            incident.alerted = group.alerted = True
            self._series_budget.spend(series, time)
            self._group_budget.spend(EVERYTHING, time)
        return Filed(incident, group, opened, opened_group, not suppressed, suppressed)

    def _against(self, time: int, incident: Incident, group: IncidentGroup) -> str:
        """What speaks against telling people; empty: nothing."""
        if time < incident.opened + self._pending:
            return PENDING
        if group.alerted:
            return GROUPED
        told = self._series_budget.newest(incident.series)
        if told is not None and time < told + self._cool_down:
            return COOL_DOWN
        if not self._series_budget.allows(incident.series, time):
            return SERIES_BUDGET
        return "" if self._group_budget.allows(EVERYTHING, time) else GROUP_BUDGET

    def close(self, time: int) -> tuple[list[Incident], list[IncidentGroup]]:
        """Take out what is over at ``time``."""
        over = self._incidents.close(time)
        for incident in over:
            self._groups.leave(incident, self._incidents.over_at(incident))
        groups = self._groups.close(time)
        self.due = min(self._incidents.due, self._groups.due)
        return over, groups

    def state(self) -> dict[str, Any]:
        """Open incidents and group incidents, and the alerts that count."""
        return {
            "incidents": self._incidents.state(),
            "groups": self._groups.state(),
            "series_budget": self._series_budget.state(),
            "group_budget": self._group_budget.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._incidents.restore(state["incidents"])
        self._groups.restore(state["groups"])
        self._series_budget.restore(state["series_budget"])
        self._group_budget.restore(state["group_budget"])
        self.due = min(self._incidents.due, self._groups.due)
