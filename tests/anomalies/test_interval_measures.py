import math
import random

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


def test_a_restored_one_forgets_what_it_was():
    rows = [features_row(second, bid=60_000 + second % 7, trades=second % 3) for second in range(1, 200)]
    used, fresh = IntervalMeasures(PARAMETERS), IntervalMeasures(PARAMETERS)
    walked(rows, used)
    used.restore(fresh.state())
    assert used.state() == fresh.state()
    assert repr(walked(rows, used)) == repr(walked(rows, fresh))


def market(seed, step):
    """Rows every ``step`` seconds of a market that jumps, rests, comes back and has gaps and empty sides."""
    chance = random.Random(seed)
    rows, bid, quantities = [], 60_000, (1.0, 1.0)
    for second in range(step, 1_800 * step, step):
        if chance.random() < 0.4:
            bid += chance.choice((-40, -1, -1, 1, 1, 40)) if chance.random() < 0.5 else 60_000 - bid
        if chance.random() < 0.6:
            quantities = chance.choice((0.0, 1.0, 2.0, 3.0, 90.0)), chance.choice((0.0, 1.0, 2.0, 3.0, 90.0))
        trades = chance.choice((0, 1, 1, 2, 30))
        if chance.random() > 0.002:
            rows.append(
                features_row(second, bid=bid, spread=chance.choice((1, 5)), quantities=quantities, trades=trades)
            )
    return rows


def pressures(run):
    """Of each row of a run without gaps: ln(bid / ask quantity) within 3 if it is newly quoted, else None."""
    found, heavier = [], []
    for number, row in enumerate(run["rows"]):
        bids = row.bid_quantity > row.ask_quantity
        quote = (bids, row.best_bid, row.bid_quantity) if bids else (bids, row.best_ask, row.ask_quantity)
        before = run["rows"][number - 1] if number else None
        if before is None:
            new = True
        elif bids:
            new = row.best_bid != before.best_bid or row.bid_quantity > before.bid_quantity
        else:
            new = row.best_ask != before.best_ask or row.ask_quantity > before.ask_quantity
        new = new and quote not in heavier[-run["quotes"] :] and row.bid_quantity > 0 and row.ask_quantity > 0
        pressure = math.log(row.bid_quantity / row.ask_quantity) if new else 0.0
        found.append(max(-3.0, min(pressure, 3.0)) if pressure else None)
        heavier.append(quote)
    return found


def one_sided_of(window):
    said = [pressure for pressure in window if pressure is not None]
    return abs(sum(said)) / (len(said) + 5)


def wick_of(window):
    mids = [(row.best_bid + row.best_ask) / 2 for row in window]
    up, down = max(mids) - max(mids[0], mids[-1]), min(mids[0], mids[-1]) - min(mids)
    return 10_000 * max(up, down) / mids[-1]


def by_definition(rows, step, interval):
    """Every value as the table of the module says it, each window looked at anew; by second."""
    runs = []
    for row in rows:
        if not runs or row.time - runs[-1]["rows"][-1].time != step * SECOND:
            runs.append({"rows": [], "quotes": 50 // step})
        runs[-1]["rows"].append(row)
    lengths = {"wick": 60 // step + 1, "trade_burst": 40 // step, "one_sided": 50 // step}
    found, usual, counted = {}, 0.0, 0
    for run in runs:
        fresh = pressures(run)
        number_at = {row.time // SECOND: number for number, row in enumerate(run["rows"])}
        for point in range(interval, rows[-1].time // SECOND + 1, interval):
            ends = [
                number_at[second] for second in range(point - interval + step, point + 1, step) if second in number_at
            ]
            if len(ends) < interval // step:
                continue
            own = [run["rows"][number] for number in ends]
            spreads, mids = (
                [row.best_ask - row.best_bid for row in own],
                [(row.best_ask + row.best_bid) / 2 for row in own],
            )
            values = {"mean_spread": 10_000 * sum(spreads) / sum(mids)}
            windows = {
                name: [range(number - length + 1, number + 1) for number in ends] for name, length in lengths.items()
            }
            whole = {name for name, held in windows.items() if held[0].start >= 0}
            if "wick" in whole:
                values["wick"] = max(wick_of(run["rows"][held.start : held.stop]) for held in windows["wick"])
            if "one_sided" in whole:
                values["one_sided"] = max(one_sided_of(fresh[held.start : held.stop]) for held in windows["one_sided"])
            if "trade_burst" in whole and counted * interval >= 600:
                most = max(sum(run["rows"][number].trade_count for number in held) for held in windows["trade_burst"])
                values["trade_burst"] = most / (usual + 5)
            counted += 1
            weight = max(1 - 0.5 ** (interval / 600), 1 / counted)
            usual = (1 - weight) * usual + weight * sum(row.trade_count for row in own) * 40 / interval
            found[point] = values
    return found


@pytest.mark.parametrize(("step", "interval"), [(1, 60), (1, 10), (2, 20), (2, 60), (1, 90)])
@pytest.mark.parametrize("seed", [1, 2])
def test_every_value_is_what_its_definition_says(seed, step, interval):
    rows = market(seed, step)
    parameters = AnomalyParameters(features_grid=step * SECOND, metrics_interval=interval * SECOND)
    expected = by_definition(rows, step, interval)
    seen = set()
    for second, values in walked(rows, parameters=parameters).items():
        known = {name: value for name, value in values.items() if not math.isnan(value)}
        # Pressures are summed in millionths.
        assert known == pytest.approx(expected.get(second, {}), rel=1e-9, abs=1e-6)
        seen |= {(name, len(known)) for name in known}
    assert {name for name, _ in seen} == set(INTERVAL_FEATURES)
    assert ("mean_spread", 4) in seen


@pytest.mark.parametrize("every", [1, 29])
def test_a_restart_at_any_row_changes_nothing(every):
    rows = market(3, 1)
    whole, restarted, found = IntervalMeasures(PARAMETERS), IntervalMeasures(PARAMETERS), {}
    expected = walked(rows, whole)
    for first in range(0, len(rows), every):
        text = encode_state(restarted.state())
        restarted = IntervalMeasures(PARAMETERS)
        restarted.restore(decode_state(text))
        found |= walked(rows[first : first + every], restarted)
    assert repr(found) == repr(expected)
    assert restarted.state() == whole.state()
