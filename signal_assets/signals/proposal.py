"""A strategy's proposal as validation looks at it: the record, read and found sound.

Belongs here: what follows from the record alone. Does not belong here: whether it is sound (``sanity``) or good.
"""

from dataclasses import dataclass
from typing import Any, Final

from signal_assets.instrument import Instrument

ARBITRAGE: Final = "arbitrage"
TREND_FOLLOWING: Final = "trend_following"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A sound proposal.

    Parameters
    ----------
    record : named tuple
        Row of the strategy's table.
    instrument : Instrument
        To which action and prices belong.
    involved : tuple of str
        Keys of all its instruments, those of its legs included.
    direction : int
        1 buys, -1 sells, 0 does neither on the whole (several legs, an arbitrage).
    reward_to_risk : float or None
        Distance from entry to target over distance from entry to stop; None without both.
    profit_percent : float or None
        Of an arbitrage: what is left of what goes round, after fees, in percent; None for anything else.
    """

    record: Any
    instrument: Instrument
    involved: tuple[str, ...]
    direction: int
    reward_to_risk: float | None
    profit_percent: float | None

    @property
    def follows_trend(self) -> bool:
        """Whether it lives on a trend going on."""
        return bool(self.record.family == TREND_FOLLOWING)
