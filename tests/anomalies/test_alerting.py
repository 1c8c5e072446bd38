from dataclasses import replace
from itertools import chain, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.anomalies.alerting import GROUPED, REASONS, Alerting
from signal_assets.anomalies.incident_groups import IncidentGroup
from signal_assets.anomalies.incidents import NEVER, Incident
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.content_id import content_id
from signal_assets.event_time import DAY
from signal_assets.machine import decode_state, encode_state

PARAMETERS = AnomalyParameters(keep_firing=100, cool_down=0, group_tolerance=20, group_longest=1_000)
SCOPES = {"BTC": "BTC", "ETH": "ETH"}


def say(alerting, time, series, sigma=3.0, severity="HIGH"):
    """Close what is over, then file an anomaly of ``instrument.feature``; what people are told."""
    alerting.close(time)
    filed = alerting.take(time, series.partition(".")[0], series, sigma, severity, "above")
    return filed.group.opened, filed.alert, filed.suppressed


def test_what_overlaps_is_one_and_people_are_told_once():
    alerting = Alerting(PARAMETERS, SCOPES)
    # spread fires in [1000, 1100): its anomaly and keep-firing 100.
    assert say(alerting, 1_000, "BTC.spread") == (1_000, True, "")
    assert say(alerting, 1_050, "BTC.volume", -4.0, "CRITICAL") == (1_000, False, "grouped")
    assert say(alerting, 1_060, "BTC.volume") == (1_000, False, "")  # they know
    assert say(alerting, 1_060, "ETH.volume") == (1_060, True, "")  # another instrument
    # volume is over at 1160; 19 later is near enough, so the group incident goes on.
    assert say(alerting, 1_179, "BTC.vpin") == (1_000, False, "grouped")
    # vpin is over at 1279; 20 later is too far.
    (ethereum,) = alerting.close(1_298)[1]
    assert (ethereum.scope, ethereum.incidents) == ("ETH", 1)
    incidents, (group,) = alerting.close(1_299)
    assert incidents == []
    assert group.id == content_id("incident group", "BTC", 1_000)
    assert (group.scope, group.opened, group.last, group.incidents, group.anomalies) == ("BTC", 1_000, 1_179, 3, 4)
    assert (group.first_series, group.peak_series, group.peak_sigma, group.severity) == (
        "BTC.spread",
        "BTC.volume",
        4.0,
        "CRITICAL",
    )
    assert group.members == {"BTC.spread": 3.0, "BTC.volume": 4.0, "BTC.vpin": 3.0}
    assert (group.alerted, group.suppressed) == (True, "")
    assert say(alerting, 1_299, "BTC.vpin") == (1_299, True, "")


def test_a_look_that_comes_late_groups_nothing_more():
    # spread is over at 1100, whoever looks when; with a gap in the data the first look is at 5000.
    alerting = Alerting(PARAMETERS, SCOPES)
    say(alerting, 1_000, "BTC.spread")
    assert say(alerting, 5_000, "BTC.volume") == (5_000, True, "")


def test_one_scope_for_all():
    alerting = Alerting(PARAMETERS, dict.fromkeys(SCOPES, "*.crypto"))
    assert say(alerting, 1_000, "BTC.spread") == (1_000, True, "")
    assert say(alerting, 1_010, "ETH.spread") == (1_000, False, "grouped")


def test_what_never_rests_does_not_hide_the_others():
    # spread has an anomaly every 90, so it fires on and on; from 2000 on its group incident takes in nobody.
    alerting = Alerting(PARAMETERS, SCOPES)
    for time in range(1_000, 2_000, 90):
        say(alerting, time, "BTC.spread")
    assert say(alerting, 1_999, "BTC.volume") == (1_000, False, "grouped")
    assert say(alerting, 2_000, "BTC.vpin") == (2_000, True, "")
    assert say(alerting, 2_010, "BTC.imbalance") == (2_000, False, "grouped")
    # Each ends in its own time: of the first one volume is over last, at 2099, of the other imbalance, at 2110.
    assert alerting.close(2_118)[1] == []
    assert [(group.opened, group.incidents) for group in alerting.close(2_119)[1]] == [(1_000, 2)]
    assert alerting.close(2_129)[1] == []
    assert [(group.opened, group.incidents) for group in alerting.close(2_130)[1]] == [(2_000, 2)]
    assert alerting.due == NEVER


