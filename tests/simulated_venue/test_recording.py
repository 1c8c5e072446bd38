"""Recordings: what is written comes back, what is broken is refused in one line with file and line."""

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.simulated_venue.market_plan import FlowSettings
from services.simulated_venue.order_flow import DEFAULT_START, OrderFlow
from services.simulated_venue.recording import (
    RecordingError,
    examine_recording,
    read_recording,
    truth_path,
    write_recording,
)
from services.simulated_venue.venue_message import MessageKind
from signal_assets.event_time import MINUTE
from signal_assets.instrument import Instrument

TRADE = b'{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","t":%d}}'
SNAPSHOT = b'{"lastUpdateId":7,"bids":[],"asks":[]}'


def written(path: Path, *lines: bytes) -> Path:
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    return path


def model(instruments: tuple[Instrument, ...], **changes: Any) -> OrderFlow:
    gap = ("BTCFDUSD", DEFAULT_START + 5 * MINUTE, DEFAULT_START + 8 * MINUTE)
    settings = FlowSettings.sparse(planned_gaps=(gap,), trades_per_second=0.5)
    return OrderFlow(instruments, **({"seed": 9, "days": 20 / 1440, "settings": settings} | changes))


def test_a_written_recording_comes_back(instruments: tuple[Instrument, ...], tmp_path: Path) -> None:
    shares: list[float] = []
    path = tmp_path / "market.gz"
    truth = write_recording(path, model(instruments), progress=shares.append)
    assert truth == truth_path(path) == tmp_path / "market.gz.truth.json"
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["market.gz", "market.gz.truth.json"]
    said = list(model(instruments))
    read = list(read_recording([path]))
    assert [m for m in read if m.on_wire] == [m for m in said if m.on_wire]
    assert [m.raw for m in read if m.kind == MessageKind.SNAPSHOT] == [
        m.raw for m in said if m.kind == MessageKind.SNAPSHOT
    ]
    # the trades of the gap: ids, prices and times as said, in the form REST has
    unseen = [orjson.loads(m.raw)["data"] for m in said if m.kind == MessageKind.TRADE and not m.on_wire]
    filled = [item for m in read if m.kind == MessageKind.PAST_TRADES for item in orjson.loads(m.raw)["data"]]
    assert len(unseen) > 20
    assert [(t["t"], t["p"], t["q"], t["T"], t["m"]) for t in unseen] == [
        (t["id"], t["price"], t["qty"], t["time"], t["isBuyerMaker"]) for t in filled
    ]
    ids = [m.first_id for m in read if m.kind == MessageKind.TRADE and m.symbol == "BTCFDUSD"]
    assert sorted([*ids, *(item["id"] for item in filled)]) == list(range(ids[0], ids[-1] + 1))


def test_the_truth_lies_beside_it(instruments: tuple[Instrument, ...], tmp_path: Path) -> None:
    truth = orjson.loads(write_recording(tmp_path / "m.gz", model(instruments)).read_bytes())
    assert truth["seed"] == 9
    assert truth["instruments"] == ["BTCFDUSD.BINANCE", "ETHFDUSD.BINANCE", "ETHBTC.BINANCE"]
    assert (truth["start"], truth["end"]) == (DEFAULT_START, DEFAULT_START + 20 * MINUTE)
    assert truth["gaps"] == [
        {
            "instrument": "BTCFDUSD.BINANCE",
            "start": DEFAULT_START + 5 * MINUTE,
            "end": DEFAULT_START + 8 * MINUTE,
        }
    ]
    assert set(truth["walls"][0]) == {"instrument", "side", "price", "quantity", "start", "end"}
    assert all(Decimal(wall["quantity"]) > 0 and wall["end"] <= truth["end"] for wall in truth["walls"])
    assert {regime["name"] for regime in truth["regimes"]} <= {"calm", "normal", "volatile"}
    assert truth["regimes"][0]["start"] == DEFAULT_START


def test_same_seed_same_file(instruments: tuple[Instrument, ...], tmp_path: Path) -> None:
    write_recording(tmp_path / "a.gz", model(instruments))
    write_recording(tmp_path / "b.gz", model(instruments))
    write_recording(tmp_path / "c.gz", model(instruments, seed=10))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert truth_path(tmp_path / "a.gz").read_bytes() == truth_path(tmp_path / "b.gz").read_bytes()
    assert (tmp_path / "a.gz").read_bytes() != (tmp_path / "c.gz").read_bytes()


def test_an_endless_model_is_not_written(instruments: tuple[Instrument, ...], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="endless"):
        write_recording(tmp_path / "m.gz", model(instruments, days=None))
    assert list(tmp_path.iterdir()) == []


