"""A live lane as a process, with folds whose signals can be worked out from the features rows alone.

Belongs here: the lane's start, and those folds. Does not belong here: what must hold (the tests beside).
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from resources.settings import Settings, load_settings
from services.live_lane.__main__ import configure_logging
from services.live_lane.lane import LiveLane
from signal_assets.event_time import HOUR
from signal_assets.fold import Fold
from signal_assets.instrument import Instrument
from signal_assets.machine import Events, Rows
from signal_assets.signals.tables import SIGNALS
from tests.fakes import FakeLake
from tests.live_lane.toy_folds import Signals, toy_folds

_EXPIRES, _TIME = SIGNALS.value_columns.index("expires_at"), SIGNALS.value_columns.index("event_time")


class LastingSignals(Signals):
    """Signals that live for an hour: none expires because this machine is slow."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        super().__init__(instruments)

    def step(self, time: int, events: Events) -> Rows:
        made = super().step(time, events)[SIGNALS.name]
        return {SIGNALS.name: [(*row[:_EXPIRES], row[_TIME] + HOUR, *row[_EXPIRES + 1 :]) for row in made]}


def lasting_folds(_: Settings | None = None) -> list[Fold]:
    """The toys, with signals that last."""
    *others, signals = toy_folds()
    return [*others, Fold(signals.name, signals.tables, signals.inputs, LastingSignals)]


async def run(folder: Path, groups: Sequence[str] | None) -> None:
    """Run a lane to the end of the recording, or until SIGTERM."""
    lane = LiveLane(
        load_settings(),
        os.environ["SIGNAL_REDIS_URL"],
        folder,
        groups=groups,
        exit_at_end=True,
        folds_of=lasting_folds,
        lake=FakeLake(),
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lane.stop)
    await lane.run()


if __name__ == "__main__":
    configure_logging()
    uvloop.run(run(Path(sys.argv[1]), sys.argv[2].split(",") if len(sys.argv) > 2 else None))
