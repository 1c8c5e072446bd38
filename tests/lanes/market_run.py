"""Runs a market through the live lane's ingest and into a lake, without sockets: fast enough for whole days.

REST is answered at once by the simulated venue's own books, which are independent of the live lane's.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from resources.exchange.binance_messages import MessageParser
from resources.lake import Lake, Progress
from resources.memory_lake import MemoryLake
from resources.settings import Settings, load_settings
from services.live_lane.shard import ingest_settings
from services.simulated_venue.served_market import ServedMarket
from services.simulated_venue.venue_message import VenueMessage
from signal_assets.aggregates.derivations import dollar_depth, dollar_trades
from signal_assets.anomalies.folds import anomaly_fold
from signal_assets.derivation import Derivation, asset_name, compute, forward, recompute_day
from signal_assets.event_time import DAY, MINUTE, SECOND, date_of, day_end, day_start
from signal_assets.execution.folds import execution_fold
from signal_assets.fold import Fold, WarmMachines, forward_fold, recompute_day_fold
from signal_assets.instrument import Instrument
from signal_assets.learning.derivations import recent_performance_lesson, regime_derivation, threshold_lesson
from signal_assets.learning.learned import Lesson, learn_day
from signal_assets.levels.derivations import level_outcomes, price_zones, value_area, wave_peaks
from signal_assets.market.ingest import ResumePoint, SnapshotRequest, VenueIngest
from signal_assets.market.ingest_protocol import Row
from signal_assets.market.messages import DepthSnapshot
from signal_assets.market.stream_codec import decode, encode
from signal_assets.market.tables import DEPTH_SNAPSHOTS, FEATURES, FEED_GAPS, TRADES
from signal_assets.market.tables import TABLES as RAW_TABLES
from signal_assets.performance.derivations import alert_derivation, metric_derivation
from signal_assets.performance.folds import equity_fold, trade_log_fold
from signal_assets.signals.folds import signal_fold
from signal_assets.signals.tables import EMITTED
from signal_assets.stage_tables import TABLES as STAGE_TABLES
from signal_assets.strategies.folds import strategy_folds
from signal_assets.table import Table
from signal_assets.window import Window

GROUP = "crypto"
ONE = "instruments:\n  - {symbol: BTCUSDT, venue: BINANCE, pair: BTC/USDT, tick_size: '0.01', lot_size: '0.00001'}\n"
THREE = """
grid_milliseconds: 5000
anomalies: {silent: []}
instruments:
  - {symbol: BTCFDUSD, venue: BINANCE, pair: BTC/FDUSD, tick_size: '0.01', lot_size: '0.00001'}
  - {symbol: ETHFDUSD, venue: BINANCE, pair: ETH/FDUSD, tick_size: '0.01', lot_size: '0.0001', bucket_size: '0.02'}
  - {symbol: ETHBTC, venue: BINANCE, pair: ETH/BTC, tick_size: '0.00001', lot_size: '0.0001', bucket_size: '0.00001'}
