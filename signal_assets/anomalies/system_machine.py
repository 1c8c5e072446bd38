"""The anomalies of the machine that we run on: samples in; the rows of every other anomaly out.

Belongs here: from which sample a value comes. Does not belong here: which series there are (``system_series``),
sampling (``services/live_lane/system_metrics``), detectors, incidents.

There is one set of system series, whichever machine leads: the samples name the machine. Where another one takes over,
detectors begin anew, for its numbers say nothing of the last one's. A host that no longer reports adds nothing to what
it had open: all its incidents and group incidents are over, and are written as closed at the first sample of the host
that reports now. While nobody reports no time passes here, and they stay open.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from signal_assets.anomalies.anomaly_machine import AnomalyMachine, Row
from signal_assets.anomalies.detector import DetectorFactory
from signal_assets.anomalies.incidents import NEVER
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.system_series import SYSTEM_FEATURES, system_series
from signal_assets.anomalies.tables import SYSTEM_SAMPLES
from signal_assets.instrument import Instrument
from signal_assets.machine import Events, Rows, decode_state, encode_state


class SystemMachine(AnomalyMachine):
    """Watches the system series; see :class:`signal_assets.machine.Machine`.

    Parameters
    ----------
    instruments : sequence of Instrument
        :data:`~signal_assets.anomalies.system_series.SYSTEM` alone.
    parameters, detectors
        As of :class:`~signal_assets.anomalies.anomaly_machine.AnomalyMachine`.
    """

    features = SYSTEM_FEATURES

    @staticmethod
    def series_of(instrument: str, feature: str) -> str:
        """``system.cpu.usage`` and so on: they concern no instrument."""
        return system_series(feature)

    def __init__(
        self,
        instruments: Sequence[Instrument],
        parameters: AnomalyParameters,
        detectors: Sequence[DetectorFactory] = (),
    ) -> None:
        super().__init__(instruments, parameters, detectors)
        self._cold = encode_state(super().state())
        self._numbers = {series: number for number, (_, series) in enumerate(self._series)}
        self._host = ""

    def step(self, time: int, events: Events) -> Rows:
        """Take in the samples of ``time``; rows of all tables of the stage."""
        records = events.get(SYSTEM_SAMPLES.name, ())
        if not records:
            return {}
        host = records[0].host
        rows: dict[str, list[Row]] = {}
        if host != self._host:
            if self._host:
                self._close(time, rows, over_by=NEVER)
                super().restore(decode_state(self._cold))
            self._host = host
        if time >= self._filing.due:
            self._close(time, rows)
        values = np.full(len(self._series), np.nan)
        for record in records:
            if record.series in self._numbers:
                values[self._numbers[record.series]] = record.value
        self._judge(time, values, rows)
        return rows

    def state(self) -> dict[str, Any]:
        """As of every anomaly machine, and the machine that the samples are of."""
        return super().state() | {"host": self._host}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        super().restore(state)
        self._host = state["host"]
