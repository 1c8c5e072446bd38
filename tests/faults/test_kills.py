"""``kill -9`` of each process of the platform during one replay, and of all at once; nobody helps it up.

Nothing is lost, nothing comes twice, and everything comes back by itself; how quickly is printed, not asserted.
"""

import pytest

from signal_assets.market.tables import FEED_GAPS
from tests.faults.checks import assert_enough, broken
from tests.faults.disturbed_replay import Disturbed, replay
from tests.faults.fault import EVERYTHING, PROCESSES, Fault, Kind, Plan
from tests.faults.market import Market, make_market

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.no_cover, pytest.mark.timeout(1_800)]

QUIET_SECONDS = 12.0
"""Between two kills."""
KILLS = (
    (Kind.KILL_BEFORE_WRITE, "live_lane"),
    (Kind.KILL_AFTER_WRITE, "live_lane"),
    (Kind.KILL_BEFORE_WRITE, "worker_tactical"),
    (Kind.KILL_AFTER_WRITE, "worker_tactical"),
    (Kind.KILL, "code_server"),
    (Kind.KILL, "daemon"),
    (Kind.KILL, "redis"),
    (Kind.KILL, "postgres"),
    (Kind.KILL, EVERYTHING),
)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return make_market(tmp_path_factory.mktemp("market"), QUIET_SECONDS * (len(KILLS) + 1.5))


@pytest.fixture(scope="module")
def found(market: Market, tmp_path_factory: pytest.TempPathFactory) -> Disturbed:
    faults = [Fault(kind, target, QUIET_SECONDS * (0.5 + number)) for number, (kind, target) in enumerate(KILLS)]
    result = replay(tmp_path_factory.mktemp("kills"), market, Plan(0, tuple(faults)), day_runs=True)
    for recovery in result.recoveries:
        print(f"{recovery.fault}; recovered in {recovery.seconds:.1f} s")
    return result


def test_every_kill_took_place(found: Disturbed) -> None:
    assert [(item.fault.kind, item.fault.target) for item in found.recoveries] == list(KILLS)
    assert {name for name in PROCESSES if found.restarts[name]} == set(PROCESSES)
    assert "restart" in set(found.raw[FEED_GAPS.name]["reason"])  # the live lane was down, and says so


def test_nothing_is_lost_nothing_twice_and_every_table_is_what_its_inputs_make_it(
    market: Market, found: Disturbed
) -> None:
    assert_enough(found)
    assert broken(market, found) == []
