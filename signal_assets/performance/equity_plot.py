"""A picture of equity and drawdown, one line per strategy and a strong one for the portfolio.

Belongs here: drawing. Does not belong here: anything that is computed for a table.
"""

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from signal_assets.canvas import Canvas, day_number
from signal_assets.fixed_point import SCALE
from signal_assets.performance.parameters import PORTFOLIO

PORTFOLIO_COLOUR: Final = "#1f2933"
STRATEGY_COLOURS: Final = ("#5b7ea4", "#e08e0b", "#2e8b57", "#c0504d", "#8064a2", "#4bacc6")


def relative_to_start(equity: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Growth since the first value, and loss from the highest value so far (not above 0), both in percent.

    Examples
    --------
    >>> growth, drawdown = relative_to_start(np.array([100, 120, 90]))
    >>> growth.tolist(), drawdown.tolist()
    ([0.0, 20.0, -10.0], [0.0, 0.0, -25.0])
    """
    values = equity.astype(np.float64)
    return (values - values[0]) / values[0] * 100, (values / np.maximum.accumulate(values) - 1) * 100


def plot_equity(equity: pd.DataFrame, *, title: str) -> bytes:
    """Growth (above) and drawdown (below) of every account as PNG bytes.

    Parameters
    ----------
    equity : DataFrame
        Rows of ``performance.equity`` or ``performance.daily_equity``. Accounts that begin with nothing are left out.

    Returns
    -------
    bytes
        A PNG file.
    """
    canvas = Canvas(title, (11, 5.5), ratios=(3, 2))
    above, below = canvas.axes
    above.set_ylabel("growth, %")
    below.set_ylabel("drawdown, %")
    strategies = sorted(set(equity["strategy"]) - {PORTFOLIO})
    for number, name in enumerate([*strategies, PORTFOLIO]):
        own = equity[(equity["strategy"] == name).to_numpy()].sort_values("time", kind="stable")
        if own.empty or own["equity"].iloc[0] <= 0:
            continue
        whole = name == PORTFOLIO
        colour = PORTFOLIO_COLOUR if whole else STRATEGY_COLOURS[number % len(STRATEGY_COLOURS)]
        style: dict[str, Any] = {"color": colour, "linewidth": 2.0 if whole else 1.2, "zorder": 3 if whole else 2}
        growth, drawdown = relative_to_start(own["equity"].to_numpy(dtype=np.int64))
        times = day_number(own["time"].to_numpy())
        above.plot(times, growth, label=f"{name}  {own['equity'].iloc[-1] / SCALE:,.2f}", **style)
        below.plot(times, drawdown, **style)
    for axes in canvas.axes:
        axes.grid(axis="y", linewidth=0.4, alpha=0.5)
    if above.lines:
        canvas.show_time(equity["time"].to_numpy(dtype=np.int64))
    else:
        canvas.say("no equity yet")
    return canvas.png()
