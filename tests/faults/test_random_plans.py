"""Six random plans of faults; ``make faults`` runs as many as one likes."""

from pathlib import Path

import pytest

from tests.faults.__main__ import RECORDING_SECONDS
from tests.faults.checks import assert_enough, broken
from tests.faults.disturbed_replay import replay
from tests.faults.fault import draw
from tests.faults.market import Market, make_market
from tests.faults.small_disk import can_mount

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.no_cover, pytest.mark.timeout(1_500)]

SEEDS = (3, 6, 8, 11, 15, 20)
"""Of the first twenty the six that together try every kind of fault, and most targets."""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return make_market(tmp_path_factory.mktemp("market"), RECORDING_SECONDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plans")


@pytest.mark.parametrize("seed", SEEDS)
def test_plan(market: Market, folder: Path, seed: int) -> None:
    found = replay(folder, market, draw(seed, can_mount=can_mount()))
    for recovery in found.recoveries:
        print(f"{recovery.fault}; recovered in {recovery.seconds:.1f} s")
    assert_enough(found)
    assert broken(market, found) == []
