"""Handing records over: once where all goes well, at least once where it does not, and never lost."""

import threading
import time
from collections.abc import Callable, Sequence

import pytest

from services.hand_over.memory_interface import (
    Acknowledgement,
    BatchedHandOver,
    DirectHandOver,
    RefusedRecordsError,
    UndeliveredError,
)
from signal_assets.anomalies.memory_record import MemoryRecord
from tests.hand_over.material import DeadLetters, Receiver, delivery, delivery_of, record

WAIT = 120.0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.005)


def names(*numbers: int) -> list[str]:
    return [record(number).id for number in numbers]


# -- direct ------------------------------------------------------------------------------------------------------------


def test_a_direct_call_says_what_became_of_the_record() -> None:
    receiver, dead = Receiver(), DeadLetters()
    assert DirectHandOver(delivery(receiver, dead))(record(1)) == Acknowledgement(record(1).id, True, 1)
    assert receiver.ids == names(1)
    assert dead.kept == []


def test_a_receiver_that_raises_is_tried_again_with_growing_pauses() -> None:
    receiver, dead, pauses = Receiver(OSError("away"), ValueError("hm"), OSError("away")), DeadLetters(), list[float]()
    hand_over = DirectHandOver(delivery(receiver, dead, pauses, first_pause=0.5, longest_pause=1.5))
    assert hand_over(record(1)) == Acknowledgement(record(1).id, True, 4)
    assert pauses == [0.5, 1.0, 1.5]  # doubled, up to the longest
    assert receiver.ids == names(1)
    assert dead.kept == []


def test_what_is_not_taken_is_a_dead_letter_with_the_reason() -> None:
    receiver, dead = Receiver(*[OSError("gone\naway")] * 3), DeadLetters()
    sender = delivery(receiver, dead, attempts=3)
    assert DirectHandOver(sender)(record(1)) == Acknowledgement(record(1).id, False, 3, "OSError: gone away")
    assert dead.kept == [(record(1).id, "OSError: gone away")]
    assert DirectHandOver(sender)(record(2)).accepted
    assert sender.counts == {"failures": 3, "dead": 1, "accepted": 1}


def test_what_is_refused_is_not_tried_again_and_does_not_hold_back_the_others() -> None:
    refused = record(2).id
    receiver, dead = Receiver(RefusedRecordsError({refused: "metric unknown"})), DeadLetters()
    done = delivery(receiver, dead).deliver([record(1), record(2), record(3)])
    assert [item.accepted for item in done] == [True, False, True]
    assert receiver.attempts == 1
    assert dead.kept == [(refused, "metric unknown")]


def test_what_neither_takes_is_given_back_in_order() -> None:
    receiver, dead = Receiver(RefusedRecordsError({record(2).id: "no"})), DeadLetters()
    dead.away = True
    with pytest.raises(UndeliveredError, match="no; as dead letters: OSError: no space left") as caught:
        delivery(receiver, dead).deliver([record(1), record(2), record(3)])
    assert [item.id for item in caught.value.records] == names(2, 3)


def test_waiting_may_be_given_up() -> None:
    receiver, dead = Receiver(OSError("away")), DeadLetters()
    with pytest.raises(UndeliveredError, match="1 records"):
        delivery(receiver, dead, pause=lambda seconds: True).deliver([record(1)])
    assert receiver.attempts == 1
    assert dead.kept == []


# -- batches -----------------------------------------------------------------------------------------------------------


def test_a_full_batch_goes_at_once_and_the_rest_at_the_end() -> None:
    receiver, dead = Receiver(), DeadLetters()
    with BatchedHandOver(delivery_of(receiver, dead), records=500, seconds=3_600.0) as hand_over:
        for number in range(1_250):
            hand_over.submit(record(number))
        wait_until(lambda: hand_over.waiting == 250)  # they wait for the hour, a full batch or the end
        assert [len(batch) for batch in receiver.batches] == [500, 500]
    assert [len(batch) for batch in receiver.batches] == [500, 500, 250]
    assert receiver.ids == names(*range(1_250))


def test_a_batch_that_is_not_full_goes_after_its_time() -> None:
    receiver = Receiver()
    hand_over = BatchedHandOver(delivery_of(receiver, DeadLetters()), records=500, seconds=0.05)
    for number in range(3):
        hand_over.submit(record(number))
    wait_until(lambda: len(receiver.ids) == 3)  # nobody flushes
    assert hand_over.close() == []
    assert hand_over.counts == {"accepted": 3}


def test_flush_waits_until_everything_is_settled() -> None:
    receiver, settled = Receiver(OSError("away")), list[str]()

    def note(records: Sequence[MemoryRecord]) -> None:
        settled.extend(item.id for item in records)

    hand_over = BatchedHandOver(delivery_of(receiver, DeadLetters()), records=10, seconds=3_600.0, settled=note)
    for number in range(25):
        hand_over.submit(record(number))
    assert hand_over.flush(WAIT)
    assert receiver.ids == settled == names(*range(25))
    assert hand_over.close() == []
    with pytest.raises(RuntimeError, match="closed"):
        hand_over.submit(record(1))


def test_a_full_buffer_makes_its_caller_wait() -> None:
    receiver = Receiver()
    receiver.gate.clear()
    hand_over = BatchedHandOver(delivery_of(receiver, DeadLetters()), records=2, seconds=3_600.0, capacity=4)
    for number in range(4):
        assert hand_over.submit(record(number), WAIT)
    assert not hand_over.submit(record(9), 0.0)
    assert hand_over.waiting == 4
    waiting = threading.Thread(target=hand_over.submit, args=(record(4),))
    waiting.start()
    receiver.gate.set()
    waiting.join(WAIT)
    assert not waiting.is_alive()
    assert hand_over.close() == []
    assert receiver.ids == names(0, 1, 2, 3, 4)


def test_what_neither_receiver_nor_dead_letters_take_stays_until_one_does() -> None:
    receiver, dead = Receiver(*[OSError("away")] * 4), DeadLetters()
    dead.away = True
    making = delivery_of(receiver, dead, attempts=2)
    hand_over = BatchedHandOver(making, records=2, seconds=3_600.0, retry_seconds=0.01)
    for number in range(4):
        hand_over.submit(record(number))
    assert hand_over.flush(WAIT)
    assert receiver.ids == names(0, 1, 2, 3)
    assert dead.kept == []
    assert hand_over.close() == []


def test_a_close_that_is_not_waited_for_gives_back_what_is_left() -> None:
    receiver = Receiver(*[OSError("away")] * 1_000)
    hand_over = BatchedHandOver(
        lambda pause: delivery(receiver, DeadLetters(), attempts=1_000, first_pause=3_600.0, pause=pause),
        records=2,
        seconds=3_600.0,
    )
    for number in range(3):
        hand_over.submit(record(number))
    wait_until(lambda: receiver.attempts == 1)
    left = hand_over.close(0.05)
    assert [item.id for item in left] == names(0, 1, 2)
    assert receiver.ids == []


def test_somebody_who_wants_to_know_and_fails_stops_nothing() -> None:
    receiver = Receiver()

    def note(records: Sequence[MemoryRecord]) -> None:
        raise OSError("redis is away")

    with BatchedHandOver(delivery_of(receiver, DeadLetters()), records=1, settled=note) as hand_over:
        hand_over.submit(record(1))
        hand_over.submit(record(2))
    assert receiver.ids == names(1, 2)


def test_a_batch_must_fit_into_the_buffer() -> None:
    with pytest.raises(ValueError, match="1…4"):
        BatchedHandOver(delivery_of(Receiver(), DeadLetters()), records=5, capacity=4)
