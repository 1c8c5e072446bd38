"""Rows of the levels tables for one window: each row a function of the look-back at its minute, however work is cut.

Belongs here: which minutes have rows, and putting the rows together. Does not belong here: what a peak or a zone is.

A point m of the minute grid has rows when the feed lived in its minute: when there is a features row of the instrument
in ``(m - 60 s, m]``. The last of them gives the mid price that tells support from resistance.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from signal_assets.aggregates.instrument_rows import instrument_rows, integers, text
from signal_assets.event_time import MINUTE
from signal_assets.instrument import Instrument
from signal_assets.levels.parameters import LevelParameters
from signal_assets.levels.price_zones import SIDES, Touches, cluster_peaks, zone_sides, zone_volumes
from signal_assets.levels.profile import Profile, RollingTradeProfile, depth_profile
from signal_assets.levels.scale_space_peaks import METHOD, detect_in_scale_space
from signal_assets.levels.tables import PRICE_ZONES, VALUE_AREA, WAVE_PEAKS
from signal_assets.levels.value_area import EXPANSIONS, find_value_area
from signal_assets.levels.wave_peaks import MERGE_TOLERANCE, detect
from signal_assets.levels.wave_peaks import METHODS as PLAIN_METHODS
from signal_assets.window import Window

Integers = NDArray[np.int64]

PROFILES: Final = ("depth", "trades")
METHODS: Final = tuple(sorted((*PLAIN_METHODS, METHOD)))
"""In the order of the table's key."""

CODE_OF_PLAIN: Final = np.array([METHODS.index(name) for name in PLAIN_METHODS])
CODE_OF_SCALE_SPACE: Final = METHODS.index(METHOD)


def living_minutes(window: Window, features: pd.DataFrame, instrument: str) -> tuple[Integers, Integers]:
    """Points of the minute grid in the window at which the instrument's feed lived, and best bid + best ask there.

    Parameters
    ----------
    features : DataFrame
        Columns instrument, time, best_bid, best_ask over ``(window.start - 60 s, window.end]``.
    """
    rows = instrument_rows(features, instrument, "time")
    time = integers(features, "time", rows)
    grid = window.grid(MINUTE)
    newest = np.searchsorted(time, grid, side="right") - 1
    alive = newest >= 0
    alive[alive] = time[newest[alive]] > grid[alive] - MINUTE
    newest = newest[alive]
    bid_plus_ask = integers(features, "best_bid", rows)[newest] + integers(features, "best_ask", rows)[newest]
    return grid[alive], bid_plus_ask


class _DepthProfiles:
    """The depth profile of one instrument at any time that has a snapshot."""

    def __init__(self, dollar_depth: pd.DataFrame, instrument: Instrument) -> None:
        rows = instrument_rows(dollar_depth, instrument.key, "event_time")
        self._time = integers(dollar_depth, "event_time", rows)
        self._bucket = integers(dollar_depth, "price_bucket", rows)
        self._quantity = integers(dollar_depth, "quantity", rows)
        self._bucket_size = instrument.bucket_size

    def at(self, time: int) -> Profile:
        """The profile of the snapshot of exactly that time; empty when there is none."""
        first = np.searchsorted(self._time, time, side="left")
        last = np.searchsorted(self._time, time, side="right")
        return depth_profile(self._bucket[first:last], self._quantity[first:last], self._bucket_size)


def _trade_profiles(dollar_trades: pd.DataFrame, instrument: Instrument, look_back: int) -> RollingTradeProfile:
    rows = instrument_rows(dollar_trades, instrument.key, "minute")
    volume = integers(dollar_trades, "buy_quantity", rows) + integers(dollar_trades, "sell_quantity", rows)
    return RollingTradeProfile(
        integers(dollar_trades, "minute", rows),
        integers(dollar_trades, "price_bucket", rows),
        volume,
        instrument.bucket_size,
        look_back,
    )


def _ordered(instruments: Sequence[Instrument]) -> list[Instrument]:
    return sorted(instruments, key=lambda instrument: instrument.key)


def _stacked(pieces: list[tuple[NDArray[Any], ...]]) -> Iterator[NDArray[Any]]:
    return (np.concatenate(column) for column in zip(*pieces, strict=True))


