"""Wherever the machine of the anomalies is cut off, begun again from its state or stopped, its rows are the same."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signal_assets.anomalies.anomaly_machine import AnomalyMachine
from signal_assets.anomalies.folds import detectors_of_features
from signal_assets.anomalies.tables import ANOMALIES, DRIFTS, INCIDENT_GROUPS, INCIDENTS
from signal_assets.event_time import SECOND
from signal_assets.machine import decode_state, encode_state
from signal_assets.market.tables import FEATURES
from tests.anomalies.features_rows import BTC, ETH, features_row
from tests.anomalies.test_anomaly_machine import SMALL, made_market, of_seconds, plugged_in, run

EVERYBODY = replace(
    SMALL,
    raising=("ensemble", "novelty", "plugged_in", "excess"),
    alerting=("ensemble", "novelty", "plugged_in", "excess"),
    excess=(("return", 0.9, 1.5), ("trade_rate", 0.9, 1.5)),
    excess_window=80,
)


def everybody(parameters=EVERYBODY):
    return AnomalyMachine([BTC, ETH], parameters, [plugged_in], detectors_of_features(parameters))


STEPS = st.lists(
    st.tuples(
        st.integers(1, 4),  # seconds since the step before
        st.sampled_from(["B", "E", "BE", "BE"]),  # whose row there is
        st.sampled_from([0, 1, 1, 1, 2, 40]),  # size of trades and of the spread
        st.sampled_from([-0.5, 0.0, 0.25, float("nan")]),
    ),
    max_size=90,
)


def random_steps(drawn):
    second, steps = 0, []
    for ahead, instruments, size, imbalance in drawn:
        second += 1 if ahead > 2 else ahead
        rows = [
            features_row(
                second,
                instrument=instrument,
                bid=100.0 + size,
                spread=0.01 * (1 + size),
                imbalance=imbalance,
                flow=size - 1,
                trades=size,
                bought=size,
                sold=1.0,
            )
            for instrument in (BTC, ETH)
            if instrument.symbol[0] in instruments
        ]
        steps.append((second * SECOND, {FEATURES.name: rows}))
    return steps


@settings(max_examples=40, deadline=None)
@given(drawn=STEPS, cuts=st.sets(st.integers(0, 90), max_size=5), later=st.integers(0, 90))
def test_any_cut_any_restart_any_prefix_gives_the_same_rows(drawn, cuts, later):
    steps = random_steps(drawn)
    parameters = replace(
        EVERYBODY,
        metrics_interval=2 * SECOND,
        window=6,
        minimum_points=3,
        pending=2 * SECOND,
        keep_firing=6 * SECOND,
        cool_down=20 * SECOND,
        alerts_per_group=5,
    )
    whole = everybody(parameters)
    expected = [whole.step(*step) for step in steps]
    machine = everybody(parameters)
    found = []
    for number, step in enumerate(steps):
        if number in cuts:
            text = encode_state(machine.state())
            machine = everybody(parameters)
            machine.restore(decode_state(text))
        found.append(machine.step(*step))
    assert repr(found) == repr(expected)  # repr tells every bit of a float
    assert encode_state(machine.state()) == encode_state(whole.state())
    prefix = everybody(parameters)
    assert repr([prefix.step(*step) for step in steps[:later]]) == repr(expected[:later])


@pytest.mark.slow
def test_restarts_within_bursts_and_gaps_change_nothing():
    steps = of_seconds(made_market(900, seed=21, missing=0.1))
    expected = run(everybody(), steps)
    assert len(expected[INCIDENTS.name]) > 20
    assert len(expected[INCIDENT_GROUPS.name]) > 5
    assert len(expected[DRIFTS.name]) > 5
    assert {row[5] for row in expected[ANOMALIES.name]} == set(EVERYBODY.raising)
    found = {name: [] for name in expected}
    machine = everybody()
    for first in range(0, len(steps), 7):
        text = encode_state(machine.state())
        machine = everybody()
        machine.restore(decode_state(text))
        for name, rows in run(machine, steps[first : first + 7]).items():
            found[name] += rows
    assert repr(found) == repr(expected)
