"""The lane that leads is killed, the next one is paused past its lease and goes on: a standby takes over each time.

Real processes, a simulated venue at the pace of the clock, a real Redis. What is left is compared with an undisturbed
run of the same market, and the signals with those that a run computes from the raw rows that are there.
"""

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import pytest

from signal_assets.event_time import SECOND
from signal_assets.market.tables import FEATURES, TRADES
from tests.scale_out.lanes import Lanes, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.alone]

GROUP = "crypto"
SYMBOLS = {"BTC": GROUP, "ETH": GROUP}
MARKET = ("--seed", "11", "--days", f"{400 / 86_400:.8f}", "--levels", "200", "--trades-per-second", "6")


@dataclass(frozen=True)
class Story:
    """What happened to two lanes, and what is left of it."""

    lanes: Lanes
    undisturbed: Lanes
    killed_seconds: float
    paused_seconds: float
    superseded: dict[str, float]
    """Metrics of the lane that was paused, after it went on."""


def takeover(lanes: Lanes, token: int) -> float:
    """Wait until somebody else's token is in force and rows come again; seconds since the call."""
    began, key = time.monotonic(), next(iter(lanes.keys))
    wait_until(lambda: lanes.token(GROUP) > token, "nobody took the group over")
    at = lanes.reached(key)
    wait_until(lambda: lanes.reached(key) > at, "no rows came after the takeover")
    return time.monotonic() - began


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("standby")
    with Lanes(folder / "u", SYMBOLS) as undisturbed, Lanes(folder / "d", SYMBOLS) as lanes:
        undisturbed.venue(*MARKET, "--speed", "max")
        undisturbed.lane("one")
        undisturbed.wait_for_end("one")

        lanes.venue(*MARKET, "--speed", "1")
        lanes.lane("first")
        wait_until(lambda: len(lanes.emitted()) >= 4, "no signals came")
        assert lanes.state("first", GROUP) == "leading"
        for name in ("second", "third"):
            lanes.lane(name)
            wait_until(lambda name=name: lanes.state(name, GROUP) == "standby", "no standby")
        lanes.send("first", signal.SIGKILL)
        killed_seconds = takeover(lanes, lanes.token(GROUP))
        leader, standby = sorted(("second", "third"), key=lambda name: lanes.state(name, GROUP))
        assert (lanes.state(leader, GROUP), lanes.state(standby, GROUP)) == ("leading", "standby")
        count = len(lanes.emitted())
        wait_until(lambda: len(lanes.emitted()) > count, "no signals came after the takeover")

        lanes.send(leader, signal.SIGSTOP)
        paused_seconds = takeover(lanes, lanes.token(GROUP))
        lanes.send(leader, signal.SIGCONT)
        wait_until(lambda: lanes.state(leader, GROUP) == "standby", "the paused lane does not stand back")
        wait_until(lambda: lanes.pages(leader)[1].get("live_lane_superseded_total") == 1, "it did not notice")
        metrics = lanes.pages(leader)[1]
        count = len(lanes.emitted())
        wait_until(lambda: len(lanes.emitted()) > count, "no signals came in the end")
        for name in (leader, standby):  # the one that stands by first
            lanes.send(name, signal.SIGTERM)
            lanes.wait_for_end(name)
        yield Story(lanes, undisturbed, killed_seconds, paused_seconds, metrics)


def test_the_standby_takes_over(story: Story) -> None:
    print(
        f"\nrows again after kill -9 of the lane that leads: {story.killed_seconds:.1f} s; "
        f"after it was paused: {story.paused_seconds:.1f} s"
    )
    assert story.lanes.token(GROUP) >= 3
    assert story.superseded["live_lane_superseded_total"] == 1
    assert story.superseded["live_lane_takeovers_total"] == 1


def test_every_trade_is_there_once(story: Story) -> None:
    everything_but_late = [name for name in TRADES.value_columns if name != "late"]
    for key in story.lanes.keys:
        trades, expected = story.lanes.rows(key, "trades"), story.undisturbed.rows(key, "trades")
        ids = trades["trade_id"].tolist()
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        # The clock starts with the first subscriber, so both runs see the market from its beginning.
        assert len(trades) > 100
        expected = expected[: len(trades)]
        pd.testing.assert_frame_equal(trades[everything_but_late], expected[everything_but_late], check_exact=True)


def test_rows_are_those_of_the_undisturbed_run_outside_the_recorded_gaps(story: Story) -> None:
    for key in story.lanes.keys:
        gaps = story.lanes.rows(key, "gaps")
        assert set(gaps["reason"]) == {"restart"}
        assert set(gaps["feed"]) == {"depth"}
        assert len(gaps) >= 2
        rows = story.lanes.rows(key, "features")
        times = rows[str(FEATURES.time)]
        assert times.is_unique
        assert times.is_monotonic_increasing
        actual = outside_gaps(rows, gaps)
        expected = outside_gaps(story.undisturbed.rows(key, "features"), gaps)
        expected = expected[expected[str(FEATURES.time)] <= times.max()]
        assert len(actual) > 10
        pd.testing.assert_frame_equal(actual, expected, check_exact=True)


def outside_gaps(rows: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    times = rows[str(FEATURES.time)]
    inside = pd.Series(False, index=rows.index)
    for start, end in zip(gaps["gap_start"], gaps["gap_end"], strict=True):
        inside |= (times > start) & (times <= end + SECOND)
    return rows[~inside].reset_index(drop=True)


def test_no_signal_leaves_twice_and_none_is_missing(story: Story) -> None:
    sent = {signal["id"]: signal for signal in story.lanes.emitted()}
    assert len(sent) == len(story.lanes.emitted())
    # They leave in the order of their times; of the last row, the lane may have been stopped before it had made any.
    last = max(signal["event_time"] for signal in sent.values())
    computed = story.lanes.expected_signals(GROUP)
    expected = {number for number, time in computed.items() if time <= last}
    assert expected - sent.keys() == set()
    assert len(expected) > 4
    # A signal leaves at once, the row it was made of at the next flush: of a lane that dies between the two, the signal
    # is all that is left, and it lies in the recorded gap.
    for left in (sent[number] for number in sent.keys() - expected):
        gaps = story.lanes.rows(left["instrument"], "gaps")
        assert ((gaps["gap_start"] < left["event_time"]) & (left["event_time"] <= gaps["gap_end"])).any(), left


def test_nothing_was_added_behind_newer_entries(story: Story) -> None:
    client = story.lanes.client
    for key in story.lanes.keys:
        for stream in ("trades", "depth", "features", "gaps"):
            entries: list[tuple[bytes, object]] = client.xrange(f"market:{key}:{stream}")  # type: ignore[assignment]
            ids = [int(number.split(b"-")[0]) for number, _ in entries]
            assert ids == sorted(ids)
