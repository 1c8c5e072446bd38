"""De-duplication: one validated signal per slot and quarter of an hour.

Belongs here: slots in event time. Does not belong here: arbitration between processes (Redis, in the live lane), which
goes by the same times.
"""

from collections.abc import Mapping


class Slots:
    """Who holds which slot since when.

    A claim at time t takes the slot for ``[t, t + window)``: a second one is a duplicate if it comes less than
    ``window`` later, and takes the slot anew at exactly ``window`` later (as a Redis key with that time to live would
    be gone). What is refused does not prolong anything.

    Parameters
    ----------
    window : int
        µs.

    Examples
    --------
    >>> slots = Slots(900)
    >>> [slots.claim(time, "BTC/FDUSD|1m|momentum_rider|buy") for time in (1000, 1899, 1900)]
    [True, False, True]
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._since: dict[str, int] = {}

    def forget(self, time: int) -> None:
        """Drop the slots that are free again at ``time``."""
        self._since = {key: since for key, since in self._since.items() if time - since < self._window}

    def claim(self, time: int, key: str) -> bool:
        """Take a slot; False if it is held."""
        since = self._since.get(key)
        if since is not None and time - since < self._window:
            return False
        self._since[key] = time
        return True

    def state(self) -> dict[str, int]:
        """Since when each slot is held."""
        return dict(sorted(self._since.items()))

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on from a state."""
        self._since = dict(state)
