"""Labels: what they are about, from when they count, what they change, and that live and day runs see the same."""

from contextlib import contextmanager
from datetime import date
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from cli.main import app
from resources.addresses import Addresses
from resources.duck_lake import DuckLake
from resources.lake import LakeError, Progress
from resources.memory_lake import MemoryLake
from resources.redis_keys import market_features
from signal_assets.anomalies.folds import anomalies
from signal_assets.anomalies.labels import give_label, labels_at, next_midnight, streams_reach
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.system_series import SYSTEM, SYSTEM_GROUP
from signal_assets.anomalies.tables import ANOMALIES, LABELS, TABLES
from signal_assets.derivation import asset_name
from signal_assets.event_time import DAY, HOUR, MINUTE, SECOND, date_of
from signal_assets.fold import forward_fold, recompute_day_fold, versions_in_force
from signal_assets.market.tables import FEATURES
from tests.anomalies.features_rows import BTC, ETH, features_row
from tests.fakes import FakeStreams
from tests.lake_rows import frame_of, lake_of

MIDNIGHT = 20_000 * DAY
NOW = MIDNIGHT + 5 * HOUR
GROUPS = {"crypto": (BTC, ETH)}
SPREAD, VOLUME = "market.BTCFDUSD.BINANCE.spread", "market.BTCFDUSD.BINANCE.volume"


def anomaly(name, series, second, incident="", group=""):
    return {
        "id": name,
        "instrument": BTC.key,
        "series": series,
        "time": MIDNIGHT + second * SECOND,
        "detector": "ensemble",
        "incident": incident,
        "incident_group": group,
    }


@pytest.fixture
def lake():
    rows = [
        anomaly("one", SPREAD, 10, "first", "both"),
        anomaly("two", SPREAD, 20, "first", "both"),
        anomaly("three", VOLUME, 20, "second", "both"),
        anomaly("quiet", VOLUME, 30),
    ]
    return lake_of({ANOMALIES: frame_of(ANOMALIES, rows)})


def test_an_anomaly_is_labelled_as_its_incident_and_a_group_incident_as_its_members(lake):
    made = give_label(lake, GROUPS, "two", "false_alarm", now=NOW, given_by="ann", note="maintenance")
    assert (made.series, made.subjects, made.valid_from) == ((SPREAD,), ("first",), MIDNIGHT + DAY)
    assert give_label(lake, GROUPS, "first", "true_alarm", now=NOW + 1).subjects == ("first",)
    assert give_label(lake, GROUPS, "quiet", "true_alarm", now=NOW + 1).subjects == ("quiet",)
    both = give_label(lake, GROUPS, "both", "false_alarm", now=NOW + 2)
    assert (both.series, both.subjects) == ((SPREAD, VOLUME), ("first", "second"))
    kept = lake.read(LABELS).sort_values(["given_at", "series"])
    assert kept["subject"].tolist() == ["first", "first", "quiet", "first", "second"]
    assert kept.iloc[0][["given_by", "note", "verdict"]].tolist() == ["ann", "maintenance", "false_alarm"]
    assert labels_at(lake, MIDNIGHT + DAY - 1) == []
    assert len(labels_at(lake, MIDNIGHT + DAY)) == 5


def test_a_label_is_kept_an_hour_before_it_counts():
    assert next_midnight(MIDNIGHT) == MIDNIGHT + DAY
    assert next_midnight(MIDNIGHT + 23 * HOUR) == MIDNIGHT + DAY
    assert next_midnight(MIDNIGHT + 23 * HOUR + 1) == MIDNIGHT + 2 * DAY


def computed_up_to(lake, time, before=None):
    with lake.transaction(asset=asset_name(ANOMALIES), run_id="test") as unit:
        unit.advance(asset_name(ANOMALIES), "crypto", before, Progress(MIDNIGHT, time))


LATER = NOW + 500 * DAY  # our clock during a replay


def test_a_replayed_day_may_be_named_an_hour_before_it_begins(lake):
    give = partial(give_label, lake, GROUPS, "one", "true_alarm", now=LATER)
    computed_up_to(lake, MIDNIGHT + 23 * HOUR)
    made = give(valid_from=MIDNIGHT + DAY)
    assert made.valid_from == MIDNIGHT + DAY
    with pytest.raises(LakeError, match="computed up to"):
        give(valid_from=MIDNIGHT)
    with pytest.raises(LakeError, match="at a midnight"):
        give(valid_from=MIDNIGHT + DAY + 1)
    # A run that has begun with the day may have read its labels, though progress stands at its beginning until it ends.
    for time, before in ((1, 0), (HOUR, 1)):
        computed_up_to(lake, MIDNIGHT + 23 * HOUR + time, Progress(MIDNIGHT, MIDNIGHT + 23 * HOUR + before))
        with pytest.raises(LakeError, match="computed up to"):
            give(valid_from=MIDNIGHT + DAY)
    assert give(valid_from=MIDNIGHT + 2 * DAY).valid_from == MIDNIGHT + 2 * DAY


