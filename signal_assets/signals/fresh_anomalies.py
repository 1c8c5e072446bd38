"""How alarming the newest anomalies of an instrument are.

Belongs here: the newest time of every severity. Does not belong here: finding anomalies (``signal_assets/anomalies``).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

SEVERITIES: Final = ("LOW", "MEDIUM", "HIGH", "CRITICAL")


class FreshAnomalies:
    """Severity of the anomalies up to ``window`` µs old, per instrument."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._newest: dict[str, dict[str, int]] = {}

    def take(self, rows: Sequence[Any]) -> None:
        """Take in the anomalies of one step."""
        for row in rows:
            self._newest.setdefault(row.instrument, {})[row.severity] = row.time

    def severity(self, time: int, keys: Iterable[str]) -> str:
        """Greatest severity among anomalies of these instruments with ``time - window <= its time``; empty: none."""
        known = [self._newest[key] for key in keys if key in self._newest]
        for severity in reversed(SEVERITIES):
            if any(time - newest[severity] <= self._window for newest in known if severity in newest):
                return severity
        return ""

    def state(self) -> dict[str, dict[str, int]]:
        """Newest time of every severity, by instrument."""
        return {key: dict(sorted(newest.items())) for key, newest in sorted(self._newest.items())}

    def restore(self, state: Mapping[str, Mapping[str, int]]) -> None:
        """Go on from a state."""
        self._newest = {key: dict(newest) for key, newest in state.items()}
