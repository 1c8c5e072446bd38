"""The strategy and the detector of the pages on adding one run as they stand there, and keep what they owe."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from signal_assets.anomalies.anomaly_machine import AnomalyMachine
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.tables import SCORES
from signal_assets.event_time import MINUTE, SECOND
from signal_assets.fixed_point import SCALE
from signal_assets.machine import decode_state, encode_state
from signal_assets.market.tables import FEATURES
from signal_assets.strategies.evaluation import evaluate
from tests.anomalies.features_rows import BTC as WATCHED
from tests.anomalies.features_rows import features_row as watched_row
from tests.docs.page import DOCS
from tests.strategies.causality import check_cuts, check_prefix
from tests.strategies.market import BTC, GRID, START, STEPS, TRIANGLE, features_row, random_market

CUTS = [START + step * GRID for step in (7, 400, 1_003, STEPS - 1)]


def written(page: Path) -> dict[str, Any]:
    """What the page's first block of Python defines."""
    block = re.search(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {"__name__": page.stem}
    exec(compile(block.group(1), str(page), "exec"), names)  # noqa: S102 – our own page
    return names


@pytest.fixture(scope="module")
def strategy() -> dict[str, Any]:
    return written(DOCS / "adding-a-strategy.md")


@pytest.fixture(scope="module")
def jump() -> Any:
    return written(DOCS / "adding-a-detector.md")["Jump"]


def test_the_strategy_by_hand(strategy: dict[str, Any]) -> None:
    made = strategy["Streak"]([BTC], strategy["StreakParameters"]())
    candidates = []
    for minute, close in enumerate((100, 101, 102, 103, 104, 103), start=1):
        row = features_row(
            BTC, minute * MINUTE, last_price=close * SCALE, best_bid=close * SCALE, best_ask=close * SCALE
        )
        candidates += [(minute, candidate) for candidate in made.step(row.time, {BTC.key: row})]
    # The third rise is that to 103, minute 4; half a percent below is 102.485, on ticks 102.48, one above 104.03.
    [(minute, candidate)] = candidates
    assert (minute, candidate.action, candidate.entry_price) == (4, "buy", 103 * SCALE)
    assert (candidate.stop_loss, candidate.take_profit) == (10_248_000_000, 10_403_000_000)


def test_the_strategy_keeps_what_strategies_owe(strategy: dict[str, Any]) -> None:
    def make(_: Any) -> Any:
        return strategy["Streak"](TRIANGLE, strategy["StreakParameters"]())

    features = random_market(1)
    whole = evaluate(make(features), features)
    assert len(whole) > 30
    assert (whole["failure"] == "").all()
    assert set(whole["action"]) == {"buy", "sell"}
    for cut in CUTS:
        check_prefix(make, features, whole, cut)
    check_cuts(make, features, whole, CUTS)


def test_the_detector_by_hand(jump: Any) -> None:
    detector = jump(minimum_points=3)
    for value in (0, 2, 4):
        assert math.isnan(detector.update(0, value).sigma)
    # After steps of 2 a deviation is 2 √(π/2) = 2.5066; the band ends at 4 + 4 · 2.5066; 13.533 / 2.5066 = 5.4.
    said = detector.update(0, 17.533)
    assert (round(said.sigma, 1), round(said.expected_high, 4), said.vote) == (5.4, 14.0265, 1)


def test_the_detector_keeps_what_detectors_owe(jump: Any) -> None:
    values = np.random.default_rng(3).standard_t(2, 300)
    values[[50, 120]] = math.nan, math.inf
    whole = np.column_stack(jump().score(np.arange(300), values))
    assert 0 < np.abs(whole[:, 3]).sum() < 50
    for cut in (0, 31, 121, 299):
        detector = jump()
        first = [list(map(float, detector.update(i, value))) for i, value in enumerate(values[:cut].tolist())]
        assert np.reshape(first, (-1, 4)).tobytes() == whole[:cut].tobytes()
        resumed = jump()
        resumed.restore(decode_state(encode_state(detector.state())))
        assert np.column_stack(resumed.score(np.arange(300 - cut), values[cut:])).tobytes() == whole[cut:].tobytes()


def test_the_detector_plugs_in(jump: Any) -> None:
    parameters = AnomalyParameters(features_grid=10 * SECOND, minimum_points=3)
    machine = AnomalyMachine([WATCHED], parameters, [lambda given: jump(minimum_points=given.minimum_points)])
    for point, trades in enumerate((0, 20, 40, 60), start=1):
        row = watched_row(10 * point, trades=trades)
        rows = machine.step(row.time, {FEATURES.name: [row]})
    found = {row[1].rpartition(".")[2]: row[4] for row in rows[SCORES.name] if row[3] == jump.name}
    # Two trades a second more each time: one step of the usual size.
    assert found["trade_rate"] == pytest.approx(1 / math.sqrt(math.pi / 2))
    assert machine.failures == {}
