"""One venue's messages in, rows out: a pure state machine driven by the order of the messages alone.

Belongs here: the venue's clock, routing to instruments, what concerns the connection as a whole. Does not belong here:
one instrument's book, trades and grid (``instrument_ingest``), sockets, REST, Redis (``services/live_lane``).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from signal_assets.event_time import DAY, SECOND
from signal_assets.instrument import Instrument
from signal_assets.market.ingest_protocol import (
    DeadFeed,
    EndOfRecording,
    IngestSettings,
    Output,
    QualityEvent,
    Reconnected,
    ResumePoint,
    SnapshotRequest,
    TradesRequest,
)
from signal_assets.market.instrument_ingest import NEVER, InstrumentIngest
from signal_assets.market.messages import DepthSnapshot, DepthUpdate, Message, Trade

__all__ = [
    "IngestSettings",
    "Output",
    "QualityEvent",
    "ResumePoint",
    "SnapshotRequest",
    "TradesRequest",
    "VenueIngest",
]

LATEST_TIME: Final = 7_258_118_400 * SECOND
"""The year 2200: what is beyond, or before 1970, is no time."""
LONGEST_CLOCK_JUMP: Final = DAY
CLOCK_JUMPS_BELIEVED: Final = 10
"""One message from the far future is refused, since it would close the grid to there; this many in a row are true."""


class VenueIngest:
    """Turns the messages of one combined stream into rows of the raw market tables.

    The outcome is a function of the order of the messages and of what REST answers, not of when it answers. A grid
    point of an instrument closes when the instrument's own exchange clock has passed it by the lateness, or, while the
    instrument is silent, the venue's clock by ``quiet_after`` more.

    Parameters
    ----------
    instruments : sequence of Instrument
        All instruments of the stream.
    settings : IngestSettings
        Closing rule, grids, limits.
    resume : mapping of str to ResumePoint
        Where an earlier process stopped, by instrument key.

    Examples
    --------
    >>> btc = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", tick_size=1_000_000, lot_size=1_000)
    >>> ingest = VenueIngest([btc], IngestSettings())
    >>> ingest.receive(Trade(btc.key, 7, 1_500_000, 0, 6_173_763_000_000, 1_000, True, clock=1_600_000))
    >>> output = ingest.drain(btc.key)
    >>> len(output.trades), output.watermark
    (1, 1000000)
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        settings: IngestSettings,
        resume: Mapping[str, ResumePoint] = MappingProxyType({}),
    ) -> None:
        self._requests: list[SnapshotRequest | TradesRequest] = []
        self._instruments = {
            instrument.key: InstrumentIngest(instrument, settings, resume.get(instrument.key), self._requests)
            for instrument in instruments
        }
        self._touched: set[str] = set()
        self._quiet_delay = settings.quiet_after + settings.lateness
        self._grid = settings.grid
        self._clock = NEVER
        self._next_quiet_close = NEVER
        self._connecting = True
        self._jumps = 0

    def receive(self, message: Message) -> None:
        """Take in the next message of the stream; never raises, whatever the market sends."""
        if isinstance(message, Trade):
            clock = message.clock
        elif isinstance(message, DepthUpdate):
            clock = message.event_time
        else:
            return  # a book ticker has no exchange time
        ingest = self._instruments.get(message.instrument)
        if ingest is None:
            return
        self._touched.add(message.instrument)
        if not (0 <= clock <= LATEST_TIME and 0 <= message.event_time <= LATEST_TIME):
            ingest.refuse(clock)
            return
        before = self._clock
        if self._connecting or clock > before:
            if not self._connecting and clock - before > LONGEST_CLOCK_JUMP and self._refuse(ingest, clock):
                return
            if self._connecting:
                self._connected(clock)
            if clock > before:
                self._clock = clock
        self._jumps = 0
        ingest.receive(message, before)
        if self._clock >= self._next_quiet_close:
            self._close_quiet()

    def requests(self) -> list[SnapshotRequest | TradesRequest]:
        """What is to be asked by REST, newly since the last call."""
        if not self._requests:
            return []
        requests = self._requests[:]
        self._requests.clear()
        return requests

    def answer_snapshot(self, request: SnapshotRequest, snapshot: DepthSnapshot) -> None:
        """Hand in the answer of REST; an answer that nothing waits for is ignored."""
        self._touched.add(request.instrument)
        self._instruments[request.instrument].answer_snapshot(request, snapshot, self._clock)

    def answer_trades(self, request: TradesRequest, trades: Sequence[Trade]) -> None:
        """Hand in the answer of REST; an answer that nothing waits for is ignored."""
        sound = [trade for trade in trades if 0 <= trade.event_time <= LATEST_TIME]
        self._touched.add(request.instrument)
        self._instruments[request.instrument].answer_trades(request, sound, self._clock)

    def fail(self, request: SnapshotRequest | TradesRequest, reason: str) -> None:
        """REST gave up: go on without a book until the next multiple of 5 s, or with trades missing."""
        self._touched.add(request.instrument)
        self._instruments[request.instrument].fail(request, reason, self._clock)

    def disconnected(self) -> None:
        """The stream was lost: its next message starts a new sync and a refill of trades for all instruments."""
        self._connecting = True

    def dead_feed(self, time: int) -> None:
        """Close the grid up to ``time`` (our clock, µs) without rows."""
        self._touched.update(self._instruments)
        for ingest in self._instruments.values():
            ingest.receive(DeadFeed(time), self._clock)

    def end_of_recording(self) -> None:
        """Close everything; the watermark of all instruments becomes the end of the newest clock's day."""
        if self._clock != NEVER:
            self._touched.update(self._instruments)
            for ingest in self._instruments.values():
                ingest.receive(EndOfRecording(self._clock), self._clock)

    def touched(self) -> list[str]:
        """Instruments that may have produced something since the last call; the others have nothing to drain."""
        touched = [key for key in self._instruments if key in self._touched]
        self._touched.clear()
        return touched

    def drain(self, instrument: str) -> Output:
        """Rows of one instrument produced since the last call, in order."""
        return self._instruments[instrument].drain()

    def state(self, instrument: str) -> dict[str, Any]:
        """Sync, coverage, counters, clock and watermark of one instrument, for /health and /metrics."""
        state = self._instruments[instrument].state()
        state["synced"] = state["synced"] and not self._connecting
        return state

    def _connected(self, clock: int) -> None:
        # Of all instruments: a silent one must not be closed by the venue's clock before its trades are there.
        self._connecting = False
        self._touched.update(self._instruments)
        for ingest in self._instruments.values():
            ingest.receive(Reconnected(clock), self._clock)

    def _refuse(self, ingest: InstrumentIngest, clock: int) -> bool:
        """Whether a jump of the clock is refused; ten in a row are believed and start the stream anew."""
        self._jumps += 1
        if self._jumps >= CLOCK_JUMPS_BELIEVED:
            self._connecting = True
            return False
        ingest.refuse(clock)
        return True

    def _close_quiet(self) -> None:
        self._touched.update(self._instruments)
        for ingest in self._instruments.values():
            ingest.close_quiet(self._clock)
        passed = self._clock - self._quiet_delay
        self._next_quiet_close = passed - passed % self._grid + self._grid + self._quiet_delay
