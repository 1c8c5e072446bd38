"""Ingest on a market whose truth is known: faults, delays and restarts."""

from itertools import cycle

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from signal_assets.event_time import DAY, SECOND, day_end
from signal_assets.fixed_point import MAXIMUM
from signal_assets.market import tables
from signal_assets.market.ingest import Output, ResumePoint, TradesRequest, VenueIngest
from signal_assets.market.messages import DepthSnapshot, DepthUpdate, Trade
from signal_assets.market.stream_codec import decode, encode
from tests.market.market_model import (
    ONE,
    SETTINGS,
    START,
    TWO,
    Driver,
    MarketModel,
    Wire,
    add,
    depth_gaps,
    named,
    order_flow,
    outside,
)

SEEDS = st.integers(0, 10_000)
DELAYS = st.lists(st.sampled_from([0, 0, 1, 2, 5, 17, 60, 300]), min_size=1, max_size=12)


def undisturbed(model: MarketModel) -> Driver:
    return Driver(model).feed(model.wire()).end()


SMALL = st.integers(0, 40)
ODD = SMALL | st.sampled_from([0, -1, MAXIMUM, -MAXIMUM])
LEVELS = st.lists(st.tuples(ODD, ODD), max_size=3)
TIMES = st.integers(0, 100).map(lambda tenth: START + tenth * SECOND // 10) | st.sampled_from([0, MAXIMUM, -MAXIMUM])
KEYS = st.sampled_from([ONE.key, TWO.key, "OTHER.VENUE"])
ANYTHING = st.one_of(
    st.builds(DepthUpdate, KEYS, TIMES, TIMES, SMALL, SMALL, LEVELS, LEVELS, st.none() | SMALL),
    st.builds(Trade, KEYS, ODD, TIMES, TIMES, ODD, ODD, st.booleans(), TIMES),
)


@settings(max_examples=150, deadline=None)
@given(messages=st.lists(ANYTHING, max_size=30), snapshots=st.lists(st.tuples(SMALL, LEVELS, LEVELS), max_size=9))
def test_nothing_the_market_sends_raises_and_all_rows_can_be_written(
    messages: list[DepthUpdate | Trade], snapshots: list[tuple[int, list[tuple[int, int]], list[tuple[int, int]]]]
) -> None:
    ingest = VenueIngest([ONE, TWO], SETTINGS)
    answers = iter(snapshots)
    for message in messages:
        ingest.receive(message)
        for request in ingest.requests():
            answer = next(answers, None)
            if isinstance(request, TradesRequest):
                ingest.answer_trades(request, [])
            elif answer is not None:
                ingest.answer_snapshot(request, DepthSnapshot(request.instrument, *answer))
            else:
                ingest.fail(request, "no more")
    ingest.end_of_recording()
    for key in (ONE.key, TWO.key):
        output = ingest.drain(key)
        for table, rows in (
            (tables.TRADES, output.trades),
            (tables.FEATURES, output.features),
            (tables.DEPTH_SNAPSHOTS, output.depth_snapshots),
            (tables.FEED_GAPS, output.feed_gaps),
        ):
            assert len(decode(table, encode(table, rows))) == len(rows)


def rows_of(output: Output) -> tuple[object, ...]:
    return (output.trades, output.features, output.depth_snapshots, output.feed_gaps, output.quality)


@settings(max_examples=60, deadline=None)
@given(messages=st.lists(ANYTHING, max_size=30), ending=st.sampled_from(["nothing", "dead_feed", "end_of_recording"]))
def test_who_was_not_touched_has_nothing_to_drain(messages: list[DepthUpdate | Trade], ending: str) -> None:
    ingest = VenueIngest([ONE, TWO], SETTINGS)
    for message in [*messages, None]:
        if message is not None:
            ingest.receive(message)
        elif ending == "dead_feed":
            ingest.dead_feed(START + 30 * SECOND)
        elif ending == "end_of_recording":
            ingest.end_of_recording()
        for request in ingest.requests():
            ingest.fail(request, "no answer")
        touched = ingest.touched()
        assert touched == [key for key in (ONE.key, TWO.key) if key in touched]
        for key in {ONE.key, TWO.key} - set(touched):
            output = ingest.drain(key)
            assert (rows_of(output), output.watermark) == (rows_of(Output()), None)
        for key in touched:
            ingest.drain(key)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, faults=SEEDS, delays=DELAYS, cut=st.floats(0, 1))
