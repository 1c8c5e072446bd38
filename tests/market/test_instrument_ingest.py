"""Single decisions of ingest, one by one: closing, trades, the connection."""

from dataclasses import replace

import pytest

from signal_assets.event_time import DAY, SECOND
from signal_assets.instrument import SanityRange
from signal_assets.market.ingest import Output, ResumePoint, SnapshotRequest, TradesRequest
from signal_assets.market.messages import BookTicker
from tests.market.ingest_lane import MILLI, ONE, START, TWO, Lane, diff, kinds, picture, times, trade

# --- closing --------------------------------------------------------------------------------------------------------


def test_grid_point_closes_by_the_lateness_behind_the_own_clock() -> None:
    lane = Lane().synced()
    assert times(lane.receive(diff(1_400, 12), diff(2_499, 13)).drain()) == [1]
    output = lane.receive(diff(2_500, 14)).drain()
    assert times(output) == [2]
    assert output.features[0][-1] == 12
    assert output.watermark == START + 2 * SECOND
    assert output.reason == ""


def test_row_needs_the_book_in_sync_over_the_whole_interval() -> None:
    assert times(Lane().synced(0).receive(diff(3_600, 12)).drain()) == [1, 2, 3]
    assert times(Lane().synced(1).receive(diff(3_600, 12)).drain()) == [2, 3]


def test_diff_exactly_on_the_grid_point_belongs_to_it() -> None:
    output = Lane().synced().receive(diff(1_000, 12), diff(1_001, 13), diff(1_600, 14)).drain()
    assert output.features[0][-1] == 12


def test_trade_behind_a_closed_point_is_late_and_stays_out_of_the_features() -> None:
    lane = Lane().synced()
    lane.receive(trade(1, 900), trade(2, 1_000, 1_499), diff(1_500, 12))
    output = lane.receive(trade(3, 1_000, 1_600), trade(4, 1_001, 1_600), diff(2_500, 13)).drain()
    assert [(row[1], row[7]) for row in output.trades] == [(1, False), (2, False), (3, True), (4, False)]
    assert [row[16] for row in output.features] == [2, 1]
    assert lane.ingest.state(ONE.key)["late_trades"] == 1


def test_quiet_instrument_is_closed_by_the_clock_of_the_venue() -> None:
    lane = Lane(ONE, TWO).synced()
    lane.receive(trade(1, 3_499, key=TWO.key))
    assert lane.drain().watermark == START
    output = lane.receive(trade(2, 3_500, key=TWO.key)).drain()
    assert output.watermark == START + SECOND
    assert times(output) == [1]
    # what comes now for the closed point is late
    assert [row[7] for row in lane.receive(trade(1, 900), trade(2, 1_001)).drain().trades] == [True, False]


def test_held_instrument_is_closed_by_the_venue_only_up_to_each_held_message() -> None:
    lane = Lane(ONE, TWO)
    lane.receive(diff(0, 11), trade(1, 100), trade(1, 9_000, key=TWO.key), trade(2, 200), diff(9_100, 12))
    assert lane.ingest.state(ONE.key)["held"] == 4
    assert lane.drain().watermark is None
    lane.snapshot(10)
    assert [row[7] for row in lane.drain().trades] == [False, True]
    assert lane.ingest.state(ONE.key)["held"] == 0


def test_unseen_instrument_follows_the_venue() -> None:
    lane = Lane(ONE, TWO).receive(trade(1, 5_000, key=TWO.key))
    output = lane.drain()
    assert output.watermark == START + 2 * SECOND
    assert output.features == []


def test_dead_feed_closes_without_rows_and_is_recorded() -> None:
    lane = Lane().synced().receive(diff(1_200, 12))
    lane.ingest.dead_feed(START + 20 * SECOND + 1)
    output = lane.drain()
    assert times(output) == [1]
    assert (output.watermark, output.reason) == (START + 20 * SECOND, "dead_feed")
    lane.receive(diff(21_100, 13))
    assert lane.snapshot(12).position == 12
    output = lane.receive(diff(23_600, 14)).drain()
    assert times(output) == [23]
    assert output.feed_gaps == [(ONE.key, "depth", START + SECOND, START + 23 * SECOND, "dead_feed")]


