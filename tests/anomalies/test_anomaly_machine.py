import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from signal_assets.anomalies.anomaly_machine import REPORTED, AnomalyMachine
from signal_assets.anomalies.drift import DriftPanel, drift_row
from signal_assets.anomalies.folds import novelty
from signal_assets.anomalies.novelty_detector import SOURCE_NAMES, NoveltyDetector
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.statistical_detectors import (
    EmaResidual,
    InterQuartileRange,
    MedianAbsoluteDeviation,
    ZScore,
)
from signal_assets.anomalies.statistical_ensemble import StatisticalEnsemble
from signal_assets.anomalies.tables import ANOMALIES, INCIDENT_GROUPS, INCIDENTS, METRICS, SCORES, TABLES
from signal_assets.content_id import content_id
from signal_assets.event_time import SECOND
from signal_assets.fixed_point import SCALE
from signal_assets.fold import frame_of
from signal_assets.machine import decode_state, encode_state
from signal_assets.market.tables import FEATURES
from tests.anomalies.features_rows import BTC, ETH, features_row

SMALL = AnomalyParameters(
    metrics_interval=3 * SECOND,
    vpin_intervals=3,
    window=8,
    minimum_points=4,
    novelty_threshold=1.0,
    novelty_window=40,
    novelty_minimum_points=20,
    silent=(),
    alerting=("ensemble",),
    keep_firing=12 * SECOND,
    cool_down=0,
    group_tolerance=3 * SECOND,
    group_longest=60 * SECOND,
    correlation_window=20,
    correlation_least=0.2,
    drift_reference=20,
    drift_recent=10,
    drift_every=4,
    drift_probability=0.05,
)


def run(machine, steps):
    """Rows by table of all steps, each checked to bear the time of its step."""
    collected = {table.name: [] for table in TABLES}
    for time, events in steps:
        for name, rows in machine.step(time, events).items():
            table = next(table for table in TABLES if table.name == name)
            assert all(row[table.value_columns.index(table.time)] == time for row in rows)
            collected[name] += rows
    return collected


def frames(rows):
    """Rows as frames, checked against the tables' schemas."""
    return {table.short_name: table.conform(frame_of(table, rows[table.name])) for table in TABLES}


def of_seconds(rows):
    """Steps out of features rows in any order."""
    times = sorted({row.time for row in rows})
    return [
        (time, {FEATURES.name: sorted((row for row in rows if row.time == time), key=lambda row: row.instrument)})
        for time in times
    ]


def made_market(seconds, seed, missing=0.02):
    """Two instruments with seldom jumps of price, bursts of trades and missing rows."""
    random = np.random.default_rng(seed)
    rows = []
    for instrument, price in ((BTC, 60_000.0), (ETH, 2_600.0)):
        for second in range(1, seconds + 1):
            burst = 60 if random.random() < 0.01 else 1
            price *= math.exp(1e-5 * burst * random.normal())
            row = features_row(
                second,
                instrument=instrument,
                bid=round(price, 2),
                spread=round(0.01 * int(random.integers(1, 3)), 2),
                imbalance=float(random.uniform(-1, 1)),
                flow=float(random.integers(-9, 10)),
                trades=int(random.poisson(2 * burst)),
                bought=float(random.integers(0, 5) * burst),
                sold=float(random.integers(0, 5)),
            )
            if random.random() >= missing:
                rows.append(row)
    return rows


