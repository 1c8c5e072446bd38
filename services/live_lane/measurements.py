"""What the live lane counts and times.

Belongs here: the numbers. Does not belong here: how they are shown (``metrics_server``).
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import Histogram

LATENCY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
RECENT: Final = 2_000


def _histogram(name: str, text: str) -> Histogram:
    # Not registered: the server has a registry of its own, so that two lanes in one test process do not collide.
    return Histogram(name, text, buckets=LATENCY_BUCKETS, registry=None)


class Latency:
    """A Prometheus histogram that also knows the quantiles of its newest two thousand values."""

    def __init__(self, name: str, text: str) -> None:
        self.histogram = _histogram(name, text)
        self._recent: deque[float] = deque(maxlen=RECENT)

    def observe(self, seconds: float) -> None:
        """Take one value."""
        self.histogram.observe(seconds)
        self._recent.append(seconds)

    def quantile(self, share: float) -> float | None:
        """The value below which ``share`` of the newest values lie, None before the first."""
        if not self._recent:
            return None
        ordered = sorted(self._recent)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


@dataclass
class Measurements:
    """Counters since start; plain integers, because a message must not pay for a lock."""

    messages: int = 0
    trades: int = 0
    depth_updates: int = 0
    dead_letters: int = 0
    quality_events: int = 0
    internal_errors: int = 0
    connections: int = 0
    disconnections: int = 0
    rest_requests: int = 0
    rest_failures: int = 0
    flushes: int = 0
    flush_failures: int = 0
    entries_added: int = 0
    entries_refused: int = 0
    batches_resent: int = 0
    records_added: int = 0
    records_lost: int = 0
    spilled_batches: int = 0
    spill_refused: int = 0
    pauses: int = 0
    groups_taken: int = 0
    takeovers: int = 0
    """Groups taken that another lane had led before."""
    superseded: int = 0
    """Groups that another lane took while we believed to lead them."""
    records_superseded: int = 0
    """Records let go of then: the other lane has fetched them (trades) or recorded a gap (depth)."""
    reports: int = 0
    report_failures: int = 0
    flush: Latency = field(
        default_factory=lambda: Latency("live_lane_flush_seconds", "One flush to Redis, sent to acknowledged")
    )
    close_to_redis: Latency = field(
        default_factory=lambda: Latency(
            "live_lane_close_to_redis_seconds", "Receipt of the message that closed a grid point to its XADD"
        )
    )
    processing: Latency = field(
        default_factory=lambda: Latency("live_lane_processing_seconds", "Processing of one batch of received messages")
    )

    @property
    def latencies(self) -> tuple[Latency, ...]:
        """All histograms."""
        return (self.flush, self.close_to_redis, self.processing)


@dataclass
class SignalMeasurements:
    """What engines and emitter count since start; labels are the counters' keys."""

    anomalies: Counter[str] = field(default_factory=Counter)
    """By severity."""
    anomaly_events: Counter[str] = field(default_factory=Counter)
    """Anomalies on their way to Redis: stored, known (they stood there), dropped."""
    anomaly_event_failures: Counter[str] = field(default_factory=Counter)
    """By the kind of error."""
    signals: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By strategy and status."""
    emitted: int = 0
    suppressed: Counter[str] = field(default_factory=Counter)
    """Validated signals that did not leave, by reason: duplicate, repeated, expired."""
    fold_failures: Counter[str] = field(default_factory=Counter)
    """Machines that raised and dropped out, by fold."""
    engine_starts: int = 0
    engine_start_failures: Counter[str] = field(default_factory=Counter)
    """By the kind of error."""
    emission_failures: Counter[str] = field(default_factory=Counter)
    """By the kind of error."""
    closing_to_signal: Latency = field(
        default_factory=lambda: Latency(
            "closing_message_to_signal_seconds",
            "Arrival of the message that closed a grid point to Redis' answer to the signal that came of it",
        )
    )
