"""What must hold after any faults: nothing lost, nothing twice, every table what its inputs make it.

Belongs here: the comparison with an undisturbed run, row by row, and of the streams by id. Does not belong here: making
faults happen, and how long a recovery may take.

Samples of the machine (``anomalies.system_samples``) and labels are not compared: under the recording's clock nobody
samples the machine, two runs would not measure the same anyway, and nobody gives a label. That each sample is stored
once, whoever dies, is shown where samples are made by hand (``tests/live_lane/test_system_judge``).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import pandas as pd

from signal_assets.anomalies.tables import ANOMALIES
from signal_assets.event_time import MINUTE
from signal_assets.market.tables import DEPTH_SNAPSHOTS, FEATURES, FEED_GAPS, TRADES
from signal_assets.signals.tables import EMITTED, SIGNALS
from signal_assets.stage_tables import TABLES
from signal_assets.table import Table
from tests.faults.disturbed_replay import Disturbed, lake_of
from tests.faults.market import Market
from tests.lanes.market_run import (
    FOLDED,
    RawRows,
    contents,
    folded,
    run_days,
    run_days_without_late_rows,
    run_fold_days,
)

SIGNAL_FIELDS: Final = ["id", "instrument", "strategy", "action", "event_time", "expires_at", "confidence"]
"""What a signal and its emission share."""
BY_NAME: Final = {table.name: table for table in TABLES}
LEARNED: Final = tuple(table.name for table in TABLES if table.stage == "learning")


@dataclass(frozen=True)
class Expected:
    """Every derived table, by name, as day runs over raw rows make it."""

    forward: Mapping[str, pd.DataFrame]
    """Without what came late, which forward work does not see."""
    days: Mapping[str, pd.DataFrame]


def expected_of(market: Market, found: Disturbed) -> Expected:
    """What the raw rows that were found lead to."""
    extent = RawRows(watermark=found.watermark, first=int(found.raw[FEATURES.name]["time"].min()))
    folds, windows, days = (lake_of(found.raw, found.watermark) for _ in range(3))
    run_fold_days(folds, market.settings, extent)
    run_days_without_late_rows(windows, market.settings, extent)
    run_days(days, market.settings, extent)
    by_folds = folded(folds)
    without_lessons = {name: frame for name, frame in by_folds.items() if name not in LEARNED}
    return Expected(contents(windows, market.settings) | without_lessons, contents(days, market.settings) | by_folds)


def broken(market: Market, found: Disturbed, expected: Expected | None = None) -> list[str]:
    """What does not hold, a line each; empty if all does.

    Parameters
    ----------
    expected
        If it is known already; default: worked out from the raw rows that were found.
    """
    checks: list[Callable[[], None]] = [
        lambda: check_trades(market, found),
        lambda: check_raw(market, found),
        lambda: check_signals_stream(found),
        lambda: check_emitted(found),
        lambda: check_anomalies_stream(found),
        lambda: check_runs(found),
    ]
    lines = []
    for check in checks:
        try:
            check()
        except AssertionError as failure:
            lines.append(" ".join(str(failure).split())[:400])
    return lines + list(_derived(found, expected or expected_of(market, found)))


def check_trades(market: Market, found: Disturbed) -> None:
    """Every trade is there once, whatever happened."""
    trades = found.raw[TRADES.name]
    for instrument, expected in market.trade_ids.items():
        ids = sorted(trades.loc[trades["instrument"] == instrument, "trade_id"])
        missing, extra = sorted(set(expected) - set(ids)), sorted(set(ids) - set(expected))
        assert not missing, f"{len(missing)} trades of {instrument} are missing, the first is {missing[0]}"
        assert not extra, f"{len(extra)} trades of {instrument} never were, the first is {extra[0]}"
        assert len(ids) == len(expected), f"{len(ids) - len(expected)} trades of {instrument} are there twice"


def check_raw(market: Market, found: Disturbed) -> None:
    """All raw rows as if nothing had happened, but for the gaps that say so themselves."""
    gaps = found.raw[FEED_GAPS.name]
    for table in (TRADES, FEATURES, DEPTH_SNAPSHOTS):
        expected = _outside(_raw_of(market.undisturbed.frame(table), table), table, gaps)
        actual = _outside(_raw_of(found.raw[table.name], table), table, gaps)
        _assert_same(actual, expected, table.name)
    # A gap is no excuse for a wrong trade: only whether it came too late for its grid point may be another.
    columns = [name for name in TRADES.value_columns if name != "late"]
    trades = _raw_of(found.raw[TRADES.name], TRADES)
    _assert_same(trades[columns], _raw_of(market.undisturbed.frame(TRADES), TRADES)[columns], TRADES.name)


def check_signals_stream(found: Disturbed) -> None:
    """No signal twice in the stream; the lake has taken it in from its beginning, without a hole.

    The very last ones may have left after the last run had looked: the next run takes them in.
    """
    counts = pd.Series(list(found.stream_ids), dtype=object).value_counts()
    twice = counts[counts > 1]
    assert twice.empty, f"{len(twice)} signals are in the stream more than once, among them {twice.index[0]}"
    kept = sorted(found.forward[EMITTED.name]["id"])
    assert kept == sorted(found.stream_ids[: len(kept)]), (
        f"{EMITTED.name} has {len(kept)} rows, which are not the first of the {len(found.stream_ids)} in the stream"
    )


def check_emitted(found: Disturbed) -> None:
    """What left is what was computed; only in a gap or while something was disturbed may the two differ.

    A signal that left right before the live lane died, with the market data it followed from still unwritten, lies in
    the recorded gap; one that nobody could send before it expired lies in the disturbance.
    """
    signals, emitted = found.forward[SIGNALS.name], found.forward[EMITTED.name]
    due = signals[(signals["status"] == "validated") & signals["tier"].isin(["fast", "tactical"])]
    excused = [recovery.disturbed for recovery in found.recoveries]
    gaps = found.raw[FEED_GAPS.name]
    gap_times = list(zip(gaps["gap_start"], gaps["gap_end"], strict=True))
    missing = due[~due["id"].isin(found.stream_ids)]
    lost = [row.id for row in missing.itertuples() if not _within(int(row.event_time), [*excused, *gap_times])]
    assert not lost, f"{len(lost)} signals did not leave although nothing was in their way, among them {lost[0]}"
    unknown = emitted[~emitted["id"].isin(due["id"])]
    wrong = [row.id for row in unknown.itertuples() if not _within(int(row.event_time), gap_times)]
    assert not wrong, f"{len(wrong)} signals left that were never computed, among them {wrong[0]}"
    shared = sorted(set(due["id"]) & set(emitted["id"]))
    left, right = (frame.set_index("id").loc[shared, SIGNAL_FIELDS[1:]].reset_index() for frame in (emitted, due))
    _assert_same(left, right, EMITTED.name)


def check_anomalies_stream(found: Disturbed) -> None:
    """No anomaly twice in the stream, and those that the lake holds: their ids follow from their content.

    As with signals, what was told right before the live lane died, of market data still unwritten, lies in a recorded
    gap; what nobody could tell lies in a disturbance.
    """
    counts = pd.Series([name for name, _ in found.anomalies], dtype=object).value_counts()
    twice = counts[counts > 1]
    assert twice.empty, f"{len(twice)} anomalies are in the stream more than once, among them {twice.index[0]}"
    kept = dict(found.forward[ANOMALIES.name][["id", "time"]].itertuples(index=False))
    told = dict(found.anomalies)
    gaps = found.raw[FEED_GAPS.name]
    gap_times = list(zip(gaps["gap_start"], gaps["gap_end"], strict=True))
    excused = [*(recovery.disturbed for recovery in found.recoveries), *gap_times]
    lost = [name for name, time in kept.items() if name not in told and not _within(int(time), excused)]
    assert not lost, f"{len(lost)} anomalies were not told although nothing was in their way, among them {lost[0]}"
    wrong = [name for name, time in told.items() if name not in kept and not _within(time, gap_times)]
    assert not wrong, f"{len(wrong)} anomalies were told that were never computed, among them {wrong[0]}"


def check_runs(found: Disturbed) -> None:
    """Every run has come to an end."""
    assert not found.unfinished_runs, f"{len(found.unfinished_runs)} runs never ended: {found.unfinished_runs[0]}"


def _derived(found: Disturbed, expected: Expected) -> Iterator[str]:
    """Every other table is what a day run makes of this run's raw rows."""
    yield from _differences(found.forward, expected.forward, "forward")
    if found.recomputed is not None:
        yield from _differences(found.recomputed, expected.days, "day run")


