"""Stand-ins for what assets and sensors are handed: a lake in memory, streams in a dictionary, fixed settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from resources.lake import Lake
from resources.memory_lake import MemoryLake
from resources.redis_streams import StreamEntry
from resources.settings import Settings, load_settings
from signal_assets.market.stream_codec import encode
from signal_assets.table import Table


@dataclass
class FakeStreams:
    """Redis streams as dictionaries; the same four calls as ``StreamReader``."""

    entries: dict[str, list[StreamEntry]] = field(default_factory=dict)
    tails: dict[str, int] = field(default_factory=dict)
    life: str | None = "first"

    def add(self, key: str, table: Table, sequence: int, rows: Sequence[tuple[object, ...]]) -> None:
        """Add one micro-batch, as the live lane does: ids that do not grow are refused."""
        if sequence <= self.tails.get(key, -1):
            return
        entry = StreamEntry(sequence, {"n": str(len(rows)).encode(), "data": encode(table, rows)})
        self.entries.setdefault(key, []).append(entry)
        self.tails[key] = sequence

    def tail(self, key: str) -> int | None:
        """Highest id ever added."""
        return self.tails.get(key)

    def read_after(self, key: str, last_id: int | None, count: int) -> list[StreamEntry]:
        """Entries behind ``last_id``."""
        return [entry for entry in self.entries.get(key, []) if last_id is None or entry.id > last_id][:count]

    def generation(self) -> str | None:
        """Id of this Redis' life."""
        return self.life

    def trim_below(self, key: str, sequence: int) -> int:
        """Remove entries below ``sequence``."""
        before = self.entries.get(key, [])
        self.entries[key] = [entry for entry in before if entry.id >= sequence]
        return len(before) - len(self.entries[key])


@dataclass
class FakeLake:
    """Opens one lake, by default in memory."""

    lake: Lake = field(default_factory=MemoryLake)

    def open(self) -> Lake:
        """That lake."""
        return self.lake


@dataclass
class OpenStreams:
    """Opens one set of streams."""

    streams: FakeStreams = field(default_factory=FakeStreams)

    def open(self) -> FakeStreams:
        """Those streams."""
        return self.streams


@dataclass
class FixedSettings:
    """Hands out settings that do not change."""

    settings: Settings = field(default_factory=load_settings)

    def load(self) -> Settings:
        """Those settings."""
        return self.settings


@dataclass
class ListOfFailures:
    """Keeps failures in a list."""

    kept: list[dict[str, str]] = field(default_factory=list)

    def record(self, fields: dict[str, str]) -> None:
        """Keep one."""
        self.kept.append(fields)


@dataclass
class KeptKeys:
    """Single keys, in a dictionary."""

    values: dict[str, str] = field(default_factory=dict)

    def put(self, values: Mapping[str, str]) -> None:
        """Set all of them."""
        self.values.update(values)
