"""Everything that may be handed to us wrong, as tables: what is said about it, and that nothing else is disturbed.

Messages go through the real adapter's parser and ingest, and once over sockets into a real Redis; commands run as
processes. How each command refuses what in detail is tested beside it (``tests/cli``, ``tests/exchange``).
"""

import asyncio
import gzip
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from resources.exchange.binance_messages import MessageParser
from resources.redis_keys import MARKET_DEAD, MARKET_QUALITY, market_stream
from resources.redis_streams import StreamReader
from resources.settings import load_settings
from services.live_lane.lane import LiveLane
from services.simulated_venue.market_plan import FlowSettings
from services.simulated_venue.order_flow import OrderFlow
from services.simulated_venue.server import SimulatedVenue
from signal_assets.event_time import SECOND
from signal_assets.instrument import Instrument, SanityRange
from signal_assets.market import tables
from signal_assets.market.ingest import IngestSettings, QualityEvent, SnapshotRequest, VenueIngest
from signal_assets.market.messages import DepthSnapshot, MalformedMessageError
from signal_assets.market.stream_codec import decode
from tests.live_lane.conftest import RedisServer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
ONE = 100_000_000
BTC = Instrument(
    *("BTCUSDT", "BINANCE", "BTC/USDT"),
    tick_size=ONE // 100,
    lot_size=ONE // 100_000,
    sanity=SanityRange(price_low=1_000 * ONE, price_high=1_000_000 * ONE, quantity_high=10_000 * ONE),
)
START = 1_723_075_200_000  # 2024-08-08, ms
DIFFS, TRADES = 80, 16
FIRST_ID = 101  # of the first diff; the book before it is at 100

# -- messages through parser and ingest --------------------------------------------------------------------------------

Content = dict[str, Any]
Spoil = Callable[[list[bytes]], list[bytes]]


def diff(number: int) -> Content:
    """Every 100 ms the best bid and ask change their quantities, and one level comes or goes."""
    bids = [["60000.00", f"{1 + number}.5"], [f"{59_999 - number // 2}.00", "2" if number % 2 else "0"]]
    asks = [["60001.00", f"{2 + number}.25"]]
    ids = FIRST_ID + number
    return {
        "e": "depthUpdate",
        "E": START + 100 * (number + 1),
        "s": "BTCUSDT",
        "U": ids,
        "u": ids,
        "b": bids,
        "a": asks,
    }


def trade(number: int) -> Content:
    time = START + 500 * number + 130
    price, quantity = f"6000{number % 2}.00", f"0.{number + 1:05}"
    return {
        "e": "trade", "E": time, "T": time, "s": "BTCUSDT", "t": 7_000 + number, "p": price, "q": quantity, "m": True
    }  # fmt: skip


def raw(content: Content) -> bytes:
    suffix = "trade" if content["e"] == "trade" else "depth@100ms"
    return json.dumps({"stream": f"btcusdt@{suffix}", "data": content}).encode()


def good_stream() -> list[bytes]:
    """Eight seconds."""
    contents = [diff(number) for number in range(DIFFS)] + [trade(number) for number in range(TRADES)]
    return [raw(content) for content in sorted(contents, key=lambda content: int(content["E"]))]


def book_at(position: int) -> DepthSnapshot:
    """What REST answers: the good diffs up to an update id, in plain dictionaries."""
    sides: dict[str, dict[int, int]] = {"b": {59_000 * ONE: ONE}, "a": {61_000 * ONE: ONE}}
    for number in range(position - FIRST_ID + 1):
        content = diff(number)
        for side, levels in sides.items():
            for price, quantity in content[side]:
                levels[round(float(price) * ONE)] = round(float(quantity) * ONE)
    bids, asks = ([(price, quantity) for price, quantity in levels.items() if quantity] for levels in sides.values())
    return DepthSnapshot(BTC.key, position, sorted(bids, reverse=True), sorted(asks))