def _differences(found: Mapping[str, pd.DataFrame], expected: Mapping[str, pd.DataFrame], what: str) -> Iterator[str]:
    compared = {EMITTED.name, *expected}
    if missing := sorted(set(found) - compared):
        yield f"{what}: nothing to compare {', '.join(missing)} with"
    for name, frame in expected.items():
        columns = list(BY_NAME[name].value_columns)
        with _told() as lines:
            _assert_same(found[name][columns], frame[columns], f"{what} {name}")
        yield from lines


@contextmanager
def _told() -> Iterator[list[str]]:
    lines: list[str] = []
    try:
        yield lines
    except AssertionError as failure:
        lines.append(" ".join(str(failure).split())[:400])


def assert_enough(found: Disturbed) -> None:
    """There is something to compare: no table that should have rows is empty."""
    for table in (TRADES, FEATURES, DEPTH_SNAPSHOTS):
        assert len(found.raw[table.name]) > 100, table.name
    quiet = {"strategies.momentum_rider", "strategies.triangular_arbitrage", "performance.alerts", "anomalies.drifts"}
    quiet |= set(LEARNED)
    empty = [t.name for t in FOLDED if t.name not in quiet and found.forward[t.name].empty]
    assert not empty, f"nothing in {', '.join(empty)}"


def _raw_of(rows: pd.DataFrame, table: Table) -> pd.DataFrame:
    """What takes part in equalities, in the order of the key."""
    return rows.sort_values(list(table.key))[list(table.value_columns)].reset_index(drop=True)


def _outside(rows: pd.DataFrame, table: Table, gaps: pd.DataFrame) -> pd.DataFrame:
    """Rows that lie in none of their instrument's recorded gaps ``(start, end]``.

    A grid point at a gap's end is complete again.
    """
    times = rows[str(table.time)]
    inside = pd.Series(False, index=rows.index)
    for gap in gaps.itertuples():
        ends = (times <= gap.gap_end) if table is TRADES else (times < gap.gap_end)
        inside |= (rows["instrument"] == gap.instrument) & (times > gap.gap_start) & ends
    return rows[~inside].reset_index(drop=True)


def _within(time: int, spans: Iterable[tuple[int, int]]) -> bool:
    return any(start - MINUTE <= time <= end + MINUTE for start, end in spans)


def _assert_same(found: pd.DataFrame, expected: pd.DataFrame, what: str) -> None:
    assert len(found) == len(expected), f"{what}: {len(found)} rows, expected {len(expected)}"
    pd.testing.assert_frame_equal(found, expected, check_exact=True, obj=what)
