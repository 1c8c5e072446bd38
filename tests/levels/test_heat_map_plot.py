import numpy as np
import pandas as pd
import pytest

from signal_assets.event_time import DAY, MINUTE, SECOND
from signal_assets.fixed_point import SCALE
from signal_assets.levels.heat_map_plot import MOST_COLUMNS, MOST_ROWS, binned, plot_heat_map, price_range
from signal_assets.levels.profile import Profile
from signal_assets.levels.profile_plot import ACCUMULATION_COLOUR, PEAK_COLOUR, RESISTANCE_COLOUR, SUPPORT_COLOUR
from tests.levels.test_profile_plot import share_of

MIDNIGHT = 20_000 * DAY


def cells(*rows):
    frame = pd.DataFrame(rows, columns=["time", "price_bucket", "quantity"])
    return frame.assign(time=MIDNIGHT + frame["time"] * MINUTE) * [1, SCALE, SCALE]


def features(low, high):
    time = MIDNIGHT + np.arange(1, 11) * 60 * SECOND
    bid = np.linspace(low, high - 1, 10).astype(np.int64) * SCALE
    return pd.DataFrame({"instrument": "BTC", "time": time, "best_bid": bid, "best_ask": bid + SCALE})


def test_the_prices_there_were_and_some_room_are_shown():
    # 100…300: 35 % of 200 are 70 buckets. 100…101: at least 30 buckets.
    assert price_range(features(100, 300), SCALE) == (30, 370)
    assert price_range(features(100, 101), SCALE) == (70, 131)


def test_cells_by_hand():
    rows = cells((1, 100, 3.0), (1, 102, 1.0), (3, 100, 2.0), (3, 100, 1.0), (3, 500, 9.0))
    times, prices, volume = binned(rows, 100, 102, SCALE, "sum")
    assert (times * DAY).round().tolist() == [MIDNIGHT + minute * MINUTE for minute in range(4)]
    assert prices.tolist() == [100.0, 101.0, 102.0, 103.0]
    assert volume.tolist() == [[3.0, 0.0, 3.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]


def test_many_minutes_and_buckets_share_cells():
    minutes, buckets = 2 * MOST_COLUMNS, 2 * MOST_ROWS
    rows = cells(*((minute, 1_000 + bucket, 4.0) for minute in range(1, minutes + 1, 1) for bucket in (0, 1, 7)))
    first, last = 1_000, 1_000 + buckets - 1
    for together, factor in (("sum", 2), ("mean", 1)):
        times, prices, volume = binned(rows, first, last, SCALE, together)
        assert volume.shape == (MOST_ROWS, MOST_COLUMNS)
        assert (len(times), len(prices)) == (MOST_COLUMNS + 1, MOST_ROWS + 1)
        # Two buckets of 4 in the first row are 4 per bucket; one of 4 in the fourth is 2 per bucket.
        assert np.unique(volume[0]).tolist() == [4.0 * factor]
        assert np.unique(volume[3]).tolist() == [2.0 * factor]


def test_the_mean_is_over_the_snapshots_there_were():
    # Minute 2 of two has no snapshot: the column's mean is that of minute 1, not half of it.
    rows = cells((1, 100, 6.0), *((minute, 100, 2.0) for minute in range(3, 2 * MOST_COLUMNS + 1)))
    _, _, volume = binned(rows, 100, 100, SCALE, "mean")
    assert volume[0, :2].tolist() == [6.0, 2.0]


def test_snapshots_of_a_part_of_a_minute_belong_to_the_minute_in_which_they_end():
    rows = cells((0, 100, 3.0), (0, 100, 1.0), (0, 100, 5.0), (0, 100, 4.0))
    rows["time"] += np.array([80, 100, 120, 140]) * SECOND
    times, _, volume = binned(rows, 100, 100, SCALE, "mean")
    assert (times * DAY).round().tolist() == [MIDNIGHT + minute * MINUTE for minute in (1, 2, 3)]
    assert volume.tolist() == [[(3.0 + 1.0 + 5.0) / 3, 4.0]]


PEAKS = pd.DataFrame(
    {
        "time": [MIDNIGHT + 5 * MINUTE] * 3,
        "method": ["combined", "volume", "scale_space"],
        "price": [102 * SCALE] * 2 + [98 * SCALE],
        "volume": [4 * SCALE] * 3,
        "confidence": [0.9, 0.5, 0.8],
        "width": [1.0, 1.0, 5.0],
    }
)
ZONES = pd.DataFrame(
    {
        "time": [MIDNIGHT + 5 * MINUTE] * 2,
        "low": [90 * SCALE, 110 * SCALE],
        "high": [95 * SCALE, 115 * SCALE],
        "side": ["support", "resistance"],
        "confidence": [1.0, 1.0],
    }
)
PROFILE = Profile(np.array([100, 102]), np.array([1, 4]) * SCALE)
CELLS = cells(*((minute, bucket, 1.0) for minute in range(1, 11) for bucket in (100, 102)))


def drawn(**changes):
    given = {"wave_peaks": PEAKS, "price_zones": ZONES, "profile": PROFILE, "together": "sum"} | changes
    return plot_heat_map(given.pop("cells", CELLS), features(95, 110), SCALE, title="heat", **given)


def test_zones_and_peaks_are_drawn_where_they_are():
    picture = drawn()
    assert picture.startswith(b"\x89PNG")
    nothing = drawn(wave_peaks=PEAKS.iloc[:0], price_zones=ZONES.iloc[:0])
    for colour in (PEAK_COLOUR, ACCUMULATION_COLOUR, SUPPORT_COLOUR, RESISTANCE_COLOUR):
        assert share_of(picture, colour) > share_of(nothing, colour), colour


@pytest.mark.parametrize("empty", [CELLS.iloc[:0], cells((1, 5_000, 1.0))])
def test_a_day_without_volume_is_a_picture_too(empty):
    assert drawn(cells=empty, profile=Profile(np.empty(0, np.int64), np.empty(0, np.int64))).startswith(b"\x89PNG")
