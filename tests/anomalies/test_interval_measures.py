import math

import pytest

from signal_assets.anomalies.interval_measures import INTERVAL_FEATURES, IntervalMeasures
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.event_time import MINUTE, SECOND
from signal_assets.machine import decode_state, encode_state
from tests.anomalies.features_rows import features_row

PARAMETERS = AnomalyParameters(metrics_interval=MINUTE)


def walked(rows, measures=None, parameters=PARAMETERS):
    """Values at each point, by second."""
    measures = measures or IntervalMeasures(parameters)
    interval = parameters.metrics_interval
    found = {}
    for row in rows:
        measures.add(-(-row.time // interval) * interval, row)
        if row.time % interval == 0:
            found[row.time // SECOND] = dict(zip(INTERVAL_FEATURES, measures.values(), strict=True))
    return found


def test_mean_spread_by_hand():
    # Half a minute at 1 and half a minute at 3 around a bid of 60,000: mean spread 2 over a mean mid of 60,001.
    rows = [features_row(second, spread=1.0 if second <= 30 else 3.0) for second in range(1, 61)]
    assert walked(rows)[60]["mean_spread"] == pytest.approx(2 / 60_001 * 10_000, rel=1e-12)


@pytest.mark.parametrize("way", [1, -1])
def test_a_spike_between_two_points_has_a_wick_and_a_step_has_none(way):
    # Mid 60,000.5; at 75 s for three seconds 60 further; from 200 s on 90 further for good. A window holds 61 mids, so
    # those that end within (60, 120] see the spike with quiet on both sides: 60 / 60,000.5. Nothing is at the points.
    def bid(second):
        return 60_000 + way * (60 * (75 <= second < 78) + 90 * (second >= 200))

    found = walked([features_row(second, bid=bid(second)) for second in range(1, 301)])
    assert math.isnan(found[60]["wick"])  # the first whole window ends at 61
    assert found[120]["wick"] == pytest.approx(60 / 60_000.5 * 10_000, rel=1e-12)
    # Of the windows that end within (120, 180] those up to 137 still hold the spike as an excursion.
    assert found[180]["wick"] == pytest.approx(60 / 60_000.5 * 10_000, rel=1e-12)
    assert [found[second]["wick"] for second in (240, 300)] == [0.0, 0.0]


def test_a_burst_is_measured_by_what_was_usual_before_it():
    # A trade a second: 40 in 40 s are usual. From 661 s on ten a second for 40 s: 400 / (40 + 5). The usual is known
    # after ten minutes, that is at the eleventh point.
    rows = [features_row(second, trades=10 if 660 < second <= 700 else 1) for second in range(1, 781)]
    found = walked(rows)
    assert all(math.isnan(found[60 * minute]["trade_burst"]) for minute in range(1, 11))
    assert found[660]["trade_burst"] == pytest.approx(40 / 45)
    assert found[720]["trade_burst"] == pytest.approx(400 / 45)


def test_what_follows_the_price_is_one_sided_and_what_rests_is_not():
    # Bid 8 against 1 at the touch, at a new price each second: ln 8 each, and 50 of them in a window.
    moving = [features_row(second, bid=60_000 + second, quantities=(8.0, 1.0)) for second in range(1, 121)]
    assert walked(moving)[120]["one_sided"] == pytest.approx(50 * math.log(8) / 55, rel=1e-6)
    # The same at one price says so once, and is out of the windows that end after 50 s.
    resting = [features_row(second, quantities=(8.0, 1.0)) for second in range(1, 181)]
    assert [walked(resting)[second]["one_sided"] for second in (120, 180)] == [0.0, 0.0]
    # Two seconds at the touch, two away from it: still the same order, which did not leave the last 50 s.
    flicker = [
        features_row(second, bid=60_000 - second % 4 // 2, quantities=(8.0, 1.0) if second % 4 < 2 else (1.0, 1.0))
        for second in range(1, 181)
    ]
    assert [walked(flicker)[second]["one_sided"] for second in (120, 180)] == [0.0, 0.0]


def test_pressure_has_bounds_and_two_sides_cancel():
    # 1,000 against 1 is ln 1,000 = 6.9, taken as 3; alternating sides leave nothing of it.
    heavy = [features_row(second, bid=60_000 + second, quantities=(1.0, 1_000.0)) for second in range(1, 121)]
    assert walked(heavy)[120]["one_sided"] == pytest.approx(50 * 3 / 55, rel=1e-6)
    both = [
        features_row(second, bid=60_000 + second, quantities=(9.0, 1.0) if second % 2 else (1.0, 9.0))
        for second in range(1, 121)
    ]
    assert walked(both)[120]["one_sided"] == pytest.approx(0.0, abs=1e-12)


def test_windows_reach_over_no_gap():
    # The row of 700 is missing, so nothing is known at 720. (720, 780] has all its rows, but not all its windows have.
    rows = [features_row(second, trades=1) for second in range(1, 901) if second != 700]
    found = walked(rows)
    assert all(math.isnan(value) for value in found[720].values())
    known = [name for name, value in found[780].items() if not math.isnan(value)]
    # 701 … 721 are 21 rows: fewer than 40, 50 and 61.
    assert known == ["mean_spread"]
    assert not any(math.isnan(value) for value in found[840].values())


def test_an_interval_shorter_than_the_windows():
    # A point in 10 s: a spike at 75 s is a wick of every point whose windows hold it between quiet seconds: 80 … 140.
    parameters = AnomalyParameters(metrics_interval=10 * SECOND)
    rows = [features_row(second, bid=60_000 + 60 * (75 <= second < 78)) for second in range(1, 201)]
    found = walked(rows, parameters=parameters)
    assert [second for second, values in found.items() if values["wick"] > 5] == [80, 90, 100, 110, 120, 130, 140]


@pytest.mark.parametrize("cut", [30, 60, 95, 700])
def test_goes_on_to_the_bit_from_its_state_as_text(cut):
    def row(second):
        return features_row(
            second,
            bid=60_000 + second * 7_919 % 13,
            spread=1 + second % 3,
            trades=second * 31 % 5,
            quantities=(1.0 + second * 17 % 7, 1.0 + second * 29 % 11),
        )

    rows = [row(second) for second in range(1, 841) if second not in (200, 201)]
    whole, before, after = (IntervalMeasures(PARAMETERS) for _ in range(3))
    expected = walked(rows, whole)
    found = walked([row for row in rows if row.time <= cut * SECOND], before)
    after.restore(decode_state(encode_state(before.state())))
    found |= walked([row for row in rows if row.time > cut * SECOND], after)
    assert repr(found) == repr(expected)
    assert after.state() == whole.state()