def _peaks_of(profile: Profile, chosen: LevelParameters) -> tuple[Integers, Integers, NDArray[np.float64]]:
    """Peaks of one profile by all methods, by code and price: index into METHODS, into the profile, five measures."""
    volume = profile.base_volume
    plain, plain_entry, plain_measures = detect(
        profile.bucket,
        volume,
        chosen.min_peak_volume,
        chosen.z_score_threshold,
        chosen.min_peak_confidence,
        chosen.min_relative_volume,
        chosen.min_absolute_volume,
        MERGE_TOLERANCE,
    )
    entry, measures = detect_in_scale_space(
        profile.bucket, volume, chosen.false_discovery_rate, chosen.min_scale_space_confidence
    )
    method = np.concatenate((CODE_OF_PLAIN[plain], np.full(len(entry), CODE_OF_SCALE_SPACE)))
    entries = np.concatenate((plain_entry, entry))
    order = np.lexsort((entries, method))
    return method[order], entries[order], np.concatenate((plain_measures, measures[:5]), axis=1)[:, order]


def wave_peak_rows(
    window: Window,
    instruments: Sequence[Instrument],
    dollar_trades: pd.DataFrame,
    dollar_depth: pd.DataFrame,
    features: pd.DataFrame,
    parameters: Mapping[str, LevelParameters],
) -> pd.DataFrame:
    """Rows of ``levels.wave_peaks``: peaks of both profiles by all four methods at each living minute.

    Parameters
    ----------
    dollar_trades : DataFrame
        ``aggregates.dollar_trades`` over ``(window.start - look_back, window.end]``.
    dollar_depth : DataFrame
        ``aggregates.dollar_depth`` over ``(window.start, window.end]``; only snapshots of exactly the minute count.
    features : DataFrame
        ``market.features`` over ``(window.start - 60 s, window.end]``.
    parameters : mapping
        Of every instrument's key.
    """
    ordered = _ordered(instruments)
    pieces: list[tuple[NDArray[Any], ...]] = []
    heads: list[tuple[int, int, int, int]] = []
    for code, instrument in enumerate(ordered):
        chosen = parameters[instrument.key]
        minutes, _ = living_minutes(window, features, instrument.key)
        depth = _DepthProfiles(dollar_depth, instrument)
        trades = _trade_profiles(dollar_trades, instrument, chosen.look_back)
        for minute in minutes.tolist():
            for which, profile in enumerate((depth.at(minute), trades.at(minute))):
                method, entry, measures = _peaks_of(profile, chosen)
                price = profile.bucket[entry] * instrument.bucket_size
                pieces.append((method, price, profile.volume[entry], *measures))
                heads.append((code, minute, which, len(entry)))
    if not any(head[3] for head in heads):
        return WAVE_PEAKS.empty()
    codes, times, profiles, lengths = np.array(heads, dtype=np.int64).T
    method, price, volume, z_score, confidence, distance, prominence, width = _stacked(pieces)
    return pd.DataFrame(
        {
            "instrument": text([instrument.key for instrument in ordered], np.repeat(codes, lengths)),
            "time": np.repeat(times, lengths),
            "profile": text(PROFILES, np.repeat(profiles, lengths)),
            "method": text(METHODS, method),
            "price": price,
            "volume": volume,
            "z_score": z_score,
            "confidence": confidence,
            "distance_sigma": distance,
            "prominence": prominence,
            "width": width,
        }
    )


class _CombinedPeaks:
    """The combined peaks of one instrument and profile, by minute."""

    def __init__(self, wave_peaks: pd.DataFrame, bucket_size: int, profile: str) -> None:
        rows = wave_peaks[(wave_peaks["profile"] == profile).to_numpy(dtype=bool)]
        order = np.lexsort((rows["price"].to_numpy(), rows["time"].to_numpy()))
        self._time = rows["time"].to_numpy(dtype=np.int64)[order]
        self._bucket = rows["price"].to_numpy(dtype=np.int64)[order] // bucket_size
        self._confidence = rows["confidence"].to_numpy(dtype=np.float64)[order]

    def at(self, time: int) -> tuple[Integers, NDArray[np.float64]]:
        first = np.searchsorted(self._time, time, side="left")
        last = np.searchsorted(self._time, time, side="right")
        return self._bucket[first:last], self._confidence[first:last]


