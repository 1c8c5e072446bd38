"""Alerts on the simulated venue's market against what it planted there.

Belongs here: the measurement – venue, ingest, features, metrics and detectors in this process. Does not belong here:
generated series (``anomaly_scenarios``), the matching (``signal_assets/anomalies/truth_score``).

Planted are spikes of the price, bursts of volume, wide spreads and one-sided books of 30 to 90 seconds, each seen in
the series of its instrument that it touches; an alert of any of them within a minute counts. The market has regimes of
different volatility besides, which are no planted events. The first day is for learning.
"""

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.measurement import console
from resources.exchange.binance_messages import MessageParser
from services.simulated_venue.market_plan import ANOMALY_KINDS, FlowSettings
from services.simulated_venue.order_flow import OrderFlow
from services.simulated_venue.served_market import ServedMarket
from signal_assets.anomalies.anomaly_machine import AnomalyMachine
from signal_assets.anomalies.novelty_detector import NoveltyDetector
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.series import MARKET_FEATURES
from signal_assets.anomalies.tables import ANOMALIES, METRICS
from signal_assets.anomalies.truth_score import alert_delays, score_alerts
from signal_assets.event_time import DAY, MINUTE
from signal_assets.fixed_point import SCALE
from signal_assets.instrument import Instrument
from signal_assets.machine import record_class
from signal_assets.market.ingest import IngestSettings, SnapshotRequest, VenueIngest
from signal_assets.market.messages import DepthSnapshot
from signal_assets.market.tables import FEATURES

DAYS: Final = 4
SEED: Final = 41
"""Not looked at while anything was chosen."""
TOLERANCE: Final = MINUTE
WINDOW: Final = 1_440
THRESHOLD: Final = 2.5
FLOW: Final = FlowSettings.sparse(diff_interval=1_000, trades_per_second=1.0, gaps_per_day=0.0)
INSTRUMENTS: Final = (
    Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", SCALE // 100, SCALE // 100_000),
    Instrument("ETHFDUSD", "BINANCE", "ETH/FDUSD", SCALE // 100, SCALE // 10_000),
)


def features(flow: OrderFlow) -> Iterator[tuple[Any, ...]]:
    """Rows of ``market.features`` as the live lane's ingest makes them; REST is answered by the venue's own books."""
    market, parser = ServedMarket(iter(flow), flow.instruments), MessageParser(flow.instruments)
    lane = VenueIngest(flow.instruments, IngestSettings())
    while taken := market.take(math.inf, 1):
        if not taken[0].on_wire:
            continue
        message = parser.parse(taken[0].received, taken[0].raw)
        assert message is not None
        lane.receive(message)
        while requests := lane.requests():
            for request in requests:
                _answer(lane, request, market)
        yield from lane.drain(message.instrument).features
    lane.end_of_recording()
    for instrument in flow.instruments:
        yield from lane.drain(instrument.key).features


def _answer(lane: VenueIngest, request: Any, market: ServedMarket) -> None:
    symbol = request.instrument.partition(".")[0]
    book = market.depth(symbol, request.position) if isinstance(request, SnapshotRequest) else None
    if book is None:
        lane.fail(request, "not answered here")
        return
    bids, asks = sorted(book.bids.items(), reverse=True), sorted(book.asks.items())
    lane.answer_snapshot(request, DepthSnapshot(request.instrument, book.last_update_id, bids, asks))


def watched(flow: OrderFlow) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of ``anomalies.metrics`` and ``anomalies.anomalies``."""
    parameters = AnomalyParameters()
    machines = {instrument.key: AnomalyMachine([instrument], parameters) for instrument in flow.instruments}
    record = record_class(FEATURES)
    metrics: list[Any] = []
    anomalies: list[Any] = []
    for row in features(flow):
        made = record._make(row)
        rows = machines[made.instrument].step(made.time, {FEATURES.name: [made]})
        metrics += rows.get(METRICS.name, ())
        anomalies += rows.get(ANOMALIES.name, ())
    return (
        pd.DataFrame(metrics, columns=[column.name for column in METRICS.columns]),
        pd.DataFrame(anomalies, columns=[column.name for column in ANOMALIES.columns]),
    )


def novelty_alerts(metrics: pd.DataFrame) -> pd.DataFrame:
    """Alerts of the novelty detector on every series."""
    found = []
    for (instrument, series), rows in metrics.groupby(["instrument", "series"]):
        detector = NoveltyDetector(threshold=THRESHOLD, window=WINDOW)
        alerts = detector.judge(rows["time"].to_numpy(np.int64), rows["value"].to_numpy(np.float64)).alerts
        times = rows["time"].to_numpy(np.int64)[alerts > 0]
        found.append(pd.DataFrame({"instrument": instrument, "series": series, "time": times, "alert": True}))
    return pd.concat(found, ignore_index=True)


def main(out: Console | None = None) -> None:
    """Print the table."""
    out = out or console()
    flow = OrderFlow(INSTRUMENTS, seed=SEED, days=DAYS, settings=FLOW)
    metrics, anomalies = watched(flow)
    first = flow.start + DAY
    planted = pd.DataFrame(flow.truth()["anomalies"])
    planted = planted[planted["start"] > first]
    series_days = metrics["series"].nunique() * (DAYS - 1)
    size = f"{len(INSTRUMENTS)} instruments, {len(MARKET_FEATURES)} series each, {series_days} series-days"
    table = Table("alerts", title=f"Simulated venue, {size}; recall by kind, then all")
    for name in (*ANOMALY_KINDS, "all", "precision", "false a series-day", "delay s"):
        table.add_column(name, justify="right")
    sources = {f"machine, {name}": rows for name, rows in anomalies[anomalies["alert"]].groupby("detector")}
    for name, alerts in (sources | {"novelty": novelty_alerts(metrics)}).items():
        alerts = alerts[alerts["time"] > first]
        score = score_alerts(planted, alerts, TOLERANCE)
        found = alert_delays(planted, alerts, TOLERANCE).notna().groupby(planted["kind"]).mean()
        table.add_row(
            str(name),
            *(f"{found.get(kind, math.nan):.2f}" for kind in ANOMALY_KINDS),
            f"{score.recall:.3f}",
            f"{score.precision:.3f}",
            f"{(score.alerts - score.right) / series_days:.2f}",
            f"{score.median_delay:.0f}",
        )
    out.print(table)


if __name__ == "__main__":
    main()