def test_rows_do_not_depend_on_how_fast_rest_answers(seed: int, faults: int, delays: list[int], cut: float) -> None:
    model = MarketModel(seed)
    place = int(cut * len(model.messages))
    # The one exception: a trade pushed too late *and* lost or overtaken while a new connection begins. Whether it is
    # late then depends on whether REST had it; so the wire is sound there.
    wire = model.faulty_wire(faults, intact=range(place - 1, place + 60))
    middle = next((index for index, (original, _) in enumerate(wire) if original >= place), len(wire))
    results = []
    for chosen in ([0], delays):
        driver = Driver(model).feed(wire[:middle], cycle(chosen))
        driver.ingest.disconnected()
        driver.feed(wire[middle:], cycle(chosen)).end()
        results.append(driver)
    at_once, delayed = results
    for key in model.truths:
        assert rows_of(delayed.outputs[key]) == rows_of(at_once.outputs[key])
        assert delayed.outputs[key].watermark == at_once.outputs[key].watermark
        assert delayed.ingest.state(key) == at_once.ingest.state(key)
    assert delayed.asked == at_once.asked or len(delayed.asked) >= 2


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, faults=SEEDS)
def test_faults_on_the_wire_leave_gaps_but_no_wrong_row(seed: int, faults: int) -> None:
    model = MarketModel(seed)
    wire = model.faulty_wire(faults)
    driver = Driver(model).feed(wire).end()
    for key, truth in model.truths.items():
        output = driver.outputs[key]
        check_trades(model, key, wire, output)
        check_features(truth, output)
        assert driver.ingest.state(key)["crossed"] == 0
        assert driver.ingest.state(key)["reconcile_differences"] == 0
        ends = [gap[3] for gap in output.feed_gaps]
        assert ends == sorted(ends)
        assert all(gap[2] < gap[3] and gap[3] % SECOND == 0 for gap in output.feed_gaps)


def check_trades(model: MarketModel, key: str, wire: Wire, output: Output) -> None:
    truth = model.truths[key]
    ids = [row[1] for row in output.trades]
    seen = [message.trade_id for _, message in wire if isinstance(message, Trade) and message.instrument == key]
    if not seen:
        return
    first = next(iter(seen))
    assert ids == list(range(first, max(seen) + 1))
    facts = {t.trade_id: (t.event_time, t.price, t.quantity, t.is_buyer_maker) for t in truth.trades}
    assert {row[1]: (row[2], row[4], row[5], row[6]) for row in output.trades} == {i: facts[i] for i in ids}


def check_features(truth: object, output: Output) -> None:
    rows = named(tables.FEATURES, output.features)
    flow = order_flow(truth)  # type: ignore[arg-type]
    gaps = depth_gaps(output)
    good = outside(gaps)
    for row in rows:
        time = row["time"]
        if good(time):
            last, (bids, asks) = truth.at(time)  # type: ignore[attr-defined]
            assert row["last_update_id"] == last
            assert row["bid_price_20"] == tuple(sorted(bids, reverse=True)[:20])
            assert row["ask_price_20"] == tuple(sorted(asks)[:20])
            assert row["bid_quantity_20"] == tuple(bids[price] for price in row["bid_price_20"])
            assert row["ask_quantity_20"] == tuple(asks[price] for price in row["ask_price_20"])
            assert row["order_flow_imbalance"] == flow.get(time, 0)
        mine = [t for t in output.trades if time - SECOND < t[2] <= time and not t[7]]
        assert row["trade_count"] == len(mine)
        assert row["buy_quantity"] == sum(t[5] for t in mine if not t[6])
        assert row["sell_quantity"] == sum(t[5] for t in mine if t[6])
    # between the first row and the last there is a row or a gap for every grid point
    times = {row["time"] for row in rows}
    if times:
        missing = [t for t in range(min(times), max(times), SECOND) if t not in times]
        assert not [t for t in missing if good(t)]


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, death=st.floats(0.05, 0.7), downtime=st.integers(0, 100), delays=DELAYS, known=st.booleans())
def test_restart_gives_the_undisturbed_rows_outside_recorded_gaps(
    seed: int, death: float, downtime: int, delays: list[int], known: bool
) -> None:
    model = MarketModel(seed)
    whole = undisturbed(model)
    wire = model.wire()
    killed = int(death * len(wire))
    before = Driver(model).feed(wire[:killed], cycle(delays))
    assume(all(output.trades and output.watermark for output in before.outputs.values()))
    resume = {
        key: ResumePoint(
            closed=output.watermark,
            last_trade_id=output.trades[-1][1] if output.trades else None,
            last_row=output.features[-1][1] if output.features and known else None,
        )
        for key, output in before.outputs.items()
    }
    after = Driver(model, VenueIngest([ONE, TWO], SETTINGS, resume))
    after.feed(wire[killed + downtime :], cycle(delays)).end()
    for key in model.truths:
        joined = Output()
        add(joined, before.outputs[key])
        add(joined, after.outputs[key])
        check_equal_outside_gaps(joined, whole.outputs[key])


