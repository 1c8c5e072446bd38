"""What each store of a running platform holds: rows, entries, files and bytes.

Belongs here: counting. Does not belong here: what makes them grow (``growth``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import psycopg2
import redis

from resources.addresses import Addresses
from resources.duck_lake_connection import catalog_dsn
from resources.redis_keys import SIGNALS
from resources.redis_streams import open_redis
from resources.run_lease import broker_client

DAGSTER_TABLES: Final = {
    "events of runs": ("event_logs", "asset_event_tags"),
    "runs and their tags": ("runs", "run_tags"),
    "ticks": ("job_ticks",),
}
CATALOG_TABLES: Final = {
    "snapshots": ("ducklake_snapshot", "ducklake_snapshot_changes"),
    "lists of files": (
        "ducklake_data_file",
        "ducklake_delete_file",
        "ducklake_file_column_stats",
        "ducklake_file_partition_value",
        "ducklake_files_scheduled_for_deletion",
    ),
}
INLINED: Final = "inlined rows"


@dataclass(frozen=True, slots=True)
class Held:
    """What one part holds."""

    count: int
    size: int
    """Bytes; indexes included for tables; of the write-ahead log what was ever written."""

    def __sub__(self, other: "Held") -> "Held":
        return Held(self.count - other.count, self.size - other.size)


Census = dict[tuple[str, str], Held]
"""By store and part."""


def census(addresses: Addresses) -> Census:
    """Count everything once."""
    found: Census = {}
    connection = psycopg2.connect(catalog_dsn(addresses))
    connection.autocommit = True
    try:
        ask = connection.cursor()
        for part, tables in DAGSTER_TABLES.items():
            found["Dagster", part] = _tables(ask, "public", tables)
        for part, tables in CATALOG_TABLES.items():
            found["lake catalog", part] = _tables(ask, "lake", tables)
        ask.execute(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE n.nspname = 'lake' AND relkind = 'r' AND relname LIKE 'ducklake_inlined_%_%'"
        )
        inlined = [str(name) for (name,) in ask.fetchall() if name != "ducklake_inlined_data_tables"]
        found["lake catalog", INLINED] = _tables(ask, "lake", inlined)
        ask.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
        (written,) = ask.fetchone()
        segments = files(addresses.home / "postgres" / "pg_wal", "0*").count
        found["disk", "write-ahead log"] = Held(segments, int(written))
    finally:
        connection.close()
    found["lake", "Parquet files"] = files(Path(addresses.lake_path), "*.parquet")
    found |= _redis(addresses)
    found["Redis", "append-only file"] = files(addresses.home / "redis", "*.aof*")
    found["disk", "logs"] = files(addresses.home / "logs", "*")
    found["disk", "output of runs"] = files(addresses.home / "dagster" / "storage", "*", blocks=True)
    return found


def _tables(ask: Any, schema: str, tables: tuple[str, ...] | list[str]) -> Held:
    count = size = 0
    for table in tables:
        ask.execute(f'SELECT count(*), pg_total_relation_size(%s) FROM "{schema}"."{table}"', (f"{schema}.{table}",))
        rows, held = ask.fetchone()
        count, size = count + int(rows), size + int(held)
    return Held(count, size)


def files(folder: Path, pattern: str, *, blocks: bool = False) -> Held:
    """Files under a folder; ``blocks``: what they and their folders take on disk, whatever they hold."""
    count = size = 0
    for path in folder.rglob(pattern):
        try:
            status = path.lstat()
        except OSError:  # gone meanwhile
            continue
        if blocks or path.is_file():
            count, size = count + 1, size + (status.st_blocks * 512 if blocks else status.st_size)
    return Held(count, size)


def _redis(addresses: Addresses) -> Census:
    with open_redis(addresses.redis_url) as bus, broker_client(addresses.broker_url) as broker:
        return {
            ("Redis", "market streams"): _keys(bus, "market:*:*", _entries),
            ("Redis", "signals"): _keys(bus, SIGNALS, _entries),
            ("Redis", "results of runs"): _keys(broker, "celery-task-meta-*", lambda client, key: 1),
        }


def _keys(client: redis.Redis, pattern: str, count: Callable[[redis.Redis, bytes], int]) -> Held:
    found = list(client.scan_iter(match=pattern, count=1_000))
    sizes = [cast(int | None, client.memory_usage(key)) or 0 for key in found]
    return Held(sum(count(client, key) for key in found), sum(sizes))


def _entries(client: redis.Redis, key: bytes) -> int:
    return cast(int, client.xlen(key)) if client.type(key) == b"stream" else 1
