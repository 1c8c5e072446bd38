"""What the tests of the signals are made of: a small group, and records of its tables."""

import json
from datetime import UTC, datetime
from typing import Any

from signal_assets.anomalies.tables import ANOMALIES
from signal_assets.event_time import from_datetime
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from signal_assets.learning.tables import RECENT_PERFORMANCE, THRESHOLDS
from signal_assets.machine import record_class
from signal_assets.market.tables import FEATURES
from signal_assets.signals.market_conditions import Conditions
from signal_assets.signals.proposal import Proposal
from signal_assets.signals.sanity import sound_proposal
from signal_assets.signals.tables import SIGNALS
from signal_assets.strategies.tables import STRATEGIES, strategy_table

BTC = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", tick_size=SCALE // 100, lot_size=1_000)
ETH = Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", tick_size=SCALE // 100, lot_size=10_000)
ETHBTC = Instrument("ETHBTC", "BINANCE", "ETH/BTC", tick_size=1_000, lot_size=10_000)
EUR = Instrument("EUR_USD", "OANDA", "EUR/USD", tick_size=1_000, lot_size=SCALE, asset_class="forex", group="crypto")
GROUP = (BTC, ETH, ETHBTC, EUR)
BY_KEY = {instrument.key: instrument for instrument in GROUP}

NAN = float("nan")
UNKNOWN = Conditions(NAN, NAN, NAN)
NIGHT = from_datetime(datetime(2025, 1, 8, 23, 30, tzinfo=UTC))
"""A Wednesday, half past eleven at night: quiet hours, no session open."""


def at(text: str) -> int:
    """µs of ISO text in UTC."""
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=UTC))


def money(number: float) -> int:
    return round(number * SCALE)


def proposal_record(strategy: str = "moving_average_crossover", time: int = NIGHT, **changes: Any) -> Any:
    """A sound buy of BTC at 100, stop 98, target 103: reward/risk 1.5."""
    values: dict[str, Any] = {
        "id": f"{strategy} {changes.get('instrument', BTC.key)} {changes.get('action', 'buy')} {time}",
        "strategy": strategy,
        "family": STRATEGIES[strategy],
        "tier": "tactical",
        "instrument": BTC.key,
        "timeframe": "1m",
        "event_time": time,
        "action": "buy",
        "order_type": "market",
        "legs": "[]",
        "entry_price": money(100),
        "stop_loss": money(98),
        "take_profit": money(103),
        "quantity": 0,
        "raw_confidence": 0.65,
        "metadata": "{}",
        "parameters_version": "p1",
        "failure": "",
    }
    return record_class(strategy_table(strategy))(**(values | changes))


def sell_record(**changes: Any) -> Any:
    """The same the other way round: stop 102, target 97."""
    return proposal_record(**({"action": "sell", "stop_loss": money(102), "take_profit": money(97)} | changes))


def arbitrage_record(profit: float = 0.001, **changes: Any) -> Any:
    """A triangle that leaves a thousandth after fees."""
    legs = [
        {"instrument": BTC.key, "side": "buy", "quantity": "0.50000000", "limit_price": "100.00000000"},
        {"instrument": ETHBTC.key, "side": "buy", "quantity": "2.00000000", "limit_price": "0.04000000"},
        {"instrument": ETH.key, "side": "sell", "quantity": "2.00000000", "limit_price": None},
    ]
    values = {
        "timeframe": "grid",
        "legs": json.dumps(legs),
        "stop_loss": None,
        "take_profit": None,
        "quantity": money(0.5),
        "metadata": json.dumps({"profit_fraction": profit}),
    }
    return proposal_record("triangular_arbitrage", **(values | changes))


def sound(record: Any) -> Proposal:
    return sound_proposal(record, BY_KEY)


def features(time: int, **mid_prices: float) -> list[Any]:
    """Features rows by symbol; only what the signals read is there, as in a run."""
    make = record_class(FEATURES)
    keys = {instrument.symbol: instrument.key for instrument in GROUP}
    absent = dict.fromkeys(make._fields)
    return [
        make(**(absent | {"instrument": keys[symbol], "time": time, "mid_price": price}))
        for symbol, price in sorted(mid_prices.items())
    ]


def anomaly(time: int, severity: str, instrument: str = BTC.key) -> Any:
    make = record_class(ANOMALIES)
    known = {"instrument": instrument, "time": time, "severity": severity, "series": "market.x", "detector": "ensemble"}
    return make(**(dict.fromkeys(make._fields) | known))


def threshold(name: str, valid_from: int, value: float, source: str = "learned") -> Any:
    return record_class(THRESHOLDS)("*.crypto", name, valid_from, 0, value, 0.0, 0.5, 10, source)


def recent_performance(strategy: str, valid_from: int, score: float) -> Any:
    return record_class(RECENT_PERFORMANCE)("*.crypto", strategy, valid_from, 0, 10, 0.5, score)


def signals_of(rows: Any) -> list[Any]:
    return [record_class(SIGNALS)._make(row) for row in rows.get(SIGNALS.name, ())]
