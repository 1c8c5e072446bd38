"""The memory interface: anomalies handed over to another system, by a direct call or in batches.

Belongs here: when records are handed over, what happens when the receiver fails, and that none is lost. Does not belong
here: the record (``signal_assets/anomalies/memory_record``), any receiver, where anomalies come from
(``stream_hand_over``).

A receiver that raises is tried again, with growing pauses; what it has not taken then goes to the dead letters with the
reason. Neither happens out of order, and a record is let go of only when the receiver or the dead letters have taken
it: what both refuse stays, and :meth:`BatchedHandOver.close` gives it back. The receiver may therefore see a record
more than once and knows it by its id.

Examples
--------
>>> class Printing:
...     def receive(self, records):
...         print(*(record.metric_name for record in records))
>>> record = MemoryRecord("1f", "2026-11-29T00:00:00Z", "cpu_usage", 99.0, "high", 2.7, 0.007, 1.0, 60.0)
>>> DirectHandOver(Delivery(Printing(), lambda record, reason: None))(record)
cpu_usage
Acknowledgement(id='1f', accepted=True, attempts=1, reason='')
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

import structlog

from signal_assets.anomalies.memory_record import MemoryRecord

BATCH_RECORDS: Final = 500
BATCH_SECONDS: Final = 5.0
CAPACITY: Final = 5_000
ATTEMPTS: Final = 5
FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 30.0
CLOSE_SECONDS: Final = 30.0

log = structlog.get_logger("hand_over")


class AnomalyReceiver(Protocol):
    """The other system."""

    def receive(self, records: Sequence[MemoryRecord]) -> None:
        """Take all of the records, in order; one that was taken before may come again.

        Raises
        ------
        RefusedRecordsError
            If some of them will never be taken, and all others were.
        Exception
            Whatever else it raises: none of them counts as taken, and all come again.
        """


class RefusedRecordsError(ValueError):
    """A receiver has taken all records but some, which it will never take.

    Parameters
    ----------
    reasons : mapping of str to str
        Why, by the record's id.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
        self.reasons = dict(reasons)


class UndeliveredError(RuntimeError):
    """Neither the receiver nor the dead letters have taken these records.

    Parameters
    ----------
    records : sequence of MemoryRecord
        In order.
    """

    def __init__(self, records: Sequence[MemoryRecord], reason: str) -> None:
        super().__init__(f"{len(records)} records are neither taken nor dead letters: {reason}")
        self.records = tuple(records)


class HandOverClosedError(RuntimeError):
    """A record was submitted to a hand-over that is closed."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What became of a record: taken, or a dead letter with the reason."""

    id: str
    accepted: bool
    attempts: int
    reason: str = ""


DeadLetter = Callable[[MemoryRecord, str], None]
"""Keeps a record that the receiver does not take, with the reason; raises if it cannot."""


class Delivery:
    """Hands records to a receiver until it has taken them or they are dead letters.

    Parameters
    ----------
    receiver : AnomalyReceiver
        The other system.
    dead_letter : callable
        Where what it does not take goes.
    attempts : int
        How often it is tried before that.
    first_pause, longest_pause : float
        Seconds before the second attempt, twice as many before each further one, and the most.
    pause : callable
        Waits for so many seconds; returns True to give up at once.

    Attributes
    ----------
    counts : Counter
        Records ``accepted`` and ``dead``, and ``failures`` of the receiver.
    """

    def __init__(
        self,
        receiver: AnomalyReceiver,
        dead_letter: DeadLetter,
        *,
        attempts: int = ATTEMPTS,
        first_pause: float = FIRST_PAUSE,
        longest_pause: float = LONGEST_PAUSE,
        pause: Callable[[float], bool | None] = time.sleep,
    ) -> None:
        if attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {attempts}")
        self._receiver = receiver
        self._dead_letter = dead_letter
        self._attempts = attempts
        self._first_pause, self._longest_pause = first_pause, longest_pause
        self._pause = pause
        self.counts: Counter[str] = Counter()

    def deliver(self, records: Sequence[MemoryRecord]) -> list[Acknowledgement]:
        """What became of each record, in order.

        Raises
        ------
        UndeliveredError
            If dead letters cannot be kept either, or waiting was given up: with the records of which neither is true.
        """
        if not records:
            return []
        reason, wait = "", self._first_pause
        for attempt in range(1, self._attempts + 1):
            try:
                self._receiver.receive(records)
            except RefusedRecordsError as error:
                return self._settle(records, attempt, error.reasons)
            except Exception as error:  # whatever the other system throws
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                self.counts["failures"] += 1
                log.warning("receiver failed", error=reason, attempt=attempt, records=len(records))
            else:
                return self._settle(records, attempt, {})
            if attempt < self._attempts:
                if self._pause(wait):
                    raise UndeliveredError(records, reason)
                wait = min(wait * 2, self._longest_pause)
        return self._settle(records, self._attempts, {record.id: reason for record in records})

    def _settle(
        self, records: Sequence[MemoryRecord], attempts: int, refused: Mapping[str, str]
    ) -> list[Acknowledgement]:
        """Keep what was refused; when one cannot be kept, it and all behind it come again, so that order stays."""
        settled: list[Acknowledgement] = []
        for number, record in enumerate(records):
            reason = refused.get(record.id, "")
            if reason and (failure := self._refuse(record, reason)):
                raise UndeliveredError(records[number:], f"{reason}; as dead letters: {failure}")
            self.counts["dead" if reason else "accepted"] += 1
            settled.append(Acknowledgement(record.id, not reason, attempts, reason))
        return settled

    def _refuse(self, record: MemoryRecord, reason: str) -> str:
        """Make a dead letter of it; returns why that is not possible."""
        try:
            self._dead_letter(record, reason)
        except Exception as error:  # where dead letters go is away too
            return " ".join(f"{type(error).__name__}: {error}".split())
        return ""


