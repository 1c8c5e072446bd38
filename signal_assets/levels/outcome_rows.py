"""Rows of ``levels.level_outcomes`` for one window: each written at the minute by which its outcome was settled.

Belongs here: which levels are judged, and putting the rows together. Does not belong here: how one is judged
(``level_outcomes``), how random ones are drawn (``matched_levels``).

A level that stood at m has its row at the first point of the minute grid at or after the moment that settled it, at
m + horizon at the latest. So a row is a function of the path and the zones over a finite look-back, and work may be cut
anywhere.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from signal_assets.aggregates.instrument_rows import instrument_rows, integers, text
from signal_assets.event_time import MINUTE, SECOND
from signal_assets.instrument import Instrument
from signal_assets.levels.level_outcomes import OUTCOMES, OutcomeParameters, average_ranges, judge
from signal_assets.levels.matched_levels import STRATA, TRIES, draw_levels, seed_of, stratum
from signal_assets.levels.tables import LEVEL_OUTCOMES
from signal_assets.levels.window_kernels import PROFILES
from signal_assets.window import Window

Integers = NDArray[np.int64]

COLUMNS = ("level_time", "profile", "zone_low", "draw", "low", "high", "is_support", "average_range", "row", "price")


def level_outcome_rows(
    window: Window,
    instruments: Sequence[Instrument],
    price_zones: pd.DataFrame,
    features: pd.DataFrame,
    parameters: OutcomeParameters,
) -> pd.DataFrame:
    """Rows of ``levels.level_outcomes``: levels whose outcome was settled in the window, and their random partners.

    Parameters
    ----------
    price_zones : DataFrame
        ``levels.price_zones`` over ``(window.start - horizon, window.end]``.
    features : DataFrame
        Columns instrument, time, best_bid, best_ask over ``(window.start - look_back, window.end]``.
    """
    ordered = sorted(instruments, key=lambda instrument: instrument.key)
    pieces = [_instrument_rows(window, instrument, price_zones, features, parameters) for instrument in ordered]
    lengths = [len(piece) for piece in pieces]
    if not any(lengths):
        return LEVEL_OUTCOMES.empty()
    rows = pd.concat([piece for piece in pieces if len(piece)], ignore_index=True)
    key = text([instrument.key for instrument in ordered], np.repeat(np.arange(len(ordered)), lengths))
    return pd.DataFrame({"instrument": key, **{str(name): rows[name] for name in rows}})


def _instrument_rows(
    window: Window,
    instrument: Instrument,
    price_zones: pd.DataFrame,
    features: pd.DataFrame,
    parameters: OutcomeParameters,
) -> pd.DataFrame:
    rows = instrument_rows(features, instrument.key, "time")
    time = integers(features, "time", rows)
    path = integers(features, "best_bid", rows) + integers(features, "best_ask", rows)
    zones = price_zones.iloc[instrument_rows(price_zones, instrument.key, "time")]
    levels = _levels(window, instrument, zones, time, path, parameters)
    if not levels["level_time"].size:
        return LEVEL_OUTCOMES.empty().drop(columns="instrument")
    low, high, is_support = levels["low"], levels["high"], levels["is_support"] == 1
    reach = np.floor(parameters.ranges * levels["average_range"]).astype(np.int64)
    outcome, touched, settled = judge(
        *(time, path, levels["level_time"], low, high, is_support, reach, parameters.horizon, window.end)
    )
    minute = -(-settled // MINUTE) * MINUTE
    chosen = np.flatnonzero((outcome >= 0) & (minute > window.start) & (minute <= window.end))
    by = ("draw", "zone_low", "profile", "level_time")
    chosen = chosen[np.lexsort((*(levels[name][chosen] for name in by), minute[chosen]))]
    kept = {name: column[chosen] for name, column in levels.items()}
    outcome, touched, settled = outcome[chosen], touched[chosen], settled[chosen]
    began, support = kept["level_time"], kept["is_support"] == 1
    distance = np.where(support, kept["price"] - kept["high"], kept["low"] - kept["price"])
    confidence = zones["confidence"].to_numpy(dtype=np.float64)[kept["row"]]
    return pd.DataFrame(
        {
            "time": minute[chosen],
            "level_time": began,
            "profile": text(PROFILES, kept["profile"]),
            "zone_low": kept["zone_low"] // 2,
            "draw": kept["draw"],
            "side": text(("resistance", "support"), kept["is_support"]),
            "low": kept["low"] // 2,
            "high": kept["high"] // 2,
            "confidence": confidence,
            "average_range": kept["average_range"] // 2,
            "distance": distance / kept["average_range"],
            "outcome": text(OUTCOMES, outcome),
            "seconds_to_touch": np.where(touched >= 0, (touched - began) / SECOND, np.nan),
            "seconds_to_outcome": (settled - began) / SECOND,
        }
    )


def _levels(
    window: Window,
    instrument: Instrument,
    zones: pd.DataFrame,
    time: Integers,
    path: Integers,
    parameters: OutcomeParameters,
) -> dict[str, Integers]:
    """Real and random levels that may be settled in the window; prices and ranges doubled."""
    began = zones["time"].to_numpy(dtype=np.int64)
    low, high = 2 * zones["low"].to_numpy(dtype=np.int64), 2 * zones["high"].to_numpy(dtype=np.int64)
    is_support = (zones["side"] == "support").to_numpy(dtype=bool)
    profile = np.where((zones["profile"] == PROFILES[0]).to_numpy(dtype=bool), 0, 1)
    moments = np.unique(began[(began % parameters.interval == 0) & (began > window.start - parameters.horizon)])
    moments = moments[(moments < window.end) & (np.searchsorted(time, moments, side="right") > 0)]
    ranges = average_ranges(time, path, moments, parameters.average_minutes, parameters.minimum_minutes)
    prices = path[np.searchsorted(time, moments, side="right") - 1]
    pieces: list[list[tuple[int, ...]]] = []
    for moment, average, price in zip(moments.tolist(), ranges.tolist(), prices.tolist(), strict=True):
        first, last = np.searchsorted(began, (moment, moment + 1))
        for which in range(len(PROFILES)) if average else ():
            rows = first + np.flatnonzero(profile[first:last] == which)
            pieces.append(
                _levels_at(
                    instrument, which, moment, price, average, rows, low[rows], high[rows], is_support[rows], parameters
                )
            )
    table = np.array([level for piece in pieces for level in piece], np.int64).reshape(-1, len(COLUMNS))
    return {name: np.ascontiguousarray(column) for name, column in zip(COLUMNS, table.T, strict=True)}


def _levels_at(
    instrument: Instrument,
    which: int,
    moment: int,
    price: int,
    average: int,
    rows: Integers,
    low: Integers,
    high: Integers,
    is_support: NDArray[np.bool_],
    parameters: OutcomeParameters,
) -> list[tuple[int, ...]]:
    """The levels of one profile and moment, each followed by its partners, in the order of COLUMNS."""
    seed = seed_of(instrument.key, PROFILES[which])
    drawn = draw_levels(
        seed, moment, price, average, low, high, is_support, 2 * instrument.bucket_size, parameters.draws, TRIES
    )
    partners: dict[int, list[tuple[int, int]]] = {}
    for zone, number, lower in zip(*(column.tolist() for column in drawn), strict=True):
        partners.setdefault(zone, []).append((number, lower))
    levels: list[tuple[int, ...]] = []
    columns = (rows.tolist(), low.tolist(), high.tolist(), is_support.tolist())
    for zone, (row, lowest, highest, below) in enumerate(zip(*columns, strict=True)):
        distance = price - highest if below else lowest - price
        if distance <= 0 or stratum(distance, average) >= STRATA:
            continue
        for number, lower in [(0, lowest), *partners.get(zone, [])]:
            upper = lower + highest - lowest
            levels.append((moment, which, lowest, number, lower, upper, int(below), average, row, price))
    return levels