"""
FOLDED = tuple(
    table
    for table in STAGE_TABLES
    if table.stage in ("anomalies", "strategies", "signals", "execution", "performance", "learning")
    and table is not EMITTED
)
"""Tables that folds make, and what is made of those."""


def derivations(settings: Settings) -> list[Derivation]:
    """Every window table that raw data leads to, in the order in which they follow from each other."""
    declared = (dollar_depth, dollar_trades, wave_peaks, price_zones, value_area, level_outcomes)
    return [declare(settings) for declare in declared]


def folds(settings: Settings) -> list[Fold]:
    """Every fold, in the order in which they follow from each other."""
    return [
        anomaly_fold(settings),
        *strategy_folds(settings.strategies),
        signal_fold(settings),
        execution_fold(settings),
        trade_log_fold(settings),
        equity_fold(settings),
    ]


def scores(settings: Settings) -> list[Derivation]:
    """Window tables that keep score of the folds."""
    return [metric_derivation(settings), alert_derivation(settings)]


def lessons(settings: Settings) -> list[Lesson]:
    """What is learned from a closed day."""
    return [threshold_lesson(settings), recent_performance_lesson(settings)]


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
        answer(lane, market, parser)
        _drain(lane, parsed.instrument, out)
    lane.end_of_recording()
    for instrument in instruments:
        _drain(lane, instrument.key, out)
        out.states[instrument.key] = dict(lane.state(instrument.key))
    return out


def answer(lane: VenueIngest, market: ServedMarket, parser: MessageParser) -> None:
    """Hand in at once what REST answers from the same market."""
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
    """Forward work of the window tables in windows that end at ``ends``, asset by asset, as a tactical run does."""
    todo = derivations(settings)
    for end in ends:
        for derivation in todo:
            forward(lake, derivation, GROUP, settings.groups[GROUP], end=end, run_id="forward")


def run_folds_forward(lake: Lake, settings: Settings, ends: Sequence[int], warm: WarmMachines | None = None) -> None:
    """The same of the folds and of what is made of them; each midnight is learned from, as the schedule does."""
    stepping, keeping, group = folds(settings), scores(settings), settings.groups[GROUP]
    for end in with_midnights(ends):
        for fold in stepping:
            forward_fold(lake, fold, GROUP, group, end=end, run_id="forward", warm=warm)
        for derivation in keeping:
            forward(lake, derivation, GROUP, group, end=end, run_id="forward")
        if end % DAY == 0:
            learn(lake, settings, end)


def with_midnights(ends: Sequence[int]) -> list[int]:
    """The ends and the midnights between them: no run crosses one."""
    return sorted({*ends, *range(day_end(ends[0]), ends[-1], DAY)})


def learn(lake: Lake, settings: Settings, end: int) -> None:
    """Learn from the day that ends at ``end``."""
    group, day = settings.groups[GROUP], date_of(end)
    recompute_day(lake, regime_derivation(settings), GROUP, group, day=day, run_id="learn")
    for lesson in lessons(settings):
        learn_day(lake, lesson, GROUP, group, day=day, run_id="learn")


def run_days(lake: Lake, settings: Settings, raw: RawRows) -> None:
    """Day runs of the window tables over every day, late rows included, in order."""
    for start in days_of(raw):
        for derivation in derivations(settings):
            recompute_day(lake, derivation, GROUP, settings.groups[GROUP], day=date_of(start + 1), run_id="day")


def run_fold_days(lake: Lake, settings: Settings, raw: RawRows) -> None:
    """Day runs of the folds and of what is made of them, in order, each day learned from."""
    group = settings.groups[GROUP]
    for start in days_of(raw):
        day = date_of(start + 1)
        for fold in folds(settings):
            recompute_day_fold(lake, fold, GROUP, group, day=day, run_id="day")
        for derivation in scores(settings):
            recompute_day(lake, derivation, GROUP, group, day=day, run_id="day")
        learn(lake, settings, start + DAY)


def days_of(raw: RawRows) -> range:
    """Where the days of the recording begin."""
    return range(day_start(raw.first), raw.watermark, DAY)


def run_days_without_late_rows(lake: Lake, settings: Settings, raw: RawRows) -> None:
    """Whole days at once, but from what forward work may see: the reference for forward windows.

    The folds need none: they follow from features alone, which are never late.
    """
    for day in days_of(raw):
        window = Window(day, day_end(day + 1))
        for derivation in derivations(settings):
            instruments = settings.groups[GROUP]
            rows = compute(lake, derivation, window, instruments, late=False)
            with lake.transaction(asset=derivation.asset, run_id="day") as unit:
                unit.replace(derivation.table, rows, window, [instrument.key for instrument in instruments])


def folded(lake: Lake) -> dict[str, pd.DataFrame]:
    """Every table behind the raw-made ones, whole, operational columns apart."""
    return {table.name: lake.read(table)[list(table.value_columns)] for table in FOLDED}


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


def cuts(raw: RawRows, step: int) -> list[int]:
    """Ends of windows of ``step`` from the first row to the watermark."""
    return [*range(raw.first // step * step + step, raw.watermark, step), raw.watermark]


def random_cuts(raw: RawRows, seed: int, longest: int) -> list[int]:
    """Ends of windows of random lengths: some of a second, some of many minutes."""
    chance, position, ends = random.Random(seed), raw.first // SECOND * SECOND, []
    while position < raw.watermark:
        position += int(longest ** chance.random()) * SECOND
        ends.append(min(position, raw.watermark))
    return ends


def until_the_end(raw: RawRows, ends: Sequence[int]) -> list[int]:
    """Behind the last row only the watermark moves: one window to the day's end is enough."""
    last = max(row[2] for row in raw.rows[TRADES.name]) + 10 * MINUTE
    return [*(end for end in ends if end < last), raw.watermark]


_shared: dict[int, MemoryLake] = {}


def shared_lake(raw: RawRows) -> MemoryLake:
    """The raw rows as a lake, made once."""
    if id(raw) not in _shared:
        made = raw_lake(raw)
        assert isinstance(made, MemoryLake)
        _shared[id(raw)] = made
    return _shared[id(raw)]
