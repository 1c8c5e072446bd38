from io import BytesIO

import numpy as np
from matplotlib.dates import num2date
from matplotlib.image import imread

from signal_assets.canvas import Canvas, day_number
from signal_assets.event_time import DAY, HOUR, MINUTE

MIDNIGHT = 20_000 * DAY  # 2024-10-04


def darkness(png):
    """Share of the picture that is not white."""
    return float((imread(BytesIO(png))[..., :3].min(axis=2) < 0.9).mean())


def test_matplotlib_counts_days_alike():
    assert num2date(day_number(np.array([MIDNIGHT + 90 * MINUTE]))[0]).isoformat() == "2024-10-04T01:30:00+00:00"


def test_the_time_axis_ends_with_what_is_drawn_and_says_the_day():
    canvas = Canvas("a day")
    canvas.show_time(MIDNIGHT + np.array([5, 1, 3]) * HOUR)
    low, high = canvas.axes[0].get_xlim()
    assert np.round(np.array([low, high]) * 24 - 20_000 * 24, 2).tolist() == [0.96, 5.04]  # 1 % of four hours
    assert canvas.axes[0].get_xlabel() == "2024-10-04, UTC"


def test_midnight_sharp_belongs_to_the_day_it_ends():
    canvas = Canvas("a day")
    canvas.show_time(np.array([MIDNIGHT + 1, MIDNIGHT + DAY]))
    assert canvas.axes[0].get_xlabel() == "2024-10-04, UTC"
    canvas.show_time(np.array([MIDNIGHT + 1, MIDNIGHT + 3 * DAY]))
    assert canvas.axes[0].get_xlabel() == "2024-10-04 to 2024-10-06, UTC"


def test_the_legend_goes_below_and_wraps_where_it_would_be_too_wide():
    def legend(names):
        canvas = Canvas("lines", size=(6, 4))
        for name in names:
            canvas.axes[0].plot([0, 1], [0, 1], label=name)
        canvas.png()
        figure = canvas.axes[0].figure
        drawn = figure.legends[0].get_window_extent()
        return drawn, canvas.axes[0].get_window_extent(), figure.bbox

    drawn, axes, whole = legend([f"strategy number {number}" for number in range(12)])
    assert drawn.y1 <= axes.y0
    assert drawn.x0 >= 0
    assert drawn.x1 <= whole.x1
    few, *_ = legend(["a", "b"])
    assert few.height < drawn.height / 2


def test_words_stand_in_place_of_what_there_is_not():
    empty, said = Canvas("t"), Canvas("t")
    said.say("no prices on this day")
    assert darkness(said.png()) > darkness(empty.png())


def test_axes_below_each_other_share_their_height():
    canvas = Canvas("t", ratios=(3, 1))
    canvas.png()
    above, below = (axes.get_window_extent().height for axes in canvas.axes)
    assert 2.9 < above / below < 3.1
