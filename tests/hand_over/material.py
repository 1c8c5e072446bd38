"""Anomalies and records to hand over, and receivers that fail as they are told to."""

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

from services.hand_over.memory_interface import Delivery
from signal_assets.anomalies.memory_record import MemoryRecord, Origin, RecordMapping, memory_record
from signal_assets.anomalies.tables import ANOMALIES
from signal_assets.machine import record_class
from signal_assets.table import ColumnType

TIME = 1_736_208_000_000_000  # 2025-01-07T00:00:00Z
ORIGIN = Origin("host-1", "test", "signals")
DEFAULTS: dict[ColumnType, Any] = {
    ColumnType.TEXT: "",
    ColumnType.TIME: 0,
    ColumnType.REAL: 0.0,
    ColumnType.COUNT: 0,
    ColumnType.FLAG: False,
}


def anomaly(number: int = 0, **changes: Any) -> Any:
    """A record of ``anomalies.anomalies``; columns that nobody names have a value of their kind."""
    values = {
        name: None if ANOMALIES.column(name).nullable else DEFAULTS[ANOMALIES.column(name).type]
        for name in ANOMALIES.value_columns
    }
    values |= {
        "id": f"{number:032x}",
        "instrument": "BTCFDUSD.BINANCE",
        "series": "market.BTCFDUSD.BINANCE.volume",
        "time": TIME + number * 10_000_000,
        "value": 12.5,
        "detector": "ensemble",
        "sigma": 2.75,
        "tail_probability": 0.006,
        "severity": "HIGH",
        "expected_low": math.nan,
        "expected_high": 7.5,
        "direction": "above",
        "votes": 3,
        "reasons": '{"z_score": 3.5, "mad": 4.25}',
        "incident": "ab",
        "incident_group": "cd",
        "alert": True,
    }
    return record_class(ANOMALIES)(**(values | changes))


def record(number: int = 0, **changes: Any) -> MemoryRecord:
    return memory_record(anomaly(number, **changes), RecordMapping(), ORIGIN)


class Receiver:
    """Takes what it is given, after so many failures, each of them the next of ``failures``."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.batches: list[list[str]] = []
        self.attempts = 0
        self.gate = threading.Event()
        self.gate.set()

    def receive(self, records: Sequence[MemoryRecord]) -> None:
        self.gate.wait(120)
        self.attempts += 1
        if self.failures:
            raise self.failures.pop(0)
        self.batches.append([item.id for item in records])

    @property
    def ids(self) -> list[str]:
        return [name for batch in self.batches for name in batch]


class DeadLetters:
    def __init__(self) -> None:
        self.kept: list[tuple[str, str]] = []
        self.away = False

    def __call__(self, item: MemoryRecord, reason: str) -> None:
        if self.away:
            raise OSError("no space left")
        self.kept.append((item.id, reason))


def delivery(receiver: Any, dead: Any, pauses: list[float] | None = None, **changes: Any) -> Delivery:
    def pause(seconds: float) -> bool:
        if pauses is not None:
            pauses.append(seconds)
        return False

    return Delivery(receiver, dead, pause=changes.pop("pause", pause), **changes)


def delivery_of(receiver: Any, dead: Any, **changes: Any) -> Callable[[Callable[[float], bool]], Delivery]:
    return lambda pause: Delivery(receiver, dead, first_pause=0.001, longest_pause=0.001, pause=pause, **changes)