def price_zone_rows(
    window: Window,
    instruments: Sequence[Instrument],
    wave_peaks: pd.DataFrame,
    dollar_trades: pd.DataFrame,
    dollar_depth: pd.DataFrame,
    features: pd.DataFrame,
    parameters: Mapping[str, LevelParameters],
) -> pd.DataFrame:
    """Rows of ``levels.price_zones``: zones of the combined peaks of both profiles at each living minute.

    Of the combined ones, not of the more certain scale-space peaks: those are accumulations over several buckets and
    leave single large orders out by design, which may turn a price as well (``docs/market-analysis.md`` has figures).

    Parameters
    ----------
    wave_peaks : DataFrame
        ``levels.wave_peaks`` over ``(window.start, window.end]``.
    dollar_trades, dollar_depth, features, parameters
        As in :func:`wave_peak_rows`. Touches are counted in the trades' minutes for both profiles.
    """
    ordered = _ordered(instruments)
    combined = wave_peaks[(wave_peaks["method"] == "combined").to_numpy(dtype=bool)]
    pieces: list[tuple[NDArray[Any], ...]] = []
    heads: list[tuple[int, int, int, int]] = []
    for code, instrument in enumerate(ordered):
        chosen, size = parameters[instrument.key], instrument.bucket_size
        minutes, references = living_minutes(window, features, instrument.key)
        own = combined.iloc[instrument_rows(combined, instrument.key)]
        peaks = [_CombinedPeaks(own, size, profile) for profile in PROFILES]
        depth = _DepthProfiles(dollar_depth, instrument)
        trades = _trade_profiles(dollar_trades, instrument, chosen.look_back)
        touches = Touches(trades)
        for minute, bid_plus_ask in zip(minutes.tolist(), references.tolist(), strict=True):
            sources: tuple[_DepthProfiles | RollingTradeProfile, ...] = (depth, trades)
            for which, source in enumerate(sources):
                zones = cluster_peaks(*peaks[which].at(minute), chosen.zone_tolerance_buckets)
                if not len(zones):
                    continue
                profile = source.at(minute)
                low, high = zones.low * size, (zones.high + 1) * size
                volume = zone_volumes(profile, zones)
                strength = volume / profile.total
                side = zone_sides(low, high, bid_plus_ask)
                pieces.append((low, high, side, volume, strength, zones.confidence, touches.count(zones, minute)))
                heads.append((code, minute, which, len(zones)))
    if not heads:
        return PRICE_ZONES.empty()
    codes, times, which_profile, lengths = np.array(heads, dtype=np.int64).T
    low, high, side, volume, strength, confidence, entries = _stacked(pieces)
    return pd.DataFrame(
        {
            "instrument": text([instrument.key for instrument in ordered], np.repeat(codes, lengths)),
            "time": np.repeat(times, lengths),
            "profile": text(PROFILES, np.repeat(which_profile, lengths)),
            "low": low,
            "high": high,
            "side": text(SIDES, side.astype(np.int64)),
            "volume": volume,
            "strength": strength,
            "confidence": confidence,
            "touches": entries,
        }
    )


def value_area_rows(
    window: Window,
    instruments: Sequence[Instrument],
    dollar_trades: pd.DataFrame,
    features: pd.DataFrame,
    parameters: Mapping[str, LevelParameters],
) -> pd.DataFrame:
    """Rows of ``levels.value_area``: both expansions of the trade profile at each living minute that has trades.

    Parameters
    ----------
    dollar_trades, features, parameters
        As in :func:`wave_peak_rows`.
    """
    ordered = _ordered(instruments)
    rows: list[tuple[int, int, int, int, int, int, int, int]] = []
    for code, instrument in enumerate(ordered):
        size = instrument.bucket_size
        minutes, _ = living_minutes(window, features, instrument.key)
        trades = _trade_profiles(dollar_trades, instrument, parameters[instrument.key].look_back)
        for minute in minutes.tolist():
            profile = trades.at(minute)
            if not len(profile):
                continue
            for row, expansion in enumerate(EXPANSIONS):
                area = find_value_area(profile, expansion)
                prices = (area.point_of_control * size, area.low * size, area.high * size)
                rows.append((code, minute, row, *prices, area.volume, area.total_volume))
    if not rows:
        return VALUE_AREA.empty()
    codes, times, expansions, control, low, high, volume, total = np.array(rows, dtype=np.int64).T
    return pd.DataFrame(
        {
            "instrument": text([instrument.key for instrument in ordered], codes),
            "time": times,
            "expansion": text(EXPANSIONS, expansions),
            "point_of_control": control,
            "value_area_low": low,
            "value_area_high": high,
            "volume": volume,
            "total_volume": total,
        }
    )