def test_a_day_that_the_live_lane_has_all_but_begun_is_refused_whatever_our_clock_says(lake):
    computed_up_to(lake, MIDNIGHT + HOUR)
    streams = FakeStreams()
    reached = partial(streams_reach, streams, GROUPS)
    give = partial(give_label, lake, GROUPS, "one", "true_alarm", now=LATER, valid_from=MIDNIGHT + DAY, reached=reached)
    streams.tails[market_features(ETH.key)] = MIDNIGHT + 23 * HOUR
    assert give().valid_from == MIDNIGHT + DAY
    streams.tails[market_features(BTC.key)] = MIDNIGHT + 23 * HOUR + 1
    with pytest.raises(LakeError) as refused:
        give()
    named, next_day = date_of(MIDNIGHT + DAY + 1), date_of(MIDNIGHT + 2 * DAY + 1)
    assert f"from {next_day} on at the earliest, not from {named} on" in str(refused.value)
    assert streams_reach(streams, {SYSTEM_GROUP: (SYSTEM,)}) == {SYSTEM_GROUP: 0}


@pytest.mark.parametrize("lane", ["live", "runs"])
def test_a_day_that_is_begun_while_the_label_waits_for_the_lock_is_refused(lake, monkeypatch, lane):
    streams, transaction = FakeStreams(), lake.transaction

    @contextmanager
    def behind_another(**words):
        if lane == "live":
            streams.tails[market_features(BTC.key)] = MIDNIGHT + DAY + 1
        else:
            with transaction(asset=asset_name(ANOMALIES), run_id="other") as unit:
                unit.advance(asset_name(ANOMALIES), "crypto", None, Progress(MIDNIGHT, MIDNIGHT + DAY + 1))
        with transaction(**words) as unit:
            yield unit

    monkeypatch.setattr(lake, "transaction", behind_another)
    reached = partial(streams_reach, streams, GROUPS)
    with pytest.raises(LakeError, match="computed up to"):
        give_label(lake, GROUPS, "one", "true_alarm", now=LATER, valid_from=MIDNIGHT + DAY, reached=reached)
    assert lake.read(LABELS).empty


@pytest.mark.parametrize(
    ("about", "verdict", "line"),
    [
        ("nothing", "true_alarm", "there is no anomaly, incident or group incident 'nothing'"),
        ("", "true_alarm", "there is no anomaly"),
        ("one", "perhaps", "a label is true_alarm or false_alarm, not 'perhaps'"),
    ],
)
def test_what_cannot_be_labelled(lake, about, verdict, line):
    with pytest.raises(LakeError, match=line):
        give_label(lake, GROUPS, about, verdict, now=NOW)
    assert lake.read(LABELS).empty


