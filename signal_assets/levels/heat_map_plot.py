"""A picture of volume over price and time – resting or traded – with the peaks and zones found in it.

Belongs here: drawing. Does not belong here: anything that is computed for a table.
"""

from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from signal_assets.canvas import Canvas, day_number
from signal_assets.event_time import MINUTE
from signal_assets.fixed_point import SCALE
from signal_assets.levels.profile import Profile
from signal_assets.levels.profile_plot import (
    ACCUMULATION_COLOUR,
    PEAK_COLOUR,
    RESISTANCE_COLOUR,
    SUPPORT_COLOUR,
    peak_bars,
    profile_outline,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]

PROFILE_COLOUR: Final = "#7f95b2"
MID_COLOUR: Final = "#111111"
SIDE_COLOURS: Final = {"support": SUPPORT_COLOUR, "resistance": RESISTANCE_COLOUR}
VOLUME_SHADES: Final = ("#f3f6fa", "#b9cbe0", "#5f7fa8", "#22395c")
"""From little volume to much: greyish, so that the colours of peaks and zones stand out."""
MARGIN: Final = 0.35
"""How far the price axis reaches beyond the prices there were, as a share of their range; what lies farther is cut."""
LEAST_BUCKETS: Final = 30
"""And at least so many buckets, where prices hardly moved."""
MOST_COLUMNS: Final = 300
MOST_ROWS: Final = 220
MOST_PEAK_TIMES: Final = 60
"""Times at which peaks are marked: a dot a minute would cover everything."""
MOST_AT_A_TIME: Final = 10
"""Peaks and zones of one time: the most confident of those in sight."""
MOST_ZONE_TIMES: Final = 180
"""Times at which zones are drawn, each up to the next one."""


def price_range(features: pd.DataFrame, bucket_size: int) -> tuple[int, int]:
    """First and last bucket number that are shown: the prices there were and some room."""
    bid, ask = features["best_bid"].to_numpy(dtype=np.int64), features["best_ask"].to_numpy(dtype=np.int64)
    low, high = int(bid.min()) // bucket_size, int(ask.max()) // bucket_size
    room = max(round(MARGIN * (high - low)), LEAST_BUCKETS)
    return low - room, high + room


