"""A batch: the stream entries that go to Redis in one transaction, and their bytes for the disk.

Belongs here: what a batch is and how it is written and read back. Does not belong here: the file (``spill``), Redis
(``outbox``).
"""

import struct
from dataclasses import dataclass
from typing import Final

AUTOMATIC_ID: Final = "*"
_COUNT: Final = struct.Struct("<I")
_HEADER: Final = struct.Struct("<II")


class BatchError(ValueError):
    """Bytes are no batch."""


@dataclass(frozen=True, slots=True)
class Addition:
    """One ``XADD``: key, entry id (``*``: Redis gives one), fields; ``maximum_length`` 0 = unlimited."""

    key: str
    id: str
    fields: tuple[tuple[str, bytes], ...]
    maximum_length: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Additions in the order they must become visible, and how many records they carry."""

    additions: tuple[Addition, ...]
    records: int

    def encode(self) -> bytes:
        """As bytes: record and addition counts, then length-prefixed parts."""
        parts: list[bytes] = []
        for addition in self.additions:
            fields = [part for name, value in addition.fields for part in (name.encode(), value)]
            texts = (addition.key.encode(), addition.id.encode(), str(addition.maximum_length).encode(), *fields)
            parts.append(_COUNT.pack(len(texts)))
            for text in texts:
                parts += (_COUNT.pack(len(text)), text)
        return _HEADER.pack(self.records, len(self.additions)) + b"".join(parts)

    @classmethod
    def decode(cls, payload: bytes) -> "Batch":
        """The batch out of :meth:`encode`.

        Raises
        ------
        BatchError
            If the bytes are none.

        Examples
        --------
        >>> batch = Batch((Addition("market:X.Y:trades", "7-0", (("n", b"1"),)),), 1)
        >>> Batch.decode(batch.encode()) == batch
        True
        """
        try:
            records, count = _HEADER.unpack_from(payload)
            position = _HEADER.size
            additions = []
            for _ in range(count):
                (texts_count,) = _COUNT.unpack_from(payload, position)
                position += _COUNT.size
                texts: list[bytes] = []
                for _ in range(texts_count):
                    (length,) = _COUNT.unpack_from(payload, position)
                    position += _COUNT.size
                    texts.append(payload[position : position + length])
                    position += length
                key, identifier, maximum_length, *fields = texts
                names = [name.decode() for name in fields[::2]]
                pairs = tuple(zip(names, fields[1::2], strict=True))
                additions.append(Addition(key.decode(), identifier.decode(), pairs, int(maximum_length)))
        except (struct.error, ValueError) as error:
            raise BatchError(f"not a batch: {error}") from None
        if position != len(payload):
            raise BatchError(f"not a batch: {len(payload)} bytes where {position} belong")
        return cls(tuple(additions), records)