@dataclass
class Taken:
    """What came of a stream: rows, and every word said about it."""

    rows: dict[str, list[tuple[Any, ...]]]
    state: dict[str, Any]
    dead: list[str] = field(default_factory=list)
    quality: list[QualityEvent] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def take(stream: list[bytes]) -> Taken:
    """A stream through parser and ingest, as the live lane drives them."""
    parser, lane = MessageParser([BTC]), VenueIngest([BTC], IngestSettings(snapshot_interval=SECOND))
    dead = []
    for number, text in enumerate(stream):
        try:
            message = parser.parse(number, text)
        except MalformedMessageError as error:
            dead.append(str(error))
            continue
        assert message is not None
        lane.receive(message)
        for request in lane.requests():
            assert isinstance(request, SnapshotRequest)
            lane.answer_snapshot(request, book_at(request.position))
    output, state = lane.drain(BTC.key), lane.state(BTC.key)
    without_received = [(*row[:3], *row[4:]) for row in output.trades]
    rows = {"trades": without_received, "features": output.features, "feed_gaps": output.feed_gaps}
    rows["depth"] = [(row[1], *map(tuple, row[4:8])) for row in output.depth_snapshots]
    remarks = [line for _, _, line in parser.drain_remarks()]
    return Taken(rows, state, dead, output.quality, remarks)


@pytest.fixture(scope="module")
def undisturbed() -> Taken:
    taken = take(good_stream())
    assert (len(taken.rows["trades"]), len(taken.rows["features"]), len(taken.rows["depth"])) == (TRADES, 6, 7)
    assert (taken.dead, taken.quality, taken.remarks, taken.rows["feed_gaps"]) == ([], [], [], [])
    assert taken.rows["features"][-1][2:4] == (60_000 * ONE, 60_001 * ONE)
    return taken


def between(*texts: bytes) -> Spoil:
    """Bad messages in the midst of the good ones."""
    return lambda stream: [*stream[:40], *texts, *stream[40:]]


def without(content: Content, name: str) -> bytes:
    return raw({key: value for key, value in content.items() if key != name})


def more_levels(number: int, bids: list[list[str]]) -> Spoil:
    """A good diff that holds more bids than it did."""
    content = diff(number)
    return lambda stream: [
        raw({**content, "b": content["b"] + bids}) if text == raw(content) else text for text in stream
    ]


REFUSED = {
    "malformed JSON": (b'{"stream":"btcusdt@trade","data":{', "not JSON"),
    "no object": (b"[1, 2]", "not an object"),
    "trade without price": (without(trade(99), "p"), "field 'p' is missing"),
    "diff without first id": (without(diff(99), "U"), "field 'U' is missing"),
    "diff without bids": (without(diff(99), "b"), "field 'b' is missing"),
    "negative quantity": (raw({**trade(99), "q": "-1"}), "field 'q' is not positive: '-1'"),
    "price that is no number": (raw({**trade(99), "p": "6e4"}), "not a plain decimal number"),
    "price beyond int64": (raw({**trade(99), "p": "92233720368547758.08"}), "beyond int64"),
    "unknown instrument": (raw({**trade(99), "s": "XYZUSDT"}), "unknown instrument 'XYZUSDT'"),
    "ids the wrong way round": (raw({**diff(99), "U": 300, "u": 299}), "first update id 300 is after the final one"),
}
"""Messages that cannot be understood: a dead letter each."""


@pytest.mark.parametrize("name", REFUSED)
def test_a_message_without_sense_is_a_dead_letter(undisturbed: Taken, name: str) -> None:
    text, reason = REFUSED[name]
    taken = take(between(text)(good_stream()))
    (line,) = taken.dead
    assert reason in line
    assert "\n" not in line
    assert (taken.rows, taken.quality, taken.remarks) == (undisturbed.rows, [], [])


LEFT_OUT = {
    "negative quantity in a diff": (["59500.00", "-2"], "level left out: impossible level 59500.00 × -2"),
    "price of zero in a diff": (["0.00", "1"], "level left out: impossible level 0.00 × 1"),
    "price beyond int64 in a diff": (["92233720368547758.08", "1"], "beyond int64"),
}
"""Levels no book can hold, in a diff whose loss would break the sequence: an event each, the diff is applied."""


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_level_without_sense_is_left_out_of_its_diff(undisturbed: Taken, name: str) -> None:
    level, reason = LEFT_OUT[name]
    taken = take(more_levels(40, [level])(good_stream()))
    (line,) = taken.remarks
    assert reason in line
    assert (taken.rows, taken.dead, taken.quality) == (undisturbed.rows, [], [])
    assert taken.state["sequence_gaps"] == 0


def test_repeated_diffs_and_trades_are_counted_and_change_nothing(undisturbed: Taken) -> None:
    taken = take([text for text in good_stream() for _ in range(2)])
    assert taken.state["duplicates"] == DIFFS + TRADES
    assert (taken.rows, taken.dead, taken.quality) == (undisturbed.rows, [], [])


