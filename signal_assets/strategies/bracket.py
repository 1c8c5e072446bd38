"""Stop and target around an entry price.

Belongs here: on which side they lie and how they fall on ticks. Does not belong here: how far away they are
(strategies).
"""

from typing import Literal


def bracket(
    action: Literal["buy", "sell"], entry_price: int, stop_distance: int, target_distance: int, tick_size: int
) -> tuple[int, int] | None:
    """Stop and target on ticks, both rounded towards the loss; None if no target is left beyond the entry, or above 0.

    So the risk is never smaller and the reward never greater than was asked for: a buy's are rounded down, a sell's up.

    Parameters
    ----------
    entry_price, stop_distance, target_distance, tick_size : int
        Units of 1e-8; distances are positive.

    Examples
    --------
    A buy at 100.00 with a stop 2.005 below and a target 3.005 above, on ticks of a cent.

    >>> bracket("buy", 100_00000000, 2_00500000, 3_00500000, 1000000)
    (9799000000, 10300000000)
    >>> bracket("sell", 100_00000000, 2_00500000, 3_00500000, 1000000)
    (10201000000, 9700000000)
    """
    if action == "buy":
        stop = (entry_price - stop_distance) // tick_size * tick_size
        target = (entry_price + target_distance) // tick_size * tick_size
        return (stop, target) if stop > 0 and target > entry_price else None
    stop = -(-(entry_price + stop_distance) // tick_size) * tick_size
    target = -(-(entry_price - target_distance) // tick_size) * tick_size
    return (stop, target) if 0 < target < entry_price else None
