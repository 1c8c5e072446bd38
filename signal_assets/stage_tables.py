"""Every table of the lake, in the order in which data flows."""

from typing import Final

from signal_assets.aggregates.tables import TABLES as AGGREGATES
from signal_assets.anomalies.tables import TABLES as ANOMALIES
from signal_assets.execution.tables import TABLES as EXECUTION
from signal_assets.learning.tables import TABLES as LEARNING
from signal_assets.levels.tables import TABLES as LEVELS
from signal_assets.market.tables import TABLES as MARKET
from signal_assets.performance.tables import TABLES as PERFORMANCE
from signal_assets.signals.tables import TABLES as SIGNALS
from signal_assets.strategies.tables import TABLES as STRATEGIES

TABLES: Final = (
    *MARKET,
    *AGGREGATES,
    *LEVELS,
    *ANOMALIES,
    *STRATEGIES,
    *SIGNALS,
    *EXECUTION,
    *PERFORMANCE,
    *LEARNING,
)
