"""Alerts on the simulated venue's market against what it planted there.

Belongs here: the measurement – venue, ingest, features, metrics and detectors in this process. Does not belong here:
generated series (``anomaly_scenarios``), the matching (``signal_assets/anomalies/truth_score``).

Planted are spikes of the price, bursts of volume, wide spreads and one-sided books of 30 to 90 seconds, each seen in
the series of its instrument that it touches; an alert of any of them within a minute counts. The market has regimes of
different volatility besides, which are no planted events. The first day is for learning.

What could be found at all by looking at single values is measured too: the distance of each value from its regime's
median, in its regime's mean distances, with a threshold per series chosen on these very data so that it gives the
wanted false alerts. No detector knows regimes or what is to come, so this is a bound, not a peer.
"""

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.measurement import console
from resources.exchange.binance_messages import MessageParser
from services.simulated_venue.market_plan import ANOMALY_KINDS, FlowSettings
from services.simulated_venue.order_flow import OrderFlow
from services.simulated_venue.served_market import ServedMarket
from signal_assets.anomalies.anomaly_machine import ENSEMBLE, AnomalyMachine
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
WANTED: Final = 0.1
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
    parameters = AnomalyParameters(raising=(ENSEMBLE,), alerting=(ENSEMBLE,))
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


def regime_distances(rows: pd.DataFrame, regimes: pd.DataFrame) -> NDArray[np.float64]:
    """Distance of each value of a series from its regime's median, in mean distances of that regime."""
    place = np.searchsorted(regimes["start"].to_numpy(np.int64), rows["time"].to_numpy(np.int64), side="right") - 1
    names, values = regimes["name"].to_numpy()[place], rows["value"].to_numpy(np.float64)
    distances = np.zeros(len(values))
    for name in np.unique(names):
        inside = names == name
        away = np.abs(values[inside] - np.median(values[inside]))
        distances[inside] = away / max(away.mean(), 1e-12)
    return distances


def bound(metrics: pd.DataFrame, planted: pd.DataFrame, regimes: pd.DataFrame, feature: str) -> pd.Series:
    """Recall by kind of a threshold on the regime's distances that gives WANTED false values a series-day."""
    hit = pd.Series(False, index=planted.index)
    for (instrument, series), rows in metrics.groupby(["instrument", "series"]):
        if series.rpartition(".")[2] != feature:
            continue
        times, distances = rows["time"].to_numpy(np.int64), regime_distances(rows, regimes)
        mine = planted[planted["instrument"] == instrument]
        spans = [
            np.searchsorted(times, [start, end + TOLERANCE + 1])
            for start, end in zip(mine["start"], mine["end"], strict=True)
        ]
        quiet = np.ones(len(times), np.bool_)
        for first, last in spans:
            quiet[first:last] = False
        allowed = int(WANTED * (times[-1] - times[0]) / DAY)
        threshold = np.sort(distances[quiet])[-1 - allowed]
        for number, (first, last) in zip(mine.index, spans, strict=True):
            hit[number] = bool((distances[first:last] > threshold).any())
    return hit.groupby(planted["kind"]).mean()


def main(out: Console | None = None) -> None:
    """Print the table."""
    out = out or console()
    flow = OrderFlow(INSTRUMENTS, seed=SEED, days=DAYS, settings=FLOW)
    metrics, anomalies = watched(flow)
    first, truth = flow.start + DAY, flow.truth()
    planted = pd.DataFrame(truth["anomalies"])
    planted = planted[planted["start"] > first]
    series_days = metrics["series"].nunique() * (DAYS - 1)
    size = f"{len(INSTRUMENTS)} instruments, {len(MARKET_FEATURES)} series each, {series_days} series-days"
    table = Table("alerts", title=f"Simulated venue, {size}; recall by kind, of all, false alerts a series-day")
    for name in (*ANOMALY_KINDS, "all", "precision", "false", "delay s"):
        table.add_column(name, justify="right")
    opening = anomalies[anomalies["opened"]].assign(alert=True)  # of incidents, before anything keeps them from people
    for name, alerts in {ENSEMBLE: opening, f"novelty, window {WINDOW:,}": novelty_alerts(metrics)}.items():
        alerts = alerts[alerts["time"] > first]
        score = score_alerts(planted, alerts, TOLERANCE)
        found = alert_delays(planted, alerts, TOLERANCE).notna().groupby(planted["kind"]).mean()
        table.add_row(
            name,
            *(f"{found.get(kind, math.nan):.2f}" for kind in ANOMALY_KINDS),
            f"{score.recall:.3f}",
            f"{score.precision:.3f}",
            f"{(score.alerts - score.right) / series_days:.2f}",
            f"{score.median_delay:.0f}",
        )
    out.print(table)
    limits = Table("series", title=f"At {WANTED} false values a series-day, knowing the regime and all of these data")
    for kind in ANOMALY_KINDS:
        limits.add_column(kind, justify="right")
    later, regimes = metrics[metrics["time"] > first], pd.DataFrame(truth["regimes"])
    for feature in MARKET_FEATURES:
        reached = bound(later, planted, regimes, feature)
        limits.add_row(feature, *(f"{reached.get(kind, math.nan):.2f}" for kind in ANOMALY_KINDS))
    out.print(limits)


if __name__ == "__main__":
    main()
