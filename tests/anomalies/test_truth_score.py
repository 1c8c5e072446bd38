import math

import pandas as pd
import pytest

from signal_assets.anomalies.truth_score import alert_delays, score_alerts
from signal_assets.event_time import SECOND

PLANTED = pd.DataFrame(
    [
        ("BTC", "price_spike", 100, 160),
        ("BTC", "volume_burst", 500, 560),
        ("ETH", "price_spike", 100, 160),
        ("SOL", "price_spike", 900, 960),
    ],
    columns=["instrument", "kind", "start", "end"],
    index=[3, 1, 4, 2],
)
PLANTED[["start", "end"]] *= SECOND


def alerts(*rows):
    frame = pd.DataFrame(rows, columns=["instrument", "time", "alert"]).astype({"time": "int64", "alert": "bool"})
    frame["time"] *= SECOND
    return frame


def test_by_hand():
    # Tolerance 30 s. BTC: 130 hits the spike after 30 s and 150 again; 99 is too early; 590 hits the burst at the very
    # end of the tolerance after 90 s; 591 misses. ETH: 100 hits at once. SOL: only what is no alert, so it is missed.
    found = alerts(
        ("BTC", 150, True),
        ("BTC", 130, True),
        ("BTC", 99, True),
        ("BTC", 590, True),
        ("BTC", 591, True),
        ("ETH", 100, True),
        ("ETH", 550, True),
        ("SOL", 930, False),
    )
    score = score_alerts(PLANTED, found, 30 * SECOND)
    assert (score.planted, score.found, score.alerts, score.right) == (4, 3, 7, 4)
    assert score.recall == 0.75
    assert score.precision == 4 / 7
    assert score.median_delay == 30.0  # of 0, 30, 90
    delays = alert_delays(PLANTED, found[found["alert"]], 30 * SECOND)
    assert delays.dropna().to_dict() == {3: 30.0, 1: 90.0, 4: 0.0}
    assert delays.groupby(PLANTED["kind"]).count().to_dict() == {"price_spike": 2, "volume_burst": 1}


def test_the_tolerance_is_part_of_the_rule():
    found = alerts(("BTC", 170, True))
    assert score_alerts(PLANTED, found, 10 * SECOND).found == 1
    assert score_alerts(PLANTED, found, 9 * SECOND).found == 0


def test_an_alert_can_hit_two_at_once():
    planted = pd.DataFrame({"instrument": "BTC", "start": [0, 50 * SECOND], "end": [100 * SECOND, 60 * SECOND]})
    score = score_alerts(planted, alerts(("BTC", 55, True)), 0)
    assert (score.found, score.right, score.precision, score.median_delay) == (2, 1, 1.0, 30.0)


@pytest.mark.parametrize(("planted", "found"), [(PLANTED, alerts()), (PLANTED.iloc[:0], alerts(("BTC", 1, True)))])
def test_nothing_to_count_is_nan(planted, found):
    score = score_alerts(planted, found, 0)
    assert score.found == score.right == 0
    assert math.isnan(score.precision) == (len(found) == 0)
    assert math.isnan(score.recall) == (len(planted) == 0)
    assert math.isnan(score.median_delay)