def test_pending_is_told_when_it_has_lasted():
    alerting = Alerting(replace(PARAMETERS, pending=60), SCOPES)
    assert say(alerting, 0, "BTC.spread") == (0, False, "pending")
    assert say(alerting, 59, "BTC.spread") == (0, False, "pending")
    assert say(alerting, 60, "BTC.spread") == (0, True, "")
    assert say(alerting, 70, "BTC.spread") == (0, False, "")
    # One anomaly only: it was over at 400 without having lasted.
    assert say(alerting, 300, "BTC.spread") == (300, False, "pending")
    (over,), (group,) = alerting.close(1_000)
    assert (over.alerted, over.suppressed) == (False, "pending")
    assert (group.alerted, group.suppressed) == (False, "pending")


def test_a_series_cools_down_after_an_alert():
    # Over after 100, but people hear of it once in 500 at most: the second incident when 500 have passed.
    alerting = Alerting(replace(PARAMETERS, cool_down=500), SCOPES)
    assert say(alerting, 0, "BTC.spread") == (0, True, "")
    for time in (410, 450, 499):
        assert say(alerting, time, "BTC.spread") == (410, False, "cool_down")
    assert say(alerting, 500, "BTC.spread") == (410, True, "")
    # Of another series of the group incident that nobody was told of they may be told at once.
    assert say(alerting, 900, "BTC.spread") == (900, False, "cool_down")
    assert say(alerting, 910, "BTC.volume") == (900, True, "")
    assert say(alerting, 920, "BTC.spread") == (900, False, "grouped")


def test_budgets_keep_silent_and_record():
    alerting = Alerting(replace(PARAMETERS, alerts_per_series=2, alerts_per_group=3), SCOPES)
    assert say(alerting, 0, "BTC.spread") == (0, True, "")
    assert say(alerting, 1_000, "BTC.spread") == (1_000, True, "")
    assert say(alerting, 2_000, "BTC.spread") == (2_000, False, "series_budget")
    assert say(alerting, 3_000, "ETH.spread") == (3_000, True, "")
    assert say(alerting, 4_000, "ETH.volume") == (4_000, False, "group_budget")
    incidents, _ = alerting.close(5_000)
    assert [(incident.alerted, incident.suppressed) for incident in incidents] == [(False, "group_budget")]
    # The first alert is a day old: one more of both.
    assert say(alerting, DAY, "BTC.spread") == (DAY, True, "")
    assert say(alerting, DAY + 200, "ETH.volume") == (DAY + 200, False, "group_budget")


SAID = st.lists(
    st.tuples(
        st.integers(0, 150),  # time since the one before
        st.sampled_from(["BTC.a", "BTC.b", "BTC.c", "ETH.a", "ETH.b"]),
        st.sampled_from([2.2, -2.7, 4.0]),
    ),
    max_size=60,
)


def files(alerting, said, restarts=(), looks=()):
    """What :class:`Alerting` makes of it, looked at in between too; what was filed, and what closed."""
    time, filed, closed = 0, [], []
    for number, (wait, series, sigma) in enumerate(said):
        for look in sorted(time + look for look in looks if look < wait):
            closed += chain(*alerting.close(look))
        time += wait
        if number in restarts:
            text = encode_state(alerting.state())
            again = Alerting(alerting_parameters, SCOPES)
            again.restore(decode_state(text))
            assert again.due >= alerting.due  # what is restored looks in vain less often
            alerting = again
        closed += chain(*alerting.close(time))
        severity = "MEDIUM" if abs(sigma) < 2.5 else "HIGH"
        one = alerting.take(time, series[:3], series, sigma, severity, "above" if sigma > 0 else "below")
        filed.append(
            (time, series, one.incident.id, one.group.id, one.opened, one.opened_group, one.alert, one.suppressed)
        )
    closed += chain(*alerting.close(time + 1_000))
    assert alerting.due == NEVER
    return filed, closed


