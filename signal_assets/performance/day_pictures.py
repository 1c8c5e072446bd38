"""Pictures of a day: prices with what was seen and done, and what the accounts were worth.

Belongs here: reading what a picture needs. Does not belong here: drawing (``price_plot``, ``equity_plot``).
"""

from collections.abc import Iterable
from datetime import date

from resources.lake import Lake
from resources.settings import Settings
from signal_assets.execution.tables import FILLS
from signal_assets.instrument import whole_group
from signal_assets.levels.tables import PRICE_ZONES
from signal_assets.market.tables import FEATURES
from signal_assets.performance.equity_plot import plot_equity
from signal_assets.performance.price_plot import plot_price
from signal_assets.performance.tables import EQUITY
from signal_assets.picture import Picture
from signal_assets.signals.tables import SIGNALS
from signal_assets.window import Window


def equity_pictures(lake: Lake, settings: Settings, day: date) -> list[Picture]:
    """Growth and drawdown of the accounts of each group over the minutes of ``day``; none without minutes."""
    lake.ensure([EQUITY])
    window = Window.of_day(day)
    pictures = []
    for group in settings.groups:
        rows = lake.read(EQUITY, start=window.start, end=window.end, instruments=[whole_group(group)])
        if len(rows):
            title = f"{group}: equity and drawdown of each strategy and of the portfolio on {day}"
            pictures.append(Picture(f"equity_{group}", title, plot_equity(rows, title=title)))
    return pictures


def price_pictures(lake: Lake, settings: Settings, day: date, instrument_keys: Iterable[str]) -> list[Picture]:
    """Mid price of each instrument on ``day``, zones of the trade profile, signals and fills; none without prices."""
    del settings
    lake.ensure([FEATURES, PRICE_ZONES, SIGNALS, FILLS])
    window = Window.of_day(day)
    pictures = []
    for key in instrument_keys:
        start, end, keys = window.start, window.end, [key]
        features = lake.read(FEATURES, start=start, end=end, instruments=keys, columns=["time", "best_bid", "best_ask"])
        if features.empty:
            continue
        zones = lake.read(PRICE_ZONES, start=start, end=end, instruments=keys)
        signals = lake.read(SIGNALS, start=start, end=end, instruments=keys)
        fills = lake.read(FILLS, start=start, end=end, instruments=keys)
        title = f"{key} on {day}: price with zones, signals ({len(signals)}) and fills ({len(fills)})"
        png = plot_price(
            features,
            title=title,
            price_zones=zones[zones["profile"] == "trades"],
            signals=signals,
            fills=fills,
        )
        pictures.append(Picture(f"price_{key}", title, png))
    return pictures
