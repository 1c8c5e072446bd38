"""Features rows for the tests of the anomalies."""

from signal_assets.event_time import SECOND
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from signal_assets.machine import record_class
from signal_assets.market.tables import FEATURES

BTC = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", SCALE // 100, 1000)
ETH = Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", SCALE // 100, 1000)
Record = record_class(FEATURES)
UNUSED = dict.fromkeys(FEATURES.value_columns)


def features_row(
    second,
    *,
    instrument=BTC,
    bid=60_000.0,
    spread=1.0,
    imbalance=0.0,
    flow=0.0,
    trades=0,
    bought=0.0,
    sold=0.0,
    quantities=(1.0, 1.0),
):
    """A row at ``second``; prices and quantities in units of the currency, columns that nobody here uses None."""
    fields = {
        "instrument": instrument.key,
        "time": second * SECOND,
        "best_bid": round(bid * SCALE),
        "best_ask": round((bid + spread) * SCALE),
        "bid_quantity": round(quantities[0] * SCALE),
        "ask_quantity": round(quantities[1] * SCALE),
        "imbalance_5": imbalance,
        "order_flow_imbalance": round(flow * SCALE),
        "trade_count": trades,
        "buy_quantity": round(bought * SCALE),
        "sell_quantity": round(sold * SCALE),
    }
    return Record(**(UNUSED | fields))