def test_diffs_out_of_order_are_a_sequence_gap_and_a_new_book(undisturbed: Taken) -> None:
    stream = good_stream()
    first, second = (stream.index(raw(diff(number))) for number in (44, 45))
    stream[first], stream[second] = stream[second], stream[first]
    taken = take(stream)
    assert taken.dead == []
    (event,) = taken.quality
    assert (event.kind, event.detail) == ("sequence_gap", "book at 144, diff 146 to 146")
    assert (taken.state["synced"], taken.state["sequence_gaps"], taken.state["resyncs"]) == (True, 1, 1)
    (gap,) = taken.rows["feed_gaps"]
    assert (gap[1], gap[4]) == ("depth", "sequence")
    assert taken.rows["trades"] == undisturbed.rows["trades"]
    inside = [row for row in undisturbed.rows["features"] if gap[2] < row[1] < gap[3]]
    assert len(inside) == 1  # the one second in which a diff was missing
    assert {row[1] for row in undisturbed.rows["features"]} - {row[1] for row in taken.rows["features"]} == {
        inside[0][1]
    }
    assert taken.rows["depth"][-1] == undisturbed.rows["depth"][-1]


def test_a_price_out_of_range_is_kept_flagged_and_told(undisturbed: Taken) -> None:
    strange = {**trade(8), "p": "5000000.00", "q": "20000.00000"}
    taken = take([raw(strange) if text == raw(trade(8)) else text for text in good_stream()])
    assert [event.kind for event in taken.quality] == ["price_out_of_range", "quantity_out_of_range"]
    assert all("trade 7008: price 500000000000000" in event.detail for event in taken.quality)
    changed = [new for old, new in zip(undisturbed.rows["trades"], taken.rows["trades"], strict=True) if old != new]
    assert [(row[1], row[-1]) for row in changed] == [
        (7_008, tables.FLAG_PRICE_OUT_OF_RANGE | tables.FLAG_QUANTITY_OUT_OF_RANGE)
    ]
    assert taken.rows["depth"] == undisturbed.rows["depth"]


def test_twenty_thousand_levels_are_told_taken_in_and_stored_to_the_limit(undisturbed: Taken) -> None:
    taken = take(more_levels(40, [[f"{58_000 - number * 0.01:.2f}", "1"] for number in range(20_000)])(good_stream()))
    assert (taken.dead, taken.remarks) == ([], [])
    (event,) = taken.quality
    assert (event.kind, event.detail) == ("many_levels", "20002 bids and 1 asks in one diff, all kept")
    assert taken.state["levels"] == len(book_at(FIRST_ID + DIFFS - 1).bids) + 2 + 20_000
    assert [len(row[1]) for row in taken.rows["depth"]][-1] == 5_000
    # What traders see has not changed: these levels lie far below.
    width = len(undisturbed.rows["depth"][0][1])
    assert taken.rows["depth"][0] == undisturbed.rows["depth"][0]
    assert width < 20
    for old, new in zip(undisturbed.rows["features"], taken.rows["features"], strict=True):
        assert (old[:6], old[9:14]) == (new[:6], new[9:14])


# -- the same over sockets into Redis ----------------------------------------------------------------------------------


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


async def serve(server: RedisServer, home: Path, injected: list[bytes]) -> dict[str, list[tuple[Any, ...]]]:
    """A generated market through the whole lane; returns every stream's rows without reception times."""
    settings = load_settings(ROOT / "config" / "signals.yaml")
    instruments = tuple(settings.instruments_by_key.values())
    flow = OrderFlow(instruments, seed=5, days=0.001, settings=FlowSettings.sparse(diff_interval=500))
    home.mkdir()
    async with SimulatedVenue(flow, speed=math.inf) as venue:
        for text in injected:
            venue.inject(text)
        urls = {"rest_url": venue.rest_url, "stream_url": venue.stream_url, "virtual_clock": True}
        ports = {"metrics_port": 0, "health_port": 0}
        settings = settings.model_copy(
            update={
                "venue": settings.venue.model_copy(update=urls),
                "live": settings.live.model_copy(update=ports),
            }
        )
        lane = LiveLane(settings, server.url, home, exit_at_end=True)
        assert await asyncio.wait_for(lane.run(), 60) == "ended"
    reader, rows = StreamReader(server.client()), {}
    for key in settings.instruments_by_key:
        for stream, table in (
            ("trades", tables.TRADES),
            ("features", tables.FEATURES),
            ("depth", tables.DEPTH_SNAPSHOTS),
        ):
            name = market_stream(key, stream)
            rows[name] = [
                tuple(tuple(value) if hasattr(value, "__len__") else value for value in row)
                for entry in reader.read_after(name, None, 1_000_000)
                for row in decode(table, entry.fields["data"])
                .drop(columns="received_time", errors="ignore")
                .itertuples(index=False)
            ]
    return rows


