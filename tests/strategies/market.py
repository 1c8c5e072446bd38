"""A made-up market of three instruments that form a cycle, and single features rows."""

from functools import cache

import numpy as np
import pandas as pd

from signal_assets.event_time import DAY, SECOND
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from signal_assets.machine import record_class
from signal_assets.market.tables import FEATURES

BTC = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", tick_size=1_000_000, lot_size=1_000, taker_fee=20_000)
ETH = Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", tick_size=1_000_000, lot_size=10_000, taker_fee=20_000)
ETHBTC = Instrument("ETHBTC", "BINANCE", "ETH/BTC", tick_size=1_000, lot_size=10_000, taker_fee=20_000)
TRIANGLE = (BTC, ETH, ETHBTC)

START = 20_000 * DAY
GRID = 10 * SECOND
STEPS = 2_000
LEVELS = np.arange(20)

_Record = record_class(FEATURES)


def features_row(instrument: Instrument, time: int, **values):
    """A record of ``market.features`` that has only what is given."""
    return _Record(**(dict.fromkeys(_Record._fields) | {"instrument": instrument.key, "time": time} | values))


@cache
def random_market(seed: int) -> pd.DataFrame:
    """2,000 grid points of 10 s: random walks whose cross price strays from parity, with gaps and missing seconds.

    The first grid points have no trade yet; some minutes end without a row; one instrument is away for 17 minutes, all
    of them for 9.
    """
    random = np.random.default_rng(seed)
    time = START + GRID * np.arange(1, STEPS + 1)
    # Calm and lively stretches of 200 points.
    volatility = np.repeat(random.choice([0.0002, 0.0006], STEPS // 200), 200)
    btc = 60_000 * np.exp(np.cumsum(volatility * random.standard_normal(STEPS)))
    eth = 2_600 * np.exp(np.cumsum(volatility * random.standard_normal(STEPS)))
    stray = np.zeros(STEPS)
    for i in range(1, STEPS):
        stray[i] = 0.95 * stray[i - 1] + 0.0005 * random.standard_normal()
    frames = [
        _instrument_rows(random, instrument, price, time)
        for instrument, price in ((BTC, btc), (ETH, eth), (ETHBTC, eth / btc * np.exp(stray)))
    ]
    return pd.concat(frames, ignore_index=True)


def _instrument_rows(random, instrument, price, time):
    tick = instrument.tick_size
    best_bid = np.floor(price * SCALE / tick).astype(np.int64) * tick
    best_ask = best_bid + tick
    # Steps of about 2 basis points between levels, each worth a few hundred FDUSD.
    step = np.maximum(np.round(price * SCALE * 2e-4 / tick).astype(np.int64), 1) * tick
    size = {"FDUSD": 300 / price, "BTC": 300 / 2_600 + 0 * price}[instrument.quote] * SCALE
    quantity = (size[:, None] * random.uniform(0.2, 2, (STEPS, 20))).astype(np.int64) + 1
    last_price = pd.array(np.where(random.random(STEPS) < 0.5, best_bid, best_ask), dtype="Int64")
    last_price[: random.integers(1, 20)] = pd.NA
    traded = (random.pareto(2.0, (2, STEPS)) * SCALE).astype(np.int64)
    alive = random.random(STEPS) < 0.93
    away = random.integers(0, STEPS - 100)
    alive[away : away + 17 * 6] = False
    alive[1_000 : 1_000 + 9 * 6] = False
    rows = pd.DataFrame(
        {
            "instrument": instrument.key,
            "time": time,
            "best_bid": best_bid,
            "best_ask": best_ask,
            "bid_price_20": _lists(best_bid[:, None] - step[:, None] * LEVELS),
            "bid_quantity_20": _lists(quantity),
            "ask_price_20": _lists(best_ask[:, None] + step[:, None] * LEVELS),
            "ask_quantity_20": _lists(quantity[::-1]),
            "buy_quantity": traded[0],
            "sell_quantity": traded[1],
            "last_price": last_price,
        }
    )
    return rows[alive]


def _lists(table):
    column = np.empty(len(table), dtype=object)
    column[:] = list(table)
    return column
