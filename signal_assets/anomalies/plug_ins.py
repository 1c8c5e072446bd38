"""Detectors that other packages bring: entry points of the group ``signal_assets.detectors``.

Belongs here: finding them, and refusing what is no detector. Does not belong here: our own detectors, when they are
asked (``anomaly_machine``).

An installed distribution says in its metadata ``name = module:factory``; the factory takes the ``AnomalyParameters``
and makes one cold detector, whose ``name`` is the entry point's. Every process that computes anomalies – live lane,
workers, code server – looks them up when it builds the fold, so all machines need the same distributions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from signal_assets.anomalies.anomaly_machine import REPORTED
from signal_assets.anomalies.detector import DetectorFactory
from signal_assets.anomalies.excess_detector import ExcessDetector
from signal_assets.anomalies.novelty_detector import NoveltyDetector
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.machine import decode_state, encode_state

GROUP: Final = "signal_assets.detectors"
OURS: Final = (*REPORTED, NoveltyDetector.name, ExcessDetector.name)
METHODS: Final = ("update", "score", "state", "restore")


class PlugInError(ValueError):
    """A detector plug-in that is wanted is not there or cannot be used; one line says which, whose and why."""


@dataclass(frozen=True)
class PlugIn:
    """A detector of another package.

    Parameters
    ----------
    name : str
        Of the entry point and of the detector.
    distribution : str
        Name and version of the package that brings it.
    factory : DetectorFactory
        Makes one for a series.
    """

    name: str
    distribution: str
    factory: DetectorFactory

    @property
    def version(self) -> str:
        """What tells it from another version of itself."""
        return f"{self.name} of {self.distribution}"


def detector_plug_ins(wanted: Sequence[str] | None = None) -> tuple[list[PlugIn], list[str]]:
    """The installed plug-ins in the order of their names, or those that are wanted in the given order.

    Parameters
    ----------
    wanted : sequence of str, optional
        Names of entry points; None: whichever are installed.

    Returns
    -------
    list of PlugIn, list of str
        Those that can be used, and a line for each that cannot.

    Raises
    ------
    PlugInError
        If one that is wanted is not installed or cannot be used.
    """
    installed: dict[str, list[EntryPoint]] = {}
    for found in sorted(entry_points(group=GROUP), key=lambda point: (point.name, _distribution(point))):
        installed.setdefault(found.name, []).append(found)
    plug_ins, refused = [], []
    for name in installed if wanted is None else wanted:
        try:
            plug_ins.append(_load(name, installed.get(name, [])))
        except PlugInError as error:
            if wanted is not None:
                raise
            refused.append(str(error))
    return plug_ins, refused


def _load(name: str, points: Sequence[EntryPoint]) -> PlugIn:
    if not points:
        raise PlugInError(f"detector plug-in {name!r} is not installed: no package has it in its entry points {GROUP}")
    where = f"detector plug-in {name!r} of {' and '.join(map(_distribution, points))} ({points[0].value})"
    if len({(_distribution(point), point.value) for point in points}) > 1:
        raise PlugInError(f"{where}: two packages bring a detector of that name")
    if name in OURS:
        raise PlugInError(f"{where}: the name is that of one of our own detectors")
    try:
        factory = points[0].load()
        trouble = _trouble(name, factory(AnomalyParameters()))
    except Exception as error:  # whatever a plug-in raises must not stop the others
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise PlugInError(f"{where}: {reason}") from error
    if trouble:
        raise PlugInError(f"{where}: {trouble}")
    return PlugIn(name, _distribution(points[0]), factory)


def _trouble(name: str, detector: Any) -> str:
    """What keeps an object from being a detector of that name; empty: nothing. It has then seen one value."""
    for method in METHODS:
        if not callable(getattr(detector, method, None)):
            return f"{type(detector).__name__} has no method {method}"
    if detector.name != name:
        return f"the detector calls itself {detector.name!r}, not {name!r} as its entry point does"
    float(detector.threshold)
    sigma, low, high, vote = detector.update(0, 1.0)
    if int(vote) not in (-1, 0, 1):
        return f"vote must be -1, 0 or 1, not {vote!r}"
    _ = float(sigma), float(low), float(high)
    detector.restore(decode_state(encode_state(detector.state())))
    return ""


def _distribution(point: EntryPoint) -> str:
    """Name and version of the package that an entry point comes from."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unnamed package"
