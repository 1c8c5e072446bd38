"""A fold over a small machine whose every row can be worked out by hand, on the lake in memory."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from structlog.testing import capture_logs

from resources.lake import Progress
from resources.memory_lake import MemoryLake
from signal_assets.derivation import Input, NotCompleteError
from signal_assets.event_time import DAY, HOUR, MINUTE, SECOND, start_of_date
from signal_assets.fold import (
    CHECKPOINT,
    Fold,
    StateError,
    Stepper,
    WarmMachines,
    forward_fold,
    group_by_time,
    recompute_day_fold,
)
from signal_assets.instrument import Instrument, whole_group
from signal_assets.machine import Events, Rows, decode_state, encode_state
from signal_assets.table import Column, ColumnType, Table

TICKS = Table(
    "market.ticks",
    "Numbers.",
    (
        Column("instrument", ColumnType.TEXT, ""),
        Column("time", ColumnType.TIME, ""),
        Column("value", ColumnType.COUNT, ""),
        Column("late", ColumnType.FLAG, ""),
    ),
    ("instrument", "time"),
    "raw",
    "time",
)
SUMS = Table(
    "sums.sums",
    "Sum of all numbers so far, of the group, at each step.",
    (
        Column("instrument", ColumnType.TEXT, ""),
        Column("time", ColumnType.TIME, ""),
        Column("total", ColumnType.COUNT, ""),
        Column("factor", ColumnType.REAL, ""),
        Column("run_id", ColumnType.TEXT, "", operational=True),
    ),
    ("instrument", "time"),
    "fold",
    "time",
)
FACTORS = Table(
    "learning.factors",
    "What the sum is told of earlier days.",
    (
        Column("instrument", ColumnType.TEXT, ""),
        Column("valid_from", ColumnType.TIME, ""),
        Column("value", ColumnType.REAL, ""),
    ),
    ("instrument", "valid_from"),
    "as-of",
    "valid_from",
)
ONE = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", tick_size=1, lot_size=1)
TWO = Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", tick_size=1, lot_size=1)
FIRST_DAY = date(2025, 1, 6)
START = start_of_date(FIRST_DAY)
GROUP = whole_group("crypto")


class Sum:
    """Adds up; remembers the sum and nothing else."""

    def __init__(self) -> None:
        self.total = 0
        self.factor = 1.0
        self.days: list[int] = []

    def begin_day(self, start: int, in_force: Mapping[str, Sequence[Any]]) -> None:
        versions = in_force.get(FACTORS.name, [])
        self.factor = versions[-1].value if versions else 1.0

    def step(self, time: int, events: Events) -> Rows:
        self.total += sum(event.value for event in events[TICKS.name])
        return {SUMS.name: [(GROUP, time, self.total, self.factor)]}

    def state(self) -> dict[str, Any]:
        return {"total": self.total}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.total = state["total"]


def fold(*in_force: Table) -> Fold:
    return Fold("sums", (SUMS,), (Input(TICKS),), lambda instruments: Sum(), in_force)


def lake_with(times: Sequence[int], end: int, late: Sequence[int] = ()) -> MemoryLake:
    lake = MemoryLake()
    rows = [(key.key, time, time // SECOND % 97, False) for time in times for key in (ONE, TWO)]
    rows += [(ONE.key, time, 1_000, True) for time in late]
    with lake.transaction(asset="market/ticks", run_id="raw") as unit:
        unit.append(TICKS, pd.DataFrame(rows, columns=["instrument", "time", "value", "late"]))
        unit.advance("market/ticks", "crypto", None, Progress(START, end))
    return lake


def forward(lake: MemoryLake, end: int, *in_force: Table, warm: WarmMachines | None = None) -> None:
    forward_fold(lake, fold(*in_force), "crypto", (ONE, TWO), end=end, run_id="forward", warm=warm)


def day_run(lake: MemoryLake, day: int) -> None:
    recompute_day_fold(
        lake, fold(), "crypto", (ONE, TWO), day=date.fromordinal(FIRST_DAY.toordinal() + day), run_id="d"
    )


def by_hand(times: Sequence[int]) -> pd.DataFrame:
    totals = np.cumsum([2 * (time // SECOND % 97) for time in times])
    return pd.DataFrame({"time": list(times), "total": totals})


def found(lake: MemoryLake) -> pd.DataFrame:
    return lake.read(SUMS)[["time", "total"]]


@pytest.mark.parametrize("warm", [None, WarmMachines()])
@pytest.mark.parametrize("seed", range(5))
def test_any_cut_and_the_day_runs_give_the_same_rows(seed: int, warm: WarmMachines | None) -> None:
    chance = random.Random(seed)
    times = sorted(START + second * SECOND for second in chance.sample(range(1, 3 * 86_400 + 1), 400))
    end = START + 3 * DAY
    lake, days = lake_with(times, end), lake_with(times, end)
    cuts = sorted(START + second * SECOND for second in chance.sample(range(1, 3 * 86_400), 30))
    for cut in [*cuts, end]:
        forward(lake, cut, warm=warm)
    for day in range(3):
        day_run(days, day)
    pd.testing.assert_frame_equal(found(lake), by_hand(times), check_dtype=False)
    pd.testing.assert_frame_equal(found(days), by_hand(times), check_dtype=False)
    assert lake.progress("sums/sums", "crypto") == days.progress("sums/sums", "crypto") == Progress(START, end)
    for day in range(1, 4):
        at = START + day * DAY
        assert lake.state("sums", "crypto", at) == days.state("sums", "crypto", at) is not None
    assert lake.state("sums", "crypto") == days.state("sums", "crypto")


def test_a_run_goes_on_from_the_newest_checkpoint_and_writes_nothing_twice() -> None:
    times = [START + second * SECOND for second in range(60, 3_600, 60)]
    lake = lake_with(times, START + DAY)
    forward(lake, START + 25 * MINUTE + 1)
    kept = lake.state("sums", "crypto")
    assert kept is not None
    assert kept.time == START + 20 * MINUTE == START + 2 * CHECKPOINT
    assert decode_state(kept.state) == {"total": int(by_hand(times)["total"][19])}
    forward(lake, START + 26 * MINUTE)
    forward(lake, START + HOUR)
    pd.testing.assert_frame_equal(found(lake), by_hand(times), check_dtype=False)
    assert set(lake.read(SUMS)["run_id"]) == {"forward"}


def test_a_day_run_takes_late_rows_in_and_hands_them_to_the_next_days_run() -> None:
    times = [START + SECOND, START + DAY + SECOND, START + DAY + 2 * SECOND]
    lake = lake_with(times, START + 2 * DAY, late=[START + 5 * SECOND])
    forward(lake, START + DAY + SECOND)
    before = found(lake)["total"].tolist()
    day_run(lake, 0)
    assert found(lake)["total"].tolist() == [before[0], before[0] + 1_000, before[1]]
    forward(lake, START + 2 * DAY)
    assert found(lake)["total"].iloc[-1] == before[1] + 2 * (times[2] // SECOND % 97)
    day_run(lake, 1)
    assert found(lake)["total"].tolist()[-2:] == [before[1] + 1_000, before[1] + 1_000 + 2 * (times[2] // SECOND % 97)]


def test_a_day_whose_day_before_is_missing_is_refused() -> None:
    lake = lake_with([START + SECOND], START + 3 * DAY)
    with pytest.raises(NotCompleteError, match=r"day before.*signals backfill"):
        day_run(lake, 1)
    day_run(lake, 0)
    day_run(lake, 1)


def test_an_input_that_is_behind_is_refused() -> None:
    lake = lake_with([START + SECOND], START + HOUR)
    with pytest.raises(NotCompleteError, match=r"market\.ticks of crypto is complete up to 2025-01-06T01:00:00Z"):
        forward(lake, START + 2 * HOUR)


def learned(lake: MemoryLake, day: int, value: float) -> None:
    learned_from = START + (day + 1) * DAY
    with lake.transaction(asset="learning/factors", run_id="learn") as unit:
        row = {"instrument": [GROUP], "valid_from": [learned_from + DAY], "value": [value]}
        unit.append(FACTORS, pd.DataFrame(row))
        before = unit.progress("learning/factors", "crypto")
        unit.advance("learning/factors", "crypto", before, Progress(START, learned_from))


def test_what_is_learned_from_a_day_is_in_force_two_days_on_and_waited_for() -> None:
    times = [START + day * DAY + SECOND for day in range(4)]
    lake = lake_with(times, START + 4 * DAY)
    forward(lake, START + 2 * DAY, FACTORS)
    with pytest.raises(NotCompleteError, match=r"learning\.factors of crypto has not been learned up to 2025-01-07"):
        forward(lake, START + 3 * DAY, FACTORS)
    learned(lake, 0, 2.0)
    forward(lake, START + 3 * DAY, FACTORS)
    learned(lake, 1, 3.0)
    forward(lake, START + 4 * DAY, FACTORS)
    assert lake.read(SUMS)["factor"].tolist() == [1.0, 1.0, 2.0, 3.0]


def test_a_machine_is_told_of_each_day_once_before_its_first_step() -> None:
    told: list[int] = []
    stepper = Stepper(Sum(), lambda start: told.append(start) or {})
    tick = group_by_time({TICKS: pd.DataFrame({"instrument": [ONE.key], "time": [1], "value": [1]})})
    events = next(tick)[1]
    for time in (START + 1, START + DAY, START + DAY + 1, START + 3 * DAY):
        stepper.step(time, events)
    assert told == [START, START + DAY, START + 2 * DAY]


def test_states_survive_as_text_to_the_bit() -> None:
    state = {"reals": np.array([0.1, np.nan, -np.inf, 5e-324]), "grid": np.arange(6).reshape(2, 3), "cash": 10**25}
    again = decode_state(encode_state(state | {"nested": {"nan": float("nan"), "third": 1 / 3, "none": None}}))
    assert again["reals"].tobytes() == state["reals"].tobytes()  # type: ignore[union-attr]
    assert again["grid"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert again["cash"] == 10**25
    assert again["nested"]["third"] == 1 / 3
    assert np.isnan(again["nested"]["nan"])
    with pytest.raises(TypeError, match="set"):
        encode_state({"names": {1, 2}})


def test_long_arrays_are_kept_compressed_and_come_back_to_the_bit() -> None:
    rows = np.tile(np.array([0.1, np.nan, -0.0, 5e-324]), (2, 5_000))
    text = encode_state({"past": rows, "counts": np.arange(200)})
    assert len(text) < rows.nbytes // 20
    again = decode_state(text)
    assert again["past"].shape == rows.shape
    assert again["past"].tobytes() == rows.tobytes()
    assert again["counts"].tolist() == list(range(200))


def test_a_warm_machine_is_taken_only_where_the_lake_stands() -> None:
    warm, lake = WarmMachines(), lake_with([START + SECOND, START + MINUTE], START + DAY)
    forward(lake, START + 30 * SECOND, warm=warm)
    assert warm.take(fold(), "crypto", (ONE, TWO), START + 31 * SECOND) is None
    forward(lake, START + 40 * SECOND, warm=warm)
    assert warm.take(replace(fold(), version="other"), "crypto", (ONE, TWO), START + 40 * SECOND) is None
    forward(lake, START + 50 * SECOND, warm=warm)
    assert warm.take(fold(), "crypto", (ONE,), START + 50 * SECOND) is None
    forward(lake, START + 55 * SECOND, warm=warm)
    taken = warm.take(fold(), "crypto", (ONE, TWO), START + 55 * SECOND)
    assert taken is not None
    assert taken.machine.state() == {"total": int(by_hand([START + SECOND])["total"][0])}
    assert warm.take(fold(), "crypto", (ONE, TWO), START + 55 * SECOND) is None


class Counting(Sum):
    """The newer version: it remembers the number of steps too, which states of :class:`Sum` do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def step(self, time: int, events: Events) -> Rows:
        self.steps += 1
        return super().step(time, events)

    def state(self) -> dict[str, Any]:
        return {"total": self.total, "steps": self.steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.steps = state["steps"]


UPGRADED = replace(fold(), machine=lambda instruments: Counting())


def upgraded(lake: MemoryLake, end: int) -> None:
    forward_fold(lake, UPGRADED, "crypto", (ONE, TWO), end=end, run_id="newer")


def upgraded_day(lake: MemoryLake, day: int) -> None:
    of = date.fromordinal(FIRST_DAY.toordinal() + day)
    recompute_day_fold(lake, UPGRADED, "crypto", (ONE, TWO), day=of, run_id="newer")


def test_a_state_of_an_older_version_in_the_first_day_is_made_anew_from_the_rows() -> None:
    times = [START + minute * MINUTE for minute in range(1, 60)]
    lake = lake_with(times, START + DAY)
    forward(lake, START + 25 * MINUTE)
    with capture_logs() as said:
        upgraded(lake, START + HOUR)
    assert [line["event"] for line in said] == ["the day is stepped through anew"]
    assert "KeyError: 'steps'" in said[0]["error"]
    pd.testing.assert_frame_equal(found(lake), by_hand(times), check_dtype=False)
    assert lake.read(SUMS)["run_id"].tolist() == ["forward"] * 25 + ["newer"] * 34  # nothing is written twice
    kept = lake.state("sums", "crypto")
    assert kept is not None
    assert decode_state(kept.state)["steps"] == 59
    upgraded(lake, START + DAY)


def test_states_of_an_older_version_are_refused_in_one_line_until_the_days_are_computed_again() -> None:
    times = [START + hour * HOUR for hour in range(1, 60)]
    lake = lake_with(times, START + 3 * DAY)
    for cut in range(3, 54, 3):
        forward(lake, START + cut * HOUR)
    line = r"^sums: what crypto remembered at 2025-01-0\dT.*KeyError: 'steps'.*signals backfill --from 2025-01-06 --to"
    with pytest.raises(StateError, match=line):
        upgraded(lake, START + 60 * HOUR)
    with pytest.raises(StateError, match=line):
        upgraded_day(lake, 1)
    before = found(lake)
    upgraded_day(lake, 0)
    upgraded_day(lake, 1)
    upgraded(lake, START + 60 * HOUR)
    pd.testing.assert_frame_equal(found(lake), by_hand(times), check_dtype=False)
    assert len(before) == 51
