"""Messages of two small instruments, and ingest with its requests at hand."""

from collections.abc import Sequence

from signal_assets.event_time import SECOND
from signal_assets.instrument import Instrument
from signal_assets.market.ingest import (
    IngestSettings,
    Output,
    ResumePoint,
    SnapshotRequest,
    TradesRequest,
    VenueIngest,
)
from signal_assets.market.messages import DepthSnapshot, DepthUpdate, Message, Trade

ONE, TWO = (Instrument(f"{name}USD", "VENUE", f"{name}/USD", tick_size=5, lot_size=10) for name in ("ONE", "TWO"))
START = 1_700_000_040 * SECOND
"""A whole minute."""
MILLI = 1_000


def diff(
    milliseconds: int,
    first: int,
    final: int | None = None,
    bids: Sequence[tuple[int, int]] = (),
    asks: Sequence[tuple[int, int]] = (),
) -> DepthUpdate:
    time = START + milliseconds * MILLI
    return DepthUpdate(ONE.key, time, time, first, first if final is None else final, list(bids), list(asks))


def trade(number: int, milliseconds: int, clock: int | None = None, key: str = ONE.key, **more: int) -> Trade:
    time = START + milliseconds * MILLI
    shown = START + (milliseconds if clock is None else clock) * MILLI
    return Trade(key, number, time, shown, more.get("price", 100), more.get("quantity", 10), True, shown)


def picture(last: int, bids: Sequence[tuple[int, int]] = ((95, 1),), key: str = ONE.key) -> DepthSnapshot:
    return DepthSnapshot(key, last, list(bids), [(105, 1)])


class Lane:
    """Ingest with its requests at hand."""

    def __init__(self, *instruments: Instrument, resume: dict[str, ResumePoint] | None = None, **more: int) -> None:
        self.ingest = VenueIngest(instruments or [ONE], IngestSettings(**more), resume or {})

    def receive(self, *messages: Message) -> "Lane":
        for message in messages:
            self.ingest.receive(message)
        return self

    def request(self) -> SnapshotRequest | TradesRequest:
        (request,) = self.ingest.requests()
        return request

    def snapshot(self, last: int, bids: Sequence[tuple[int, int]] = ((95, 1),)) -> SnapshotRequest:
        request = self.request()
        assert isinstance(request, SnapshotRequest)
        self.ingest.answer_snapshot(request, picture(last, bids, request.instrument))
        return request

    def trades(self, *trades: Trade) -> TradesRequest:
        request = self.request()
        assert isinstance(request, TradesRequest)
        self.ingest.answer_trades(request, trades)
        return request

    def drain(self, key: str = ONE.key) -> Output:
        return self.ingest.drain(key)

    def synced(self, milliseconds: int = 0) -> "Lane":
        self.receive(diff(milliseconds, 11))
        self.snapshot(10)
        self.drain()
        return self


def times(output: Output) -> list[int]:
    return [(row[1] - START) // SECOND for row in output.features]


def kinds(output: Output) -> list[str]:
    return [event.kind for event in output.quality]
