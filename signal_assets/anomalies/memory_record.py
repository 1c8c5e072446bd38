"""An anomaly in the words of the system it is handed to: its metric names, its severities, where it comes from.

Belongs here: the record and how it follows from ours. Does not belong here: who is handed it, and when
(``services/hand_over``), what our own stream holds (``anomaly_record``).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from signal_assets.anomalies.severity import SEVERITIES
from signal_assets.event_time import iso

METRIC_NAMES: Final[Mapping[str, str]] = {
    "system.cpu.usage": "cpu_usage",
    "system.memory.usage": "memory_usage",
    "system.network.io": "network_io",
    "system.disk.io": "disk_io",
    "market.*": "market_{feature}",
}
"""What our series are called elsewhere unless the configuration says otherwise; the instrument is metadata there."""

SEVERITY_NAMES: Final[Mapping[str, str]] = {name: name.lower() for name in SEVERITIES}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where records say that they come from."""

    hostname: str
    environment: str
    service: str


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """One anomaly, as another system stores it.

    Parameters
    ----------
    id : str
        The anomaly's: the same anomaly has the same id however often it is handed over.
    timestamp : str
        Its time, ISO 8601 in UTC.
    metric_name, severity : str
        In the receiver's words.
    sigma, tail_probability : float
        Distance from the expected value, and how likely one so great is.
    expected_low, expected_high : float or None
        The expected band; None: there was none.
    metadata : mapping of str to str
        hostname, environment, service; and series, instrument, detector, direction, incident and group incident of
        ours, and whether people are told of it (``alert``, true or false).
    """

    id: str
    timestamp: str
    metric_name: str
    value: float
    severity: str
    sigma: float
    tail_probability: float
    expected_low: float | None
    expected_high: float | None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> str:
        """The record as one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class RecordMapping:
    """How our words become the receiver's.

    Parameters
    ----------
    metric_names : mapping of str to str
        By series, or by a pattern of series (``*`` and ``?``), the first that fits counts; ``{instrument}`` and
        ``{feature}`` stand for those parts of a market series. A series that nothing fits keeps its name with ``_``
        where dots were.
    severities : mapping of str to str
        By our severity; all four.
    least_severity : str
        Anomalies below are not handed over.

    Raises
    ------
    ValueError
        If a severity is missing or unknown, or a name asks for a part that series do not have.

    Examples
    --------
    >>> names = RecordMapping({"market.*.return": "{instrument}_return"})
    >>> names.metric_name("market.BTCFDUSD.BINANCE.return"), names.metric_name("system.cpu.usage")
    ('BTCFDUSD.BINANCE_return', 'system_cpu_usage')
    """

    metric_names: Mapping[str, str] = field(default_factory=lambda: dict(METRIC_NAMES))
    severities: Mapping[str, str] = field(default_factory=lambda: dict(SEVERITY_NAMES))
    least_severity: str = "MEDIUM"

    def __post_init__(self) -> None:
        if set(self.severities) != set(SEVERITIES):
            raise ValueError(f"severities must name {', '.join(SEVERITIES)}, not {', '.join(self.severities)}")
        if self.least_severity not in SEVERITIES:
            raise ValueError(f"least_severity must be one of {', '.join(SEVERITIES)}, not {self.least_severity!r}")
        for pattern, name in self.metric_names.items():
            try:
                name.format(instrument="", feature="")
            except (KeyError, IndexError, ValueError) as error:
                raise ValueError(f"metric name {name!r} of {pattern}: {error!r} is no part of a series") from None

    def metric_name(self, series: str) -> str:
        """What the receiver calls a series."""
        stage, _, rest = series.partition(".")
        instrument, _, feature = rest.rpartition(".") if stage == "market" else ("", "", rest)
        if series in self.metric_names:
            return self.metric_names[series].format(instrument=instrument, feature=feature)
        for pattern, name in self.metric_names.items():
            if fnmatchcase(series, pattern):
                return name.format(instrument=instrument, feature=feature)
        return series.replace(".", "_")

    def wants(self, anomaly: Any) -> bool:
        """Whether an anomaly (record of ``anomalies.anomalies``) is severe enough to be handed over."""
        return SEVERITIES.index(anomaly.severity) >= SEVERITIES.index(self.least_severity)


def memory_record(anomaly: Any, mapping: RecordMapping, origin: Origin) -> MemoryRecord:
    """An anomaly (record of ``anomalies.anomalies``) in the receiver's words."""
    return MemoryRecord(
        id=anomaly.id,
        timestamp=iso(anomaly.time),
        metric_name=mapping.metric_name(anomaly.series),
        value=anomaly.value,
        severity=mapping.severities[anomaly.severity],
        sigma=anomaly.sigma,
        tail_probability=anomaly.tail_probability,
        expected_low=_number(anomaly.expected_low),
        expected_high=_number(anomaly.expected_high),
        metadata={
            "hostname": origin.hostname,
            "environment": origin.environment,
            "service": origin.service,
            "series": anomaly.series,
            "instrument": anomaly.instrument,
            "detector": anomaly.detector,
            "direction": anomaly.direction,
            "incident": anomaly.incident,
            "incident_group": anomaly.incident_group,
            "alert": "true" if anomaly.alert else "false",
        },
    )


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
