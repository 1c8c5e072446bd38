"""A picture of one profile with its peaks, zones, point of control and value area.

Belongs here: drawing. Does not belong here: anything that is computed for a table.
"""

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from signal_assets.canvas import Canvas
from signal_assets.fixed_point import SCALE
from signal_assets.levels.profile import Profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VOLUME_COLOUR: Final = "#9aa5b1"
VALUE_AREA_COLOUR: Final = "#5b7ea4"
SUPPORT_COLOUR: Final = "#2e8b57"
RESISTANCE_COLOUR: Final = "#c0504d"
PEAK_COLOUR: Final = "#e08e0b"
ACCUMULATION_COLOUR: Final = "#7b1fa2"
MAXIMUM_LABELS: Final = 12


def profile_outline(profile: Profile, bucket_size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges (quote currency) and heights (base units) of the profile as steps, empty stretches as one step of zero."""
    gap = np.flatnonzero(np.diff(profile.bucket) > 1)
    starts = np.insert(profile.bucket, gap + 1, profile.bucket[gap] + 1)
    heights = np.insert(profile.base_volume, gap + 1, 0.0)
    edges = np.append(starts, profile.bucket[-1:] + 1) * (bucket_size / SCALE)
    return np.asarray(edges, dtype=np.float64), heights


def volume_limit(profile: Profile) -> float:
    """Where the volume axis ends: the largest bucket, but not beyond five times what 98 of 100 buckets stay within.

    One huge order must not flatten everything else.
    """
    if len(profile) == 0:
        return 1.0
    volume = profile.base_volume
    return float(min(volume.max(), 5 * np.percentile(volume, 98)))


def plot_profile(
    profile: Profile,
    bucket_size: int,
    *,
    title: str,
    wave_peaks: pd.DataFrame | None = None,
    price_zones: pd.DataFrame | None = None,
    value_area: pd.DataFrame | None = None,
    reference_price: float | None = None,
) -> bytes:
    """Horizontal price-volume profile as PNG bytes.

    Parameters
    ----------
    profile : Profile
        What is drawn.
    bucket_size : int
        Width of its buckets, units of 1e-8.
    wave_peaks, price_zones, value_area : DataFrame or None
        Rows of the levels tables of the same instrument, time and profile. Of the peaks the combined ones are dots,
        those of scale space diamonds with a bar as long as they are wide; the most confident of these are named, of the
        combined ones where there are none. Of the value area the two-row one is shaded.
    reference_price : float or None
        Mid price, drawn as a line.

    Returns
    -------
    bytes
        A PNG file.
    """
    canvas = Canvas(title, (7.5, 6.5))
    axes = canvas.axes[0]
    axes.set_xlabel("volume per bucket, base units")
    axes.set_ylabel("price, quote currency")
    if len(profile) == 0:
        canvas.say("no volume in the look-back")
    else:
        edges, heights = profile_outline(profile, bucket_size)
        axes.stairs(heights, edges, orientation="horizontal", fill=True, color=VOLUME_COLOUR, label="volume")
        room = 0.01 * (edges[-1] - edges[0])
        axes.set_ylim(edges[0] - room, edges[-1] + room)
        limit = volume_limit(profile)
        axes.set_xlim(0, limit * 1.15)
        if limit < float(heights.max()):
            axes.set_xlabel(f"volume per bucket, base units (cut: the largest holds {heights.max():,.6g})")
    if price_zones is not None:
        _draw_zones(axes, price_zones)
    if value_area is not None:
        _draw_value_area(axes, value_area[value_area["expansion"] == "two_row"], bucket_size)
    if wave_peaks is not None:
        accumulations = wave_peaks[(wave_peaks["method"] == "scale_space").to_numpy()]
        combined = wave_peaks[(wave_peaks["method"] == "combined").to_numpy()]
        limit = volume_limit(profile)
        _draw_peaks(axes, combined, bucket_size, limit)
        _draw_accumulations(axes, accumulations, bucket_size, limit)
        _name_peaks(axes, combined if accumulations.empty else accumulations, bucket_size, limit)
    if reference_price is not None:
        axes.axhline(reference_price, color="black", linewidth=0.9, linestyle=":", label="mid price")
    axes.ticklabel_format(axis="y", useOffset=False, style="plain")
    return canvas.png()


def _draw_zones(axes: "Axes", zones: pd.DataFrame) -> None:
    for side, colour in (("support", SUPPORT_COLOUR), ("resistance", RESISTANCE_COLOUR)):
        chosen = zones[zones["side"] == side]
        for number, (low, high, confidence) in enumerate(
            zip(chosen["low"], chosen["high"], chosen["confidence"], strict=True)
        ):
            axes.axhspan(
                low / SCALE,
                high / SCALE,
                color=colour,
                alpha=0.12 + 0.3 * confidence,
                linewidth=0,
                label=side if number == 0 else None,
            )


def _draw_value_area(axes: "Axes", area: pd.DataFrame, bucket_size: int) -> None:
    for control, low, high in zip(
        area["point_of_control"], area["value_area_low"], area["value_area_high"], strict=True
    ):
        axes.axhspan(
            low / SCALE, (high + bucket_size) / SCALE, color=VALUE_AREA_COLOUR, alpha=0.1, label="value area 70 %"
        )
        axes.axhline(
            (control + bucket_size / 2) / SCALE, color=VALUE_AREA_COLOUR, linewidth=1.6, label="point of control"
        )


def peak_bars(peaks: pd.DataFrame, bucket_size: int) -> NDArray[np.float64]:
    """Lower and upper end of each peak's width around the middle of its bucket, quote currency, shape (n, 2)."""
    middle = peaks["price"].to_numpy(dtype=np.int64) + bucket_size / 2
    half = peaks["width"].to_numpy(dtype=np.float64) * bucket_size / 2
    return np.asarray(np.column_stack((middle - half, middle + half)) / SCALE, dtype=np.float64)


def _places(peaks: pd.DataFrame, bucket_size: int, limit: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where peaks are marked: the volume, as far as the axis goes, and the middle of the bucket."""
    volume = np.minimum(peaks["volume"].to_numpy(dtype=np.int64) / SCALE, limit)
    return volume, (peaks["price"].to_numpy(dtype=np.int64) + bucket_size / 2) / SCALE


def _draw_peaks(axes: "Axes", peaks: pd.DataFrame, bucket_size: int, limit: float) -> None:
    if peaks.empty:
        return
    confidence = peaks["confidence"].to_numpy()
    axes.scatter(
        *_places(peaks, bucket_size, limit), s=12 + 40 * confidence, color=PEAK_COLOUR, zorder=3, label="combined peaks"
    )


def _draw_accumulations(axes: "Axes", peaks: pd.DataFrame, bucket_size: int, limit: float) -> None:
    if peaks.empty:
        return
    volume, middle = _places(peaks, bucket_size, limit)
    axes.vlines(volume, *peak_bars(peaks, bucket_size).T, color=ACCUMULATION_COLOUR, linewidth=2.2, alpha=0.8, zorder=4)
    axes.scatter(
        volume,
        middle,
        s=55,
        marker="D",
        color=ACCUMULATION_COLOUR,
        edgecolors="white",
        linewidths=0.8,
        zorder=5,
        label="scale-space peaks, with their width",
    )


def _name_peaks(axes: "Axes", peaks: pd.DataFrame, bucket_size: int, limit: float) -> None:
    volume, middle = _places(peaks, bucket_size, limit)
    confidence = peaks["confidence"].to_numpy()
    for i in np.argsort(-confidence, kind="stable")[:MAXIMUM_LABELS]:
        axes.annotate(
            f"{peaks['price'].iloc[i] / SCALE:,.8g}  {confidence[i]:.2f}",
            (volume[i], middle[i]),
            xytext=(7, 0),
            textcoords="offset points",
            fontsize=8,
            va="center",
        )
