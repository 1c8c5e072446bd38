"""What Dagster hands to assets and sensors: the lake, the streams, single keys, the settings – opened at first use.

Belongs here: the real resources. Tests hand ``build_defs`` others with the same methods. Does not belong here: how a
lake or a stream works.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from resources.duck_lake import DuckLake, process_lake
from resources.redis_streams import StreamReader, open_redis
from resources.settings import Addresses, Settings, load_settings


@dataclass(frozen=True)
class LakeResource:
    """The lake at the addresses of the environment or the home."""

    def open(self) -> DuckLake:
        """The lake of this process."""
        return process_lake(Addresses.resolve())


@dataclass(frozen=True)
class StreamsResource:
    """The Redis that the live lane writes to."""

    def open(self) -> StreamReader:
        """A reader; its client connects at the first command and pools its connections."""
        url = Addresses.resolve().redis_url
        key = (os.getpid(), url)
        if key not in _readers:
            _readers[key] = StreamReader(open_redis(url))
        return _readers[key]


@dataclass(frozen=True)
class KeysResource:
    """Single Redis keys that other systems read."""

    def put(self, values: Mapping[str, str]) -> None:
        """Set all of them at once; nothing where there are none, which Redis would refuse."""
        if not values:
            return
        client = open_redis(Addresses.resolve().redis_url)
        try:
            client.mset(dict(values))
        finally:
            client.close()


@dataclass(frozen=True)
class SettingsResource:
    """The configuration file, read anew by every run."""

    def load(self) -> Settings:
        """The settings of the moment."""
        return load_settings()


_readers: dict[tuple[int, str], StreamReader] = {}
