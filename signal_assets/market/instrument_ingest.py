"""One instrument's messages in, its rows out: the book kept in sync, the grid closed, missing trades filled in.

Belongs here: every decision about one instrument, driven by the order of its messages alone. Does not belong here: the
venue's clock and other instruments (``ingest``), the book itself (``order_book``), what a row holds (``feature_grid``).

While an answer by REST is needed, all further messages wait in order. So the rows do not depend on how fast it came.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from signal_assets.event_time import SECOND, ceil_to, day_end, floor_to
from signal_assets.instrument import Instrument
from signal_assets.market.feature_grid import FeatureGrid
from signal_assets.market.feed_gaps import FeedGaps
from signal_assets.market.ingest_protocol import (
    DeadFeed,
    EndOfRecording,
    IngestSettings,
    Output,
    QualityEvent,
    Reconnected,
    ResumePoint,
    Row,
    SnapshotRequest,
    TradesRequest,
)
from signal_assets.market.messages import DepthSnapshot, DepthUpdate, PriceLevels, Trade
from signal_assets.market.order_book import Continuity, OrderBook
from signal_assets.market.tables import FLAG_FILLED_BY_REST
from signal_assets.market.trade_quality import QUALITY_KINDS, trade_flags
from signal_assets.market.trade_sequence import TradeOrder, TradeSequence

NEVER: Final = -(1 << 62)
RETRY_GRID: Final = 5 * SECOND
"""After REST gave up, a snapshot is asked for again at the next such grid point."""


Event = DepthUpdate | Trade | Reconnected | DeadFeed | EndOfRecording


class InstrumentIngest:
    """State machine of one instrument.

    Parameters
    ----------
    requests : list
        Where new REST requests are put; shared by all instruments of a venue.
    """

    def __init__(
        self,
        instrument: Instrument,
        settings: IngestSettings,
        resume: ResumePoint | None,
        requests: list[SnapshotRequest | TradesRequest],
    ) -> None:
        self.instrument = instrument
        self.key = instrument.key
        self.settings = settings
        self.book = OrderBook()
        self.features = FeatureGrid(self.key, settings.grid)
        self.trades = TradeSequence(self.key, resume.last_trade_id if resume else None, settings.trades_page)
        self.output = Output()
        self.awaiting: SnapshotRequest | TradesRequest | None = None
        self.held: deque[tuple[Event, int]] = deque()
        self.clock = NEVER
        self.closed = resume.closed if resume else None
        self.synced = False
        self.sequence_gaps = self.resyncs = self.crossed = self.duplicates = self.late_trades = 0
        self.reconcile_differences = 0
        self._requests = requests
        self._announced = self.closed
        self._reason = ""
        self._next_close = NEVER if self.closed is None else self.closed + settings.grid + settings.lateness
        self._quiet_delay = settings.quiet_after + settings.lateness
        # Depth: `_loaded` is a snapshot whose first diff has not come yet.
        self._loaded = False
        self._ever_synced = False
        self._too_old: int | None = None
        self._asked_at = self._retry_at = NEVER
        self._synced_from = 0
        self._next_capture = 0
        self._last_good = NEVER
        self._last_received = 0
        self._reconcile_at = NEVER
        self._reconciling: DepthSnapshot | None = None
        self._depth_rows: deque[Row] = deque()
        self._last_trade_time: int | None = self.closed
        last_row = resume.last_row if resume else None
        self._gaps = FeedGaps(self.key, settings.grid, self.closed if last_row is None else last_row)

    # --- messages and their order -------------------------------------------------------------------------------

    def receive(self, event: Event, venue_clock: int) -> None:
        """Process an event, or hold it; ``venue_clock`` is the venue's clock before it."""
        if self.awaiting is not None or not self._process(event):
            self.held.append((event, venue_clock))

    def close_quiet(self, venue_clock: int) -> None:
        """Close what the venue's clock has passed by far, unless messages are held."""
        if self.awaiting is None and venue_clock != NEVER:
            self._close_to(venue_clock - self._quiet_delay)

    def refuse(self, clock: int) -> None:
        """Note that a message from the far future, or from no time at all, was not taken in."""
        self._note("clock_jump", max(self.clock, 0), f"message with exchange time {clock} µs refused")

    def drain(self) -> Output:
        """Rows since the last call."""
        output, self.output = self.output, Output()
        if self.closed != self._announced:
            output.watermark = self._announced = self.closed
            output.reason = self._reason
        return output

    def _release(self, venue_clock: int) -> None:
        held = self.held
        while held and self.awaiting is None:
            event, clock_before = held[0]
            self.close_quiet(clock_before)
            if self._process(event):
                held.popleft()
        self.close_quiet(venue_clock)

    def _process(self, event: Event) -> bool:
        """Take in one event; False if REST must answer first: then it is processed again after that."""
        if isinstance(event, Trade):
            return self._trade(event)
        if isinstance(event, DepthUpdate):
            return self._depth(event)
        if isinstance(event, Reconnected):
            self._reconnected(event.clock)
        elif isinstance(event, DeadFeed):
            self._dead_feed(event.time)
        else:
            self._end(event.clock)
        return True

    def _advance(self, clock: int) -> None:
        if clock > self.clock:
            self.clock = clock
            if clock >= self._next_close:
                self._close_to(clock - self.settings.lateness)

    def _ask(self, request: SnapshotRequest | TradesRequest) -> None:
        self.awaiting = request
        self._requests.append(request)

    def _note(self, kind: str, time: int, detail: str) -> None:
        self.output.quality.append(QualityEvent(self.key, time, kind, detail))

    # --- trades -------------------------------------------------------------------------------------------------

    def _trade(self, trade: Trade) -> bool:
        order = self.trades.order(trade.trade_id)
        if order is TradeOrder.NEXT:
            self._take(trade, 0)
        elif order is TradeOrder.AFTER_GAP:
            self._ask(self.trades.fill_before(trade.trade_id))
            return False
        elif order is TradeOrder.REFUTED:
            detail = f"trade {trade.trade_id} after {self.trades.last_id}: REST knows neither it nor any between"
            self._note("trade_refuted", max(self.clock, 0), detail)
            return True
        else:
            self.duplicates += 1
        self._advance(trade.clock)
        return True

    def _take(self, trade: Trade, flags: int) -> None:
        time, closed, last = trade.event_time, self.closed, self.trades.last_id
        if last is not None and trade.trade_id != last + 1:
            self._gaps.add_unfilled_trades(self._last_trade_time, time, closed)
            self._note("trades_unfilled", time, f"trades {last + 1} to {trade.trade_id - 1} are missing")
        late = closed is not None and time <= closed
        if late:
            self.late_trades += 1
            self.features.last_price = trade.price  # still the newest one seen
        else:
            self.features.add_trade(trade)
        quality = trade_flags(self.instrument, trade.price, trade.quantity)
        if quality:
            flags |= quality
            detail = f"trade {trade.trade_id}: price {trade.price}, quantity {trade.quantity} (units of 1e-8)"
            for flag, kind in QUALITY_KINDS:
                if quality & flag:
                    self._note(kind, time, detail)
        self.trades.last_id = trade.trade_id
        self._last_trade_time = time
        self.output.trades.append(
            (
                self.key,
                trade.trade_id,
                time,
                trade.received_time,
                trade.price,
                trade.quantity,
                trade.is_buyer_maker,
                late,
                flags,
            )
        )

    def answer_trades(self, request: TradesRequest, trades: Sequence[Trade], venue_clock: int) -> None:
        """Take in trades by REST and go on, or ask for more."""
        if request != self.awaiting:
            return
        self.awaiting = None
        seed = self.trades.seed(trades)
        if seed is not None:
            self.features.last_price = seed.price
        taken = int(seed is not None)
        first_held = next((event.trade_id for event, _ in self.held if isinstance(event, Trade)), None)
        for trade in self.trades.missing(trades, first_held):
            self._take(trade, FLAG_FILLED_BY_REST)
            taken += 1
        more = self.trades.after_answer(request, trades, taken)
        if more is not None:
            self._ask(more)
        else:
            self._release(venue_clock)

    # --- the book -----------------------------------------------------------------------------------------------

    def _depth(self, update: DepthUpdate) -> bool:
        time, book = update.event_time, self.book
        if not (self.synced and book.plainly_next(update)):
            answer = self._out_of_order(update)
            if answer is not None:
                return answer
        if time > self._next_capture:
            self._capture_until(time - 1)
        if self._reconciling is not None:
            self._compare_before(update)
        book.apply_update(update)
        if len(update.bids) + len(update.asks) > self.settings.maximum_snapshot_levels:
            self._note(
                "many_levels", time, f"{len(update.bids)} bids and {len(update.asks)} asks in one diff, all kept"
            )
        if book.usable:
            self.features.add_flow(book)
            if time > self._last_good:
                self._last_good = time
            self._last_received = update.received_time
        else:
            self._broken(time)
        self._advance(time)
        if self.synced and time >= self._reconcile_at:
            self._reconcile_at = floor_to(time, self.settings.reconcile_interval) + self.settings.reconcile_interval
            self._ask(SnapshotRequest(self.key, book.last_update_id, "reconcile"))
        return True

    def _out_of_order(self, update: DepthUpdate) -> bool | None:
        """What becomes of a diff that is not plainly the next: None to apply it, else what processing it comes to."""
        time, book = update.event_time, self.book
        if not self.synced and not self._loaded:
            return self._ask_for_book(update)
        continuity = book.continuity(update)
        if continuity is Continuity.FOLLOWS:
            if not self.synced:
                self._gain_sync(time)
            return None
        # An older id at a newer time: one of the two has been spoilt, here or in a diff that was applied.
        contradicts = continuity is Continuity.STALE and self.synced and time > self._last_good
        if continuity is Continuity.STALE and not contradicts:
            self.duplicates += self.synced  # before the first diff applied they are only older than the snapshot
            self._advance(time)
            return True
        if self.synced:
            self.sequence_gaps += 1
            detail = f"book at {book.last_update_id}, diff {update.first_update_id} to {update.final_update_id}"
            self._note("sequence_gap", time, detail)
            self._capture_until(self._last_good)
            self._lose_sync(self._last_good, "sequence")
        elif self._too_old == book.last_update_id:
            self._without_book(f"snapshot {book.last_update_id} came twice and is older than the stream")
        else:
            self._too_old = book.last_update_id
            self._loaded = False
        return self._ask_for_book(update)

    def _ask_for_book(self, update: DepthUpdate) -> bool:
        if update.event_time < self._retry_at:
            self._advance(update.event_time)
            return True
        self._asked_at = update.event_time
        # By the rules a spot diff may begin right behind the snapshot, a futures diff must contain its id.
        futures = update.previous_final_update_id is not None
        position = update.final_update_id if futures else update.first_update_id - 1
        self._ask(SnapshotRequest(self.key, position, "sync"))
        return False

    def answer_snapshot(self, request: SnapshotRequest, snapshot: DepthSnapshot, venue_clock: int) -> None:
        """Start from the snapshot, or compare with it, and go on."""
        if request != self.awaiting:
            return
        self.awaiting = None
        bids, asks = PriceLevels.of(snapshot.bids), PriceLevels.of(snapshot.asks)
        bid_prices, ask_prices = bids.prices[bids.quantities > 0], asks.prices[asks.quantities > 0]
        if not len(bid_prices) or not len(ask_prices) or bid_prices.max() >= ask_prices.min():
            if request.purpose == "sync":
                self._without_book("snapshot with an empty side or crossed prices")
            else:
                self._note("snapshot_unusable", self.clock, "empty side or crossed prices, not compared")
        elif request.purpose == "sync":
            self.book.apply_snapshot(snapshot)
            self._loaded = True
        elif snapshot.last_update_id == self.book.last_update_id:
            self._compare(snapshot, None)
        elif snapshot.last_update_id > self.book.last_update_id:
            self._reconciling = snapshot  # newer than the book: the held diffs lead there
        self._release(venue_clock)

    def fail(self, request: SnapshotRequest | TradesRequest, reason: str, venue_clock: int) -> None:
        """REST gave up: go on without."""
        if request != self.awaiting:
            return
        self.awaiting = None
        if isinstance(request, TradesRequest):
            self.trades.give_up()
        elif request.purpose == "sync":
            self._without_book(reason)
        else:
            self._reconcile_at = floor_to(self.clock, RETRY_GRID) + RETRY_GRID
        self._release(venue_clock)

    def _without_book(self, reason: str) -> None:
        self._loaded = False
        self._too_old = None
        self._retry_at = floor_to(max(self.clock, self._asked_at), RETRY_GRID) + RETRY_GRID
        self._note("no_snapshot", self.clock, reason)

    def _gain_sync(self, time: int) -> None:
        grid, interval = self.settings.grid, self.settings.reconcile_interval
        self.synced, self._loaded, self._too_old = True, False, None
        self.resyncs += self._ever_synced
        self._ever_synced = True
        self._synced_from = max(time, self._last_good)
        self._next_capture = ceil_to(self._synced_from, grid)
        if self.closed is not None and self.closed >= self._next_capture:
            self._synced_from, self._next_capture = self.closed + 1, self.closed + grid
        self._last_good = self._synced_from
        self._reconcile_at = floor_to(time, interval) + interval
        self.features.rebase(self.book)

    def _lose_sync(self, last_good: int, reason: str) -> None:
        self._gaps.open_depth(last_good, reason)
        self.synced = self._loaded = False
        self._reconciling = None

    def _broken(self, time: int) -> None:
        """The diff just applied crossed the book or emptied a side: the book was wrong before."""
        book = self.book
        if book.crossed:
            self.crossed += 1
            self._note("crossed_book", time, f"bid {book.best[0]} ask {book.best[2]}")
        else:
            self._note("empty_side", time, f"{len(book.bids)} bids, {len(book.asks)} asks")
        self._lose_sync(time - 1, "crossed" if book.crossed else "sequence")

    def _compare_before(self, update: DepthUpdate) -> None:
        """Compare with the newer snapshot once the book is where it was taken, if need be inside the next diff."""
        snapshot = self._reconciling
        if snapshot is not None and snapshot.last_update_id < update.final_update_id:
            exact = snapshot.last_update_id == self.book.last_update_id
            self._compare(snapshot, None if exact else update)

    def _compare(self, snapshot: DepthSnapshot, touched: DepthUpdate | None) -> None:
        self._reconciling = None
        differences = self.book.reconcile(snapshot, touched)
        if differences:
            self.reconcile_differences += differences
            self._note("reconcile", self.clock, f"{differences} levels differed at update {snapshot.last_update_id}")
            self.features.rebase(self.book)

    # --- the grid -----------------------------------------------------------------------------------------------

    def _capture_until(self, limit: int) -> None:
        """Keep the book as it is now for every grid point up to ``limit`` not yet kept."""
        settings, book, point = self.settings, self.book, self._next_capture
        while point <= limit:
            self.features.capture(point, book, complete=point - settings.grid >= self._synced_from)
            if point % settings.snapshot_interval == 0:
                levels = book.levels(settings.maximum_snapshot_levels)
                row = (self.key, point, self._last_received, book.last_update_id, *levels, *book.coverage)
                self._depth_rows.append(row)
            point += settings.grid
        self._next_capture = point

    def _close_to(self, limit: int) -> None:
        grid, closed, output = self.settings.grid, self.closed, self.output
        target = limit - limit % grid
        if closed is not None and target <= closed:
            return
        if self.synced:
            self._capture_until(target)
        rows = self.features.close(target)
        depth_rows = self._depth_rows
        while depth_rows and depth_rows[0][1] <= target:
            output.depth_snapshots.append(depth_rows.popleft())
        output.feed_gaps.extend(self._gaps.close(target, rows))
        output.features.extend(rows)
        self.closed = target
        self._next_close = target + grid + self.settings.lateness
        reason = self._gaps.depth_reason
        self._reason = reason if reason in ("restart", "dead_feed") else ""

    # --- what is no message -------------------------------------------------------------------------------------

    def _reconnected(self, clock: int) -> None:
        if self.synced:
            self._capture_until(self._last_good)
            self._lose_sync(self._last_good, "restart")
        self._loaded = False
        self._retry_at = NEVER
        request = self.trades.fill_after_restart(clock)
        if request is not None:
            self._ask(request)

    def _dead_feed(self, time: int) -> None:
        if self.synced:
            self._capture_until(self._last_good)
            self._close_to(self._last_good)
            self._lose_sync(self._last_good if self.closed is None else max(self._last_good, self.closed), "dead_feed")
        before = self.closed
        self._close_to(time)
        if self.closed != before:
            self._reason = "dead_feed"

    def _end(self, venue_clock: int) -> None:
        """Close everything: rows up to our own clock, then without rows to the end of the venue's day."""
        if self.clock != NEVER:
            self._close_to(self.clock)
        self.synced = self._loaded = False
        start, grid = self._gaps.depth_start, self.settings.grid
        # No row came any more: the gap reaches just beyond what was recorded, if that was anything new.
        if start is not None and max(start, NEVER if self.closed is None else self.closed) <= venue_clock:
            self.output.feed_gaps.extend(self._gaps.end_depth(floor_to(venue_clock, grid) + grid))
        before = self.closed
        self._close_to(day_end(venue_clock))
        if self.closed != before:
            self._reason = "end_of_recording"

    # --- for /health and /metrics -------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Book, counters, clock and watermark."""
        return {
            "synced": self.synced,
            "coverage_low": self.book.coverage_low,
            "coverage_high": self.book.coverage_high,
            "levels": self.book.size,
            "best_bid": self.book.best_bid,
            "best_ask": self.book.best_ask,
            "sequence_gaps": self.sequence_gaps,
            "resyncs": self.resyncs,
            "crossed": self.crossed,
            "duplicates": self.duplicates,
            "late_trades": self.late_trades,
            "reconcile_differences": self.reconcile_differences,
            "held": len(self.held),
            "clock": None if self.clock == NEVER else self.clock,
            "closed": self.closed,
        }
