"""How detectors do, from hand-made rows."""

import math

from services.live_lane.detector_tally import Circumstances, DetectorTally
from signal_assets.anomalies.tables import ANOMALIES, SCORES
from tests.hand_over.material import TIME, anomaly

SECOND = 1_000_000


def score(detector: str, second: int, sigma: float, series: str = "market.A.B.volume") -> tuple[object, ...]:
    values = {"instrument": "A.B", "series": series, "time": TIME + second * SECOND, "detector": detector}
    return tuple((values | {"sigma": sigma}).get(name) for name in SCORES.value_columns)


def test_points_anomalies_and_lag() -> None:
    tally = DetectorTally()
    tally.take({SCORES.name: [score("mad", 10, 0.5), score("mad", 10, 0.1, "s"), score("ensemble", 10, 0.2)]})
    tally.take({SCORES.name: [score("mad", 20, 3.5), score("ensemble", 20, 2.5)], ANOMALIES.name: [anomaly(1)]})
    tally.take({"strategies.proposals": [(1, 2)]})
    health = tally.health(Circumstances(newest=TIME + 21 * SECOND + 500_000))
    assert health["mad"] == {
        "state": "running",
        "last_point": str(TIME + 20 * SECOND),
        "lag_seconds": "1.5",
        "series": "1",
        "warming": "0",
        "points": "3",
        "anomalies": "0",
        "failures": "0",
        "last_failure": "",
    }
    assert health["ensemble"]["anomalies"] == "1"
    assert health["ensemble"]["points"] == "2"


def test_states() -> None:
    tally = DetectorTally()
    rows = [
        score("mad", 10, math.nan),
        score("ema", 10, 1.0),
        score("ema", 10, math.nan, "s"),
        score("own", 10, math.nan),
    ]
    tally.take({SCORES.name: rows})
    circumstances = Circumstances(TIME, {"own": 3, "ema": 1, "late": 2}, {"own": "ValueError: x"})
    health = tally.health(circumstances)
    assert {name: said["state"] for name, said in health.items()} == {
        "mad": "warming",  # of no series it can say anything yet
        "ema": "running",
        "own": "failing",
        "late": "failing",  # it has never said anything
    }
    assert (health["own"]["failures"], health["own"]["last_failure"]) == ("3", "ValueError: x")
    assert health["ema"]["warming"] == "1"
    assert health["late"]["lag_seconds"] == ""
    assert health["mad"]["lag_seconds"] == "0.0"  # the last point is ahead of the clock
    stopped = tally.health(Circumstances(TIME, stopped="KeyError: 'x'"))
    assert {(said["state"], said["last_failure"]) for said in stopped.values()} == {("stopped", "KeyError: 'x'")}
