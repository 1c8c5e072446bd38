"""Incidents and group incidents as rows of their tables.

Belongs here: what of them is written when they close, and what they are grouped over. Does not belong here: opening and
closing them (``incidents``, ``incident_groups``).
"""

import json
from collections.abc import Sequence
from typing import Any

from signal_assets.anomalies.incident_groups import IncidentGroup
from signal_assets.anomalies.incidents import Incident
from signal_assets.instrument import Instrument, whole_group


def scopes(instruments: Sequence[Instrument], group_by: str) -> dict[str, str]:
    """By instrument, what its incidents are grouped over: itself, or its group.

    Examples
    --------
    >>> from signal_assets.fixed_point import SCALE
    >>> bitcoin = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", SCALE, SCALE)
    >>> scopes([bitcoin], "instrument"), scopes([bitcoin], "group")
    ({'BTCFDUSD.BINANCE': 'BTCFDUSD.BINANCE'}, {'BTCFDUSD.BINANCE': '*.crypto'})
    """
    return {
        instrument.key: whole_group(instrument.group) if group_by == "group" else instrument.key
        for instrument in instruments
    }


def incident_row(incident: Incident, closed: int) -> tuple[Any, ...]:
    """Row of ``anomalies.incidents``."""
    return (
        incident.id,
        incident.instrument,
        incident.series,
        incident.opened,
        incident.last,
        closed,
        incident.anomalies,
        incident.peak_sigma,
        incident.severity,
        incident.direction,
        incident.group,
        incident.alerted,
        incident.suppressed,
    )


def group_row(group: IncidentGroup, closed: int) -> tuple[Any, ...]:
    """Row of ``anomalies.incident_groups``."""
    return (
        group.id,
        group.scope,
        group.opened,
        group.last,
        closed,
        group.incidents,
        group.anomalies,
        group.first_series,
        group.peak_series,
        group.peak_sigma,
        group.severity,
        json.dumps(group.members),
        group.moved_together,
        group.alerted,
        group.suppressed,
    )
