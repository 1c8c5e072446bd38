"""Dead letters and quality events: what was refused, and what was kept although it is odd.

Belongs here: their stream entries. Does not belong here: who decides (adapter, ingest) or the sending (``outbox``).
"""

from typing import Final

from resources.redis_keys import MARKET_DEAD, MARKET_QUALITY
from services.live_lane.batch import AUTOMATIC_ID, Addition

MAXIMUM_RAW: Final = 4_096
MAXIMUM_LENGTH: Final = 100_000
"""Entries kept in each of the two streams, about."""


def dead_letter(reason: str, source: str, raw: bytes, received_time: int) -> Addition:
    """Entry for a message that was not understood; at most 4 kB of it are kept."""
    fields = (
        ("reason", reason.encode("utf-8", "replace")),
        ("source", source.encode()),
        ("raw", raw[:MAXIMUM_RAW]),
        ("received_time", str(received_time).encode()),
    )
    return Addition(MARKET_DEAD, AUTOMATIC_ID, fields, MAXIMUM_LENGTH)


def quality_event(instrument: str, time: int, kind: str, detail: str) -> Addition:
    """Entry for a data-quality event."""
    fields = (
        ("instrument", instrument.encode()),
        ("time", str(time).encode()),
        ("kind", kind.encode()),
        ("detail", detail.encode("utf-8", "replace")),
    )
    return Addition(MARKET_QUALITY, AUTOMATIC_ID, fields, MAXIMUM_LENGTH)
