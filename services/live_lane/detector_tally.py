"""How each detector of a group does: its last point, how far it is behind, how often it raised.

Belongs here: counting what the steps' rows say. Does not belong here: Redis (``anomaly_publisher``), detecting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

from signal_assets.anomalies.tables import ANOMALIES, SCORES

Row = tuple[Any, ...]

_DETECTOR: Final = itemgetter(SCORES.value_columns.index("detector"))
_TIME: Final = SCORES.value_columns.index("time")
_SIGMA: Final = SCORES.value_columns.index("sigma")
_ANOMALY_DETECTOR: Final = itemgetter(ANOMALIES.value_columns.index("detector"))


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the rows do not say.

    Parameters
    ----------
    newest : int
        Newest exchange time that the group knows, µs; 0: none yet.
    failures : mapping of str to int
        How often each detector raised.
    last_failures : mapping of str to str
        What it raised last.
    stopped : str
        Why no detector is stepped at present; empty: they are.
    """

    newest: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    last_failures: Mapping[str, str] = field(default_factory=dict)
    stopped: str = ""


@dataclass(slots=True)
class _Counts:
    last_point: int = 0
    points: int = 0
    series: int = 0
    warming: int = 0
    anomalies: int = 0


class DetectorTally:
    """Counts since it was made; :meth:`health` may be asked at any time.

    Examples
    --------
    >>> tally = DetectorTally()
    >>> tally.take({SCORES.name: [("A.B", "market.A.B.volume", 10_000_000, "mad", 0.5)]})
    >>> tally.health(Circumstances(newest=12_500_000))["mad"]["lag_seconds"]
    '2.5'
    """

    def __init__(self) -> None:
        self._detectors: dict[str, _Counts] = {}

    def take(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Count the rows of one step, all of one time; tables that are not asked for are passed over."""
        scores = rows.get(SCORES.name, ())
        if scores:
            by_detector: dict[str, list[float]] = {}
            for row in scores:
                by_detector.setdefault(_DETECTOR(row), []).append(row[_SIGMA])
            for name, sigmas in by_detector.items():
                counts = self._detectors.setdefault(name, _Counts())
                counts.last_point = scores[0][_TIME]
                counts.points += len(sigmas)
                counts.series = len(sigmas)
                counts.warming = sum(sigma != sigma for sigma in sigmas)  # NaN: nothing can be said yet
        for row in rows.get(ANOMALIES.name, ()):
            self._detectors.setdefault(_ANOMALY_DETECTOR(row), _Counts()).anomalies += 1

    def health(self, circumstances: Circumstances) -> dict[str, dict[str, str]]:
        """By detector: state (running, warming, failing, stopped), last point, lag and counts, as texts."""
        names = dict.fromkeys((*self._detectors, *circumstances.failures))
        return {name: self._health(name, circumstances) for name in names}

    def _health(self, name: str, circumstances: Circumstances) -> dict[str, str]:
        counts = self._detectors.get(name, _Counts())
        failures = circumstances.failures.get(name, 0)
        state = "running"
        if circumstances.stopped:
            state = "stopped"
        elif counts.warming == counts.series:  # it has said nothing of any series lately
            state = "failing" if failures else "warming"
        lag = max(circumstances.newest - counts.last_point, 0) / 1e6 if counts.last_point else None
        return {
            "state": state,
            "last_point": str(counts.last_point or ""),
            "lag_seconds": "" if lag is None else str(lag),
            "series": str(counts.series),
            "warming": str(counts.warming),
            "points": str(counts.points),
            "anomalies": str(counts.anomalies),
            "failures": str(failures),
            "last_failure": circumstances.stopped or circumstances.last_failures.get(name, ""),
        }