def check_equal_outside_gaps(joined: Output, whole: Output) -> None:
    gaps = depth_gaps(joined)
    good = outside(gaps)
    for rows, expected in ((joined.features, whole.features), (joined.depth_snapshots, whole.depth_snapshots)):
        table = tables.FEATURES if rows is joined.features else tables.DEPTH_SNAPSHOTS
        time = "time" if rows is joined.features else "event_time"
        # what REST served as a snapshot, and when, decides how far the book is known
        drop = ("coverage_low", "coverage_high")
        ours = [row for row in named(table, rows, drop=drop) if good(row[time])]
        theirs = [row for row in named(table, expected, drop=drop) if good(row[time])]
        assert ours == theirs
    ours = named(tables.TRADES, joined.trades, drop=("late",))
    theirs = named(tables.TRADES, whole.trades, drop=("late",))
    assert ours == theirs
    late = {row[1] for row in joined.trades if row[7] and good(row[2])}
    assert late == {row[1] for row in whole.trades if row[7] and good(row[2])} or gaps
    assert joined.watermark == whole.watermark


def test_restart_records_one_gap_and_fills_the_trades() -> None:
    model = MarketModel(3)
    wire = model.wire()
    before = Driver(model).feed(wire[:200])
    closed = before.outputs[ONE.key].watermark
    last_id = before.outputs[ONE.key].trades[-1][1]
    resume = {key: ResumePoint(out.watermark, out.trades[-1][1]) for key, out in before.outputs.items()}
    after = Driver(model, VenueIngest([ONE, TWO], SETTINGS, resume)).feed(wire[260:])
    output = after.outputs[ONE.key]
    gap = output.feed_gaps[0]
    assert (gap[:3], gap[4]) == ((ONE.key, "depth", closed), "restart")
    assert gap[3] == output.features[0][1]
    assert output.trades[0][1] == last_id + 1
    filled = [row for row in output.trades if row[8] & tables.FLAG_FILLED_BY_REST]
    assert filled
    assert not any(row[7] for row in filled if row[2] > closed)
    # nothing is closed before the missing trades are there
    waiting = VenueIngest([ONE, TWO], SETTINGS, resume)
    for _, message in wire[260:]:
        if message is not None:
            waiting.receive(message)
    assert waiting.drain(ONE.key).watermark is None
    assert {type(request) for request in waiting.requests()} == {TradesRequest}
    assert waiting.state(ONE.key)["held"] > 100


def test_very_first_start_records_no_gap() -> None:
    driver = undisturbed(MarketModel(5))
    for output in driver.outputs.values():
        assert output.feed_gaps == []
        assert output.features


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS)
def test_undisturbed_run_equals_the_truth(seed: int) -> None:
    model = MarketModel(seed)
    driver = undisturbed(model)
    for key, truth in model.truths.items():
        output = driver.outputs[key]
        assert output.feed_gaps == []
        assert len(output.trades) == len(truth.trades)
        check_features(truth, output)
        first = -(-truth.updates[0].event_time // SECOND) * SECOND + SECOND
        newest = max(max(u.event_time for u in truth.updates), max(t.clock for t in truth.trades))
        assert [row[1] for row in output.features] == list(range(first, newest + 1, SECOND))
        for row in named(tables.DEPTH_SNAPSHOTS, output.depth_snapshots):
            last, (bids, asks) = truth.at(row["event_time"])
            assert row["last_update_id"] == last
            assert dict(zip(row["bid_price"], row["bid_quantity"], strict=True)) == bids
            assert dict(zip(row["ask_price"], row["ask_quantity"], strict=True)) == asks
        assert [row[1] % (5 * SECOND) for row in output.depth_snapshots] == [0] * len(output.depth_snapshots)
        assert len(output.depth_snapshots) >= 3


def test_end_of_recording_closes_every_instrument_at_the_same_midnight() -> None:
    driver = undisturbed(MarketModel(7))
    for output in driver.outputs.values():
        assert output.watermark == day_end(START)
        assert output.reason == "end_of_recording"


@pytest.mark.parametrize("offset", [0, 1])
def test_end_exactly_at_midnight_closes_the_old_day(offset: int) -> None:
    midnight = START // DAY * DAY
    ingest = VenueIngest([ONE], SETTINGS)
    ingest.receive(Trade(ONE.key, 1, midnight, 0, 100, 1, True, midnight + offset))
    ingest.end_of_recording()
    assert ingest.drain(ONE.key).watermark == midnight + offset * DAY
