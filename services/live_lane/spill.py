"""The spill: batches that Redis cannot take now, on disk, read back strictly in order.

Belongs here: the append-only segment files and their recovery. Does not belong here: when to spill (``outbox``).

A record is ``<length u32><crc32 u32><payload>``. A write that was cut short by kill -9 leaves a torn record at the end
of a segment; it is skipped, and counted. Records are sent again after a crash, for no read position is kept on disk:
entry ids are explicit, so Redis refuses what it has.

A record survives the death of this process at once, and that of the machine once it was synced: a second after it was
written at the latest, like Redis' own file with ``appendfsync everysec``.
"""

import contextlib
import os
import struct
import time
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import structlog

_HEADER: Final = struct.Struct("<II")
SEGMENT_BYTES: Final = 16 * 1024 * 1024
MAXIMUM_RECORD: Final = 512 * 1024 * 1024
SYNC_SECONDS: Final = 1.0

log = structlog.get_logger("live_lane.spill")


class SpillFullError(OSError):
    """The disk, or the share of it that we may use, is full; nothing of the record was written."""


class _Segment:
    """One file: how far it is written, how far it is read."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.read = 0


class Spill:
    """A first-in, first-out queue of byte records on disk.

    Parameters
    ----------
    folder : Path
        Holds the segments; made if absent. What an earlier process left there comes first.
    limit : int
        Most bytes of all segments together.
    """

    def __init__(self, folder: Path, limit: int, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._limit = limit
        self._segment_bytes = segment_bytes
        self._segments: deque[_Segment] = deque()
        self._writer: int | None = None
        self._head: bytes | None = None
        self._synced_at = time.monotonic()
        self._dirty = False
        self.corrupt_bytes = 0
        self.appended_records = 0
        self.appended_bytes = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._next_number = 1
        for path in sorted(folder.glob("*.spill")):
            self._next_number = int(path.stem) + 1
            self._segments.append(_Segment(path, path.stat().st_size))
        self._seek()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments)

    @property
    def empty(self) -> bool:
        """Whether everything was read back."""
        return self._head is None

    def append(self, payload: bytes) -> None:
        """Put a record at the end; it survives the death of this process, and a second later that of the machine.

        Raises
        ------
        SpillFullError
            If it would not fit; the spill is as before.
        """
        record = _HEADER.pack(len(payload), zlib.crc32(payload)) + payload
        if self.size + len(record) > self._limit:
            raise SpillFullError(f"spill limit of {self._limit} bytes reached in {self._folder}")
        segment = self._writable()
        try:
            _write_all(self._writer_of(segment), record)
            self._dirty = True
            if time.monotonic() - self._synced_at >= SYNC_SECONDS:
                self.sync()
        except OSError as error:
            self._undo(segment)
            raise SpillFullError(error.errno, f"{error.strerror}: {segment.path}") from error
        segment.size += len(record)
        self.appended_records += 1
        self.appended_bytes += len(record)
        if self._head is None:
            self._seek()

    def peek(self) -> bytes:
        """The oldest record.

        Raises
        ------
        IndexError
            If there is none.
        """
        if self._head is None:
            raise IndexError("the spill is empty")
        return self._head

    def advance(self) -> None:
        """Let go of the oldest record; a segment read to its end is deleted."""
        head = self.peek()
        self._segments[0].read += _HEADER.size + len(head)
        self._seek()

    def records(self) -> Iterator[bytes]:
        """All records that were not let go of, oldest first, without taking any; damaged ones are left out."""
        for segment in self._segments:
            position = segment.read
            with segment.path.open("rb") as file:
                while position < segment.size:
                    payload, length = _record_at(file, position, segment.size)
                    if payload is not None:
                        yield payload
                    position += length

    def sync(self) -> None:
        """See what was written onto the disk itself; the caller does it once more when nothing follows."""
        if self._writer is not None and self._dirty:
            os.fdatasync(self._writer)
        self._dirty, self._synced_at = False, time.monotonic()

    @property
    def sync_is_due(self) -> bool:
        """Whether something has been on its way to the disk for longer than it may."""
        return self._dirty and time.monotonic() - self._synced_at >= SYNC_SECONDS

    def close(self) -> None:
        """Close the file being written."""
        if self._writer is not None:
            with contextlib.suppress(OSError):  # a disk that cannot be synced keeps what it has
                self.sync()
            os.close(self._writer)
            self._writer = None

    def _writable(self) -> _Segment:
        # A segment of an earlier process is never appended to: its end may be torn.
        if self._writer is None or self._segments[-1].size >= self._segment_bytes:
            self.close()
            self._segments.append(_Segment(self._folder / f"{self._next_number:012d}.spill", 0))
            self._next_number += 1
        return self._segments[-1]

    def _writer_of(self, segment: _Segment) -> int:
        if self._writer is None:
            self._writer = os.open(segment.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            _sync_folder(self._folder)
        return self._writer

    def _undo(self, segment: _Segment) -> None:
        if self._writer is not None:
            os.ftruncate(self._writer, segment.size)
            if segment.size:
                return
        # Nothing in it, perhaps not even made: the next append starts another one.
        self.close()
        self._segments.pop()
        segment.path.unlink(missing_ok=True)

    def _seek(self) -> None:
        """Read the oldest record into ``_head``, deleting segments that have nothing left."""
        self._head = None
        while self._segments:
            segment = self._segments[0]
            self._head = self._read(segment)
            if self._head is not None:
                return
            if len(self._segments) == 1:
                self.close()
            segment.path.unlink(missing_ok=True)
            self._segments.popleft()

    def _read(self, segment: _Segment) -> bytes | None:
        """Next good record of the segment, None at its end; skips what is damaged."""
        with segment.path.open("rb") as file:
            while segment.read < segment.size:
                payload, length = _record_at(file, segment.read, segment.size)
                if payload is not None:
                    return payload
                self._damaged(segment, length)
        return None

    def _damaged(self, segment: _Segment, length: int) -> None:
        self.corrupt_bytes += length
        log.error("spill record damaged, skipped", file=str(segment.path), position=segment.read, bytes=length)
        segment.read += length


def _record_at(file: IO[bytes], position: int, size: int) -> tuple[bytes | None, int]:
    """The record that begins at ``position`` and its length on disk; None where it is damaged, with what to skip."""
    file.seek(position)
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None, size - position
    length, checksum = _HEADER.unpack(header)
    # A length of 0 is what a file system leaves behind a power cut: zeros, whose checksum would be right.
    if not 0 < length <= min(size - position - _HEADER.size, MAXIMUM_RECORD):
        return None, size - position
    payload = file.read(length)
    return (payload if zlib.crc32(payload) == checksum else None), _HEADER.size + length


def _sync_folder(folder: Path) -> None:
    """See a new file's name onto the disk: without it a power cut may leave the content without a name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
