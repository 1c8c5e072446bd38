"""Single decisions of ingest, one by one: the book and its comparison with snapshots."""

import pytest

from signal_assets.event_time import MINUTE, SECOND
from signal_assets.market.ingest import SnapshotRequest
from signal_assets.market.messages import DepthUpdate
from tests.market.ingest_lane import ONE, START, Lane, diff, kinds, picture, times, trade

# --- the book -------------------------------------------------------------------------------------------------------


def test_diff_that_straddles_the_snapshot_is_the_first_applied() -> None:
    lane = Lane().receive(diff(0, 8, 9), diff(100, 10, 14, bids=[(95, 7)]), diff(200, 15))
    assert lane.snapshot(12, [(95, 3)]).position == 7
    state = lane.ingest.state(ONE.key)
    assert (state["synced"], state["sequence_gaps"], state["duplicates"], state["resyncs"]) == (True, 0, 0, 0)
    assert lane.receive(diff(2_600, 16)).drain().features[0][4] == 7


def test_snapshot_older_than_the_stream_is_asked_for_again() -> None:
    lane = Lane().receive(diff(0, 11))
    lane.snapshot(8)
    assert lane.ingest.state(ONE.key)["held"] == 1
    lane.snapshot(10)
    assert lane.ingest.state(ONE.key)["synced"]


def test_venue_that_repeats_an_old_snapshot_is_left_alone_for_a_while() -> None:
    lane = Lane().receive(diff(0, 11))
    lane.snapshot(8)
    lane.snapshot(8)
    assert kinds(lane.receive(diff(4_900, 12)).drain()) == ["no_snapshot"]
    assert lane.ingest.requests() == []
    lane.receive(diff(5_000, 13))
    assert lane.snapshot(12).position == 12
    assert lane.ingest.state(ONE.key)["synced"]


def test_sequence_gap_resyncs_and_keeps_the_held_diffs() -> None:
    lane = Lane().synced().receive(diff(1_100, 12), diff(1_300, 14, bids=[(90, 1)]), diff(1_400, 15, bids=[(85, 1)]))
    assert lane.snapshot(13).position == 13
    output = lane.receive(diff(3_600, 16)).drain()
    state = lane.ingest.state(ONE.key)
    assert (state["sequence_gaps"], state["resyncs"], state["levels"]) == (1, 1, 4)
    assert output.feed_gaps == [(ONE.key, "depth", START + SECOND, START + 3 * SECOND, "sequence")]
    assert times(output) == [1, 3]
    assert kinds(output) == ["sequence_gap"]


def test_point_between_the_last_good_diff_and_a_gap_has_no_row() -> None:
    lane = Lane().synced().receive(diff(900, 12), diff(1_100, 14))
    lane.snapshot(13)
    output = lane.receive(diff(3_600, 15)).drain()
    assert times(output) == [3]
    assert output.feed_gaps[0][2:4] == (START, START + 3 * SECOND)


def test_repeated_diff_counts_and_moves_nothing() -> None:
    lane = Lane().synced().receive(diff(100, 12, bids=[(95, 4)]), diff(100, 12, bids=[(95, 9)]))
    lane.receive(diff(0, 11, bids=[(95, 9)]), diff(1_700, 13))
    assert lane.ingest.state(ONE.key)["duplicates"] == 2
    assert lane.drain().features[0][4] == 4


def test_older_id_at_a_newer_time_ends_in_a_fresh_book() -> None:
    # A diff whose last id was spoilt to 900 is applied; what comes then has older ids and newer times.
    spoilt = DepthUpdate(ONE.key, START + 1_200_000, 0, 12, 900, [(95, 9)], [])
    lane = Lane().synced().receive(spoilt, diff(2_300, 13))
    assert lane.snapshot(12, bids=[(95, 4)]).position == 12
    output = lane.receive(diff(5_700, 14)).drain()
    assert lane.ingest.state(ONE.key)["synced"]
    assert kinds(output) == ["sequence_gap"]
    assert (times(output)[0], times(output)[-1], output.features[-1][4]) == (1, 5, 4)
    ((feed, start, end, reason),) = [gap[1:] for gap in output.feed_gaps]
    assert (feed, start, reason) == ("depth", START + SECOND, "sequence")
    assert times(output)[1] == (end - START) // SECOND