def metrics_by_pandas(rows, parameters):
    """The series after their definitions, whole intervals by groupby; ordered by instrument, series, time."""
    frame = pd.DataFrame(rows)
    interval = parameters.metrics_interval
    frame["end"] = -(-frame["time"] // interval) * interval
    found = []
    for key, of_instrument in frame.groupby("instrument"):
        grouped = of_instrument.groupby("end")
        sums = grouped[["trade_count", "buy_quantity", "sell_quantity", "order_flow_imbalance"]].sum()
        whole = sums[grouped.size() == interval // parameters.features_grid]
        at_point = of_instrument[of_instrument["time"] == of_instrument["end"]].set_index("time")
        mid = (at_point["best_bid"] + at_point["best_ask"]) / 2 / SCALE
        total = whole["buy_quantity"] + whole["sell_quantity"]
        one_sided = (whole["buy_quantity"] - whole["sell_quantity"]).abs()
        held = total.rolling(parameters.vpin_intervals).sum()
        spreads = (of_instrument["best_ask"] - of_instrument["best_bid"]).groupby(of_instrument["end"]).mean()
        mids = (of_instrument["best_ask"] + of_instrument["best_bid"]).groupby(of_instrument["end"]).mean() / 2
        series = {
            "return": np.log(mid / mid.reindex(mid.index - interval).to_numpy()),
            "volume": total / SCALE,
            "spread": (at_point["best_ask"] - at_point["best_bid"]) / SCALE / mid * 1e4,
            "imbalance": at_point["imbalance_5"],
            "trade_rate": whole["trade_count"] / (interval / SECOND),
            "order_flow_imbalance": whole["order_flow_imbalance"] / SCALE,
            "vpin": one_sided.rolling(parameters.vpin_intervals).sum() / held.where(held > 0),
            "mean_spread": (spreads / mids * 1e4)[grouped.size() == interval // parameters.features_grid],
        }
        for name, values in series.items():
            known = values[values.index.isin(at_point.index)].dropna()
            found += [(key, f"market.{key}.{name}", time, value) for time, value in known.items()]
    return pd.DataFrame(found, columns=["instrument", "series", "time", "value"]).sort_values(
        ["instrument", "series", "time"], ignore_index=True
    )


def bursts(times, quiet):
    """Times cut where the next one is ``quiet`` or more away."""
    cut = np.flatnonzero(np.diff(times) >= quiet) + 1
    return [list(burst) for burst in np.split(times, cut)] if len(times) else []


def test_every_row_follows_from_the_definitions():
    rows = made_market(1_800, seed=11)
    parameters = replace(SMALL, window=50, minimum_points=20, keep_firing=30 * SECOND)
    made = frames(run(AnomalyMachine([BTC, ETH], parameters), of_seconds(rows)))
    metrics = made["metrics"].sort_values(["instrument", "series", "time"], ignore_index=True)
    windows = metrics["series"].str.rpartition(".")[2].isin(("wick", "trade_burst", "one_sided"))  # by hand elsewhere
    pd.testing.assert_frame_equal(
        metrics[~windows].reset_index(drop=True),
        metrics_by_pandas(rows, parameters),
        rtol=1e-9,
        atol=1e-12,
        check_dtype=False,
    )

    last_time = max(row.time for row in rows)
    steps = np.array(sorted({row.time for row in rows}))
    anomalies, incidents = made["anomalies"], made["incidents"]
    assert len(anomalies) > 30
    assert len(incidents) > 10
    for name, of_series in metrics.groupby("series"):
        scores = made["scores"][made["scores"]["series"] == name]
        all_said = {}
        for detector in (
            ZScore(window=50, minimum_points=20),
            InterQuartileRange(window=50, minimum_points=20),
            MedianAbsoluteDeviation(window=50, minimum_points=20),
            EmaResidual(minimum_points=20),
            StatisticalEnsemble(parameters),
        ):
            all_said[detector.name] = said = detector.score(of_series["time"], of_series["value"])
            stored = scores[scores["detector"] == detector.name]
            assert stored["time"].tolist() == of_series["time"].tolist()
            np.testing.assert_array_equal(stored["sigma"], said.sigma)
        # `said` is the ensemble's: an anomaly where it votes and the distance has a name.
        expected = (said.vote != 0) & (np.abs(said.sigma) >= 1)
        found = anomalies[anomalies["series"] == name]
        assert found["time"].tolist() == of_series["time"][expected].tolist()
        assert found["value"].tolist() == of_series["value"][expected].tolist()
        assert found["sigma"].tolist() == said.sigma[expected].tolist()
        assert found["expected_low"].tolist() == said.expected_low[expected].tolist()
        assert found["expected_high"].tolist() == said.expected_high[expected].tolist()

        assert found["direction"].tolist() == np.where(said.vote > 0, "above", "below")[expected].tolist()
        del all_said["ensemble"]
        for i, votes, reasons in zip(np.flatnonzero(expected), found["votes"], found["reasons"], strict=True):
            agreeing = {name: one.sigma[i] for name, one in all_said.items() if one.vote[i] == said.vote[i]}
            assert json.loads(reasons) == agreeing
            assert votes == len(agreeing) >= 2

        loud = found[found["sigma"].abs() >= 2]
        assert (found["incident"] != "").tolist() == (found["sigma"].abs() >= 2).tolist()
        together = bursts(loud["time"].to_numpy(), parameters.keep_firing)
        assert loud["time"][loud["opened"]].tolist() == [burst[0] for burst in together]
        over = [burst for burst in together if burst[-1] + parameters.keep_firing <= last_time]
        closed = incidents[incidents["series"] == name]
        assert closed["opened"].tolist() == [burst[0] for burst in over]
        assert closed["last"].tolist() == [burst[-1] for burst in over]
        assert closed["anomalies"].tolist() == [len(burst) for burst in over]
        first_look = [int(steps[np.searchsorted(steps, burst[-1] + parameters.keep_firing)]) for burst in over]
        assert closed["closed"].tolist() == first_look
        for incident in closed.itertuples():
            members = loud[loud["incident"] == incident.id]
            assert members["time"].iloc[0] == incident.opened
            assert len(members) == incident.anomalies
            assert members["sigma"].abs().max() == incident.peak_sigma
            assert set(members["incident_group"]) == {incident.incident_group}
            assert members["alert"].sum() == incident.alerted == (incident.suppressed == "")
        panel = DriftPanel([name], parameters)
        drifts = [
            drift_row(of_series["instrument"].iloc[0], name, row.time, drift)
            for row in of_series.itertuples()
            for drift in panel.update(np.array([row.value]))
        ]
        found = made["drifts"][made["drifts"]["series"] == name]
        assert list(found.itertuples(index=False, name=None)) == drifts
    assert len(made["drifts"]) > 5
    check_groups(made, last_time, parameters)


def check_groups(made, last_time, parameters):
    """Every group incident against its members, and every alert against its group incident."""
    anomalies, incidents = made["anomalies"], made["incidents"]
    groups = made["incident_groups"].set_index("id")
    assert groups["incidents"].max() > 1
    assert (groups["moved_together"] != "{}").sum() > 5
    told = anomalies[anomalies["alert"]]
    assert told["incident_group"].is_unique
    for name, members in anomalies[anomalies["incident"] != ""].groupby("incident_group", sort=False):
        assert members["alert"].iloc[0]  # nothing speaks against the first one here
        assert members["instrument"].nunique() == 1
        assert members["suppressed"][members["opened"]].tolist() == ["", *["grouped"] * (members["opened"].sum() - 1)]
        if name not in groups.index:
            over = members["time"].max() + parameters.keep_firing + parameters.group_tolerance
            assert over > last_time - parameters.keep_firing
            continue
        group = groups.loc[name]
        assert group["instrument"] == members["instrument"].iloc[0]
        assert (group["opened"], group["last"]) == (members["time"].min(), members["time"].max())
        assert (group["anomalies"], group["incidents"]) == (len(members), members["opened"].sum())
        assert group["first_series"] == members["series"].iloc[0]
        peaks = members["sigma"].abs().groupby(members["series"], sort=False).max()
        assert json.loads(group["members"]) == peaks.to_dict()
        assert group["peak_sigma"] == peaks.max()
        assert json.loads(group["moved_together"]) == correlations(made["metrics"], group, parameters)
        own = incidents[incidents["incident_group"] == name]
        assert own["alerted"].sum() == group["alerted"] == 1
        assert group["closed"] >= own["closed"].max()


def test_a_group_of_instruments_may_be_told_of_as_one():
    parameters = replace(SMALL, group_by="group", alerting=("ensemble",))
    made = frames(run(AnomalyMachine([BTC, ETH], parameters), of_seconds(made_market(1_200, seed=11))))
    groups = made["incident_groups"]
    assert set(groups["instrument"]) == {"*.crypto"}  # what the group's runs write, beside its instruments
    loud = made["anomalies"][made["anomalies"]["incident"] != ""]
    assert loud.groupby("incident_group")["instrument"].nunique().max() == 2
    assert loud[loud["alert"]]["incident_group"].is_unique


def correlations(metrics, group, parameters):
    """Spearman's rho of the first series with its instrument's others and its like, by scipy."""
    until = metrics[metrics["time"] <= group["opened"]].pivot(index="time", columns="series", values="value")
    newest = until.iloc[-parameters.correlation_window :]
    first = group["first_series"]
    found = {}
    for name in newest.columns:
        both = newest[[first, name]].dropna() if name != first else ()
        alike = (
            name.rpartition(".")[2] == first.rpartition(".")[2] or name.rpartition(".")[0] == first.rpartition(".")[0]
        )
        if alike and len(both) >= parameters.correlation_window // 2 and (both.nunique() > 1).all():
            rho = stats.spearmanr(both[first], both[name]).statistic
            if abs(rho) >= parameters.correlation_least:
                found[name] = pytest.approx(rho, abs=1e-4)
    return found


def test_novelty_says_in_the_machine_what_it_says_alone():
    rows = made_market(3_000, seed=12)
    parameters = replace(SMALL, novelty_window=300, novelty_minimum_points=60, alerting=("novelty",))
    made = frames(run(AnomalyMachine([BTC, ETH], parameters, [novelty]), of_seconds(rows)))
    anomalies = made["anomalies"]
    found = anomalies[anomalies["detector"] == "novelty"]
    assert len(found) > 20
    for name, of_series in made["metrics"].groupby("series"):
        alone = NoveltyDetector(threshold=parameters.novelty_threshold, window=300, minimum_points=60)
        judged = alone.judge(of_series["time"], of_series["value"])
        scores = made["scores"][(made["scores"]["series"] == name) & (made["scores"]["detector"] == "novelty")]
        assert scores["time"].tolist() == of_series["time"].tolist()
        # `judge` takes normal deviates of many probabilities at once, `update` of one: the last bit may differ.
        np.testing.assert_allclose(scores["sigma"], judged.scores.sigma, rtol=1e-12)
        expected = (judged.scores.vote != 0) & (np.abs(judged.scores.sigma) >= 1)
        own = found[found["series"] == name]
        assert own["time"].tolist() == of_series["time"][expected].tolist()
        assert own["id"].tolist() == [content_id(name, time, "novelty") for time in own["time"]]
        assert own["expected_low"].tolist() == judged.scores.expected_low[expected].tolist()
        assert own["expected_high"].tolist() == judged.scores.expected_high[expected].tolist()
        assert own["direction"].tolist() == np.where(judged.scores.vote > 0, "above", "below")[expected].tolist()
        for reasons, evidence in zip(own["reasons"], judged.evidence[expected], strict=True):
            assert json.loads(reasons) == {
                source: said for source, said in zip(SOURCE_NAMES, evidence.tolist(), strict=True) if said > 0
            }
        # Only novelty alerts here: its bursts are the incidents, and the ensemble's anomalies belong to none.
        loud = own[own["sigma"].abs() >= 2]
        together = bursts(loud["time"].to_numpy(), parameters.keep_firing)
        assert loud["time"][loud["opened"]].tolist() == [burst[0] for burst in together]
    others = anomalies[anomalies["detector"] == "ensemble"]
    assert len(others) > 30
    assert set(others["incident"]) == {""}
    assert not others["opened"].any()
    assert not others["alert"].any()


def test_two_detectors_share_a_series_incident():
    rows = spike_market(300, {240: 50.0})
    parameters = replace(SMALL, alerting=("ensemble", "novelty"))
    made = frames(run(AnomalyMachine([BTC], parameters, [novelty]), of_seconds(rows)))
    name = f"market.{BTC.key}.volume"
    both = made["anomalies"].query("series == @name and time == 240_000_000")
    # The ensemble is asked first, so it is its row that opens the incident.
    assert both[["detector", "alert"]].to_numpy().tolist() == [["ensemble", True], ["novelty", False]]
    assert set(both["incident"]) == {content_id(name, 240 * SECOND)}


def test_who_may_raise_is_configured():
    rows = of_seconds(spike_market(300, {240: 50.0}))
    for raising in ((), ("novelty",), ("ensemble", "novelty")):
        parameters = replace(SMALL, raising=raising, alerting=raising)
        made = run(AnomalyMachine([BTC], parameters, [novelty]), rows)
        assert {row[5] for row in made[ANOMALIES.name]} == set(raising)
        assert {row[3] for row in made[SCORES.name]} == {*REPORTED, "novelty"}


def spike_market(seconds, spikes):
    """One instrument whose volume alternates between 0.9 and 1.1 a point, except at the points of ``spikes``."""
    rows = []
    for second in range(1, seconds + 1):
        volume = spikes.get(second, 0.9 + 0.2 * (second // 3 % 2)) if second % 3 == 0 else 0.0
        rows.append(features_row(second, trades=1, bought=volume))
    return rows


def test_a_burst_by_hand():
    # Points every 3 s. Spikes at 60, 66 (6 s apart: one incident) and 90 (24 s after 66: another), keep firing 12 s.
    # So the first is over at 66 + 12 = 78, the second at 102.
    rows = [row for row in spike_market(120, {60: 50.0, 66: 99.0, 90: 500.0}) if row.time // SECOND not in (78, 79)]
    made = frames(run(AnomalyMachine([BTC], SMALL), of_seconds(rows)))
    name = f"market.{BTC.key}.volume"
    anomalies = made["anomalies"][made["anomalies"]["series"] == name].set_index("time")
    loud = anomalies[anomalies["incident"] != ""]
    assert loud.index.tolist()[0] == 60 * SECOND
    assert loud["opened"].to_dict() == {time: time in (60 * SECOND, 90 * SECOND) for time in loud.index}
    incidents = made["incidents"][made["incidents"]["series"] == name]
    assert incidents["id"].tolist() == [content_id(name, 60 * SECOND), content_id(name, 90 * SECOND)]
    # The rows of 78 and 79 are missing, so the first step that sees it is 80.
    assert incidents[["opened", "last", "closed"]].to_numpy().tolist() == [
        [60 * SECOND, 66 * SECOND, 80 * SECOND],
        [90 * SECOND, 90 * SECOND, 102 * SECOND],
    ]
    first = anomalies.loc[60 * SECOND]
    # In the window 0.9 and 1.1, four each: mean 1, sample deviation 0.1 x √(8/7).
    reasons = json.loads(first["reasons"])
    assert reasons["z_score"] == 100.0  # (50 - 1) / 0.107 is 458, cut
    assert first["votes"] == len(reasons) == 4
    assert first[["severity", "direction", "detector", "value"]].tolist() == ["CRITICAL", "above", "ensemble", 50.0]
    assert first["id"] == content_id(name, 60 * SECOND, "ensemble")
    assert first["tail_probability"] == 0.0
    assert first["expected_low"] < 0.9 < 1.1 < first["expected_high"] < 2


def test_what_has_no_features_row_does_nothing():
    machine = AnomalyMachine([BTC], SMALL)
    machine.begin_day(0, {})
    before = encode_state(machine.state())
    assert machine.step(3 * SECOND, {}) == {}
    assert machine.step(3 * SECOND, {"market.trades": [("BTC", 1)]}) == {}
    assert encode_state(machine.state()) == before


def test_warming_up_is_said_and_only_points_have_rows():
    rows = run(AnomalyMachine([BTC], SMALL), of_seconds(spike_market(6, {})))
    # Points 3 and 6. No return at 3, no VPIN before three intervals.
    # What is measured over windows of 40 s and more is not known either.
    names = ["volume", "spread", "imbalance", "trade_rate", "order_flow_imbalance", "mean_spread"]
    expected = [(3, name) for name in names] + [(6, name) for name in ["return", *names]]
    assert [(row[2] // SECOND, row[1].rpartition(".")[2]) for row in rows[METRICS.name]] == expected
    assert len(rows[SCORES.name]) == 5 * len(expected)
    assert {row[3] for row in rows[SCORES.name]} == {"z_score", "iqr", "mad", "ema", "ensemble"}
    assert all(math.isnan(row[4]) for row in rows[SCORES.name])
    assert rows[ANOMALIES.name] == rows[INCIDENTS.name] == []


def test_what_is_no_number_has_no_row():
    rows = [features_row(second, imbalance=math.nan if second == 6 else 0.5) for second in range(1, 10)]
    made = run(AnomalyMachine([BTC], SMALL), of_seconds(rows))
    name = f"market.{BTC.key}.imbalance"
    assert [row[2] // SECOND for row in made[METRICS.name] if row[1] == name] == [3, 9]
    assert [row[2] // SECOND for row in made[SCORES.name] if row[1:4:2] == (name, "mad")] == [3, 9]


class PluggedIn(ZScore):
    """A third party's detector."""

    name = "plugged_in"


def plugged_in(parameters):
    return PluggedIn(window=parameters.window, minimum_points=parameters.minimum_points)


def test_an_instrument_sees_only_itself_and_a_new_one_begins_cold():
    rows = made_market(300, seed=3)
    both = run(AnomalyMachine([BTC, ETH], SMALL), of_seconds(rows))
    alone = run(AnomalyMachine([BTC], SMALL), of_seconds([row for row in rows if row.instrument == BTC.key]))
    for table in (METRICS, SCORES, ANOMALIES):
        mine = [row for row in both[table.name] if BTC.key in row[:2]]
        assert repr(mine) == repr(alone[table.name])
    state = AnomalyMachine([BTC], SMALL).state()
    grown = AnomalyMachine([BTC, ETH], SMALL)
    grown.restore(decode_state(encode_state(state)))
    assert repr(run(grown, of_seconds(rows))) == repr(both)


class Raising(ZScore):
    """Raises at every value above one, and where there is none."""

    name = "raising"

    def update(self, time, value):
        if not value <= 1:
            raise RuntimeError("no\nsuch value")
        return super().update(time, value)


def test_what_an_instrument_that_left_the_group_had_open_ends_without_a_row():
    parameters = SMALL
    rows = [row for row in made_market(200, 5, missing=0) if row.instrument == ETH.key]
    both = AnomalyMachine([BTC, ETH], parameters)
    state = None
    for time, events in of_seconds(rows):
        both.step(time, events)
        if both.state()["alerting"]["incidents"]:
            state = decode_state(encode_state(both.state()))
            break
    assert state is not None
    late = features_row(2 * 200, instrument=BTC)  # long after keep_firing and the group's tolerance
    stays, left = AnomalyMachine([BTC, ETH], parameters), AnomalyMachine([BTC], parameters)
    for machine in (stays, left):
        machine.restore(state)
    closed = {INCIDENTS.name, INCIDENT_GROUPS.name}
    assert closed <= stays.step(late.time, {FEATURES.name: [late]}).keys()
    assert not closed & left.step(late.time, {FEATURES.name: [late]}).keys()
    assert left.state()["alerting"]["incidents"] == left.state()["alerting"]["groups"] == []


def test_a_detector_that_raises_leaves_the_others_working():
    steps = of_seconds(made_market(600, seed=4))
    plain = AnomalyMachine([BTC, ETH], SMALL)
    expected = run(plain, steps)
    mixed = AnomalyMachine([BTC, ETH], SMALL, [lambda parameters: Raising(window=8, minimum_points=4), plugged_in])
    found = run(mixed, steps)
    for table in (METRICS, ANOMALIES, INCIDENTS):
        assert found[table.name] == expected[table.name]
    assert repr([row for row in found[SCORES.name] if row[3] in REPORTED]) == repr(expected[SCORES.name])
    raised = {(row[1], row[2]) for row in found[METRICS.name] if row[3] > 1}
    assert raised
    silent = {(row[1], row[2]): row[4] for row in found[SCORES.name] if row[3] == "raising"}
    assert all(math.isnan(silent[point]) for point in raised)
    assert not all(math.isnan(sigma) for sigma in silent.values())
    # The other plug-in is a z-score under a name of its own.
    said = {name: [row[4] for row in found[SCORES.name] if row[3] == name] for name in ("plugged_in", "z_score")}
    np.testing.assert_array_equal(said["plugged_in"], said["z_score"])
    assert mixed.failures == {"raising": len(raised)}
    assert mixed.last_failure == {"raising": "RuntimeError: no such value"}
    assert plain.failures == {}
    assert "failures" not in mixed.state()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"metrics_interval": 1_500_000}, "multiple of the features grid"),
        ({"metrics_interval": 0}, "multiple of the features grid"),
        ({"features_grid": 0}, "multiple of the features grid"),
        ({"window": 20}, "minimum_points must lie in 2…window"),
        ({"minimum_points": 1}, "minimum_points"),
        ({"excess_window": 59}, "excess_window must be 60 or more, not 59"),
        ({"novelty_threshold": 0}, "novelty_threshold must be positive"),
        ({"novelty_minimum_points": 19}, "novelty_minimum_points must lie in 20…novelty_window"),
        ({"novelty_window": 50}, r"novelty_minimum_points must lie in 20…novelty_window \(50\), not 90"),
        ({"alerting": ("mad",)}, "alerting names 'mad', whose votes are no anomalies"),
        ({"votes": 0}, "votes must lie in 1…4"),
        ({"votes": 5}, "votes must lie in 1…4"),
        ({"z_score_threshold": math.nan}, "z_score_threshold must be positive"),
        ({"ema_threshold": 0}, "ema_threshold"),
        ({"ema_alpha": 1.1}, "ema_alpha"),
        ({"severity_bounds": (1, 3, 2, 4)}, "ascending"),
        ({"severity_bounds": (0, 1, 2, 3)}, "ascending"),
        ({"severity_bounds": (1, 2, 3)}, "four positive"),
        ({"alert_severity": "medium"}, "alert_severity must be one of LOW"),
    ],
)
def test_parameters_are_checked(wrong, message):
    with pytest.raises(ValueError, match=message):
        AnomalyParameters(**wrong)
