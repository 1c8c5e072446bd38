from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.event_time import MINUTE
from signal_assets.machine import decode_state, encode_state
from signal_assets.signals.deduplication import Slots

WINDOW = 15 * MINUTE
START = 20_000 * 24 * 60 * MINUTE


def test_a_slot_is_held_for_less_than_fifteen_minutes():
    # Taken at t, it is held in [t, t + 15 min): a microsecond before the end is a duplicate, the end itself is free.
    slots = Slots(WINDOW)
    assert slots.claim(START, "one")
    assert not slots.claim(START, "one")
    assert slots.claim(START, "another")
    assert not slots.claim(START + WINDOW - 1, "one")
    assert slots.claim(START + WINDOW, "one")
    # The refused claim prolonged nothing, the granted one did.
    assert not slots.claim(START + 2 * WINDOW - 1, "one")
    assert slots.claim(START + 2 * WINDOW, "one")


def test_slots_survive_a_restore_to_the_microsecond():
    slots = Slots(WINDOW)
    slots.claim(START, "one")
    for after, free in ((WINDOW - 1, False), (WINDOW, True)):
        other = Slots(WINDOW)
        other.restore(decode_state(encode_state(slots.state())))
        assert other.claim(START + after, "one") is free


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10), st.sampled_from("ab"), st.booleans()), max_size=40))
def test_slots_are_what_a_list_of_all_signals_says(claims):
    slots, taken, time = Slots(7), [], START
    for pause, key, forget in claims:
        time += pause
        if forget:
            slots.forget(time)
        expected = not any(key == other and time - since < 7 for other, since in taken)
        assert slots.claim(time, key) is expected
        if expected:
            taken.append((key, time))
    slots.forget(time)
    assert set(slots.state()) == {key for key, since in taken if time - since < 7}