@pytest.mark.parametrize(
    ("bids", "asks", "kind", "reason"),
    [
        ([(105, 1)], [], "crossed_book", "crossed"),
        ([], [(90, 1)], "crossed_book", "crossed"),
        ([(95, 0)], [], "empty_side", "sequence"),
    ],
)
def test_broken_book_is_fetched_again(
    bids: list[tuple[int, int]], asks: list[tuple[int, int]], kind: str, reason: str
) -> None:
    lane = Lane().synced().receive(diff(1_100, 12, bids=bids, asks=asks), diff(1_200, 13))
    assert lane.snapshot(12).position == 12
    output = lane.receive(diff(3_600, 14)).drain()
    assert kinds(output) == [kind]
    assert lane.ingest.state(ONE.key)["crossed"] == (kind == "crossed_book")
    assert output.feed_gaps == [(ONE.key, "depth", START + SECOND, START + 3 * SECOND, reason)]
    assert times(output) == [1, 3]


@pytest.mark.parametrize("bids", [[], [(105, 1)], [(95, 0)]])
def test_unusable_snapshot_is_refused(bids: list[tuple[int, int]]) -> None:
    lane = Lane().receive(diff(0, 11))
    lane.snapshot(10, bids)
    assert kinds(lane.drain()) == ["no_snapshot"]
    assert lane.receive(diff(4_999, 12)).ingest.requests() == []
    lane.receive(diff(5_000, 13))
    lane.snapshot(12)
    assert lane.ingest.state(ONE.key)["synced"]


def test_failed_snapshot_goes_on_without_rows_and_asks_again() -> None:
    lane = Lane().receive(diff(0, 11), trade(1, 100), diff(3_600, 12))
    lane.ingest.fail(lane.request(), "503")
    output = lane.drain()
    assert (output.watermark, output.features, len(output.trades)) == (START + 3 * SECOND, [], 1)
    lane.receive(diff(5_000, 13))
    assert lane.snapshot(12).position == 12


def test_snapshots_on_the_grid_and_cut_to_the_limit() -> None:
    lane = Lane(maximum_snapshot_levels=2, snapshot_interval=2 * SECOND).receive(diff(0, 11))
    lane.snapshot(10, [(80, 1), (95, 2), (90, 3)])
    output = lane.receive(diff(4_600, 12)).drain()
    assert [(row[1] - START) // SECOND for row in output.depth_snapshots] == [0, 2, 4]
    assert output.depth_snapshots[1][3:] == (11, (95, 90), (2, 3), (105,), (1,), 80, 105)


# --- reconciliation -------------------------------------------------------------------------------------------------


def test_reconciliation_repairs_counts_and_leaves_rows_alone() -> None:
    lane = Lane(reconcile_interval=MINUTE).synced(59_000)
    lane.receive(diff(60_100, 12), diff(60_200, 13, bids=[(95, 8)]))
    assert lane.ingest.state(ONE.key)["held"] == 1
    request = lane.snapshot(12, [(95, 1), (90, 5)])
    assert (request.purpose, request.position) == ("reconcile", 12)
    output = lane.receive(diff(61_600, 14)).drain()
    assert kinds(output) == ["reconcile"]
    state = lane.ingest.state(ONE.key)
    assert (state["levels"], state["coverage_low"], state["reconcile_differences"]) == (3, 90, 1)
    assert output.feed_gaps == []
    assert [(row[4], row[15]) for row in output.features] == [(1, 0), (8, 7)]


def test_newer_snapshot_is_compared_when_the_book_gets_there() -> None:
    lane = Lane(reconcile_interval=MINUTE).synced(59_000).receive(diff(60_100, 12))
    request = lane.request()
    assert isinstance(request, SnapshotRequest)
    lane.ingest.answer_snapshot(request, picture(15, [(95, 6), (90, 5)]))
    # 13 to 14 comes before it; 15 is inside 15 to 16, whose level 95 may differ
    lane.receive(diff(60_200, 13, 14, bids=[(90, 5)]), diff(60_300, 15, 16, bids=[(95, 7)]))
    state = lane.ingest.state(ONE.key)
    assert (state["reconcile_differences"], state["levels"], state["coverage_low"]) == (0, 3, 90)
    assert kinds(lane.drain()) == []


def test_stale_failed_and_unusable_comparisons_do_no_harm() -> None:
    lane = Lane(reconcile_interval=MINUTE).synced(59_000).receive(diff(60_100, 12))
    lane.snapshot(11, [(95, 99)])
    assert lane.receive(diff(61_000, 13)).ingest.requests() == []
    lane.receive(diff(120_000, 14))
    lane.snapshot(14, [])
    lane.receive(diff(180_000, 15))
    lane.ingest.fail(lane.request(), "503")
    lane.receive(diff(184_999, 16))
    assert lane.ingest.requests() == []
    lane.receive(diff(185_000, 17))
    assert lane.snapshot(17).purpose == "reconcile"
    assert kinds(lane.drain()) == ["snapshot_unusable"]
    assert lane.ingest.state(ONE.key)["synced"]
