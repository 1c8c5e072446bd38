"""The harness itself: a checker that sees nothing wrong proves something only if it sees what is wrong."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from signal_assets.anomalies.tables import ANOMALIES
from signal_assets.market.tables import FEATURES, FEED_GAPS, TRADES
from signal_assets.market.tables import TABLES as RAW_TABLES
from signal_assets.signals.tables import EMITTED, SIGNALS
from signal_assets.stage_tables import TABLES
from tests.faults.checks import BY_NAME, LEARNED, Expected, broken, check_raw, expected_of
from tests.faults.disturbed_replay import Disturbed, lake_of
from tests.faults.fault import FAULTS, Kind, draw, possible
from tests.faults.market import Market, make_market
from tests.faults.venue_proxy import LOOPBACK, VenueProxy
from tests.lanes.market_run import contents, folded, run_days_without_late_rows, run_fold_days

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return make_market(tmp_path_factory.mktemp("market"), 48.0)


@pytest.fixture(scope="module")
def undisturbed(market: Market) -> Disturbed:
    """What a platform would have left that nothing happened to."""
    raw = {table.name: market.undisturbed.frame(table) for table in RAW_TABLES}
    windows, folds = (lake_of(raw, market.undisturbed.watermark) for _ in range(2))
    run_days_without_late_rows(windows, market.settings, market.undisturbed)
    run_fold_days(folds, market.settings, market.undisturbed)
    forward = contents(windows, market.settings) | folded(folds)
    signals = forward[SIGNALS.name]
    due = signals[(signals["status"] == "validated") & signals["tier"].isin(["fast", "tactical"])]
    shared = [column.name for column in EMITTED.columns if column.name in signals.columns]
    forward[EMITTED.name] = due[shared].assign(emitted_at=0, lane="live")
    return Disturbed(
        raw=raw,
        forward={name: frame for name, frame in forward.items() if name not in LEARNED},
        recomputed=None,
        watermark=market.undisturbed.watermark,
        stream_ids=list(due["id"]),
        anomalies=list(forward[ANOMALIES.name][["id", "time"]].itertuples(index=False, name=None)),
        recoveries=[],
        skipped=[],
        restarts={},
        unfinished_runs=[],
        failed_runs=0,
    )


@pytest.fixture(scope="module")
def expected(market: Market, undisturbed: Disturbed) -> Expected:
    return expected_of(market, undisturbed)


def with_table(found: Disturbed, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Disturbed:
    if name in found.raw:
        return replace(found, raw={**found.raw, name: change(found.raw[name])})
    return replace(found, forward={**found.forward, name: change(found.forward[name])})


def test_an_undisturbed_run_holds(market: Market, undisturbed: Disturbed) -> None:
    assert broken(market, undisturbed) == []
    assert set(undisturbed.forward) | set(undisturbed.raw) | set(LEARNED) == {table.name for table in TABLES}


def test_a_missing_a_doubled_and_an_invented_trade_are_seen(market: Market, undisturbed: Disturbed) -> None:
    without = with_table(undisturbed, TRADES.name, lambda frame: frame.drop(index=7))
    assert "1 trades of" in broken(market, without)[0]
    assert "are missing" in broken(market, without)[0]
    twice = with_table(undisturbed, TRADES.name, lambda frame: pd.concat([frame, frame.iloc[[7]]], ignore_index=True))
    assert "are there twice" in broken(market, twice)[0]


def test_a_missing_feature_is_seen_unless_a_gap_says_so(market: Market, undisturbed: Disturbed) -> None:
    features = undisturbed.raw[FEATURES.name]
    middle = features.index[len(features) // 2]
    row = features.loc[middle]
    without = with_table(undisturbed, FEATURES.name, lambda frame: frame.drop(index=middle))
    assert any(line.startswith("market.features") for line in broken(market, without))
    gap: dict[str, Any] = {column.name: None for column in FEED_GAPS.columns}
    gap |= {"instrument": row["instrument"], "feed": "depth", "reason": "restart"}
    gap |= {"gap_start": row["time"] - 1, "gap_end": row["time"] + 1}
    excused = with_table(without, FEED_GAPS.name, lambda frame: pd.DataFrame([gap]))
    found = [line for line in _lines(market, excused) if line.startswith("market.features")]
    assert found == []


def _lines(market: Market, found: Disturbed) -> Iterator[str]:
    try:
        check_raw(market, found)
    except AssertionError as failure:
        yield str(failure)


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - set(LEARNED) - {table.name for table in RAW_TABLES}))
def test_a_row_missing_in_any_table_is_seen_and_one_invented_in_an_empty_one(
    market: Market, undisturbed: Disturbed, expected: Expected, name: str
) -> None:
    changed = with_table(
        undisturbed, name, lambda frame: frame.reindex([0]) if frame.empty else frame.iloc[1:].reset_index(drop=True)
    )
    assert any(name in line for line in broken(market, changed, expected))


def test_a_signal_sent_twice_and_one_never_sent_are_seen(
    market: Market, undisturbed: Disturbed, expected: Expected
) -> None:
    first = undisturbed.stream_ids[0]
    twice = replace(undisturbed, stream_ids=[*undisturbed.stream_ids, first])
    assert any("more than once" in line for line in broken(market, twice, expected))
    never = with_table(undisturbed, EMITTED.name, lambda frame: frame[frame["id"] != first].reset_index(drop=True))
    never = replace(never, stream_ids=[id_ for id_ in undisturbed.stream_ids if id_ != first])
    assert any("did not leave" in line for line in broken(market, never, expected))


def test_an_anomaly_told_twice_one_never_told_and_one_never_computed_are_seen(
    market: Market, undisturbed: Disturbed, expected: Expected
) -> None:
    first = undisturbed.anomalies[0]
    for told, line in (
        ([*undisturbed.anomalies, first], "more than once"),
        (undisturbed.anomalies[1:], "anomalies were not told"),
        ([*undisturbed.anomalies, ("unknown", first[1])], "never computed"),
    ):
        changed = replace(undisturbed, anomalies=told)
        assert any(line in found for found in broken(market, changed, expected))


def test_plans_follow_from_their_seed_and_try_everything() -> None:
    plans = [draw(seed, can_mount=True) for seed in range(400)]
    assert plans == [draw(seed, can_mount=True) for seed in range(400)]
    drawn = {(fault.kind, fault.target) for plan in plans for fault in plan.faults}
    assert drawn == set(possible(can_mount=True))
    assert all(len({fault.kind for fault in plan.faults}) == FAULTS for plan in plans)
    unmounted = [draw(seed, can_mount=False) for seed in range(400)]
    assert not any(fault.kind is Kind.FULL_DISK for plan in unmounted for fault in plan.faults)


def test_the_proxy_passes_bytes_and_cuts() -> None:
    with socket.create_server((LOOPBACK, 0)) as server, VenueProxy(lambda: server.getsockname()[1]) as proxy:
        client = socket.create_connection((LOOPBACK, proxy.port), timeout=30)
        behind, _ = server.accept()
        behind.settimeout(30)
        client.sendall(b"ping")
        assert behind.recv(4) == b"ping"
        behind.sendall(b"pong")
        assert client.recv(4) == b"pong"
        cut = threading.Thread(target=proxy.cut_for, args=(0.2,))
        cut.start()
        assert client.recv(1) == b""  # the end, or an error below
        cut.join()
        again = socket.create_connection((LOOPBACK, proxy.port), timeout=30)
        behind_again, _ = server.accept()
        for connection in (client, behind, again, behind_again):
            connection.close()
