"""What Dagster hands to assets and sensors: the lake, the streams, single keys, the settings – opened at first use.

Belongs here: the real resources. Tests hand ``build_defs`` others with the same methods. Does not belong here: how a
lake or a stream works.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from resources.addresses import Addresses
from resources.duck_lake import DuckLake, process_lake
from resources.redis_streams import StreamReader, open_redis
from resources.settings import ENVIRONMENT_PREFIX, Settings, load_settings, settings_path


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
    """The configuration file, as every step of a run finds it."""

    def load(self) -> Settings:
        """The settings of the moment; the file is read again only when it or the environment has changed."""
        try:
            status = settings_path().stat()
        except OSError:
            return load_settings()  # which says what is wrong
        variables = frozenset(item for item in os.environ.items() if item[0].startswith(ENVIRONMENT_PREFIX))
        return _settings(settings_path().absolute(), status.st_mtime_ns, status.st_size, status.st_ino, variables)


@lru_cache(maxsize=1)
def _settings(path: Path, modified: int, size: int, inode: int, variables: frozenset[tuple[str, str]]) -> Settings:
    del modified, size, inode, variables  # what the settings depend on besides
    return load_settings(path)


_readers: dict[tuple[int, str], StreamReader] = {}
