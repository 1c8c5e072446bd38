"""What became of the zones of the recorded market, beside random levels: stated as it is.

Belongs here: the score on the recording. Does not belong here: how levels are judged (``signal_assets/levels``).
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd
from rich.console import Console
from rich.table import Table as Grid

from benchmarks.measurement import console, shared_data
from services.simulated_venue.recording import read_recording
from services.text_tables import level_score_table
from signal_assets.derivation import recompute_day
from signal_assets.event_time import MINUTE, date_of
from signal_assets.levels.level_outcomes import OutcomeParameters
from signal_assets.levels.outcome_rows import level_outcome_rows
from signal_assets.levels.outcome_score import LevelScore, score_levels
from signal_assets.levels.tables import LEVEL_OUTCOMES, PRICE_ZONES
from signal_assets.market.tables import FEATURES
from signal_assets.window import Window
from tests.lanes.market_run import GROUP, ONE, days_of, derivations, ingest, raw_lake, settings_with

SHORT: Final = OutcomeParameters(interval=MINUTE, horizon=3 * MINUTE, average_minutes=10, minimum_minutes=3)
"""For a recording of eleven minutes, in which no level can be watched for half an hour."""


def main(out: Console | None = None) -> None:
    """Print the tables."""
    out = out or console()
    files = sorted(shared_data("binance_spot_btcusdt").glob("*.gz"))
    if not files:
        out.print(f"level outcomes: not measured, there is no recording in {shared_data('binance_spot_btcusdt')}")
        return
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_with(Path(folder), ONE)
    instruments = settings.groups[GROUP]
    raw = ingest(read_recording(files), instruments, settings)
    lake = raw_lake(raw)
    for start in days_of(raw):
        for derivation in derivations(settings):
            recompute_day(lake, derivation, GROUP, instruments, day=date_of(start + 1), run_id="day")
    minutes = (max(row[1] for row in raw.rows[FEATURES.name]) - raw.first) / MINUTE
    usual = OutcomeParameters()
    out.print(
        f"recording of {minutes:.0f} minutes; levels watched for {usual.horizon // MINUTE} minutes, as in the lake:"
    )
    _print(out, score_levels(lake.read(LEVEL_OUTCOMES), usual.horizon))
    out.print(f"the same, a level a minute watched for {SHORT.horizon // MINUTE} minutes:")
    zones, features = lake.read(PRICE_ZONES), lake.read(FEATURES)
    rows = [
        level_outcome_rows(Window(start, stop), instruments, zones, features, SHORT)
        for start, stop in ((day, day + 24 * 60 * MINUTE) for day in days_of(raw))
    ]

    _print(out, score_levels(pd.concat(rows, ignore_index=True), SHORT.horizon))


def _print(out: Console, scores: Sequence[LevelScore]) -> None:
    table = level_score_table(scores)
    if not table.rows:
        out.print("no level whose whole horizon was seen: nothing can be said")
        return
    grid = Grid(title=table.title)
    for head in table.heads:
        grid.add_column(head.removeprefix("#").replace("hours", "blocks"))
    for row in table.rows:
        grid.add_row(*row)
    out.print(grid)


if __name__ == "__main__":
    main()
