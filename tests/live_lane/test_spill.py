import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.live_lane.batch import AUTOMATIC_ID, Addition, Batch, BatchError
from services.live_lane.spill import Spill, SpillFullError

LIMIT = 10_000_000


def read_all(spill: Spill) -> list[bytes]:
    records = []
    while not spill.empty:
        records.append(spill.peek())
        spill.advance()
    return records


def test_records_come_back_in_order_across_segments(tmp_path: Path) -> None:
    spill = Spill(tmp_path, LIMIT, segment_bytes=1_000)
    generator = random.Random(5)
    wanted: list[bytes] = []
    got: list[bytes] = []
    for number in range(2_000):
        record = b"%d " % number + generator.randbytes(generator.randrange(200))
        spill.append(record)
        wanted.append(record)
        if generator.random() < 0.4 and not spill.empty:
            got.append(spill.peek())
            spill.advance()
    assert 500 < len(got) < 1_200
    got += read_all(spill)
    assert got == wanted
    assert spill.size == 0
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_process_left_comes_first(tmp_path: Path) -> None:
    first = Spill(tmp_path, LIMIT)
    first.append(b"a")
    first.append(b"b")
    second = Spill(tmp_path, LIMIT)
    second.append(b"c")
    assert read_all(second) == [b"a", b"b", b"c"]


def test_used_segments_free_their_disk_space(tmp_path: Path) -> None:
    spill = Spill(tmp_path, LIMIT, segment_bytes=90)
    for _ in range(10):
        spill.append(bytes(90))
    before = spill.size
    for _ in range(5):
        spill.advance()
    assert spill.size == before / 2
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 50])
def test_torn_last_record_is_skipped_and_counted(tmp_path: Path, cut: int) -> None:
    spill = Spill(tmp_path, LIMIT)
    for record in (b"one", b"two", b"x" * 100):
        spill.append(record)
    spill.close()
    (path,) = tmp_path.iterdir()
    size = path.stat().st_size
    os.truncate(path, size - cut)

    again = Spill(tmp_path, LIMIT)
    again.append(b"after")
    assert read_all(again) == [b"one", b"two", b"after"]
    assert again.corrupt_bytes == 108 - cut


def test_flipped_bit_costs_one_record_only(tmp_path: Path) -> None:
    spill = Spill(tmp_path, LIMIT)
    for record in (b"one", b"two", b"three"):
        spill.append(record)
    spill.close()
    (path,) = tmp_path.iterdir()
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"two")] ^= 1
    path.write_bytes(raw)

    again = Spill(tmp_path, LIMIT)
    assert read_all(again) == [b"one", b"three"]
    assert again.corrupt_bytes == 8 + 3


def test_zeros_left_by_a_power_cut_are_no_records(tmp_path: Path) -> None:
    spill = Spill(tmp_path, LIMIT)
    spill.append(b"one")
    spill.close()
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(bytes(64))
    again = Spill(tmp_path, LIMIT)
    assert read_all(again) == [b"one"]
    assert again.corrupt_bytes == 64


def test_limit_refuses_and_keeps_what_is_there(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 100)
    spill.append(bytes(range(80)))
    with pytest.raises(SpillFullError, match="limit of 100 bytes"):
        spill.append(bytes(20))
    assert read_all(spill) == [bytes(range(80))]
    spill.append(bytes(90))
    assert spill.peek() == bytes(90)


@pytest.mark.parametrize("earlier", [[], [b"kept"]])
def test_full_disk_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: list[bytes]) -> None:
    spill = Spill(tmp_path, LIMIT)
    for record in earlier:
        spill.append(record)
    real = os.write
    written: list[int] = []

    def full_after_ten_bytes(descriptor: int, data: bytes) -> int:
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(real(descriptor, data[:10]))
        return written[0]

    monkeypatch.setattr(os, "write", full_after_ten_bytes)
    with pytest.raises(SpillFullError, match="No space left"):
        spill.append(b"too much for this disk")
    monkeypatch.setattr(os, "write", real)
    spill.append(b"later")
    assert read_all(spill) == [*earlier, b"later"]
    assert spill.corrupt_bytes == 0


def test_kill_9_in_the_middle_of_writing(tmp_path: Path) -> None:
    folder = tmp_path / "spill"
    program = (
        "import sys; from pathlib import Path; from services.live_lane.spill import Spill\n"
        "spill = Spill(Path(sys.argv[1]), 10**9)\n"
        "number = 0\n"
        "while True:\n"
        "    spill.append(b'%d ' % number + b'x' * 300_000); number += 1\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(folder)])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and sum(p.stat().st_size for p in folder.glob("*")) < 3_000_000:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(10)

    numbers = [int(record.split()[0]) for record in read_all(Spill(folder, LIMIT))]
    assert len(numbers) >= 9
    assert numbers == list(range(len(numbers)))


def test_batch_survives_its_bytes() -> None:
    batch = Batch(
        (
            Addition("market:A.B:trades", "5-0", (("n", b"2"), ("data", b"{}"))),
            Addition("market:dead", AUTOMATIC_ID, (("raw", bytes(range(256))), ("reason", "für".encode())), 100_000),
        ),
        3,
    )
    assert Batch.decode(batch.encode()) == batch


@pytest.mark.parametrize("payload", [b"", b"\x01", bytes(8) + b"x", b"\xff" * 40])
def test_bytes_that_are_no_batch(payload: bytes) -> None:
    with pytest.raises(BatchError):
        Batch.decode(payload)