async def test_bad_messages_over_sockets_are_dead_letters_and_nothing_else(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    bad = [text.replace(b"BTCUSDT", b"BTCFDUSD").replace(b"btcusdt", b"btcfdusd") for text, _ in REFUSED.values()]
    reasons = [reason for _, reason in REFUSED.values()]
    rows = await serve(redis_server, tmp_path / "disturbed", bad)
    client: Any = redis_server.client()
    letters = [letter for _, letter in client.xrange(MARKET_DEAD)]
    assert [letter[b"raw"] for letter in letters] == bad
    for letter, reason in zip(letters, reasons, strict=True):
        line = letter[b"reason"].decode()
        assert reason in line
        assert "\n" not in line
        assert letter[b"source"] == b"BINANCE"
    assert client.xlen(MARKET_QUALITY) == 0
    client.flushall()
    assert rows == await serve(redis_server, tmp_path / "undisturbed", [])
    assert client.xlen(MARKET_DEAD) == 0
    assert all(found for name, found in rows.items() if not name.endswith(":depth"))
    assert sum(map(len, rows.values())) > 400


# -- commands ----------------------------------------------------------------------------------------------------------

FILES = {
    "empty.gz": b"",
    "cut.gz": gzip.compress(b"".join(b"%d " % n + text + b"\n" for n, text in enumerate(good_stream(), 1)))[:-300],
    "broken.yaml": b"instruments: [\n",
    "binary.yaml": b"\x00\xff\xfe\x80",
    "misspelt.yaml": (ROOT / "config" / "signals.yaml").read_bytes() + b"grid_miliseconds: 500\n",
    "secret.csv": b"word\nhidden\n",
}
COMMANDS = {
    "empty file": (["replay", "empty.gz"], "empty.gz: is empty"),
    "truncated gzip": (["replay", "cut.gz"], "cut.gz: cut off after line "),
    "no such file": (["replay", "absent.gz"], "absent.gz: there is no such file"),
    "absent configuration": (["up", "--config", "absent.yaml"], "absent.yaml: cannot be read: no such file"),
    "broken configuration": (["demo", "--config", "broken.yaml"], "broken.yaml"),
    "binary configuration": (["config", "check", "binary.yaml"], "binary.yaml"),
    "unknown field": (["config", "check", "misspelt.yaml"], "grid_miliseconds"),
    "unknown option": (["replay", "cut.gz", "--sped", "2"], "No such option: --sped"),
    "option out of range": (["up", "--port", "70000"], "less than or equal to 65535"),
    "wrong SQL": (["sql", "SELEC 1"], "syntax error"),
    "SQL that writes": (["sql", "DELETE FROM market.trades"], "only SELECT is allowed here, this is DELETE"),
    "SQL that attaches": (["sql", "ATTACH 'x.db'"], "only SELECT is allowed here, this is ATTACH"),
    "SQL that copies out": (["sql", "COPY (SELECT 1) TO 'out.csv'"], "only SELECT is allowed here, this is COPY"),
    "SQL that reads a file": (["sql", "FROM read_csv('secret.csv')"], "function read_csv may not be used"),
    "SQL on a file's name": (["sql", "FROM 'secret.csv'"], "files may not be read"),
    "no platform": (["sql", "SELECT 1"], "no platform is running in"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("commands")
    for name, content in FILES.items():
        (made / name).write_bytes(content)
    return made


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_refuses_in_one_line(folder: Path, name: str) -> None:
    words, message = COMMANDS[name]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SIGNAL_", "DAGSTER_"))}
    done = subprocess.run(
        [sys.executable, "-m", "cli", *words],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in (1, 2), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message.lower() in line.lower()
    assert "Traceback" not in done.stderr + done.stdout
    assert "hidden" not in done.stdout
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert files == set(FILES)  # nothing was written