alerting_parameters = replace(
    PARAMETERS, pending=30, cool_down=250, group_longest=400, alerts_per_series=3, alerts_per_group=9
)


@settings(deadline=None)
@given(said=SAID, restarts=st.sets(st.integers(0, 60), max_size=4), looks=st.sets(st.integers(0, 150), max_size=4))
def test_neither_restarts_nor_looks_change_anything(said, restarts, looks):
    expected = files(Alerting(alerting_parameters, SCOPES), said)
    found = files(Alerting(alerting_parameters, SCOPES), said, restarts, looks)
    assert found[0] == expected[0]
    assert sorted(map(repr, found[1])) == sorted(map(repr, expected[1]))


@settings(deadline=None)
@given(said=SAID)
def test_groups_are_what_overlaps(said):
    """Intervals of incidents, found by looking at everything at once, against what was filed one by one."""
    filed, closed = files(Alerting(alerting_parameters, SCOPES), said)
    runs = {}
    for time, series, incident, *_ in filed:
        runs.setdefault((series, incident), []).append(time)
    for (series, _), times in runs.items():
        assert all(after - before < 100 for before, after in pairwise(times))
        others = [times_of for (name, _), times_of in runs.items() if name == series and times_of is not times]
        assert all(other[0] >= times[-1] + 100 or other[-1] + 100 <= times[0] for other in others)
    group_of = {incident: group for _, _, incident, group, *_ in filed}
    opening = {}
    for time, _, _, group, *_ in filed:
        opening.setdefault(group, time)
    for (series, incident), times in runs.items():
        opens = times[0]
        earlier = [
            (opening[group_of[name]], max(moment for moment in moments if moment < opens) + 100)
            for (other, name), moments in runs.items()
            if other[:3] == series[:3] and moments[0] < opens
        ]
        newest = max((opened for opened, _ in earlier), default=opens)
        # As far as was known then: what had begun fired on until its last anomaly so far and 100 more.
        fired_until = max((over for opened, over in earlier if opened == newest), default=0)
        together = opens < fired_until + 20 and opens < newest + 400
        assert opening[group_of[incident]] == (newest if together else opens)
    told = {}
    for time, _, _, group, _, _, alert, suppressed in filed:
        assert suppressed in ("", *REASONS)
        assert not (alert and suppressed)
        if alert:
            assert group not in told  # once
            told[group] = time
        if suppressed == GROUPED:
            assert told[group] <= time
    # Nothing is lost: every anomaly is in one incident, every incident in one group incident.
    incidents = [over for over in closed if isinstance(over, Incident)]
    groups = [over for over in closed if isinstance(over, IncidentGroup)]
    assert {incident.id for incident in incidents} == {incident for _, incident in runs}
    assert sum(incident.anomalies for incident in incidents) == len(filed)
    assert {group.id for group in groups} == set(opening)
    assert sum(group.incidents for group in groups) == len(incidents) == len(runs)
    assert {group.id: group.alerted for group in groups} == {group: group in told for group in opening}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pending": -1}, "pending must not be negative"),
        ({"cool_down": -1}, "cool_down must not be negative"),
        ({"group_tolerance": -1}, "group_tolerance must not be negative"),
        ({"keep_firing": 0}, "keep_firing must be positive"),
        ({"group_longest": 0}, "group_longest must be positive"),
        ({"alerts_per_series": 0}, "alerts_per_series must be positive"),
        ({"alerts_per_group": 0}, "alerts_per_group must be positive"),
        ({"group_by": "venue"}, "group_by must be one of instrument, group"),
    ],
)
def test_parameters_are_checked(wrong, message):
    with pytest.raises(ValueError, match=message):
        AnomalyParameters(**wrong)
