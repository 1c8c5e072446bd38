"""The wish that the platform stop, which a signal handler may express.

Belongs here: the flag. Does not belong here: who sets it.
"""

import time
from typing import Final

_LOOK_EVERY: Final = 0.1


class StopRequest:
    """A flag that a signal handler can set while the same thread waits for it.

    ``threading.Event`` cannot do that: its lock is not re-entrant, and the handler runs in the thread that may hold it.

    Examples
    --------
    >>> request = StopRequest()
    >>> request.wait(0)
    False
    >>> request.set()
    >>> request.wait()
    True
    """

    def __init__(self) -> None:
        self._requested = False

    def set(self) -> None:
        """Express the wish."""
        self._requested = True

    def is_set(self) -> bool:
        """Whether somebody has."""
        return self._requested

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until somebody has; False after ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._requested:
            left = _LOOK_EVERY if deadline is None else min(_LOOK_EVERY, deadline - time.monotonic())
            if left <= 0:
                return False
            time.sleep(left)
        return True
