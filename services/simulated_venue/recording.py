"""Recordings: gzip files of ``<receive time, ns> <raw JSON>`` lines, read and written.

Belongs here: the file format and its errors. Does not belong here: serving a recording (``server.py``).
"""

import gzip
import heapq
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from services.simulated_venue.order_flow import OrderFlow
from services.simulated_venue.venue_message import MessageKind, VenueMessage, bare, combined, stream_name
from signal_assets.instrument import SYMBOL_PATTERN

TRUTH_SUFFIX: Final = ".truth.json"
PROGRESS_EVERY: Final = 2_000
COMPRESSION_LEVEL: Final = 5

_STREAMS: Final = {
    "depth": (MessageKind.DEPTH, "U", "u"),
    "trade": (MessageKind.TRADE, "t", "t"),
    "bookTicker": (MessageKind.BOOK_TICKER, "u", "u"),
    "snapshot": (MessageKind.SNAPSHOT, "lastUpdateId", "lastUpdateId"),
    "historicalTrades": (MessageKind.PAST_TRADES, "", ""),
}
_ON_WIRE: Final = (MessageKind.DEPTH, MessageKind.TRADE, MessageKind.BOOK_TICKER)


class RecordingError(ValueError):
    """A recording cannot be read; the text names the file and, where there is one, the line."""


@dataclass(slots=True)
class RecordingSummary:
    """What a recording holds; times in ns UTC by the receiver's clock."""

    messages: int = 0
    first_received: int = 0
    last_received: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    symbols: list[str] = field(default_factory=list)


def read_recording(paths: Sequence[Path]) -> Iterator[VenueMessage]:
    """Messages of one or several files, merged by receive time.

    Raises
    ------
    RecordingError
        A file is missing, empty, no gzip, cut off, or holds a line that is no message.
    """
    files = [_read_file(Path(path)) for path in paths]
    if not files:
        raise RecordingError("no recording was named")
    yield from files[0] if len(files) == 1 else heapq.merge(*files, key=lambda message: message.received)


def examine_recording(paths: Sequence[Path], *, progress: Callable[[int], None] | None = None) -> RecordingSummary:
    """Read everything once, so that a bad recording is refused before anything is started with it."""
    summary = RecordingSummary()
    for message in read_recording(paths):
        name = MessageKind(message.kind).name.lower()
        summary.by_kind[name] = summary.by_kind.get(name, 0) + 1
        if message.symbol not in summary.symbols:
            summary.symbols.append(message.symbol)
        if summary.messages == 0:
            summary.first_received = message.received
        summary.last_received = max(summary.last_received, message.received)
        summary.messages += 1
        if progress is not None and summary.messages % PROGRESS_EVERY == 0:
            progress(summary.messages)
    return summary


def truth_path(path: Path) -> Path:
    """Where the truth of a generated recording lies."""
    return path.with_name(path.name + TRUTH_SUFFIX)


def write_recording(path: Path, model: OrderFlow, *, progress: Callable[[float], None] | None = None) -> Path:
    """Write what a bounded model says, and its truth beside it; same model, same bytes.

    Snapshots stay as ``@snapshot`` lines; the trades of a feed gap become a ``@historicalTrades`` line at the first
    message after it; everything else that was not on the wire is left out. The files appear when they are complete.

    Parameters
    ----------
    path : Path
        The gzip file; the truth goes beside it with the suffix ``.truth.json``.
    model : OrderFlow
        Not yet iterated, with a length.
    progress : callable, optional
        Called with the done share, 0…1.

    Returns
    -------
    Path
        The truth file.

    Raises
    ------
    ValueError
        If the model has no end.
    """
    if model.end is None:
        raise ValueError("an endless model cannot be written: give it a number of days")
    start, length = model.start, model.end - model.start
    missed: dict[str, list[VenueMessage]] = {}
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as target, gzip.GzipFile("", "wb", COMPRESSION_LEVEL, target, mtime=0) as packed:
        for count, message in enumerate(model):
            if message.on_wire or message.kind == MessageKind.SNAPSHOT:
                if message.symbol in missed:
                    packed.write(_past_trades_line(message.received, missed.pop(message.symbol)))
                packed.write(b"%d %b\n" % (message.received, message.raw))
            elif message.kind == MessageKind.TRADE:
                missed.setdefault(message.symbol, []).append(message)
            if progress is not None and count % PROGRESS_EVERY == 0:
                progress(min(1.0, max(0.0, (message.received / 1000 - start) / length)))
        for trades in missed.values():
            packed.write(_past_trades_line(trades[-1].received, trades))
    answer = truth_path(path)
    answer.write_bytes(orjson.dumps(model.truth(), option=orjson.OPT_INDENT_2))
    unfinished.replace(path)
    if progress is not None:
        progress(1.0)
    return answer


