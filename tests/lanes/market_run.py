"""Runs a market through the live lane's ingest and into a lake, without sockets: fast enough for whole days.

REST is answered at once by the simulated venue's own books, which are independent of the live lane's.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from resources.exchange.binance_messages import MessageParser
from resources.lake import Lake, Progress
from resources.memory_lake import MemoryLake
from resources.settings import Settings, load_settings
from services.live_lane.lane import ingest_settings
from services.simulated_venue.served_market import ServedMarket
from services.simulated_venue.venue_message import VenueMessage
from signal_assets.aggregates.derivations import dollar_depth, dollar_trades
from signal_assets.derivation import Derivation, asset_name, compute, forward, recompute_day
from signal_assets.event_time import date_of, day_end, day_start
from signal_assets.instrument import Instrument
from signal_assets.levels.derivations import price_zones, value_area, wave_peaks
from signal_assets.market.ingest import ResumePoint, SnapshotRequest, VenueIngest
from signal_assets.market.ingest_protocol import Row
from signal_assets.market.messages import DepthSnapshot
from signal_assets.market.stream_codec import decode, encode
from signal_assets.market.tables import DEPTH_SNAPSHOTS, FEATURES, FEED_GAPS, TRADES
from signal_assets.market.tables import TABLES as RAW_TABLES
from signal_assets.table import Table
from signal_assets.window import Window

GROUP = "crypto"


def derivations(settings: Settings) -> list[Derivation]:
    """Every window table, in the order in which they follow from each other."""
    return [declare(settings) for declare in (dollar_depth, dollar_trades, wave_peaks, price_zones, value_area)]


@dataclass
class RawRows:
    """What the live lane would have recorded."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {table.name: [] for table in RAW_TABLES})
    watermark: int = 0
    first: int = 2**62
    states: dict[str, dict[str, object]] = field(default_factory=dict)

    def frame(self, table: Table) -> pd.DataFrame:
        """Rows of one table, through the very encoding that goes over Redis."""
        return decode(table, encode(table, self.rows[table.name]))


def ingest(
    source: Iterator[VenueMessage], instruments: Sequence[Instrument], settings: Settings, *, limit: int | None = None
) -> RawRows:
    """Everything the live lane records of ``source``; REST answers come at once."""
    market, parser = ServedMarket(source, instruments), MessageParser(instruments)
    lane = VenueIngest(instruments, ingest_settings(settings), dict[str, ResumePoint]())
    out = RawRows()
    served = 0
    while (taken := market.take(math.inf, 1)) and (limit is None or served < limit):
        message = taken[0]
        if not message.on_wire:
            continue
        served += 1
        parsed = parser.parse(message.received, message.raw)
        assert parsed is not None
        lane.receive(parsed)
        _answer(lane, market, parser)
        _drain(lane, parsed.instrument, out)
    lane.end_of_recording()
    for instrument in instruments:
        _drain(lane, instrument.key, out)
        out.states[instrument.key] = dict(lane.state(instrument.key))
    return out


def _answer(lane: VenueIngest, market: ServedMarket, parser: MessageParser) -> None:
    while requests := lane.requests():
        for request in requests:
            symbol = request.instrument.partition(".")[0]
            if isinstance(request, SnapshotRequest):
                book = market.depth(symbol, request.position)
                if book is None:
                    lane.fail(request, "the venue has no book")
                    continue
                bids, asks = sorted(book.bids.items(), reverse=True), sorted(book.asks.items())
                lane.answer_snapshot(request, DepthSnapshot(request.instrument, book.last_update_id, bids, asks))
            else:
                found = market.trades_from(symbol, request.from_id, request.limit, None)
                instrument = parser.by_symbol[symbol]
                lane.answer_trades(request, [parser.rest_trade(instrument, 0, item) for item in found])


def _drain(lane: VenueIngest, instrument: str, out: RawRows) -> None:
    output = lane.drain(instrument)
    for table, rows in (
        (TRADES, output.trades),
        (FEATURES, output.features),
        (DEPTH_SNAPSHOTS, output.depth_snapshots),
        (FEED_GAPS, output.feed_gaps),
    ):
        out.rows[table.name].extend(rows)
    if output.watermark is not None:
        out.watermark = max(out.watermark, output.watermark)
    for row in output.features[:1]:
        out.first = min(out.first, row[1])


def raw_lake(raw: RawRows, lake: Lake | None = None) -> Lake:
    """A lake that holds the raw rows and knows that they are complete."""
    made: Lake = MemoryLake() if lake is None else lake
    made.ensure(RAW_TABLES)
    for table in RAW_TABLES:
        with made.transaction(asset=asset_name(table), run_id="raw") as unit:
            unit.append(table, raw.frame(table))
            unit.advance(asset_name(table), GROUP, None, Progress(day_start(raw.first), raw.watermark))
    return made


def run_forward(lake: Lake, settings: Settings, ends: Sequence[int]) -> None:
    """Forward work in windows that end at ``ends``, every asset in turn, as a tactical run does."""
    todo = derivations(settings)
    for end in ends:
        for derivation in todo:
            forward(lake, derivation, GROUP, settings.groups[GROUP], end=end, run_id="forward")


def run_days(lake: Lake, settings: Settings, raw: RawRows) -> None:
    """Day runs over every day, late rows included, in order."""
    for day in range(day_start(raw.first), raw.watermark, 86_400_000_000):
        for derivation in derivations(settings):
            recompute_day(lake, derivation, GROUP, settings.groups[GROUP], day=date_of(day + 1), run_id="day")


def run_days_without_late_rows(lake: Lake, settings: Settings, raw: RawRows) -> None:
    """Whole days at once, but from what forward work may see: the reference for forward windows."""
    for day in range(day_start(raw.first), raw.watermark, 86_400_000_000):
        window = Window(day, day_end(day + 1))
        for derivation in derivations(settings):
            instruments = settings.groups[GROUP]
            rows = compute(lake, derivation, window, instruments, late=False)
            with lake.transaction(asset=derivation.asset, run_id="day") as unit:
                unit.replace(derivation.table, rows, window, [instrument.key for instrument in instruments])


def contents(lake: Lake, settings: Settings) -> dict[str, pd.DataFrame]:
    """Every derived table, whole."""
    return {derivation.table.name: lake.read(derivation.table) for derivation in derivations(settings)}


def assert_equal(left: dict[str, pd.DataFrame], right: dict[str, pd.DataFrame]) -> None:
    """Identical rows, to the bit."""
    assert left.keys() == right.keys()
    for name, frame in left.items():
        pd.testing.assert_frame_equal(frame, right[name], check_exact=True, obj=name)


def settings_with(folder: Path, text: str) -> Settings:
    """Settings from a text."""
    file = folder / "signals.yaml"
    file.write_text(text, "utf-8")
    return load_settings(file)