class DirectHandOver:
    """One record after the other: the call returns what became of it."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def __call__(self, record: MemoryRecord) -> Acknowledgement:
        """Hand a record over.

        Raises
        ------
        UndeliveredError
            If neither the receiver nor the dead letters take it.
        """
        return self._delivery.deliver([record])[0]


class BatchedHandOver:
    """Many records at once: a batch goes when it is full, or so long after the first record in it.

    A thread of its own delivers, so the receiver may be slow; :meth:`submit` waits only while the buffer is full.
    Used as a context manager it is closed at the end.

    Parameters
    ----------
    delivery_of : callable
        Makes the delivery; given what it is to pause with, so that closing does not wait for a pause to end.
    records, seconds : int, float
        A batch is full at so many records; no record waits longer for one.
    capacity : int
        Records in memory at which :meth:`submit` waits.
    settled : callable
        Called in the thread, in order, with records that were delivered or are dead letters.
    retry_seconds : float
        Pause before records are delivered again of which neither was true.

    Raises
    ------
    ValueError
        If the buffer does not hold a batch.
    """

    def __init__(
        self,
        delivery_of: Callable[[Callable[[float], bool]], Delivery],
        *,
        records: int = BATCH_RECORDS,
        seconds: float = BATCH_SECONDS,
        capacity: int = CAPACITY,
        settled: Callable[[Sequence[MemoryRecord]], None] = lambda records: None,
        retry_seconds: float = 1.0,
    ) -> None:
        if not 1 <= records <= capacity:
            raise ValueError(f"a batch must hold 1…{capacity} (the capacity) records, not {records}")
        self._given_up = threading.Event()
        self._delivery = delivery_of(self._given_up.wait)
        self._records, self._seconds, self._capacity = records, seconds, capacity
        self._settled = settled
        self._retry_seconds = retry_seconds
        self._buffer: deque[tuple[float, MemoryRecord]] = deque()
        self._unsettled: list[MemoryRecord] = []
        self._changed = threading.Condition()
        self._flushing = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="anomaly hand-over", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Records that are neither delivered nor dead letters."""
        with self._changed:
            return len(self._buffer) + len(self._unsettled)

    @property
    def counts(self) -> Mapping[str, int]:
        """What became of records so far, see :class:`Delivery`."""
        return dict(self._delivery.counts)

    def submit(self, record: MemoryRecord, timeout: float | None = None) -> bool:
        """Take a record for the next batch; False if there was no room for it within so many seconds.

        Raises
        ------
        HandOverClosedError
            If it was closed.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or self._room, timeout):
                return False
            if self._closed:
                raise HandOverClosedError("the hand-over is closed")
            self._buffer.append((time.monotonic(), record))
            self._changed.notify_all()
        return True

    @property
    def _room(self) -> bool:
        return len(self._buffer) + len(self._unsettled) < self._capacity

    def flush(self, timeout: float | None = None) -> bool:
        """Deliver without waiting for full batches; True when nothing waits any more."""
        with self._changed:
            self._flushing += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not self._buffer and not self._unsettled, timeout)
            finally:
                self._flushing -= 1

    def close(self, timeout: float = CLOSE_SECONDS) -> list[MemoryRecord]:
        """Deliver what is left within so many seconds, end the thread, and give back what was not settled."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.flush(timeout)
        self._given_up.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout)
        with self._changed:
            return [*self._unsettled, *(record for _, record in self._buffer)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        left = self.close()
        if left and error is None:
            raise UndeliveredError(left, "the hand-over was closed")

    # -- in the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            try:
                self._delivery.deliver(batch)
            except UndeliveredError as error:
                self._settle(batch, error.records)
                log.warning("records are kept", error=str(error))
                self._given_up.wait(self._retry_seconds)
            else:
                self._settle(batch, ())

    def _next_batch(self) -> list[MemoryRecord] | None:
        """The next batch when it is due; None when nothing more is to be delivered."""
        with self._changed:
            while True:
                if self._given_up.is_set() or (self._closed and not self._buffer and not self._unsettled):
                    return None
                if self._unsettled:
                    return list(self._unsettled)
                due = self._due
                if due is not None and due <= 0:
                    count = min(self._records, len(self._buffer))
                    self._unsettled = [self._buffer.popleft()[1] for _ in range(count)]
                    return list(self._unsettled)
                self._changed.wait(due)

    @property
    def _due(self) -> float | None:
        """Seconds until the next batch is due; None: nothing waits."""
        if not self._buffer:
            return None
        if len(self._buffer) >= self._records or self._flushing or self._closed:
            return 0.0
        return self._buffer[0][0] + self._seconds - time.monotonic()

    def _settle(self, batch: Sequence[MemoryRecord], left: Sequence[MemoryRecord]) -> None:
        gone = batch[: len(batch) - len(left)]
        try:
            if gone:
                self._settled(gone)
        except Exception as error:  # whoever wants to know of it: records that are said to be settled once more, say
            log.warning(
                "settled records could not be noted", error=" ".join(f"{type(error).__name__}: {error}".split())
            )
        with self._changed:
            self._unsettled = list(left)
            self._changed.notify_all()