def binned(
    cells: pd.DataFrame, first: int, last: int, bucket_size: int, together: Literal["mean", "sum"]
) -> tuple[Reals, Reals, Reals]:
    """Volume per cell of a grid that a picture can show.

    Parameters
    ----------
    cells : DataFrame
        time (µs UTC), price_bucket and quantity, units of 1e-8; a cell may come more than once.
    first, last : int
        Bucket numbers shown.
    together : str
        Minutes that share a column: their mean (what rests) or their sum (what was traded).

    Returns
    -------
    times, prices : ndarray of float64
        Edges of the columns (days since 1970) and rows (quote currency).
    volume : ndarray of float64, shape (rows, columns)
        Base units per bucket; 0 where there is nothing.
    """
    time = cells["time"].to_numpy(dtype=np.int64)
    minute = -(-time // MINUTE)  # in which it ends; snapshots may come more often
    begin, minutes = int(minute.min()) - 1, int(minute.max() - minute.min()) + 1
    wide, tall = -(-minutes // MOST_COLUMNS), -(-(last - first + 1) // MOST_ROWS)
    columns, rows = -(-minutes // wide), -(-(last - first + 1) // tall)
    number = cells["price_bucket"].to_numpy(dtype=np.int64) // bucket_size
    inside = (number >= first) & (number <= last)
    column = (minute - begin - 1) // wide
    row = (number[inside] - first) // tall
    weight = cells["quantity"].to_numpy(dtype=np.int64)[inside] / (SCALE * tall)
    held = np.bincount(row * columns + column[inside], weights=weight, minlength=rows * columns)
    volume: Reals = np.asarray(held, dtype=np.float64).reshape(rows, columns)
    if together == "mean":
        of_column = np.bincount(column[np.unique(time, return_index=True)[1]], minlength=columns)
        volume = volume / np.maximum(of_column, 1)
    edges = (begin + np.arange(columns + 1) * wide) * MINUTE
    return day_number(edges), np.asarray((first + np.arange(rows + 1) * tall) * (bucket_size / SCALE)), volume


def plot_heat_map(
    cells: pd.DataFrame,
    features: pd.DataFrame,
    bucket_size: int,
    *,
    title: str,
    together: Literal["mean", "sum"],
    wave_peaks: pd.DataFrame,
    price_zones: pd.DataFrame,
    profile: Profile,
) -> bytes:
    """Volume over price and time as PNG bytes, the newest profile beside it.

    Parameters
    ----------
    cells : DataFrame
        time, price_bucket, quantity of one instrument: minutes of ``aggregates.dollar_trades`` or snapshots of
        ``aggregates.dollar_depth``.
    features : DataFrame
        time, best_bid, best_ask: the line of the mid price; at least one row.
    bucket_size : int
        Width of a bucket, units of 1e-8.
    together : str
        See :func:`binned`.
    wave_peaks, price_zones : DataFrame
        Rows of the levels tables of the same instrument and profile; combined peaks are dots, those of scale space
        diamonds with a bar as long as they are wide, zones bands over the minute for which they were known.
    profile : Profile
        As it stood at the end, drawn at the side.

    Returns
    -------
    bytes
        A PNG file.
    """
    canvas = Canvas(title, (11.5, 6.0))
    axes = canvas.axes[0]
    axes.set_ylabel("price, quote currency")
    if cells.empty or features.empty:
        canvas.say("nothing on this day")
        return canvas.png()
    first, last = price_range(features, bucket_size)
    times, prices, volume = binned(cells, first, last, bucket_size, together)
    _draw_volume(axes, times, prices, volume)
    _draw_zones(axes, price_zones)
    edges = first * bucket_size, (last + 1) * bucket_size
    wave_peaks = wave_peaks[wave_peaks["price"].between(*edges)]
    combined = wave_peaks[(wave_peaks["method"] == "combined").to_numpy()]
    accumulations = wave_peaks[(wave_peaks["method"] == "scale_space").to_numpy()]
    price_zones = price_zones[(price_zones["high"] > edges[0]) & (price_zones["low"] < edges[1])]
    _draw_peaks(axes, combined, bucket_size)
    _draw_accumulations(axes, accumulations, bucket_size)
    _draw_mid(axes, features)
    axes.set_ylim(prices[0], prices[-1])
    canvas.show_time(cells["time"].to_numpy(dtype=np.int64))
    axes.set_xlim(times[0], times[-1])
    axes.ticklabel_format(axis="y", useOffset=False, style="plain")
    newest = [_every(rows[rows["time"] == rows["time"].max()], 1)[0] for rows in (price_zones, combined)]
    at_the_end = accumulations[accumulations["time"] == wave_peaks["time"].max()]
    _draw_profile(axes, profile, first, last, bucket_size, newest[0], (newest[1], at_the_end))
    return canvas.png()


def _draw_volume(axes: "Axes", times: Reals, prices: Reals, volume: Reals) -> None:
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    held = volume[volume > 0]
    if not len(held):
        return
    # Volumes are spread over many powers of ten: without the logarithm one wall would leave the rest white.
    top = float(np.percentile(held, 99.8))
    norm = LogNorm(min(float(np.percentile(held, 20)), top / 10), top, clip=True)
    shades = LinearSegmentedColormap.from_list("volume", VOLUME_SHADES)
    axes.pcolormesh(times, prices, np.ma.masked_equal(volume, 0), cmap=shades, norm=norm, rasterized=True, zorder=0)


def _draw_zones(axes: "Axes", zones: pd.DataFrame) -> None:
    from matplotlib.collections import LineCollection, PolyCollection

    shown, stride = _every(zones, MOST_ZONE_TIMES)
    for side, colour in SIDE_COLOURS.items():
        chosen = shown[(shown["side"] == side).to_numpy()]
        if chosen.empty:
            continue
        start, end = day_number(chosen["time"].to_numpy()), day_number(chosen["time"].to_numpy() + stride * MINUTE)
        low, high = chosen["low"].to_numpy() / SCALE, chosen["high"].to_numpy() / SCALE
        confidence = chosen["confidence"].to_numpy()
        corners = np.stack([[start, start, end, end], [low, high, high, low]]).transpose(2, 1, 0)
        axes.add_collection(
            PolyCollection(list(corners), facecolors=colour, alpha=0.1 + 0.3 * confidence, linewidths=0, zorder=1),
            autolim=False,
        )
        # A zone is often one bucket of many hundreds, thinner than a pixel: its middle is a line of some width.
        middle = (low + high) / 2
        lines = np.stack([[start, end], [middle, middle]]).transpose(2, 1, 0)
        axes.add_collection(
            LineCollection(list(lines), colors=colour, alpha=0.25 + 0.65 * confidence, linewidths=1.4, zorder=1),
            autolim=False,
        )
        axes.plot([], [], color=colour, linewidth=3, label=side)


def _every(rows: pd.DataFrame, most: int) -> tuple[pd.DataFrame, int]:
    """The most confident rows of every n-th minute, so that at most ``most`` minutes are left, and n."""
    if rows.empty:
        return rows, 1
    minute = rows["time"].to_numpy(dtype=np.int64) // MINUTE
    stride = -(-int(minute.max() - minute.min() + 1) // most)
    kept = rows[minute % stride == 0].sort_values(["time", "confidence"], ascending=[True, False], kind="stable")
    return kept[(kept.groupby("time").cumcount() < MOST_AT_A_TIME).to_numpy()], stride


def _draw_peaks(axes: "Axes", peaks: pd.DataFrame, bucket_size: int) -> None:
    if peaks.empty:
        return
    chosen, _ = _every(peaks, MOST_PEAK_TIMES)
    marked = chosen["time"].nunique()
    axes.scatter(
        day_number(chosen["time"].to_numpy(dtype=np.int64)),
        (chosen["price"].to_numpy(dtype=np.int64) + bucket_size / 2) / SCALE,
        s=(1 + 9 * chosen["confidence"].to_numpy()) * (1 + 30 / (10 + marked)),
        color=PEAK_COLOUR,
        edgecolors="white",
        linewidths=0.3,
        zorder=2,
        label="combined peaks",
    )


def _draw_accumulations(axes: "Axes", peaks: pd.DataFrame, bucket_size: int) -> None:
    if peaks.empty:
        return
    chosen, _ = _every(peaks, MOST_PEAK_TIMES)
    time = day_number(chosen["time"].to_numpy(dtype=np.int64))
    axes.vlines(time, *peak_bars(chosen, bucket_size).T, color=ACCUMULATION_COLOUR, linewidth=1.4, alpha=0.6, zorder=2)
    axes.scatter(
        time,
        (chosen["price"].to_numpy(dtype=np.int64) + bucket_size / 2) / SCALE,
        s=22 * (1 + 10 / (10 + chosen["time"].nunique())),
        marker="D",
        color=ACCUMULATION_COLOUR,
        edgecolors="white",
        linewidths=0.4,
        zorder=2.5,
        label="scale-space peaks, with their width",
    )


def _draw_mid(axes: "Axes", features: pd.DataFrame) -> None:
    time = features["time"].to_numpy(dtype=np.int64)
    order = np.argsort(time, kind="stable")
    time = time[order]
    mid = ((features["best_bid"] + features["best_ask"]).to_numpy(dtype=np.int64) / (2 * SCALE))[order]
    gaps = np.flatnonzero(np.diff(time) > MINUTE) + 1
    x, y = day_number(np.insert(time, gaps, time[gaps])), np.insert(mid, gaps, np.nan)
    axes.plot(x, y, color="white", linewidth=2.2, zorder=3)
    axes.plot(x, y, color=MID_COLOUR, linewidth=1.0, zorder=4, label="mid price")


def _draw_profile(
    axes: "Axes",
    profile: Profile,
    first: int,
    last: int,
    bucket_size: int,
    zones: pd.DataFrame,
    marked: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    """The profile at the side, with the zones and the combined and scale-space peaks of the newest time."""
    from matplotlib.ticker import MaxNLocator

    inside = (profile.bucket >= first) & (profile.bucket <= last)
    shown = Profile(profile.bucket[inside], profile.volume[inside])
    side = axes.inset_axes((1.03, 0.0, 0.17, 1.0), sharey=axes)
    side.spines[["top", "right"]].set_visible(False)
    side.tick_params(labelleft=False, labelsize=8)
    side.set_title("profile at the end", fontsize=8, loc="left")
    side.set_xlabel("base units", fontsize=8)
    side.xaxis.set_major_locator(MaxNLocator(3, prune="lower"))
    if not len(shown):
        return
    edges, heights = profile_outline(shown, bucket_size)
    side.stairs(heights, edges, orientation="horizontal", fill=True, color=PROFILE_COLOUR)
    limit = float(np.percentile(heights[heights > 0], 99))
    side.set_xlim(0, limit * 1.15)
    for name, colour in SIDE_COLOURS.items():
        for low, high in zones.loc[(zones["side"] == name).to_numpy(), ["low", "high"]].to_numpy().tolist():
            side.axhspan(low / SCALE, high / SCALE, color=colour, alpha=0.3, linewidth=0, zorder=0)
    for peaks, colour, marker in zip(marked, (PEAK_COLOUR, ACCUMULATION_COLOUR), ("o", "D"), strict=True):
        volume = np.minimum(peaks["volume"].to_numpy(dtype=np.int64) / SCALE, limit * 1.1)
        middle = (peaks["price"].to_numpy(dtype=np.int64) + bucket_size / 2) / SCALE
        size = 4 + 20 * peaks["confidence"].to_numpy()
        side.scatter(volume, middle, s=size, marker=marker, color=colour, edgecolors="white", linewidths=0.3, zorder=2)