def test_the_shipped_recording(shared_data: Path) -> None:
    folder = shared_data / "binance_spot_btcusdt"
    counts: list[int] = []
    # named in the wrong order on purpose: files are merged by receive time
    summary = examine_recording(
        [folder / "btcusdt_20240809.gz", folder / "btcusdt_20240808.gz"], progress=counts.append
    )
    assert summary.by_kind == {"depth": 6_495, "trade": 19_904, "book_ticker": 73_174, "snapshot": 1}  # its README
    assert summary.messages == 6_495 + 19_904 + 73_174 + 1
    assert summary.symbols == ["BTCUSDT"]
    assert summary.first_received == 1_723_161_253_937_085_768
    assert len(counts) > 10


def test_files_of_several_instruments_are_merged_by_time(tmp_path: Path) -> None:
    first = written(tmp_path / "a.gz", b"1 " + TRADE % 1, b"5 " + TRADE % 2)
    second = written(tmp_path / "b.gz", b"3 " + (TRADE % 8).replace(b"btcusdt", b"ethusdt"))
    messages = list(read_recording([first, second]))
    assert [(m.received, m.symbol, m.first_id) for m in messages] == [
        (1, "BTCUSDT", 1),
        (3, "ETHUSDT", 8),
        (5, "BTCUSDT", 2),
    ]


def test_a_bare_snapshot_belongs_to_the_only_instrument(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gz", b"1 " + SNAPSHOT, b"2 " + TRADE % 1, b"3 " + SNAPSHOT)
    messages = list(read_recording([path]))
    assert [(m.received, m.stream, m.on_wire) for m in messages] == [
        (1, "btcusdt@snapshot", False),
        (2, "btcusdt@trade", True),
        (3, "btcusdt@snapshot", False),
    ]
    assert orjson.loads(messages[0].raw)["data"] == orjson.loads(SNAPSHOT)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{}", "does not begin with a receive time in ns"),
        (b"12x {}", "does not begin with a receive time in ns"),
        (b"12 {", "not JSON"),
        (b"12 []", "not a message"),
        (b"12 {}", "no stream of a venue: None"),
        (b'12 {"stream":"btcusdt@kline_1m","data":{}}', "no stream of a venue: 'btcusdt@kline_1m'"),
        (b'12 {"stream":"@trade","data":{}}', "no stream of a venue: '@trade'"),
        (b'12 {"stream":"btcusdt@trade"}', "field 'data' is missing"),
        (b'12 {"stream":"btcusdt@trade","data":{}}', "field 't' is missing"),
        (b'12 {"stream":"btcusdt@depth@100ms","data":{"U":1}}', "field 'u' is missing"),
        (b'12 {"stream":"btcusdt@trade","data":{"t":"1"}}', "an id is no integer"),
        (b'12 {"stream":"btcusdt@trade","data":[]}', "list indices"),
        (b'12 {"stream":"btcusdt@historicalTrades","data":[]}', "index out of range"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, reason: str) -> None:
    path = written(tmp_path / "bad.gz", b"1 " + TRADE % 1, line)
    with pytest.raises(RecordingError, match=reason) as caught:
        examine_recording([path])
    assert str(caught.value).startswith(f"{path} line 2: ")
    assert "\n" not in str(caught.value)


def test_a_bare_snapshot_among_several_instruments_is_refused(tmp_path: Path) -> None:
    other = (TRADE % 8).replace(b"btcusdt", b"ethusdt")
    path = written(tmp_path / "a.gz", b"1 " + TRADE % 1, b"2 " + other, b"3 " + SNAPSHOT)
    with pytest.raises(RecordingError, match="line 3: a bare snapshot among several instruments"):
        examine_recording([path])


def test_files_that_are_no_recordings_are_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.gz", *(b"1 " + TRADE % number for number in range(5_000))).read_bytes()
    cases = {
        "truncated": (whole[: len(whole) // 2], "cut off after line"),
        "empty": (b"", "is empty"),
        "nothing inside": (gzip.compress(b""), "is empty"),
        "plain": (b"1 {}\n", "no intact gzip file"),
        "damaged": (whole[:500] + b"\xff" * 40 + whole[540:], "no intact gzip file after line|not JSON|receive time"),
    }
    for name, (content, reason) in cases.items():
        path = tmp_path / f"{name}.gz"
        path.write_bytes(content)
        with pytest.raises(RecordingError, match=reason) as caught:
            examine_recording([path])
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(RecordingError, match="no such file"):
        examine_recording([tmp_path / "absent.gz"])
    with pytest.raises(RecordingError, match="directory"):
        examine_recording([tmp_path])
    with pytest.raises(RecordingError, match="no recording was named"):
        examine_recording([])
