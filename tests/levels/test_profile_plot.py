from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from signal_assets.fixed_point import SCALE
from signal_assets.levels import Profile
from signal_assets.levels.profile_plot import (
    ACCUMULATION_COLOUR,
    PEAK_COLOUR,
    RESISTANCE_COLOUR,
    SUPPORT_COLOUR,
    VOLUME_COLOUR,
    peak_bars,
    plot_profile,
    profile_outline,
    volume_limit,
)

PROFILE = Profile(np.array([100, 101, 104]), np.array([2, 4, 3]) * SCALE)
PEAKS = pd.DataFrame(
    {
        "method": ["combined", "volume"],
        "price": [101 * SCALE] * 2,
        "volume": [4 * SCALE] * 2,
        "confidence": [0.9, 0.5],
        "width": [1.0] * 2,
    }
)
ZONES = pd.DataFrame(
    {
        "low": [100 * SCALE, 104 * SCALE],
        "high": [102 * SCALE, 105 * SCALE],
        "side": ["support", "resistance"],
        "confidence": [1.0, 1.0],
    }
)
AREA = pd.DataFrame(
    {
        "expansion": ["one_row", "two_row"],
        "point_of_control": [101 * SCALE] * 2,
        "value_area_low": [100 * SCALE] * 2,
        "value_area_high": [101 * SCALE] * 2,
    }
)


def share_of(picture, colour, tolerance=0.02):
    pixels = imread(BytesIO(picture))[..., :3]
    wanted = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return float((np.abs(pixels - wanted).max(axis=2) < tolerance).mean())


def test_the_outline_has_empty_stretches_as_one_step_of_zero():
    edges, heights = profile_outline(PROFILE, SCALE)
    assert edges.tolist() == [100, 101, 102, 104, 105]
    assert heights.tolist() == [2, 4, 0, 3]


def test_the_picture_shows_volume_peaks_and_zones():
    bare = plot_profile(PROFILE, SCALE, title="BTCFDUSD.BINANCE")
    assert bare.startswith(b"\x89PNG")
    assert share_of(bare, VOLUME_COLOUR) > 0.1
    assert share_of(bare, PEAK_COLOUR) == 0
    full = plot_profile(
        PROFILE,
        SCALE,
        title="BTCFDUSD.BINANCE",
        wave_peaks=PEAKS,
        price_zones=ZONES,
        value_area=AREA,
        reference_price=103.0,
    )
    assert share_of(full, PEAK_COLOUR) > 0
    assert full != bare


def test_scale_space_peaks_have_a_mark_of_their_own_as_long_as_they_are_wide():
    # Five buckets of 0.5 around the middle of the bucket [101, 101.5): 101.25 - 1.25 … 101.25 + 1.25.
    assert peak_bars(PEAKS.assign(width=5.0), SCALE // 2).tolist() == [[100.0, 102.5]] * 2
    picture = plot_profile(PROFILE, SCALE, title="", wave_peaks=PEAKS.assign(method="scale_space"))
    assert share_of(picture, ACCUMULATION_COLOUR) > 0
    assert share_of(picture, PEAK_COLOUR) == 0
    assert share_of(plot_profile(PROFILE, SCALE, title="", wave_peaks=PEAKS), ACCUMULATION_COLOUR) == 0


@pytest.mark.parametrize(("side", "colour"), [("support", SUPPORT_COLOUR), ("resistance", RESISTANCE_COLOUR)])
def test_each_side_has_its_colour(side, colour):
    picture = plot_profile(PROFILE, SCALE, title="", price_zones=ZONES[ZONES["side"] == side])
    # A zone of confidence 1 is drawn at 42 % over white.
    blended = [0.42 * int(colour[i : i + 2], 16) / 255 + 0.58 for i in (1, 3, 5)]
    over_white = "#" + "".join(f"{round(part * 255):02x}" for part in blended)
    assert share_of(picture, over_white) > 0.01


def test_one_huge_bucket_does_not_flatten_the_others():
    volume = np.full(100, 4) * SCALE
    volume[50] = 4_000 * SCALE
    profile = Profile(np.arange(100), volume)
    assert volume_limit(profile) == 20.0  # five times the 4 that 98 of 100 buckets stay within
    assert volume_limit(PROFILE) == 4.0
    # Bars of 4 on an axis to 20 x 1.15 fill more than a tenth of the frame; on one to 4,000 they would be invisible.
    assert share_of(plot_profile(profile, SCALE, title="cut"), VOLUME_COLOUR) > 0.1


def test_an_empty_profile_is_said_not_to_have_volume():
    nothing = Profile(np.empty(0, np.int64), np.empty(0, np.int64))
    picture = plot_profile(nothing, SCALE, title="quiet")
    assert picture.startswith(b"\x89PNG")
    assert share_of(picture, VOLUME_COLOUR) == 0
