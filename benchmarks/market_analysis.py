"""``analyze_market`` on one real book of 5,000 levels a side and 180 minutes of trades: time, memory, growth, a peer.

Belongs here: the measurement. Does not belong here: aggregation alone (``dollar_aggregation``), how good peaks are.
"""

import gc
import resource
from typing import Final

import numpy as np
import pandas as pd
import psutil
from market_profile import MarketProfile
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.dollar_aggregation import Arrays, arrays, recorded_book
from benchmarks.measurement import console, seconds_of, shared_data
from signal_assets.event_time import MINUTE
from signal_assets.fixed_point import SCALE
from signal_assets.levels import BookSnapshot, MinuteTrades, Profile, ValueArea, analyze_market, find_value_area
from signal_assets.levels.profile import depth_profile

CALLS: Final = 2_000
CALLS_PER_SIZE: Final = 300
PEER_CALLS: Final = 15
SIZES: Final = (1_000, 2_000, 4_000, 6_000, 8_000, 10_000)
MINUTES: Final = 180
SEED: Final = 5


def made_trades(bids: Arrays, asks: Arrays) -> MinuteTrades:
    """180 minutes of trades at random around the book: a walk of 15 quote units a minute, some 45 buckets a minute."""
    chance = np.random.default_rng(SEED)
    middle = (int(bids[0].max()) + int(asks[0].min())) / (2 * SCALE)
    rows: list[NDArray[np.int64]] = []
    for minute, centre in enumerate(middle + np.cumsum(chance.normal(0, 15, MINUTES))):
        bucket = np.unique((centre + chance.normal(0, 12, 120)).astype(np.int64))
        bought, sold = ((chance.pareto(1.3, len(bucket)) * SCALE / 10).astype(np.int64) for _ in range(2))
        rows.append(np.stack([np.full(len(bucket), (minute + 1) * MINUTE), bucket * SCALE, bought, sold]))
    return MinuteTrades(*np.concatenate(rows, axis=1))


def of_size(side: Arrays, levels: int) -> Arrays:
    """The side's first levels; beyond its end it goes on as it began, shifted outwards."""
    price, quantity = side
    width = price[-1] - price[0] + (price[-1] - price[-2])
    times = -(-levels // len(price))
    longer = np.concatenate([price + width * turn for turn in range(times)])
    return longer[:levels], np.tile(quantity, times)[:levels]


def milliseconds(book: BookSnapshot, trades: MinuteTrades, calls: int) -> NDArray[np.float64]:
    """Wall time of each call, sorted."""
    return np.sort([seconds_of(lambda: analyze_market(book, trades, "BTCUSDT")) * 1e3 for _ in range(calls)])


def memory(book: BookSnapshot, trades: MinuteTrades) -> float:
    """How much a hundred analyses add to the process at their peak, MB; the peak can only rise."""
    gc.collect()
    before = max(psutil.Process().memory_info().rss, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024)
    for _ in range(100):
        analyze_market(book, trades, "BTCUSDT")
    return max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024 - before, 0) / 1e6


def peer_frame(trades: MinuteTrades) -> pd.DataFrame:
    """The trades as the peer takes them: a row per minute and bucket, with a close and a volume in base units."""
    held = trades.buy_quantity + trades.sell_quantity > 0
    volume = (trades.buy_quantity + trades.sell_quantity)[held] / SCALE
    times = pd.to_datetime(trades.minute[held], unit="us", utc=True)
    return pd.DataFrame({"Close": trades.price_bucket[held] / SCALE, "Volume": volume}, index=times)


def our_area(trades: MinuteTrades) -> tuple[Profile, ValueArea]:
    """Profile, point of control and value area, from the rows on."""
    profile = depth_profile(trades.price_bucket, trades.buy_quantity + trades.sell_quantity, SCALE)
    return profile, find_value_area(profile, "one_row")


