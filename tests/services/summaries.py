"""A summary made by hand, for what prints and draws it."""

import math
from dataclasses import replace
from typing import Any

from services.outcome import (
    AnomalyOutcome,
    ExecutionCounts,
    FailureCount,
    KindFound,
    Record,
    SignalCounts,
    ThresholdChange,
)
from services.summary import Summary, TableSummary, Wall
from signal_assets.anomalies.truth_score import TruthScore
from signal_assets.event_time import DAY, MINUTE
from signal_assets.fixed_point import SCALE
from signal_assets.levels.outcome_score import LevelScore

BTC = "BTCFDUSD.BINANCE"
MIDNIGHT = 20_000 * DAY  # 2024-10-04

SUMMARY = Summary(
    tables=[
        TableSummary("market.trades", 1_234, MIDNIGHT, MIDNIGHT + MINUTE, 7),
        TableSummary("market.feed_gaps", 0, None, None, None),
    ],
    peaks={BTC: [{"method": "scale_space", "price": 61_000.5, "volume": 12.0, "z_score": 2.25, "confidence": 0.875}]},
    zones={
        BTC: [
            {"side": "support", "low": 60_990.0, "high": 61_000.0, "strength": 0.125, "confidence": 0.5, "touches": 3}
        ]
    },
    walls=[
        Wall(BTC, "bid", 61_000 * SCALE, 5 * SCALE, MIDNIGHT, MIDNIGHT + MINUTE, 4, 3),
        Wall(BTC, "ask", 62_000 * SCALE, 5 * SCALE, MIDNIGHT, MIDNIGHT + MINUTE, 4, 0),
    ],
    level_scores=[
        LevelScore(BTC, "depth", 24, 900, 200, 0.5, 0.4, 0.6, 0.5, 0.1, 0.025, 0.175),
        LevelScore(BTC, "trades", 1, 2, 0, 0.0, 0.25, *[math.nan] * 5),
    ],
    anomalies=AnomalyOutcome(
        anomalies=1_500,
        incidents=40,
        alerts={"CRITICAL": 30, "MEDIUM": 10},
        groups=33,
        suppressed={"grouped": 7},
        score=TruthScore(planted=4, found=3, alerts=40, right=5, median_delay=7.0),
        kinds=[KindFound("price_spike", 3, 3, 7.0), KindFound("volume_burst", 1, 0, math.nan)],
    ),
    signals=[
        SignalCounts("momentum_rider", {"validated": 0, "rejected": 0, "duplicate": 0, "failed": 2}, 0),
        SignalCounts("triangular_arbitrage", {"validated": 5, "rejected": 1, "duplicate": 2, "failed": 0}, 4),
    ],
    failures=[FailureCount("momentum_rider", 2, "strategy failed: ValueError: <b>[bold]&</b>")],
    execution=[ExecutionCounts("triangular_arbitrage", {"canceled": 1, "filled": 6}, 9, 1_234.5, 1.25)],
    records=[
        Record("crypto", "triangular_arbitrage", -3.5, 2, 0.5, 0.0125, math.nan),
        Record("crypto", "portfolio", -3.5, 2, 0.5, 0.0025, math.nan),
    ],
    thresholds=[
        ThresholdChange("crypto", "min_signal_quality", 0.1, 0.105, MIDNIGHT + 2 * DAY, 0.25, 8),
        ThresholdChange("crypto", "trend_multiplier", 2.0, 2.0, None, math.nan, 0),
    ],
)


def summary(**changes: Any) -> Summary:
    """That summary with changes."""
    return replace(SUMMARY, **changes)
