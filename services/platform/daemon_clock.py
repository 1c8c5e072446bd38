"""Lets Dagster's daemon live through a wall clock that is set back.

Belongs here: noticing it, and what the daemon remembers of a time that is still to come. Does not belong here: starting
the daemon (``after_socket``), and a clock set forward, which it takes as time that has passed.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from dagster import DagsterInstance
from dagster._core.scheduler.instigation import InstigatorType, SensorInstigatorData

LOOK_SECONDS: Final = 1.0
TOLERANCE_SECONDS: Final = 2.0
"""Less is what a time server corrects; the daemon then waits a little longer once."""
SET_BACK_STATUS: Final = 75
"""Exit status: try again."""

_logger = logging.getLogger(__name__)


def watch_clock(
    leave: Callable[[int], Any] = os._exit,
    wall: Callable[[], float] | None = None,
    look_every: float = LOOK_SECONDS,
) -> threading.Thread:
    """End this process when the wall clock is set back; whoever watches over it starts it again.

    Dagster's daemons wait until a moment on the wall clock has come: after a step of an hour back they would all sleep
    for that hour. Ending in the middle of a tick is harmless: the daemon resumes it.
    """
    clock = wall if wall is not None else lambda: time.time()

    def watch() -> None:
        before = clock() - time.monotonic()
        while True:
            time.sleep(look_every)
            now = clock() - time.monotonic()
            if now < before - TOLERANCE_SECONDS:
                _logger.warning("the clock was set back by %.0f s: the daemon starts again", before - now)
                leave(SET_BACK_STATUS)
                return
            before = now

    thread = threading.Thread(target=watch, name="clock", daemon=True)
    thread.start()
    return thread


def forget_the_future(instance: DagsterInstance, now: float) -> int:
    """Let sensors that last ran at a time still to come run at once; returns how many there were.

    Parameters
    ----------
    now
        Seconds UTC by the wall clock.
    """
    found = 0
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        data = state.instigator_data
        if not isinstance(data, SensorInstigatorData):
            continue
        if max(data.last_tick_timestamp or 0.0, data.last_tick_start_timestamp or 0.0) > now + TOLERANCE_SECONDS:
            changed = data._replace(last_tick_timestamp=None, last_tick_start_timestamp=None)
            instance.update_instigator_state(state.with_data(changed))
            found += 1
    return found


def install() -> None:
    """Do both for the daemon of this process, whose instance the environment names."""
    with DagsterInstance.get() as instance:
        if found := forget_the_future(instance, time.time()):
            _logger.warning("the clock was set back: %d sensors last ran in the future and run at once", found)
    watch_clock()
