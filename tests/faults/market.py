"""The market all faults are tried on: a short seeded recording, and what an undisturbed live lane makes of it.

Belongs here: the recording, the configuration that lets much happen in little time, the rows to compare with. Does not
belong here: disturbing anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from resources.settings import Settings, load_settings
from services.simulated_venue.market_plan import FlowSettings
from services.simulated_venue.order_flow import OrderFlow
from services.simulated_venue.recording import read_recording, write_recording
from services.simulated_venue.venue_message import MessageKind, VenueMessage
from signal_assets.event_time import MINUTE, from_datetime
from tests.lanes.market_run import GROUP, RawRows, ingest

SEED: Final = 29
DAYS: Final = (date(2025, 1, 6), date(2025, 1, 7))
MIDNIGHT: Final = from_datetime(datetime(2025, 1, 7, tzinfo=UTC))
SPEED: Final = 25.0
"""Seconds of market in a second."""

SETTINGS: Final = """
snapshot_interval_seconds: 20
strategic_interval_seconds: 15
live: {metrics_port: 0, health_port: 0}
instruments:
  - {symbol: BTCFDUSD, venue: BINANCE, pair: BTC/FDUSD, group: crypto, tick_size: '0.01', lot_size: '0.00001', bucket_size: '1'}
  - {symbol: ETHFDUSD, venue: BINANCE, pair: ETH/FDUSD, group: crypto, tick_size: '0.01', lot_size: '0.0001', bucket_size: '0.02'}
  - {symbol: ETHBTC, venue: BINANCE, pair: ETH/BTC, group: crypto, tick_size: '0.00001', lot_size: '0.0001', bucket_size: '0.00001'}
anomalies:
  window: 30
  minimum_points: 10
  novelty_minimum_points: 20
  alerting: [ensemble, novelty]
  silent: []
  keep_firing_seconds: 30
  cool_down_seconds: 30
  group_tolerance_seconds: 5
  drift_reference_points: 40
  drift_recent_points: 20
  drift_every_points: 5
  drift_probability: 0.01
strategies:
  triangular_arbitrage: {profit_threshold: '0.00001'}
  moving_average_crossover: {fast_bars: 2, slow_bars: 3, timeframes: [1m, 5m]}
signals: {minimum_mean_score: 0.3, duplicate_minutes: 2, expiry_seconds: 3600}
"""  # noqa: E501 – YAML
FLOW: Final = FlowSettings(diff_interval=3_000, trades_per_second=1.0, levels_per_side=250, anomalies_per_day=300.0)


@dataclass(frozen=True)
class Market:
    """The recording, and what an undisturbed live lane makes of the same messages, without sockets."""

    recording: Path
    settings: Settings
    settings_file: Path
    seconds: float
    """How long serving it takes."""
    trade_ids: dict[str, list[int]]
    """Of each instrument, in order."""
    undisturbed: RawRows


def make_market(folder: Path, seconds: float, seed: int = SEED) -> Market:
    """Write a recording around a midnight that takes ``seconds`` to serve at :data:`SPEED`."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "signals.yaml"
    file.write_text(SETTINGS, "utf-8")
    settings = load_settings(file)
    minutes = seconds * SPEED / 60
    start = MIDNIGHT - int(minutes / 2) * MINUTE
    model = OrderFlow(settings.groups[GROUP], start=start, seed=seed, days=minutes / 1440, settings=FLOW)
    recording = folder / "recording.gz"
    write_recording(recording, model)
    messages = list(read_recording([recording]))
    return Market(
        recording,
        settings,
        file,
        seconds,
        _trade_ids(settings, messages),
        ingest(iter(messages), settings.groups[GROUP], settings),
    )


def _trade_ids(settings: Settings, messages: Sequence[VenueMessage]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {instrument.symbol: [] for instrument in settings.groups[GROUP]}
    for message in messages:
        if message.kind == MessageKind.TRADE:
            found[message.symbol].append(message.first_id)
    return {f"{symbol}.BINANCE": sorted(ids) for symbol, ids in found.items()}
