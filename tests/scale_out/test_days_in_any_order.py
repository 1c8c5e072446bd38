"""Days of window tables computed in any order: the same rows, and progress never passes a day that is missing."""

import itertools
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from resources.lake import Lake, Progress
from resources.memory_lake import MemoryLake
from resources.settings import Settings, load_settings
from signal_assets.aggregates.derivations import dollar_trades
from signal_assets.aggregates.tables import DOLLAR_TRADES
from signal_assets.derivation import Derivation, Input, NotCompleteError, asset_name, forward, recompute_day
from signal_assets.event_time import DAY, HOUR, MINUTE, date_of
from signal_assets.levels.derivations import value_area
from signal_assets.levels.tables import PRICE_ZONES, VALUE_AREA, WAVE_PEAKS
from signal_assets.market.tables import TABLES as RAW_TABLES
from signal_assets.market.tables import TRADES
from tests.scale_out.generated_days import GROUP, write_settings

START = 20_095 * DAY
DAYS = [date_of(START + number * DAY + 1) for number in range(3)]
ASSET = asset_name(DOLLAR_TRADES)
KEY = "BTCFDUSD.BINANCE"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(write_settings(tmp_path))


@pytest.fixture
def lake() -> Lake:
    """A trade an hour over three days; raw is complete."""
    made = MemoryLake()
    times = list(range(START + HOUR, START + 3 * DAY + 1, HOUR))
    rows = {
        "instrument": KEY,
        "trade_id": range(len(times)),
        "event_time": times,
        "received_time": times,
        "price": 6_100_000_000_000,
        "quantity": range(1, len(times) + 1),
        "is_buyer_maker": False,
        "late": False,
        "flags": 0,
    }
    for table in RAW_TABLES:
        with made.transaction(asset=asset_name(table), run_id="raw") as unit:
            if table is TRADES:
                unit.append(TRADES, pd.DataFrame(rows))
            unit.advance(asset_name(table), GROUP, None, Progress(START, START + 3 * DAY))
    return made


def run(lake: Lake, settings: Settings, day: date) -> None:
    recompute_day(lake, dollar_trades(settings), GROUP, settings.groups[GROUP], day=day, run_id="day")


def reached(lake: Lake) -> int:
    """Days that progress has passed."""
    progress = lake.progress(ASSET, GROUP)
    assert progress is None or progress.origin == START
    return 0 if progress is None else (progress.progress - START) // DAY


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_any_order(lake: Lake, settings: Settings, order: tuple[int, ...]) -> None:
    done = set[int]()
    for number in order:
        run(lake, settings, DAYS[number])
        done.add(number)
        whole = next(count for count in range(4) if count not in done)
        assert reached(lake) == whole
    # An hour's trade closes in the minute after it: 72 minutes, each with the one trade of its number.
    assert list(lake.read(DOLLAR_TRADES)["buy_quantity"]) == list(range(1, 73))


def test_what_is_made_of_them_waits(lake: Lake, settings: Settings) -> None:
    run(lake, settings, DAYS[1])
    with pytest.raises(NotCompleteError, match="complete up to nothing yet"):
        recompute_day(lake, value_area(settings), GROUP, settings.groups[GROUP], day=DAYS[1], run_id="day")


def test_what_is_made_of_the_same_day_alone_does_not_wait_for_other_days(lake: Lake, settings: Settings) -> None:
    made = Derivation(WAVE_PEAKS, (Input(TRADES),), lambda *_: WAVE_PEAKS.empty(), MINUTE)
    of_it = Derivation(PRICE_ZONES, (Input(WAVE_PEAKS, look_back=MINUTE),), lambda *_: PRICE_ZONES.empty(), MINUTE)
    of_two_days = Derivation(VALUE_AREA, (Input(WAVE_PEAKS, look_back=DAY),), lambda *_: VALUE_AREA.empty(), MINUTE)

    def compute(derivation: Derivation, number: int) -> None:
        recompute_day(lake, derivation, GROUP, settings.groups[GROUP], day=DAYS[number], run_id="day")

    with pytest.raises(NotCompleteError, match="complete up to nothing yet"):
        compute(of_it, 1)
    compute(made, 1)
    compute(of_it, 1)
    for number in (0, 2):
        with pytest.raises(NotCompleteError, match="complete up to nothing yet"):
            compute(of_it, number)
    with pytest.raises(NotCompleteError, match="complete up to nothing yet"):
        compute(of_two_days, 1)
    compute(made, 2)
    compute(of_two_days, 2)
    assert lake.progress(made.asset, GROUP) is None
    compute(made, 0)
    assert lake.progress(made.asset, GROUP) == Progress(START, START + 3 * DAY)
    compute(of_it, 0)
    assert lake.progress(of_it.asset, GROUP) == Progress(START, START + 2 * DAY)


def test_forward_work_passes_what_a_back_fill_has_done(lake: Lake, settings: Settings) -> None:
    run(lake, settings, DAYS[1])
    derivation, instruments = dollar_trades(settings), settings.groups[GROUP]
    forward(lake, derivation, GROUP, instruments, end=START + DAY - MINUTE, run_id="forward")
    forward(lake, derivation, GROUP, instruments, end=START + DAY + HOUR, run_id="forward")
    assert reached(lake) == 2  # the second day as a whole, though the end lay inside
    forward(lake, derivation, GROUP, instruments, end=START + 3 * DAY, run_id="forward")
    assert reached(lake) == 3
    assert list(lake.read(DOLLAR_TRADES)["buy_quantity"]) == list(range(1, 73))
