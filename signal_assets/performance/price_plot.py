"""A picture of one instrument's day: mid price, zones as they stood, signals and fills.

Belongs here: drawing. Does not belong here: anything that is computed for a table.
"""

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from signal_assets.canvas import Canvas, day_number
from signal_assets.event_time import MINUTE
from signal_assets.fixed_point import SCALE
from signal_assets.levels.profile_plot import RESISTANCE_COLOUR, SUPPORT_COLOUR

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PRICE_COLOUR: Final = "#3e4c59"
BUY_COLOUR: Final = "#0b8457"
SELL_COLOUR: Final = "#b3261e"
FILL_COLOURS: Final = {"buy": BUY_COLOUR, "sell": SELL_COLOUR}
ACTION_MARKERS: Final = {"buy": ("^", BUY_COLOUR), "sell": ("v", SELL_COLOUR)}
STATUS_SHADES: Final = {"validated": 1.0, "rejected": 0.35, "duplicate": 0.2}
"""How strongly a signal of each status is drawn; what failed proposes nothing and is not drawn."""

MARGIN: Final = 0.15
"""How far the price axis reaches beyond the day's prices, as a share of their range: distant zones are cut off."""


def plot_price(
    features: pd.DataFrame,
    *,
    title: str,
    price_zones: pd.DataFrame | None = None,
    signals: pd.DataFrame | None = None,
    fills: pd.DataFrame | None = None,
) -> bytes:
    """Mid price of one instrument over a day as PNG bytes, with what was seen and done.

    Parameters
    ----------
    features : DataFrame
        Rows of ``market.features`` of the instrument: time, best_bid, best_ask. Stretches of more than a minute
        without a row are left open.
    price_zones : DataFrame or None
        Rows of ``levels.price_zones`` of the instrument and one profile; each is drawn over the minute that follows,
        for which it was known.
    signals : DataFrame or None
        Rows of ``signals.signals`` of the instrument: a triangle up (buy) or down (sell) at the price and time of the
        decision, pale where it was rejected, paler where it was a duplicate.
    fills : DataFrame or None
        Rows of ``execution.fills`` of the instrument: a ring at price and time.

    Returns
    -------
    bytes
        A PNG file.
    """
    canvas = Canvas(title, (11, 5.5))
    axes = canvas.axes[0]
    axes.set_ylabel("price, quote currency")
    if features.empty:
        canvas.say("no prices on this day")
        return canvas.png()
    _draw_price(axes, features)
    if price_zones is not None:
        _draw_zones(axes, price_zones)
    if signals is not None:
        _draw_signals(axes, signals)
    if fills is not None:
        _draw_fills(axes, fills)
    canvas.show_time(features["time"].to_numpy(dtype=np.int64))
    axes.ticklabel_format(axis="y", useOffset=False, style="plain")
    return canvas.png()


def _draw_price(axes: "Axes", features: pd.DataFrame) -> None:
    ordered = features.sort_values("time", kind="stable")
    time = ordered["time"].to_numpy(dtype=np.int64)
    mid = (ordered["best_bid"].to_numpy(dtype=np.int64) + ordered["best_ask"].to_numpy(dtype=np.int64)) / (2 * SCALE)
    gaps = np.flatnonzero(np.diff(time) > MINUTE) + 1
    axes.plot(
        day_number(np.insert(time, gaps, time[gaps])),
        np.insert(mid, gaps, np.nan),
        color=PRICE_COLOUR,
        linewidth=0.9,
        zorder=2,
        label="mid price",
    )
    low, high = float(mid.min()), float(mid.max())
    room = MARGIN * (high - low) or 0.001 * high
    axes.set_ylim(low - room, high + room)


def _draw_zones(axes: "Axes", zones: pd.DataFrame) -> None:
    from matplotlib.collections import PolyCollection

    for side, colour in (("support", SUPPORT_COLOUR), ("resistance", RESISTANCE_COLOUR)):
        chosen = zones[(zones["side"] == side).to_numpy()]
        if chosen.empty:
            continue
        start, end = day_number(chosen["time"].to_numpy()), day_number(chosen["time"].to_numpy() + MINUTE)
        low, high = chosen["low"].to_numpy() / SCALE, chosen["high"].to_numpy() / SCALE
        corners = np.stack([[start, start, end, end], [low, high, high, low]]).transpose(2, 1, 0)
        shades = np.clip(0.12 + 0.3 * chosen["confidence"].to_numpy(), 0, 1)
        zone = PolyCollection(list(corners), facecolors=colour, alpha=shades, linewidths=0, zorder=1, label=side)
        axes.add_collection(zone, autolim=False)


def _draw_signals(axes: "Axes", signals: pd.DataFrame) -> None:
    for action, (marker, colour) in ACTION_MARKERS.items():
        for status, shade in STATUS_SHADES.items():
            chosen = signals[((signals["action"] == action) & (signals["status"] == status)).to_numpy()]
            if chosen.empty:
                continue
            axes.scatter(
                day_number(chosen["event_time"].to_numpy()),
                chosen["entry_price"].to_numpy(dtype=np.int64) / SCALE,
                marker=marker,
                s=60,
                color=colour,
                alpha=shade,
                linewidths=0,
                zorder=4,
                label=f"{action}, {status}",
            )


def _draw_fills(axes: "Axes", fills: pd.DataFrame) -> None:
    for side, colour in FILL_COLOURS.items():
        chosen = fills[(fills["side"] == side).to_numpy()]
        if chosen.empty:
            continue
        axes.scatter(
            day_number(chosen["time"].to_numpy()),
            chosen["price"].to_numpy(dtype=np.int64) / SCALE,
            s=45,
            facecolors="none",
            edgecolors=colour,
            linewidths=1.4,
            zorder=5,
            label=f"filled {side}",
        )
