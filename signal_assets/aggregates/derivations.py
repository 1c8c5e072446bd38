"""How the dollar aggregates follow from raw depth and trades."""

from resources.settings import Settings
from signal_assets.aggregates.dollar_depth import dollar_depth_rows
from signal_assets.aggregates.dollar_trades import dollar_trades_rows
from signal_assets.aggregates.tables import DOLLAR_DEPTH, DOLLAR_TRADES
from signal_assets.derivation import Derivation, Input
from signal_assets.event_time import MINUTE, SECOND
from signal_assets.market.tables import DEPTH_SNAPSHOTS, TRADES


def dollar_depth(settings: Settings) -> Derivation:
    """Each snapshot of the window, bucket by bucket."""
    return Derivation(
        table=DOLLAR_DEPTH,
        inputs=(Input(DEPTH_SNAPSHOTS),),
        kernel=lambda window, instruments, inputs: dollar_depth_rows(window, instruments, inputs[DEPTH_SNAPSHOTS.name]),
        grid=settings.snapshot_interval_seconds * SECOND,
    )


def dollar_trades(settings: Settings) -> Derivation:
    """Each minute that closes in the window, bucket by bucket."""
    del settings
    return Derivation(
        table=DOLLAR_TRADES,
        inputs=(Input(TRADES, look_back=MINUTE),),
        kernel=lambda window, instruments, inputs: dollar_trades_rows(window, instruments, inputs[TRADES.name]),
        grid=MINUTE,
    )
