"""Pictures of a day: profiles as they stood at its last minute, and what rested and traded over price and time.

Belongs here: reading what a picture needs. Does not belong here: drawing (``profile_plot``, ``heat_map_plot``).
"""

from collections.abc import Iterable
from datetime import date

import pandas as pd

from resources.lake import Lake
from resources.settings import Settings
from signal_assets.aggregates.tables import DOLLAR_DEPTH, DOLLAR_TRADES
from signal_assets.event_time import MINUTE, iso
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from signal_assets.levels.derivations import BEST_PRICES, level_parameters
from signal_assets.levels.heat_map_plot import plot_heat_map
from signal_assets.levels.profile import Profile, depth_profile, trade_profile
from signal_assets.levels.profile_plot import plot_profile
from signal_assets.levels.tables import PRICE_ZONES, VALUE_AREA, WAVE_PEAKS
from signal_assets.market.tables import FEATURES
from signal_assets.picture import Picture
from signal_assets.window import Window


def profile_pictures(lake: Lake, settings: Settings, day: date, instrument_keys: Iterable[str]) -> list[Picture]:
    """Trade and depth profile of each instrument at the last minute of ``day`` that has peaks; none without data."""
    lake.ensure([WAVE_PEAKS, PRICE_ZONES, VALUE_AREA, DOLLAR_TRADES, DOLLAR_DEPTH, FEATURES])
    pictures = []
    window = Window.of_day(day)
    look_back = {key: item.look_back for key, item in level_parameters(settings).items()}
    for key in instrument_keys:
        instrument = settings.instruments_by_key[key]
        peaks = lake.read(WAVE_PEAKS, start=window.start, end=window.end, instruments=[key])
        for profile in ("trades", "depth"):
            of_profile = peaks[peaks["profile"] == profile]
            if of_profile.empty:
                continue
            time = int(of_profile["time"].max())
            title = f"{key}: profile of {profile} at {iso(time)}"
            drawn = _drawn(
                lake, instrument, profile, time, look_back[key], of_profile[of_profile["time"] == time], title
            )
            pictures.append(Picture(f"{profile}_{key}", title, drawn))
    return pictures


def _drawn(
    lake: Lake, instrument: Instrument, profile: str, time: int, look_back: int, peaks: pd.DataFrame, title: str
) -> bytes:
    keys = [instrument.key]
    zones = lake.read(PRICE_ZONES, start=time - 1, end=time, instruments=keys)
    area = lake.read(VALUE_AREA, start=time - 1, end=time, instruments=keys)
    best = lake.read(FEATURES, start=time - MINUTE, end=time, instruments=keys, columns=BEST_PRICES.columns)
    drawn = _profile_at(lake, instrument, profile, time, look_back)
    reference = None if best.empty else float(best["best_bid"].iloc[-1] + best["best_ask"].iloc[-1]) / 2 / SCALE
    return plot_profile(
        drawn,
        instrument.bucket_size,
        title=title,
        wave_peaks=peaks,
        price_zones=zones[zones["profile"] == profile],
        value_area=area if profile == "trades" else None,
        reference_price=reference,
    )


def _profile_at(lake: Lake, instrument: Instrument, profile: str, time: int, look_back: int) -> Profile:
    if profile == "trades":
        trades = lake.read(DOLLAR_TRADES, start=time - look_back, end=time, instruments=[instrument.key])
        return trade_profile(trades, instrument.bucket_size, time, look_back)
    depth = lake.read(DOLLAR_DEPTH, start=time - 1, end=time, instruments=[instrument.key])
    return depth_profile(depth["price_bucket"].to_numpy(), depth["quantity"].to_numpy(), instrument.bucket_size)


def heat_map_pictures(lake: Lake, settings: Settings, day: date, instrument_keys: Iterable[str]) -> list[Picture]:
    """What rested and what traded over price and time of ``day``, with peaks and zones; none without data."""
    lake.ensure([WAVE_PEAKS, PRICE_ZONES, DOLLAR_TRADES, DOLLAR_DEPTH, FEATURES])
    pictures = []
    window = Window.of_day(day)
    parameters = level_parameters(settings)
    for key in instrument_keys:
        instrument, start, end = settings.instruments_by_key[key], window.start, window.end
        features = lake.read(FEATURES, start=start, end=end, instruments=[key], columns=BEST_PRICES.columns)
        peaks = lake.read(WAVE_PEAKS, start=start, end=end, instruments=[key])
        zones = lake.read(PRICE_ZONES, start=start, end=end, instruments=[key])
        for profile, words in (("depth", "resting orders"), ("trades", "traded volume")):
            cells = _cells(lake, key, profile, window)
            if cells.empty or features.empty:
                continue
            title = f"{key} on {day}: {words} over price and time, with peaks and zones"
            png = plot_heat_map(
                cells,
                features,
                instrument.bucket_size,
                title=title,
                together="mean" if profile == "depth" else "sum",
                wave_peaks=peaks[(peaks["profile"] == profile).to_numpy()],
                price_zones=zones[(zones["profile"] == profile).to_numpy()],
                profile=_profile_at(lake, instrument, profile, int(cells["time"].max()), parameters[key].look_back),
            )
            pictures.append(Picture(f"heat_{profile}_{key}", title, png))
    return pictures


def _cells(lake: Lake, key: str, profile: str, window: Window) -> pd.DataFrame:
    """time, price_bucket and quantity of what rested or was traded."""
    if profile == "depth":
        columns = ["event_time", "price_bucket", "quantity"]
        depth = lake.read(DOLLAR_DEPTH, start=window.start, end=window.end, instruments=[key], columns=columns)
        return depth.rename(columns={"event_time": "time"})
    trades = lake.read(DOLLAR_TRADES, start=window.start, end=window.end, instruments=[key])
    quantity = trades["buy_quantity"] + trades["sell_quantity"]
    return pd.DataFrame({"time": trades["minute"], "price_bucket": trades["price_bucket"], "quantity": quantity})
