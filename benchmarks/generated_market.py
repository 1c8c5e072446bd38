"""Raw rows of a random market, made at once: for measurements that need a day, not a story.

Belongs here: rows that are sound – sides, ticks, lots, times. Does not belong here: a market that behaves like one
(``services/simulated_venue``).
"""

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from signal_assets.event_time import DAY, MINUTE, SECOND
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from signal_assets.market.feature_grid import TOP_LEVELS
from signal_assets.market.tables import DEPTH_SNAPSHOTS, FEATURES, TRADES

Integers = NDArray[np.int64]

VOLATILITY: Final = 1e-4
"""Standard deviation of a row's return."""


def generator(instrument: Instrument, seed: int) -> np.random.Generator:
    """Chance of one instrument."""
    return np.random.default_rng([seed, *instrument.key.encode()])


def walk(count: int, price: float, chance: np.random.Generator) -> NDArray[np.float64]:
    """A random path of so many prices that ends at ``price``."""
    path = np.exp(np.cumsum(chance.normal(0, VOLATILITY, count)))
    return price * path / path[-1]


def features(
    instrument: Instrument,
    times: Integers,
    price: float | NDArray[np.float64],
    chance: np.random.Generator,
) -> pd.DataFrame:
    """A features row at each of ``times``; ``price`` in quote units is the last one, so that what follows fits on.

    A whole path of prices is taken as it is.
    """
    count, tick = len(times), instrument.tick_size
    path = walk(count, price, chance) if isinstance(price, float) else price
    bid = np.maximum(np.rint(path * SCALE / tick).astype(np.int64), 100) * tick
    ask = bid + tick * chance.integers(1, 4, count)
    levels = tick * np.arange(TOP_LEVELS)
    bids = chance.integers(1, 10_000, (count, TOP_LEVELS)) * instrument.lot_size
    asks = chance.integers(1, 10_000, (count, TOP_LEVELS)) * instrument.lot_size
    buys = chance.integers(0, 1_000, count) * instrument.lot_size
    sells = chance.integers(0, 1_000, count) * instrument.lot_size
    rows: dict[str, Any] = {
        "instrument": instrument.key,
        "time": times,
        "best_bid": bid,
        "best_ask": ask,
        "bid_quantity": bids[:, 0],
        "ask_quantity": asks[:, 0],
        "bid_price_20": list(bid[:, None] - levels),
        "bid_quantity_20": list(bids),
        "ask_price_20": list(ask[:, None] + levels),
        "ask_quantity_20": list(asks),
        "mid_price": (bid + ask) / (2 * SCALE),
        "spread": ask - bid,
        "order_flow_imbalance": buys - sells,
        "trade_count": chance.poisson(3.5, count),
        "buy_quantity": buys,
        "sell_quantity": sells,
        "last_price": bid,
        "last_update_id": np.arange(count),
    }
    for depth in (1, 5, 20):
        first, second = bids[:, :depth].sum(axis=1), asks[:, :depth].sum(axis=1)
        rows[f"imbalance_{depth}"] = (first - second) / (first + second)
    return FEATURES.conform(pd.DataFrame(rows)[[column.name for column in FEATURES.columns]])


def trades(instrument: Instrument, start: int, count: int, grid: pd.DataFrame, chance: np.random.Generator) -> Any:
    """So many trades over the day that begins at ``start``, at the prices of the features rows ``grid``."""
    times = np.sort(chance.integers(start + 1, start + DAY + 1, count))
    held = np.searchsorted(grid["time"].to_numpy(), times).clip(0, len(grid) - 1)
    sold = chance.random(count) < 0.5
    rows: dict[str, Any] = {
        "instrument": instrument.key,
        "trade_id": np.arange(1, count + 1),
        "event_time": times,
        "received_time": times,
        "price": np.where(sold, grid["best_bid"].to_numpy()[held], grid["best_ask"].to_numpy()[held]),
        "quantity": (chance.pareto(1.5, count) * 100 + 1).astype(np.int64) * instrument.lot_size,
        "is_buyer_maker": sold,
        "late": False,
        "flags": 0,
    }
    return TRADES.conform(pd.DataFrame(rows))


def snapshots(instrument: Instrument, start: int, levels: int, grid: pd.DataFrame, chance: np.random.Generator) -> Any:
    """A book of so many levels a side at every minute of the day that begins at ``start``."""
    times = np.arange(start + MINUTE, start + DAY + 1, MINUTE)
    held = np.searchsorted(grid["time"].to_numpy(), times).clip(0, len(grid) - 1)
    bid, ask = grid["best_bid"].to_numpy()[held], grid["best_ask"].to_numpy()[held]
    steps = instrument.tick_size * np.cumsum(chance.integers(1, 20, (len(times), levels)), axis=1)
    quantities = chance.integers(1, 100_000, (2, len(times), levels)) * instrument.lot_size
    bids, asks = bid[:, None] - steps, ask[:, None] + steps
    rows: dict[str, Any] = {
        "instrument": instrument.key,
        "event_time": times,
        "received_time": times,
        "last_update_id": times // SECOND,
        "bid_price": list(bids),
        "bid_quantity": list(quantities[0]),
        "ask_price": list(asks),
        "ask_quantity": list(quantities[1]),
        "coverage_low": bids[:, -1],
        "coverage_high": asks[:, -1],
    }
    return DEPTH_SNAPSHOTS.conform(pd.DataFrame(rows))