def test_end_of_recording_with_an_open_gap_records_it() -> None:
    lane = Lane().synced().receive(diff(1_600, 12), diff(5_100, 15))
    lane.ingest.end_of_recording()
    assert lane.drain().reason == ""
    lane.snapshot(14)
    output = lane.drain()
    assert times(output) == []
    assert output.feed_gaps == [(ONE.key, "depth", START + SECOND, START + 6 * SECOND, "sequence")]
    assert (output.watermark, output.reason) == ((START // DAY + 1) * DAY, "end_of_recording")


def test_recording_played_once_more_says_nothing_new() -> None:
    lane = Lane().synced().receive(trade(1, 100), diff(3_600, 12))
    lane.ingest.end_of_recording()
    closed = lane.drain().watermark
    again = Lane(resume={ONE.key: ResumePoint(closed, 1, START + 3 * SECOND)}).receive(diff(0, 11))
    again.trades()
    again.snapshot(10)
    again.receive(trade(1, 100), diff(3_600, 12))
    again.ingest.end_of_recording()
    assert again.drain() == Output()


# --- trades ---------------------------------------------------------------------------------------------------------


def test_jump_of_ids_is_filled_page_by_page() -> None:
    lane = Lane(trades_page=2).receive(trade(1, 100), trade(5, 400), trade(6, 500))
    assert lane.trades(trade(3, 210), trade(2, 200)) == TradesRequest(ONE.key, 2, 2)
    assert lane.trades(trade(4, 300)) == TradesRequest(ONE.key, 4, 1)
    output = lane.drain()
    assert [(row[1], row[8]) for row in output.trades] == [(1, 0), (2, 16), (3, 16), (4, 16), (5, 0), (6, 0)]


@pytest.mark.parametrize("by_failure", [True, False])
def test_trades_that_rest_does_not_have_are_a_gap(by_failure: bool) -> None:
    lane = Lane().receive(trade(1, 300), trade(4, 1_200), trade(7, 1_300))
    for newest in (trade(4, 1_200), trade(7, 1_300)):
        if by_failure:
            lane.ingest.fail(lane.request(), "503")
        else:
            lane.trades()
            assert lane.trades(newest) == TradesRequest(ONE.key, newest.trade_id, 1)
    output = lane.receive(trade(8, 2_500)).drain()
    assert [row[1] for row in output.trades] == [1, 4, 7, 8]
    assert output.feed_gaps == [(ONE.key, "trades", START, START + 2 * SECOND, "unfilled")]
    assert kinds(output) == ["trades_unfilled", "trades_unfilled"]


@pytest.mark.parametrize("by_failure", [True, False])
def test_trade_that_rest_does_not_know_is_left_out_and_asked_for_again(by_failure: bool) -> None:
    lane = Lane().receive(trade(1, 300), trade(4_000, 400), trade(2, 500))
    lane.trades()
    if by_failure:
        lane.ingest.fail(lane.request(), "503")
    else:
        lane.trades()
    output = lane.drain()
    assert [row[1] for row in output.trades] == [1, 2]
    assert (kinds(output), output.feed_gaps) == (["trade_refuted"], [])
    lane.receive(trade(5, 600))  # a true one that REST does not show yet
    lane.trades()
    lane.trades()
    lane.receive(trade(6, 700))
    assert lane.trades(trade(3, 510), trade(4, 520), trade(5, 600)) == TradesRequest(ONE.key, 3, 3)
    assert [row[1] for row in lane.drain().trades] == [3, 4, 5, 6]


def test_hole_inside_an_answer_is_a_gap() -> None:
    lane = Lane().receive(trade(1, 100), trade(5, 1_400))
    lane.trades(trade(2, 200), trade(4, 1_300))
    output = lane.receive(trade(6, 2_500)).drain()
    assert [row[1] for row in output.trades] == [1, 2, 4, 5, 6]
    assert [gap[1:] for gap in output.feed_gaps] == [("trades", START, START + 2 * SECOND, "unfilled")]


def test_unfilled_gap_inside_closed_points_ends_at_the_next_to_close() -> None:
    lane = Lane().receive(trade(1, 100), trade(2, 5_600), trade(4, 900, 5_700))
    lane.trades()
    lane.trades(trade(4, 900, 5_700))
    output = lane.receive(trade(5, 6_500)).drain()
    assert output.feed_gaps == [(ONE.key, "trades", START + 5 * SECOND, START + 6 * SECOND, "unfilled")]


def test_repeated_and_older_trades_are_dropped() -> None:
    lane = Lane().receive(trade(5, 100), trade(5, 100), trade(3, 50), trade(6, 200))
    assert [row[1] for row in lane.drain().trades] == [5, 6]
    assert lane.ingest.state(ONE.key)["duplicates"] == 2
    assert lane.ingest.requests() == []


@pytest.mark.parametrize(
    ("price", "quantity", "flags", "expected"),
    [
        (100, 10, 0, []),
        (103, 10, 4, ["off_tick"]),
        (100, 11, 8, ["off_lot"]),
        (5, 10, 1, ["price_out_of_range"]),
        (1_000, 2_000, 3, ["price_out_of_range", "quantity_out_of_range"]),
    ],
)
def test_odd_values_are_kept_flagged_and_told(price: int, quantity: int, flags: int, expected: list[str]) -> None:
    odd = replace(ONE, sanity=SanityRange(50, 500, 1_000))
    output = Lane(odd).receive(trade(1, 100, price=price, quantity=quantity)).drain()
    assert [(row[4], row[5], row[8]) for row in output.trades] == [(price, quantity, flags)]
    assert kinds(output) == expected


# --- the connection -------------------------------------------------------------------------------------------------


def test_disconnection_fetches_trades_and_book_of_all_instruments() -> None:
    lane = Lane(ONE, TWO).synced().receive(trade(1, 100), trade(7, 150, key=TWO.key), diff(1_600, 12))
    lane.drain()
    lane.ingest.disconnected()
    assert not lane.ingest.state(ONE.key)["synced"]
    lane.receive(trade(9, 60_000, key=TWO.key))
    one, two = lane.ingest.requests()
    assert (one, two) == (TradesRequest(ONE.key, 2, 1_000), TradesRequest(TWO.key, 8, 1_000))
    assert lane.drain().watermark is None
    lane.ingest.answer_trades(one, [trade(2, 30_000), trade(3, 60_001)])  # type: ignore[arg-type]
    lane.ingest.answer_trades(two, [trade(8, 30_000, key=TWO.key)])  # type: ignore[arg-type]
    # trade 3 was matched after the connection was there: it comes by the stream
    assert [(row[1], row[7]) for row in lane.drain().trades] == [(2, False)]
    assert [(row[1], row[7]) for row in lane.drain(TWO.key).trades] == [(7, False), (8, False), (9, False)]
    lane.receive(trade(3, 60_001), diff(60_100, 40))
    assert lane.snapshot(39).position == 39
    output = lane.receive(diff(62_600, 41)).drain()
    assert output.feed_gaps == [(ONE.key, "depth", START + SECOND, START + 62 * SECOND, "restart")]
    assert times(output) == [62]
    assert lane.ingest.requests() == []


def test_restart_asks_for_the_last_trade_too_and_knows_its_price() -> None:
    resume = {ONE.key: ResumePoint(START, 5)}
    lane = Lane(resume=resume).receive(diff(10_000, 50))
    assert lane.trades(trade(5, -100, price=95)) == TradesRequest(ONE.key, 5, 1_000)
    lane.snapshot(49)
    output = lane.receive(diff(12_600, 51)).drain()
    assert output.trades == []
    assert (output.features[0][1], output.features[0][19]) == (START + 11 * SECOND, 95)
    assert output.feed_gaps == [(ONE.key, "depth", START, START + 11 * SECOND, "restart")]


def test_restart_marks_its_watermarks_until_rows_come() -> None:
    lane = Lane(resume={ONE.key: ResumePoint(START, None, START - 3 * SECOND)}).receive(diff(10_100, 50))
    lane.snapshot(49)
    output = lane.receive(diff(11_600, 51)).drain()
    assert (output.watermark, output.reason, output.features) == (START + 11 * SECOND, "restart", [])
    output = lane.receive(diff(12_600, 52)).drain()
    assert (output.reason, times(output)) == ("", [12])
    assert output.feed_gaps == [(ONE.key, "depth", START - 3 * SECOND, START + 12 * SECOND, "restart")]


def test_failed_refill_after_a_restart_is_tried_again_with_the_next_trade() -> None:
    lane = Lane(resume={ONE.key: ResumePoint(START, 5)}).receive(trade(8, 10_000))
    lane.ingest.fail(lane.request(), "503")
    assert lane.trades(trade(6, 500), trade(7, 900)) == TradesRequest(ONE.key, 6, 2)
    assert [(row[1], row[7]) for row in lane.drain().trades] == [(6, False), (7, False), (8, False)]


def test_message_from_the_far_future_is_refused_but_ten_in_a_row_are_believed() -> None:
    lane = Lane().receive(trade(1, 0))
    far = 100 * 86_400_000
    lane.receive(*(trade(2 + number, far + number) for number in range(9)))
    output = lane.drain()
    assert kinds(output) == ["clock_jump"] * 9
    assert [row[1] for row in output.trades] == [1]
    lane.receive(trade(11, far + 9))
    lane.trades(*(trade(2 + number, far + number) for number in range(9)))
    assert [row[1] for row in lane.drain().trades] == list(range(2, 12))


@pytest.mark.parametrize("milliseconds", [-START // MILLI - 1, 10**16])
def test_message_out_of_time_is_refused(milliseconds: int) -> None:
    lane = Lane().receive(trade(1, 0), trade(2, milliseconds, 100), trade(2, 100, milliseconds), diff(milliseconds, 11))
    output = lane.drain()
    assert kinds(output) == ["clock_jump"] * 3
    assert [row[1] for row in output.trades] == [1]
    assert lane.ingest.requests() == []


def test_what_is_not_ours_is_ignored() -> None:
    lane = Lane().receive(trade(1, 0, key="OTHER.VENUE"), BookTicker(ONE.key, 0, 1, 1, 1, 2, 1))
    assert lane.drain() == Output()
    lane.receive(diff(0, 11))
    request = lane.request()
    assert isinstance(request, SnapshotRequest)
    other = SnapshotRequest(ONE.key, 3, "sync")
    lane.ingest.answer_snapshot(other, picture(3))
    lane.ingest.fail(other, "")
    lane.ingest.answer_trades(TradesRequest(ONE.key, 1, 1), [])
    assert lane.ingest.state(ONE.key)["held"] == 1
    lane.ingest.answer_snapshot(request, picture(10))
    lane.ingest.answer_snapshot(request, picture(3))
    assert lane.ingest.state(ONE.key)["held"] == 0


def test_nothing_to_close_without_a_message() -> None:
    lane = Lane()
    lane.ingest.end_of_recording()
    assert lane.drain() == Output()
    assert lane.ingest.state(ONE.key)["clock"] is None