def rest_trade(raw: bytes) -> dict[str, Any]:
    """A trade of the stream in the form of ``/api/v3/historicalTrades``."""
    data = orjson.loads(bare(raw))
    return {
        "id": data["t"],
        "price": data["p"],
        "qty": data["q"],
        "quoteQty": "0.00000000",
        "time": data["T"],
        "isBuyerMaker": data["m"],
        "isBestMatch": data.get("M", True),
    }


def _past_trades_line(received: int, trades: Sequence[VenueMessage]) -> bytes:
    stream = stream_name(trades[0].symbol, MessageKind.PAST_TRADES)
    data = orjson.dumps([rest_trade(trade.raw) for trade in trades]).decode()
    return b"%d %b\n" % (received, combined(stream, data))


def _read_file(path: Path) -> Iterator[VenueMessage]:
    number = 0
    waiting: list[tuple[int, Any, bytes]] = []
    symbol = ""
    several = False
    try:
        with gzip.open(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                received, data, raw = _split(path, number, line)
                if "lastUpdateId" in data:  # a bare REST snapshot: of the file's only instrument
                    if several:
                        raise RecordingError(f"{path} line {number}: a bare snapshot among several instruments")
                    if not symbol:
                        waiting.append((received, data, raw))
                        continue
                    yield _bare_snapshot(symbol, received, data, raw)
                    continue
                message = _message(path, number, received, data, raw)
                several = several or (symbol != "" and message.symbol != symbol)
                symbol = message.symbol
                for item in waiting:
                    yield _bare_snapshot(symbol, *item)
                waiting.clear()
                yield message
    except FileNotFoundError as error:
        raise RecordingError(f"{path}: there is no such file") from error
    except EOFError as error:
        raise RecordingError(f"{path}: cut off after line {number} (the gzip stream has no end)") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise RecordingError(f"{path}: no intact gzip file after line {number}: {error}") from error
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror or error}") from error
    if number == 0:
        raise RecordingError(f"{path}: is empty")


def _split(path: Path, number: int, line: bytes) -> tuple[int, dict[str, Any], bytes]:
    head, _, raw = line.strip().partition(b" ")
    if not head.isdigit() or len(head) > 19:
        raise RecordingError(f"{path} line {number}: does not begin with a receive time in ns: {line[:40]!r}")
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RecordingError(f"{path} line {number}: not JSON: {error}") from error
    if not isinstance(data, dict):
        raise RecordingError(f"{path} line {number}: not a message: {raw[:60]!r}")
    return int(head), data, raw


def _bare_snapshot(symbol: str, received: int, data: Mapping[str, Any], raw: bytes) -> VenueMessage:
    stream = stream_name(symbol, MessageKind.SNAPSHOT)
    last_id = data["lastUpdateId"]
    return VenueMessage(
        received, MessageKind.SNAPSHOT, stream, symbol, last_id, last_id, combined(stream, raw.decode()), False
    )


def _message(path: Path, number: int, received: int, line: Mapping[str, Any], raw: bytes) -> VenueMessage:
    stream = line.get("stream")
    name, _, suffix = stream.partition("@") if isinstance(stream, str) else ("", "", "")
    known = _STREAMS.get("depth" if suffix.startswith("depth") else suffix)
    symbol = name.upper()
    if known is None or not SYMBOL_PATTERN.match(symbol):
        raise RecordingError(f"{path} line {number}: no stream of a venue: {stream!r}")
    kind, first_field, last_field = known
    try:
        data = line["data"]
        if kind is MessageKind.PAST_TRADES:
            first, last = data[0]["id"], data[-1]["id"]
        else:
            first, last = data[first_field], data[last_field]
    except KeyError as error:
        raise RecordingError(f"{path} line {number}: field {error.args[0]!r} is missing") from error
    except (IndexError, TypeError) as error:
        raise RecordingError(f"{path} line {number}: {error}") from error
    if type(first) is not int or type(last) is not int:
        raise RecordingError(f"{path} line {number}: an id is no integer: {first!r}, {last!r}")
    return VenueMessage(received, kind, stream or "", symbol, first, last, raw, kind in _ON_WIRE)