def without_gaps(trades: MinuteTrades) -> MinuteTrades:
    """The rows with the smallest volume wherever a bucket of the range has none.

    The peer knows no rows without volume: it takes the next one that has some for adjacent.
    """
    profile, _ = our_area(trades)
    missing = np.setdiff1d(np.arange(profile.bucket[0], profile.bucket[-1] + 1), profile.bucket)
    last, nothing = np.full(len(missing), trades.minute[-1]), np.zeros(len(missing), np.int64)
    return MinuteTrades(
        np.concatenate((trades.minute, last)),
        np.concatenate((trades.price_bucket, missing * SCALE)),
        np.concatenate((trades.buy_quantity, nothing + 1)),
        np.concatenate((trades.sell_quantity, nothing)),
    )


def _check_equal(trades: MinuteTrades, frame: pd.DataFrame) -> None:
    _, area = our_area(trades)
    theirs = MarketProfile(frame, tick_size=1.0)[frame.index[0] : frame.index[-1]]
    found = (theirs.poc_price, *theirs.value_area)
    assert found == (area.point_of_control, area.low, area.high), f"the peer finds {found}, we find {area}"


def peers(trades: MinuteTrades) -> Table:
    """Profile, point of control and value area beside py-market-profile."""
    trades = without_gaps(trades)
    frame = peer_frame(trades)
    _check_equal(trades, frame)
    theirs = lambda: MarketProfile(frame, tick_size=1.0)[frame.index[0] : frame.index[-1]]  # noqa: E731
    pairs = [(seconds_of(lambda: our_area(trades)), seconds_of(theirs)) for _ in range(PEER_CALLS)]
    ours, peer = np.median(np.array(pairs), axis=0) * 1e3
    ratio = float(np.median([slow / fast for fast, slow in pairs]))
    title = f"Profile, point of control, value area of {len(frame):,} rows (the same result)"
    table = Table("", "median ms", "ratio", title=title)
    table.add_row("ours, exact integers", f"{ours:.3f}", f"{ratio:,.0f} ×")
    table.add_row("py-market-profile", f"{peer:.3f}", "1 ×")
    return table


def main(out: Console | None = None) -> None:
    """Print the tables."""
    out = out or console()
    sides = recorded_book()
    if sides is None:
        out.print(f"market analysis: not measured, there is no recording in {shared_data('depth5000_btcusdt')}")
        return
    bids, asks = (arrays(side) for side in sides)
    book, trades = BookSnapshot(*bids, *asks), made_trades(bids, asks)
    milliseconds(book, trades, CALLS // 10)  # the first calls load what is compiled
    added, times = memory(book, trades), milliseconds(book, trades, CALLS)
    p50, p99 = np.percentile(times, [50, 99])
    found = analyze_market(book, trades, "BTCUSDT")
    title = (
        f"analyze_market, {len(bids[0]):,} + {len(asks[0]):,} levels, {MINUTES} minutes of trades in "
        f"{len(trades.minute):,} rows"
    )
    table = Table("", "measured", "goal", title=title)
    table.add_row(f"p50 of {CALLS:,} calls", f"{p50:.2f} ms", "≤ 1 ms")
    table.add_row("p99", f"{p99:.2f} ms", "≤ 3 ms")
    table.add_row("fastest", f"{times[0]:.2f} ms", "")
    table.add_row("more memory at the peak", f"{added:.1f} MB", "< 50 MB")
    zones = len(found.support_zones) + len(found.resistance_zones)
    vacuums = len(found.liquidity_vacuum_zones)
    table.add_row("found", f"{len(found.wave_peaks)} peaks, {zones} zones, {vacuums} vacuums", "")
    out.print(table)
    growth = Table(
        "levels a side", "buckets", "p50 ms", "µs per 1,000 levels a side more", title="Growth with the book"
    )
    before: tuple[int, float] | None = None
    for size in SIZES:
        grown = BookSnapshot(*of_size(bids, size), *of_size(asks, size))
        median = float(np.percentile(milliseconds(grown, trades, CALLS_PER_SIZE), 50))
        step = "" if before is None else f"{(median - before[1]) * 1e6 / (size - before[0]):.0f}"
        quality = analyze_market(grown, trades, "BTCUSDT").quality
        growth.add_row(f"{size:,}", f"{quality.buckets_out:,}", f"{median:.2f}", step)
        before = (size, median)
    out.print(growth)
    out.print(peers(trades))


if __name__ == "__main__":
    main()
