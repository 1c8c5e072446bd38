"""A threshold taken back by hand: which value, from when, and that learning goes on from it."""

import math

import pandas as pd
import pytest

from resources.lake import LakeError
from resources.memory_lake import MemoryLake
from signal_assets.event_time import DAY, HOUR
from signal_assets.instrument import whole_group
from signal_assets.learning.parameters import LearningParameters
from signal_assets.learning.rollback import RolledBack, roll_back
from signal_assets.learning.tables import THRESHOLDS
from signal_assets.learning.thresholds import threshold_rows
from signal_assets.signals.tables import SIGNALS

MIDNIGHT = 20_000 * DAY
NAME = "min_signal_quality"
PARAMETERS = LearningParameters()


def version(valid_from: int, value: float, before: float) -> tuple[object, ...]:
    return (whole_group("crypto"), NAME, valid_from, valid_from - DAY, value, before, 0.3, 10, "learned")


@pytest.fixture
def lake() -> MemoryLake:
    made = MemoryLake()
    rows = [version(MIDNIGHT, 0.105, 0.1), version(MIDNIGHT + DAY, 0.11025, 0.105)]
    with made.transaction(asset="learning/thresholds", run_id="test") as unit:
        unit.append(THRESHOLDS, pd.DataFrame(rows, columns=list(THRESHOLDS.value_columns)))
    return made


def test_without_a_value_the_newest_version_is_undone(lake: MemoryLake) -> None:
    made = roll_back(lake, "crypto", NAME, PARAMETERS, now=MIDNIGHT + 5 * HOUR)
    assert made == RolledBack(NAME, 0.11025, 0.105, MIDNIGHT + DAY)
    kept = lake.read(THRESHOLDS)
    assert len(kept) == 3  # nothing is deleted
    row = kept[kept["source"] == "rollback"].iloc[0]
    assert (row["value"], row["before"], row["valid_from"]) == (0.105, 0.11025, MIDNIGHT + DAY)
    assert math.isnan(row["share"])


def test_at_midnight_sharp_the_next_midnight_is_meant(lake: MemoryLake) -> None:
    made = roll_back(lake, "crypto", NAME, PARAMETERS, now=MIDNIGHT, value=0.2)
    assert (made.value, made.valid_from) == (0.2, MIDNIGHT + DAY)


def test_learning_goes_on_from_it(lake: MemoryLake) -> None:
    roll_back(lake, "crypto", NAME, PARAMETERS, now=MIDNIGHT + 5 * HOUR, value=0.3)
    signals = SIGNALS.empty()[["instrument", "event_time", "status", "confidence"]]
    rows = threshold_rows(MIDNIGHT + DAY, "crypto", signals, lake.read(THRESHOLDS), PARAMETERS)
    learned = rows[rows["name"] == NAME].iloc[0]
    assert (learned["before"], learned["value"]) == (0.3, 0.3)  # a day without signals moves nothing


@pytest.mark.parametrize(
    ("group", "name", "value", "line"),
    [
        ("crypto", "patience", None, "there is no threshold patience: there are min_signal_quality"),
        ("forex", NAME, None, "min_signal_quality of forex has never been learned"),
        ("crypto", NAME, 7.0, r"must lie between 0\.02 and 0\.5, not at 7"),
    ],
)
def test_what_cannot_be_taken_back(lake: MemoryLake, group: str, name: str, value: float | None, line: str) -> None:
    with pytest.raises(LakeError, match=line):
        roll_back(lake, group, name, PARAMETERS, now=MIDNIGHT, value=value)
    assert len(lake.read(THRESHOLDS)) == 2


def test_once_for_a_midnight(lake: MemoryLake) -> None:
    roll_back(lake, "crypto", NAME, PARAMETERS, now=MIDNIGHT + HOUR)
    with pytest.raises(LakeError, match=r"rolled back for .* already"):
        roll_back(lake, "crypto", NAME, PARAMETERS, now=MIDNIGHT + 2 * HOUR, value=0.2)
