"""Which folds the live lane steps.

Belongs here: the list, in the order in which data flows. Does not belong here: any fold (the stages), stepping
(``group_engine``). Importing this takes seconds – numba, and every compiled step – so it is imported where an engine is
started, beside the feed.
"""

from collections.abc import Sequence

from resources.settings import Settings
from signal_assets.anomalies.folds import anomaly_fold
from signal_assets.fold import Fold
from signal_assets.signals.folds import signal_fold
from signal_assets.strategies.folds import strategy_folds


def live_folds(settings: Settings) -> Sequence[Fold]:
    """Anomalies, every strategy, signals."""
    return [anomaly_fold(settings), *strategy_folds(settings.strategies), signal_fold(settings)]
