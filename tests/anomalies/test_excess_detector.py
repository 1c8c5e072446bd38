import math

import numpy as np
import pytest

from signal_assets.anomalies.excess_detector import ExcessDetector
from signal_assets.anomalies.excess_panel import ExcessPanel
from signal_assets.event_time import MINUTE, SECOND
from signal_assets.machine import decode_state, encode_state


def detector(**changes):
    return ExcessDetector(**({"quantile": 0.9, "times": 3.0, "window": 200, "minimum_points": 50} | changes))


def series(signed=False):
    random = np.random.default_rng(7)
    values = random.lognormal(0.0, 0.4, 700)
    values[[300, 450, 460, 650]] *= 40
    values[[120, 500]] = np.nan
    if signed:
        values[:400] *= random.choice([-1.0, 1.0], 400)
        values[300] = -abs(values[300])
    return np.arange(700) * MINUTE, values


@pytest.mark.parametrize("signed", [False, True])
def test_votes_where_numpy_says_that_the_limit_is_passed(signed):
    times, values = series(signed)
    said = detector().score(times, values)
    known = np.flatnonzero(np.isfinite(values))
    lows = set()
    for number in np.flatnonzero(np.isfinite(said.sigma)):
        past = values[known[known < number][-200:]]
        limit = 3.0 * np.quantile(np.abs(past), 0.9, method="lower")
        assert said.expected_high[number] == limit
        assert said.expected_low[number] == (-limit if past.min() < 0 else 0)
        assert said.vote[number] == int(values[number] > limit) - int(values[number] < -limit)
        assert said.sigma[number] == pytest.approx(2.0 * values[number] / limit)
        lows.add(bool(said.expected_low[number] < 0))
    assert {300, 450, 460, 650} <= set(np.flatnonzero(said.vote).tolist())
    assert said.vote[300] == (-1 if signed else 1)
    assert lows == ({True, False} if signed else {False})  # the last values have no negative one among their past
    assert np.isnan(said.sigma[:50]).all()
    assert (math.isnan(said.sigma[120]), said.vote[120]) == (True, 0)


@pytest.mark.parametrize("cut", [0, 49, 50, 333, 700])
def test_one_by_one_or_in_pieces_or_after_a_restart_to_the_bit(cut):
    times, values = series(signed=True)
    whole, before, after = detector(), detector(), detector()
    expected = np.array(whole.score(times, values))
    first = np.array(before.score(times[:cut], values[:cut])).reshape(4, -1)
    after.restore(decode_state(encode_state(before.state())))
    rest = np.array([after.update(int(time), value) for time, value in zip(times[cut:], values[cut:], strict=True)])
    np.testing.assert_array_equal(np.hstack([first, rest.reshape(-1, 4).T]), expected)


def test_faster_values_need_more():
    # Six values a minute: 3 (1 + 0.25 log10 6) = 3.58.
    assert detector(interval=10 * SECOND).threshold == pytest.approx(3 * (1 + 0.25 * math.log10(6)))
    assert detector(interval=MINUTE).threshold == detector(interval=5 * MINUTE).threshold == 3.0


def test_a_series_of_zeros_and_what_is_no_number_say_nothing():
    watching = detector()
    said = watching.score(np.zeros(100, np.int64), np.zeros(100))
    assert np.isnan(said.sigma).all()
    assert not said.vote.any()
    for value in (math.nan, math.inf, -math.inf):
        state = watching.state()["newest"].tolist()
        assert watching.update(0, value).vote == 0
        assert watching.state()["newest"].tolist() == state


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"quantile": 1.0}, "between 0 and 1"),
        ({"times": 0.0}, "times 0.0 be positive"),
        ({"minimum_points": 201}, "minimum_points must lie in"),
    ],
)
def test_numbers_out_of_range(wrong, message):
    with pytest.raises(ValueError, match=message):
        detector(**wrong)


def test_a_panel_says_what_each_says_alone_also_after_a_restart():
    settings = [{"quantile": 0.9}, {"quantile": 0.98, "times": 1.5}, {"times": 2.0}]
    alone, together = [[detector(**changes) for changes in settings] for _ in range(2)]
    columns = np.column_stack([series()[1], series(signed=True)[1], np.zeros(700)])
    panel = ExcessPanel(together)
    for point, row in enumerate(columns):
        if point == 400:
            states = [decode_state(encode_state(one.state())) for one in together]
            together = [detector(**changes) for changes in settings]
            panel = ExcessPanel(together)
            for one, state in zip(together, states, strict=True):
                one.restore(state)
        said = np.array(panel.update(point * MINUTE, row)).T
        expected = [one.update(point * MINUTE, value) for one, value in zip(alone, row.tolist(), strict=True)]
        np.testing.assert_array_equal(said, expected)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.state()["newest"], other.state()["newest"])


def test_a_panel_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="different windows"):
        ExcessPanel([detector(), detector(window=100)])
    with pytest.raises(ValueError, match=r"values \(2,\) must be one of each of 1 series"):
        ExcessPanel([detector()]).update(0, [1.0, 2.0])