def test_the_command_says_what_follows(lake, monkeypatch, tmp_path):
    monkeypatch.setattr(lake, "close", lambda: None, raising=False)
    monkeypatch.setattr("resources.duck_lake.DuckLake", lambda addresses: lake)
    monkeypatch.setattr(Addresses, "resolve", lambda home: SimpleNamespace(redis_url="redis://127.0.0.1:1/0"))
    monkeypatch.setattr("resources.redis_streams.StreamReader", lambda client: FakeStreams())
    words = ["label", "one", "false", "--from", "2124-10-04", "--home", str(tmp_path)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    # exp(0.25 x 0.8) after one false alarm.
    assert result.stdout == f"{SPREAD}: false_alarm; threshold x 1.221 from 2124-10-04T00:00:00Z on\n"
    assert result.exit_code == 0


@pytest.mark.slow
def test_a_lake_on_disk_keeps_them_and_nobody_waits_for_them(addresses):
    duck = DuckLake(addresses)
    try:
        duck.ensure([ANOMALIES, LABELS])
        with duck.transaction(asset=asset_name(ANOMALIES), run_id="test") as unit:
            unit.append(
                ANOMALIES, ANOMALIES.conform(frame_of(ANOMALIES, [anomaly("one", SPREAD, 10, "first", "both")]))
            )
        give_label(duck, GROUPS, "both", "false_alarm", now=NOW, given_by="ann", note="maintenance")
        give_label(duck, GROUPS, "one", "true_alarm", now=NOW + DAY)
        told = [
            versions_in_force(duck, [LABELS], "crypto", (BTC, ETH), MIDNIGHT + day * DAY, MIDNIGHT - 9 * DAY)
            for day in (0, 1, 2)
        ]
    finally:
        duck.close()
    assert [[label.verdict for label in versions[LABELS.name]] for versions in told] == [
        [],
        ["false_alarm"],
        ["false_alarm", "true_alarm"],
    ]
    first = told[1][LABELS.name][0]
    assert (first.series, first.subject, first.given_by, first.note) == (SPREAD, "first", "ann", "maintenance")
    assert (first.given_at, first.valid_from) == (NOW, MIDNIGHT + DAY)


# Three days of forty minutes each, a point every 3 s, with jumps of the volume.
PARAMETERS = AnomalyParameters(
    metrics_interval=3 * SECOND,
    vpin_intervals=3,
    window=8,
    minimum_points=4,
    novelty_window=40,
    novelty_minimum_points=20,
    silent=(),
    alerting=("ensemble",),
    keep_firing=MINUTE,
    cool_down=0,
    feedback_step=1.0,
)


def three_days():
    random = np.random.default_rng(8)
    rows = []
    for day in range(3):
        for second in range(1, 2_401):
            jump = 1.0 + 9.0 * (random.random() < 0.01)
            bought = float(random.uniform(1, 2) * jump)
            rows.append(features_row(20_000 * 86_400 + day * 86_400 + second, trades=3, bought=bought, sold=1.0))
    return rows


def market_lake():
    lake = MemoryLake()
    lake.ensure([FEATURES, LABELS, *TABLES])
    frame = pd.DataFrame(three_days(), columns=list(FEATURES.value_columns))
    for name in FEATURES.value_columns:
        if FEATURES.column(name).type.is_list:
            frame[name] = [np.empty(0, np.int64)] * len(frame)
        elif frame[name].isna().all() and not FEATURES.column(name).nullable:
            frame[name] = 0
    with lake.transaction(asset=asset_name(FEATURES), run_id="test") as unit:
        unit.append(FEATURES, FEATURES.conform(frame))
        unit.advance(asset_name(FEATURES), "crypto", None, Progress(MIDNIGHT, MIDNIGHT + 3 * DAY))
    return lake


def forward_to(lake, fold, *ends):
    for end in ends:
        forward_fold(lake, fold, "crypto", (BTC, ETH), end=end, run_id="forward")


def label_what_alarmed(lake, now):
    """The second day has begun when the first day's alarms are called false: they count on the third."""
    told = lake.read(ANOMALIES).query("alert and series == @VOLUME").sort_values("time")
    for about in told["id"].head(6):
        give_label(lake, {"crypto": (BTC, ETH)}, about, "false_alarm", now=now)


@pytest.mark.slow
def test_labels_move_the_threshold_from_their_day_on_in_every_lane():
    fold = anomalies(PARAMETERS)
    live = market_lake()
    forward_to(live, fold, MIDNIGHT + 20 * MINUTE, MIDNIGHT + DAY, MIDNIGHT + DAY + 7 * MINUTE)
    label_what_alarmed(live, now=MIDNIGHT + DAY + 8 * MINUTE)
    forward_to(live, fold, MIDNIGHT + 2 * DAY, MIDNIGHT + 2 * DAY + 11 * MINUTE, MIDNIGHT + 3 * DAY)
    rows = live.read(ANOMALIES).query("series == @VOLUME and detector == 'ensemble'")
    day = (rows["time"] - MIDNIGHT) // DAY
    assert set(rows["threshold_factor"][day < 2]) == {1.0}
    assert rows["threshold_factor"][day == 2].tolist() == pytest.approx([3.0] * (day == 2).sum())  # its bound
    # The rule of the third day: three times as far off as MEDIUM for an incident. Severities stay what they are.
    assert ((rows["incident"] != "") == (rows["sigma"].abs() / rows["threshold_factor"] >= 2)).all()
    third = rows[day == 2]
    assert (third["incident"] == "").any()
    assert (third["severity"][third["incident"] == ""] != "LOW").any()

    again = market_lake()
    with again.transaction(asset=asset_name(LABELS), run_id="test") as unit:
        unit.append(LABELS, live.read(LABELS))
    for number in range(3):
        on = date.fromordinal(date(1970, 1, 1).toordinal() + 20_000 + number)
        recompute_day_fold(again, fold, "crypto", (BTC, ETH), day=on, run_id="day")
    for table in TABLES:
        columns = list(table.value_columns)
        pd.testing.assert_frame_equal(live.read(table)[columns], again.read(table)[columns], check_exact=True)
    for end in (None, MIDNIGHT + DAY, MIDNIGHT + 2 * DAY, MIDNIGHT + 3 * DAY):
        assert live.state("anomalies", "crypto", end) == again.state("anomalies", "crypto", end)
